//! SIGINT, SIGTERM, SIGHUP: running programs are ended, half-written outputs are removed, nothing
//! is recorded, and zipwright dies by that signal. And programs that do not end as they should.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::sandbox::{Run, Sandbox};
use crate::wait::{end_of, pid_in, runs, send, until};

/// A command that writes half an output and its process id, and sleeps; so does a child process. If
/// a file `quick` exists, it ends at once.
const SLOW: &str = r#"
default = ["slow"]
[target.slow]
kind = "command"
inputs = ["in"]
outputs = ["build/out", "build/more"]
shell = '''
TRAP
cat in > build/out
test -e quick || { sleep 600 & echo $! > pid.tmp && mv pid.tmp grandchild; echo $$ > pid.tmp && mv pid.tmp child; WAIT; }
cat in > build/more
'''
"#;

fn slow(trap: &str, wait: &str) -> Sandbox {
    let sandbox = Sandbox::with(&SLOW.replace("TRAP", trap).replace("WAIT", wait));
    sandbox.write("in", "one");
    sandbox
}

fn start(sandbox: &Sandbox) -> Child {
    sandbox.zipwright().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Asserts that the next build does all the work, and the one after it nothing.
fn is_right_afterwards(sandbox: &Sandbox) {
    sandbox.write("quick", "");
    assert_eq!(sandbox.ran([]), ["slow"]);
    assert_eq!(
        (sandbox.read("build/out"), sandbox.read("build/more")),
        ("one".into(), "one".into())
    );
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn each_signal_ends_everything_and_zipwright_dies_by_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let sandbox = slow("", "wait");
        let mut zipwright = start(&sandbox);
        let child = pid_in(&sandbox.path("child"));
        let grandchild = pid_in(&sandbox.path("grandchild"));
        send(&zipwright, signal);
        let status = end_of(&mut zipwright);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        assert!(!runs(child) && !runs(grandchild), "{signal:?}");
        assert!(!sandbox.exists("build/out"), "half-made");
        assert!(!sandbox.exists("build/slow.stamp"));
        is_right_afterwards(&sandbox);
    }
}

#[test]
fn a_second_signal_ends_what_ignores_the_first() {
    let sandbox = slow("trap '' TERM", "while :; do sleep 1; done");
    let mut zipwright = start(&sandbox);
    let child = pid_in(&sandbox.path("child"));
    let grandchild = pid_in(&sandbox.path("grandchild"));
    let started = Instant::now();
    send(&zipwright, Signal::INT);
    // Two signals of one Ctrl-C, as below make, count as one.
    send(&zipwright, Signal::INT);
    std::thread::sleep(Duration::from_millis(600));
    assert!(runs(child) && zipwright.try_wait().unwrap().is_none());
    send(&zipwright, Signal::TERM);
    let status = end_of(&mut zipwright);
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "the first counts");
    assert!(started.elapsed() < Duration::from_millis(4500), "not by the end of its patience");
    until("the end of the group", || (!runs(child) && !runs(grandchild)).then_some(()));
    is_right_afterwards(&sandbox);
}

#[test]
fn what_ignores_the_signal_is_killed_after_a_while() {
    let sandbox = slow("trap '' TERM", "while :; do sleep 1; done");
    let mut zipwright = start(&sandbox);
    let child = pid_in(&sandbox.path("child"));
    send(&zipwright, Signal::TERM);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::TERM.as_raw()));
    until("the end of the child", || (!runs(child)).then_some(()));
    is_right_afterwards(&sandbox);
}

#[test]
fn a_grandchild_that_ignores_the_signal_is_killed_though_its_parent_ends() {
    // An ignored signal stays ignored in programs that are started, here `sleep`.
    let sandbox = slow("trap '' TERM", "trap - TERM; wait");
    let mut zipwright = start(&sandbox);
    let grandchild = pid_in(&sandbox.path("grandchild"));
    pid_in(&sandbox.path("child"));
    send(&zipwright, Signal::TERM);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::TERM.as_raw()));
    until("the end of the grandchild", || (!runs(grandchild)).then_some(()));
    is_right_afterwards(&sandbox);
}

