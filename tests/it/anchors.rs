//! A test for each mistake that other tools made about up-to-date targets, so that it is not made
//! here. Each test names the tool; the tests use commands and groups, which need no wheels and no
//! network. moon's mistakes in the HTTP protocol of a cache (uploads without a check, a doubled
//! slash in addresses) have no counterpart: there is no such cache here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::sandbox::Sandbox;

const STATE: &str = ".zipwright/state";

/// Buildfile where `out` is a copy of `in`. If a file `slow` exists, the command never ends.
const SLOW: &str = r#"
[target.copy]
kind = "command"
inputs = ["in"]
outputs = ["out"]
shell = "test ! -e slow || { head -c 1 in > out; true > started; sleep 600; }; cp in out"
"#;

/// Returns a build of [`SLOW`] whose command is running.
fn half_way() -> (Sandbox, Child) {
    let sandbox = Sandbox::with(SLOW);
    sandbox.write("in", "one").run([]).success();
    sandbox.write("in", "two").write("slow", "");
    let mut command = sandbox.zipwright();
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = silent.process_group(0).spawn().unwrap();
    sandbox.wait_for("started");
    sandbox.remove("slow");
    (sandbox, child)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).unwrap()
}

/// go-task records that a task is done before it runs.
#[test]
fn a_record_is_not_written_before_the_run() {
    let (sandbox, mut child) = half_way();
    kill_process(pid(&child), Signal::KILL).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    sandbox.run(["-q"]).status(1);
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.read("out"), "two");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

/// The same, with the input restored before the next build: it is as at the last success, but the
/// output of the killed run is not.
#[test]
fn a_record_from_before_a_killed_run_does_not_count() {
    let (sandbox, mut child) = half_way();
    kill_process(pid(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    sandbox.write("in", "one");
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.read("out"), "one");
}

/// moon and go-task regard a task that was stopped by Ctrl-C as done.
#[test]
fn a_target_stopped_by_ctrl_c_is_not_done() {
    let (sandbox, mut child) = half_way();
    kill_process_group(pid(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert!(!sandbox.exists("out"), "half an output is left");
    sandbox.run(["-q"]).status(1);
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.read("out"), "two");
}

/// redo documents a gap between putting an output in place and recording it.
#[test]
fn an_output_in_place_without_its_record_is_made_again() {
    let sandbox = Sandbox::with(SLOW);
    sandbox.write("in", "one").run([]).success();
    let before = sandbox.bytes(STATE);
    sandbox.write("in", "two").run([]).success();
    sandbox.write(STATE, before);
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.read("out"), "two");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

const JOIN: &str = r#"
[target.join]
kind = "command"
inputs = ["src/**"]
outputs = ["out"]
shell = "find src -type f | sort | tee /dev/stderr | xargs cat > out"
"#;

/// go-task's key concatenates base names and contents.
#[test]
fn a_key_tells_names_from_contents_and_folders_from_each_other() {
    let sandbox = Sandbox::with(JOIN);
    sandbox.write("src/ab", "c").run([]).success();
    sandbox.remove("src/ab").write("src/a", "bc");
    assert_eq!(sandbox.ran([]), ["join"], "a letter went from the name to the content");
    sandbox.remove("src/a").write("src/deep/a", "bc");
    assert_eq!(sandbox.ran([]), ["join"], "the same base name in another folder");
    sandbox.write("src/deep/b", "").remove("src/deep/a").write("src/deep/a", "b");
    sandbox.write("src/deep/b", "c");
    assert_eq!(sandbox.ran([]), ["join"], "a letter went from one file to the next");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn a_key_tells_words_of_a_command_from_each_other() {
    let buildfile = |words: &str| {
        format!("[target.say]\nkind = \"command\"\noutputs = [\"out\"]\nrun = {words}\n")
    };
    let say = "\"sh\", \"-c\", \"echo $1 $2 > out\", \"x\"";
    let sandbox = Sandbox::with(&buildfile(&format!("[{say}, \"ab\", \"c\"]")));
    sandbox.run([]).success();
    for words in ["\"a\", \"bc\"", "\"a bc\"", "\"a\", \"b\", \"c\"", "\"a\", \"b\", \"c\", \"\""] {
        sandbox.write("Buildfile", buildfile(&format!("[{say}, {words}]")));
        assert_eq!(sandbox.ran([]), ["say"], "{words}");
    }
}

/// go-task stores the state of `a:b` and `a-b` in one file.
#[test]
fn targets_with_names_alike_have_records_and_stamps_of_their_own() {
    let names = ["a-b", "a.b", "a_b", "A-b", "ab", "a--b", "a-b.stamp"];
    let target = |name: &&str| {
        format!(
            "[target.\"{name}\"]\nkind = \"command\"\ninputs = [\"{name}.in\"]\nshell = \"true\"\n"
        )
    };
    let group = format!("[target.all]\nkind = \"group\"\ntargets = {names:?}\n");
    let sandbox = Sandbox::with(&(names.iter().map(target).collect::<String>() + &group));
    for name in names {
        sandbox.write(&format!("{name}.in"), "one");
    }
    sandbox.run(["all"]).success();
    assert_eq!(fs::read_dir(sandbox.path("build")).unwrap().count(), names.len());
    for name in names {
        sandbox.write(&format!("{name}.in"), "two");
        assert_eq!(sandbox.ran(["all"]), sorted([name, "all"]), "{name}");
    }
    assert_eq!(sandbox.ran(["all"]), [""; 0]);
}

fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
    names.sort_unstable();
    names
}

const PAIR: &str = r#"
[target.pair]
kind = "command"
inputs = ["in"]
outputs = ["x", "y"]
shell = "cp in x; cp in y"
"#;

/// n2 does not start if the last record of its database is torn.
#[test]
fn a_torn_state_file_stops_no_build() {
    let sandbox = Sandbox::with(PAIR);
    sandbox.write("in", "one").run([]).success();
    sandbox.write("in", "two").run([]).success();
    let whole = sandbox.bytes(STATE);
    for length in (0..whole.len()).rev().step_by(whole.len().div_ceil(40)) {
        sandbox.write(STATE, &whole[..length]);
        sandbox.run([]).success();
        assert_eq!(sandbox.read("y"), "two", "cut at {length}");
        assert_eq!(sandbox.ran([]), [""; 0], "cut at {length}");
    }
}

/// ninja builds the same targets again in every run if its log of dependencies is damaged.
#[test]
fn after_a_damaged_state_file_the_second_build_does_nothing() {
    let sandbox = Sandbox::with(PAIR);
    sandbox.write("in", "one").run([]).success();
    let whole = sandbox.bytes(STATE);
    let middle = whole.len() / 2;
    let flipped: Vec<u8> =
        whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == middle)).collect();
    let zeroed = [&whole[..middle], &vec![0; middle]].concat();
    let twice = [&whole[..], &whole[..]].concat();
    let trailing = [&whole[..], b"garbage"].concat();
    for damaged in [flipped, zeroed, twice, trailing, b"garbage".to_vec(), Vec::new()] {
        sandbox.write(STATE, damaged).run([]).success();
        assert_eq!(sandbox.ran([]), [""; 0]);
        assert_eq!((sandbox.read("x"), sandbox.read("y")), ("one".into(), "one".into()));
    }
}

