//! `watch`: which changes start a round, what interrupts it, and its end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::aws;
use crate::emulators::{Emulator, REGION, bundle, code_sha256};
use crate::sandbox::{Sandbox, text};
use crate::wait::{pid_in, runs, until};
use crate::watching::{Watching, edit};

/// A target that joins its inputs, and counts its runs. It leaves a file beside its inputs, as editors
/// and other tools do.
const JOIN: &str = r#"
default = ["join"]
[target.join]
kind = "command"
inputs = ["src/**/*.py", "one"]
outputs = ["build/out"]
shell = "echo run >> runs; touch src/tool.tmp; cat one $(find src -name '*.py' | sort) > build/out"
"#;

fn join() -> Sandbox {
    let sandbox = Sandbox::with(JOIN);
    sandbox.write("src/a.py", "a").write("one", "1");
    sandbox
}

fn watch(sandbox: &Sandbox, args: &[&str]) -> Watching {
    Watching::start(sandbox.zipwright().arg("watch").args(args))
}

fn rename(sandbox: &Sandbox, from: &str, to: &str) {
    fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
}

/// Makes every kind of change, and expects a round after each. `args` are those of `watch`.
fn sees_every_change(args: &[&str]) {
    let sandbox = join();
    let mut watch = watch(&sandbox, args);
    watch.expect("round 1: 1 ran (join)");
    watch.expect("watching 4 files and 1 folder; Ctrl-C ends it");
    let mut number = 1;
    let mut round = |changed: &str, content: &str| {
        number += 1;
        watch.expect(&format!("round {number} ({changed} changed): 1 ran (join)"));
        assert_eq!(sandbox.read("build/out"), content);
        assert_eq!(sandbox.read("runs").lines().count(), number);
    };
    edit(&sandbox, "src/a.py", "b");
    round("src/a.py", "1b");
    // As editors save: first changes that are not, then a new file in place of the old one.
    edit(&sandbox, "src/a.py", "b");
    sandbox.touch("one").write("src/4913", "").remove("src/4913");
    sandbox.write("src/.a.py.swp", "c");
    rename(&sandbox, "src/.a.py.swp", "src/a.py");
    round("src/a.py", "1c");
    fs::create_dir_all(sandbox.path("src/new/deep")).unwrap();
    edit(&sandbox, "src/new/deep/z.py", "z");
    round("src/new/deep/z.py", "1cz");
    rename(&sandbox, "src/new", "src/moved");
    round("src/moved/deep/z.py, src/new/deep/z.py", "1cz");
    edit(&sandbox, "src/moved/deep/z.py", "y");
    round("src/moved/deep/z.py", "1cy");
    sandbox.remove("src/moved");
    round("src/moved/deep/z.py", "1c");
    edit(&sandbox, "Buildfile", &JOIN.replace("cat one", "cat one one"));
    round("Buildfile", "11c");
    assert_eq!(watch.end(Signal::INT).signal(), Some(Signal::INT.as_raw()));
    assert_eq!(watch.text().matches("round ").count(), number, "{}", watch.text());
}

#[test]
fn every_change_of_an_input_starts_a_round() {
    sees_every_change(&[]);
}

#[test]
fn without_events_everything_is_compared_in_an_interval() {
    sees_every_change(&["--poll=20ms"]);
}

