//! The kinds `upload` and `invoke`: against MiniStack and moto, and against a server that says
//! what a test wants to hear.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use zipwright::base::Digest;
use zipwright::kinds;

use crate::emulators::{Emulator, bundle, code_sha256, loopback_env};
use crate::one_target::{Said, Sandbox, with_job};
use crate::scripted::{Script, answer, failure, plain};

const HELLO: &str = "def handler(event, context):\n    return {'answer': 1}\n";
const ANSWER_2: &str = "
def handler(event, context):
    print('a line of the log')
    return {'answer': 2, 'event': event}
";
const BOOM: &str = "def handler(event, context):\n    raise ValueError('boom')\n";

#[test]
fn an_upload_sends_what_differs_and_nothing_else() {
    let aws = Emulator::ministack();
    let old = bundle("app.py", HELLO);
    aws.create_function("hello", "arm64", &bundle("app.py", "old = 1\n"));
    let project = Sandbox::new(&old);

    let first = project.upload(&aws.env());
    assert_eq!(first.facts["sent"], json!(true), "{first:?}");
    let live = aws.function("hello");
    assert_eq!(live["CodeSha256"], code_sha256(&old));
    assert_eq!(first.facts["code_sha256"], live["CodeSha256"]);
    assert_eq!(live["Architectures"], json!(["arm64"]), "an update keeps the architecture");

    let second = project.upload(&aws.env());
    assert_eq!(second.facts["sent"], json!(false), "{second:?}");
    let unchanged = aws.function("hello");
    for field in ["RevisionId", "LastModified"] {
        assert_eq!(unchanged[field], live[field], "{field}");
    }

    aws.update_code("hello", &bundle("app.py", "drift = 1\n"));
    let third = project.upload(&aws.env());
    assert_eq!(third.facts["sent"], json!(true), "{third:?}");
    assert_eq!(aws.function("hello")["CodeSha256"], live["CodeSha256"]);
}

#[test]
fn an_invoke_gives_the_answer_of_the_code_just_uploaded() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "x86_64", &bundle("app.py", HELLO));
    let project = Sandbox::new(&bundle("app.py", ANSWER_2));
    project.upload(&aws.env()).success();

    let invoked = project.invoke(&aws.env(), r#"{"name": "é"}"#);
    invoked.success();
    let response: Value = serde_json::from_str(&invoked.stdout.join("\n")).unwrap();
    assert_eq!(response, json!({"answer": 2, "event": {"name": "é"}}));
    assert!(invoked.stderr.iter().any(|line| line == "a line of the log"), "{invoked:?}");
    assert_eq!(invoked.facts["status"], json!(200));
    assert_eq!(invoked.facts["executed_version"], json!("$LATEST"));
}

#[test]
fn a_function_that_fails_fails_the_invoke() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "x86_64", &bundle("app.py", HELLO));
    let project = Sandbox::new(&bundle("app.py", BOOM));
    project.upload(&aws.env()).success();

    let invoked = project.invoke(&aws.env(), "{}");
    let error = invoked.error.as_deref().unwrap();
    assert!(error.starts_with("function `hello` failed (Unhandled): "), "{error}");
    assert!(error.contains("boom"), "{error}");
    assert_eq!(invoked.stdout, [""; 0], "an error is no response");
}

#[test]
fn moto_agrees() {
    let aws = Emulator::moto();
    let zip = bundle("app.py", HELLO);
    aws.create_function("hello", "arm64", &bundle("app.py", "old = 1\n"));
    let project = Sandbox::new(&zip);

    let first = project.upload(&aws.env());
    assert_eq!(first.facts["sent"], json!(true), "{first:?}");
    let live = aws.function("hello");
    assert_eq!(live["CodeSha256"], code_sha256(&zip));

    assert_eq!(project.upload(&aws.env()).facts["sent"], json!(false));
    assert_eq!(aws.function("hello")["LastModified"], live["LastModified"]);
}

#[test]
fn a_missing_function_is_not_created() {
    let aws = Emulator::ministack();
    let error = Sandbox::new(b"zip").upload(&aws.env()).error.unwrap();
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
    let home = TempDir::new().unwrap();
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("AWS_ENDPOINT_URL", "http://192.0.2.1:1")],
        &[("AWS_ENDPOINT_URL", "https://127.0.0.1:1")],
        &[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_LAMBDA", "http://192.0.2.1"),
        ],
        &[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ],
    ];
    for case in cases {
        let mut env = loopback_env(home.path());
        env.extend(case.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
        assert!(error.contains("no http address on loopback"), "{case:?}: {error}");
        assert!(error.contains("nothing was sent"), "{error}");
    }
}