/// mise is satisfied with one output of two.
#[test]
fn one_missing_output_of_two_is_made_again() {
    let sandbox = Sandbox::with(PAIR);
    sandbox.write("in", "one").run([]).success();
    for gone in ["x", "y", "build/pair.stamp"] {
        sandbox.remove(gone).run(["-q"]).status(1);
        assert_eq!(sandbox.ran([]), ["pair"], "{gone}");
        assert!(sandbox.exists(gone));
    }
}

/// doit, n2 and make do not notice an edit that leaves the time unchanged.
#[test]
fn an_edit_with_the_same_time_and_size_is_seen() {
    let sandbox = Sandbox::with(PAIR);
    sandbox.write("in", "one").run([]).success();
    let modified = sandbox.modified("in");
    sandbox.write("in", "two");
    fs::File::options()
        .append(true)
        .open(sandbox.path("in"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_eq!(sandbox.ran([]), ["pair"]);
    assert_eq!(sandbox.read("x"), "two");
}

/// Edits in quick succession: many of them within one tick of the file system's clock.
#[test]
fn an_edit_right_after_a_build_is_seen() {
    let sandbox = Sandbox::with(PAIR);
    for round in 100..140 {
        sandbox.write("in", round.to_string()).run(["-s"]).success();
        assert_eq!(sandbox.read("y"), round.to_string());
    }
}

/// ninja and n2 accept a declared output that is never made.
#[test]
fn a_declared_output_that_is_never_made_is_an_error_each_time() {
    let sandbox = Sandbox::with(&PAIR.replace("; cp in y", ""));
    sandbox.write("in", "one");
    for _ in 0..2 {
        sandbox.run([]).failure().stderr_has("did not make `y`");
        sandbox.run(["-q"]).status(1);
    }
    assert!(!sandbox.exists("build/pair.stamp"));
}

/// Returns all paths below the project, with content and times.
fn tree(sandbox: &Sandbox) -> BTreeMap<String, (SystemTime, Option<Vec<u8>>)> {
    walkdir::WalkDir::new(sandbox.path(""))
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            let path = entry.path().display().to_string();
            (path, (modified, fs::read(entry.path()).ok()))
        })
        .collect()
}

/// go-task's `--dry` and `--status` record that the task is done.
#[test]
fn asking_changes_nothing() {
    let sandbox = Sandbox::with(PAIR);
    sandbox.write("in", "one");
    let questions = || {
        let before = tree(&sandbox);
        let _ = sandbox.run(["-n"]).success();
        let _ = sandbox.run(["-n", "-B"]).success();
        let _ = sandbox.run(["-n", "--trace"]).success();
        let _ = sandbox.run(["-q"]);
        let _ = sandbox.run(["explain", "pair"]).success();
        let _ = sandbox.run(["list"]).success();
        assert_eq!(tree(&sandbox), before);
    };
    questions();
    assert_eq!(sandbox.ran([]), ["pair"]);
    questions();
    sandbox.write("in", "two");
    questions();
    assert_eq!(sandbox.ran([]), ["pair"]);
    sandbox.remove("y");
    questions();
    assert_eq!(sandbox.ran([]), ["pair"]);
}

/// just runs the dependencies of a recipe that is itself up to date.
#[test]
fn what_an_up_to_date_target_needs_does_not_run() {
    let sandbox = Sandbox::with(
        r#"
        [target.out]
        kind = "command"
        inputs = ["in"]
        outputs = ["out"]
        needs = ["check"]
        after = ["prepare"]
        shell = "cp in out"
        [target.check]
        kind = "command"
        inputs = ["in"]
        shell = "true"
        [target.prepare]
        kind = "command"
        outputs = ["prepared"]
        shell = "date +%N > prepared"
        [target.all]
        kind = "group"
        targets = ["out"]
        "#,
    );
    sandbox.write("in", "one");
    assert_eq!(sandbox.ran(["all"]), ["all", "check", "out", "prepare"]);
    for goal in ["all", "out", "check", "prepare"] {
        assert_eq!(sandbox.ran([goal]), [""; 0], "{goal}");
    }
}
