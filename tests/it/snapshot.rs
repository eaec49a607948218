//! A build leaves a snapshot of everything that its targets observed. The next one checks only the
//! targets that have observed something that changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::sandbox::Sandbox;

const BUILDFILE: &str = r#"
default = ["all"]
[vars]
word = "plain"
[target.upper]
kind = "command"
inputs = ["in", "link", "src/**/*.txt"]
outputs = ["out"]
run = ["shout", "{word}"]
[target.staging]
kind = "staging"
sources = ["out", "src/**"]
[target.package]
kind = "zip"
staging = "staging"
[target.all]
kind = "group"
targets = ["package"]
"#;

/// Built, with a snapshot that has all targets as up to date.
fn settled() -> Sandbox {
    let mut sandbox = Sandbox::with(BUILDFILE);
    sandbox.set_clock_margin();
    sandbox.write("in", "in\n").write("aim", "aim\n").write("src/a/b.txt", "b\n");
    symlink("aim", sandbox.path("link")).unwrap();
    for folder in ["early", "late"] {
        fs::create_dir(sandbox.beside(folder)).unwrap();
    }
    program(&sandbox, "late", "shout");
    let path = std::env::var("PATH").unwrap();
    let places = [sandbox.beside("early"), sandbox.beside("late")];
    sandbox.set("PATH", format!("{}:{}:{path}", places[0].display(), places[1].display()));
    sandbox.run([]).success();
    sandbox.settle([]);
    sandbox
}

const SNAPSHOT: &str = ".zipwright/snapshot";

