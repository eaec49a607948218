//! `zipwright cache`: the folder of the per-user cache, its size, and removal of entries.

use std::fs::{self, File};
use std::process::Stdio;

use filetime::{FileTime, set_file_mtime};
use serde_json::Value;
use zipwright_store::Bucket;

use crate::sandbox::Sandbox;

/// A build with a wheel of a local project, and a bundle with bytecode.
const BUNDLE: &str = r#"
[target.wheels]
kind = "wheelhouse"
projects = ["."]
[target.tree]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py"]
bytecode = true
[target.package]
kind = "zip"
staging = "tree"
"#;

fn built() -> Sandbox {
    let sandbox = Sandbox::with(BUNDLE);
    sandbox.fixture("greeting").write("handler.py", "x = 1\n");
    sandbox.run(["package"]).success();
    sandbox
}

/// Runs `zipwright cache ACTION --json`.
fn cache(sandbox: &Sandbox, action: &str) -> Value {
    let run = sandbox.run(["cache", action, "--json"]).success();
    serde_json::from_str(&run.stdout).unwrap()
}

/// Returns name and number of entries of each part.
fn parts(value: &Value) -> Vec<(String, u64)> {
    let parts = value["parts"].as_array().unwrap().iter();
    parts
        .map(|part| (part["name"].as_str().unwrap().into(), part["entries"].as_u64().unwrap()))
        .collect()
}

#[test]
fn the_size_counts_entries_and_clean_removes_them() {
    let sandbox = built();
    let root = sandbox.beside("cache/zipwright");
    let dir = sandbox.run(["cache", "dir"]).success().stdout;
    assert_eq!(dir, format!("{}\n", root.display()));
    assert_eq!(cache(&sandbox, "dir")["path"], root.to_str().unwrap());
    let size = cache(&sandbox, "size");
    let entries = parts(&size);
    for (name, count) in
        [("wheels", 1), ("project-builds", 1), ("provenance", 1), ("bytecode-archives", 1)]
    {
        assert!(entries.contains(&(name.into(), count)), "{name}: {size}");
    }
    assert!(entries.iter().all(|(name, _)| name != "temporary"), "{size}");
    let table = sandbox.run(["cache", "size"]).success().stdout;
    let total = table.lines().last().unwrap().split_whitespace().nth(1);
    assert_eq!(total, Some(size["entries"].to_string().as_str()), "{table}");

    fs::write(root.join("notes"), "").unwrap();
    let zip = sandbox.bytes("build/package.zip");
    assert_eq!(cache(&sandbox, "clean"), size);
    assert_eq!(cache(&sandbox, "size")["entries"], 0);
    assert!(root.join("notes").exists());
    sandbox.remove("build").remove(".zipwright");
    sandbox.run(["package"]).success();
    assert_eq!(sandbox.bytes("build/package.zip"), zip);
}

#[test]
fn prune_removes_old_entries_leftovers_and_folders_of_earlier_versions() {
    let sandbox = built();
    let root = sandbox.beside("cache/zipwright");
    let nothing = sandbox.run(["cache", "prune"]).success().stdout;
    assert_eq!(nothing, "removed 0 entries, 0 B\n");
    for folder in ["index", "wheels", "tmp/.zipwright-tmp-abcdef"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("wheels/old"), "12345").unwrap();
    let wheels = fs::read_dir(root.join(Bucket::Wheels.folder())).unwrap();
    for wheel in wheels.flatten() {
        set_file_mtime(wheel.path(), FileTime::from_unix_time(1, 0)).unwrap();
    }
    let removed = cache(&sandbox, "prune");
    let expected =
        [("wheels", 1), ("wheel-digests", 1), ("provenance", 1), ("temporary", 1), ("outdated", 2)];
    assert_eq!(parts(&removed), expected.map(|(name, count)| (name.to_owned(), count)));
    // An entry in use stays: the build renews its time.
    sandbox.remove("build").remove(".zipwright");
    sandbox.run(["package"]).success();
    let wheels = root.join(Bucket::WheelIndexes.folder());
    let index = fs::read_dir(wheels).unwrap().flatten().next().unwrap().path();
    set_file_mtime(&index, FileTime::from_unix_time(1, 0)).unwrap();
    sandbox.run(["-B", "package"]).success();
    assert_eq!(cache(&sandbox, "prune")["entries"], 0);
}

#[test]
fn without_a_cache_there_is_nothing_to_remove() {
    let sandbox = Sandbox::with("");
    for action in ["size", "prune", "clean"] {
        assert_eq!(cache(&sandbox, action)["entries"], 0);
    }
    assert!(!sandbox.beside("cache/zipwright").exists());
}

#[test]
fn removal_waits_for_builds_and_builds_for_removal() {
    let sandbox = built();
    let lock = File::open(sandbox.beside("cache/zipwright/lock")).unwrap();
    lock.lock_shared().unwrap();
    let refused = sandbox.run(["cache", "clean", "--no-wait"]).failure();
    refused.stderr_has("a build uses the cache in").stderr_has("run this again after it");
    let mut waiting = sandbox.zipwright();
    waiting.args(["cache", "clean"]);
    let mut waiting = waiting.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut note = String::new();
    let mut stderr = std::io::BufReader::new(waiting.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut note).unwrap();
    assert!(note.starts_with("note: waiting for builds that use"), "{note}");
    assert!(waiting.try_wait().unwrap().is_none());
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(cache(&sandbox, "size")["entries"], 0);

    let lock = File::open(sandbox.beside("cache/zipwright/lock")).unwrap();
    lock.lock().unwrap();
    let mut build = sandbox.zipwright();
    build.args(["-B", "package"]);
    let mut build = build.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(build.try_wait().unwrap().is_none(), "it did not wait");
    drop(lock);
    assert!(build.wait().unwrap().success());
}

#[test]
fn every_bucket_is_described() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMMANDS.md")).unwrap();
    for bucket in Bucket::ALL {
        assert!(page.contains(&format!("`{}`", bucket.name())), "{}", bucket.name());
    }
}
