"""The rows about the engine: many `command` targets, many files, and nothing at all."""

import filecmp
import os
import shutil

from .measure import Failed, Side, call, say
from .table import Target, line, seconds, size

# What samurai reads.
SAMURAI = "samurai.ninja"


class Graph:
    """N targets, each a copy of one source, with one input that all of them share; the same files
    for every tool. Without `peers`, for zipwright alone."""

    def __init__(self, tools, count, peers=True):
        self.tools, self.count, self.edits = tools, count, 0
        self.env = dict(tools.env)
        self.by_ninja = peers and tools.has("ninja")
        name = "commands-%d" if peers else "alone-%d"
        self.folder = os.path.join(tools.folder, "graphs", name % count)
        self.names = ["%05d.txt" % number for number in range(count)]
        stamp = os.path.join(self.folder, "ready")
        if not os.path.exists(stamp):
            shutil.rmtree(self.folder, ignore_errors=True)
            self._write()
            self._build()
            open(stamp, "w").close()
        self.touched()

    def _write(self):
        for folder in ("src", "out"):
            os.makedirs(os.path.join(self.folder, folder))
        write(self.folder, "common.txt", "shared by all\n")
        write(self.folder, "files", "".join("src/%s\nout/%s\n" % (n, n) for n in self.names) + "common.txt\n")
        for name in self.names:
            write(self.folder, "src/" + name, "source %s\n" % name)
        outs = " ".join("out/" + name for name in self.names)
        rules = "".join("out/%s: src/%s common.txt\n\tcp src/%s out/%s\n" % (n, n, n, n) for n in self.names)
        write(self.folder, "Makefile", "all: %s\n.PHONY: all\n%s" % (outs, rules))
        edges = "".join("build out/%s: copy src/%s | common.txt\n" % (n, n) for n in self.names)
        write(self.folder, "build.ninja", "rule copy\n  command = cp $in $out\n" + edges)
        target = (
            '[target."%s"]\nkind = "command"\ninputs = ["src/%s", "common.txt"]\n'
            'outputs = ["out/%s"]\nrun = ["cp", "src/%s", "out/%s"]\n\n'
        )
        names = ", ".join('"%s"' % name for name in self.names)
        group = '[target.%s]\nkind = "group"\ntargets = [%s]\n\n'
        most = ", ".join('"%s"' % name for name in self.names[:-1])
        head = 'default = ["all"]\n\n' + group % ("all", names) + group % ("most", most)
        write(self.folder, "Buildfile", head + "".join(target % ((n,) * 5) for n in self.names))

    def _build(self):
        """By ninja, which keeps a log of its own that cannot be had otherwise; else by copying."""
        if self.by_ninja:
            say("building %d targets once, by ninja" % self.count)
            call([self.tools.found["ninja"], "--quiet"], self.folder, self.tools.env)
        for name in self.names if not self.by_ninja else []:
            shutil.copyfile(*(os.path.join(self.folder, side, name) for side in ("src", "out")))

    def touched(self):
        """Lets zipwright count what was built as up to date, unless it does already."""
        try:
            call([self.tools.zipwright, "-q"], self.folder, self.tools.env)
        except Failed:
            say("zipwright takes over %d targets once, with -t" % self.count)
            call([self.tools.zipwright, "-t"], self.folder, self.tools.env)
            call([self.tools.zipwright, "-q"], self.folder, self.tools.env)
        call([self.tools.zipwright], self.folder, self.tools.env)

    def rebuilt(self):
        """One target is made again, so that the last build is one that did something."""
        os.remove(os.path.join(self.folder, "out", self.names[-1]))
        call([self.tools.zipwright], self.folder, self.tools.env)

    def new_environment(self):
        """A variable that the build before did not have, as in a new terminal."""
        self.edits += 1
        self.env["ZIPWRIGHT_BENCH_SESSION"] = "%d of %d" % (self.edits, os.getpid())

    def change(self):
        """The source of one target, with other content each time."""
        self.edits += 1
        write(self.folder, "src/" + self.names[-1], "edit %d of %d\n" % (self.edits, os.getpid()))

    def changed(self):
        """The change has been copied."""
        places = [os.path.join(self.folder, side, self.names[-1]) for side in ("src", "out")]
        if not filecmp.cmp(*places, shallow=False):
            raise Failed("the change did not arrive in %s" % places[1])

    def side(self, name, argv, prepare=None):
        """A tool for which there is nothing to do. One that does something is found out."""
        before = []

        def ready():
            if prepare:
                prepare()
            before[:] = [newest(self.folder, "out")]

        def check():
            if before != [newest(self.folder, "out")]:
                raise Failed("something was built in %s" % self.folder)

        return Side(name, argv, self.folder, self.env, ready, check)

    def sides(self):
        """Ours in four situations, then the floor, then the peers that are there."""
        found = [
            self.side("zipwright", [self.tools.zipwright]),
            self.side("zipwright, after a build", [self.tools.zipwright], self.rebuilt),
            self.side("zipwright, new environment", [self.tools.zipwright], self.new_environment),
            self.side("zipwright, another goal", [self.tools.zipwright, "most"]),
            self.side("lstat", [self.tools.native["lstat"], "files"]),
            self.side("make -rR", ["make", "-rR"]),
        ]
        if self.tools.has("ninja"):
            found.append(self.side("ninja", [self.tools.found["ninja"]]))
        if self.tools.has("samu"):
            argv = [self.tools.found["samu"], "-f", SAMURAI]
            if not os.path.exists(os.path.join(self.folder, SAMURAI)):
                self._build_by_samurai(argv)
            found.append(self.side("samurai", argv))
        return found

    def _build_by_samurai(self, argv):
        """Once more, and with a log elsewhere: it does not read the one of ninja, nor ninja its."""
        say("building %d targets once more, by samurai" % self.count)
        with open(os.path.join(self.folder, "build.ninja")) as file:
            rules = file.read()
        write(self.folder, SAMURAI, "builddir = samurai\n" + rules)
        call(argv, self.folder, self.tools.env)
        self.touched()