#[test]
fn changes_behind_chains_of_links_and_of_their_missing_ends_start_rounds() {
    let sandbox = Sandbox::with(
        "[target.copy]\nkind = 'command'\ninputs = ['in.txt', 'linked/cur/f.txt']\n\
         shell = 'cat in.txt linked/cur/f.txt'\n",
    );
    let link = |target: &str, path: &str| {
        let place = sandbox.beside("edited");
        std::os::unix::fs::symlink(target, &place).unwrap();
        fs::rename(place, sandbox.path(path)).unwrap();
    };
    for (path, text) in [("rel/1/f.txt", "1"), ("rel/2/f.txt", "2")] {
        sandbox.write(path, text);
        fs::create_dir_all(sandbox.beside(path).parent().unwrap()).unwrap();
        fs::write(sandbox.beside(path), text).unwrap();
    }
    link("1", "rel/cur");
    link("1", "../rel/cur");
    link("rel/cur/f.txt", "in.txt");
    link("../rel", "linked");
    let mut watch = watch(&sandbox, &[]);
    watch.expect("; Ctrl-C ends it");
    for (at, (path, changed)) in
        [("rel/cur", "in.txt"), ("../rel/cur", "linked/cur/f.txt")].iter().enumerate()
    {
        link("2", path);
        watch.expect(&format!("round {} ({changed} changed): 1 ran", 2 * at + 2));
        edit(&sandbox, &path.replace("cur", "2/f.txt"), "3");
        watch.expect(&format!("round {} ({changed} changed): 1 ran", 2 * at + 3));
    }
    // In a folder that does not exist.
    link("cfg/deep/dev.json", "in.txt");
    watch.expect("round 6 (in.txt changed): failed: copy");
    fs::create_dir_all(sandbox.path("cfg/deep")).unwrap();
    edit(&sandbox, "cfg/deep/dev.json", "{}");
    watch.expect("round 7 (in.txt changed): 1 ran");
    watch.end(Signal::TERM);
}

#[test]
fn a_buildfile_outside_that_is_a_link_starts_rounds() {
    let sandbox = join();
    fs::create_dir_all(sandbox.beside("outside/real")).unwrap();
    fs::write(sandbox.beside("outside/real/BF"), JOIN).unwrap();
    std::os::unix::fs::symlink("real/BF", sandbox.beside("outside/Buildfile")).unwrap();
    let mut watch =
        watch(&sandbox, &["-f", &sandbox.beside("outside/Buildfile").display().to_string()]);
    watch.expect("; Ctrl-C ends it");
    edit(&sandbox, "../outside/real/BF", &JOIN.replace("cat one", "cat one one"));
    assert!(watch.expect("round 2 (").contains("1 ran (join)"), "{}", watch.text());
    watch.end(Signal::TERM);
}

#[test]
fn a_failing_round_waits_for_the_next_change() {
    let sandbox = join();
    sandbox.remove("one");
    let mut watch = watch(&sandbox, &[]);
    watch.expect("error: join: input `one` does not exist");
    watch.expect("round 1: failed: join; 0 ran");
    edit(&sandbox, "one", "1");
    watch.expect("round 2 (one changed): 1 ran");
    sandbox.remove("one");
    watch.expect("round 3 (one changed): failed: join");
    edit(&sandbox, "one", "2");
    watch.expect("round 4 (one changed): 1 ran");
    edit(&sandbox, "Buildfile", &format!("{JOIN}x = 1\n"));
    watch.expect("unknown key `x`");
    watch.expect("round 5 (Buildfile changed): failed");
    edit(&sandbox, "one", "3");
    watch.expect("round 6 (one changed): failed");
    edit(&sandbox, "one", "2");
    watch.expect("round 7 (one changed): failed");
    // Back to the Buildfile and the file of round 4: nothing has to run, but people wait for it.
    edit(&sandbox, "Buildfile", JOIN);
    watch.expect("round 8 (Buildfile changed): up to date: 1 target");
    edit(&sandbox, "Buildfile", &format!("{JOIN}# a comment\n"));
    edit(&sandbox, "one", "4");
    watch.expect("1 ran (join)");
    assert_eq!(sandbox.read("build/out"), "4a");
    watch.end(Signal::TERM);
}

/// A command that runs until a file exists, and then copies its input.
const SLOW: &str = r#"
default = ["slow"]
[target.slow]
kind = "command"
inputs = ["in"]
outputs = ["build/out"]
shell = '''
test -e quick || { sleep 600 & echo $! > pid.tmp && mv pid.tmp "grandchild-$(cat in)"; wait; }
cp in build/out
'''
"#;

