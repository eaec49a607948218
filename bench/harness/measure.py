"""Runs programs, measures them, and compares measurements in pairs."""

import os
import shlex
import statistics
import subprocess
import sys
import time

# Number of characters shown of the output of a failed run.
SHOWN = 3000


class Failed(Exception):
    """A failed program; the text has its name and its output."""


def say(text):
    """Prints progress."""
    print(text, file=sys.stderr, flush=True)


def call(argv, cwd, env, **options):
    """Runs a program without measuring it; returns its standard output."""
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-SHOWN:]
        raise Failed("`%s` in %s ended with %d:\n%s" % (shown(argv), cwd, done.returncode, said))
    return done.stdout


def shown(argv):
    return shlex.join(argv) if len(argv) < 8 else shlex.join(argv[:8]) + " ..."


class Sample:
    """One run: seconds of wall and CPU time, and the most memory in bytes that one process had."""

    def __init__(self, wall, cpu, peak):
        self.wall, self.cpu, self.peak = wall, cpu, peak


class Side:
    """One way to do the work of a row: a program, and the preparation of each run."""

    def __init__(self, name, argv, cwd, env, prepare=None, check=None):
        self.name, self.argv, self.cwd, self.env = name, argv, cwd, env
        self.prepare, self.check = prepare, check
        self.samples = []

    def run(self, tools):
        """Prepares, runs, and checks the result. Only the run itself is measured."""
        if self.prepare:
            self.prepare()
        sample = tools.measure(self.argv, self.cwd, self.env)
        if self.check:
            self.check()
        self.samples.append(sample)
        return sample

    def median(self, what):
        return statistics.median(getattr(sample, what) for sample in self.samples)

    def peak(self):
        return max(sample.peak for sample in self.samples)


def rounds(row, sides, count, tools):
    """A B C, A B C, ... so that other load of the machine affects all of them equally."""
    started = time.monotonic()
    for number in range(count):
        for side in sides:
            sample = side.run(tools)
            head = "%s %d/%d" % (row, number + 1, count)
            say("  %-26s %-28s %9.4f s" % (head, side.name, sample.wall))
    say("  %s took %.0f s" % (row, time.monotonic() - started))


def ratio(theirs, ours, what):
    """Median over the pairs of how many times longer theirs took."""
    pairs = zip(theirs.samples, ours.samples)
    least = 1e-6
    return statistics.median(
        max(getattr(a, what), least) / max(getattr(b, what), least) for a, b in pairs
    )


class Measurer:
    """Starts programs by a small launcher whose own memory and time are negligible."""

    def __init__(self, launcher, folder):
        self.launcher, self.report = launcher, os.path.join(folder, "report")
        self.log = os.path.join(folder, "log")

    def measure(self, argv, cwd, env):
        with open(self.log, "wb") as log:
            done = subprocess.run(
                [self.launcher, self.report] + argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        with open(self.report) as report:
            wall, cpu, peak, status = map(int, report.read().split())
        if done.returncode or status:
            with open(self.log, errors="replace") as log:
                said = log.read()[-SHOWN:]
            code = os.waitstatus_to_exitcode(status)
            raise Failed("`%s` in %s ended with %s:\n%s" % (shown(argv), cwd, code, said))
        return Sample(wall / 1e9, cpu / 1e6, peak * 1024)
