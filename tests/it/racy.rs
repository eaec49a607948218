//! Files that change faster than the clock ticks, and files that change while they are read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use zipwright::base::{Digest, RelPath};
use zipwright::files::{Content, Files, Memory, Scanned, View};
use zipwright::observation::Observation;
use zipwright::project::Project;

use crate::dice::say;
use crate::sandbox::Sandbox;
use crate::wait::{end_of, until};

fn digest(files: &Files, path: &RelPath) -> Digest {
    match files.fact(path).unwrap().content {
        Content::File { digest, .. } => digest,
        other => panic!("{other:?}"),
    }
}

/// Files as a run sees them that starts with these observations.
fn files(folder: &Path, kept: &BTreeMap<RelPath, Observation>) -> Files {
    let scanned = |(path, observation): (&RelPath, &Observation)| Scanned {
        path: path.clone(),
        observation: observation.clone(),
        now: observation.compare(fs::File::open(folder).unwrap(), path.as_str()),
    };
    let paths = kept.iter().map(scanned).collect();
    Files::new(folder, Vec::new(), Memory { paths: vec![paths], external: Vec::new() })
}

/// Returns the observations of these paths that the next run may start with.
fn settled(files: &Files, folder: &Path, paths: &[RelPath]) -> BTreeMap<RelPath, Observation> {
    let project = Project::new(folder.to_path_buf(), BTreeMap::new());
    let view = View::new(files, &project);
    paths.iter().for_each(|path| _ = view.fact(path).unwrap());
    let observed = view.finish();
    let looked = observed.paths().filter(|looked| looked.settled).cloned();
    looked.map(|looked| (looked.path, looked.observation.unwrap())).collect()
}

/// Keeps the observation of a run, if the next one may start with it.
fn keep(
    kept: &mut BTreeMap<RelPath, Observation>,
    files: &Files,
    folder: &Path,
    path: &RelPath,
) -> usize {
    let settled = settled(files, folder, std::slice::from_ref(path));
    let count = settled.len();
    kept.clear();
    kept.extend(settled);
    count
}

/// Rewrites of the same size in a tight loop, each read by the next run, which has the results of
/// the run before. The clock is read first, as a build does.
#[test]
fn a_rewrite_of_the_same_size_is_never_missed() {
    const ROUNDS: u32 = 4_000;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(folder.path().join(".zipwright")).unwrap();
    let path = RelPath::parse("file").unwrap();
    let place = folder.path().join("file");
    let mut kept = BTreeMap::new();
    let mut remembered = 0;
    for round in 0..ROUNDS {
        let text = format!("{round:08}");
        // In place: the inode is the same, and mostly both times too.
        fs::write(&place, &text).unwrap();
        let files = files(folder.path(), &kept);
        if round % 3 == 0 {
            files.tick().unwrap();
        }
        assert_eq!(digest(&files, &path), Digest::of(text.as_bytes()), "round {round}");
        if round % 3 == 1 {
            files.tick().unwrap();
            let project = Project::new(folder.path().to_path_buf(), BTreeMap::new());
            View::unlogged(&files, &project).to_write(&path).unwrap().look_anew();
            assert_eq!(digest(&files, &path), Digest::of(text.as_bytes()), "round {round}");
        }
        remembered += keep(&mut kept, &files, folder.path(), &path);
    }
    // Otherwise this test would show nothing.
    assert!(remembered > 0);
}

/// A rewrite after the observation, at once and with the time restored.
#[test]
fn a_rewrite_with_its_old_time_is_never_missed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(folder.path().join(".zipwright")).unwrap();
    let path = RelPath::parse("file").unwrap();
    let place = folder.path().join("file");
    let old = filetime::FileTime::from_unix_time(1_000_000_000, 0);
    let mut kept = BTreeMap::new();
    for round in 0..2_000 {
        let text = format!("{round:08}");
        fs::write(&place, &text).unwrap();
        filetime::set_file_mtime(&place, old).unwrap();
        let files = files(folder.path(), &kept);
        files.tick().unwrap();
        assert_eq!(digest(&files, &path), Digest::of(text.as_bytes()), "round {round}");
        keep(&mut kept, &files, folder.path(), &path);
    }
}

/// What is large enough is waited for, and then remembered; what is not is looked at the next time.
#[test]
fn what_was_written_a_moment_ago_is_remembered_when_it_is_waited_for() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::create_dir(folder.path().join(".zipwright")).unwrap();
    let path = RelPath::parse("file").unwrap();
    let mut forgotten = 0;
    for round in 0..50 {
        let text = format!("{round:08}");
        fs::write(folder.path().join("file"), &text).unwrap();
        let files = Files::new(folder.path(), Vec::new(), Memory::default());
        assert_eq!(digest(&files, &path), Digest::of(text.as_bytes()));
        files.settle(9).unwrap();
        let paths = std::slice::from_ref(&path);
        forgotten += usize::from(settled(&files, folder.path(), paths).is_empty());
        files.settle(8).unwrap();
        let remembered = settled(&files, folder.path(), paths);
        let remembered = remembered[&path].file().unwrap().digest;
        assert_eq!(remembered, Digest::of(text.as_bytes()), "round {round}");
    }
    assert_eq!(forgotten, 50, "less than was asked for was waited for");
}

