"""Runs inside a build: prepares its environment, or calls the hooks of the build back end.

`prepare` runs in the configured interpreter: it makes the virtual environment, installs the locked
wheels into it and writes the compiler wrappers. Its results in `env` and `cc` may be copied into
another build. `hook` runs in the environment's own interpreter. Needs only the standard library.
"""

import configparser
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile

# Temporary files get names in a fixed order, because a build may write them into its output.
NAMES = '''\
import itertools
import tempfile


class _Names:
    def __init__(self):
        self._count = itertools.count(1)

    def __iter__(self):
        return self

    def __next__(self):
        return "zw%06d" % next(self._count)


tempfile._name_sequence = _Names()
'''

# Arguments of the caller come first, so that ours win over a package's own maps and its `-g`.
WRAPPER = '''\
#!/bin/sh
for argument; do
    case $argument in
    -march=native | -mcpu=native | -mtune=native) echo "$argument" >> '{root}/notes' ;;
    esac
done
exec '{program}' "$@"{flags}
'''


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != here]
    with open(os.path.join(here, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    if sys.argv[1] == "prepare":
        prepare(request)
    else:
        hook(request)


def prepare(request):
    env = os.path.join(request["root"], "env")
    fresh = not os.path.exists(os.path.join(env, "pyvenv.cfg"))
    if fresh:
        import venv

        venv.EnvBuilder(symlinks=True).create(env)
    variables = {"base": env, "platbase": env, "installed_base": env, "installed_platbase": env}
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else "posix_prefix"
    paths = sysconfig.get_paths(scheme, variables)
    if fresh:
        write(os.path.join(paths["purelib"], "zipwright_names.py"), NAMES)
        write(os.path.join(paths["purelib"], "zipwright_names.pth"), "import zipwright_names\n")
        write_wrappers(request)
    for wheel in request["wheels"]:
        done = os.path.join(env, "installed", os.path.basename(wheel))
        if not os.path.exists(done):
            install(wheel, paths, os.path.join(env, "bin"))
            write(done, "")


def install(wheel, paths, scripts):
    """Unpacks a wheel into the environment, without bytecode and without records of the install."""
    python = os.path.join(scripts, "python")
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.infolist(), key=lambda info: info.filename):
            if member.is_dir():
                continue
            parts = member.filename.split("/")
            if ".." in parts or member.filename.startswith("/"):
                raise SystemExit("%s: unsafe path %s" % (wheel, member.filename))
            place, script = os.path.join(paths["purelib"], *parts), False
            if parts[0].endswith(".data") and len(parts) > 2:
                script = parts[1] == "scripts"
                if parts[1] == "headers":
                    name = parts[0].split("-")[0]
                    folder = os.path.join(os.path.dirname(scripts), "include", "site", name)
                else:
                    folder = scripts if script else paths[parts[1]]
                place = os.path.join(folder, *parts[2:])
            data = archive.read(member)
            if script and data.startswith(b"#!python"):
                data = b"#!" + python.encode() + data[data.index(b"\n") :]
            executable = script or (member.external_attr >> 16) & stat.S_IXUSR
            write(place, data, 0o755 if executable else 0o644)
            if len(parts) == 2 and parts[1] == "entry_points.txt":
                console_scripts(data.decode("utf-8"), scripts, python)


def console_scripts(text, scripts, python):
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    points.optionxform = str
    points.read_string(text)
    for group in ("console_scripts", "gui_scripts"):
        for name, target in points.items(group) if points.has_section(group) else ():
            module, _, function = target.split("[")[0].strip().partition(":")
            script = "#!%s\nimport sys\nfrom %s import %s as _entry\n" % (
                python,
                module,
                function.split(".")[0],
            )
            rest = function.split(".", 1)[1:]
            script += "sys.exit(%s())\n" % ".".join(["_entry"] + rest)
            write(os.path.join(scripts, name), script, 0o755)


def write_wrappers(request):
    root = request["root"]
    folder = os.path.join(root, "cc")
    names = {"cc", "gcc", "c++", "g++", "clang", "clang++", "gfortran"}
    names.update(request["compilers"])
    for variable in ("CC", "CXX"):
        words = (sysconfig.get_config_var(variable) or "").split()
        names.update(os.path.basename(word) for word in words[:1])
    triplet = sysconfig.get_config_var("MULTIARCH")
    if triplet:
        names.update((triplet + "-gcc", triplet + "-g++"))
    flags = {}
    for name in sorted(names):
        program = request["compilers"].get(name) or shutil.which(name, path=request["path"])
        if program:
            # Most of the names are links to one compiler.
            real = os.path.realpath(program)
            if real not in flags:
                flags[real] = flags_of(program, root)
            quoted = "".join(" '%s'" % flag for flag in flags[real])
            text = WRAPPER.format(root=root, program=program, flags=quoted)
            write(os.path.join(folder, name), text, 0o755)
    for name, program in request["rust"].items():
        text = "#!/bin/sh\nexec '%s' \"$@\"\n" % program
        write(os.path.join(folder, name), text, 0o755)


def flags_of(program, root):
    wanted = ["-ffile-prefix-map=%s=/zipwright" % root, "-g0"]
    if sys.base_prefix not in ("/", "/usr"):
        wanted.insert(0, "-ffile-prefix-map=%s=/python" % sys.base_prefix)
    if takes(program, wanted):
        return wanted
    return [flag for flag in wanted if takes(program, [flag])]


def takes(program, flags):
    command = [program] + flags + ["-E", "-x", "c", os.devnull]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def write(place, data, mode=0o644):
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode("utf-8"))
    os.chmod(place, mode)


def linker():
    """Returns the interpreter's own linker command without its flags, which may have its builder's paths."""
    for variable, compiler in (("LDSHARED", "CC"), ("LDCXXSHARED", "CXX")):
        words = (sysconfig.get_config_var(compiler) or "").split()
        if words and sys.platform.startswith("linux"):
            os.environ.setdefault(variable, " ".join(words + ["-shared"]))


def hook(request):
    import importlib
    import socket

    if request["namespaces"]:
        socket.sethostname("localhost")
    linker()
    os.chdir(request["source"])
    source = os.getcwd()
    sys.path[:0] = [os.path.join(source, folder) for folder in request["backend_path"]]
    module, _, attributes = request["backend"].partition(":")
    backend = importlib.import_module(module)
    for name in filter(None, attributes.split(".")):
        backend = getattr(backend, name)
    config = {}
    if module.split(".")[0] == "mesonpy" or module == "scikit_build_core.build":
        # Both would generate a name, and some packages write it into their files.
        config["build-dir"] = os.path.join(request["root"], "build")
    config.update(request["config"])
    if request["ask"] and wants_more(request, backend, config):
        return
    backend.build_wheel(os.path.join(request["root"], "out"), config)


def wants_more(request, backend, config):
    """Returns whether the back end has further requirements, and writes them to `requires.json`.

    The hook runs in a process of its own, as it may expect; but in one that has the back end
    imported already, which is most of the work.
    """
    ask = getattr(backend, "get_requires_for_build_wheel", None)
    if ask is None:
        return False
    place = os.path.join(request["root"], "requires.json")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            write(place, json.dumps(list(ask(config))))
            status = 0
        except SystemExit as error:
            print(error, file=sys.stderr)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the build back end could not report its requirements")
    with open(place, encoding="utf-8") as file:
        return not set(json.load(file)) <= set(request["requires"])


main()
