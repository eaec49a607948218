//! The benchmark harness in its short form: every row runs, does the right work and reports the
//! cases that it could not run. Durations are not compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use zip::ZipArchive;

use crate::sandbox::{Run, python};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Kept between runs, so that wheels and peers are fetched once.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench")
}

fn quick<const N: usize>(args: [&str; N]) -> Run {
    let mut command = Command::new(python());
    command.arg(root().join("bench/run")).args(["--quick", "--python"]).arg(python());
    command.args(["--zipwright", env!("CARGO_BIN_EXE_zipwright"), "--folder"]).arg(folder());
    Run::of(command.args(args))
}

/// Returns the lines of a Markdown table below its head, as cells.
fn lines(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns CRC and size of all files of a zip.
fn contents(place: &Path) -> BTreeMap<String, (u32, u64)> {
    let mut archive = ZipArchive::new(File::open(place).unwrap()).unwrap();
    let files = (0..archive.len()).map(|at| {
        let file = archive.by_index(at).unwrap();
        (file.name().unwrap().into_owned(), (file.crc32(), file.size()))
    });
    files.filter(|(name, _)| !name.ends_with('/')).collect()
}

/// A single test, because all of it uses one folder.
#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_short_form_has_every_row_or_says_why_not() {
    let run = quick([]).success();
    let lines = lines(&run.stdout);
    for line in &lines {
        assert_eq!(line.len(), 8, "{run}");
    }
    let works: Vec<&str> = lines.iter().map(|line| line[0]).collect();
    let expected = [
        "S, one-line edit of the handler",
        "S, wheelhouse in place",
        "S, from nothing, wheels cached, not pinned by hashes",
        "S, size of the bundle, default",
        "S, nothing changed",
        "S, one requirement added, its wheel local",
        "S, pinned with hashes, wheels cached, new checkout",
        "S, locked, empty caches, 20 ms, 200 Mbit/s (pylock.toml)",
        "S, locked, empty caches, 20 ms, 200 Mbit/s (hashed requirements)",
        "S, locked, second project with the same wheels",
        "S, not pinned, empty caches, 20 ms, 200 Mbit/s",
        "S, edit to response of the local handler, under `watch`",
        "no-op of 100 `command` targets",
        "300 files by globs into one staging target, no-op",
        "300 files by globs into one staging target, one changed",
        "S, peak memory: wheelhouse in place, and edits",
        "`zipwright --version`",
        "no-op of one `command` target",
    ];
    for work in expected {
        assert!(works.contains(&work), "no `{work}` in\n{run}");
    }
    let second = lines.iter().find(|line| line[0].contains("second project")).unwrap();
    assert_eq!((second[5], second[6]), ("0 requests, 0 starts of Python", "yes"));
    for peer in
        ["ninja", "samurai", "uv", "sam build --cached", "package.py", "sam local", "MiniStack"]
    {
        let compared = lines.iter().any(|line| line[1].contains(peer));
        let excused = run.stdout.lines().any(|line| line.starts_with("- ") && line.contains(peer));
        assert!(compared || excused, "nothing of `{peer}` in\n{run}");
    }
    assert_same_files();
}

/// Compares the files in the bundles of the Makefile and zipwright.
#[track_caller]
fn assert_same_files() {
    quick(["--only", "cold-S"]).success();
    let of =
        |side: &str| contents(&folder().join("projects/S").join(side).join("build/lambda.zip"));
    let (mut ours, mut theirs) = (of("zipwright"), of("make"));
    // The order of its lines depends on the builder of the wheel.
    for side in [&mut ours, &mut theirs] {
        assert!(side.remove("own-1.0.dist-info/RECORD").is_some());
    }
    assert!(ours.contains_key("requests/__init__.py") && ours.contains_key("lambda_handler.py"));
    assert_eq!(ours, theirs);
}
