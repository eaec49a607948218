//! Damaged files of the state and of the cache, in whole builds: with any content, the next build
//! is right, and so is one after a change of an input.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::dice::{Dice, number, say};
use crate::kills::wheel;
use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
default = ["last", "package"]
[target.first]
kind = "command"
inputs = ["in"]
outputs = ["mid"]
shell = "tr a-z A-Z < in > mid"
[target.last]
kind = "command"
inputs = ["mid", "src/*"]
outputs = ["out", "more"]
shell = "cat mid src/* > out; cat out out > more"
[target.staging]
kind = "staging"
sources = ["src/*", "out"]
[target.package]
kind = "zip"
staging = "staging"
"#;

const STATE: &str = ".zipwright/state";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("in", "zero\n").write("src/a", "a\n").write("src/b", "b\n");
    sandbox.run([]).success();
    // Another build, so that there are superseded records.
    sandbox.write("in", "one!\n").run(["-s"]).success();
    sandbox
}

/// Puts `state` in its place, and builds after an edit that restores the earlier text, or writes
/// another.
fn builds_right(sandbox: &Sandbox, state: &[u8], text: &str, what: &str) {
    fs::write(sandbox.path(STATE), state).unwrap();
    builds_right_as_it_is(sandbox, text, what);
}

fn builds_right_as_it_is(sandbox: &Sandbox, text: &str, what: &str) {
    sandbox.write("in", text);
    // The state may no longer have the outputs of zipwright.
    let run = sandbox.run(["-s", "--force"]);
    assert_eq!(run.code, Some(0), "{what}\n{run}");
    let notices = run.stderr.lines().filter(|line| !line.is_empty()).count();
    assert!(notices <= 1, "{what}\n{run}");
    let out = format!("{}a\nb\n", text.to_uppercase());
    assert_eq!(sandbox.read("out"), out, "{what}");
    assert_eq!(sandbox.read("more"), out.repeat(2), "{what}");
    let zip = sandbox.bytes("build/package.zip");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    let member = std::io::read_to_string(archive.by_name("out").unwrap()).unwrap();
    assert_eq!(member, out, "{what}");
}

/// Returns so many positions within a length, each in another place of a record.
fn positions(length: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| at * length / count)
}

/// Texts of one size: that of the first state, of the second, and one never built.
const TEXTS: [&str; 3] = ["one!\n", "zero\n", "two!\n"];

