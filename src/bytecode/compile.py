"""Compiles the files of a folder, `0`, `1`, …, to bytecode that is never compared with its source.

The file `paths` has one line for each: its path in the bundle. Each is compiled in a process of its
own, because the output of marshal depends on the strings in memory. Writes `0.pyc`, or `0.why` with
the reason why there is none.
"""

import importlib.util
import marshal
import os
import sys

# Hash-based and unchecked (PEP 552), because the times of a bundle's files have no meaning.
FLAGS = 1


def compiled(name, path):
    with open(name, "rb") as file:
        source = file.read()
    code = compile(source, "/var/task/" + path, "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + FLAGS.to_bytes(4, "little")
    return header + importlib.util.source_hash(source) + marshal.dumps(code)


def leave(place, data):
    with open(place, "wb") as file:
        file.write(data)


def why(error):
    if isinstance(error, SyntaxError):
        return "%s (line %s)" % (error.msg, error.lineno)
    return "%s: %s" % (type(error).__name__, error)


def main():
    os.chdir(sys.argv[1])
    with open("paths", encoding="utf-8") as file:
        paths = file.read().split("\n")
    running = 0
    for number, path in enumerate(paths):
        name = str(number)
        # Start the next while one is compiled; otherwise each would wait for a context switch.
        if running == 2:
            os.wait()
            running -= 1
        if os.fork():
            running += 1
            continue
        try:
            try:
                leave(name + ".pyc", compiled(name, path))
            except Exception as error:
                leave(name + ".why", why(error).encode("utf-8", "replace"))
        finally:
            os._exit(0)
    for _ in range(running):
        os.wait()


main()