#[test]
fn credentials_are_fetched_from_loopback_only_when_so_required() {
    let server = Script::new(Vec::new());
    let mut env = server.env();
    env.retain(|(name, _)| !name.starts_with("AWS_ACCESS") && !name.starts_with("AWS_SECRET"));
    env.retain(|(name, _)| *name != "AWS_EC2_METADATA_DISABLED");
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.contains("no usable AWS credentials"), "{error}");
    assert!(error.contains("aws sso login"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_missing_region_says_how_to_set_one() {
    let server = Script::new(Vec::new());
    let mut env = server.env();
    env.retain(|(name, _)| *name != "AWS_REGION");
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.starts_with("no AWS region is set: set AWS_REGION"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_certificate_file_that_is_not_there_is_named() {
    let server = Script::new(Vec::new());
    let mut env = server.env();
    env.push(("SSL_CERT_FILE", "/nowhere/ca.pem".into()));
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.contains("SSL_CERT_FILE names `/nowhere/ca.pem`"), "{error}");
}

#[test]
fn a_profile_names_region_endpoint_and_credentials() {
    let server = Script::new(vec![failure(404, "ResourceNotFoundException", "gone")]);
    let mut env = server.env();
    let home = PathBuf::from(&env.iter().find(|(name, _)| *name == "HOME").unwrap().1);
    let from_files =
        ["AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    env.retain(|(name, _)| !from_files.contains(name));
    env.push(("AWS_PROFILE", "local".into()));
    fs::create_dir_all(home.join(".aws")).unwrap();
    let config = format!(
        "[profile local]\nregion = sa-east-1\nservices = loc\n\
         [services loc]\nlambda =\n  endpoint_url = {}\n",
        server.endpoint()
    );
    fs::write(home.join(".aws/config"), config).unwrap();
    let credentials = "[local]\naws_access_key_id = test\naws_secret_access_key = test\n";
    fs::write(home.join(".aws/credentials"), credentials).unwrap();
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.contains(&format!("in sa-east-1 at {}", server.endpoint())), "{error}");
}

#[test]
fn a_bundle_that_no_request_can_hold_is_refused_before_the_network() {
    let server = Script::new(Vec::new());
    let project = Sandbox::new(b"");
    let zip = fs::File::create(project.folder.path().join("build/lambda.zip")).unwrap();
    zip.set_len(50 << 20).unwrap();
    let error = project.upload(&server.env()).error.unwrap();
    assert!(error.contains("larger bundles need S3, which zipwright cannot do yet"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_update_in_progress_is_waited_for_and_the_update_is_guarded() {
    let digest = code_sha256(b"zip");
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "InProgress"})),
        answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Successful",
            "RevisionId": "r-7", "Architectures": ["arm64"]})),
        answer(&json!({"CodeSha256": digest})),
        answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "InProgress"})),
        answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
    ]);
    let done = Sandbox::new(b"zip").upload(&server.env());
    assert_eq!(done.facts["sent"], json!(true), "{done:?}");
    let sent: Value = serde_json::from_str(&server.bodies()[2]).unwrap();
    assert_eq!(sent, json!({"ZipFile": "emlw", "Architectures": ["arm64"], "RevisionId": "r-7"}));
}

#[test]
fn an_upload_that_lambda_cannot_use_is_an_error_with_its_reason() {
    let digest = code_sha256(b"zip");
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Successful"})),
        answer(&json!({"CodeSha256": digest})),
        answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Failed",
            "LastUpdateStatusReason": "The zip is empty"})),
    ]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("The zip is empty; the code from before is still live"), "{error}");
}

#[test]
fn a_failed_update_is_sent_again_although_the_digest_is_equal() {
    let digest = code_sha256(b"zip");
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Failed"})),
        answer(&json!({"CodeSha256": digest})),
        answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
    ]);
    assert_eq!(Sandbox::new(b"zip").upload(&server.env()).facts["sent"], json!(true));
}

#[test]
fn another_digest_than_ours_is_an_error() {
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old"})),
        answer(&json!({"CodeSha256": "theirs"})),
    ]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("Lambda received something else than was sent"), "{error}");
    assert!(error.contains("its CodeSha256 is theirs instead of "), "{error}");

    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old"})),
        answer(&json!({"CodeSha256": code_sha256(b"zip")})),
        answer(&json!({"CodeSha256": "theirs"})),
    ]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("another deployment came after this one"), "{error}");
}

