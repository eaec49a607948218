//! Wheelhouses for another Lambda runtime, with a real pip under every installed Python: markers,
//! `requires-python` and source distributions are evaluated for the runtime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dice::say;
use crate::lockfiles::sha256;
use crate::sandbox::Sandbox;

fn buildfile(python: &str, runtime: &str, rest: &str) -> String {
    format!(
        "[target.wheels]\nkind = \"wheelhouse\"\npython = \"{python}\"\n\
         platform = {{ python = \"{runtime}\", arch = \"arm64\" }}\n{rest}"
    )
}

fn wheels(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path("build/wheels")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn projects(sandbox: &Sandbox) -> Vec<String> {
    wheels(sandbox).iter().map(|name| name.split('-').next().unwrap().to_string()).collect()
}

/// Returns one interpreter for each installed version of Python and pip.
fn pythons() -> Vec<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let versions = fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten();
    let mut all: Vec<PathBuf> =
        versions.flatten().map(|entry| entry.path().join("bin/python")).collect();
    all.extend((8..16).map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}"))));
    all.push("python3".into());
    let mut found = BTreeMap::new();
    for python in all {
        let script = "import sys, pip; print(*sys.version_info[:2], pip.__version__)";
        let Ok(says) = Command::new(&python).args(["-c", script]).output() else { continue };
        let says = String::from_utf8(says.stdout).unwrap();
        let pip = says.split_whitespace().nth(2).unwrap_or_default().to_string();
        let number = |at: usize| pip.split('.').nth(at)?.parse::<u32>().ok();
        if (number(0), number(1)) >= (Some(22), Some(2)) {
            found.entry(says).or_insert(python);
        }
    }
    found.into_values().collect()
}

const MARKERS: &str = "\
    anyio==4.4.0\n\
    six==1.17.0; platform_machine == 'aarch64'\n\
    pytz==2024.1; platform_machine == 'x86_64'\n\
    colorama==0.4.6; sys_platform == 'win32' or os_name == 'nt'\n\
    toml==0.10.2; python_full_version < '3.11' and implementation_name == 'cpython'\n\
    tomli==2.0.1; platform_system == 'Linux' and python_version in '3.12 3.13'\n";

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_same_wheels_are_chosen_under_every_python() {
    let pythons = pythons();
    say(&format!("{} interpreters", pythons.len()));
    assert!(!pythons.is_empty());
    let early = ["anyio", "exceptiongroup", "idna", "six", "sniffio", "toml", "typing_extensions"];
    let late = ["anyio", "idna", "six", "sniffio", "tomli"];
    for (runtime, expected) in [("3.10", &early[..]), ("3.13", &late[..])] {
        let mut all = Vec::new();
        for python in &pythons {
            let rest = "requirements = [\"requirements.txt\"]\n";
            let sandbox = Sandbox::with(&buildfile(python.to_str().unwrap(), runtime, rest));
            sandbox.write("requirements.txt", MARKERS);
            sandbox.run(["wheels"]).success();
            assert_eq!(projects(&sandbox), expected, "{} for {runtime}", python.display());
            all.push(wheels(&sandbox));
        }
        all.dedup();
        assert_eq!(all.len(), 1, "{all:#?}");
    }
}

/// Writes the fixture as the project `name`: its version and tag, and its requirements. `file:`
/// URLs may begin with `{here}`, the project's folder as its build sees it.
fn project(sandbox: &Sandbox, name: &str, (version, tag): (&str, &str), requires: &str) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/greeting");
    let read = |file: &str| fs::read_to_string(fixture.join(file)).unwrap();
    let pyproject = read("pyproject.toml");
    let pyproject =
        pyproject.replace("greeting", name).replace("\"1.0\"", &format!("\"{version}\""));
    sandbox.write(&format!("{name}/pyproject.toml"), format!("{pyproject}tag = \"{tag}\"\n"));
    let line = "members[f\"{info}/METADATA\"] = metadata.encode()";
    let backend = read("backend/backend.py");
    assert!(backend.contains(line));
    let requires: String =
        requires.lines().map(|line| format!("Requires-Dist: {line}\\n")).collect();
    let added = format!("metadata += {requires:?}.replace('{{here}}', os.getcwd())\n    {line}");
    sandbox.write(
        &format!("{name}/backend/backend.py"),
        backend.replace(line, &added).replace("\\\\n", "\\n"),
    );
    sandbox.write(&format!("{name}/src/{name}.py"), "");
}

