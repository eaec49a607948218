#!/usr/bin/env python3
"""The effect of bytecode in a bundle: imports of real packages in fresh processes, with and without.

    cargo build --release
    bench/bytecode.py [--zipwright PROGRAM] [--python PYTHON] [--rounds N] [MODULE...]

Builds one bundle twice by zipwright, `bytecode = false` and `true`, from wheels of boto3, requests and
pydantic; unpacks each with the times of the zip, into a folder that is then made read-only, as it is
in Lambda; and imports the modules in a fresh process of `python -S -s`, in pairs. Prints a Markdown table of
medians. The page cache is warm, so that Python's work is measured and not the disk's.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

REQUIREMENTS = "boto3==1.40.0\nrequests==2.32.4\npydantic==2.11.7\n"

MODULES = ["boto3", "requests", "pydantic", "handler"]

HANDLER = """\
import boto3
import pydantic
import requests


class Event(pydantic.BaseModel):
    name: str = ""


CLIENT = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")


def handler(event, context):
    return Event(**event).name
"""

BUILDFILE = """\
default = ["package"]
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
python = %s
[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py"]
bytecode = %s
[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"""

IMPORT = """\
import sys, time
sys.path.insert(0, sys.argv[1])
started = time.perf_counter()
__import__(sys.argv[2])
print(time.perf_counter() - started)
"""


def build(folder, bytecode, options, python, cache):
    """Builds a bundle and unpacks it; the tree, the zip's size, and seconds of the first and second build."""
    project = os.path.join(folder, "with" if bytecode else "without")
    os.makedirs(project)
    for name, text in (
        ("requirements.txt", REQUIREMENTS),
        ("handler.py", HANDLER),
        ("Buildfile", BUILDFILE % (json.dumps(python), "true" if bytecode else "false")),
    ):
        with open(os.path.join(project, name), "w") as file:
            file.write(text)
    env = dict(os.environ, XDG_CACHE_HOME=cache)
    run = lambda *words: subprocess.run(
        [options.zipwright, *words], cwd=project, env=env, check=True, stdout=subprocess.DEVNULL
    )
    run("wheels")
    started = time.monotonic()
    run()
    first = time.monotonic() - started
    with open(os.path.join(project, "handler.py"), "a") as file:
        file.write("# edited\n")
    started = time.monotonic()
    run()
    edit = time.monotonic() - started
    bundle = os.path.join(project, "build", "lambda.zip")
    tree = os.path.join(project, "tree")
    subprocess.run(["unzip", "-q", bundle, "-d", tree], check=True, env=dict(env, TZ="UTC"))
    with zipfile.ZipFile(bundle) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
        count = sum(info.filename.endswith(".pyc") for info in archive.infolist())
    subprocess.run(["chmod", "-R", "a-w", tree], check=True)
    return tree, os.path.getsize(bundle), unpacked, count, first, edit


def seconds(tree, module, python):
    # -B replaces a read-only file system, which root could write.
    command = [python, "-S", "-s", "-B", "-c", IMPORT, tree, module]
    return float(subprocess.check_output(command, env={"PATH": os.environ["PATH"]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zipwright", default="target/release/zipwright")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("modules", nargs="*", default=MODULES)
    options = parser.parse_args()
    options.zipwright = os.path.abspath(options.zipwright)
    say = "import sys; print(sys.executable)"
    python = subprocess.check_output([options.python, "-c", say], text=True).strip()
    folder = tempfile.mkdtemp(prefix="bytecode-")
    try:
        cache = os.path.join(folder, "cache")
        without = build(folder, False, options, python, cache)
        with_it = build(folder, True, options, python, cache)
        print(subprocess.check_output([python, "-VV"], text=True).strip().splitlines()[0])
        print("\n| import | without (ms) | with (ms) | saved |\n|---|---|---|---|")
        for module in options.modules:
            pairs = []
            for _ in range(options.rounds):
                pairs.append((seconds(without[0], module, python), seconds(with_it[0], module, python)))
            before, after = (statistics.median(side) for side in zip(*pairs))
            saved = statistics.median(1 - b / a for a, b in pairs)
            print("| `%s` | %.0f | %.0f | %.0f %% |" % (module, before * 1e3, after * 1e3, saved * 100))
        print("\n| | without | with |\n|---|---|---|")
        mib = lambda size: "%.1f MiB" % (size / 2**20)
        print("| zip | %s | %s |" % (mib(without[1]), mib(with_it[1])))
        print("| unpacked | %s | %s |" % (mib(without[2]), mib(with_it[2])))
        print("| `.pyc` files | %d | %d |" % (without[3], with_it[3]))
        print("| first build, wheels in place | %.2f s | %.2f s |" % (without[4], with_it[4]))
        print("| edit of the handler | %.2f s | %.2f s |" % (without[5], with_it[5]))
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder])
        shutil.rmtree(folder)


main()
