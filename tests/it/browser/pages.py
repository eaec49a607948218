"""Opens a page in Chromium, and prints its text as a line of JSON; for each line of input, reloads it and prints
its text again. Talks to the browser over its debugging pipe: messages of JSON, each ended by a zero byte."""

import json
import os
import subprocess
import sys

folder, url = sys.argv[1:]
commands, to_browser = os.pipe()
answers, from_browser = os.pipe()


def connect():
    # The browser reads from 3 and writes to 4. Both may be the number of another end.
    read, write = os.dup(commands), os.dup(from_browser)
    os.dup2(read, 3)
    os.dup2(write, 4)


browser = subprocess.Popen(
    [f"{folder}/chromium", "--headless=shell", "--no-sandbox", "--no-zygote", "--single-process", "--in-process-gpu",
     "--use-gl=angle", "--use-angle=swiftshader", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
     f"--user-data-dir={os.getcwd()}/profile", "--remote-debugging-pipe", "about:blank"],
    env={**os.environ, "LD_LIBRARY_PATH": f"{folder}/lib", "FONTCONFIG_PATH": folder},
    preexec_fn=connect, close_fds=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.close(from_browser)
buffer, last = b"", 0


def receive():
    global buffer
    while b"\0" not in buffer:
        more = os.read(answers, 65536)
        if not more:
            sys.exit("the browser has ended")
        buffer += more
    message, buffer = buffer.split(b"\0", 1)
    return json.loads(message)


def call(method, session=None, **params):
    global last
    last += 1
    message = {"id": last, "method": method, "params": params}
    if session:
        message["sessionId"] = session
    os.write(to_browser, json.dumps(message).encode() + b"\0")
    answer = receive()
    while answer.get("id") != last:
        answer = receive()
    return answer["result"]


def show(method, **params):
    call(method, session, **params)
    while receive().get("method") != "Page.loadEventFired":
        pass
    result = call("Runtime.evaluate", session, expression="document.body.textContent")
    print(json.dumps(result["result"]["value"]), flush=True)


target = call("Target.createTarget", url="about:blank")["targetId"]
session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
call("Page.enable", session)
show("Page.navigate", url=url)
for _ in sys.stdin:
    show("Page.reload")
browser.kill()
