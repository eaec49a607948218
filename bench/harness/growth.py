"""The command line of bench/growth."""

import argparse
import sys

from . import graphs, measure, plot, table
from .main import add_common, machine
from .measure import Failed, Side, say
from .tools import Tools

PAGE_PART = "bench/growth"
FILES = [1_000, 3_000, 10_000, 30_000, 100_000]
TARGETS = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
CURVES = ["one changed", "nothing changed", "lstat"]


def files(tools, count):
    """Returns the sides of `CURVES` for this number of files."""
    made = graphs.Files(tools, count, peers=False)
    argv, arrived = [tools.zipwright], made.changed("build/tree/files/")
    return [
        Side(CURVES[0], argv, made.folder, tools.env, made.change, arrived),
        Side(CURVES[1], argv, made.folder, tools.env),
        Side(CURVES[2], [tools.native["lstat"], "list"], made.folder, tools.env),
    ]


def targets(tools, count):
    made = graphs.Graph(tools, count, peers=False)
    # zipwright replaces only an output that it made.
    made.rebuilt()
    argv = [tools.zipwright]
    return [
        Side(CURVES[0], argv, made.folder, tools.env, made.change, made.changed),
        Side(CURVES[1], argv, made.folder, tools.env),
        Side(CURVES[2], [tools.native["lstat"], "files"], made.folder, tools.env),
    ]


def grow(tools, what, sides_of, counts, runs):
    """Returns the measured sides for each count."""
    found = {}
    for count in counts:
        found[count] = sides_of(tools, count)
        measure.rounds("%s %d" % (what, count), found[count], runs, tools)
    return found


def lines_of(what, found):
    for count, sides in found.items():
        yield ["%s %s" % (format(count, ","), what)] + [table.times(side) for side in sides]


def curves_of(found, of):
    """Returns the points of each curve: count and milliseconds."""
    return [
        (name, [(count, sides[at].median(of) * 1000) for count, sides in found.items()])
        for at, name in enumerate(CURVES)
    ]


def main(text):
    parser = argparse.ArgumentParser(
        prog="bench/growth", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--most", type=int, default=100_000, help="no larger than this")
    parser.add_argument("--write", metavar="FILE", help="put the table into this page")
    parser.add_argument("--plot", metavar="FILE", help="write the plot, an SVG")
    parser.add_argument("--of", choices=["wall", "cpu"], default="wall", help="what the plot shows")
    options = parser.parse_args()
    tools = Tools(options)
    counts = [[count for count in all_of if count <= options.most] for all_of in (FILES, TARGETS)]
    try:
        by_files = grow(tools, "files", files, counts[0], options.runs)
        by_targets = grow(tools, "targets", targets, counts[1], options.runs)
    except Failed as error:
        sys.exit(str(error))
    lines = [*lines_of("files", by_files), *lines_of("targets", by_targets)]
    head = ["wall (CPU)"] + CURVES
    result = table.markdown(head, lines) + "\n" + machine(tools)
    print(result, end="")
    if options.write:
        table.write_between(options.write, PAGE_PART, result)
    if options.plot:
        panels = [
            ("files in one staging target", curves_of(by_files, options.of)),
            ("command targets", curves_of(by_targets, options.of)),
        ]
        title = "%s time of a build by files and by targets" % {"wall": "Wall", "cpu": "CPU"}[options.of]
        with open(options.plot, "w") as file:
            file.write(plot.svg(title, panels))
        say("wrote %s" % options.plot)
