//! One build at a time in a project: the second waits and reports the first one, and only the build
//! itself keeps others out.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::sandbox::{Run, Sandbox};
use crate::wait::{end_of, pid_in, runs, send, until};

/// Buildfile of a command that writes a file when it runs, and waits for a file `go`.
const MEETING: &str = r#"
default = ["meet"]
[target.meet]
kind = "command"
inputs = ["in"]
outputs = ["out"]
shell = '''
echo $$ > pid.tmp && mv pid.tmp pid
until test -e go; do sleep 0.02; done
cat in > out; echo ran >> log
'''
"#;

fn meeting() -> Sandbox {
    let sandbox = Sandbox::with(MEETING);
    sandbox.write("in", "one");
    sandbox
}

fn start(sandbox: &Sandbox) -> Child {
    sandbox.zipwright().stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn the_second_build_waits_and_says_for_whom() {
    let sandbox = meeting();
    let mut first = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    let mut second = start(&sandbox);
    let mut said = String::new();
    BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("waiting for another build in this project: process "), "{said}");
    assert!(said.contains(&first.id().to_string()), "{said}");
    assert!(said.contains("zipwright"), "{said}");
    sandbox.write("go", "");
    assert!(end_of(&mut first).success());
    assert!(end_of(&mut second).success());
    assert_eq!(sandbox.read("log"), "ran\n", "the second found the work done");
}

#[test]
fn no_wait_is_an_error_when_somebody_builds_and_none_when_nobody_does() {
    let sandbox = meeting();
    let mut first = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    let run = sandbox.run(["--no-wait"]).failure();
    run.stderr_has("another build is running in this project").stderr_has(&first.id().to_string());
    sandbox.write("go", "");
    assert!(end_of(&mut first).success());
    sandbox.run(["--no-wait"]).success();
}

#[test]
fn looking_needs_no_lock() {
    let sandbox = meeting();
    let mut first = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    sandbox.run(["-q"]).status(1);
    sandbox.run(["-n"]).success();
    sandbox.run(["list"]).success();
    sandbox.run(["explain", "meet"]).success();
    sandbox.write("go", "");
    assert!(end_of(&mut first).success());
}

#[test]
fn the_lock_dies_with_a_killed_holder_and_so_do_its_programs() {
    let sandbox = meeting();
    let mut first = start(&sandbox);
    let program = pid_in(&sandbox.path("pid"));
    // It may be faster than the line about it.
    let line = format!("\n{} ", program.as_raw_nonzero());
    until("the program's line in the journal", || {
        let journal = sandbox.read(".zipwright/lock");
        (journal.contains(&line) && journal.ends_with('\n')).then_some(())
    });
    send(&first, Signal::KILL);
    end_of(&mut first);
    assert!(runs(program), "no build has ended it");
    sandbox.remove("pid").write("in", "two");
    let mut second = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    assert!(!runs(program), "it could have written the old text over the new");
    sandbox.write("go", "");
    assert!(end_of(&mut second).success());
    assert_eq!((sandbox.read("out"), sandbox.read("log")), ("two".into(), "ran\n".into()));
}

/// On a terminal, the killed build's program shares the process group of the script that started
/// the build, and of everything else that the script started.
#[test]
fn of_a_group_that_it_shares_only_the_killed_builds_program_is_ended() {
    let sandbox = Sandbox::with(
        r#"
        [target.ask]
        kind = "command"
        phony = true
        terminal = true
        shell = "sleep 600 & echo $! > below; echo $$ > asked.tmp && mv asked.tmp asked; wait"
        [target.other]
        kind = "command"
        outputs = ["other"]
        shell = "echo other > other"
        "#,
    );
    let script = r#"
        (until grep -q "^$(cat asked) " .zipwright/lock; do sleep 0.02; done; kill -9 $(cat build)) 2> /dev/null &
        sh -c 'echo $$ > build; exec "$ZIPWRIGHT" ask'
        sleep 600 &
        echo $! > neighbour
        "$ZIPWRIGHT" other
        echo $? > status
        kill $(cat neighbour) && echo ended here > neighbour
    "#;
    sandbox.write("script.sh", script);
    let mut python = sandbox.program("python3");
    python.env("ZIPWRIGHT", env!("CARGO_BIN_EXE_zipwright")).stdin(Stdio::null());
    let run = Run::of(python.args(["-c", "import pty; pty.spawn(['sh', 'script.sh'])"]));
    assert!(sandbox.exists("status"), "the script was ended\n{run}");
    assert_eq!(sandbox.read("status"), "0\n", "{run}");
    assert_eq!(sandbox.read("neighbour"), "ended here\n", "it has nothing to do with the build");
    for orphan in ["asked", "below"] {
        assert!(!runs(pid_in(&sandbox.path(orphan))), "{orphan}");
    }
}

