"""The rows about bundles: the projects S, M and L against the Makefile and other peers."""

import json
import os
import re
import shutil
import zipfile

from .measure import Failed, Side, call, ratio
from .table import Target, line, size, times
from .workloads import ADDED, BUILDFILE, HANDLER, SMALLEST, Project, contents, digest_of, version_of

# Its order depends on the builder of the wheel.
OWN = re.compile(r"^own-1\.0\.dist-info/RECORD$")


class Bundles:
    """Projects of one workload, made at their first use by a row."""

    def __init__(self, bench, workload):
        self.bench, self.tools, self.workload = bench, bench.tools, workload
        self.ours = Project(self.tools, workload, "zipwright")
        self.theirs = Project(self.tools, workload, "make")

    def build(self, project, *goals):
        """Ours, not measured."""
        return call([self.tools.zipwright, *goals], project.folder, self.tools.env)

    def make(self):
        """The Makefile's, not measured."""
        call(["make"], self.theirs.folder, self.tools.env)

    def zipwright_side(self, prepare=None, check=None, project=None, goals=(), name="zipwright"):
        folder = (project or self.ours).folder
        argv = [self.tools.zipwright, *goals]
        return Side(name, argv, folder, self.tools.env, prepare, check)

    def make_side(self, prepare=None, check=None):
        return Side("make", ["make"], self.theirs.folder, self.tools.env, prepare, check)

    def shell_side(self, name, script, project, prepare=None):
        return Side(name, ["/bin/sh", "-ec", script], project.folder, self.tools.env, prepare)


def with_pip_at_most(most, bundles, side):
    """The same side; fails if pip ran more often, according to pip's own log."""
    prepare, check, log = side.prepare, side.check, os.path.join(bundles.tools.folder, "pip.log")

    def without_log():
        if os.path.exists(log):
            os.remove(log)
        prepare()

    def check_runs():
        check()
        runs = 0
        if os.path.exists(log):
            with open(log) as file:
                runs = sum(" Using pip " in line for line in file)
        if runs > most:
            raise Failed("pip ran %d times, and %d would do" % (runs, most))

    side.prepare, side.check, side.env = without_log, check_runs, dict(side.env, PIP_LOG=log)
    return side


def settled(*steps):
    """Prepares, then waits until it is on the disk; otherwise the next run would be slower."""

    def prepare():
        for step in steps:
            step()
        os.sync()

    return prepare


def has_revision(project):
    """Fails unless the zip has the current handler."""

    def check():
        with zipfile.ZipFile(project.zip) as archive:
            found = archive.read("lambda_handler.py").decode()
        if found != HANDLER % project.revision:
            raise Failed("%s does not have the edit" % project.zip)

    return check


def unchanged(path):
    """Fails unless the zip is the same file as before."""
    before = os.stat(path)

    def check():
        after = os.stat(path)
        if (before.st_ino, before.st_mtime_ns) != (after.st_ino, after.st_mtime_ns):
            raise Failed("%s was written again" % path)

    return check


def same_contents(bundles):
    """Fails unless both bundles have the same files and contents; returns the number of files."""
    theirs = {}
    for name, content in contents(bundles.theirs.zip).items():
        place = laid_out(name)
        # The first line of an installed script names an interpreter, so it differs.
        theirs[place] = None if place != name and place.startswith("bin/") else content
    theirs.pop(None, None)
    ours = contents(bundles.ours.zip)
    names = set(ours) | set(theirs)
    same = lambda name: name in ours and name in theirs and theirs[name] in (None, ours[name])
    wrong = sorted(name for name in names if not same(name) and not OWN.match(name))
    if wrong:
        raise Failed("the bundles of make and zipwright differ: %s" % ", ".join(wrong[:10]))
    return len(names)


def laid_out(name):
    """Where pip puts a member of a wheel; the Makefile leaves it where `unzip` does."""
    found = re.match(r"[^/]+\.data/(\w+)/(.*)", name)
    if not found:
        return name
    prefix = {"purelib": "", "platlib": "", "data": "", "scripts": "bin/"}.get(found.group(1))
    return None if prefix is None else prefix + found.group(2)


def edit(bench, workload):
    """One line of the handler, to the finished zip."""
    b = bench.bundles(workload)
    b.build(b.ours)
    b.make()
    ours = b.zipwright_side(settled(b.ours.edit), has_revision(b.ours))
    make = b.make_side(settled(b.theirs.edit), has_revision(b.theirs))
    script = "cp build/lambda.zip build/copy && openssl dgst -sha256 build/copy"
    floor = b.shell_side("cp + openssl", script, b.ours, settled(lambda: b.ours.remove("build/copy")))
    bench.rounds("edit-" + workload, [ours, floor], bench.count(15))
    few = [b.zipwright_side(ours.prepare, ours.check), make]
    bench.rounds("edit-" + workload, few, bench.count(3))
    work = "%s, one-line edit of the handler" % workload
    return [
        bench.line(work, "the Makefile", Target(faster=150), make, few[0]),
        bench.line(work, "`cp` and `openssl dgst` of the zip", Target(cost=1.5), floor, ours),
    ]