#[test]
fn a_change_ends_what_runs_and_starts_over() {
    let sandbox = Sandbox::with(SLOW);
    sandbox.write("in", "one");
    let mut watch = watch(&sandbox, &[]);
    let first = pid_in(&sandbox.path("grandchild-one"));
    edit(&sandbox, "in", "two");
    watch.expect("round 1: interrupted after");
    let second = pid_in(&sandbox.path("grandchild-two"));
    assert!(!runs(first) && runs(second), "{}", watch.text());
    sandbox.write("quick", "");
    edit(&sandbox, "in", "three");
    watch.expect("round 2 (in changed): interrupted after");
    watch.expect("round 3 (in changed): 1 ran (slow)");
    assert_eq!(sandbox.read("build/out"), "three");
    assert!(!watch.text().contains("error"), "{}", watch.text());
    assert!(!runs(second));
    watch.end(Signal::TERM);
}

#[test]
fn ctrl_c_in_a_round_ends_it_with_all_children() {
    let sandbox = Sandbox::with(SLOW);
    sandbox.write("in", "one");
    let mut watch = watch(&sandbox, &[]);
    let child = pid_in(&sandbox.path("grandchild-one"));
    assert_eq!(watch.end(Signal::INT).signal(), Some(Signal::INT.as_raw()));
    assert!(!runs(child));
    sandbox.write("quick", "");
    sandbox.run([]).success();
    assert_eq!(sandbox.read("build/out"), "one");
}

