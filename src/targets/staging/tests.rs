//! Trees: their content, precedence of sources, and updates of the folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::testing::{World, path, wheel};
use crate::diagnostic::Spanned;
use crate::target::Output;
use crate::targets::staging::{Destination, Winner};
use crate::timestamp::Timestamp;

fn folder(text: &str) -> Option<Destination> {
    Some(Destination::Folder(path(text)))
}

/// Returns the paths of the staged tree.
fn staged(world: &World) -> Vec<String> {
    world.run("staging").unwrap();
    let manifest = world.with_job("staging", |job| super::load("staging", job)).unwrap();
    manifest.entries.iter().map(|entry| entry.path.to_string()).collect()
}

fn failure(world: &World) -> String {
    format!("{:#}", world.run("staging").unwrap_err())
}

/// Returns files and folders of the written tree with their modes.
fn written(world: &World) -> Vec<String> {
    let root = world.root.join("build/tree");
    let mut found: Vec<String> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            format!("{mode:o} {}", entry.path().strip_prefix(&root).unwrap().display())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn wheels_and_sources_make_one_tree() {
    let demo = wheel(
        "demo",
        &[
            ("demo/__init__.py", ""),
            ("demo-1.data/purelib/more.py", "m"),
            ("demo-1.data/scripts/run", "#!python\nprint()\n"),
            ("demo-1.data/headers/demo.h", "h"),
        ],
    );
    let files = [
        ("handler.py", "h"),
        ("config/a.json", "{}"),
        ("config/deep/b.json", "{}"),
        ("config/deep/c.txt", "no"),
        ("src/pkg/m.py", "m"),
        ("src/pkg/__pycache__/m.pyc", "old"),
    ];
    let mut world = World::new(&[demo], &files);
    world
        .source("handler.py", None)
        .source("config/**/*.json", folder("etc"))
        .source("src", folder("."))
        .source("handler.py", Some(Destination::Exactly(path("main.py"))))
        .source("handler.py", folder("copies"));
    let expected = [
        "bin/run",
        "copies/handler.py",
        "demo-1.dist-info/RECORD",
        "demo/__init__.py",
        "etc/a.json",
        "etc/deep/b.json",
        "handler.py",
        "main.py",
        "more.py",
        "pkg/m.py",
    ];
    assert_eq!(staged(&world), expected);
    assert!(!world.root.join("build/tree").exists(), "the folder is not needed");
    world.exclude("**/deep/**").exclude("copies").exclude("*.dist-info");
    let expected = ["bin/run", "demo/__init__.py", "etc/a.json", "handler.py", "main.py"];
    assert_eq!(staged(&world)[..5], expected);
}

#[test]
fn the_result_depends_on_content_alone() {
    let make = || {
        let wheels = [wheel("b", &[("b.py", "b")]), wheel("a", &[("a.py", "a")])];
        let mut world = World::new(&wheels, &[("handler.py", "h")]);
        world.source("handler.py", None);
        world
    };
    let (one, other) = (make(), make());
    let result = one.run("staging").unwrap().result;
    assert_eq!(result, other.run("staging").unwrap().result);
    assert_eq!(one.key("staging").unwrap(), other.key("staging").unwrap());
    other.write("handler.py", b"changed");
    assert_ne!(result, other.run("staging").unwrap().result);
    assert_ne!(one.key("staging").unwrap(), other.key("staging").unwrap());
}

#[test]
fn one_path_with_different_bytes_needs_a_rule() {
    let wheels = [
        wheel("a", &[("ns/__init__.py", ""), ("ns/x.py", "of a")]),
        wheel("b", &[("ns/__init__.py", ""), ("ns/x.py", "of b")]),
    ];
    let mut world = World::new(&wheels, &[("ns/x.py", "ours")]);
    let error = failure(&world);
    for part in ["`ns/x.py` by", "`a-1-py3-none-any.whl` and `b-1-py3-none-any.whl`", "conflicts"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("__init__"), "equal bytes merge: {error}");

    world.keep("ns/*", Winner::Sources);
    assert!(failure(&world).contains("the sources, which do not claim it"), "{}", failure(&world));
    world.keep("ns/x.py", Winner::Wheel("b".into()));
    staged(&world);
    let entry = |world: &World| {
        let manifest = world.with_job("staging", |job| super::load("staging", job)).unwrap();
        manifest.entries.iter().find(|entry| entry.path.as_str() == "ns/x.py").unwrap().clone()
    };
    assert_eq!(entry(&world).digest, crate::base::Digest::of(b"of b"));
    world.source("ns", None);
    staged(&world);
    assert_eq!(entry(&world).digest, crate::base::Digest::of(b"ours"));
}

#[test]
fn a_path_cannot_be_a_file_and_a_folder() {
    let mut world = World::new(&[wheel("a", &[("x/y.py", "")])], &[("x", "a file")]);
    world.source("x", None);
    let error = failure(&world);
    assert!(
        error.contains("`x` is a file of `x` and a folder of `a-1-py3-none-any.whl`"),
        "{error}"
    );
}

#[test]
fn sources_that_are_not_there_are_told_apart() {
    let mut world = World::new(&[], &[("here.py", "")]);
    world.source("here.py", None).source("data/*.json", None);
    assert_eq!(staged(&world), ["here.py"]);
    assert_eq!(
        world.warnings.0.lock().unwrap()[0],
        "`sources` has `data/*.json`, which matches no file"
    );
    world.source("gone.py", None);
    assert!(failure(&world).contains("`gone.py` does not exist"));
    world.staging.sources.pop();
    symlink("nowhere", world.root.join("link.py")).unwrap();
    world.source("link.py", None);
    assert!(failure(&world).contains("`link.py` is a link to `nowhere`"));
    fs::remove_file(world.root.join("link.py")).unwrap();
    symlink("here.py", world.root.join("link.py")).unwrap();
    assert_eq!(staged(&world), ["here.py", "link.py"]);
    world.source("*.py", Some(Destination::Exactly(path("one.py"))));
    assert!(failure(&world).contains("matches 2 files"), "{}", failure(&world));
}

#[test]
fn a_damaged_wheel_is_refused_by_name() {
    let (name, mut bytes) = wheel("a", &[("a.py", "some content")]);
    bytes.truncate(50);
    let world = World::new(&[(name, bytes)], &[]);
    assert!(failure(&world).contains("`a-1-py3-none-any.whl`"), "{}", failure(&world));
}

#[test]
fn the_folder_is_written_when_it_is_read_and_then_kept_up_to_date() {
    let demo = wheel("demo", &[("demo/a.py", "a"), ("demo-1.data/scripts/run", "#!python\n")]);
    let mut world = World::new(&[demo], &[("handler.py", "one")]);
    world.source("handler.py", None).exclude("*.dist-info");
    world.write_tree = true;
    world.run("staging").unwrap();
    let expected =
        ["644 demo/a.py", "644 handler.py", "755 ", "755 bin", "755 bin/run", "755 demo"];
    assert_eq!(written(&world), expected);
    let tree = world.root.join("build/tree");
    assert_eq!(fs::read(tree.join("bin/run")).unwrap(), b"#!/usr/bin/env python3\n");

    world.write_tree = false;
    let inode = |name: &str| fs::metadata(tree.join(name)).unwrap().ino();
    let before = inode("demo/a.py");
    world.write("handler.py", b"two");
    fs::remove_file(tree.join("handler.py")).unwrap();
    world.write("build/tree/handler.py/not", b"a folder now");
    world.write("build/tree/stale/old.py", b"old");
    symlink("/", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("demo/a.py"), fs::Permissions::from_mode(0o777)).unwrap();
    world.run("staging").unwrap();
    assert_eq!(written(&world), expected);
    assert_eq!(fs::read(tree.join("handler.py")).unwrap(), b"two");
    assert_eq!(inode("demo/a.py"), before, "what is right is left alone");
    let outputs = world.with_job("staging", |job| super::expected_outputs(&world.staging, job));
    assert_eq!(outputs[1], Output::Folder(path("build/tree")));
}

#[test]
fn a_clamped_folder_has_no_later_time() {
    let mut world = World::new(&[wheel("demo", &[("demo/a.py", "a")])], &[]);
    world.staging.clamp = Some(Spanned { value: Timestamp::At(1_000_000_000), span: 0..0 });
    assert!(!world.key("staging").unwrap().components().any(|c| c.name == "clamp"));
    world.staging.write = true;
    world.run("staging").unwrap();
    for entry in walkdir::WalkDir::new(world.root.join("build/tree")) {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mtime(), 1_000_000_000, "{}", entry.path().display());
    }
}

#[test]
fn clamp_lowers_what_is_later_and_then_has_nothing_to_do() {
    let world = World::new(&[], &[("build/tree/new.py", ""), ("build/tree/old.py", "")]);
    let tree = world.root.join("build/tree");
    symlink("nowhere", tree.join("link")).unwrap();
    let old = filetime::FileTime::from_unix_time(5, 0);
    filetime::set_file_mtime(tree.join("old.py"), old).unwrap();
    let late = |key: &crate::key::Key| key.components().any(|c| c.name.contains("later"));
    assert!(late(&world.key("clamp").unwrap()));
    world.run("clamp").unwrap();
    let mtime = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap().mtime();
    assert_eq!(
        ["new.py", "link", "", "old.py"].map(mtime),
        [1_000_000_000, 1_000_000_000, 1_000_000_000, 5]
    );
    assert!(!late(&world.key("clamp").unwrap()));
}
