//! Another project with the same wheels: everything comes from the per-user cache.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::index::Index;
use crate::kills;
use crate::lockfiles::lock;
use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
default = ["package"]
[target.wheels]
kind = "wheelhouse"
lock = "pylock.toml"
python = "python3"
PLATFORM
[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py"]
[target.package]
kind = "zip"
staging = "staging"
output = "lambda.zip"
"#;

/// Lets every Python that starts, and git, add a line to the file `started` beside the project.
fn count_starts(sandbox: &mut Sandbox) {
    let log = sandbox.beside("started").display().to_string();
    fs::write(&log, "").unwrap();
    let hooks = sandbox.beside("hooks");
    fs::create_dir(&hooks).unwrap();
    let hook = format!("import sys\nopen({log:?}, 'a').write(sys.executable + '\\n')\n");
    fs::write(hooks.join("sitecustomize.py"), hook).unwrap();
    fs::write(hooks.join("git"), format!("#!/bin/sh\necho git >> '{log}'\nexit 1\n")).unwrap();
    fs::set_permissions(hooks.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.set("PYTHONPATH", hooks.display());
    let path = std::env::var("PATH").unwrap();
    let python = crate::sandbox::python().parent().unwrap().display();
    sandbox.set("PATH", format!("{}:{python}:{path}", hooks.display()));
}

/// Returns a project with the wheels `alpha` and `beta`, built, and its index.
fn first_project(platform: &str) -> (Sandbox, Index) {
    let mut sandbox = Sandbox::new();
    count_starts(&mut sandbox);
    fs::create_dir(sandbox.beside("files")).unwrap();
    for name in ["alpha", "beta"] {
        kills::wheel(&sandbox.beside("files"), name, 2);
    }
    let index = Index::of(&sandbox.beside("files"));
    sandbox.write("Buildfile", BUILDFILE.replace("PLATFORM", platform));
    sandbox.write("pylock.toml", lock(&sandbox, &index)).write("handler.py", "x = 1\n");
    sandbox.run([]).success();
    (sandbox, index)
}

fn build_in(sandbox: &Sandbox, folder: &str) -> Run {
    let started = sandbox.beside("started");
    fs::write(started, "").unwrap();
    Run::of(sandbox.zipwright().args(["-C", folder]))
}

#[test]
fn it_fetches_no_byte_and_starts_no_process() {
    for platform in ["platform = { python = \"3.13\", arch = \"arm64\" }", ""] {
        let (sandbox, index) = first_project(platform);
        let started = || fs::read_to_string(sandbox.beside("started")).unwrap();
        // With a platform, the lockfile says everything.
        assert_eq!(started().contains("python"), platform.is_empty(), "{}", started());
        let requests = index.requested();
        assert_eq!(requests.len(), 2);
        for name in ["Buildfile", "handler.py", "pylock.toml"] {
            fs::create_dir_all(sandbox.beside("second")).unwrap();
            fs::copy(sandbox.path(name), sandbox.beside("second").join(name)).unwrap();
        }
        build_in(&sandbox, "../second").success();
        assert_eq!(index.requested(), requests);
        assert_eq!(started(), "");
        let second = sandbox.beside("second");
        assert_eq!(fs::read(second.join("lambda.zip")).unwrap(), sandbox.bytes("lambda.zip"));
        // A pip in the working directory would be the one that runs.
        fs::write(second.join("pip.py"), "__version__ = '30'").unwrap();
        build_in(&sandbox, "../second").success();
        let started = fs::read_to_string(sandbox.beside("started")).unwrap();
        assert_eq!(started.contains("python"), platform.is_empty());
    }
}

#[test]
fn a_lockfile_for_a_platform_needs_no_python() {
    let (mut sandbox, _index) =
        first_project("platform = { python = \"3.13\", arch = \"x86_64\" }");
    let first = sandbox.bytes("lambda.zip");
    sandbox.set("PATH", sandbox.beside("hooks").display());
    sandbox.set("XDG_CACHE_HOME", sandbox.beside("other-cache").display());
    sandbox.run(["clean"]).success();
    sandbox.run([]).success();
    assert_eq!(sandbox.bytes("lambda.zip"), first);
    let record = sandbox.read("lambda.zip.record.json");
    assert!(record.contains("\"interpreters\": []"), "{record}");
    // Anything else needs one.
    sandbox.write("Buildfile", BUILDFILE.replace("PLATFORM", ""));
    sandbox.run([]).failure().stderr_has("there is no interpreter `python3` on PATH");
}