#[test]
fn the_lock_is_free_between_rounds_and_a_build_beside_it_starts_none() {
    let sandbox = join();
    let mut watch = watch(&sandbox, &["--json"]);
    watch.expect(r#""event":"summary""#);
    sandbox.run(["--no-wait", "-B"]).success();
    sandbox.remove("build/out");
    sandbox.run(["--no-wait"]).success();
    edit(&sandbox, "src/a.py", "b");
    let round = watch.expect(r#""event":"round""#);
    let round: Value = serde_json::from_str(&round).unwrap();
    assert_eq!(
        (&round["round"], &round["changed"], &round["outcome"], &round["ran"]),
        (&json!(2), &json!(["src/a.py"]), &json!("built"), &json!(["join"]))
    );
    assert!(round["seconds"].is_number());
    watch.end(Signal::TERM);
}

#[test]
fn changes_whose_events_were_lost_are_seen() {
    let sandbox = join();
    sandbox.write("src/old/b.py", "b").write("src/same/c.py", "c");
    let mut watch = watch(&sandbox, &[]);
    watch.expect("round 1: 1 ran (join)");
    watch.expect("watching");
    // The queue of a stopped process is filled, and the kernel drops every event after that.
    watch.send(Signal::STOP);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    for at in 0..limit {
        // Equal events in succession are one event.
        let name = ["src/one.tmp", "src/two.tmp"][at % 2];
        fs::write(sandbox.path(name), "").unwrap();
    }
    sandbox.write("src/a.py", "A").write("src/new/deep/z.py", "z").remove("src/old");
    sandbox.remove("src/same").write("src/same/c.py", "C");
    watch.send(Signal::CONT);
    let round = watch.expect("1 ran (join)");
    for path in ["src/a.py", "src/new/deep/z.py", "src/old/b.py", "src/same/c.py"] {
        assert!(round.contains(path), "{round}");
    }
    assert_eq!(sandbox.read("build/out"), "1AzC");
    edit(&sandbox, "src/same/c.py", "D");
    watch.expect("round 3 (src/same/c.py changed)");
    edit(&sandbox, "src/new/deep/z.py", "y");
    watch.expect("round 4 (src/new/deep/z.py changed)");
    assert_eq!(sandbox.read("build/out"), "1AyD");
    watch.end(Signal::TERM);
}

#[test]
fn a_limit_of_the_system_that_is_too_small_is_one_error() {
    let sandbox = join();
    // A user namespace has a limit of its own.
    let script = format!(
        "unshare -Ur sh -c 'echo 2 > /proc/sys/user/max_inotify_watches && exec {} watch'",
        env!("CARGO_BIN_EXE_zipwright")
    );
    let run = sandbox.sh(&script);
    if run.stderr.contains("unshare") {
        eprintln!("not tested: user namespaces are off");
        return;
    }
    run.failure()
        .stderr_has("the system's limit of watches (max_user_watches")
        .stderr_has("use `--poll`");
}

#[test]
fn errors_of_the_command_line_end_it() {
    let sandbox = join();
    sandbox.run(["watch", "jion"]).failure().stderr_has("did you mean `join`?");
    sandbox.run(["watch", "-n"]).failure().stderr_has("-n is for a single build");
    sandbox.run(["watch", "--settle", "5"]).failure().stderr_has("as in 50ms or 2s");
    sandbox.remove("Buildfile");
    sandbox.run(["watch"]).failure().stderr_has("there is no `Buildfile`");
    assert!(!sandbox.exists("build"));
}

/// Returns a Buildfile with a function, and a call of it.
fn function() -> String {
    format!("{}handler = \"app.handler\"\n", aws::BUILDFILE)
}

const APP: &str = "
import os
def handler(event, context):
    return ['first', event, os.getpid()]
";

/// Returns the response among the next lines: the word, the event and the process.
fn response(watch: &mut Watching, word: &str) -> (Value, i64) {
    let line = watch.expect(&format!("[\"{word}\", "));
    let response: Value = serde_json::from_str(&line).unwrap();
    (response[1].clone(), response[2].as_i64().unwrap())
}

#[test]
fn a_local_handler_stays_warm_until_the_bundle_changes() {
    let mut sandbox = Sandbox::with(&function());
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-cache");
    sandbox.set("XDG_CACHE_HOME", cache.display());
    sandbox.write("app.py", APP).write("payload.json", "1");
    let mut watch = watch(&sandbox, &["invoke", "--local"]);
    let (event, first) = response(&mut watch, "first");
    assert_eq!(event, 1);
    watch.expect("watching");
    edit(&sandbox, "payload.json", "2");
    assert_eq!(response(&mut watch, "first"), (json!(2), first), "the same process");
    watch.expect("round 2 (payload.json changed)");
    edit(&sandbox, "app.py", &APP.replace("first", "second"));
    let (event, second) = response(&mut watch, "second");
    assert_eq!(event, 2);
    assert_ne!(second, first);
    watch.expect("round 3 (app.py changed)");
    let process = |pid: i64| Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    assert!(!runs(process(first)) && runs(process(second)));
    // A killed watch leaves its handler to the next build.
    kill_process(process(i64::from(watch.id())), Signal::KILL).unwrap();
    watch.ended();
    sandbox.run(["package"]).success();
    until("the end of the handler", || (!runs(process(second))).then_some(()));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_upload_follows_each_change() {
    let emulator = Emulator::ministack();
    let mut sandbox = Sandbox::with(&function());
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_ENDPOINT_URL", emulator.endpoint());
    sandbox.write("app.py", APP).write("payload.json", "1");
    emulator.create_function("hello", "x86_64", &bundle("app.py", ""));
    let live = || text(&emulator.function("hello"), "CodeSha256");
    let mut watch = watch(&sandbox, &["upload"]);
    watch.expect("round 1: 3 ran (staging, package, upload)");
    assert_eq!(live(), code_sha256(&sandbox.bytes("build/lambda.zip")));
    let before = live();
    edit(&sandbox, "app.py", &APP.replace("first", "second"));
    watch.expect("round 2 (app.py changed): 3 ran (staging, package, upload)");
    assert_eq!(live(), code_sha256(&sandbox.bytes("build/lambda.zip")));
    assert_ne!(live(), before);
    watch.end(Signal::TERM);
}
