//! `require`: all guards of the targets that are going to run come before the first run, and one
//! that fails stops everything. `timeout` of a command.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::sandbox::{Run, Sandbox, text};
use crate::wait::{end_of, pid_in, runs, send};

/// Two targets with guards, and one without that comes first. Guards and runs write into `log`; a
/// guard refuses if there is a file of its name.
const BUILDFILE: &str = r#"
default = ["all"]
[target.first]
kind = "command"
inputs = ["in"]
outputs = ["build/first"]
shell = "echo run first >> log; cp in build/first"
[target.second]
kind = "command"
inputs = ["build/first"]
outputs = ["build/second"]
shell = "echo run second >> log; cp build/first build/second"
require = [
    { shell = "echo guard second >> log; test ! -e no-second || { echo a; echo b >&2; exit 3; }", message = "second is not allowed" },
    { shell = "echo guard second again >> log" },
]
[target.third]
kind = "command"
inputs = ["other"]
outputs = ["build/third"]
shell = "echo run third >> log; cp other build/third"
require = [{ shell = "echo guard third >> log; test ! -e no-third" }]
[target.all]
kind = "group"
targets = ["first", "second", "third"]
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("in", "1").write("other", "1");
    sandbox
}

/// Returns the lines of the log, and empties it.
fn log(sandbox: &Sandbox) -> Vec<String> {
    let lines = match sandbox.exists("log") {
        true => sandbox.read("log").lines().map(str::to_owned).collect(),
        false => Vec::new(),
    };
    sandbox.write("log", "");
    lines
}

#[test]
fn all_guards_come_before_the_first_run() {
    let sandbox = project();
    sandbox.run(["-j1"]).success();
    let lines = log(&sandbox);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[..3].iter().all(|line| line.starts_with("guard")), "{lines:?}");
    sandbox.run([]).success();
    assert_eq!(log(&sandbox), [""; 0], "nothing runs, so no guard does");
    // `second` may run, because `first` does; `third` does not.
    sandbox.write("in", "2");
    sandbox.run(["-j1"]).success();
    assert_eq!(
        log(&sandbox),
        ["guard second", "guard second again", "run first", "run second"].map(str::to_owned)
    );
}

#[test]
fn a_guard_that_refuses_stops_everything_with_its_words() {
    let sandbox = project();
    sandbox.write("no-second", "").write("no-third", "");
    let run = sandbox.run(["--json", "-j1"]).failure();
    let error = text(&run.target("second"), "error");
    let words = "second is not allowed\n`echo guard second >> log; test ! -e no-second || \
                 { echo a; echo b >&2; exit 3; }` ended with exit status 3\n";
    assert!(error.starts_with(words), "{error}");
    assert!(error.ends_with("\na\nb") || error.ends_with("\nb\na"), "{error}");
    let error = text(&run.target("third"), "error");
    assert_eq!(error, "`echo guard third >> log; test ! -e no-third` ended with exit status 1");
    assert!(run.events().iter().all(|event| event["event"] != "started"), "{run}");
    assert_eq!(log(&sandbox).len(), 3, "all guards are checked, so that all errors are reported");
    assert!(!sandbox.exists("build"));
    let guards: Vec<_> = run.events().into_iter().filter(|e| e["event"] == "guard").collect();
    let passed: Vec<_> = guards.iter().map(|guard| guard["passed"].clone()).collect();
    assert_eq!(passed, [json!(false), json!(true), json!(false)]);

    sandbox.run([]).failure().stderr_has("error: second: second is not allowed\n  `echo guard");
    // `-i` does not ignore a guard, and goes on as `-k` does.
    for option in ["-k", "-i"] {
        let sandbox = project();
        sandbox.write("no-second", "");
        let outcomes = sandbox.outcomes([option]);
        let outcome = |name: &str| outcomes[name].as_str();
        assert_eq!(["first", "second", "third"].map(outcome), ["ran", "failed", "ran"]);
        assert_eq!(outcome("all"), "skipped");
    }
}

