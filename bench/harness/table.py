"""Lines of the table, whether their target is reached, and Markdown."""

import json
import os
import platform
import re
import subprocess


class Target:
    """The goal of a line: at least so many times faster, or at most so many times theirs."""

    def __init__(self, faster=None, cost=None, of=("wall",)):
        self.faster, self.cost, self.of = faster, cost, of

    def text(self):
        if self.faster:
            return "≥ %g× faster" % self.faster
        names = {("wall",): "", ("cpu",): " of its CPU", ("wall", "cpu"): " of its wall and CPU"}
        return "≤ %g×%s" % (self.cost, names[self.of])

    def judge(self, ratios):
        """`ratios`: how many times longer theirs takes, by wall and by CPU."""
        if self.faster:
            return all(ratios[what] >= self.faster for what in self.of)
        return all(1 / ratios[what] <= self.cost for what in self.of)

    def shown(self, ratios):
        if self.faster:
            return "%s× faster (CPU %s×)" % (digits(ratios["wall"]), digits(ratios["cpu"]))
        values = ["%s×" % digits(1 / ratios[what]) for what in self.of]
        names = {"wall": "wall", "cpu": "CPU"}
        if self.of == ("wall",):
            return values[0]
        return ", ".join("%s %s" % (value, names[what]) for value, what in zip(values, self.of))


def digits(value):
    """Three digits are more than these measurements have."""
    return "%.0f" % value if value >= 100 else "%.3g" % value


def seconds(value):
    return "%.1f ms" % (value * 1000) if value < 0.1 else "%.3g s" % value


def size(value):
    return "%.2f MB" % (value / 1e6)


def times(side):
    return "%s (%s)" % (seconds(side.median("wall")), seconds(side.median("cpu")))


def line(work, against, target, theirs, ours, ratio, reached, runs):
    """`reached` is None for a line without a goal."""
    verdict = {True: "yes", False: "no", None: "–"}[reached]
    return [work, against, target, theirs, ours, ratio, verdict, str(runs)]


HEAD = ["work", "against", "target", "theirs: wall (CPU)", "ours: wall (CPU)", "ratio", "reached", "runs"]


def markdown(head, lines):
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(rows + ["| " + " | ".join(cells) + " |" for cells in lines]) + "\n"


class Kept:
    """Results of rows, kept between runs while the measured zipwright is the same."""

    def __init__(self, folder, digest):
        self.path, self.digest, self.rows = os.path.join(folder, "results.json"), digest, {}
        if os.path.exists(self.path):
            with open(self.path) as file:
                kept = json.load(file)
            if kept["digest"] == digest:
                self.rows = kept["rows"]

    def keep(self, row, lines, absent, notes):
        self.rows[row] = {"lines": lines, "absent": absent, "notes": notes}
        with open(self.path, "w") as file:
            json.dump({"digest": self.digest, "rows": self.rows}, file)

    def text(self, order, machine):
        """Returns the table of the existing rows in `order`, and the cases that could not be run."""
        rows = [self.rows[name] for name in order if name in self.rows]
        text = markdown(HEAD, [cells for row in rows for cells in row["lines"]])
        text += "\n" + machine
        text += "".join("\n%s\n" % note for row in rows for note in row["notes"])
        absent = {what: why for row in rows for what, why in row["absent"]}
        lacking = [name for name in order if name not in self.rows]
        if lacking:
            absent["rows"] = ", ".join(lacking)
        if absent:
            text += "\nNot run:\n\n" + "".join("- %s: %s\n" % pair for pair in absent.items())
        return text


def machine(folder):
    """Returns a description of the machine in one line."""
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    with open("/proc/meminfo") as file:
        memory = int(re.search(r"^MemTotal:\s*(\d+)", file.read(), re.MULTILINE).group(1))
    df = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True)
    return "%d cores (%s), %.0f GiB, Linux %s, %s" % (
        os.cpu_count(),
        found.group(1) if found else model,
        memory / 2**20,
        ".".join(platform.release().split(".")[:2]),
        (df.stdout.split() or ["unknown file system"])[-1],
    )


def write_between(path, name, text):
    """Replaces the text between the two comments of this name in a document."""
    begin, end = "<!-- %s: begin -->" % name, "<!-- %s: end -->" % name
    with open(path) as file:
        whole = file.read()
    if begin not in whole or end not in whole:
        raise SystemExit("%s has no `%s` and `%s`" % (path, begin, end))
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    with open(path, "w") as file:
        file.write(before + begin + "\n" + text.rstrip("\n") + "\n" + end + after)