/// Its clock may tick every two seconds, and differ from the project's: a file written a moment ago
/// is read again, even if it is older than the project's clock.
#[test]
fn a_rewrite_on_another_file_system_is_never_missed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return say("skipped: no /dev/shm") };
    if device(other.path()) == device(folder.path()) {
        return say("skipped: /dev/shm is no file system of its own");
    }
    fs::create_dir(folder.path().join(".zipwright")).unwrap();
    fs::write(folder.path().join("own"), "x").unwrap();
    fs::write(other.path().join("file"), "x").unwrap();
    std::os::unix::fs::symlink(other.path(), folder.path().join("mount")).unwrap();
    let paths = ["own", "mount/file"].map(|path| RelPath::parse(path).unwrap());
    let look = || {
        let files = files(folder.path(), &BTreeMap::new());
        files.tick().unwrap();
        let settled = settled(&files, folder.path(), &paths);
        settled.into_keys().map(|path| path.to_string()).collect::<Vec<_>>()
    };
    until("the project's clock has ticked", || (!look().is_empty()).then_some(()));
    assert_eq!(look(), ["own"]);
    until("its clock has ticked for certain", || (look() == ["mount/file", "own"]).then_some(()));
}

const COPY: &str = r#"
default = ["copy"]
[target.copy]
kind = "command"
inputs = ["in"]
outputs = ["out"]
shell = "cat in > out"
"#;

#[test]
fn whole_builds_see_rewrites() {
    builds_see_rewrites(50);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn whole_builds_see_every_rewrite() {
    builds_see_rewrites(300);
}

fn builds_see_rewrites(rounds: usize) {
    let sandbox = Sandbox::with(COPY);
    for round in 0..rounds {
        let text = format!("{round:04}");
        sandbox.write("in", &text);
        sandbox.run(["-s"]).success();
        assert_eq!(sandbox.read("out"), text);
        if round % 2 == 0 {
            // The output, too, with its old size.
            sandbox.write("out", "ruin");
            sandbox.run(["-s", "--force"]).success();
            assert_eq!(sandbox.read("out"), text);
        }
    }
    assert_eq!(sandbox.ran([]), [""; 0]);
}

/// A command that reports after reading its input, and waits for a file.
const READER: &str = r#"
default = ["read"]
[target.read]
kind = "command"
inputs = ["in", "src/*"]
outputs = ["out", "more"]
shell = "cat in src/* > out; cp out more; : > has-read; until test -e go; do sleep 0.02; done"
"#;

/// Changes inputs while the command runs. The build must record nothing and warn the user, and the
/// next build must be right.
fn meddle(what: &str, change: impl Fn(&Sandbox)) {
    let sandbox = Sandbox::with(READER);
    sandbox.write("in", "one").write("src/a", "a").write("src/b", "b");
    let mut build = sandbox.zipwright().stderr(Stdio::piped()).spawn().unwrap();
    until("the command to read", || sandbox.exists("has-read").then_some(()));
    change(&sandbox);
    sandbox.write("go", "");
    let status = end_of(&mut build);
    let said = std::io::read_to_string(build.stderr.take().unwrap()).unwrap();
    assert!(status.success(), "{what}: {said}");
    assert!(said.contains("changed while it ran"), "{what}: {said}");
    assert!(!sandbox.exists("build/read.stamp"), "{what}");
    assert_eq!(sandbox.ran([]), ["read"], "{what}");
    let run = sandbox.sh("cat in src/* | cmp - out").success();
    assert_eq!(run.stdout, "");
    assert_eq!(sandbox.ran([]), [""; 0], "{what}");
}

#[test]
fn an_input_that_changes_while_it_is_read_is_not_recorded() {
    meddle("an edit", |sandbox| {
        sandbox.write("in", "two");
    });
    meddle("an edit that is taken back", |sandbox| {
        sandbox.write("in", "two").write("in", "one");
    });
    meddle("another file in its place, taken back", |sandbox| {
        fs::rename(sandbox.path("in"), sandbox.path("kept")).unwrap();
        sandbox.write("in", "two").remove("in").write("in", "one");
    });
    meddle("a new member of a glob", |sandbox| {
        sandbox.write("src/c", "c");
    });
    meddle("a member that goes", |sandbox| {
        sandbox.remove("src/a");
    });
    meddle("a mode", |sandbox| {
        sandbox.chmod("in", 0o755);
    });
    meddle("a link", |sandbox| {
        sandbox.write("elsewhere", "one").remove("in");
        std::os::unix::fs::symlink(Path::new("elsewhere"), sandbox.path("in")).unwrap();
    });
}

/// On a file system whose clock ticks in seconds, an edit that is undone within one leaves the time
/// unchanged. Here the command sets such a time.
#[test]
fn an_edit_that_is_taken_back_shows_though_the_clock_ticks_in_seconds() {
    let sandbox = Sandbox::with(
        r#"
        [target.copy]
        kind = "command"
        inputs = ["in"]
        outputs = ["out"]
        shell = "echo b > in; cat in > out; echo a > in; touch -d @$(date +%s) in"
        "#,
    );
    for _ in 0..2 {
        sandbox.sh("echo a > in; touch -d @$(date +%s) in").success();
        let run = sandbox.run(["copy"]).success();
        let _ = run.stderr_has("its inputs changed while it ran");
    }
}

#[test]
fn a_new_name_for_an_input_is_no_change_of_it() {
    let sandbox = Sandbox::with(&READER.replace("cp out more", "ln in linked; cp out more"));
    sandbox.write("in", "one").write("src/a", "a").write("go", "");
    assert_eq!(sandbox.ran([]), ["read"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}