#[test]
fn a_change_in_the_middle_of_an_upload_stops_it_unless_it_was_ours() {
    let changed = || failure(412, "PreconditionFailedException", "The RevisionId is another");
    let before = answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"}));
    let server = Script::new(vec![
        before.clone(),
        changed(),
        answer(&json!({"CodeSha256": "theirs", "RevisionId": "r-2"})),
    ]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("changed by somebody else"), "{error}");

    let ours = json!({"CodeSha256": code_sha256(b"zip"), "RevisionId": "r-2"});
    let server = Script::new(vec![before, changed(), answer(&ours)]);
    assert_eq!(Sandbox::new(b"zip").upload(&server.env()).facts["sent"], json!(true));
}

#[test]
fn another_operation_in_between_is_waited_for() {
    let digest = code_sha256(b"zip");
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"})),
        failure(409, "ResourceConflictException", "An update is in progress"),
        answer(&json!({"CodeSha256": "other", "RevisionId": "r-2"})),
        answer(&json!({"CodeSha256": digest})),
        answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})),
    ]);
    assert_eq!(Sandbox::new(b"zip").upload(&server.env()).facts["sent"], json!(true));
}

#[test]
fn no_error_shows_a_credential() {
    let secret = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY";
    let text = format!("bad token {secret}\nx-amz-security-token:{secret}");
    let server = Script::new(vec![failure(403, "UnrecognizedClientException", &text)]);
    let mut env = server.env();
    env.push(("AWS_SESSION_TOKEN", secret.into()));
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.contains("bad token ***; the credentials are not valid here"), "{error}");
    assert!(!error.contains(secret), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let server = Script::new(Vec::new());
    let mut env = server.env();
    env.push(("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1".into()));
    let error = Sandbox::new(b"zip").upload(&env).error.unwrap();
    assert!(error.contains("function `hello` in eu-west-1 at http://127.0.0.1:1: "), "{error}");
    assert!(error.to_lowercase().contains("connection refused"), "{error}");
}

#[test]
fn an_answer_that_is_none_of_lambdas_is_no_success() {
    let server = Script::new(vec![plain(200, "<html>sign in</html>"); 3]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("the answer (HTTP 200) is not one of Lambda's"), "{error}");
    let server = Script::new(vec![plain(200, "{}"); 3]);
    let error = Sandbox::new(b"zip").upload(&server.env()).error.unwrap();
    assert!(error.contains("its CodeSha256 is missing instead of"), "{error}");
    let server = Script::new(vec![plain(413, "too large")]);
    let error = Sandbox::new(b"zip").invoke(&server.env(), "{}").error.unwrap();
    assert!(error.contains("HTTP 413"), "{error}");
}

#[test]
fn an_invoke_is_never_tried_again() {
    let server = Script::new(vec![failure(500, "ServiceException", "try again")]);
    let error = Sandbox::new(b"zip").invoke(&server.env(), "{}").error.unwrap();
    assert!(error.contains("ServiceException: try again"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_payload_that_is_not_json_is_refused_before_the_network() {
    let server = Script::new(Vec::new());
    let error = Sandbox::new(b"zip").invoke(&server.env(), "{\"a\": 1,\n}").error.unwrap();
    assert!(error.contains("`payload.json` is not JSON"), "{error}");
    assert!(error.contains("line 2 column 1"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_upload_key_holds_the_destination_and_no_credentials() {
    let folder = TempDir::new().unwrap();
    let env = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_PROFILE", "team"),
        ("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let key = with_job(folder.path(), env, "upload", &Said::default(), kinds::key).unwrap();
    let shown: Vec<String> =
        key.components.iter().map(|part| format!("{}={}", part.name, part.value)).collect();
    let zip = format!("zip={:.12}", Digest::of(b"result of package"));
    let expected =
        ["function=hello", &zip, "region=eu-west-1", "profile=team", "endpoint=http://127.0.0.1:9"];
    assert_eq!(shown, expected);
}

#[test]
fn an_invoke_key_holds_the_payload_and_what_was_uploaded() {
    let project = Sandbox::new(b"zip");
    let folder = project.folder.path();
    fs::write(folder.join("payload.json"), "{}").unwrap();
    let key = with_job(folder, BTreeMap::new(), "invoke", &Said::default(), kinds::key).unwrap();
    let shown: Vec<String> =
        key.components.iter().map(|part| format!("{}={}", part.name, part.value)).collect();
    let expected = [
        format!("upload={:.12}", Digest::of(b"result of upload")),
        format!("file payload.json={:.12}", Digest::of(b"{}")),
    ];
    assert_eq!(shown, expected);
}
