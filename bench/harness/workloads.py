"""The projects S, M and L: requirements from the package index, own files made up here, and a git
repository with one commit of a fixed time. Each is in two folders, one for make, one for zipwright."""

import hashlib
import os
import random
import shutil
import zipfile

from .measure import call, say

COMMIT = "2024-03-01T12:34:57Z"
WORKLOADS = {
    "S": (["requests==2.34.2"], 0),
    "M": (
        [
            "boto3==1.44.8",
            "requests==2.34.2",
            "pydantic==2.14.4",
            "cryptography==50.0.2",
            "sqlalchemy==2.1.9",
            "jinja2==3.1.6",
        ],
        50,
    ),
    "L": (["numpy==2.4.6", "pandas==3.1.1", "scipy==1.17.1", "boto3==1.44.8"], 300),
}
# The build requirement of the project itself, and the addition of one row.
BUILD = ["setuptools==84.2.1", "wheel==0.48.0"]
ADDED = "tomlkit==0.15.2"
# What a local call of a handler runs in.
LOCAL = ["awslambdaric==4.2.2"]

# The steps of the article in one file: wheels into a cache, from there into a wheelhouse of exactly
# this set, unzipped, the handler beside them, late times clamped to the last commit, zipped.
MAKEFILE = """\
# Stands for the Makefile of "How to build python code bundles for AWS Lambda quickly and easily":
# its steps and its flags, joined into one file for this benchmark.
TOP = $(shell pwd)
OUT = $(TOP)/build
CACHE = $(OUT)/cache-wheelhouse
WHEELS = $(OUT)/wheelhouse
TREE = $(OUT)/staging
ZIP = $(OUT)/lambda.zip
COMMITTED = $(shell git log --date=local -1 --format="@%ct")

all: $(ZIP)
.PHONY: all

$(OUT)/cached: $(TOP)/requirements.txt
	pip wheel -q -r requirements.txt . --wheel-dir=$(CACHE) --find-links=$(CACHE)
	touch $@

$(OUT)/collected: $(OUT)/cached
	rm -rf $(WHEELS)
	pip wheel -q -r requirements.txt . --wheel-dir=$(WHEELS) --find-links=$(CACHE)
	touch $@

$(OUT)/staged: $(OUT)/collected $(TOP)/lambda_handler.py
	rm -rf $(TREE)
	unzip -q "$(WHEELS)/*.whl" -d $(TREE)
	cp $(TOP)/lambda_handler.py $(TREE)/
	find "$(TREE)" -newermt "$(COMMITTED)" -print0 | xargs -0r touch --no-dereference --date="$(COMMITTED)"
	touch $@

$(ZIP): $(OUT)/staged
	rm -f $(ZIP)
	cd $(TREE) && zip -q -X -9 -r $(ZIP) *
"""

BUILDFILE = """\
default = ["package"]

[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
projects = ["."]

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["lambda_handler.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"""

SMALLEST = """
[target.small]
kind = "zip"
staging = "staging"
output = "build/small.zip"
compression = "smallest"
"""

PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "own"
version = "1.0"

[tool.setuptools.packages.find]
where = ["src"]
"""

# The format of the day of the SAM CLI, for the same requirements and the same handler.
TEMPLATE = """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: .
      Handler: lambda_handler.handler
      Runtime: python%s
"""

HANDLER = """\
import json


def handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"revision": %d, "event": event})}
"""

WORDS = (
    "account amount batch bucket client column config count cursor delta entry event factor field "
    "filter frame group handler header index item key label level limit line margin matrix message "
    "model name node number offset order owner page part path payload price queue range rate record "
    "region report result row sample scale schema series session signal source stage state stream "
    "table target token total update user value vector version weight window"
).split()


def fetch(tools, names):
    """Fetches all wheels into one folder, once; afterwards the package index is not used."""
    wanted = sorted({line for name in names for line in WORKLOADS[name][0]} | {ADDED} | set(BUILD) | set(LOCAL))
    stamp = os.path.join(tools.offline, "fetched-" + digest("\n".join(wanted))[:12])
    if os.path.exists(stamp):
        return
    say("fetching wheels from the package index: " + " ".join(wanted))
    for name in names:
        pip = [tools.python, "-m", "pip", "download", "-q", "--only-binary", ":all:"]
        call(pip + ["-d", tools.offline] + WORKLOADS[name][0], tools.folder, None)
    call(pip + ["-d", tools.offline] + BUILD + [ADDED] + LOCAL, tools.folder, None)
    open(stamp, "w").close()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


class Project:
    """One workload in one folder."""

    def __init__(self, tools, workload, side):
        self.tools, self.workload, self.side = tools, workload, side
        self.folder = os.path.join(tools.folder, "projects", workload, side)
        self.zip = self.path("build/lambda.zip")
        self.revision = 0
        files = self._files()
        mark = digest(repr(sorted(files.items())))
        stamp = self.path(".git/bench-" + mark[:12])
        if not os.path.exists(stamp):
            shutil.rmtree(self.folder, ignore_errors=True)
            for path, text in files.items():
                self.write(path, text)
            self._commit()
            open(stamp, "w").close()
        self.edit(0)

    def path(self, path):
        return os.path.join(self.folder, path)

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as file:
            file.write(text)

    def read(self, path):
        with open(self.path(path)) as file:
            return file.read()

    def remove(self, *paths):
        for path in map(self.path, paths):
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)

    def edit(self, revision=None):
        """One line of the handler, another one each time."""
        self.revision = self.revision + 1 if revision is None else revision
        self.write("lambda_handler.py", HANDLER % self.revision)

    def _files(self):
        requirements, modules = WORKLOADS[self.workload]
        files = {
            ".gitignore": "build/\n.zipwright/\n.aws-sam/\n*.egg-info/\n",
            "requirements.txt": "".join(line + "\n" for line in requirements),
            "lambda_handler.py": HANDLER % 0,
            "pyproject.toml": PYPROJECT,
            "src/own/__init__.py": "",
            "Makefile": MAKEFILE,
            "Buildfile": BUILDFILE,
            "template.yaml": TEMPLATE % version_of(self.tools),
        }
        dice = random.Random(self.workload)
        for number in range(modules):
            path = "src/own/%s/module_%03d.py" % (WORDS[number // 25], number)
            files[path] = module(dice)
            files.setdefault(os.path.dirname(path) + "/__init__.py", "")
        return files

    def _commit(self):
        env = dict(self.tools.env, GIT_AUTHOR_DATE=COMMIT, GIT_COMMITTER_DATE=COMMIT)
        who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        call(["git", "init", "-q", "."], self.folder, env)
        call(["git", "add", "."], self.folder, env)
        call(["git"] + who + ["commit", "-q", "-m", "A project"], self.folder, env)


def version_of(tools):
    """Of the projects' interpreter: `3.13`."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    return call([tools.python, "-c", script], tools.folder, tools.env).strip()


def module(dice):
    """A module of some kilobytes that looks like code to a compressor."""
    lines = ['"""%s."""' % " ".join(dice.choices(WORDS, k=8)), "import %s" % dice.choice(WORDS)]
    for _ in range(dice.randint(8, 30)):
        name, one, two = dice.choices(WORDS, k=3)
        number = dice.randint(0, 999)
        lines += ["", "", "def %s_%s(%s, %s=%d):" % (dice.choice(WORDS), name, one, two, number)]
        for _ in range(dice.randint(2, 8)):
            a, b = dice.choices(WORDS, k=2)
            lines.append("    %s = %s.%s(%s, %r)" % (a, one, b, two, dice.random()))
        lines.append("    return %s" % name)
    return "\n".join(lines) + "\n"


def contents(path):
    """CRC and size of every file of a zip by its name."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        return {info.filename: (info.CRC, info.file_size) for info in infos}
