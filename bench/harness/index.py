"""A package index on this machine with the wheels of a folder (PEP 691, PEP 658), as slow as a network:
each request waits, and all connections share one bandwidth."""

import hashlib
import json
import os
import re
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LATENCY = 0.020  # seconds
BANDWIDTH = 200e6 / 8  # bytes per second
CHUNK = 1 << 16
JSON = "application/vnd.pypi.simple.v1+json"


class Line:
    """The bandwidth that all connections share."""

    def __init__(self):
        self.lock, self.free = threading.Lock(), 0.0

    def take(self, count):
        """Waits until so many bytes have gone through."""
        with self.lock:
            start = max(self.free, time.monotonic())
            self.free = start + count / BANDWIDTH
            end = self.free
        time.sleep(max(0, end - time.monotonic()))


class Index:
    """Serves until the process ends."""

    def __init__(self, folder):
        self.folder, self.files, self.line, self.requests = folder, {}, Line(), 0
        for name in sorted(os.listdir(folder)):
            if name.endswith(".whl"):
                self.files[name] = self._describe(name)
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 0
            # As in a web server: else the body waits for 40 ms, until the client confirms the header.
            disable_nagle_algorithm = True

            def do_GET(self):
                index.answer(self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            # More connections at once would wait a second for a second attempt.
            request_queue_size = 128
            daemon_threads = True

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % server.server_address[1]

    def _describe(self, name):
        path = os.path.join(self.folder, name)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        with zipfile.ZipFile(path) as wheel:
            member = next(n for n in wheel.namelist() if re.fullmatch(r"[^/]*\.dist-info/METADATA", n))
            metadata = wheel.read(member)
        return digest, os.path.getsize(path), metadata

    def _page(self, project):
        files = []
        for name, (digest, size, metadata) in self.files.items():
            if re.sub(r"[-_.]+", "-", name.split("-")[0]).lower() == project:
                sidecar = {"sha256": hashlib.sha256(metadata).hexdigest()}
                entry = {"filename": name, "url": "%s/files/%s" % (self.url, name), "size": size}
                files.append(dict(entry, hashes={"sha256": digest}, **{"core-metadata": sidecar}))
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": files}
        return json.dumps(page).encode() if files else None

    def answer(self, request):
        self.requests += 1
        time.sleep(LATENCY)
        kind, name = (request.path.strip("/").split("/") + ["", ""])[:2]
        body, media_type = None, "application/octet-stream"
        if kind == "simple":
            body, media_type = self._page(name), JSON
        elif name.endswith(".metadata") and name[: -len(".metadata")] in self.files:
            body = self.files[name[: -len(".metadata")]][2]
        elif name in self.files:
            with open(os.path.join(self.folder, name), "rb") as file:
                body = file.read()
        request.send_response(404 if body is None else 200)
        request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(body or b"")))
        request.end_headers()
        for at in range(0, len(body or b""), CHUNK):
            chunk = body[at : at + CHUNK]
            self.line.take(len(chunk))
            request.wfile.write(chunk)
