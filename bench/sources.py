#!/usr/bin/env python3
"""Times builds of five source distributions with C code: zipwright against `pip wheel`, in pairs.

    cargo build --release
    bench/sources.py [--zipwright PROGRAM] [--python PYTHON] [--pairs N] [--jobs N] [PACKAGE...]

The sdists are fetched once by pip, and both sides get the same files. Each side of a pair starts with an empty
cache of its own wheels, so everything is built; pip's own cache of downloads (build requirements) is warm for both
and shared. Prints a Markdown table: wall and CPU seconds of each pair, medians, and the medians of the ratios.
On a busy machine the ratio of CPU seconds is more reliable than that of wall seconds.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PACKAGES = [
    "markupsafe==3.0.4",
    "psutil==7.2.2",
    "simplejson==4.3.0",
    "msgpack==1.2.4",
    "regex==2026.11.15",
]


def timed(command, folder, env):
    """Returns wall and CPU seconds of a command with its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def by_pip(folder, sdists, options):
    names = ["./" + name for name in sorted(os.listdir(sdists))]
    command = [options.python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "wheels"] + names
    return timed(command, folder, dict(os.environ))


def by_zipwright(folder, sdists, options):
    with open(os.path.join(folder, "requirements.txt"), "w") as file:
        file.writelines("./%s\n" % name for name in sorted(os.listdir(sdists)))
    with open(os.path.join(folder, "Buildfile"), "w") as file:
        file.write(
            '[target.wheels]\nkind = "wheelhouse"\nrequirements = ["requirements.txt"]\npython = %s\n'
            % json.dumps(options.python)
        )
    env = dict(os.environ, XDG_CACHE_HOME=os.path.join(folder, "cache"))
    env.setdefault("PIP_CACHE_DIR", os.path.join(os.path.expanduser("~"), ".cache", "pip"))
    return timed([options.zipwright, "-j%d" % options.jobs, "wheels"], folder, env)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zipwright", default="target/release/zipwright")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("packages", nargs="*", default=PACKAGES)
    options = parser.parse_args()
    options.zipwright = os.path.abspath(options.zipwright)
    say = "import sys; print(sys.executable)"
    options.python = subprocess.check_output([options.python, "-c", say], text=True).strip()
    top = tempfile.mkdtemp(prefix="sources-")
    try:
        sdists = os.path.join(top, "sdists")
        for package in options.packages:
            command = [options.python, "-m", "pip", "download", "-q", "--no-deps", "-d", sdists]
            command += ["--no-binary", package.split("==")[0], package]
            subprocess.run(command, check=True)
        print("| pair | pip wall | zipwright wall | ratio | pip CPU | zipwright CPU | ratio |")
        print("|---|---|---|---|---|---|---|")
        rows = []
        for pair in range(1, options.pairs + 1):
            sides = [("pip", by_pip), ("zipwright", by_zipwright)]
            results = {}
            # The order alternates, so that neither side has the quieter half.
            for name, side in sides if pair % 2 else reversed(sides):
                # At a path of its own, because pip caches its builds under the path of the source.
                folder = tempfile.mkdtemp(dir=top)
                for sdist in os.listdir(sdists):
                    shutil.copy(os.path.join(sdists, sdist), folder)
                results[name] = side(folder, sdists, options)
                shutil.rmtree(folder)
            (wall, cpu), (own_wall, own_cpu) = results["pip"], results["zipwright"]
            rows.append((wall, own_wall, own_wall / wall, cpu, own_cpu, own_cpu / cpu))
            print("| %d | %.1f s | %.1f s | %.2f | %.1f s | %.1f s | %.2f |" % (pair, *rows[-1]), flush=True)
        medians = tuple(statistics.median(column) for column in zip(*rows))
        print("| median | %.1f s | %.1f s | **%.2f** | %.1f s | %.1f s | **%.2f** |" % medians)
        print("\n%d CPUs; load %.1f" % (len(os.sched_getaffinity(0)), os.getloadavg()[0]))
    finally:
        shutil.rmtree(top)


main()
