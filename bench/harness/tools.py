"""The measured programs: built, installed or found by the harness, and their environment. A missing
program is reported with the reason, and does not stop the run."""

import os
import shutil
import subprocess
import sys

from .measure import Failed, Measurer, call, say

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NATIVE = os.path.join(ROOT, "bench", "native")

# Peers from the package index; the others come from PATH.
PEERS = {
    "ninja": "ninja==1.13.2",
    "uv": "uv==0.13.9",
    "sam": "aws-sam-cli==1.170.0",
    "ministack": "ministack==1.5.33",
    "aws": "awscli==1.46.3",
}
PIP = "pip==26.3"
# Installed only if requested: they take minutes.
ON_DEMAND = {"sam", "ministack", "aws"}


class Tools:
    """All programs, and the environment in which every run sees the same machine."""

    def __init__(self, options):
        self.folder = os.path.abspath(options.folder)
        self.offline = os.path.join(self.folder, "wheels")
        self.missing = {}
        for name in ("home", "tools", "cache"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        self.venv = os.path.join(self.folder, "tools", "python")
        self.python = os.path.join(self.venv, "bin", "python3")
        self._make_python(options.python)
        self.env = self._environment()
        self.zipwright = options.zipwright or build_zipwright()
        self.native = {name: self._compile(name) for name in ("timed", "lstat", "rawcopy")}
        measurer = Measurer(self.native["timed"], os.path.join(self.folder, "tools"))
        self.measure = measurer.measure
        self.found = {}
        wanted = options.peers.split(",") if options.peers else []
        for name in PEERS:
            self.found[name] = self._install(name, name in wanted)
        for name in ("make", "zip", "unzip", "openssl", "7z", "7zz", "samu", "cp"):
            self.found[name] = shutil.which(name)
            if not self.found[name]:
                self.missing[name] = "not on PATH"
        self.found["package.py"] = options.package_py
        if not options.package_py:
            self.missing["package.py"] = "it is not on a package index: `--package-py` names a copy"
        if self.found["7zz"] or self.found["7z"]:
            self.missing.pop("7z", None)
            self.missing.pop("7zz", None)

    def has(self, *names):
        return all(self.found.get(name) for name in names)

    def _make_python(self, python):
        stamp = os.path.join(self.venv, PIP)
        if not os.path.exists(stamp):
            say("making a virtual environment of %s with %s" % (python, PIP))
            call([python, "-m", "venv", "--clear", self.venv], ROOT, None)
            call([self.python, "-m", "pip", "install", "-q", PIP], ROOT, None)
            open(stamp, "w").close()

    def _environment(self):
        """Returns an environment with only PATH, so that settings of the user have no effect."""
        cache = os.path.join(self.folder, "cache")
        return {
            "PATH": os.path.join(self.venv, "bin") + os.pathsep + os.environ["PATH"],
            "HOME": os.path.join(self.folder, "home"),
            "XDG_CACHE_HOME": cache,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.offline,
            "UV_OFFLINE": "1",
            "UV_NO_INDEX": "1",
            "UV_FIND_LINKS": self.offline,
            "UV_CACHE_DIR": os.path.join(cache, "uv"),
            "UV_PYTHON": self.python,
            "SAM_CLI_TELEMETRY": "0",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _compile(self, name):
        source = os.path.join(NATIVE, name + ".c")
        program = os.path.join(self.folder, "tools", name)
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            call(["cc", "-O2", "-o", program, source], ROOT, None)
        return program

    def _install(self, name, wanted):
        """A program of the package index, in a virtual environment of its own."""
        folder = os.path.join(self.folder, "tools", name)
        program = os.path.join(folder, "bin", name)
        stamp = os.path.join(folder, PEERS[name])
        if os.path.exists(stamp):
            return program
        if name in ON_DEMAND and not wanted:
            self.missing[name] = "not requested: `--peers %s` installs it" % name
            return None
        say("installing %s" % PEERS[name])
        try:
            call([self.python, "-m", "venv", "--clear", folder], ROOT, None)
            pip = [os.path.join(folder, "bin", "python3"), "-m", "pip", "install", "-q"]
            call(pip + [PEERS[name]], ROOT, None)
        except Failed as error:
            self.missing[name] = str(error).splitlines()[-1]
            return None
        open(stamp, "w").close()
        return program

    def versions(self):
        """Returns the versions of the measured programs."""
        asked = {
            "make": ["make", "--version"],
            "zip": ["zip", "-v"],
            "unzip": ["unzip", "-v"],
            "pip": [self.python, "-m", "pip", "--version"],
            "ninja": [self.found["ninja"], "--version"],
            "samurai": [self.found["samu"], "--version"],
            "uv": [self.found["uv"], "--version"],
            "AWS CLI": [self.found["aws"], "--version"],
            "sam": [self.found["sam"], "--version"],
            "7z": [self.found["7zz"] or self.found["7z"], "i"],
            "openssl": ["openssl", "version"],
            "Python": [self.python, "--version"],
        }
        told = []
        for name, argv in asked.items():
            if not argv[0] or not shutil.which(argv[0]):
                continue
            done = subprocess.run(argv, capture_output=True, text=True, env=self.env)
            told.append("%s %s" % (name, version_in(done.stdout + done.stderr)))
        return told


def version_in(text):
    """The first word with a dot and a digit in front."""
    for word in text.replace(",", " ").split():
        if word[0].isdigit() and "." in word:
            return word
    return (text.split() or ["?"])[0]


def build_zipwright():
    say("cargo build --release")
    done = subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT)
    if done.returncode:
        sys.exit("zipwright could not be built")
    return os.path.join(ROOT, "target", "release", "zipwright")
