//! `until`: after its run, a target is done only when a command succeeds.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::sandbox::{Sandbox, text};
use crate::wait::{end_of, send, until};

/// `a` is done when there is a file `ready`; runs and attempts are counted in files.
const BUILDFILE: &str = r#"
default = ["a"]
[target.a]
kind = "command"
inputs = ["in"]
outputs = ["build/a", "build/b"]
shell = "echo x >> runs; cp in build/a; cp in build/b"
until = { shell = "echo x >> attempts; echo not ready; test -e ready", every = "20ms", timeout = "1m", message = "it never came" }
[target.after]
kind = "command"
needs = ["a"]
shell = "echo x >> after"
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("in", "1");
    sandbox
}

fn count(sandbox: &Sandbox, file: &str) -> usize {
    if sandbox.exists(file) { sandbox.read(file).lines().count() } else { 0 }
}

fn start(sandbox: &Sandbox) -> Child {
    sandbox.zipwright().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts a build, and ends it by `signal` while it waits and its run is recorded.
fn interrupt(sandbox: &Sandbox, signal: Signal) {
    let attempts = count(sandbox, "attempts");
    let mut child = start(sandbox);
    // The record is written before the second attempt at the latest, and sure after many.
    until("attempts", || (count(sandbox, "attempts") > attempts + 8).then_some(()));
    send(&child, signal);
    assert_eq!(end_of(&mut child).signal(), Some(signal.as_raw()));
    assert!(!sandbox.exists("build/a.stamp"));
}

#[test]
fn a_target_is_done_when_its_wait_is() {
    let sandbox = project();
    let mut child = sandbox.zipwright().arg("after").stderr(Stdio::null()).spawn().unwrap();
    until("attempts", || (count(&sandbox, "attempts") > 2).then_some(()));
    assert!(!sandbox.exists("build/a.stamp") && !sandbox.exists("after"));
    sandbox.write("ready", "");
    assert!(end_of(&mut child).success());
    assert_eq!((count(&sandbox, "runs"), count(&sandbox, "after")), (1, 1));
    assert!(sandbox.exists("build/a.stamp"));
    assert_eq!(sandbox.ran(["after"]), [""; 0]);
    // Only the text of the command counts.
    sandbox.write("Buildfile", BUILDFILE.replace("20ms", "30ms").replace("it never", "nothing"));
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.write("Buildfile", BUILDFILE.replace("echo not ready; ", ""));
    assert_eq!(sandbox.ran([]), ["a"]);
}

#[test]
fn an_interrupted_wait_is_resumed_without_another_run() {
    for signal in [Signal::INT, Signal::KILL] {
        let sandbox = project();
        interrupt(&sandbox, signal);
        interrupt(&sandbox, signal);
        let run = sandbox.run(["explain", "a"]).success();
        let reason = "\n  its run succeeded, and its wait was interrupted\nuntil: echo x";
        assert!(run.stdout.contains(reason), "{run}");
        sandbox.write("ready", "");
        assert_eq!(sandbox.ran([]), ["a"]);
        assert_eq!(count(&sandbox, "runs"), 1, "after {signal:?}");
        assert!(sandbox.exists("build/a.stamp"));
        assert_eq!(sandbox.ran([]), [""; 0]);
        assert_eq!(sandbox.read("build/a"), "1");
        // The outputs are the target's own.
        sandbox.run(["clean"]).success();
        assert!(!sandbox.exists("build/a"));
    }
}

#[test]
fn an_interrupted_wait_is_not_resumed_if_anything_changed() {
    let changed = |file: &str, content: Option<&str>, reason: &str| {
        let sandbox = project();
        interrupt(&sandbox, Signal::INT);
        match content {
            Some(content) => sandbox.write(file, content),
            None => sandbox.remove(file),
        };
        let run = sandbox.run(["explain", "a"]).success();
        assert!(run.stdout.contains(&format!("\n  {reason}")), "{run}");
        sandbox.write("ready", "");
        assert_eq!(sandbox.ran([]), ["a"]);
        assert_eq!(count(&sandbox, "runs"), 2, "{file} changed");
    };
    changed("in", Some("2"), "file in: ");
    changed("build/b", None, "output `build/b` is missing");
    changed("Buildfile", Some(&BUILDFILE.replace("cp in build/b", "cp -f in build/b")), "shell: ");
    changed("Buildfile", Some(&BUILDFILE.replace("echo not ready", "echo no")), "until: ");
    let sandbox = project();
    interrupt(&sandbox, Signal::INT);
    sandbox.write("ready", "");
    sandbox.run(["-B"]).success();
    assert_eq!(count(&sandbox, "runs"), 2);
}

#[test]
fn the_guards_of_a_resumed_wait_are_not_checked_again() {
    let sandbox = project();
    let guarded = BUILDFILE.replace("until =", "require = [{ shell = 'test ! -e runs' }]\nuntil =");
    sandbox.write("Buildfile", guarded);
    interrupt(&sandbox, Signal::INT);
    let run = sandbox.run(["-n"]).success();
    assert!(!run.stdout.contains("require") && run.stdout.contains("  until: echo x"), "{run}");
    sandbox.write("ready", "");
    sandbox.run([]).success();
    sandbox.run(["-B"]).failure().stderr_has("`test ! -e runs` ended with exit status 1");
}

#[test]
fn a_wait_that_is_over_shows_the_last_attempt_and_the_next_build_runs_again() {
    let sandbox = project();
    sandbox.write("Buildfile", BUILDFILE.replace("\"1m\"", "\"200ms\""));
    let run = sandbox.run(["after"]).failure();
    let run = run.stderr_has("a: waits until echo x >> attempts; echo not ready; test -e ready");
    run.stderr_has("error: a: it never came\n  its run succeeded, but `echo x >> attempts; ")
        .stderr_has("did not within 0.20 s; the next build runs it again\n  the last attempt: `")
        .stderr_has("` ended with exit status 1\n  not ready\n");
    assert!(count(&sandbox, "attempts") > 1 && !sandbox.exists("after"));
    sandbox.write("ready", "");
    sandbox.run([]).success();
    assert_eq!(count(&sandbox, "runs"), 2);

    let sandbox = project();
    let hangs = "until = { shell = 'echo asleep; sleep 600', timeout = '300ms' }";
    let start = BUILDFILE.find("until =").unwrap();
    let end = start + BUILDFILE[start..].find('\n').unwrap();
    sandbox.write("Buildfile", BUILDFILE.replace(&BUILDFILE[start..end], hangs));
    sandbox.run([]).failure().stderr_has("did not end within").stderr_has("\n  asleep\n");
    let missing = "until = { run = ['no-such-program'] }";
    sandbox.write("Buildfile", BUILDFILE.replace(&BUILDFILE[start..end], missing));
    sandbox.run([]).failure().stderr_has("there is no program `no-such-program`");
}

#[test]
fn a_wait_gives_its_job_slot_back() {
    // With one slot, `waits` is done only if `maker` runs meanwhile.
    let buildfile = r#"
        default = ["all"]
        [target.waits]
        kind = "command"
        shell = "true"
        until = { shell = "test -e build/made", every = "10ms", timeout = "1m" }
        [target.maker]
        kind = "command"
        outputs = ["build/made"]
        terminal = true
        shell = "echo x > build/made"
        [target.all]
        kind = "group"
        targets = ["waits", "maker"]
    "#;
    let sandbox = Sandbox::with(buildfile);
    let run = sandbox.run(["--json", "-j1"]).success();
    let waiting = run.events().into_iter().find(|event| event["event"] == "waiting").unwrap();
    assert_eq!(
        (text(&waiting, "target"), text(&waiting, "until")),
        ("waits".into(), "test -e build/made".into())
    );

    let sandbox = Sandbox::with(buildfile);
    let zipwright = env!("CARGO_BIN_EXE_zipwright");
    sandbox.write("Makefile", format!("all: a\na:\n\t+{zipwright} -s all\n"));
    sandbox.sh("make -j2").success().stderr_lacks("jobserver tokens");
}

#[test]
fn a_bundle_that_waits_is_resumed_with_its_outputs() {
    let sandbox = Sandbox::with(
        r#"
        default = ["a"]
        [target.staging]
        kind = "staging"
        sources = ["app.py"]
        [target.a]
        kind = "zip"
        staging = "staging"
        output = "build/lambda.zip"
        until = { shell = "echo x >> attempts; test -e ready", every = "20ms" }
        "#,
    );
    sandbox.write("app.py", "x = 1\n");
    interrupt(&sandbox, Signal::KILL);
    sandbox.write("ready", "");
    let run = sandbox.run(["--json"]).success();
    let package = run.target("a");
    assert_eq!(package["outcome"], "ran");
    assert_eq!(text(&package, "code_sha256"), sandbox.run(["digest", "a"]).stdout.trim());
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.write("app.py", "x = 2\n");
    assert_eq!(sandbox.ran([]), ["a", "staging"]);
}