#[test]
fn with_ignored_errors_a_signal_still_ends_the_build() {
    let sandbox = slow("", "wait");
    let mut zipwright =
        sandbox.zipwright().args(["-i", "-k"]).stderr(Stdio::null()).spawn().unwrap();
    pid_in(&sandbox.path("child"));
    send(&zipwright, Signal::INT);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::INT.as_raw()));
    is_right_afterwards(&sandbox);
}

#[test]
fn nothing_more_is_started_after_a_signal() {
    let sandbox = Sandbox::with(
        r#"
        default = ["a", "b", "c"]
        [target.a]
        kind = "command"
        shell = "echo a >> log; echo $$ > pid; exec sleep 600"
        [target.b]
        kind = "command"
        shell = "echo b >> log"
        [target.c]
        kind = "command"
        shell = "echo c >> log"
        "#,
    );
    let mut zipwright =
        sandbox.zipwright().args(["-j1", "-k"]).stderr(Stdio::null()).spawn().unwrap();
    pid_in(&sandbox.path("pid"));
    let before = sandbox.read("log");
    send(&zipwright, Signal::TERM);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(sandbox.read("log"), before);
}

#[test]
fn nohup_is_respected() {
    let sandbox = slow("", "wait");
    let script = format!("trap '' HUP; exec {}", env!("CARGO_BIN_EXE_zipwright"));
    let mut zipwright =
        sandbox.program("/bin/sh").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    pid_in(&sandbox.path("child"));
    send(&zipwright, Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(zipwright.try_wait().unwrap().is_none());
    send(&zipwright, Signal::TERM);
    assert_eq!(end_of(&mut zipwright).signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn who_waits_for_the_lock_can_be_interrupted() {
    let sandbox = slow("", "wait");
    let mut first = start(&sandbox);
    pid_in(&sandbox.path("child"));
    let mut second = start(&sandbox);
    let mut said = [0; 20];
    second.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    send(&second, Signal::INT);
    assert_eq!(end_of(&mut second).signal(), Some(Signal::INT.as_raw()));
    send(&first, Signal::INT);
    end_of(&mut first);
}

#[test]
fn a_process_left_behind_with_the_output_open_holds_nothing_up() {
    let sandbox = Sandbox::with(
        r#"
        default = ["daemon"]
        [target.daemon]
        kind = "command"
        outputs = ["out"]
        shell = "echo first; sleep 600 & echo $! > pid; echo last; printf unfinished; echo x > out"
        "#,
    );
    let started = Instant::now();
    let run = sandbox.run(["--json"]).success();
    assert!(started.elapsed() < Duration::from_secs(60));
    for word in ["first", "last", "unfinished"] {
        assert!(run.stdout.contains(word), "{run}");
    }
    let pid = pid_in(&sandbox.path("pid"));
    assert!(runs(pid), "a successful build ends no process");
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn a_process_left_behind_that_never_stops_writing_holds_nothing_up() {
    let sandbox = Sandbox::with(
        r#"
        [target.noise]
        kind = "command"
        shell = "yes $(seq 500) & echo $! > pid; sleep 0.1"
        "#,
    );
    sandbox.run(["-s", "noise"]).success();
    // Its output is closed, so it cannot continue.
    let pid = pid_in(&sandbox.path("pid"));
    until("the end of the noise", || (!runs(pid)).then_some(()));
}

#[test]
fn much_output_on_both_pipes_is_handed_on_whole() {
    let sandbox = Sandbox::with(
        r#"
        [target.much]
        kind = "command"
        shell = "seq 1 20000; seq 1 20000 >&2; head -c 300000 /dev/zero | tr '\\0' x"
        "#,
    );
    let run = Run::of(sandbox.zipwright().args(["--json", "much"])).success();
    let lines = run.events().into_iter().filter(|event| event["event"] == "output").count();
    assert_eq!(lines, 40_001);
    assert!(fs::metadata(sandbox.path("build/much.stamp")).is_ok());
}