def noop(bench, workload):
    """A second build without changes."""
    b = bench.bundles(workload)
    for _ in range(2):
        b.build(b.ours)
    b.make()
    ours = b.zipwright_side(check=unchanged(b.ours.zip))
    make = b.make_side(check=unchanged(b.theirs.zip))
    bench.rounds("noop-" + workload, [ours, make], bench.count(15))
    work = "%s, nothing changed" % workload
    lines = [bench.line(work, "the Makefile", Target(cost=1), make, ours)]
    if b.tools.has("sam"):
        project = Project(b.tools, workload, "sam")
        argv = [b.tools.found["sam"], "build", "--cached"]
        try:
            call(argv, project.folder, b.tools.env)
            few = [b.zipwright_side(), Side("sam", argv, project.folder, b.tools.env)]
            bench.rounds("noop-" + workload, few, bench.count(3))
            lines.append(bench.line(work, "`sam build --cached`", Target(faster=200), few[1], few[0]))
        except Failed as error:
            bench.lacks("`sam build --cached`", "it fails here: " + str(error).splitlines()[-1])
    else:
        bench.lacks("`sam build --cached`", b.tools.missing["sam"])
    if b.tools.has("package.py"):
        few = [b.zipwright_side(), terraform(b)]
        bench.rounds("noop-" + workload, few, bench.count(5))
        lines.append(bench.line(work, "terraform's `package.py`", Target(faster=8), few[1], few[0]))
    else:
        bench.lacks("terraform's `package.py`", b.tools.missing["package.py"])
    return lines


def terraform(b):
    """The program that `terraform plan` runs to check for changes, with an existing zip."""
    project = Project(b.tools, b.workload, "terraform")
    script, folder = b.tools.found["package.py"], project.folder
    sources = [{"path": "lambda_handler.py"}, {"path": "src", "pip_requirements": "requirements.txt"}]
    query = {
        "paths": json.dumps({"module": os.path.dirname(script), "root": folder, "cwd": folder}),
        "docker": None,
        "artifacts_dir": "builds",
        "runtime": "python" + version_of(b.tools),
        "source_path": json.dumps(sources),
        "hash_extra": "",
        "hash_internal": json.dumps([digest_of(script)]),
        "recreate_missing_package": "true",
        "quiet": "true",
    }
    project.write("query.json", json.dumps(query))
    prepare = '"%s" "%s" prepare < query.json' % (b.tools.python, script)

    def answer():
        return json.loads(call(["/bin/sh", "-ec", prepare], folder, b.tools.env))

    first = answer()
    if not os.path.exists(project.path(first["filename"])):
        build = ["build", "--timestamp", first["timestamp"], first["build_plan_filename"]]
        call([b.tools.python, script] + build, folder, b.tools.env)
    if answer()["filename"] != first["filename"]:
        raise Failed("`package.py` would build again, though nothing changed")
    side = b.shell_side("terraform", "exec " + prepare, project)
    side.check = unchanged(project.path(first["filename"]))
    return side


def tail(bench, workload):
    """From wheels in their folder to the finished zip."""
    b = bench.bundles(workload)
    b.build(b.ours)
    b.make()

    def only_wheels():
        b.ours.remove("build", ".zipwright")
        b.build(b.ours, "wheels")

    def only_wheelhouse():
        b.theirs.remove("build/staging", "build/staged", "build/lambda.zip")

    ours = b.zipwright_side(settled(only_wheels), has_revision(b.ours))
    sides = [ours, native(b)]
    bench.rounds("tail-" + workload, sides, bench.count(9))
    work = "%s, wheelhouse in place" % workload
    against = "raw copy of the wheels' members, in C"
    lines = [bench.line(work, against, Target(cost=3), sides[1], ours)]
    if b.tools.has("uv", "zip"):
        few = [b.zipwright_side(ours.prepare, ours.check), uv(b)]
        bench.rounds("tail-" + workload, few, bench.count(5))
        against = "warm uv `--target`, `zip -6`"
        lines.insert(0, bench.line(work, against, Target(faster=10), few[1], few[0]))
    else:
        bench.lacks("uv", b.tools.missing.get("uv", "no zip"))
    make = b.make_side(settled(only_wheelhouse), has_revision(b.theirs))
    few = [b.zipwright_side(ours.prepare, ours.check), make]
    bench.rounds("tail-" + workload, few, bench.count(3))
    lines.insert(0, bench.line(work, "the Makefile from `unzip` on", Target(faster=40), make, few[0]))
    return lines


