"""The rows about `zipwright watch`: from an edit of the handler to its response on this machine, and until it is live on
an emulator of AWS. The peers are one pass of what a loop would do after the edit, without the time that the loop
needs to notice it."""

import base64
import hashlib
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
import urllib.request

from .bundles import settled
from .measure import Failed, Sample, Side, call
from .workloads import BUILDFILE, Project, version_of

TARGETS = """
[target.upload]
kind = "upload"
zip = "package"
function = "bench"
# The wheels are for this machine, whose C library may be newer than the runtime's.
check = false
s3 = { bucket = "bench" }

[target.invoke]
kind = "invoke"
upload = "upload"
payload = "payload.json"
handler = "lambda_handler.handler"
"""

REGION = "us-east-1"

# Most bytes of a zip in a request to Lambda, of which it is BASE64.
DIRECT = 50_000_000

PATIENCE = 60


class Watch:
    """A running `zipwright watch`; measured like a `Side`, from an edit to a line of its output."""

    def __init__(self, name, argv, project, env, is_end, check=None):
        self.name, self.argv, self.project, self.env = name, argv, project, env
        self.is_end, self.check, self.samples, self.lines = is_end, check, [], queue.Queue()

    def __enter__(self):
        # Outside of the project: it would be a change.
        self.log = open(self.project.folder + ".log", "w+")
        self.process = subprocess.Popen(
            self.argv, cwd=self.project.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.log, text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._wait()
        except Failed:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def _read(self):
        for text in self.process.stdout:
            self.lines.put(text)

    def _wait(self):
        said = []
        while True:
            try:
                said.append(self.lines.get(timeout=PATIENCE))
                is_failed = '"outcome":"failed"' in said[-1]
            except queue.Empty:
                is_failed = True
            if is_failed:
                self.log.seek(0)
                raise Failed("`%s` did not come to an end:\n%s%s" % (self.name, "".join(said), self.log.read()))
            if self.is_end(said[-1]):
                return

    def _cpu(self):
        """Seconds of the process and of its collected children."""
        with open("/proc/%d/stat" % self.process.pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def run(self, _tools):
        os.sync()
        cpu, start = self._cpu(), time.perf_counter()
        self.project.edit()
        self._wait()
        wall = time.perf_counter() - start
        if self.check:
            self.check()
        sample = Sample(wall, self._cpu() - cpu, 0)
        self.samples.append(sample)
        return sample

    median = Side.median


class Emulator:
    """MiniStack on loopback, with a function and a bucket, both named `bench`."""

    def __init__(self, tools):
        self.tools = tools
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = "http://127.0.0.1:%d" % self.port
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        own = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION, "ZIPWRIGHT_REQUIRE_LOOPBACK": "1"}
        self.env = {**tools.env, **keys, **own}

    def __enter__(self):
        own = {
            "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port),
            "SERVICES": "lambda,s3,iam,sts,logs", "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
        }
        self.log = open(os.path.join(self.tools.folder, "ministack.log"), "w")
        self.process = subprocess.Popen(
            [self.tools.found["ministack"]], cwd=self.tools.folder, env={**self.tools.env, **own},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(self.endpoint + "/_ministack/health", timeout=5).close()
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise Failed("MiniStack does not start: %s" % self.log.name)

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def aws(self, *args):
        answer = call([self.tools.found["aws"], *args, "--output", "json"], self.tools.folder, self.env)
        return json.loads(answer) if answer.strip() else None

    def create(self, archive):
        self.aws("s3api", "create-bucket", "--bucket", "bench")
        self.aws("s3", "cp", "--quiet", archive, "s3://bench/first.zip")
        self.aws(
            "lambda", "create-function", "--function-name", "bench", "--runtime", "python" + version_of(self.tools), "--handler",
            "lambda_handler.handler", "--role", "arn:aws:iam::000000000000:role/any",
            "--code", "S3Bucket=bench,S3Key=first.zip",
        )  # fmt: skip
        self.aws("lambda", "wait", "function-active-v2", "--function-name", "bench")

    def digest(self):
        return self.aws("lambda", "get-function", "--function-name", "bench")["Configuration"]["CodeSha256"]


def project(b, side):
    """A project of its own, with an upload and an invoke, and with its bundle built."""
    made = Project(b.tools, b.workload, side)
    made.write("Buildfile", BUILDFILE + TARGETS)
    made.write("payload.json", "{}")
    b.build(made, "package")
    return made


def has(made, text):
    """Whether a line is the response of the current handler."""
    return '"revision\\": %d' % made.revision in text.replace('\\\\"', '\\"')


def response(bench, workload):
    """From an edit to the response of the local handler."""
    b = bench.bundles(workload)
    watched, single = project(b, "watch"), project(b, "invoke")
    argv = [b.tools.zipwright, "watch", "invoke", "--local"]
    work = "%s, edit to response of the local handler, under `watch`" % workload
    bench.lacks("`sam local invoke`", "it runs functions in Docker only")
    with Watch("zipwright watch", argv, watched, b.tools.env, lambda text: has(watched, text)) as ours:
        argv = [b.tools.zipwright, "invoke", "--local"]
        alone = Side("zipwright invoke", argv, single.folder, b.tools.env, settled(single.edit))
        bench.rounds("response-" + workload, [ours, alone], bench.count(9))
        lines = [bench.line(work, "`zipwright invoke --local` after the edit", None, alone, ours)]
        if not needs(bench, b.tools):
            return lines
        b.make()
        with Emulator(b.tools) as emulator:
            emulator.create(b.theirs.zip)
            called = "aws lambda invoke --function-name bench --payload '{}' build/response; cat build/response"
            peer = by_hand(b, emulator, called)
            bench.rounds("response-" + workload, [ours, peer], bench.count(3))
    return lines + [bench.line(work, "make, the AWS CLI, MiniStack", None, peer, ours)]


def live(bench, workload):
    """From an edit until its bundle is live on the emulator."""
    b = bench.bundles(workload)
    if not needs(bench, b.tools):
        return []
    watched = project(b, "watch")
    b.make()
    with Emulator(b.tools) as emulator:
        emulator.create(b.theirs.zip)

        def is_live():
            with open(watched.zip, "rb") as file:
                digest = base64.b64encode(hashlib.sha256(file.read()).digest()).decode()
            if digest != emulator.digest():
                raise Failed("the function does not have the edit")

        argv = [b.tools.zipwright, "watch", "upload", "--json"]
        is_end = lambda text: '"event":"round"' in text and '"outcome":"built"' in text
        with Watch("zipwright watch", argv, watched, emulator.env, is_end, is_live) as ours:
            peer = by_hand(b, emulator, "true")
            bench.rounds("live-" + workload, [ours, peer], bench.count(5))
    work = "%s, edit to live on MiniStack, under `watch`" % workload
    return [bench.line(work, "make, the AWS CLI", None, peer, ours)]


def needs(bench, tools):
    """Whether the emulator and the AWS CLI are there."""
    for name in ("ministack", "aws"):
        if not tools.has(name):
            bench.lacks("make and the AWS CLI on MiniStack", tools.missing[name])
            return False
    return True


def by_hand(b, emulator, after):
    """Make, then an update of the function by the AWS CLI."""
    size = os.path.getsize(b.theirs.zip)
    aws, code = b.tools.found["aws"], "--zip-file fileb://build/lambda.zip"
    script = "make\n"
    if size > DIRECT:
        script += "aws s3 cp --quiet build/lambda.zip s3://bench/lambda.zip\n"
        code = "--s3-bucket bench --s3-key lambda.zip"
    script += "aws lambda update-function-code --function-name bench %s > build/updated\n" % code
    script += "aws lambda wait function-updated-v2 --function-name bench\n" + after
    env = dict(emulator.env, PATH=os.path.dirname(aws) + os.pathsep + emulator.env["PATH"])
    argv = ["/bin/sh", "-ec", script]
    return Side("make + aws", argv, b.theirs.folder, env, settled(b.theirs.edit))
