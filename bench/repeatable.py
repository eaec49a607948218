#!/usr/bin/env python3
"""Builds packages from source twice, the second time under hostile circumstances, and counts.

    cargo build --release
    bench/repeatable.py [--zipwright PROGRAM] [--plain] [--no-namespaces] [PACKAGE...]

Each package is built by a `wheelhouse` in an empty project with an empty cache. The second build
has another folder, HOME, TMPDIR, cache, umask, time zone, locale and hash seed, more environment,
and one CPU where `taskset` is. `--plain` builds the same by `pip wheel` for comparison; the same
sdist is given to both sides. Prints a Markdown table.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

PACKAGES = [
    "attrs==26.1.0",
    "idna==3.20",
    "tomlkit==0.15.2",
    "argon2-cffi-bindings==26.2.0",
    "levenshtein==0.27.5",
    "ujson==6.1.0",
    "markupsafe==3.0.4",
    "psutil==7.2.2",
    "simplejson==4.3.0",
    "regex==2026.11.15",
    "propcache==0.5.4",
    "msgpack==1.2.4",
    "pyyaml==6.0.3",
    "contourpy==1.4.0",
    "rpds-py==2026.9.1",
]

HOSTILE = {
    "TZ": "Pacific/Kiritimati",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "PYTHONHASHSEED": "4711",
    "USER": "somebody-else",
    "LOGNAME": "somebody-else",
    "A_FURTHER_VARIABLE": "of some length",
}


def side(folder, package, hostile, options, python):
    """Builds in `folder`; the wheel, and what zipwright said of isolation."""
    project = os.path.join(folder, "a-longer-name-of-a-project" if hostile else "p")
    os.makedirs(os.path.join(folder, "home"))
    os.makedirs(os.path.join(folder, "tmp"))
    os.makedirs(project)
    name = package.split("==")[0]
    with open(os.path.join(project, "requirements.txt"), "w") as file:
        file.write("--no-binary %s\n%s\n" % (name, package))
    with open(os.path.join(project, "Buildfile"), "w") as file:
        file.write(
            '[target.wheels]\nkind = "wheelhouse"\nrequirements = ["requirements.txt"]\n'
            "python = %s\npip-args = [\"--no-deps\"]\n" % json.dumps(python)
        )
    env = dict(os.environ, HOME=os.path.join(folder, "home"), TMPDIR=os.path.join(folder, "tmp"))
    env["XDG_CACHE_HOME"] = os.path.join(folder, "cache")
    for name, folder_name in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")):
        env.setdefault(name, os.path.join(os.path.expanduser("~"), folder_name))
    env.update(HOSTILE if hostile else {})
    env.update({"ZIPWRIGHT_NO_NAMESPACES": "1"} if options.no_namespaces else {})
    wheels = os.path.join(project, "build", "wheels")
    if options.plain:
        command = [python, "-m", "pip", "wheel", "-q", "--no-cache-dir", "-w", wheels]
        command += ["--no-deps", "-r", "requirements.txt"]
    else:
        command = [options.zipwright, "--json", "wheels"]
    if hostile and shutil.which("taskset"):
        command = ["taskset", "-c", "0"] + command
    done = subprocess.run(
        command,
        cwd=project,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.umask(0o077 if hostile else 0o022) and None,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    isolation = "plain pip" if options.plain else "?"
    for line in done.stdout.splitlines():
        if '"isolation"' in line:
            isolation = line.split('"isolation":"')[1].split('"')[0]
    found = [name for name in os.listdir(wheels) if name.endswith(".whl")]
    assert len(found) == 1, found
    return os.path.join(wheels, found[0]), isolation


def digest(wheel):
    with open(wheel, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def members(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zipwright", default="target/release/zipwright")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--plain", action="store_true", help="by `pip wheel` instead")
    parser.add_argument("--no-namespaces", action="store_true")
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    options.zipwright = os.path.abspath(options.zipwright)
    say = "import sys; print(sys.executable)"
    python = subprocess.check_output([options.python, "-c", say], text=True).strip()
    same = built = 0
    print("| package | built in | wheel | what differs | seconds |\n|---|---|---|---|---|")
    for package in options.packages:
        folder, started = tempfile.mkdtemp(prefix="repeatable-"), time.monotonic()
        try:
            one, isolation = side(os.path.join(folder, "a"), package, False, options, python)
            two, _ = side(os.path.join(folder, "other", "b"), package, True, options, python)
            built += 1
            equal = digest(one) == digest(two)
            same += equal
            first, second = members(one), members(two)
            names = sorted(set(first) | set(second))
            differing = [name for name in names if first.get(name) != second.get(name)]
            detail = "" if equal else ", ".join(differing[:3]) or "the container only"
            verdict = "same" if equal else "differs"
        except RuntimeError as error:
            print(error, file=sys.stderr)
            isolation, verdict, detail = "", "not built", ""
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        seconds = time.monotonic() - started
        print("| %s | %s | %s | %s | %.0f |" % (package, isolation, verdict, detail, seconds), flush=True)
    print("\n%d of %d identical; %d not built" % (same, built, len(options.packages) - built))


main()