/// `timeout` and shells with job control start programs in a group of their own.
#[test]
fn a_program_below_the_killed_builds_program_is_ended_in_whichever_group() {
    let sandbox = Sandbox::with(
        r#"
        [target.slow]
        kind = "command"
        phony = true
        shell = "timeout 600 sh -c 'echo $$ > inner.tmp && mv inner.tmp inner; sleep 600'; echo"
        [target.other]
        kind = "command"
        phony = true
        shell = "true"
        "#,
    );
    let mut first = sandbox.zipwright().arg("slow").stderr(Stdio::null()).spawn().unwrap();
    let inner = pid_in(&sandbox.path("inner"));
    until("a line in the journal", || {
        let journal = sandbox.read(".zipwright/lock");
        // The line of the program comes after those of its pipes.
        let is_there = journal.lines().nth(2).is_some()
            && journal.lines().last().is_some_and(|line| !line.starts_with("pipe "));
        (is_there && journal.ends_with('\n')).then_some(())
    });
    send(&first, Signal::KILL);
    end_of(&mut first);
    sandbox.run(["other"]).success();
    assert!(!runs(inner));
}

#[test]
fn builds_take_turns_also_when_the_lock_file_was_deleted() {
    let sandbox = Sandbox::with(
        r#"
        [target.turn]
        kind = "command"
        phony = true
        shell = "touch start-$WHO; until test -e end-$WHO; do sleep 0.02; done"
        "#,
    );
    for deleted in [".zipwright", ".zipwright/lock"] {
        let start = |who: &str| {
            let mut build = sandbox.zipwright();
            build.arg("turn").env("WHO", who).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut first = start("a");
        sandbox.wait_for("start-a");
        let mut second = start("b");
        let mut line = String::new();
        BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("waiting for another build"), "{line}");
        sandbox.remove(deleted).write("end-a", "");
        // Without its folder it fails.
        end_of(&mut first);
        sandbox.wait_for("start-b");
        sandbox.run(["--no-wait", "turn"]).failure().stderr_has(&second.id().to_string());
        sandbox.write("end-b", "");
        assert!(end_of(&mut second).success());
        for name in ["start-a", "end-a", "start-b", "end-b"] {
            sandbox.remove(name);
        }
    }
}

#[test]
fn a_waiting_build_goes_on_when_the_holder_is_killed() {
    let sandbox = meeting();
    let mut first = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    let mut second = start(&sandbox);
    let mut said = String::new();
    BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    send(&first, Signal::KILL);
    end_of(&mut first);
    sandbox.write("go", "");
    assert!(end_of(&mut second).success());
    assert_eq!(sandbox.read("out"), "one");
}

#[test]
fn a_process_that_stays_behind_keeps_nobody_out() {
    let sandbox = Sandbox::with(
        r#"
        [target.daemon]
        kind = "command"
        shell = "setsid sleep 600 > /dev/null 2>&1 < /dev/null & echo $! > pid"
        "#,
    );
    sandbox.run(["daemon"]).success();
    let daemon = pid_in(&sandbox.path("pid"));
    sandbox.run(["--no-wait", "-B", "daemon"]).success();
    assert!(runs(daemon), "a process of a build that ended in order is left alone");
    let _ = rustix::process::kill_process(daemon, Signal::KILL);
    let again = pid_in(&sandbox.path("pid"));
    let _ = rustix::process::kill_process(again, Signal::KILL);
}

#[test]
fn many_builds_at_once_do_the_work_once() {
    for _ in 0..10 {
        the_work_is_done_once();
    }
}

fn the_work_is_done_once() {
    let sandbox = meeting();
    sandbox.write("go", "");
    let builds: Vec<Child> = (0..8).map(|_| start(&sandbox)).collect();
    for build in builds {
        let ended = build.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(sandbox.read("log"), "ran\n");
    until("no leftovers", || {
        let names = std::fs::read_dir(sandbox.path(".zipwright")).unwrap();
        names
            .map(|name| name.unwrap().file_name())
            .all(|name| !name.to_string_lossy().contains("tmp"))
            .then_some(())
    });
}