#[test]
fn a_guard_of_a_target_that_only_comes_after_counts_if_it_runs() {
    let sandbox = Sandbox::with(
        r#"
        default = ["late"]
        [target.early]
        kind = "command"
        inputs = ["in"]
        outputs = ["build/early"]
        shell = "echo run early >> log; cp in build/early"
        [target.middle]
        kind = "command"
        inputs = ["middle"]
        outputs = ["build/middle"]
        after = ["early"]
        shell = "echo run middle >> log; cp middle build/middle"
        [target.late]
        kind = "command"
        needs = ["middle"]
        shell = "echo run late >> log"
        require = [{ shell = "echo guard >> log" }]
        "#,
    );
    sandbox.write("in", "1").write("middle", "1");
    sandbox.run([]).success();
    assert_eq!(log(&sandbox), ["guard", "run early", "run middle", "run late"]);
    sandbox.write("in", "2");
    sandbox.run([]).success();
    assert_eq!(log(&sandbox), ["run early"], "neither of the others is out of date");
    sandbox.write("in", "3").write("middle", "2");
    sandbox.run([]).success();
    assert_eq!(log(&sandbox), ["guard", "run early", "run middle", "run late"]);
}

#[test]
fn guards_run_side_by_side_as_far_as_there_are_job_slots() {
    let meet = |own: &str, other: &str| {
        format!(
            "touch {own}; for i in $(seq 200); do test -e {other} && exit 0; sleep 0.05; done; exit 1"
        )
    };
    let sandbox = Sandbox::with(&format!(
        "[target.a]\nkind = 'command'\nshell = 'true'\n\
         require = [{{ shell = '{}' }}, {{ shell = '{}' }}]\n",
        meet("one", "two"),
        meet("two", "one")
    ));
    sandbox.run(["-j2"]).success();
    // With the slots of make, and all of them are returned.
    sandbox.sh("rm one two build/a.stamp").success();
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    sandbox.write("Makefile", format!("a b:\n\t+{zipwright} -s\n"));
    sandbox.sh("make -j3 a").success().stderr_lacks("jobserver tokens");
    let alone = "mkdir busy && sleep 0.2 && rmdir busy";
    let sandbox = Sandbox::with(&format!(
        "[target.a]\nkind = 'command'\nshell = 'true'\n\
         require = [{{ shell = '{alone}' }}, {{ shell = '{alone}' }}, {{ shell = '{alone}' }}]\n"
    ));
    sandbox.run(["-j1"]).success();
}

#[test]
fn only_the_text_of_a_guard_counts() {
    let sandbox = project();
    sandbox.run([]).success();
    let again = |from: &str, to: &str| {
        let buildfile = sandbox.read("Buildfile");
        assert!(buildfile.contains(from), "{from}");
        sandbox.write("Buildfile", buildfile.replace(from, to));
        sandbox.ran([])
    };
    assert_eq!(again("second is not allowed", "no"), [""; 0]);
    assert_eq!(again("message = \"no\"", "message = \"no\", timeout = \"9s\""), [""; 0]);
    assert_eq!(again("echo guard third", "echo guard of third"), ["third"]);
    let reason = "require 1: echo guard of third >> log; test ! -e no-third -> ";
    sandbox.write("Buildfile", sandbox.read("Buildfile").replace("guard of third", "guard third"));
    let run = sandbox.run(["explain", "third"]).success();
    assert!(run.stdout.contains(reason), "{run}");
    assert!(run.stdout.contains("\nrequire: echo guard third >> log"), "{run}");
}

