//! Bundles that exceed Lambda's request limit, through S3: against MiniStack and moto, and against
//! a server with scripted responses.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::aws_project::{self, create, upload_error};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::proxy::{Fault, Proxy, Rule};
use crate::sandbox::Sandbox;
use crate::scripted::{Answer, Script, answer, plain};
use crate::wait::until;

const BUILDFILE: &str = r#"
[target.staging]
kind = "staging"
sources = ["app.py", "weights.bin"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
compression = "store"

[target.upload]
kind = "upload"
zip = "package"
function = "hello"
s3 = { bucket = "bundles", prefix = "lambda/hello/" }
"#;

/// Size in bytes, slightly above the request limit.
const WEIGHTS: u64 = 53 << 20;

/// Returns a project with a built bundle that exceeds the request limit.
fn project(endpoint: &str) -> Sandbox {
    let sandbox = aws_project::project(BUILDFILE, endpoint);
    // Each part of the upload differs: each MiB begins with its number.
    let mut file = std::fs::File::create(sandbox.path("weights.bin")).unwrap();
    let mut piece = vec![b'w'; 1 << 20];
    for number in 0..WEIGHTS >> 20 {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&piece).unwrap();
    }
    drop(file);
    let _ = sandbox.run(["package"]).success();
    sandbox
}

