"""The rows of a machine that has nothing: empty caches, and an index with latency and a bandwidth."""

import json
import os
import platform
import re
import shutil
import subprocess

from .bundles import settled
from .index import Index
from .measure import Failed, Side, call
from .table import Target, line, size, times
from .workloads import Project, contents

BUILDFILE = """\
[target.wheels]
kind = "wheelhouse"
%s

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["lambda_handler.py", { from = "src", to = "." }]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"""
# A lock is used for a runtime of Lambda, as in docs/INIT.md.
INPUTS = {
    "pylock": 'lock = "pylock.toml"\nPLATFORM',
    "uv.lock": 'lock = "locked/uv.lock"\nPLATFORM',
    "hashed": 'requirements = ["hashed.txt"]\nPLATFORM',
    "pip": 'requirements = ["requirements.txt"]',
    "uv": 'requirements = ["requirements.txt"]\nresolver = "uv"',
}


# Without a build system it is no package itself. Other systems are left out, because the index has no
# wheels for them.
PYPROJECT = """\
[project]
name = "locked"
version = "1"
requires-python = "==%s.*"
dependencies = %s

[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == '%s'"]
"""


class Fetching:
    """One workload, its lockfiles, and an index with its wheels."""

    def __init__(self, bench, workload):
        self.bench, self.tools, self.workload = bench, bench.tools, workload
        bench.bundles(workload)
        self.index = Index(self.tools.offline)
        self.caches = os.path.join(self.tools.folder, "empty")
        env = {name: value for name, value in self.tools.env.items() if not name.startswith(("PIP_", "UV_"))}
        simple = bench.options.index or self.index.url + "/simple"
        self.network = bench.options.index or "20 ms, 200 Mbit/s"
        self.env = dict(
            env,
            XDG_CACHE_HOME=self.caches,
            PIP_CONFIG_FILE=os.devnull,
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_INDEX_URL=simple,
            PIP_CACHE_DIR=os.path.join(self.caches, "pip"),
            UV_DEFAULT_INDEX=simple,
            UV_CACHE_DIR=os.path.join(self.caches, "uv"),
            UV_PYTHON=self.tools.python,
            UV=self.tools.found.get("uv") or "uv",
        )
        if bench.options.index:
            names = ("PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY")
            self.env.update((name, os.environ[name]) for name in names if name in os.environ)
        asked = [self.tools.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        self.python = subprocess.check_output(asked, text=True).strip()
        self.machine = platform.machine()
        self.project = self.another("fetch")
        self._lock()

    def another(self, name):
        return Project(self.tools, self.workload, name)

    def _lock(self):
        """Writes the lockfiles, not measured."""
        self.project.write("Buildfile", self.buildfile("pip"))
        call([self.tools.zipwright, "lock"], self.project.folder, self.env)
        text = self.project.read("pylock.toml")
        packages = re.findall(r'name = "(.*)"\nversion = "(.*)"\n.*sha256 = "([0-9a-f]{64})"', text)
        lines = ["%s==%s --hash=sha256:%s\n" % package for package in packages]
        self.project.write("hashed.txt", "".join(lines))
        self.urls = re.findall(r'url = "([^"]*)"', text)
        if not self.urls or len(self.urls) != len(lines):
            raise Failed("pylock.toml is not as expected:\n" + text)
        if self.tools.has("uv"):
            pins = ["%s==%s" % package[:2] for package in packages]
            pyproject = PYPROJECT % (self.python, json.dumps(pins), self.machine)
            self.project.write("locked/pyproject.toml", pyproject)
            folder = os.path.join(self.project.folder, "locked")
            call([self.tools.found["uv"], "lock", "-q"], folder, self.env)

    def clean(self, project):
        def clean():
            shutil.rmtree(self.caches, ignore_errors=True)
            project.remove("build", ".zipwright", "src/own.egg-info", "files")

        return settled(clean)

    def buildfile(self, what):
        arch = "arm64" if self.machine in ("arm64", "aarch64") else "x86_64"
        runtime = 'platform = { python = "%s", arch = "%s" }' % (self.python, arch)
        return BUILDFILE % INPUTS[what].replace("PLATFORM", runtime)

    def ours(self, what):
        self.project.write("Buildfile", self.buildfile(what))
        clean = self.clean(self.project)

        def prepare():
            self.project.write("Buildfile", self.buildfile(what))
            clean()

        def complete():
            if "lambda_handler.py" not in contents(self.project.zip):
                raise Failed("%s is not complete" % self.project.zip)

        argv = [self.tools.zipwright, "package"]
        return Side("zipwright, " + what, argv, self.project.folder, self.env, prepare, complete)

    def shell(self, name, script, project=None):
        project = project or self.another("fetch-peer")
        return Side(name, ["/bin/sh", "-ec", script], project.folder, self.env, self.clean(project))

    def uv(self, requirements, zips):
        name = "uv" + (" + zip -6" if zips else "")
        project = self.another("fetch-peer")
        for file in ("hashed.txt", "pylock.toml"):
            project.write(file, self.project.read(file))
        script = "%s pip install -q --target build/staging -r %s" % (self.tools.found["uv"], requirements)
        if requirements == "hashed.txt":
            script += " --python-version %s" % self.python
            script += " --python-platform %s-manylinux_2_34" % self.machine
        if zips:
            script += "; cp -r src/own lambda_handler.py build/staging/"
            script += "; cd build/staging; zip -q -X -6 -r ../lambda.zip ."
        return self.shell(name, script, project)

    def curl(self):
        urls = " ".join("-O " + url for url in self.urls)
        script = "mkdir -p files; cd files; curl -sSfZ --parallel-max 16 %s" % urls
        return self.shell("curl -Z", script)

    def make(self):
        project = self.another("fetch-make")
        return Side("make", ["make"], project.folder, self.env, self.clean(project))


def locked(bench, workload):
    """From a lock, from nothing to the zip."""
    f = Fetching(bench, workload)
    work = "%s, locked, empty caches, %s" % (workload, f.network)
    lines, peers = [], []
    if f.tools.has("uv", "zip"):
        peers.append(("uv --target, `zip -6`", Target(faster=3), f.uv("hashed.txt", True)))
    if f.tools.has("uv"):
        peers.append(("uv --target", Target(cost=1.0), f.uv("hashed.txt", False)))
    if shutil.which("curl"):
        peers.append(("`curl -Z`", Target(cost=1.3), f.curl()))
    else:
        bench.lacks("curl", "not on PATH")
    kinds = {"pylock": "pylock.toml", "uv.lock": "uv.lock", "hashed": "hashed requirements"}
    if not f.tools.has("uv"):
        del kinds["uv.lock"]
    own = {kind: f.ours(kind) for kind in kinds}
    bench.rounds("locked-" + workload, [*own.values(), *(side for _, _, side in peers)], bench.count(5))
    for kind, ours in ((name, own[kind]) for kind, name in kinds.items()):
        for against, target, side in peers:
            lines.append(bench.line("%s (%s)" % (work, kind), against, target, side, ours))
    peak = max(side.peak() for side in own.values())
    if workload == "L":
        judged = None if bench.options.quick else peak <= 100e6
        lines.append(line(work, "memory", "≤ 100 MB", "–", size(peak), "–", judged, len(own["pylock"].samples)))
    return lines


# Adds a line to a file for each Python that starts.
HOOK = "import sys\nopen(%r, 'a').write(sys.executable + '\\n')\n"


def second(bench, workload):
    """The first project from nothing, then another one with the same lock and the filled cache."""
    f = Fetching(bench, workload)
    hooks = os.path.join(bench.tools.folder, "hooks")
    log = os.path.join(hooks, "started")
    os.makedirs(hooks, exist_ok=True)
    with open(os.path.join(hooks, "sitecustomize.py"), "w") as file:
        file.write(HOOK % log)
    f.env["PYTHONPATH"] = hooks
    first, project, counts = f.ours("pylock"), f.another("fetch-second"), []
    for name in ("Buildfile", "pylock.toml"):
        project.write(name, f.project.read(name))

    def prepare():
        project.remove("build", ".zipwright")
        open(log, "w").close()
        counts.append(f.index.requests)

    def check():
        if "lambda_handler.py" not in contents(project.zip):
            raise Failed("%s is not complete" % project.zip)
        with open(log) as file:
            counts[-1] = (f.index.requests - counts[-1], len(file.readlines()))

    argv = [bench.tools.zipwright, "package"]
    ours = Side("zipwright, second", argv, project.folder, f.env, settled(prepare), check)
    bench.rounds("second-" + workload, [first, ours], bench.count(5))
    requests, starts = map(max, zip(*counts))
    found = "%d requests, %d starts of Python" % (requests, starts)
    work = "%s, locked, second project with the same wheels" % workload
    target = "no request, no start"
    runs = len(ours.samples)
    return [line(work, "the first, empty caches", target, times(first), times(ours), found, not (requests or starts), runs)]


def unpinned(bench, workload):
    """Without a lock: pip resolves, or uv."""
    f = Fetching(bench, workload)
    pip, make = f.ours("pip"), f.make()
    sides = [pip, make]
    if f.tools.has("uv", "zip"):
        uv, theirs = f.ours("uv"), f.uv("requirements.txt", True)
        sides += [uv, theirs]
    bench.rounds("unpinned-" + workload, sides, bench.count(3))
    work = "%s, not pinned, empty caches, %s" % (workload, f.network)
    lines = [bench.line(work, "the Makefile", Target(faster=4), make, pip)]
    if f.tools.has("uv", "zip"):
        work += ', `resolver = "uv"`'
        lines.append(bench.line(work, "uv --target, `zip -6`", Target(faster=2.5), theirs, uv))
    return lines
