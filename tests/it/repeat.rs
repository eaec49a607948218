//! Packages of several build back ends, built from source twice, the second time under other
//! conditions: each gives the same wheel, and the wheel works.

use std::collections::BTreeMap;
use std::fs;

use crate::recipe::{build, isolation, make_hostile, member, project, sdist};
use crate::sandbox::{Run, Sandbox};

/// Folders of `fixtures/backends`: setuptools with C, setuptools with Cython, meson-python with C,
/// and flit with Python only. Each has a habit that changes the bytes of an ordinary build.
const BACK_ENDS: [&str; 4] = ["setuptools", "cython", "meson", "flit"];

/// Returns a project that requires all of them.
fn back_ends() -> Sandbox {
    let lines = BACK_ENDS.map(|name| format!("./by-{name}-1.0.tar.gz\n"));
    let sandbox = project(&lines.concat());
    for name in BACK_ENDS {
        sdist(&sandbox, &format!("backends/{name}"), &format!("by-{name}-1.0"));
    }
    without_dependencies(sandbox)
}

/// Packages of the package index: setuptools with C, Cython, scikit-build-core, and flit with
/// Python only. They are four of those in `docs/REPRODUCIBILITY.md`.
const PACKAGES: [&str; 4] =
    ["markupsafe==3.0.4", "pyyaml==6.0.3", "argon2-cffi-bindings==26.2.0", "idna==3.20"];

/// Returns a project that requires all of them, as sources.
fn packages() -> Sandbox {
    let lines = PACKAGES.map(|line| {
        let name = line.split("==").next().unwrap();
        format!("--no-binary {name}\n{line}\n")
    });
    without_dependencies(project(&lines.concat()))
}

/// Removes dependencies of the packages, but not of their builds.
fn without_dependencies(sandbox: Sandbox) -> Sandbox {
    let buildfile = sandbox.read("Buildfile") + "pip-args = [\"--no-deps\"]\n";
    sandbox.write("Buildfile", buildfile);
    sandbox
}

fn wheels(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let folder = fs::read_dir(sandbox.path("build/wheels")).unwrap();
    folder
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Builds two equal projects, the second under other conditions; returns the first, and its run.
#[track_caller]
fn are_the_same_twice(make: fn() -> Sandbox, count: usize) -> (Sandbox, Run) {
    let one = make();
    let run = build(&one, "022").success();
    assert_eq!(run.target("wheels")["built"], count);
    let mut two = make();
    make_hostile(&mut two);
    build(&two, "077").success();
    let (first, second) = (wheels(&one), wheels(&two));
    assert_eq!(first.len(), count, "{:?}", first.keys());
    let same = |name: &&String| first.get(*name) == second.get(*name);
    let different: Vec<&String> =
        first.keys().chain(second.keys()).filter(|name| !same(name)).collect();
    assert!(different.is_empty(), "these differ: {different:?}");
    (one, run)
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn packages_of_the_index_are_the_same_twice() {
    are_the_same_twice(packages, PACKAGES.len());
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn packages_of_four_back_ends_are_the_same_twice_and_work() {
    let (one, run) = are_the_same_twice(back_ends, BACK_ENDS.len());
    let first = wheels(&one);
    let by_meson = first.iter().find(|(name, _)| name.starts_with("by_meson")).unwrap().1;
    if isolation(&run) == "namespaces" {
        assert_eq!(member(by_meson, "by_meson_where.py"), "WHERE = \"/zipwright/build\"\n");
    }
    let script = "for wheel in build/wheels/*.whl; do python3 -m zipfile -e $wheel unpacked; done\n\
                  cd unpacked && python3 -c '\n\
                  import by_setuptools, by_cython, by_meson, by_flit\n\
                  print(by_setuptools.greet(\"you\"), by_meson.greet(\"you\"))\n\
                  print(by_cython.add(40, 2), by_flit.NAME)'";
    let said = one.sh(script).success().stdout;
    assert_eq!(said, "Hello, you! Hello, you!\n42 by-flit\n");
}
