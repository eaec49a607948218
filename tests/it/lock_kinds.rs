//! A sample project with the lockfile of every tool, cloned into an empty folder and built with an empty
//! home: each gives the same wheels, and the same files are selected as by `packaging`.

use std::fs;

use crate::lock_oracle::compare_real;
use crate::lock_tools::{PDM, PIP, PIPENV, POETRY, UV, install, trust};
use crate::sandbox::{Run, Sandbox};

const PYPROJECT: &str = r#"
[project]
name = "app"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["idna>=3", "markupsafe", "httpx[http2]", "colorama; sys_platform == 'win32'",
    "tomli; python_version < '3.11'"]
[project.optional-dependencies]
cloud = ["six"]
[dependency-groups]
dev = ["iniconfig"]
[tool.pdm]
distribution = false
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "simple"
url = "https://pypi.org/simple/"
priority = "primary"
"#;

const PIPFILE: &str = r#"
[[source]]
url = "https://pypi.org/simple"
verify_ssl = true
name = "pypi"
[packages]
idna = ">=3"
markupsafe = "*"
httpx = { extras = ["http2"], version = "*" }
six = "*"
[dev-packages]
iniconfig = "*"
"#;

/// Tools, and the commands that lock and export. `pylock.toml` is what pipenv writes.
const TOOLS: [(&str, &[&str]); 5] = [
    (
        UV,
        &[
            "uv lock -q",
            "uv export -q --frozen --no-dev --extra cloud --format pylock.toml -o pylock.uv.toml",
            "uv export -q --frozen --no-dev --extra cloud --no-emit-project -o hashed.txt",
        ],
    ),
    (PDM, &["pdm lock -q -G :all", "pdm export -f pylock -o pylock.pdm.toml"]),
    (
        POETRY,
        &["poetry lock -q", "poetry export -q -f pylock.toml --extras cloud -o pylock.poetry.toml"],
    ),
    (
        PIPENV,
        &["pipenv lock -q", "pipenv pylock --generate -q", "mv pylock.toml pylock.pipenv.toml"],
    ),
    (PIP, &["pip lock -q -o pylock.pip.toml idna>=3 markupsafe httpx[http2] six"]),
];

/// Names of targets, and their keys.
const KINDS: [(&str, &str); 6] = [
    ("uv", "lock = \"uv.lock\"\nextras = [\"cloud\"]"),
    ("uv-pylock", "lock = \"pylock.uv.toml\""),
    ("hashed", "requirements = [\"hashed.txt\"]"),
    ("pdm", "lock = \"pylock.pdm.toml\"\nextras = [\"cloud\"]"),
    ("poetry", "lock = \"pylock.poetry.toml\""),
    ("pipenv", "lock = \"pylock.pipenv.toml\""),
];

fn buildfile() -> String {
    let mut text = String::new();
    for (name, keys) in KINDS {
        for arch in ["arm64", "x86_64"] {
            text += &format!(
                "[target.{name}-{arch}]\nkind = \"wheelhouse\"\n{keys}\n\
                 platform = {{ python = \"3.13\", arch = \"{arch}\" }}\n"
            );
        }
    }
    // pip locks for the host alone.
    text + "[target.pip]\nkind = \"wheelhouse\"\nlock = \"pylock.pip.toml\"\n\
            [target.host]\nkind = \"wheelhouse\"\nlock = \"uv.lock\"\nextras = [\"cloud\"]\n"
}

fn lock(sandbox: &Sandbox) {
    for (tool, commands) in TOOLS {
        let programs = install(sandbox, tool);
        for command in commands {
            let (program, rest) = command.split_once(' ').unwrap();
            // An edge such as `idna>=3` is no redirection.
            let words: Vec<String> = rest.split(' ').map(|word| format!("'{word}'")).collect();
            let place = programs.join(program);
            let program = if place.exists() { place.display().to_string() } else { program.into() };
            sandbox.sh(&format!("'{program}' {}", words.join(" "))).success();
        }
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_clone_is_built_from_the_lockfile_of_every_tool_for_both_architectures() {
    let mut sandbox = Sandbox::with(&buildfile());
    trust(&mut sandbox);
    sandbox.set("PDM_CHECK_UPDATE", 0);
    sandbox.set("PIPENV_PYTHON", crate::sandbox::python().display());
    sandbox.set("PIPENV_VENV_IN_PROJECT", 1);
    sandbox.write("pyproject.toml", PYPROJECT).write("Pipfile", PIPFILE);
    sandbox.write(".gitignore", ".venv/\n");
    lock(&sandbox);
    let commit = "git init -q && git add -A && git -c user.name=a -c user.email=a@b.c commit -qm x \
                  && git clone -q . ../fresh";
    sandbox.sh(commit).success();
    for (name, extras, groups) in [
        ("uv", &[][..], &[][..]),
        ("pdm", &["cloud"], &["default", "dev"]),
        ("poetry", &[], &[]),
        ("pipenv", &[], &["dev"]),
        ("pip", &[], &[]),
    ] {
        let text = sandbox.read(&format!("pylock.{name}.toml"));
        // `packaging` refuses the empty list that pipenv writes; pip takes it for no limit.
        let text = text.replace("environments = []\n", "");
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|&it| it.into()).collect() };
        let selected = compare_real(&text, &owned(extras), &owned(groups));
        assert!(selected > 0, "nothing is selected from the lockfile of {name}");
    }

    fs::create_dir(sandbox.beside("empty")).unwrap();
    sandbox.set("HOME", sandbox.beside("empty").display());
    sandbox.unset("XDG_CACHE_HOME");
    let fresh = sandbox.beside("fresh");
    let names: Vec<String> = KINDS
        .iter()
        .flat_map(|(name, _)| ["arm64", "x86_64"].map(|arch| format!("{name}-{arch}")))
        .chain(["pip".into(), "host".into()])
        .collect();
    Run::of(sandbox.zipwright().current_dir(&fresh).args(&names)).success();
    let wheels = |name: &str| {
        let entries = fs::read_dir(fresh.join("build").join(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for (arch, machine) in [("arm64", "aarch64"), ("x86_64", "x86_64")] {
        let expected = wheels(&format!("uv-{arch}"));
        let has = |part: &str| expected.iter().any(|name| name.contains(part));
        assert!(has("idna-") && has("h2-") && has("six-") && has(machine), "{expected:?}");
        assert!(!has("iniconfig-") && !has("tomli-") && !has("colorama-"), "{expected:?}");
        for (name, _) in KINDS {
            assert_eq!(wheels(&format!("{name}-{arch}")), expected, "{name}");
        }
    }
    assert_eq!(wheels("pip"), wheels("host"));
}