def write(folder, path, text):
    place = os.path.join(folder, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "w") as file:
        file.write(text)


def newest(folder, below):
    """When a file below was last written."""
    with os.scandir(os.path.join(folder, below)) as entries:
        return max(entry.stat().st_mtime_ns for entry in entries)


def commands(bench, count):
    """Nothing to do for many `command` targets."""
    graph = Graph(bench.tools, count)
    sides = graph.sides()
    bench.rounds("commands-%d" % count, sides, bench.count(9))
    ours, first, terminal, goal, floor, *peers = sides
    work = "no-op of %s `command` targets" % format(count, ",")
    less = Target(cost=1, of=("wall", "cpu"))
    lines = [bench.line(work, "`%s`" % peer.name, less, peer, ours) for peer in peers]
    against = "`lstat` of the same files, in C"
    lines.append(bench.line(work, against, Target(cost=1.5, of=("cpu",)), floor, ours))
    best = min(peers, key=lambda peer: peer.median("wall"))
    for how, side in (("the first after a build", first), ("a new environment", terminal), ("another goal", goal)):
        lines.append(bench.line("%s, %s" % (work, how), "`%s`" % best.name, less, best, side))
    for name, program in (("ninja", "ninja"), ("samurai", "samu")):
        if not bench.tools.has(program):
            bench.lacks(name, bench.tools.missing[program])
    return lines


def memory(bench, count):
    """The most memory of a build with nothing to do: the first after a build, and of another goal."""
    graph = Graph(bench.tools, count)
    if not bench.tools.has("ninja"):
        bench.lacks("ninja", bench.tools.missing["ninja"])
        return []

    def peak(argv):
        return bench.tools.measure(argv, graph.folder, bench.tools.env).peak

    theirs = peak([bench.tools.found["ninja"]])
    lines = []
    for how, goals in (("the first after a build", []), ("another goal", ["most"])):
        graph.rebuilt()
        ours = peak([bench.tools.zipwright, *goals])
        work = "peak memory, no-op of %s `command` targets, %s" % (format(count, ","), how)
        cells = [size(theirs), size(ours), "%.2f×" % (ours / theirs), ours <= 2 * theirs, 1]
        lines.append(line(work, "`ninja`", "≤ 2×", *cells))
    return lines


