//! `command`, `group`, and the engine's work around every kind: up to date or out of date, stamps,
//! failures, dry runs.

use std::time::Duration;

use crate::sandbox::{Run, Sandbox};

/// Buildfile where a command makes `out` from `in` and writes a line into `log`.
const COPY: &str = r#"
default = ["copy"]
[target.copy]
kind = "command"
inputs = ["in"]
outputs = ["build/out"]
shell = "echo ran >> log; cp in build/out"
"#;

fn copy() -> Sandbox {
    let sandbox = Sandbox::with(COPY);
    sandbox.write("in", "one");
    sandbox.run([]).success();
    assert_eq!(sandbox.read("build/out"), "one");
    sandbox
}

fn times_run(sandbox: &Sandbox) -> usize {
    sandbox.read("log").lines().count()
}

#[test]
fn the_second_run_does_nothing() {
    let sandbox = copy();
    let run = sandbox.run(["--json"]).success();
    assert_eq!(run.target("copy")["outcome"], "up-to-date");
    assert_eq!(run.events().last().unwrap()["up_to_date"], 1);
    assert_eq!(times_run(&sandbox), 1);
}

#[test]
fn a_touched_input_runs_nothing() {
    let sandbox = copy();
    sandbox.touch("in");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn a_changed_input_runs_the_command_and_says_which() {
    let sandbox = copy();
    sandbox.write("in", "two");
    let run = sandbox.run(["--json"]).success();
    let reasons = run.target("copy")["reasons"].to_string();
    assert!(reasons.contains("file in: "), "{reasons}");
    assert_eq!(sandbox.read("build/out"), "two");
}

#[test]
fn a_same_size_rewrite_with_its_old_mtime_is_seen() {
    let sandbox = copy();
    sandbox.age("in", 1000);
    sandbox.run([]).success();
    sandbox.write("in", "two").age("in", 1000);
    assert_eq!(sandbox.ran([]), ["copy"]);
}

#[test]
fn an_executable_bit_is_content() {
    let sandbox = copy();
    sandbox.chmod("in", 0o755);
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn missing_and_hand_changed_outputs_are_made_again() {
    let sandbox = copy();
    sandbox.remove("build/out");
    sandbox.run(["--trace"]).success().stderr_has("output `build/out` is missing");
    sandbox.write("build/out", "tampered");
    sandbox
        .run(["--debug=basic"])
        .failure()
        .stderr_has("output `build/out` is not what was left there")
        .stderr_has("`build/out` is in the way: zipwright did not make it");
    assert_eq!(sandbox.read("build/out"), "tampered");
    sandbox.run(["--force"]).success();
    assert_eq!(sandbox.read("build/out"), "one");
    // Identical bytes count like those that the target left.
    sandbox.remove("build/out").write("build/out", "one").run([]).success();
}

#[test]
fn the_same_bytes_keep_their_mtime_and_stop_the_rebuild_there() {
    let sandbox = Sandbox::with(
        r#"
        default = ["last"]
        [target.first]
        kind = "command"
        inputs = ["in"]
        outputs = ["middle"]
        shell = "head -c 1 in > middle"
        [target.last]
        kind = "command"
        inputs = ["middle"]
        outputs = ["out"]
        shell = "cp middle out"
        "#,
    );
    sandbox.write("in", "abc");
    assert_eq!(sandbox.ran([]), ["first", "last"]);
    sandbox.age("middle", 100);
    let before = sandbox.modified("middle");
    sandbox.write("in", "axy");
    assert_eq!(sandbox.ran([]), ["first"]);
    assert_eq!(sandbox.modified("middle"), before);
}

#[test]
fn reformatting_the_buildfile_runs_nothing_and_a_new_meaning_does() {
    let sandbox = copy();
    sandbox.write("Buildfile", COPY.replace(" = ", "   =   ") + "# a comment\n");
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.write("Buildfile", COPY.replace("cp in", "cat in in >"));
    let run = sandbox.run(["--trace"]).success();
    let run = run.stderr_has("shell: echo ran >> log; cp in build/out -> echo ran");
    assert_eq!(sandbox.read("build/out"), "oneone", "{run}");
}

#[test]
fn globs_see_files_that_appear_and_vanish() {
    let sandbox = Sandbox::with(
        r#"
        default = ["cat"]
        [target.cat]
        kind = "command"
        inputs = ["src/**/*.txt"]
        outputs = ["build/out"]
        shell = "cat $(find src -name '*.txt' | sort) > build/out"
        "#,
    );
    sandbox.write("src/a.txt", "a").write("src/deep/b.txt", "b");
    sandbox.run([]).success();
    sandbox.write("src/deep/c.txt", "c");
    assert_eq!(sandbox.ran([]), ["cat"]);
    assert_eq!(sandbox.read("build/out"), "abc");
    sandbox.remove("src/a.txt");
    assert_eq!(sandbox.ran([]), ["cat"]);
    assert_eq!(sandbox.read("build/out"), "bc");
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn a_failed_command_leaves_no_output_and_runs_again() {
    let sandbox = Sandbox::with(&COPY.replace("cp in build/out", "cp in build/out; exit 3"));
    sandbox.write("in", "one");
    let run = sandbox.run([]).failure();
    run.stderr_has("copy").stderr_has("exit status 3");
    assert!(!sandbox.exists("build/out"));
    sandbox.run([]).failure();
    assert_eq!(times_run(&sandbox), 2);
}

#[test]
fn an_output_that_was_not_made_is_an_error() {
    let sandbox = Sandbox::with(&COPY.replace("cp in build/out", "true"));
    sandbox.write("in", "one");
    sandbox.run([]).failure().stderr_has("did not make `build/out`");
}

#[test]
fn an_input_that_nothing_makes_is_an_error() {
    let sandbox = Sandbox::with(COPY);
    sandbox.run([]).failure().stderr_has("input `in` does not exist and no target makes it");
}

const TWO: &str = r#"
default = ["all"]
[target.bad]
kind = "command"
outputs = ["bad"]
shell = "exit 1"
[target.needs-bad]
kind = "command"
inputs = ["bad"]
outputs = ["worse"]
shell = "cp bad worse"
[target.good]
kind = "command"
outputs = ["good"]
shell = "echo good > good"
[target.late]
kind = "command"
needs = ["good"]
outputs = ["late"]
shell = "echo late > late"
[target.all]
kind = "group"
targets = ["bad", "needs-bad", "good", "late"]
"#;

#[test]
fn without_k_nothing_new_starts_after_a_failure() {
    let sandbox = Sandbox::with(TWO);
    let outcomes = sandbox.outcomes(["-j1"]);
    assert_eq!(outcomes["bad"], "failed");
    assert_eq!(outcomes["needs-bad"], "skipped");
    assert!(!sandbox.exists("late"));
}

#[test]
fn with_k_everything_else_is_built() {
    let sandbox = Sandbox::with(TWO);
    let run = Run::of(sandbox.zipwright().args(["--json", "-k"])).failure();
    assert_eq!(run.target("late")["outcome"], "ran");
    assert_eq!(run.target("all")["outcome"], "skipped");
    let summary = run.events().pop().unwrap();
    assert_eq!((&summary["failed"], &summary["skipped"]), (&1.into(), &2.into()), "{run}");
    assert!(sandbox.exists("late"));
}

#[test]
fn a_dry_run_says_what_would_run_and_changes_nothing() {
    let sandbox = Sandbox::with(TWO);
    let run = sandbox.run(["--json", "-n", "late"]).success();
    assert_eq!(run.target("good")["outcome"], "would-run");
    assert_eq!(run.target("late")["outcome"], "would-run");
    assert!(!sandbox.exists("good") && !sandbox.exists(".zipwright"));
    sandbox.run(["late"]).success();
    assert_eq!(sandbox.run(["--json", "-n", "late"]).target("late")["outcome"], "up-to-date");
}

#[test]
fn a_question_is_answered_by_the_exit_status_alone() {
    let sandbox = Sandbox::with(COPY);
    sandbox.write("in", "one");
    let run = sandbox.run(["-q"]).status(1);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    assert!(!sandbox.exists(".zipwright"));
    sandbox.run([]).success();
    sandbox.run(["-q"]).success();
    sandbox.remove("in").remove("build/out");
    sandbox.run(["-q"]).status(2);
}

#[test]
fn always_make_runs_what_is_up_to_date() {
    let sandbox = copy();
    assert_eq!(sandbox.ran(["-B"]), ["copy"]);
    assert_eq!(times_run(&sandbox), 2);
}

#[test]
fn a_phony_command_always_runs_and_so_does_what_needs_it() {
    let sandbox = Sandbox::with(
        r#"
        [target.lint]
        kind = "command"
        phony = true
        shell = "echo lint >> log"
        [target.after]
        kind = "command"
        after = ["lint"]
        outputs = ["after"]
        shell = "echo after > after"
        [target.needs]
        kind = "command"
        needs = ["lint"]
        outputs = ["needs"]
        shell = "echo needs > needs"
        "#,
    );
    sandbox.run(["after", "needs"]).success();
    assert_eq!(sandbox.ran(["after"]), ["lint"]);
    assert_eq!(sandbox.ran(["needs"]), ["lint", "needs"]);
}

#[test]
fn a_stamp_is_touched_only_when_something_was_done() {
    let sandbox = Sandbox::with(
        r#"
        [target.deploy]
        kind = "command"
        inputs = ["in"]
        shell = "echo deployed >> log"
        "#,
    );
    sandbox.write("in", "one");
    sandbox.run(["deploy"]).success();
    assert_eq!(sandbox.bytes("build/deploy.stamp").len(), 0);
    sandbox.age("build/deploy.stamp", 50);
    let before = sandbox.modified("build/deploy.stamp");
    sandbox.run(["deploy"]).success();
    assert_eq!(sandbox.modified("build/deploy.stamp"), before);
    sandbox.write("in", "two").run(["deploy"]).success();
    assert!(sandbox.modified("build/deploy.stamp") > before + Duration::from_secs(10));
    sandbox.remove("build/deploy.stamp");
    assert_eq!(sandbox.ran(["deploy"]), ["deploy"]);
}

#[test]
fn variables_come_from_the_file_and_the_command_line() {
    let sandbox = Sandbox::with(
        r#"
        default = ["say"]
        [vars]
        word = "file"
        [target.say]
        kind = "command"
        outputs = ["said"]
        shell = "echo {word} > said"
        "#,
    );
    sandbox.run([]).success();
    assert_eq!(sandbox.read("said"), "file\n");
    sandbox.run(["word=typed"]).success();
    assert_eq!(sandbox.read("said"), "typed\n");
}

#[test]
fn deleting_the_state_costs_time_only() {
    let sandbox = copy();
    sandbox.remove(".zipwright");
    assert_eq!(sandbox.ran([]), ["copy"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn explain_names_the_component_that_differs_or_says_that_none_does() {
    let sandbox = copy();
    let run = sandbox.run(["explain", "copy"]).success();
    assert!(run.stdout.starts_with("`copy` is up to date: none of its "), "{run}");
    sandbox.write("in", "two");
    let run = sandbox.run(["explain", "copy"]).success();
    assert!(run.stdout.contains("file in: "), "{run}");
    assert!(run.stdout.contains(" -> "), "{run}");
}

#[test]
fn clean_removes_what_was_made() {
    let sandbox = copy();
    sandbox.run(["clean"]).success();
    assert!(!sandbox.exists("build/out"));
    assert!(sandbox.exists("in"));
    assert_eq!(sandbox.ran([]), ["copy"]);
}

#[test]
fn list_shows_the_targets() {
    let sandbox = copy();
    let run = sandbox.run(["list"]).success();
    assert_eq!(run.stdout, "* copy  command     build/out\n");
}

#[test]
fn an_outer_makefile_can_depend_on_outputs_and_stamps() {
    let sandbox = Sandbox::with(
        r#"
        [target.copy]
        kind = "command"
        inputs = ["in"]
        outputs = ["build/out"]
        shell = "head -c 1 in > build/out"
        [target.deploy]
        kind = "command"
        inputs = ["build/out"]
        shell = "true"
        "#,
    );
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    sandbox.write("in", "abc").write(
        "Makefile",
        format!(
            "all: from-out from-stamp\n\
             from-out: build/out\n\techo out >> log; touch $@\n\
             from-stamp: build/deploy.stamp\n\techo stamp >> log; touch $@\n\
             build/out build/deploy.stamp: FORCE\n\t@{zipwright} -s $@\n\
             FORCE:\n"
        ),
    );
    sandbox.sh("make -s").success();
    assert_eq!(sandbox.read("log"), "out\nstamp\n");
    for file in ["build/out", "build/deploy.stamp", "from-out", "from-stamp"] {
        sandbox.age(file, if file.starts_with("from") { 50 } else { 100 });
    }
    // The same first byte: the output keeps its mtime, and make uses that.
    sandbox.write("in", "axy");
    sandbox.sh("make -s").success();
    assert_eq!(sandbox.read("log"), "out\nstamp\n");
    sandbox.write("in", "bcd");
    sandbox.sh("make -s").success();
    assert_eq!(sandbox.read("log"), "out\nstamp\nout\nstamp\n");
}

#[test]
fn a_make_below_shares_our_job_slots_and_knows_its_level() {
    let sandbox = Sandbox::with(
        r#"
        [vars]
        word = "file"
        [target.below]
        kind = "command"
        phony = true
        shell = "make -s -f below.mk"
        "#,
    );
    sandbox.write("below.mk", "all: ; +@echo \"$(MAKELEVEL) $(word) $$MAKEFLAGS\"\n");
    let run = sandbox.run(["-j3", "below", "word=typed"]).success();
    assert!(run.stdout.starts_with("1 typed "), "{run}");
    assert!(run.stdout.contains("--jobserver-auth="), "{run}");
    run.stderr_has("1 ran (below)");
}

#[test]
fn below_make_its_slots_flags_and_variables_count() {
    let sandbox = Sandbox::with(
        r#"
        [vars]
        word = "file"
        [target.a]
        kind = "command"
        phony = true
        shell = "echo a {word} >> log; exit 1"
        [target.b]
        kind = "command"
        phony = true
        shell = "echo b {word} >> log"
        [target.both]
        kind = "group"
        targets = ["a", "b"]
        "#,
    );
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    sandbox.write("Makefile", format!("all: ; +@{zipwright} both\n"));
    sandbox.sh("make -s -j2 -k word=handed").failure();
    let mut log: Vec<String> = sandbox.read("log").lines().map(str::to_owned).collect();
    log.sort();
    assert_eq!(log, ["a handed", "b handed"]);
    // -n is passed down as well: nothing runs.
    sandbox.sh("make -n").success();
    assert_eq!(sandbox.read("log").lines().count(), 2);
}

#[test]
fn no_more_targets_run_at_once_than_make_has_slots() {
    let mut buildfile = String::from("[target.all]\nkind = \"group\"\ntargets = [");
    for number in 0..6 {
        buildfile.push_str(&format!("\"t{number}\", "));
    }
    buildfile.push_str("]\n");
    for number in 0..6 {
        buildfile.push_str(&format!(
            "[target.t{number}]\nkind = \"command\"\nphony = true\n\
             shell = \"mkdir running/{number}; ls running | wc -l >> seen; sleep 0.1; rmdir running/{number}\"\n"
        ));
    }
    let sandbox = Sandbox::with(&buildfile);
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    sandbox.write("running/.keep", "").write("Makefile", format!("all: ; +@{zipwright} -s all\n"));
    // Make reports a slot that was not returned.
    sandbox.sh("make -s -j2").success().stderr_lacks("INTERNAL");
    let most = sandbox.read("seen").lines().map(|line| line.trim().parse::<u32>().unwrap()).max();
    assert_eq!(most, Some(2));
}

#[test]
fn a_command_may_have_the_terminal_alone() {
    let sandbox = Sandbox::with(
        r#"
        [target.ask]
        kind = "command"
        phony = true
        terminal = true
        shell = "test -t 0 && test -t 1 && test -t 2 && echo asked >> log"
        [target.other]
        kind = "command"
        phony = true
        shell = "! test -t 1 && echo other >> log"
        "#,
    );
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    let script = format!(
        "import os, pty; \
         raise SystemExit(os.waitstatus_to_exitcode(pty.spawn(['{zipwright}', 'ask', 'other'])))"
    );
    sandbox.sh(&format!("python3 -c \"{script}\" < /dev/null")).success();
    let mut log: Vec<String> = sandbox.read("log").lines().map(str::to_owned).collect();
    log.sort();
    assert_eq!(log, ["asked", "other"]);
    // Without a terminal its output is passed on as usual.
    sandbox.run(["ask"]).failure().stderr_has("ended with exit status 1");
}

#[test]
fn an_option_before_a_command_is_an_error_and_not_ignored() {
    let sandbox = Sandbox::with(
        "[target.a]\nkind = \"command\"\noutputs = [\"out\"]\nshell = \"echo 1 > out\"\n\
         [target.check]\nkind = \"command\"\nshell = \"true\"\n",
    );
    for (option, command) in
        [("-n", "build"), ("-q", "build"), ("--digest=x", "build"), ("-n", "watch")]
    {
        let word = option.split('=').next().unwrap();
        let _ = sandbox.run([option, command, "a"]).failure().stderr_has(&format!(
            "error: write `{word}` behind `{command}`: before it, it would have no effect"
        ));
    }
    sandbox.run(["a"]).success();
    for command in ["clean", "promote", "list"] {
        let run = sandbox.run(["-n", command]).failure();
        if command != "promote" {
            let _ =
                run.stderr_has(&format!("`-n` is an option of builds, and `{command}` is not one"));
        }
    }
    assert_eq!(sandbox.read("out"), "1\n");
    // A goal that is also the name of a command, and options that all commands take.
    sandbox.run(["-n", "check"]).success();
    sandbox.run(["-C", ".", "-f", "Buildfile", "--color=never", "list"]).success();
}