#[test]
fn a_state_cut_at_some_lengths() {
    builds_right_with_a_cut_state(50);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_state_cut_at_any_length() {
    builds_right_with_a_cut_state(150);
}

fn builds_right_with_a_cut_state(cuts: usize) {
    let sandbox = sandbox();
    let whole = sandbox.bytes(STATE);
    for (at, length) in positions(whole.len(), cuts).enumerate() {
        builds_right(&sandbox, &whole[..length], TEXTS[at % 3], &format!("cut at {length}"));
    }
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_state_with_a_flipped_bit() {
    let sandbox = sandbox();
    let whole = sandbox.bytes(STATE);
    for (at, place) in positions(whole.len(), 150).enumerate() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (at % 8);
        builds_right(&sandbox, &bytes, TEXTS[at % 3], &format!("flipped at {place}"));
    }
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_state_whose_tail_is_zero() {
    let sandbox = sandbox();
    let whole = sandbox.bytes(STATE);
    for (at, place) in positions(whole.len(), 60).enumerate() {
        let mut bytes = whole.clone();
        bytes[place..].fill(0);
        builds_right(&sandbox, &bytes, TEXTS[at % 3], &format!("zero from {place}"));
        bytes.resize(whole.len() + 5000, 0);
        builds_right(&sandbox, &bytes, TEXTS[(at + 1) % 3], &format!("zero from {place} on"));
    }
}

#[test]
fn a_state_of_another_kind() {
    let sandbox = sandbox();
    for (what, bytes) in [
        ("empty", b"".to_vec()),
        ("a later version", b"zipwright state 99\n\x01\x02".to_vec()),
        ("text", b"hello\n".to_vec()),
        (
            "noise",
            (0..10_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect(),
        ),
    ] {
        for text in TEXTS {
            builds_right(&sandbox, &bytes, text, what);
        }
        assert_eq!(sandbox.ran([]), [""; 0], "{what}");
    }
}

#[test]
fn something_else_in_the_place_of_the_state() {
    let sandbox = sandbox();
    for round in 0..2 {
        // A folder that is not empty, also where the last one was set aside.
        sandbox.remove(STATE).write(".zipwright/state/strange", "?");
        builds_right_as_it_is(&sandbox, TEXTS[round], "a folder");
        assert_eq!(sandbox.ran([]), [""; 0]);
        sandbox.remove(STATE);
        symlink("nowhere", sandbox.path(STATE)).unwrap();
        builds_right_as_it_is(&sandbox, TEXTS[round + 1], "a link to nothing");
        assert_eq!(sandbox.ran([]), [""; 0]);
        symlink("loop", sandbox.path(".zipwright/loop")).unwrap();
        sandbox.remove(STATE);
        symlink("loop", sandbox.path(STATE)).unwrap();
        builds_right_as_it_is(&sandbox, TEXTS[round], "a loop of links");
        sandbox.remove(".zipwright/loop");
    }
}

/// Root may read everything, so it drops that right first.
#[test]
fn a_state_that_cannot_be_read() {
    let sandbox = sandbox();
    if sandbox.sh("setpriv --bounding-set -all true").code != Some(0) {
        say("skipped: no `setpriv`, or not root");
        return;
    }
    for text in TEXTS {
        sandbox.chmod(STATE, 0);
        sandbox.write("in", text);
        let program = env!("CARGO_BIN_EXE_zipwright");
        let run = Run::of(sandbox.program("setpriv").args([
            "--bounding-set",
            "-all",
            program,
            "-s",
            "--force",
        ]));
        run.success().stderr_has("could not read");
        builds_right_as_it_is(&sandbox, text, "unreadable");
    }
}

/// Manifests are state, too.
#[test]
fn a_damaged_manifest() {
    let sandbox = sandbox();
    let path = ".zipwright/manifests/staging";
    let whole = sandbox.bytes(path);
    for place in positions(whole.len(), 40) {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        sandbox.write(path, &bytes);
        builds_right_as_it_is(&sandbox, "one!\n", &format!("manifest flipped at {place}"));
        sandbox.write(path, &whole[..place]);
        builds_right_as_it_is(&sandbox, "one!\n", &format!("manifest cut at {place}"));
    }
}

/// Buildfile of a local project and a pinned wheel in a bundle with bytecode.
const BUNDLE: &str = r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
projects = ["."]
[target.tree]
kind = "staging"
wheels = ["wheels"]
sources = ["handler.py"]
bytecode = true
write = true
[target.package]
kind = "zip"
staging = "tree"
"#;

/// Folders of the cache that such a build fills.
const BUCKETS: [&str; 11] = [
    "bytecode-archives-v1",
    "interpreters-v1",
    "project-builds-v1",
    "provenance-v1",
    "resolutions-v2",
    "source-bytecode-v1",
    "toolchains-v1",
    "wheel-bytecode-v1",
    "wheel-digests-v1",
    "wheel-indexes-v1",
    "wheels-v1",
];

/// Returns all files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

#[test]
fn a_flipped_bit_in_any_file_of_the_cache_or_the_state() {
    let sandbox = Sandbox::with(BUNDLE);
    sandbox.fixture("greeting").write("handler.py", "x = 1\n");
    fs::create_dir(sandbox.path("links")).unwrap();
    wheel(&sandbox.path("links"), "alpha", 3);
    let pinned = Sha256::digest(sandbox.bytes("links/alpha-1.0-py3-none-any.whl"));
    let pinned: String = pinned.iter().map(|byte| format!("{byte:02x}")).collect();
    let requirements = format!("--no-index\n-f links\nalpha==1.0 --hash=sha256:{pinned}\n");
    sandbox.write("requirements.txt", requirements);
    let build = |what: &str| {
        let run = sandbox.run(["-s", "package"]);
        assert_eq!(run.code, Some(0), "{what}\n{run}");
        sandbox.bytes("build/package.zip")
    };
    let clean = build("a first build");
    build("nothing to do");
    let cache = sandbox.beside("cache/zipwright");
    let bucket = |place: &Path| {
        let below = place.strip_prefix(&cache).ok()?;
        below.iter().next()?.to_str().map(String::from)
    };
    let filled: BTreeSet<String> = files(&cache).iter().filter_map(|place| bucket(place)).collect();
    assert!(BUCKETS.iter().all(|bucket| filled.contains(*bucket)), "{filled:?}");
    let seed = number("ZIPWRIGHT_SEED").unwrap_or(1);
    let mut dice = Dice::new(seed);
    for folder in [cache.clone(), sandbox.path(".zipwright")] {
        for place in files(&folder) {
            // A build may have replaced it, or made another one.
            let Ok(mut bytes) = fs::read(&place) else { continue };
            if bytes.is_empty() {
                continue;
            }
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
            fs::write(&place, bytes).unwrap();
            let what = format!("seed {seed}: byte {at} of {}", place.display());
            sandbox.remove("build");
            if folder == cache {
                sandbox.remove(".zipwright");
            }
            assert!(build(&what) == clean, "another bundle: {what}");
            assert!(build(&what) == clean, "another bundle in the second build: {what}");
        }
    }
}