/// Makes a source distribution of a project, in the folder `sdists`.
fn sdist(sandbox: &Sandbox, name: &str, version: &str) {
    let script = format!(
        "mkdir -p sdists && cp -r {name} {name}-{version} && \
         tar czf sdists/{name}-{version}.tar.gz {name}-{version} && rm -r {name} {name}-{version}"
    );
    sandbox.sh(&script).success();
}

const FIND: &str = "--no-index\n--find-links sdists\n";

#[test]
fn a_pure_source_distribution_is_built_for_the_runtime() {
    let rest = "requirements = [\"requirements.txt\"]\n";
    let sandbox = Sandbox::with(&buildfile("python3", "3.13", rest));
    project(&sandbox, "plain", ("1.0", "py3-none-any"), "");
    sdist(&sandbox, "plain", "1.0");
    project(&sandbox, "needy", ("1.0", "py3-none-any"), "plain>=1; python_version == '3.13'");
    sdist(&sandbox, "needy", "1.0");
    sandbox.write("requirements.txt", format!("{FIND}needy\n"));
    let said = sandbox.run(["wheels"]).success().stderr;
    assert!(!said.contains("ERROR"), "{said}");
    assert_eq!(wheels(&sandbox), ["needy-1.0-py3-none-any.whl", "plain-1.0-py3-none-any.whl"]);

    // A wheel is preferred, even with an older version.
    sandbox
        .sh("mv build/wheels/plain-1.0-py3-none-any.whl sdists && rm sdists/plain-1.0.tar.gz")
        .success();
    project(&sandbox, "plain", ("2.0", "py3-none-any"), "");
    sdist(&sandbox, "plain", "2.0");
    sandbox.write("requirements.txt", format!("{FIND}plain\n"));
    sandbox.run(["wheels"]).success();
    assert_eq!(wheels(&sandbox), ["plain-1.0-py3-none-any.whl"]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_source_distribution_with_compiled_code_is_named() {
    let rest = "requirements = [\"requirements.txt\"]\n";
    let sandbox = Sandbox::with(&buildfile("python3", "3.13", rest));
    sandbox.write("requirements.txt", format!("{FIND}native\n"));
    for (version, tag) in [("1.0", "cp313-cp313-linux_x86_64"), ("1.1", "py314-none-any")] {
        project(&sandbox, "native", (version, tag), "");
        sdist(&sandbox, "native", version);
        let error = sandbox.run(["wheels"]).failure().stderr;
        let named = format!(
            "`native {version}` is built from source here, as `native-{version}-{tag}.whl`"
        );
        assert!(error.contains(&named), "{error}");
        assert!(error.contains("does not fit python3.13 on arm64"), "{error}");
    }
    // Built once, and refused again.
    assert!(!sandbox.run(["wheels"]).failure().stderr.contains("building"));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_project_may_depend_on_another_by_its_path() {
    let both = "projects = [\"one\", \"two\"]\n";
    for url in ["file://{root}/two", "file://localhost{root}/two/", "file://{here}/../two"] {
        let sandbox = Sandbox::with(&buildfile("python3", "3.13", both));
        let url = url.replace("{root}", sandbox.path("").canonicalize().unwrap().to_str().unwrap());
        project(&sandbox, "one", ("1.0", "py3-none-any"), &format!("two @ {url}"));
        project(&sandbox, "two", ("1.0", "py3-none-any"), "");
        sandbox.run(["wheels"]).success();
        assert_eq!(projects(&sandbox), ["one", "two"], "{url}");
        sandbox.write(
            "Buildfile",
            "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"r.txt\"]\n",
        );
        sandbox.write("r.txt", "./two\n-e ./one\n");
        sandbox.run(["wheels"]).success();
        assert_eq!(projects(&sandbox), ["one", "two"], "{url}");

        sandbox.write("Buildfile", buildfile("python3", "3.13", "projects = [\"one\"]\n"));
        let error = sandbox.run(["wheels"]).failure().stderr;
        assert!(error.contains("`two` comes from the folder `two`"), "{error}");
    }
}

#[test]
fn an_interpreter_counts_once_something_pinned_is_built_from_source() {
    let rest = "requirements = [\"requirements.txt\"]\n";
    let mut sandbox = Sandbox::with(&buildfile("python3", "3.13", rest));
    sandbox.write("other", "#!/bin/sh\nexec python3 \"$@\"\n").chmod("other", 0o755);
    project(&sandbox, "plain", ("1.0", "py3-none-any"), "");
    sdist(&sandbox, "plain", "1.0");
    let pin = |sandbox: &Sandbox, file: &str| {
        let digest = sha256(&sandbox.bytes(file));
        sandbox.write("requirements.txt", format!("{FIND}plain==1.0 --hash=sha256:{digest}\n"));
    };
    pin(&sandbox, "sdists/plain-1.0.tar.gz");
    assert_eq!(sandbox.ran(["wheels"]), ["wheels"]);
    assert!(sandbox.ran(["wheels"]).is_empty(), "the key of the run has the interpreter");
    sandbox.write("Buildfile", buildfile("./other", "3.13", rest));
    assert!(sandbox.run(["explain", "wheels"]).success().stdout.contains("python ./other"));
    assert_eq!(sandbox.ran(["wheels"]), ["wheels"]);
    assert!(sandbox.ran(["wheels"]).is_empty());

    // The wheel of it, in place of the source.
    let wheel = "plain-1.0-py3-none-any.whl";
    sandbox.write(&format!("sdists/{wheel}"), sandbox.bytes(&format!("build/wheels/{wheel}")));
    pin(&sandbox, &format!("sdists/{wheel}"));
    assert_eq!(sandbox.ran(["wheels"]), ["wheels"]);
    for python in ["python3", "./other", "no-such-python"] {
        sandbox.write("Buildfile", buildfile(python, "3.13", rest));
        assert!(sandbox.ran(["wheels"]).is_empty(), "{python}");
    }
    sandbox.set("XDG_CACHE_HOME", sandbox.beside("other-cache").display());
    sandbox.run(["clean"]).success();
    let key = sandbox.run(["cache-key"]).success().stdout;
    sandbox.run(["wheels"]).success();
    assert_eq!(wheels(&sandbox), [wheel]);
    assert_eq!(sandbox.run(["cache-key"]).success().stdout, key);
    // Only an interpreter can build the source.
    sandbox.remove(&format!("sdists/{wheel}"));
    pin(&sandbox, "sdists/plain-1.0.tar.gz");
    let run = sandbox.run(["wheels"]).failure().stderr_has("`plain 1.0` is built from source");
    run.stderr_has("no interpreter `no-such-python` on PATH");
}

#[test]
fn an_interpreter_that_evaluates_markers_for_itself_is_refused() {
    let rest = "requirements = [\"requirements.txt\"]\n";
    let sandbox = Sandbox::with(&buildfile("./isolated", "3.9", rest));
    sandbox.write("isolated", "#!/bin/sh\nexec python3 -I \"$@\"\n").chmod("isolated", 0o755);
    project(&sandbox, "plain", ("1.0", "py3-none-any"), "");
    sdist(&sandbox, "plain", "1.0");
    sandbox
        .sh("mkdir wheels && python3 -m pip wheel -q --no-deps --no-index -w wheels sdists/*.gz")
        .success();
    sandbox.write("requirements.txt", "--no-index\n--find-links wheels\nplain\n");
    let error = sandbox.run(["wheels"]).failure().stderr;
    assert!(error.contains("an interpreter that is started without `-I`"), "{error}");
}

#[test]
fn metadata_is_read_without_the_users_environment() {
    let mut sandbox = Sandbox::with(
        "[target.wheels]\nkind = \"wheelhouse\"\nrequirements = [\"requirements.txt\"]\n",
    );
    sandbox.set("AWS_SECRET_ACCESS_KEY", "s3cret");
    sandbox.set("SOME_TOKEN", "t0ken");
    let log = sandbox.beside("seen").display().to_string();
    project(&sandbox, "plain", ("1.0", "py3-none-any"), "");
    let backend = sandbox.read("plain/backend/backend.py");
    let spy = format!("\nopen({log:?}, 'a').write(repr(dict(os.environ)) + '\\n')\n");
    sandbox.write("plain/backend/backend.py", backend + &spy);
    sdist(&sandbox, "plain", "1.0");
    sandbox.write("requirements.txt", format!("{FIND}plain\n"));
    sandbox.run(["wheels"]).success();
    let seen = fs::read_to_string(&log).unwrap();
    assert!(seen.contains("SOURCE_DATE_EPOCH"), "{seen}");
    let home = format!("'HOME': {:?}", sandbox.beside("home")).replace('"', "'");
    for foreign in ["s3cret", "t0ken", "ZIPWRIGHT_PIP", home.as_str()] {
        assert!(!seen.contains(foreign), "{foreign} in {seen}");
    }
}