#[test]
fn a_dry_run_lists_guards_and_runs_none() {
    let sandbox = project();
    let run = sandbox.run(["-n"]).success();
    let shown = "third: would run (not built before)\n  require: echo guard third >> log; test";
    assert!(run.stdout.contains(shown), "{run}");
    let run = sandbox.run(["-n", "--json"]).success();
    let guards = run.target("second")["require"].clone();
    assert_eq!(guards[1], "echo guard second again >> log");
    assert!(run.target("first").get("require").is_none());
    sandbox.run(["-q"]).status(1);
    sandbox.run(["-t"]).success();
    assert_eq!(log(&sandbox), [""; 0]);
    let list = sandbox.run(["list", "--json", "third"]).success();
    assert_eq!(list.events()[0]["require"], json!(["echo guard third >> log; test ! -e no-third"]));
    let graph = sandbox.run(["graph", "--format", "json", "third"]).success();
    assert!(graph.stdout.contains("\"require\": ["), "{graph}");
}

#[test]
fn a_guard_has_the_folder_and_the_variables_of_its_command_and_no_value_shows() {
    let sandbox = Sandbox::with(
        r#"
        [vars]
        word = "none"
        [target.a]
        kind = "command"
        directory = "inner"
        env = { COLOR = "green" }
        shell = "true"
        require = [
            { shell = "test $COLOR = green && test -e here" },
            { run = ["./ok", "{word}"], message = "{word}" },
        ]
        "#,
    );
    sandbox.write("inner/here", "").write("inner/ok", "#!/bin/sh\ntest $1 = secret-word\n");
    sandbox.chmod("inner/ok", 0o755);
    sandbox.run(["word=secret-word"]).success();
    let run = sandbox.run(["--json", "word=other-word"]).failure();
    assert!(!run.stdout.contains("other-word") && !run.stderr.contains("other-word"), "{run}");
    sandbox.run(["-n", "word=other-word"]).success().stderr_lacks("other-word");
    sandbox.remove("inner/ok");
    sandbox.run(["word=secret-word", "-B"]).failure().stderr_has("there is no program");
}

#[test]
fn a_guard_and_a_command_end_at_their_time_outs_with_all_their_children() {
    let hang = "sleep 600 & echo $! > pid.tmp; mv pid.tmp pid; echo still here; wait";
    let sandbox = Sandbox::with(&format!(
        "default = ['a']\n[target.a]\nkind = 'command'\nshell = 'true'\n\
         require = [{{ shell = '{hang}', timeout = '300ms' }}]\n\
         [target.b]\nkind = 'command'\nshell = '{hang}'\ntimeout = '300ms'\n"
    ));
    let ended = "did not end within 0.30 s and was ended";
    let run = sandbox.run(["a"]).failure().stderr_has(ended).stderr_has("\n  still here\n");
    assert!(!runs(pid_in(&sandbox.path("pid"))), "{run}");
    sandbox.remove("pid");
    let run = sandbox.run(["b"]).failure().stderr_has(ended);
    assert!(run.stdout.contains("still here"), "{run}");
    assert!(!runs(pid_in(&sandbox.path("pid"))), "{run}");
    assert!(!sandbox.exists("build/b.stamp"));
}

#[test]
fn a_build_that_is_ended_during_its_guards_has_moved_nothing() {
    let guard = "test -e quick || { echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 600; }";
    for signal in [Signal::INT, Signal::KILL] {
        let sandbox = Sandbox::with(&format!(
            "[target.a]\nkind = 'command'\nshell = 'echo run >> log'\n\
             require = [{{ shell = '{guard}', timeout = '1h' }}]\n"
        ));
        let mut child = sandbox.zipwright().stderr(Stdio::null()).spawn().unwrap();
        let pid = pid_in(&sandbox.path("pid"));
        send(&child, signal);
        end_of(&mut child);
        assert!(!sandbox.exists("log"));
        sandbox.write("quick", "");
        assert_eq!(sandbox.ran([]), ["a"]);
        assert!(!runs(pid), "the guard outlived its build");
        assert_eq!(log(&sandbox), ["run"]);
        assert_eq!(sandbox.ran([]), [""; 0]);
    }
}

#[test]
fn guards_are_in_the_timings() {
    let sandbox = project();
    Run::of(sandbox.zipwright().arg("--timings=times")).success();
    let trace = sandbox.read("times.json");
    assert!(trace.contains("\"third: require\"") && trace.contains("\"guard\""), "{trace}");
}
