#!/usr/bin/env python3
"""Builds packages from source twice, the second time under hostile conditions, and counts.

    cargo build --release
    bench/repeatable.py [--zipwright PROGRAM] [--python PROGRAM] [--sdists FOLDER] [--way WAY]... [PACKAGE...]

The sources are fetched by `pip download` into FOLDER, once. Each is built by a `wheelhouse` in an
empty project with an empty cache. The second build has another folder, HOME, TMPDIR, cache, umask,
time zone, locale, hash seed and user name, more environment and more PATH; one CPU where `taskset`
is, and another host name where `unshare --uts` may give it. The ways:

    namespaces   as zipwright builds where the system lets it
    folder       in the fixed folder, as elsewhere
    other-user   the same, and the second build is by a user of another number
    plain        by `pip wheel`, for comparison

Without `--way`, all but the last are measured. Prints a Markdown table; in each cell, before
the stroke, whether the wheel was the same as the back end wrote it (raw; its digest is in the log of
the build), and after it, whether it was in canonical form, which is the cached one.
"""

import argparse
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

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
WAYS = ["namespaces", "folder", "other-user"]
# The isolation that zipwright reports then.
EXPECTED = {"namespaces": "namespaces", "folder": "fixed folder", "other-user": "fixed folder", "plain": "plain pip"}
OTHER_USER = "4711"

HOSTILE = {
    "TZ": "Pacific/Kiritimati",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "PYTHONHASHSEED": "4711",
    "USER": "somebody-else",
    "LOGNAME": "somebody-else",
    "A_FURTHER_VARIABLE": "of some length",
}
RENAMED = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
AS_OTHER = ["unshare", "--user", "--map-user=" + OTHER_USER, "--map-group=" + OTHER_USER, "--"]


class Failed(Exception):
    pass


class Built:
    """A wheel, the digest of the back end's own file, and the isolation that zipwright reported."""

    def __init__(self, wheel, raw, isolation):
        self.wheel, self.raw, self.isolation = wheel, raw, isolation
        with open(wheel, "rb") as file:
            self.digest = hashlib.sha256(file.read()).hexdigest()


def run(command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise Failed(done.stdout[-3000:])
    return done.stdout


def works(prefix):
    return shutil.which(prefix[0]) and subprocess.run(prefix + ["true"], capture_output=True).returncode == 0


def fetch(package, options):
    """The package's source distribution, fetched at most once."""
    name, version = package.split("==")
    pattern = "%s-%s.tar.gz" % (re.sub("[-_.]", "[-_.]", name), version)
    find = lambda: [
        os.path.join(options.sdists, file)
        for file in os.listdir(options.sdists)
        if re.fullmatch(pattern, file, re.IGNORECASE)
    ]
    if not find():
        command = [options.python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name]
        run(command + ["--dest", options.sdists, package])
    found = find()
    if not found:
        raise Failed("pip left no source distribution of " + package)
    return found[0]


def back_end(sdist):
    with tarfile.open(sdist) as archive:
        for member in archive:
            if re.fullmatch("[^/]+/pyproject.toml", member.name):
                text = archive.extractfile(member).read().decode()
                found = re.search(r"""^build-backend *= *["']([^"']+)""", text, re.MULTILINE)
                return found.group(1) if found else "setuptools"
    return "setuptools"


def build(folder, sdist, way, hostile, options):
    """Builds in `folder`, which is made for it."""
    project = os.path.join(folder, "a-longer-name-of-a-project" if hostile else "p")
    for name in ("home", "tmp", "bin"):
        os.makedirs(os.path.join(folder, name))
    os.makedirs(project)
    shutil.copy(sdist, project)
    with open(os.path.join(project, "requirements.txt"), "w") as file:
        file.write("./%s\n" % os.path.basename(sdist))
    with open(os.path.join(project, "Buildfile"), "w") as file:
        file.write(
            '[target.wheels]\nkind = "wheelhouse"\nrequirements = ["requirements.txt"]\n'
            "python = %s\npip-args = [\"--no-deps\"]\n" % json.dumps(options.python)
        )
    env = dict(os.environ, HOME=os.path.join(folder, "home"), TMPDIR=os.path.join(folder, "tmp"))
    env["XDG_CACHE_HOME"] = os.path.join(folder, "cache")
    # Keep the downloads of pip.
    env["PIP_CACHE_DIR"] = os.path.join(options.sdists, "pip-cache")
    for name, own in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")):
        env.setdefault(name, os.path.join(os.path.expanduser("~"), own))
    if hostile:
        env.update(HOSTILE, PATH=os.path.join(folder, "bin") + ":" + env["PATH"])
    if way in ("folder", "other-user"):
        env["ZIPWRIGHT_NO_NAMESPACES"] = "1"
    wheels = os.path.join(project, "build", "wheels")
    if way == "plain":
        command = [options.python, "-m", "pip", "wheel", "-q", "--no-cache-dir", "-w", wheels]
        command += ["--no-deps", "-r", "requirements.txt"]
    else:
        command = [options.zipwright, "--json", "wheels"]
    if hostile:
        prefixes = [RENAMED, ["taskset", "-c", "0"]]
        command = sum(filter(works, prefixes), []) + (AS_OTHER if way == "other-user" else []) + command
    umask = 0o077 if hostile else 0o022
    said = run(command, cwd=project, env=env, preexec_fn=lambda: os.umask(umask) and None)
    wheel = glob.glob(os.path.join(wheels, "*.whl"))
    if len(wheel) != 1:
        raise Failed("there is not one wheel: %s" % wheel)
    if way == "plain":
        return Built(wheel[0], None, "plain pip")
    isolation = re.search('"isolation":"([^"]+)"', said).group(1)
    logs = glob.glob(os.path.join(project, ".zipwright", "logs", "build-*.log"))
    text = "".join(open(log, encoding="utf-8").read() for log in logs)
    raw = re.search("sha256:([0-9a-f]{64}) as the back end wrote it", text).group(1)
    return Built(wheel[0], raw, isolation)


def cause(one, two, options):
    """Returns a short list of differences between the two wheels, without RECORD."""
    command = [options.zipwright, "--json", "diff", one.wheel, two.wheel]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout)
    found = []
    for change in told["changes"]:
        if change["container"] or change["path"].endswith(".dist-info/RECORD"):
            continue
        values = change.get("content", {}).get("values", {"a": [], "b": []})
        pairs = ["`%s` / `%s`" % (a.strip()[:90], b.strip()[:90]) for a, b in zip(values["a"], values["b"])]
        found.append("`%s`: %s" % (change["path"], pairs[0] if pairs else change["what"]))
    more = ["and %d more files" % (len(found) - 3)] if len(found) > 3 else []
    return "; ".join(found[:3] + more).replace("|", "\\|") or "the container only"


