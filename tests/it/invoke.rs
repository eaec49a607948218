//! Calls of functions on AWS: versions, events, dry runs, and the reported results. Module `aws`
//! has the usual call, with uploads; `local` has calls on this machine.

#[cfg(target_os = "linux")]
use std::net::TcpStream;

use serde_json::json;

use crate::aws_project::{self, calls, create, digest, uploading};
use crate::emulators::Emulator;
use crate::sandbox::{Run, Sandbox, text};
use crate::scripted::{Answer, Script, answer, failure, invoked};

const BUILDFILE: &str = uploading!(
    r#"
[target.invoke]
kind = "invoke"
upload = "upload"
payload = { n = 1 }

[target.event]
kind = "invoke"
upload = "upload"
type = "event"
payloads = [{ n = 1 }, { n = 2 }]

[target.may]
kind = "invoke"
upload = "upload"
type = "dry-run"
"#
);

/// Returns a project whose code is live already, and a server with these responses to calls.
fn scripted(mut answers: Vec<Answer>) -> (Script, Sandbox) {
    aws_project::scripted(BUILDFILE, |digest| {
        answers.insert(0, answer(&json!({"CodeSha256": digest})));
        answers
    })
}

#[test]
fn ministack_calls_versions_takes_events_and_dry_runs() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let version = aws.publish("hello", "live");
    let project = aws_project::project(BUILDFILE, &aws.endpoint());
    assert_eq!(project.run(["invoke"]).success().stdout, "\"new\"\n");
    for qualifier in [version.as_str(), "live"] {
        let run = project.run(["invoke", "--qualifier", qualifier]).success();
        assert_eq!(run.stdout, "\"old\"\n", "{qualifier}");
    }
    let run = project.run(["--json", "event"]).success();
    let event = run.target("event");
    assert_eq!((&event["status"], &event["calls"]), (&json!(202), &json!(2)), "{run}");
    let run = project.run(["--json", "may"]).success();
    assert_eq!(run.target("may")["status"], 204);
}

#[test]
fn a_call_says_what_it_cost_and_which_version_ran() {
    let report = "START RequestId: 1 Version: 7\nREPORT RequestId: 1\tDuration: 12.34 ms\t\
                  Billed Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n";
    let (server, project) = scripted(vec![invoked(200, "7", &json!("ok"), report)]);
    let run = project.run(["--json", "invoke", "--qualifier=live"]).success();
    let target = run.target("invoke");
    assert_eq!(target["executed_version"], "7");
    assert_eq!(target["duration_ms"], 12.34);
    assert_eq!((&target["billed_ms"], &target["memory_mb"]), (&json!(13), &json!(128)));
    assert_eq!(target["max_memory_mb"], 36);
    let calls = calls(&server);
    assert_eq!(calls[0].0, "?Qualifier=live");
    assert_eq!(calls[0].1, "{\"n\":1}");
}

/// Waits until the kernel has a keep-alive timer on the client's end of a connection.
#[cfg(target_os = "linux")]
fn is_kept_alive(connection: &TcpStream) -> bool {
    let port = format!(":{:04X}", connection.peer_addr().unwrap().port());
    eventually_true(|| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Timer 1 is a retransmission, 2 is keep-alive.
            fields[1].ends_with(&port) && fields[5].starts_with("02:")
        })
    })
}

#[cfg(target_os = "linux")]
fn eventually_true(mut condition: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        condition()
    })
}

#[test]
#[cfg(target_os = "linux")]
fn a_silent_connection_is_kept_alive_while_a_function_runs() {
    let mut sandbox = aws_project::project(BUILDFILE, "http://127.0.0.1:1");
    let _ = sandbox.run(["package"]).success();
    let digest = digest(&sandbox);
    let answers =
        vec![answer(&json!({"CodeSha256": digest})), invoked(200, "$LATEST", &json!(1), "")];
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = Script::watching(answers, move |what, connection| {
        if what.contains("/invocations") {
            sender.send(is_kept_alive(connection)).unwrap();
        }
    });
    sandbox.set("AWS_ENDPOINT_URL", server.endpoint());
    let _ = sandbox.run(["invoke"]).success();
    assert!(receiver.recv().unwrap(), "no keep-alive timer");
}

#[test]
fn every_payload_is_sent_in_turn_and_repeated() {
    let answers = (0..4).map(|n| invoked(200, "$LATEST", &json!(n), "")).collect();
    let (server, project) = scripted(answers);
    let args = ["invoke", "--repeat=2", "--payload=[1]", "--payload=[2]"];
    assert_eq!(project.run(args).success().stdout, "0\n1\n2\n3\n");
    let bodies: Vec<String> = calls(&server).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["[1]", "[2]", "[1]", "[2]"]);
}

#[test]
fn options_that_cannot_be_meant_are_refused_before_anything_starts() {
    let (server, project) = scripted(Vec::new());
    project.write("../not-json", "hunter");
    for (args, expected) in [
        (vec!["--qualifier="], "--qualifier: `` is neither a version nor the name of an alias"),
        (vec!["--qualifier=a b/../c"], "--qualifier: `a b/../c` is neither a version"),
        (vec!["--payload=../not-json"], "`../not-json` is not JSON, which a function requires"),
        (vec!["--payload= {\"password\": \"hunter2\""], "what --payload says is not JSON"),
        (vec!["--payload=-", "--payload=-"], "`-` can be given only once"),
    ] {
        let run = Run::of(project.zipwright().arg("invoke").args(&args)).failure();
        let run = run.stderr_has(expected).stderr_lacks("hunter2");
        assert_eq!(server.requests(), [""; 0], "{run}");
    }
}

#[test]
fn payloads_that_lambda_would_refuse_are_not_sent() {
    let (server, project) = scripted(Vec::new());
    let large = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    project.write("request.json", large((6 << 20) + 1)).write("event.json", large((1 << 20) + 1));
    for (goal, file, limit) in
        [("invoke", "request.json", "6291456"), ("event", "event.json", "1048576")]
    {
        let run = project.run(["--json", goal, "--payload", file]).failure();
        let error = text(&run.target(goal), "error");
        assert!(error.starts_with(&format!("`{file}` is too large")), "{error}");
        assert!(error.contains(&format!("Lambda's limit for such a call is {limit}")), "{error}");
    }
    assert_eq!(calls(&server), []);
}

#[test]
fn a_function_that_gives_no_log_is_called_without_one_if_it_did_not_run() {
    let refused = |status, kind, text| failure(status, kind, text);
    let about_logs = "LogType Tail is not supported for this function";
    let well = || invoked(200, "$LATEST", &json!("ok"), "");
    let kind = "InvalidParameterValueException";
    let (server, project) = scripted(vec![refused(400, kind, about_logs), well()]);
    assert_eq!(project.run(["invoke"]).success().stdout, "\"ok\"\n");
    let heads = server.heads();
    let tails: Vec<bool> = heads
        .iter()
        .filter(|head| head.contains("/invocations"))
        .map(|head| head.to_lowercase().contains("x-amz-log-type: tail"))
        .collect();
    assert_eq!(tails, [true, false]);

    for refusal in [
        refused(400, kind, "the payload is wrong"),
        // It may have run, so it is not called again, with any message.
        refused(500, kind, about_logs),
        refused(502, "ServiceException", about_logs),
    ] {
        let (server, project) = scripted(vec![refusal, well()]);
        let _ = project.run(["invoke"]).failure();
        assert_eq!(calls(&server).len(), 1);
    }
}
