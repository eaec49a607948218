"""Prepares pip before it starts. The Python that runs pip imports this file as `sitecustomize`.

Code of packages that pip runs, such as the hooks of build back ends, gets an environment built from
nothing, as in a build. With a marker environment, pip evaluates markers for a Lambda runtime
instead of for the Python that runs it, and replaces the folders of local projects in metadata by
the wheels that were built from them.

Works with Python 3.7 and later and pip 22.2 and later. Needs only the standard library.
"""

import functools
import json
import os
import shutil
import sys
import urllib.parse
import urllib.request

SETTINGS = "ZIPWRIGHT_PIP"
FOLDER = os.path.dirname(os.path.abspath(__file__))

# Variables of pip that its children keep: the paths of its build environment.
KEPT = ("PATH", "PYTHONPATH", "PYTHONNOUSERSITE")


def main():
    settings = json.loads(os.environ.pop(SETTINGS))
    give_way()
    try:
        import pip  # noqa: F401
    except ImportError:
        return  # Python says so itself.
    try:
        guard_programs(settings)
        if settings["environment"]:
            use_environment(settings["environment"], tuple(settings["python"]))
        if settings["links"] or settings["origins"]:
            use_links(settings)
        if settings["wheels"]:
            keep_wheels(settings["wheels"])
    except Exception as error:
        # On an exception, Python would print it and run pip without any of this.
        print("ERROR: this version of pip is not supported: %r" % error, file=sys.stderr)
        sys.stderr.flush()
        os._exit(2)


def give_way():
    """Removes this file from the import system, and imports the interpreter's own `sitecustomize`, if any."""
    rest = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path != FOLDER]
    os.environ.pop("PYTHONPATH", None)
    if any(rest):
        os.environ["PYTHONPATH"] = os.pathsep.join(rest)
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != FOLDER]
    own = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError:
        pass
    except Exception:
        sys.excepthook(*sys.exc_info())
    sys.modules.setdefault("sitecustomize", own)


def guard_programs(settings):
    import pip._internal.utils.subprocess as module

    original = module.call_subprocess

    @functools.wraps(original)
    def call_subprocess(cmd, *args, **kwargs):
        # Version control programs are called by their names, and need the user's environment.
        if os.path.isabs(str(cmd[0])):
            environ = dict(kwargs.get("extra_environ") or {})
            if list(cmd[2:3]) == ["install"]:
                environ.update(nested(settings))
            else:
                environ = dict(variables(settings, kwargs.get("cwd")), **environ)
                foreign = [name for name in os.environ if name not in KEPT and name not in environ]
                kwargs["unset_environ"] = list(kwargs.get("unset_environ") or ()) + foreign
            kwargs["extra_environ"] = environ
        return original(cmd, *args, **kwargs)

    module.call_subprocess = call_subprocess


def nested(settings):
    """Returns the variables for a further pip, which installs build requirements for the host."""
    only = dict(settings, environment=None, links={}, origins={}, wheels=None)
    path = [FOLDER] + [os.environ[name] for name in ["PYTHONPATH"] if name in os.environ]
    return {SETTINGS: json.dumps(only), "PYTHONPATH": os.pathsep.join(path)}


def variables(settings, folder):
    """Returns the variables of a build; those of cargo only if the package has a crate."""
    for place, folders, files in os.walk(folder or "."):
        if "Cargo.toml" in files:
            return dict(settings["variables"], **settings["cargo"])
        if os.path.relpath(place, folder or ".").count(os.sep) >= 1:
            folders[:] = []
    return settings["variables"]


