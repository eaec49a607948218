//! Services: their start, restart and end under `watch`, and the error in any other build.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::Sandbox;
use crate::wait::{pid_in, runs, until};
use crate::watching::{Watching, edit};

/// Returns a port on which nothing listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Returns the body of a page; `None` if nothing answers.
fn page(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn watch(sandbox: &Sandbox, args: &[&str]) -> Watching {
    Watching::start(sandbox.zipwright().arg("watch").args(args))
}

/// A service with a child, which writes its number and that of the child.
const SERVICE: &str = r#"
[target.made]
kind = "command"
inputs = ["in"]
outputs = ["build/made"]
run = ["cp", "in", "build/made"]

[target.server]
kind = "command"
service = true
needs = ["made"]
KEYS
shell = '''
TRAP
echo "serving $(cat in)"
sleep 600 & echo $! > pid.tmp && mv pid.tmp "child-$(cat in)"
echo $$ > pid.tmp && mv pid.tmp "server-$(cat in)"
while kill -0 $! 2> /dev/null; do wait; done
'''

[target.after]
kind = "command"
needs = ["server"]
outputs = ["build/after"]
shell = '''
until test -e "server-$(cat in)"; do sleep 0.01; done
cat "server-$(cat in)" > build/after
echo after >> runs
'''
"#;

fn service(keys: &str, trap: &str) -> Sandbox {
    let sandbox = Sandbox::with(&SERVICE.replace("KEYS", keys).replace("TRAP", trap));
    sandbox.write("in", "one");
    sandbox
}

#[test]
fn a_site_is_served_and_served_anew_after_an_edit() {
    let sandbox = Sandbox::new();
    sandbox.fixture("site");
    let port = free_port();
    let mut watch = watch(&sandbox, &[&format!("port={port}")]);
    watch.expect("round 1: 2 ran (site, serve)");
    assert!(page(port).unwrap().contains("Hello from the first version."));
    watch.expect("serve: 127.0.0.1 - - ");
    edit(&sandbox, "pages/index.txt", "The second <version>.");
    watch.expect("round 2 (pages/index.txt changed): 2 ran (site, serve)");
    assert!(page(port).unwrap().contains("The second &lt;version&gt;."), "{}", watch.text());
    // Nothing has changed for the service.
    sandbox.touch("pages/index.txt");
    edit(&sandbox, "Buildfile", &format!("# a comment\n{}", sandbox.read("Buildfile")));
    assert!(page(port).is_some());
    let status = watch.end(Signal::INT);
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
    assert_eq!(page(port), None, "nothing listens any more");
    assert_eq!(watch.text().matches("round ").count(), 2, "{}", watch.text());
}

#[test]
fn a_service_is_restarted_when_its_needs_changed_and_ends_with_its_children() {
    let sandbox = service("ready = { seconds = 0.2 }", "");
    let mut watch = watch(&sandbox, &["after"]);
    watch.expect("server: serving one");
    let (server, child) = (pid_in(&sandbox.path("server-one")), pid_in(&sandbox.path("child-one")));
    watch.expect("round 1: 3 ran (made, server, after)");
    assert!(runs(server) && runs(child));
    edit(&sandbox, "in", "two");
    watch.expect("server: serving two");
    watch.expect("round 2 (in changed): 3 ran (made, server, after)");
    assert!(!runs(server) && !runs(child), "{}", watch.text());
    let (server, child) = (pid_in(&sandbox.path("server-two")), pid_in(&sandbox.path("child-two")));
    assert!(runs(server) && runs(child));
    assert_eq!(sandbox.read("build/after"), sandbox.read("server-two"));
    watch.end(Signal::TERM);
    assert!(!runs(server) && !runs(child));
    assert_eq!(sandbox.read("runs").lines().count(), 2);
    assert_eq!(fs::read_dir(sandbox.path(".zipwright/watch")).unwrap().count(), 0);
}

#[test]
fn a_service_that_reloads_by_itself_is_left_alone() {
    let sandbox = service("restart = 'never'\ninputs = ['in']", "");
    let mut watch = watch(&sandbox, &["server"]);
    watch.expect("round 1: 2 ran (made, server)");
    let server = pid_in(&sandbox.path("server-one"));
    edit(&sandbox, "in", "two");
    watch.expect("round 2 (in changed): 1 ran (made)");
    assert!(runs(server));
    let env = "restart = 'never'\nenv = { A = '1' }";
    edit(&sandbox, "Buildfile", &SERVICE.replace("KEYS", env).replace("TRAP", ""));
    watch.expect("1 ran (server)");
    assert!(!runs(server), "its command has changed");
    watch.end(Signal::TERM);
}

#[test]
fn a_service_that_ignores_its_signal_is_killed_after_the_grace_time() {
    let sandbox = service("stop = 'SIGINT'\ngrace = '200ms'", "trap '' INT TERM");
    let mut watch = watch(&sandbox, &["server"]);
    let (server, child) = (pid_in(&sandbox.path("server-one")), pid_in(&sandbox.path("child-one")));
    watch.expect("round 1");
    watch.end(Signal::INT);
    assert!(!runs(server) && !runs(child));
}

#[test]
fn a_service_that_ends_is_reported_and_started_by_the_next_change() {
    let sandbox = service("", "");
    let mut watch = watch(&sandbox, &["server"]);
    watch.expect("round 1");
    let server = pid_in(&sandbox.path("server-one"));
    let child = pid_in(&sandbox.path("child-one"));
    kill_process(server, Signal::KILL).unwrap();
    watch.expect("warning: server: the service ended with signal 9 (SIGKILL)");
    until("the end of the child", || (!runs(child)).then_some(()));
    edit(&sandbox, "in", "two");
    watch.expect("round 2 (in changed): 2 ran (made, server)");
    assert!(runs(pid_in(&sandbox.path("server-two"))));
    watch.end(Signal::TERM);
}

#[test]
fn a_service_that_is_not_ready_fails_its_round() {
    let sandbox = Sandbox::with(
        r#"
        default = ["server"]
        [target.server]
        kind = "command"
        service = true
        inputs = ["in"]
        ready = { tcp = 1 }
        shell = "echo started; exit 3"
        "#,
    );
    sandbox.write("in", "");
    let mut watch = watch(&sandbox, &[]);
    watch.expect("error: server: the service ended with exit status 3 before it was ready");
    watch.expect("round 1: failed: server");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let buildfile = sandbox.read("Buildfile");
    edit(&sandbox, "Buildfile", &buildfile.replace("tcp = 1", &format!("tcp = {port}")));
    watch.expect(&format!("error: server: port {port} is in use by another program"));
    watch.end(Signal::TERM);
}

#[test]
fn a_killed_watch_leaves_its_service_to_the_next_build() {
    let sandbox = service("", "");
    let mut watch = watch(&sandbox, &["server"]);
    watch.expect("round 1");
    let (server, child) = (pid_in(&sandbox.path("server-one")), pid_in(&sandbox.path("child-one")));
    let id = Pid::from_raw(i32::try_from(watch.id()).unwrap()).unwrap();
    kill_process(id, Signal::KILL).unwrap();
    watch.ended();
    assert!(runs(server) && runs(child));
    sandbox.run(["made"]).success();
    until("the end of both", || (!runs(server) && !runs(child)).then_some(()));
}

/// Runs while the service runs, until the file `quick` exists.
const SLOW: &str = r#"
[target.slow]
kind = "command"
needs = ["server"]
inputs = ["in"]
outputs = ["build/slow"]
shell = '''
test -e quick || { sleep 600 & echo $! > slow.tmp && mv slow.tmp "slow-$(cat in)"; wait; }
cp in build/slow
'''
"#;

/// Returns a project with a service, a watch in the middle of a round, and the processes of the service
/// and of the command that runs.
fn in_a_round() -> (Sandbox, Watching, [Pid; 3]) {
    let sandbox = service("", "");
    sandbox.write("Buildfile", sandbox.read("Buildfile") + SLOW);
    let watch = watch(&sandbox, &["slow"]);
    let pids = ["server-one", "child-one", "slow-one"].map(|name| pid_in(&sandbox.path(name)));
    assert!(pids.into_iter().all(runs));
    (sandbox, watch, pids)
}

#[test]
fn ctrl_c_in_a_round_ends_the_service_and_the_round() {
    let (sandbox, mut watch, pids) = in_a_round();
    assert_eq!(watch.end(Signal::INT).signal(), Some(Signal::INT.as_raw()));
    assert!(!pids.into_iter().any(runs), "{}", watch.text());
    assert!(!sandbox.exists("build/slow"));
}

#[test]
fn a_watch_that_is_killed_in_a_round_leaves_service_and_round_to_the_next_build() {
    let (sandbox, mut watch, pids) = in_a_round();
    let id = Pid::from_raw(i32::try_from(watch.id()).unwrap()).unwrap();
    kill_process(id, Signal::KILL).unwrap();
    watch.ended();
    assert!(pids.into_iter().all(runs));
    sandbox.run(["made"]).success();
    until("the end of all", || (!pids.into_iter().any(runs)).then_some(()));
}

#[test]
fn a_change_in_a_round_leaves_a_service_alone_that_it_does_not_concern() {
    let (sandbox, mut watch, [server, child, slow]) = in_a_round();
    sandbox.write("quick", "");
    let buildfile = sandbox.read("Buildfile");
    edit(&sandbox, "Buildfile", &buildfile.replace("cp in build/slow", "cat in > build/slow"));
    watch.expect("round 1: interrupted after");
    watch.expect("round 2 (Buildfile changed): 1 ran (slow)");
    assert!(runs(server) && runs(child) && !runs(slow), "{}", watch.text());
    watch.end(Signal::TERM);
}

#[test]
fn a_service_that_its_guard_refuses_goes_on_as_it_was() {
    let guard = "require = [{ shell = 'test -e allowed', message = 'the database is not there' }]";
    let sandbox = service(guard, "");
    let mut watch = watch(&sandbox, &["server"]);
    watch.expect("error: server: the database is not there");
    watch.expect("round 1: failed: server");
    assert!(!sandbox.exists("build/made") && !sandbox.exists("server-one"), "nothing has started");
    sandbox.write("allowed", "");
    edit(&sandbox, "in", "two");
    watch.expect("round 2 (in changed): 2 ran (made, server)");
    let server = pid_in(&sandbox.path("server-two"));
    sandbox.remove("allowed");
    edit(&sandbox, "in", "three");
    watch.expect("round 3 (in changed): failed: server");
    assert!(runs(server), "{}", watch.text());
    watch.end(Signal::TERM);
    assert!(!runs(server));
}

#[test]
fn a_service_is_up_to_date_once_its_wait_has_succeeded() {
    let wait = "until = { shell = 'echo cold; test -e warm', every = '10ms', timeout = '300ms' }";
    let sandbox = service(wait, "");
    let mut watch = watch(&sandbox, &["after"]);
    watch.expect("but `echo cold; test -e warm` did not within 0.30 s");
    watch.expect("round 1: failed: server");
    let server = pid_in(&sandbox.path("server-one"));
    assert!(runs(server) && !sandbox.exists("build/after"), "{}", watch.text());
    // Any change starts it again, as its last wait has failed.
    sandbox.write("warm", "");
    edit(&sandbox, "Buildfile", &format!("# a comment\n{}", sandbox.read("Buildfile")));
    watch.expect("round 2 (Buildfile changed): 2 ran (server, after)");
    assert!(!runs(server));
    watch.end(Signal::TERM);
}

#[test]
fn an_interrupted_wait_of_a_service_is_resumed_without_a_restart() {
    let sandbox = service("until = { shell = 'touch tried; test -e warm', every = '10ms' }", "");
    let mut watch = watch(&sandbox, &["after"]);
    let server = pid_in(&sandbox.path("server-one"));
    sandbox.wait_for("tried");
    edit(&sandbox, "Buildfile", &format!("# a comment\n{}", sandbox.read("Buildfile")));
    watch.expect("round 1: interrupted after");
    sandbox.write("warm", "");
    watch.expect("round 2 (Buildfile changed): 2 ran (server, after)");
    assert!(runs(server), "{}", watch.text());
    watch.end(Signal::TERM);
}

#[test]
fn an_ordinary_build_runs_no_services() {
    let sandbox = service("", "");
    let goal = "`server` is a service, and a build runs no services; `zipwright watch server` does";
    sandbox.run(["server"]).failure().stderr_has(goal);
    sandbox.run(["-n", "server"]).failure().stderr_has(goal);
    let need = "the goals need the service `server`, and a build runs no services; `zipwright watch after` does";
    sandbox.run(["after"]).failure().stderr_has(need);
    assert!(!sandbox.exists("build"));
    sandbox.run(["made"]).success();
    let list = sandbox.run(["list"]).success();
    assert!(list.stdout.contains("server  command     service"), "{list}");
    let graph = sandbox.run(["graph"]).success();
    assert!(graph.stdout.contains("server\\ncommand\\nservice"), "{graph}");
    let explain = sandbox.run(["explain", "server"]).success();
    assert!(explain.stdout.contains("`server` is out of date:\n  not built before"), "{explain}");
}