class Files:
    """N files, matched by a glob into one staging target, and with `peers` by a wildcard into
    make's rule."""

    def __init__(self, tools, count, peers=True):
        self.tools, self.count, self.peers, self.edits = tools, count, peers, 0
        self.folder = os.path.join(tools.folder, "graphs", "files-%d" % count)
        folders = [self._name(folder) for folder in range((count + 99) // 100)]
        stamp = os.path.join(self.folder, "ready")
        if not os.path.exists(stamp):
            shutil.rmtree(self.folder, ignore_errors=True)
            names = ["%s/f%05d.txt" % (folders[number // 100], number) for number in range(count)]
            for name in names:
                write(self.folder, "files/" + name, "file %s\n" % name)
            write(self.folder, "list", "".join("files/%s\nbuild/tree/files/%s\n" % (n, n) for n in names))
            open(stamp, "w").close()
        rule = "FROM := $(wildcard files/*/*)\nall: $(FROM:files/%=out/%)\n.PHONY: all\n"
        rule += "out/%: files/%\n\tcp $< $@\n"
        write(self.folder, "Makefile", rule)
        if peers and not os.path.exists(self.place("out")):
            shutil.copytree(self.place("files"), self.place("out"), copy_function=shutil.copyfile)
        staging = '[target.tree]\nkind = "staging"\nsources = ["files/**/*"]\n'
        write(self.folder, "Buildfile", staging)
        self.settle()

    @staticmethod
    def _name(folder):
        return "d%03d" % folder

    def place(self, path):
        return os.path.join(self.folder, path)

    def settle(self):
        """Both up to date, and found to be so once."""
        if self.peers:
            call(["make", "-rR"], self.folder, self.tools.env)
        for _ in range(2):
            call([self.tools.zipwright], self.folder, self.tools.env)

    def change(self):
        """One file in the middle, with other content each time."""
        self.edits += 1
        path = "%s/f%05d.txt" % (self._name(self.count // 200), self.count // 200 * 100)
        write(self.folder, "files/" + path, "edit %d of %d\n" % (self.edits, os.getpid()))
        return path

    def changed(self, below):
        """The change has arrived below."""
        path = "%s/f%05d.txt" % (self._name(self.count // 200), self.count // 200 * 100)

        def check():
            with open(self.place("files/" + path)) as new, open(self.place(below + path)) as old:
                if new.read() != old.read():
                    raise Failed("the change of %s did not arrive" % path)

        return check

    def sides(self, changing):
        made = []
        for name, argv, below in (
            ("zipwright", [self.tools.zipwright], "build/tree/files/"),
            ("make -rR", ["make", "-rR"], "out/"),
        ):
            prepare = self.change if changing else None
            made.append(Side(name, argv, self.folder, self.tools.env, prepare, self.changed(below)))
        return made


def globs(bench, count):
    """Many files of one staging target: nothing changed, and one file changed."""
    files = Files(bench.tools, count)
    still = files.sides(changing=False)
    row = "globs-%d" % count
    bench.rounds(row, still, bench.count(9))
    moved = files.sides(changing=True)
    bench.rounds(row, moved, bench.count(9))
    work = "%s files by globs into one staging target" % format(count, ",")
    half = Target(cost=0.5)
    more = moved[0].median("wall") / still[0].median("wall")
    own = line(
        work + ", one changed",
        "its own no-op",
        "–",
        seconds(still[0].median("wall")),
        seconds(moved[0].median("wall")),
        "%.2f×" % more,
        None,
        len(moved[0].samples),
    )
    return [
        bench.line(work + ", no-op", "`make -rR`, wildcard", half, still[1], still[0]),
        bench.line(work + ", one changed", "`make -rR`, wildcard", half, moved[1], moved[0]),
        own,
    ]


def startup(bench):
    """What it costs to be there at all."""
    tools = bench.tools
    folder = os.path.join(tools.folder, "graphs", "one")
    buildfile = (
        '[target.copy]\nkind = "command"\ninputs = ["source.txt"]\noutputs = ["copy.txt"]\n'
        'run = ["cp", "source.txt", "copy.txt"]\n'
    )
    write(folder, "Buildfile", buildfile)
    write(folder, "source.txt", "one\n")
    for _ in range(2):
        call([tools.zipwright], folder, tools.env)
    version = Side("zipwright --version", [tools.zipwright, "--version"], folder, tools.env)
    still = Side("zipwright, one target", [tools.zipwright], folder, tools.env)
    sides, lines = [version, still], []
    if tools.has("ninja"):
        argv = [tools.found["ninja"], "--version"]
        sides.append(Side("ninja --version", argv, folder, tools.env))
    else:
        bench.lacks("ninja", tools.missing["ninja"])
    bench.rounds("startup", sides, bench.count(40))
    for ours, work in ((version, "`zipwright --version`"), (still, "no-op of one `command` target")):
        wall = ours.median("wall")
        theirs, value = "", ""
        if len(sides) == 3:
            theirs = bench.times(sides[2])
            value = bench.ratio(sides[2], ours)
        cells = [theirs, bench.times(ours), value, wall <= 0.003, len(ours.samples)]
        lines.append(line(work, "`ninja --version`", "≤ 3 ms", *cells))
    return lines
