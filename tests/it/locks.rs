//! One build at a time in a project: who comes second waits and says for whom, and nothing but
//! the build itself keeps the others out.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::sandbox::Sandbox;
use crate::wait::{end_of, pid_in, runs, send, until};

/// A command that says that it runs, and waits for a file `go`.
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
    run.stderr_has("another build runs in this project").stderr_has(&first.id().to_string());
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
    // It may be quicker than the line that is written of it.
    let line = format!("\n{} ", program.as_raw_nonzero());
    until("the program's line in the journal", || {
        let journal = sandbox.read(".zipwright/lock");
        (journal.contains(&line) && journal.ends_with('\n')).then_some(())
    });
    send(&first, Signal::KILL);
    end_of(&mut first);
    assert!(runs(program), "nobody was there to end it");
    sandbox.remove("pid").write("in", "two");
    let mut second = start(&sandbox);
    pid_in(&sandbox.path("pid"));
    assert!(!runs(program), "it could have written the old text over the new");
    sandbox.write("go", "");
    assert!(end_of(&mut second).success());
    assert_eq!((sandbox.read("out"), sandbox.read("log")), ("two".into(), "ran\n".into()));
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
    assert!(runs(daemon), "what a build that ended in order left running is left alone");
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