def measure(folder, package, options, counts):
    """Runs both builds in every way; returns a cell for each, and the differences."""
    sdist = fetch(package, options)
    first, cells, details = {}, [], []
    for way in options.way:
        started, base = time.monotonic(), "folder" if way == "other-user" else way
        try:
            if base not in first:
                first[base] = build(os.path.join(folder, "a", way), sdist, base, False, options)
            one = first[base]
            two = build(os.path.join(folder, "other", "b", way), sdist, way, True, options)
        except Failed as error:
            print("%s, %s:\n%s" % (package, way, error), file=sys.stderr, flush=True)
            cells.append("not built")
            continue
        if one.isolation != EXPECTED[way]:
            raise Failed("%s was built in the way that is called `%s`" % (package, one.isolation))
        print("%s, %s: %.0f s" % (package, way, time.monotonic() - started), file=sys.stderr, flush=True)
        canonical, raw = one.digest == two.digest, one.raw == two.raw
        if not canonical:
            details.append("%s: %s" % (way, cause(one, two, options)))
        elif not raw:
            details.append("%s: raw, the container, or times in archives in it" % way)
        count = counts.setdefault(way, [0, 0, 0])
        if way == "plain":
            raw, canonical = canonical, None
        for at, same in enumerate((True, raw, canonical)):
            count[at] += bool(same)
        word = {True: "same", False: "differs", None: "—"}
        cells.append("%s / %s" % (word[raw], word[canonical]))
    return [package.replace("==", " "), back_end(sdist), *cells, "; ".join(details)]


def row(*cells):
    print("| %s |" % " | ".join(cells), flush=True)


def circumstances(options):
    ask = lambda *command: (run(list(command)).splitlines() or [""])[0] if shutil.which(command[0]) else "none"
    version = ask(options.python, "-c", "import sys, pip; print(sys.version.split()[0], 'with pip', pip.__version__)")
    return "; ".join(
        [
            ask(options.zipwright, "--version"),
            "Python " + version,
            ask("cc", "--version"),
            ask("ld", "--version"),
            ask("rustc", "--version"),
            " ".join(os.uname()[at] for at in (0, 2, 4)),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zipwright", default="target/release/zipwright")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--sdists", help="where sources and pip's cache are kept")
    parser.add_argument("--way", action="append", choices=WAYS + ["plain"])
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    options.way = options.way or WAYS
    options.zipwright = os.path.abspath(options.zipwright)
    options.python = run([options.python, "-c", "import sys; print(sys.executable)"]).strip()
    work = tempfile.mkdtemp(prefix="repeatable-")
    options.sdists = os.path.abspath(options.sdists or os.path.join(work, "sdists"))
    os.makedirs(options.sdists, exist_ok=True)
    counts = {}
    row("package", "back end", *options.way, "what differs")
    print("|%s" % ("---|" * (len(options.way) + 3)), flush=True)
    try:
        for at, package in enumerate(options.packages):
            folder = os.path.join(work, str(at))
            try:
                row(*measure(folder, package, options, counts))
            except Failed as error:
                print("%s:\n%s" % (package, error), file=sys.stderr, flush=True)
                row(package, "", *["not measured"] * len(options.way), "")
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for way, (built, raw, canonical) in counts.items():
        of = "%s: of %d packages, %d were built; the same: %d raw" % (way, len(options.packages), built, raw)
        print("\n%s" % (of if way == "plain" else "%s, %d canonical" % (of, canonical)))
    print("\nMeasured with %s." % circumstances(options))


main()
