//! `upload` and `invoke`: against MiniStack and moto, and against a server with scripted responses.
//! [`Sandbox`] ensures that no request leaves this machine.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::aws_project::{self, STAMP, create, digest, upload, upload_error, uploading};
use crate::emulators::{Emulator, bundle};
use crate::sandbox::Sandbox;
use crate::scripted::{Answer, Script, answer, failure, plain};
use crate::wait;

/// A function of `app.py`, its upload, and a call of it.
pub(crate) const BUILDFILE: &str = uploading!(
    r#"
[target.invoke]
kind = "invoke"
upload = "upload"
payload = "payload.json"
"#
);

const ANSWER_1: &str = "def handler(event, context):\n    return {'answer': 1}\n";
const ANSWER_2: &str = "
def handler(event, context):
    print('a line of the log')
    return {'answer': 2, 'event': event}
";
const BOOM: &str = "def handler(event, context):\n    raise ValueError('boom')\n";

/// Returns a project with its bundle built, whose requests go to `endpoint`.
fn project(endpoint: &str) -> Sandbox {
    let sandbox = aws_project::project(BUILDFILE, endpoint);
    sandbox.write("payload.json", "{}").write("app.py", ANSWER_1);
    let _ = sandbox.run(["package"]).success();
    sandbox
}

fn scripted(answers: impl FnOnce(&str) -> Vec<Answer>) -> (Script, Sandbox) {
    let (server, sandbox) = aws_project::scripted(BUILDFILE, answers);
    sandbox.write("payload.json", "{}");
    (server, sandbox)
}

fn silent() -> (Script, Sandbox) {
    scripted(|_| Vec::new())
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_upload_sends_what_differs_and_nothing_else() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "arm64", &bundle("app.py", "old = 1\n"));
    let project = project(&aws.endpoint());

    let first = upload(&project, &[]);
    assert_eq!(first["sent"], true, "{first}");
    assert_eq!(first["code_sha256"], digest(&project));
    assert_eq!(first["function"], "hello");
    let live = aws.function("hello");
    assert_eq!(live["CodeSha256"], digest(&project));
    assert_eq!(live["Architectures"], json!(["arm64"]), "an update keeps the architecture");
    let unchanged = |fields: &[&str]| {
        let now = aws.function("hello");
        fields.iter().all(|field| now[field] == live[field])
    };
    let stamped = project.modified(STAMP);

    // The second time, zipwright sends no request at all.
    assert_eq!(upload(&project, &[])["outcome"], "up-to-date");
    assert_eq!(project.modified(STAMP), stamped);
    // With -B it sends requests, but no code that is already live.
    let forced = upload(&project, &["-B"]);
    assert_eq!((&forced["outcome"], &forced["sent"]), (&json!("ran"), &json!(false)));
    assert!(unchanged(&["RevisionId", "LastModified", "CodeSha256"]));

    aws.update_code("hello", &bundle("app.py", "drift = 1\n"));
    assert_eq!(upload(&project, &["-B"])["sent"], true);
    assert!(unchanged(&["CodeSha256"]));
}

