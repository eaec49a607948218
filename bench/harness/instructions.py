"""The command line of bench/instructions."""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys

from . import graphs, workloads
from .main import add_common
from .measure import Failed, call, say
from .table import markdown
from .tools import Tools

# A no-op is short, and the order of hash maps is one percent of it.
STILL = 5


def counted(tools, program, folder):
    """Instructions of one run, by callgrind."""
    report = os.path.join(tools.folder, "callgrind.out")
    # An idle thread more or less is not a difference between two programs.
    env = dict(tools.env, RAYON_NUM_THREADS="1")
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + report, program]
    done = subprocess.run(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise Failed("callgrind of %s ended with %d:\n%s" % (program, done.returncode, done.stderr[-2000:]))
    return int(found.group(1))


def measurements(tools, options, program):
    """Returns the counted runs by name."""
    project = workloads.Project(tools, options.project, "instructions")
    tools.zipwright = program
    project.remove(".zipwright", "build")
    call([program, "wheels"], project.folder, tools.env)
    counts = {}

    def count(name, folder, runs=1):
        say("  %s" % name)
        counts[name] = statistics.median_low(counted(tools, program, folder) for _ in range(runs))

    def nothing(name, folder):
        # The first run after work may still write its results.
        call([program], folder, tools.env)
        count(name, folder, STILL)

    count("%s, wheelhouse in place" % options.project, project.folder)
    nothing("%s, nothing changed" % options.project, project.folder)
    project.edit()
    count("%s, one-line edit of the handler" % options.project, project.folder)
    graph = graphs.Graph(tools, options.targets)
    nothing("no-op of %s `command` targets" % format(options.targets, ","), graph.folder)
    return counts


def main(text):
    parser = argparse.ArgumentParser(
        prog="bench/instructions", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser)
    parser.add_argument("--against", type=os.path.abspath, metavar="PROGRAM", help="compare with this one")
    parser.add_argument("--project", default="M", choices=list(workloads.WORKLOADS))
    parser.add_argument("--targets", default=10_000, type=int)
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not on PATH: there is nothing to count with")
    tools = Tools(options)
    workloads.fetch(tools, [options.project])
    programs = [options.against, tools.zipwright] if options.against else [tools.zipwright]
    try:
        found = []
        for program in programs:
            say(program)
            found.append(measurements(tools, options, program))
    except Failed as error:
        sys.exit(str(error))
    lines = []
    for name, new in found[-1].items():
        counts = [format(counts[name], ",") for counts in found]
        change = ["%+.2f %%" % (100 * (new / found[0][name] - 1))] if options.against else []
        lines.append([name] + counts + change)
    head = ["work", "old", "new", "change"] if options.against else ["work", "instructions"]
    print(markdown(head, lines), end="")