def use_environment(values, python):
    from pip._internal import build_env
    from pip._internal.cli import cmdoptions
    from pip._internal.resolution.resolvelib import candidates
    from pip._vendor.packaging import markers

    host = markers.default_environment
    markers.default_environment = lambda: dict(values)

    def on_host(method):
        """Chooses build requirements for the host."""

        @functools.wraps(method)
        def call(*args, **kwargs):
            before, markers.default_environment = markers.default_environment, host
            try:
                return method(*args, **kwargs)
            finally:
                markers.default_environment = before

        return call

    environment = build_env.BuildEnvironment
    environment.check_requirements = on_host(environment.check_requirements)
    installer = getattr(build_env, "InprocessBuildEnvironmentInstaller", None)
    if installer:
        installer.install = on_host(installer.install)

    judge = candidates.RequiresPythonCandidate.__init__

    @functools.wraps(judge)
    def init(self, py_version_info):
        """Replaces the check of `requires-python`, which `pip install` makes against its own Python."""
        on_host = markers.default_environment is host
        judge(self, py_version_info if on_host else python)

    candidates.RequiresPythonCandidate.__init__ = init

    check = cmdoptions.check_dist_restriction

    @functools.wraps(check)
    def check_dist_restriction(options, *args, **kwargs):
        """Allows source distributions for another platform: they are built and checked later."""
        before, options.ignore_dependencies = options.ignore_dependencies, True
        try:
            return check(options, *args, **kwargs)
        finally:
            options.ignore_dependencies = before

    cmdoptions.check_dist_restriction = check_dist_restriction


def use_links(settings):
    from pip._internal.exceptions import InstallationError
    from pip._internal.req import constructors
    from pip._vendor.packaging.requirements import Requirement

    original = constructors.install_req_from_req_string

    @functools.wraps(original)
    def install_req_from_req_string(req_string, comes_from=None, *args, **kwargs):
        try:
            requirement = Requirement(req_string)
        except ValueError:
            requirement = None  # pip says so itself.
        if requirement and (requirement.url or "").startswith("file:"):
            origin = settings["origins"].get(path_of(str(getattr(comes_from, "link", None) or "")))
            place = place_of(requirement.url, origin, settings["sandbox"])
            if place in settings["links"]:
                requirement.url = settings["links"][place]
                req_string = str(requirement)
            elif not os.path.isfile(path_of(requirement.url)):
                raise InstallationError(
                    "`%s` comes from the folder `%s`, named by another package: name the folder in a "
                    "requirements file or in `projects`, so that its files are inputs"
                    % (requirement.name, place)
                )
        return original(req_string, comes_from, *args, **kwargs)

    constructors.install_req_from_req_string = install_req_from_req_string


def keep_wheels(folder):
    """Makes a dry run download no wheel whose metadata the index has, and keeps those that it downloads."""
    from pip._internal.models.installation_report import InstallationReport
    from pip._internal.operations.prepare import RequirementPreparer
    from pip._internal.utils.direct_url_helpers import direct_url_from_link

    prepare = RequirementPreparer.prepare_linked_requirement

    @functools.wraps(prepare)
    def prepare_linked_requirement(self, req, *args, **kwargs):
        """Marks a requirement as prepared whose metadata and digest are known: pip before 26 downloads it."""
        distribution = prepare(self, req, *args, **kwargs)
        if req.needs_more_preparation and req.link.is_wheel and req.link.hash_name == "sha256":
            if req.download_info is None:
                req.download_info = direct_url_from_link(req.link, req.source_dir)
            req.get_dist = lambda: distribution
            req.needs_more_preparation = False
        return distribution

    RequirementPreparer.prepare_linked_requirement = prepare_linked_requirement

    report = InstallationReport.__init__

    @functools.wraps(report)
    def init(self, install_requirements):
        install_requirements = list(install_requirements)
        for req in install_requirements:
            place = getattr(req, "local_file_path", None)
            if place and req.link and req.link.is_wheel and not req.link.is_file:
                keep(place, os.path.join(folder, req.link.filename))
        report(self, install_requirements)

    InstallationReport.__init__ = init


def keep(place, kept):
    """Gives a file a second name, or copies it to another file system."""
    try:
        os.link(place, kept)
    except OSError:
        shutil.copyfile(place, kept)


def place_of(url, origin, sandbox):
    """Returns the real path of a URL in the metadata of a project in the folder `origin`.

    A back end that makes a relative path absolute saw the project in the sandbox of its build.
    """
    place = os.path.normpath(path_of(url))
    root = os.path.dirname(sandbox)
    if origin and (place == root or place.startswith(root + os.sep)):
        place = os.path.normpath(os.path.join(origin, os.path.relpath(place, sandbox)))
    fragment = urllib.parse.parse_qs(urllib.parse.urlsplit(url).fragment)
    return os.path.realpath(os.path.join(place, *fragment.get("subdirectory", [])))


def path_of(url):
    return urllib.request.url2pathname(urllib.parse.urlsplit(url).path)


main()