#[test]
fn an_edit_is_uploaded_and_the_next_invoke_gives_its_answer() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let project = project(&aws.endpoint());
    let run = project.run(["invoke"]).success();
    assert_eq!(run.stdout, "{\"answer\": 1}\n");

    project.write("app.py", ANSWER_2).write("payload.json", r#"{"name": "é"}"#);
    let run = project.run(["invoke"]).success().stderr_has("a line of the log\n");
    let response: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(response, json!({"answer": 2, "event": {"name": "é"}}));

    let run = project.run(["--json", "invoke"]).success();
    assert_eq!(run.target("upload")["outcome"], "up-to-date");
    let invoked = run.target("invoke");
    assert_eq!(invoked["outcome"], "ran", "an invoke always runs");
    assert_eq!(
        (&invoked["status"], &invoked["executed_version"]),
        (&json!(200), &json!("$LATEST"))
    );
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_function_that_fails_fails_the_invoke() {
    let aws = Emulator::ministack_alone();
    aws.create_function("hello", "x86_64", &bundle("app.py", ANSWER_1));
    let project = project(&aws.endpoint());
    project.write("app.py", BOOM);
    let run = project.run(["invoke"]).failure();
    let run = run.stderr_has("function `hello` failed (Unhandled): ").stderr_has("boom");
    assert_eq!(run.stdout, "", "an error is no response");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn moto_agrees() {
    let aws = Emulator::moto();
    aws.create_function("hello", "arm64", &bundle("app.py", "old = 1\n"));
    let project = project(&aws.endpoint());
    assert_eq!(upload(&project, &[])["sent"], true);
    let live = aws.function("hello");
    assert_eq!(live["CodeSha256"], digest(&project));
    assert_eq!(upload(&project, &["-B"])["sent"], false);
    assert_eq!(aws.function("hello")["LastModified"], live["LastModified"]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_missing_function_is_not_created() {
    let aws = Emulator::ministack();
    let error = upload_error(&project(&aws.endpoint()));
    for part in [
        "function `hello` in eu-west-1 at http://127.0.0.1:",
        "zipwright updates functions and does not create them",
        "aws lambda create-function --function-name hello",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn nothing_but_loopback_is_asked_when_so_required() {
    let here = "http://127.0.0.1:1";
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("AWS_ENDPOINT_URL", "http://192.0.2.1:1")],
        &[("AWS_ENDPOINT_URL", "https://127.0.0.1:1")],
        &[("AWS_ENDPOINT_URL", here), ("AWS_ENDPOINT_URL_LAMBDA", "http://192.0.2.1")],
        &[("AWS_ENDPOINT_URL", here), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")],
    ];
    for case in cases {
        let mut project = project(here);
        project.unset("AWS_ENDPOINT_URL");
        for (name, value) in case {
            project.set(name, value);
        }
        let error = upload_error(&project);
        assert!(error.contains("not an http address on loopback"), "{case:?}: {error}");
        assert!(error.contains("nothing was sent"), "{error}");
    }
}

#[test]
fn missing_credentials_say_how_to_get_some() {
    let (server, mut project) = silent();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
        project.unset(name);
    }
    // The metadata service of EC2 is not on loopback, so no request to it is allowed either.
    let error = upload_error(&project);
    assert!(error.contains("in eu-west-1: no usable AWS credentials: set AWS_PROFILE"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_missing_region_says_how_to_set_one() {
    let (server, mut project) = silent();
    project.unset("AWS_REGION");
    let error = upload_error(&project);
    assert!(error.starts_with("no AWS region is set: set AWS_REGION"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_certificate_file_that_is_not_there_is_named() {
    let (_, mut project) = silent();
    project.set("SSL_CERT_FILE", "/nowhere/ca.pem");
    let error = upload_error(&project);
    assert!(error.contains("SSL_CERT_FILE names `/nowhere/ca.pem`"), "{error}");
}

#[test]
fn a_profile_names_region_endpoint_and_credentials() {
    let (server, mut project) =
        scripted(|_| vec![failure(404, "ResourceNotFoundException", "gone")]);
    let from_files =
        ["AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    for name in from_files {
        project.unset(name);
    }
    project.set("AWS_PROFILE", "local");
    let endpoint = server.endpoint();
    let config = format!(
        "[profile local]\nregion = sa-east-1\nservices = loc\n\
         [services loc]\nlambda =\n  endpoint_url = {endpoint}\n"
    );
    project.write("../home/.aws/config", config);
    let credentials = "[local]\naws_access_key_id = test\naws_secret_access_key = test\n";
    project.write("../home/.aws/credentials", credentials);
    let error = upload_error(&project);
    assert!(error.contains(&format!("in sa-east-1 at {endpoint}: ")), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_bundle_that_no_request_can_hold_is_refused_before_the_network() {
    let (server, project) = silent();
    let file = std::fs::File::create(project.path("app.py")).unwrap();
    file.set_len(50 << 20).unwrap();
    // With a bundle to build, the preflight would send requests, too.
    let _ = project.run(["package"]).success();
    let error = upload_error(&project);
    assert!(error.contains("add `s3 = { bucket = \"…\" }` to upload `upload`"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_update_in_progress_is_waited_for_and_the_update_is_guarded() {
    let (server, project) = scripted(|digest| {
        vec![
            answer(&json!({"CodeSha256": "old", "State": "Pending"})),
            answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "InProgress"})),
            answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Successful",
                "RevisionId": "r-7", "Architectures": ["arm64"]})),
            answer(&json!({"CodeSha256": digest})),
            answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "InProgress"})),
            answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
        ]
    });
    assert_eq!(upload(&project, &[])["sent"], true);
    assert_eq!(server.requests().len(), 6);
    let sent: Value = serde_json::from_str(&server.bodies()[3]).unwrap();
    let zip = BASE64_STANDARD.encode(project.bytes("build/lambda.zip"));
    let expected = json!({"ZipFile": zip, "Architectures": ["arm64"], "RevisionId": "r-7"});
    assert_eq!(sent, expected);
}

#[test]
fn an_upload_that_lambda_cannot_use_is_an_error_with_its_reason() {
    let (_, project) = scripted(|digest| {
        vec![
            answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Successful"})),
            answer(&json!({"CodeSha256": digest})),
            answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Failed",
                "LastUpdateStatusReason": "The zip is empty"})),
        ]
    });
    let error = upload_error(&project);
    assert!(error.contains("The zip is empty; the code from before is still live"), "{error}");
}

#[test]
fn a_failed_update_is_sent_again_although_the_digest_is_equal() {
    let (_, project) = scripted(|digest| {
        vec![
            answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Failed"})),
            answer(&json!({"CodeSha256": digest})),
            answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
        ]
    });
    assert_eq!(upload(&project, &[])["sent"], true);
}

#[test]
fn another_digest_than_ours_is_an_error() {
    let old = || answer(&json!({"CodeSha256": "old"}));
    let theirs = || answer(&json!({"CodeSha256": "theirs"}));
    let (_, project) = scripted(|_| vec![old(), theirs()]);
    let error = upload_error(&project);
    assert!(error.contains("Lambda received other data than was sent"), "{error}");
    assert!(error.contains("its CodeSha256 is theirs instead of "), "{error}");

    let (_, project) =
        scripted(|digest| vec![old(), answer(&json!({"CodeSha256": digest})), theirs()]);
    let error = upload_error(&project);
    assert!(error.contains("another client deployed after this upload"), "{error}");
}

#[test]
fn a_change_in_the_middle_of_an_upload_stops_it_unless_it_was_ours() {
    let changed = || failure(412, "PreconditionFailedException", "The RevisionId is another");
    let is = |digest: &str| answer(&json!({"CodeSha256": digest, "RevisionId": "r"}));
    let (_, project) = scripted(|_| vec![is("old"), changed(), is("theirs")]);
    let error = upload_error(&project);
    assert!(error.contains("changed by another client"), "{error}");

    let (_, project) = scripted(|digest| vec![is("old"), changed(), is(digest)]);
    assert_eq!(upload(&project, &[])["sent"], true);
}

#[test]
fn another_operation_in_between_is_waited_for() {
    let (_, project) = scripted(|digest| {
        vec![
            answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"})),
            failure(409, "ResourceConflictException", "An update is in progress"),
            answer(&json!({"CodeSha256": "other", "RevisionId": "r-2"})),
            answer(&json!({"CodeSha256": digest})),
            answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
        ]
    });
    assert_eq!(upload(&project, &[])["sent"], true);
}

#[test]
fn another_region_is_another_deployment() {
    let is = |digest: &str| answer(&json!({"CodeSha256": digest}));
    let (server, mut project) = scripted(|digest| vec![is(digest), is(digest)]);
    assert_eq!(upload(&project, &[])["sent"], false);
    assert_eq!(upload(&project, &[])["outcome"], "up-to-date");
    project.set("AWS_REGION", "us-east-1");
    let again = upload(&project, &[]);
    assert_eq!(again["reasons"], json!(["region: eu-west-1 -> us-east-1"]));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn no_credential_is_shown_or_recorded() {
    let secret = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY";
    let text = format!("bad token {secret}\nx-amz-security-token:{secret}");
    let (server, mut project) = scripted(|digest| {
        let refused = failure(403, "UnrecognizedClientException", &text);
        vec![refused, answer(&json!({"CodeSha256": digest}))]
    });
    project.set("AWS_SESSION_TOKEN", secret);
    let error = upload_error(&project);
    assert!(error.contains("bad token ***; the credentials are not valid here"), "{error}");
    assert_eq!(upload(&project, &["--trace"])["outcome"], "ran");
    let found = project.sh(&format!("grep -r {secret} .zipwright build")).status(1);
    assert_eq!(found.stdout, "");

    let userinfo = server.endpoint().replace("http://", &format!("http://me:{secret}@"));
    project.set("AWS_ENDPOINT_URL", userinfo);
    let runs =
        [project.run(["--trace", "-B", "upload"]).failure(), project.run(["explain", "upload"])];
    for run in runs {
        assert!(!run.to_string().contains(secret), "{run}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = upload_error(&project("http://127.0.0.1:1"));
    assert!(error.contains("function `hello` in eu-west-1 at http://127.0.0.1:1: "), "{error}");
    assert!(error.to_lowercase().contains("connection refused"), "{error}");
}

#[test]
fn an_answer_that_is_none_of_lambdas_is_no_success() {
    let (_, project) = scripted(|_| vec![plain(200, "<html>sign in</html>"); 3]);
    let error = upload_error(&project);
    assert!(error.contains("the answer (HTTP 200) is not one of Lambda's"), "{error}");

    let (_, project) = scripted(|_| vec![plain(200, "{}"); 3]);
    let error = upload_error(&project);
    assert!(error.contains("its CodeSha256 is missing instead of"), "{error}");
}

#[test]
fn an_invoke_is_never_tried_again() {
    let (server, project) = scripted(|digest| {
        vec![answer(&json!({"CodeSha256": digest})), failure(500, "ServiceException", "try again")]
    });
    let _ = project.run(["invoke"]).failure().stderr_has("ServiceException: try again");
    let invokes = server.requests().iter().filter(|head| head.contains("/invocations")).count();
    assert_eq!(invokes, 1);
}

#[test]
fn a_payload_that_is_not_json_is_refused_before_it_is_sent() {
    let (server, project) = scripted(|digest| vec![answer(&json!({"CodeSha256": digest}))]);
    project.write("payload.json", "{\"a\": 1,\n}");
    let run = project.run(["invoke"]).failure();
    let _ = run.stderr_has("`payload.json` is not JSON").stderr_has("line 2 column 1");
    assert_eq!(server.requests(), [""; 0], "nothing was uploaded for it either");
}

#[test]
fn a_signal_while_another_update_runs_ends_the_upload_before_the_code() {
    let (server, project) = scripted(|digest| {
        let busy = answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "InProgress"}));
        let sent = answer(&json!({"CodeSha256": digest}));
        let free = answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Successful"}));
        vec![busy.clone(), busy.clone(), busy, free, sent.clone(), sent]
    });
    let child = project.zipwright().arg("upload").stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the first request", || (!server.requests().is_empty()).then_some(()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::INT.as_raw()));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains("interrupted before a request to read function `hello`"), "{printed}");
    assert!(!server.requests().iter().any(|request| request.starts_with("PUT")), "{printed}");
    assert!(!project.exists(STAMP));
}

#[test]
fn a_variable_that_is_empty_counts_as_unset() {
    let is = |digest: &str| answer(&json!({"CodeSha256": digest}));
    // The second run has a preflight.
    let (server, mut project) = scripted(|digest| vec![is(digest), is(digest), is(digest)]);
    project.set("AWS_PROFILE", "");
    project.set("AWS_REGION", "");
    project.set("AWS_DEFAULT_REGION", "us-west-2");
    assert_eq!(upload(&project, &[])["outcome"], "ran");
    assert!(server.heads()[0].contains("/us-west-2/lambda/"), "{:?}", server.heads());
    project.write("../home/.aws/config", "[default]\nregion = sa-east-1\n");
    project.set("AWS_DEFAULT_REGION", "");
    assert_eq!(upload(&project, &["-B"])["outcome"], "ran");
    assert!(server.heads()[1].contains("/sa-east-1/lambda/"), "{:?}", server.heads());
}

#[test]
fn addresses_that_cannot_be_used_are_named_before_anything_is_sent() {
    for (name, value, shown) in [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1 ", "http://127.0.0.1:1 "),
        ("AWS_ENDPOINT_URL", "http://", "http://"),
        ("AWS_ENDPOINT_URL_LAMBDA", "127.0.0.1:1", "127.0.0.1:1"),
        ("HTTPS_PROXY", "http://me:secret@proxy:port", "http://proxy:port"),
        ("http_proxy", "ftp://proxy", "ftp://proxy"),
    ] {
        let mut project = project("http://127.0.0.1:1");
        project.set(name, value);
        let error = upload_error(&project);
        assert!(error.starts_with(&format!("{name} is `{shown}`, which is not ")), "{error}");
    }
}

#[test]
fn a_profile_that_does_not_exist_is_named_with_those_that_do() {
    let (server, mut project) = silent();
    project.set("AWS_PROFILE", "nope");
    let error = upload_error(&project);
    let expected = "AWS_PROFILE names the AWS profile `nope`, which is neither in \
                    `~/.aws/config` nor in `~/.aws/credentials`: there are no profiles";
    assert_eq!(error, expected);
    project.write("../home/.aws/config", "[default]\n[profile prod]\nregion = sa-east-1\n");
    let error = upload_error(&project);
    assert!(error.ends_with("`~/.aws/credentials`: there are `default` and `prod`"), "{error}");
    project.write("../home/.aws/config", "[default]\nregion = sa-east-1\n[profile prod\n");
    let error = upload_error(&project);
    assert!(error.contains(".aws/config on line 3: "), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_credential_process_that_fails_shows_nothing_that_it_printed() {
    let (server, mut project) = silent();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        project.unset(name);
    }
    for process in ["sh -c 'echo hunter2secretvalue >&2; exit 3'", "echo hunter2secretvalue"] {
        project
            .write("../home/.aws/config", format!("[default]\ncredential_process = {process}\n"));
        let run = project.run(["--trace", "upload"]).failure();
        let run = run.stderr_has("no usable AWS credentials (");
        assert!(!run.to_string().contains("hunter2"), "{run}");
    }
    assert_eq!(server.requests(), [""; 0]);
}
