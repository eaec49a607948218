"""The command line of bench/run."""

import argparse
import os
import sys
import textwrap

from . import bundles, fetching, graphs, measure, table, watching, workloads
from .measure import Failed, say
from .tools import ROOT, Tools

PAGE_PART = "bench/run"

# In the order of the table; the rows in QUICK are small enough for a check on every commit.
ROWS = {
    "edit-L": lambda bench: bundles.edit(bench, "L"),
    "tail-M": lambda bench: bundles.tail(bench, "M"),
    "tail-L": lambda bench: bundles.tail(bench, "L"),
    "cold-M": lambda bench: bundles.cold(bench, "M"),
    "cold-L": lambda bench: bundles.cold(bench, "L"),
    "size-M": lambda bench: bundles.sizes(bench, "M"),
    "size-L": lambda bench: bundles.sizes(bench, "L"),
    "noop-L": lambda bench: bundles.noop(bench, "L"),
    "added-M": lambda bench: bundles.added(bench, "M"),
    "added-L": lambda bench: bundles.added(bench, "L"),
    "pinned-M": lambda bench: bundles.pinned(bench, "M"),
    "pinned-L": lambda bench: bundles.pinned(bench, "L"),
    "locked-M": lambda bench: fetching.locked(bench, "M"),
    "locked-L": lambda bench: fetching.locked(bench, "L"),
    "second-M": lambda bench: fetching.second(bench, "M"),
    "second-L": lambda bench: fetching.second(bench, "L"),
    "unpinned-M": lambda bench: fetching.unpinned(bench, "M"),
    "unpinned-L": lambda bench: fetching.unpinned(bench, "L"),
    "response-M": lambda bench: watching.response(bench, "M"),
    "response-L": lambda bench: watching.response(bench, "L"),
    "live-M": lambda bench: watching.live(bench, "M"),
    "live-L": lambda bench: watching.live(bench, "L"),
    "commands-10000": lambda bench: graphs.commands(bench, 10_000),
    "commands-50000": lambda bench: graphs.commands(bench, 50_000),
    "globs-50000": lambda bench: graphs.globs(bench, 50_000),
    "memory-L": lambda bench: bundles.memory(bench, "L"),
    "memory-50000": lambda bench: graphs.memory(bench, 50_000),
    "startup": graphs.startup,
}
QUICK = {
    "edit-S": lambda bench: bundles.edit(bench, "S"),
    "tail-S": lambda bench: bundles.tail(bench, "S"),
    "cold-S": lambda bench: bundles.cold(bench, "S"),
    "size-S": lambda bench: bundles.sizes(bench, "S"),
    "noop-S": lambda bench: bundles.noop(bench, "S"),
    "added-S": lambda bench: bundles.added(bench, "S"),
    "pinned-S": lambda bench: bundles.pinned(bench, "S"),
    "locked-S": lambda bench: fetching.locked(bench, "S"),
    "second-S": lambda bench: fetching.second(bench, "S"),
    "unpinned-S": lambda bench: fetching.unpinned(bench, "S"),
    "response-S": lambda bench: watching.response(bench, "S"),
    "live-S": lambda bench: watching.live(bench, "S"),
    "commands-100": lambda bench: graphs.commands(bench, 100),
    "globs-300": lambda bench: graphs.globs(bench, 300),
    "memory-S": lambda bench: bundles.memory(bench, "S"),
    "memory-100": lambda bench: graphs.memory(bench, 100),
    "startup": graphs.startup,
}


class Bench:
    """The context of a row."""

    def __init__(self, tools, options):
        self.tools, self.options = tools, options
        self.projects, self.absent, self.notes = {}, [], []

    def bundles(self, workload):
        if workload not in self.projects:
            workloads.fetch(self.tools, [workload])
            self.projects[workload] = bundles.Bundles(self, workload)
        return self.projects[workload]

    def count(self, usual):
        """Returns the number of rounds."""
        if self.options.quick:
            return 1
        return self.options.runs or usual

    def rounds(self, row, sides, count):
        measure.rounds(row, sides, count, self.tools)

    def lacks(self, what, why):
        self.absent.append((what, why))

    times = staticmethod(table.times)

    @staticmethod
    def ratio(theirs, ours):
        return "%s×" % table.digits(1 / measure.ratio(theirs, ours, "wall"))

    def line(self, work, against, target, theirs, ours):
        """`target` is None for a row without a goal."""
        ratios = {what: measure.ratio(theirs, ours, what) for what in ("wall", "cpu")}
        judged = target and not self.options.quick
        return table.line(
            work,
            against,
            target.text() if target else "–",
            table.times(theirs),
            table.times(ours),
            target.shown(ratios) if target else "%s×" % table.digits(1 / ratios["wall"]),
            target.judge(ratios) if judged else None,
            len(ours.samples),
        )


def arguments(text):
    parser = argparse.ArgumentParser(
        prog="bench/run", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser)
    parser.add_argument("--quick", action="store_true", help="small projects, one run each, nothing judged")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows: " + ", ".join(ROWS))
    parser.add_argument("--runs", type=int, help="number of runs of each side, for every row")
    parser.add_argument("--peers", help="also install these, separated by commas: sam, ministack, aws")
    parser.add_argument(
        "--package-py", type=os.path.abspath, metavar="FILE", help="terraform-aws-lambda's `package.py`"
    )
    parser.add_argument(
        "--index",
        metavar="URL",
        help="the package index of the rows locked-* and unpinned-*, in place of a local one; PIP_CERT, "
        "SSL_CERT_FILE and HTTPS_PROXY are passed on",
    )
    parser.add_argument("--write", metavar="FILE", help="put the table into this page")
    return parser


def add_common(parser):
    parser.add_argument("--zipwright", type=os.path.abspath, help="the program; else it is built")
    parser.add_argument("--folder", default=os.path.join(ROOT, "target", "bench"), help="where all is kept")
    parser.add_argument("--python", default="python3", help="the interpreter of the projects")
    parser.set_defaults(peers=None, package_py=None)


def machine(tools):
    text = "Measured on %s, with %s." % (table.machine(tools.folder), ", ".join(tools.versions()))
    return "\n".join(textwrap.wrap(text, 115, break_long_words=False)) + "\n"


def main(text):
    parser = arguments(text)
    options = parser.parse_args()
    every = QUICK if options.quick else ROWS
    names = options.only or list(every)
    unknown = [name for name in names if name not in every]
    if unknown:
        parser.error("no row %s; there are: %s" % (", ".join(unknown), ", ".join(every)))
    tools = Tools(options)
    kept = table.Kept(tools.folder, workloads.digest_of(tools.zipwright))
    bench, failed = Bench(tools, options), []
    for name in names:
        say("row %s" % name)
        bench.absent, bench.notes = [], []
        try:
            kept.keep(name, every[name](bench), bench.absent, bench.notes)
        except Failed as error:
            say("row %s failed: %s" % (name, error))
            failed.append(name)
    under = machine(tools)
    print(kept.text(names, under), end="")
    if options.write:
        table.write_between(options.write, PAGE_PART, kept.text(list(every), under))
    if failed:
        sys.exit("failed: " + ", ".join(failed))