fn program(sandbox: &Sandbox, folder: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let place = sandbox.beside(folder).join("shout");
    fs::write(&place, format!("#!/bin/sh\n# {text}\ncat in link src/a/*.txt > out\n")).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Changes if the snapshot is written.
fn identity(sandbox: &Sandbox) -> (u64, i64, i64) {
    let meta = sandbox.path(SNAPSHOT).metadata().unwrap();
    (meta.ino(), meta.mtime(), meta.mtime_nsec())
}

#[test]
fn nothing_to_do_is_reported_in_the_same_words() {
    let sandbox = settled();
    let words = |text: String| {
        let (counts, rest) = text.split_once(" targets, ").unwrap();
        format!("{counts} {}", rest.split_once("; ").unwrap().1)
    };
    let short = words(sandbox.run([]).success().stderr);
    sandbox.remove(SNAPSHOT);
    let long = words(sandbox.run([]).success().stderr);
    assert_eq!(short, long);
    assert!(short.contains("CodeSha256"), "{short}");
    sandbox.run(["-s"]).success().stderr_lacks("up to date");
}

#[test]
fn a_snapshot_without_changes_is_left_as_it_is() {
    let sandbox = settled();
    let before = identity(&sandbox);
    sandbox.run([]).success();
    sandbox.run(["package"]).success();
    assert_eq!(identity(&sandbox), before);
}

#[test]
fn a_build_whose_targets_ran_leaves_a_whole_snapshot() {
    let sandbox = settled();
    for text in ["one\n", "two\n"] {
        let before = identity(&sandbox);
        sandbox.write("in", text).run([]).success().stderr_has("ran (upper");
        let left = identity(&sandbox);
        assert_ne!(left, before);
        assert_eq!(sandbox.checked([]), 0);
        assert_eq!(identity(&sandbox), left);
    }
}

/// Neither the command line nor the environment of the build before makes a difference.
#[test]
fn any_goal_and_any_environment_start_from_the_same_snapshot() {
    let mut sandbox = settled();
    for number in 0..3 {
        sandbox.set("NUMBER", number);
        assert_eq!(sandbox.checked([]), 0);
        assert_eq!(sandbox.checked(["package"]), 0);
        assert_eq!(sandbox.checked(["-k", "-j3", "upper"]), 0);
        assert_eq!(sandbox.checked(["-n", "build/package.zip"]), 0);
    }
    // As a goal, its tree has to be there as a folder.
    assert_eq!(sandbox.ran(["staging"]), ["staging"]);
    assert_eq!(sandbox.checked(["staging"]), 0);
    assert_eq!(sandbox.checked([]), 0);
}

#[test]
fn only_targets_that_observed_the_change_are_checked() {
    let sandbox = settled();
    sandbox.touch("src/a/b.txt");
    // Two have observed the file; what follows from it is the same.
    assert_eq!(sandbox.checked([]), 2);
    sandbox.settle([]);
    sandbox.write("build/package.zip.record.json", sandbox.read("build/package.zip.record.json"));
    assert_eq!(sandbox.checked([]), 1);
}

/// A target that another goal leaves out is checked later, once what it needs has changed.
#[test]
fn a_target_that_was_left_out_is_checked_later() {
    let sandbox = settled();
    sandbox.write("in", "other\n");
    assert_eq!(sandbox.ran(["upper"]), ["upper"]);
    assert_eq!(sandbox.ran([]), ["all", "package", "staging"]);
    let out = sandbox.sh("unzip -p build/package.zip out").success().stdout;
    assert_eq!(out, sandbox.read("out"));
}

#[test]
fn what_a_killed_build_left_is_removed() {
    let sandbox = settled();
    // As a build leaves them that is killed: one that ends in order empties the file.
    sandbox.write(".zipwright/lock", "process 1, `zipwright`\nelsewhere\n");
    sandbox.write(".zipwright/.zipwright-tmp-a1B2c3", "half");
    sandbox.run([]).success();
    assert!(!sandbox.exists(".zipwright/.zipwright-tmp-a1B2c3"));
}

#[test]
fn a_target_whose_inputs_changed_under_way_is_checked_again() {
    let sandbox = settled();
    let place = sandbox.beside("late").join("shout");
    fs::write(&place, "#!/bin/sh\ncat in > out\necho more >> in\n").unwrap();
    crate::wait::until("the program to be old enough", || {
        let age = place.metadata().unwrap().modified().unwrap().elapsed().unwrap();
        (age.as_millis() > 3_100).then_some(())
    });
    for _ in 0..2 {
        let run = sandbox.run([]).success();
        assert!(run.stderr.contains("inputs changed while it ran"), "{run}");
        assert!(sandbox.checked(["-n"]) > 0);
    }
}

/// Each of these leads to work, and to the right bytes.
#[test]
fn whatever_changes_is_seen() {
    type Deed = fn(&Sandbox);
    let deeds: &[(&str, Deed)] = &[
        ("an edit", |sandbox| _ = sandbox.write("in", "IN\n")),
        ("an edit of the same size and time", |sandbox| {
            let then = sandbox.modified("in");
            sandbox.write("in", "iN\n");
            let file = fs::File::options().append(true).open(sandbox.path("in")).unwrap();
            file.set_modified(then).unwrap();
        }),
        ("a new file for a glob", |sandbox| _ = sandbox.write("src/a/c.txt", "c\n")),
        ("a new file in a new folder", |sandbox| _ = sandbox.write("src/d/e.txt", "e\n")),
        ("a file less for a glob", |sandbox| {
            sandbox.remove("src/a/b.txt").write("src/a/z.txt", "z\n");
        }),
        ("another file behind a link", |sandbox| _ = sandbox.write("aim", "AIM\n")),
        ("a link that leads elsewhere", |sandbox| {
            sandbox.remove("link").write("other", "other\n");
            symlink("other", sandbox.path("link")).unwrap();
        }),
        ("a bit of a mode", |sandbox| _ = sandbox.chmod("src/a/z.txt", 0o755)),
        ("an output that is gone", |sandbox| _ = sandbox.remove("out")),
        ("an output that was written over", |sandbox| _ = sandbox.write("out", "mine\n")),
        ("a bundle that is gone", |sandbox| _ = sandbox.remove("build/package.zip")),
        ("an edit of the program", |sandbox| program(sandbox, "late", "shout lower")),
        ("another program of the name, earlier on PATH", |sandbox| {
            program(sandbox, "early", "shout louder");
        }),
        ("the Buildfile", |sandbox| {
            sandbox.write("Buildfile", BUILDFILE.replace("plain", "fancy"));
        }),
        ("no state", |sandbox| _ = sandbox.remove(".zipwright/state")),
    ];
    let sandbox = settled();
    for (what, deed) in deeds {
        deed(&sandbox);
        // An output that was written over is a user's.
        let run = sandbox.run(["--force"]).success();
        assert!(run.stderr.contains(" ran ("), "{what}\n{run}");
        let out = sandbox.sh("cat in link src/a/*.txt").success().stdout;
        assert_eq!(sandbox.read("out"), out, "{what}");
        sandbox.run(["-q"]).success();
        sandbox.settle([]);
    }
}

#[test]
fn variables_are_part_of_the_graph() {
    let sandbox = settled();
    sandbox.run(["word=loud"]).success().stderr_has("ran (upper");
    sandbox.run([]).success().stderr_has("ran (upper");
    sandbox.settle([]);
    sandbox.run(["-n", "-W", "in"]).success().stderr_has("would run");
    sandbox.run(["-B"]).success().stderr_has("ran (upper");
}

#[test]
fn a_damaged_snapshot_counts_as_absent() {
    let sandbox = settled();
    let whole = sandbox.bytes(SNAPSHOT);
    for at in (0..whole.len()).step_by(1 + whole.len() / 40) {
        for damaged in [whole[..at].to_vec(), {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        }] {
            sandbox.write(SNAPSHOT, damaged);
            sandbox.run([]).success().stderr_has("up to date: 4 targets");
        }
    }
    sandbox.settle([]);
}

/// Each of these is done to sources, alone and together with an edit. The tree is that of a build
/// without a snapshot.
#[test]
fn whatever_is_done_to_sources_is_staged() {
    type Deed = fn(&Sandbox);
    let deeds: &[(&str, Deed)] = &[
        ("nothing", |_| ()),
        ("a file more", |sandbox| _ = sandbox.write("src/a/new.txt", "new")),
        ("a file more that no pattern names", |sandbox| _ = sandbox.write("some/c/no", "new")),
        ("a file less", |sandbox| _ = sandbox.remove("src/a/one.txt")),
        ("another file instead of one", |sandbox| {
            sandbox.remove("src/a/one.txt").write("src/a/another.txt", "one");
        }),
        ("another name", |sandbox| {
            fs::rename(sandbox.path("src/a/one.txt"), sandbox.path("src/a/0.txt")).unwrap();
        }),
        ("a folder more", |sandbox| _ = sandbox.write("src/a/deep/er.txt", "new")),
        ("an empty folder", |sandbox| fs::create_dir(sandbox.path("src/empty")).unwrap()),
        ("a folder less", |sandbox| _ = sandbox.remove("src/a")),
        ("a folder for a file", |sandbox| {
            sandbox.remove("src/a/one.txt").write("src/a/one.txt/in.txt", "in");
        }),
        ("a file for a folder", |sandbox| _ = sandbox.remove("src/b").write("src/b", "b")),
        ("a link for a file", |sandbox| {
            symlink("two.txt", sandbox.remove("src/a/one.txt").path("src/a/one.txt")).unwrap();
        }),
        ("a link to elsewhere", |sandbox| {
            symlink("a/one.txt", sandbox.remove("src/link").path("src/link")).unwrap();
        }),
        ("a file for a link", |sandbox| _ = sandbox.remove("src/link").write("src/link", "two\n")),
        ("a link to nothing, left out", |sandbox| {
            symlink("nothing", sandbox.path("src/left-out")).unwrap();
        }),
        ("what a pattern names, where others are", |sandbox| {
            sandbox.write("some/c/two.txt", "new").remove("some/c/one.txt");
        }),
    ];
    let buildfile = "[target.tree]\nkind = \"staging\"\noutput = \"tree\"\nexclude = [\"*/left-out\"]\n\
                     sources = [\"src\", \"some/**/*.txt\"]\n";
    let look = |sandbox: &Sandbox| {
        sandbox.sh("cd tree && find . -type f -exec md5sum {} + | sort -k 2").success().stdout
    };
    for (what, deed) in deeds {
        for edit in [None, Some("edited\n")] {
            let sandbox = Sandbox::with(buildfile);
            sandbox.write("src/a/one.txt", "one\n").write("src/a/two.txt", "two\n");
            sandbox.write("src/b/three.txt", "three\n").write("src/four.txt", "four\n");
            sandbox.write("some/c/one.txt", "one\n").write("some/c/other", "other\n");
            symlink("four.txt", sandbox.path("src/link")).unwrap();
            sandbox.settle(["tree"]);
            deed(&sandbox);
            if let Some(text) = edit {
                sandbox.write("src/four.txt", text);
            }
            sandbox.run(["tree"]).success();
            let staged = look(&sandbox);
            sandbox.run(["tree"]).success().stderr_has("up to date");
            sandbox.remove(".zipwright").remove("tree").run(["tree"]).success();
            assert_eq!(staged, look(&sandbox), "{what}, {edit:?}");
        }
    }
}

#[test]
fn a_target_that_failed_is_not_up_to_date() {
    let mut sandbox = Sandbox::with(
        "[target.b]\nkind = \"command\"\ninputs = [\"in\"]\nshell = \"true\"\n\
         [target.c]\nkind = \"command\"\ninputs = [\"in\"]\nshell = \"test ! -e fail\"\n",
    );
    sandbox.set_clock_margin();
    sandbox.write("in", "in\n");
    for flags in ["-kB", "-iB"] {
        sandbox.run(["b", "c"]).success();
        sandbox.settle(["b", "c"]);
        sandbox.write("fail", "");
        let _ = sandbox.run([flags, "b", "c"]);
        sandbox.remove("fail");
        sandbox.run(["c"]).success().stderr_has("c: running");
    }
}