/// Returns the key of the project's bundle, computed without zipwright.
fn key(sandbox: &Sandbox) -> String {
    let hex: Vec<String> = Sha256::digest(sandbox.bytes("build/lambda.zip"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("lambda/hello/{}.zip", hex.concat())
}

fn goes_by_way_of_s3(aws: &Emulator) {
    create(aws);
    aws.create_bucket("bundles");
    let project = project(&aws.endpoint());
    let run = project.run(["--json", "upload"]).success();
    // An upload through S3 needs no warning about the size.
    assert!(!run.events().iter().any(|event| event["event"] == "warning"), "{run}");
    let upload = run.target("upload");
    let bytes = project.bytes("build/lambda.zip");
    let name = format!("/bundles/{}", key(&project));
    assert_eq!(upload["s3"], json!(format!("s3:/{name}")));
    assert_eq!(upload["sent"], true);
    assert_eq!(upload["code_sha256"], code_sha256(&bytes));
    assert_eq!(aws.function("hello")["CodeSha256"], code_sha256(&bytes));
    let (status, stored) = aws.s3(&name);
    assert_eq!((status, stored == bytes), (200, true), "the object is the built zip");
    let (_, uploads) = aws.s3("/bundles?uploads");
    let uploads = String::from_utf8_lossy(&uploads).into_owned();
    assert!(!uploads.contains("<Upload>"), "nothing is left begun: {uploads}");

    // An existing object is not sent again, not even for another function.
    aws.create_function("other", "x86_64", &bundle("app.py", "old = 1\n"));
    let modified = |aws: &Emulator| {
        let (_, listed) = aws.s3("/bundles?list-type=2");
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let time = listed.split("<LastModified>").nth(1).unwrap().split('<').next().unwrap();
        time.to_owned()
    };
    let before = modified(aws);
    let other = "[target.other]\nkind = \"upload\"\nzip = \"package\"\nfunction = \"other\"\n\
                 s3 = { bucket = \"bundles\", prefix = \"lambda/hello\" }\n";
    project.write("Buildfile", format!("{BUILDFILE}\n{other}"));
    let run = project.run(["--json", "other"]).success();
    assert_eq!(run.target("other")["sent"], true);
    assert_eq!(aws.function("other")["CodeSha256"], code_sha256(&bytes));
    assert_eq!(modified(aws), before);
    // Nor for a third, deployed by digest.
    aws.create_function("third", "x86_64", &bundle("app.py", "old = 1\n"));
    let digest = code_sha256(&bytes);
    let [zip, bucket] = ["build/lambda.zip", "bundles/lambda/hello"];
    let to = ["promote", zip, "--function", "third", "--digest", &digest, "--s3", bucket];
    let _ = project.run(to).success();
    assert_eq!(aws.function("third")["CodeSha256"], digest);
    assert_eq!(modified(aws), before);
    // Code that the function already has is not sent to S3.
    let run = project.run(["--json", "-B", "upload"]).success();
    let upload = run.target("upload");
    assert_eq!((&upload["sent"], &upload["s3"]), (&json!(false), &Value::Null));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_large_bundle_goes_by_way_of_s3() {
    goes_by_way_of_s3(&Emulator::ministack_alone());
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn moto_agrees() {
    goes_by_way_of_s3(&Emulator::moto());
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn requests_are_signed() {
    let aws = Emulator::moto();
    aws.create_bucket("bundles");
    let (key, secret) = aws.require_signatures();
    let again = answer(&json!({"CodeSha256": "old", "RevisionId": "r"}));
    let (server, mut project) = scripted(vec![again, plain(400, "{}")]);
    project.set("AWS_ENDPOINT_URL_S3", aws.endpoint());
    project.set("AWS_ACCESS_KEY_ID", &key);
    // Another key of an object, whose characters are encoded in a path.
    project.write("Buildfile", BUILDFILE.replace("lambda/hello/", "my bundles+é=%20"));
    project.set("AWS_SECRET_ACCESS_KEY", "wrong");
    let error = upload_error(&project);
    assert!(
        error.contains("could not begin the upload of s3://bundles/my bundles+é=%20/"),
        "{error}"
    );
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    project.set("AWS_SECRET_ACCESS_KEY", &secret);
    let error = upload_error(&project);
    // The object was stored, and Lambda is the next to refuse.
    assert!(error.contains("could not update the code of function `hello`"), "{error}");
    assert!(server.requests().last().unwrap().starts_with("PUT /2015"), "{:?}", server.requests());
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_layer_goes_the_same_way() {
    let aws = Emulator::ministack_alone();
    aws.create_bucket("bundles");
    let project = project(&aws.endpoint());
    let layer = BUILDFILE.replace("kind = \"upload\"", "kind = \"layer\"");
    let layer = layer.replace("function = \"hello\"", "name = \"weights\"");
    project.write(
        "Buildfile",
        layer.replace("staging = \"staging\"", "staging = \"staging\"\nbelow = 'python'"),
    );
    let run = project.run(["--json", "upload"]).success();
    let layer = run.target("upload");
    assert_eq!(layer["s3"], json!(format!("s3://bundles/{}", key(&project))));
    let digest = code_sha256(&project.bytes("build/lambda.zip"));
    assert_eq!(aws.layer_version("weights", 1)["Content"]["CodeSha256"], digest);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_bundle_that_fits_into_a_request_needs_no_bucket() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = project(&aws.endpoint());
    project.write("weights.bin", "few");
    let upload = project.run(["--json", "upload"]).success().target("upload");
    assert_eq!((&upload["sent"], &upload["s3"]), (&json!(true), &Value::Null));
}

#[test]
fn without_a_bucket_the_way_out_is_said_before_the_network() {
    let server = Script::new(Vec::new());
    let project = project(&server.endpoint());
    project.write("Buildfile", BUILDFILE.replace("s3 = ", "# s3 = "));
    let error = upload_error(&project);
    let expected = "nothing was sent; add `s3 = { bucket = \"…\" }` to upload `upload`";
    assert!(error.contains(expected), "{error}");
    assert_eq!(server.requests(), [""; 0]);
    let words = ["check", "build/lambda.zip", "--runtime", "python3.13", "--arch", "arm64"];
    let run = project.run(words).success();
    assert!(run.stdout.starts_with("warning[zipped-size] the zip has 55.6 MB, which"), "{run}");
    assert!(run.stdout.contains("weights.bin (55.6 MB), app.py ("), "{run}");
    // The preflight of the next build reports it.
    project.write("app.py", "def handler(event, context):\n    return 2\n");
    let run = project.run(["upload"]).failure();
    let _ = run.stderr_has("the last `build/lambda.zip` has 55.6 MB, which is too large");
    let run = project.run(["-B", "package"]).success();
    let _ = run.stderr_has("what uploads it needs `s3 = { bucket = \"…\" }`");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_bucket_that_is_not_there_is_named() {
    let aws = Emulator::ministack();
    create(&aws);
    let error = upload_error(&project(&aws.endpoint()));
    let expected = "could not begin the upload of s3://bundles/lambda/hello/";
    assert!(error.contains(expected), "{error}");
    assert!(error.contains("NoSuchBucket"), "{error}");
    assert!(error.contains("`bucket` must name an existing bucket"), "{error}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn nothing_but_loopback_is_asked_when_so_required() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let mut project = project(&aws.endpoint());
    project.set("AWS_ENDPOINT_URL_S3", "https://s3.eu-west-1.amazonaws.com");
    let error = upload_error(&project);
    assert!(error.contains("not an http address on loopback"), "{error}");
    project.set("AWS_ENDPOINT_URL_S3", "localhost:1");
    let error = upload_error(&project);
    assert!(error.contains("AWS_ENDPOINT_URL_S3 is `localhost:1`, which is not a URL"), "{error}");
    // The bucket is in the path, not part of a host name that does not exist.
    project.set("AWS_ENDPOINT_URL_S3", aws.endpoint().replace("127.0.0.1", "localhost"));
    aws.create_bucket("bundles");
    let _ = project.run(["upload"]).success();
}

/// Returns a server with the test's responses of S3, and a Lambda with other code.
fn scripted(mut s3: Vec<Answer>) -> (Script, Sandbox) {
    let mut project = project("http://127.0.0.1:1");
    let mut answers = vec![answer(&json!({"CodeSha256": "old", "RevisionId": "r"}))];
    answers.append(&mut s3);
    let server = Script::new(answers);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    (server, project)
}

fn begun() -> Answer {
    plain(
        200,
        "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
    )
}

fn refused(status: u16, code: &str) -> Answer {
    plain(status, &format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

#[test]
fn what_was_begun_and_fails_is_taken_back() {
    let denied = || refused(403, "AccessDenied");
    let mut answers = vec![plain(404, ""), begun()];
    answers.extend(vec![denied(); 7]);
    let (server, project) = scripted(answers);
    let error = upload_error(&project);
    assert!(error.contains("could not send s3://bundles/"), "{error}");
    assert!(error.contains("zipwright needs s3:GetObject, s3:PutObject and"), "{error}");
    assert!(error.contains("nothing was deployed"), "{error}");
    let requests = server.requests();
    // A part that was on its way may arrive later.
    let is_end = |head: &String| {
        head.starts_with("DELETE /bundles/lambda/hello/") && head.ends_with("uploadId=u1")
    };
    assert!(requests.iter().any(is_end), "{requests:?}");
    assert!(!requests.iter().any(|head| head.starts_with("PUT /2015")), "{requests:?}");
}

#[test]
fn a_part_that_fails_for_a_moment_is_sent_again() {
    let mut project = project("http://127.0.0.1:1");
    let digest = code_sha256(&project.bytes("build/lambda.zip"));
    let mut answers = vec![answer(&json!({"CodeSha256": "old", "RevisionId": "r"}))];
    answers.extend([plain(404, ""), begun(), refused(503, "SlowDown")]);
    answers.extend(vec![plain(200, ""); 7]);
    answers.push(plain(200, "<CompleteMultipartUploadResult/>"));
    answers.push(answer(&json!({"CodeSha256": digest})));
    answers.push(answer(&json!({"CodeSha256": digest, "LastUpdateStatus": "Successful"})));
    let server = Script::new(answers);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let run = project.run(["upload"]).success();
    let run = run.stderr_has("could not send s3://bundles/lambda/hello/");
    let _ = run.stderr_has("SlowDown: no; trying again in");
    let requests = server.requests();
    let numbers = |number: usize| {
        let part = format!("partNumber={number}&");
        requests.iter().filter(|head| head.contains(&part)).count()
    };
    let counts: Vec<usize> = (1..=7).map(numbers).collect();
    assert_eq!(counts.iter().sum::<usize>(), 8, "{requests:?}");
    assert!(counts.iter().all(|count| *count >= 1), "{requests:?}");
    let sent: Value = serde_json::from_str(&server.bodies()[requests.len() - 2]).unwrap();
    let expected = json!({"S3Bucket": "bundles", "S3Key": key(&project), "RevisionId": "r"});
    assert_eq!(sent, expected);
}

/// Returns a project whose S3 is MiniStack behind a proxy with faults.
fn with_faults(aws: &Emulator, rules: Vec<Rule>) -> (Proxy, Sandbox) {
    create(aws);
    aws.create_bucket("bundles");
    let proxy = Proxy::new(&aws.endpoint(), rules);
    let mut project = project(&aws.endpoint());
    project.set("AWS_ENDPOINT_URL_S3", proxy.endpoint());
    (proxy, project)
}

fn begun_in(aws: &Emulator) -> bool {
    String::from_utf8_lossy(&aws.s3("/bundles?uploads").1).contains("<Upload>")
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn connections_that_break_and_answers_that_are_lost_leave_one_whole_object() {
    let aws = Emulator::ministack_alone();
    let faults = vec![
        ("partNumber=2&", Fault::ResetMidRequest),
        ("partNumber=5&", Fault::LoseAnswer),
        // The response to the completion: the retry finds no upload, but the object exists.
        (".zip?uploadId=", Fault::LoseAnswer),
    ];
    let (proxy, project) = with_faults(&aws, faults);
    let run = project.run(["upload"]).success();
    let _ = run.stderr_has("trying again in");
    assert!(proxy.is_through());
    let bytes = project.bytes("build/lambda.zip");
    assert_eq!(aws.function("hello")["CodeSha256"], code_sha256(&bytes));
    assert!(aws.s3(&format!("/bundles/{}", key(&project))).1 == bytes);
    assert!(!begun_in(&aws));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_a_signal_interrupts_is_taken_back() {
    let aws = Emulator::ministack_alone();
    let faults = vec![("partNumber=3&", Fault::Slow(Duration::from_secs(120)))];
    let (proxy, project) = with_faults(&aws, faults);
    let child = project.zipwright().arg("upload").stderr(Stdio::piped()).spawn().unwrap();
    until("the third part", || (proxy.count("partNumber=3&") > 0).then_some(()));
    assert!(begun_in(&aws));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("was interrupted; the parts sent so far were discarded"), "{said}");
    assert!(!begun_in(&aws));
    assert!(!project.exists("build/upload.stamp"));
    // Once more, without faults.
    let _ = project.run(["upload"]).success();
}

#[test]
fn a_bucket_in_another_region_is_named() {
    let (_, project) = scripted(vec![plain(301, "")]);
    let error = upload_error(&project);
    assert!(error.contains("the bucket is in another region than eu-west-1"), "{error}");
}

/// Without permission to list a bucket, a missing object is reported as forbidden.
#[test]
fn an_object_of_another_size_is_sent_again() {
    for answers in [
        vec![plain(403, ""), refused(404, "NoSuchBucket")],
        vec![plain(200, ""), refused(404, "NoSuchBucket")],
    ] {
        let (server, project) = scripted(answers);
        let error = upload_error(&project);
        assert!(error.contains("could not begin the upload"), "{error}");
        assert!(server.requests()[2].starts_with("POST /bundles/"), "{:?}", server.requests());
    }
}