def native(b):
    """The same wheels and the same handler, by the smallest program that makes a zip of them."""
    project = Project(b.tools, b.workload, "native")
    project.remove("wheels")
    shutil.copytree(b.ours.path("build/wheels"), project.path("wheels"))
    wheels = sorted(name for name in os.listdir(project.path("wheels")) if name.endswith(".whl"))
    argv = [b.tools.native["rawcopy"], "raw.zip"] + ["wheels/" + name for name in wheels]
    argv += ["--", "lambda_handler.py"]

    def complete():
        call(["unzip", "-tqq", "raw.zip"], project.folder, b.tools.env)
        if len(contents(project.path("raw.zip"))) < len(contents(b.ours.zip)):
            raise Failed("raw.zip is not complete")

    prepare = settled(lambda: project.remove("raw.zip"))
    return Side("raw copy", argv, project.folder, b.tools.env, prepare, complete)


def uv(b):
    project = Project(b.tools, b.workload, "uv")
    script = (
        "%s pip install -q --target build/staging -r requirements.txt; "
        "cp -r src/own lambda_handler.py build/staging/; "
        "cd build/staging; zip -q -X -6 -r ../lambda.zip ." % b.tools.found["uv"]
    )
    side = b.shell_side("uv + zip -6", script, project, settled(lambda: project.remove("build")))
    side.prepare()
    call(side.argv, project.folder, b.tools.env)
    return side


def cold(bench, workload):
    """Everything from nothing, except wheels in the caches of the user."""
    b = bench.bundles(workload)
    for project in (b.ours, b.theirs):
        project.edit(0)
    b.build(b.ours)
    nothing = ("build", "src/own.egg-info", ".zipwright")
    ours = b.zipwright_side(settled(lambda: b.ours.remove(*nothing)), has_revision(b.ours))
    ours = with_pip_at_most(1, b, ours)
    make = b.make_side(settled(lambda: b.theirs.remove(*nothing)), has_revision(b.theirs))
    bench.rounds("cold-" + workload, [ours, make], bench.count(3))
    compared = same_contents(b)
    work = "%s, from nothing, wheels cached, not pinned by hashes" % workload
    found = bench.line(work, "the Makefile", Target(faster=8), make, ours)
    bench.notes.append(
        "%s: the zips of make and zipwright have the same %s files with the same CRCs. Not compared:\n"
        "the own project's RECORD, and scripts of wheels, whose first line pip rewrites."
        % (workload, format(compared, ","))
    )
    return [found]


def added(bench, workload):
    """One requirement more, whose wheel is local."""
    b = bench.bundles(workload)
    before = b.ours.read("requirements.txt")
    after = before + ADDED + "\n"
    wheel = ADDED.replace("==", "-") + "-py3-none-any.whl"
    stored = digest_of(os.path.join(b.tools.offline, wheel))
    b.build(b.ours)
    b.make()

    def ours_without():
        b.ours.write("requirements.txt", before)
        b.build(b.ours)
        cache = os.path.join(b.tools.env["XDG_CACHE_HOME"], "zipwright")
        shutil.rmtree(os.path.join(cache, "wheels-v1", stored), ignore_errors=True)
        b.ours.write("requirements.txt", after)

    def theirs_without():
        b.theirs.remove("build/cache-wheelhouse/" + wheel)
        b.theirs.write("requirements.txt", after)

    def has(project):
        def check():
            if "tomlkit/__init__.py" not in contents(project.zip):
                raise Failed("%s lacks what was added" % project.zip)

        return check

    ours = with_pip_at_most(1, b, b.zipwright_side(settled(ours_without), has(b.ours)))
    make = b.make_side(settled(theirs_without), has(b.theirs))
    try:
        bench.rounds("added-" + workload, [ours, make], bench.count(3))
    finally:
        b.ours.write("requirements.txt", before)
        b.theirs.write("requirements.txt", before)
    work = "%s, one requirement added, its wheel local" % workload
    return [bench.line(work, "the Makefile", Target(faster=10), make, ours)]


def pinned(bench, workload):
    """All pinned with hashes, all wheels cached, in a new checkout."""
    b = bench.bundles(workload)
    b.build(b.ours)
    origin = Project(b.tools, workload, "pinned")
    origin.write("requirements.txt", pins(b.ours.path("build/wheels")))
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    call(git + ["commit", "-q", "--allow-empty", "-a", "-m", "Pin"], origin.folder, b.tools.env)
    checkout = os.path.join(b.tools.folder, "projects", workload, "checkout")

    def clone(folder, source):
        shutil.rmtree(folder, ignore_errors=True)
        call(["git", "clone", "-q", source, folder], b.tools.folder, b.tools.env)

    def complete():
        if set(contents(os.path.join(checkout, "build", "lambda.zip"))) != set(contents(b.ours.zip)):
            raise Failed("the zip of the checkout lacks something")

    new = settled(lambda: clone(checkout, origin.folder))
    ours = Side("zipwright", [b.tools.zipwright], checkout, b.tools.env, new, complete)
    # Once before, so that the resolution is cached, as it is for the author of the pins.
    ours.prepare()
    call(ours.argv, checkout, ours.env)
    ours = with_pip_at_most(0, b, ours)
    theirs = os.path.join(b.tools.folder, "projects", workload, "make-checkout")
    make = Side("make", ["make"], theirs, b.tools.env, settled(lambda: clone(theirs, b.theirs.folder)))
    bench.rounds("pinned-" + workload, [ours, make], bench.count(3))
    work = "%s, pinned with hashes, wheels cached, new checkout" % workload
    against = "the Makefile (not hashed: pip takes no hashes beside `.`)"
    return [bench.line(work, against, Target(faster=60), make, ours)]


def pins(folder):
    """Returns a line with a hash for each wheel that is not the project's own."""
    lines = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".whl") or name.startswith("own-"):
            continue
        project, version = name.split("-")[:2]
        digest = digest_of(os.path.join(folder, name))
        lines.append("%s==%s --hash=sha256:%s\n" % (project, version, digest))
    return "".join(lines)


def sizes(bench, workload):
    """The bundle's size, at the default setting and at the smallest."""
    b = bench.bundles(workload)
    b.build(b.ours)
    b.make()
    zipped, default = os.path.getsize(b.theirs.zip), os.path.getsize(b.ours.zip)
    work, against = "%s, size of the bundle" % workload, "`zip -9 -r`"
    lines = [compare_sizes(work + ", default", against, 1.01, zipped, default)]
    seven = b.tools.found["7zz"] or b.tools.found["7z"]
    if seven:
        tree, made = b.theirs.path("build/staging"), b.theirs.path("build/seven.zip")
        call([seven, "a", "-tzip", "-mx5", made, "."], tree, b.tools.env)
        pair = (os.path.getsize(made), default)
        lines.append(compare_sizes(work + ", default", "`7z -tzip -mx5`", None, *pair))
        os.remove(made)
    else:
        bench.lacks("7z", b.tools.missing["7z"])
    b.ours.write("Buildfile", BUILDFILE + SMALLEST)
    try:
        b.build(b.ours, "-n", "small")
    except Failed:
        b.ours.write("Buildfile", BUILDFILE)
        bench.lacks("`compression = \"smallest\"`", "this zipwright does not have it")
        return lines
    try:
        small = b.ours.path("build/small.zip")
        prepare = settled(lambda: b.ours.remove("build/small.zip", "build/small.zip.record.json"))
        ours = b.zipwright_side(prepare, goals=("small",))
        script = "cd build/staging && zip -q -X -9 -r ../again.zip *"
        nothing = settled(lambda: b.theirs.remove("build/again.zip"))
        zip9 = b.shell_side("zip -9", script, b.theirs, nothing)
        bench.rounds("size-" + workload, [ours, zip9], bench.count(3))
        lines.append(compare_sizes(work + ", smallest", against, 0.99, zipped, os.path.getsize(small)))
        lines.append(bench.line("%s, the smallest zip" % workload, "`zip -9 -r`", Target(faster=5), zip9, ours))
    finally:
        b.ours.write("Buildfile", BUILDFILE)
        b.theirs.remove("build/again.zip")
    return lines


def compare_sizes(work, against, most, theirs, ours):
    value = ours / theirs
    target, shown = "≤ %g %%" % (most * 100) if most else "–", "%.2f %%" % (value * 100)
    reached = value <= most if most else None
    return line(work, against, target, size(theirs), size(ours), shown, reached, 1)


def memory(bench, workload):
    """Peak memory of one run of zipwright without other programs."""
    b = bench.bundles(workload)
    b.ours.remove("build", ".zipwright")
    b.build(b.ours, "wheels")
    most = bench.tools.measure([b.tools.zipwright], b.ours.folder, b.tools.env).peak
    for _ in range(3):
        b.ours.edit()
        sample = bench.tools.measure([b.tools.zipwright], b.ours.folder, b.tools.env)
        most = max(most, sample.peak)
    work = "%s, peak memory: wheelhouse in place, and edits" % workload
    ours, bundle = size(most), size(os.path.getsize(b.ours.zip))
    return [line(work, "the bundle: " + bundle, "≤ 150 MB", "", ours, "", most <= 150e6, 4)]
