//! Features of Lambda since the end of 2025, with scripted responses, because no emulator has them:
//! durable functions, Managed Instances, objects that Lambda refers to, KMS keys, code signing.

use serde_json::{Value, json};
#[cfg(feature = "login")]
use sha2::{Digest, Sha256};

use crate::aws_project::{self, uploading};
use crate::sandbox::{Run, Sandbox, side_by_side, text};
use crate::scripted::{Answer, Script, answer, failure, invoked, plain, with_header};

/// Returns a project whose upload has these keys, and a server whose responses depend on the digest
/// of the bundle.
fn scripted(keys: &str, answers: impl FnOnce(&str) -> Vec<Answer>) -> (Script, Sandbox) {
    let invoke = "[target.invoke]\nkind = 'invoke'\nupload = 'upload'\n";
    let buildfile = [uploading!(), keys, "\n", invoke].concat();
    aws_project::scripted(&buildfile, answers)
}

/// Returns the qualifiers of all calls of the function.
fn calls(server: &Script) -> Vec<String> {
    aws_project::calls(server).into_iter().map(|(path, _)| path).collect()
}

/// Returns the request that changed the code.
fn update(server: &Script) -> Value {
    let requests = server.requests();
    let at = requests.iter().rposition(|request| request.starts_with("PUT ")).unwrap();
    serde_json::from_str(&server.bodies()[at]).unwrap()
}

fn durable(code_sha256: &str) -> Answer {
    answer(&json!({"CodeSha256": code_sha256, "DurableConfig": {"ExecutionTimeout": 86400}}))
}

fn on_instances(code_sha256: &str) -> Answer {
    let provider = json!({"LambdaManagedInstancesCapacityProviderConfig": {}});
    answer(&json!({"CodeSha256": code_sha256, "CapacityProviderConfig": provider}))
}

#[test]
fn a_durable_function_is_called_with_a_qualifier_and_its_upload_warns() {
    let done = |version| invoked(200, version, &json!("ok"), "");
    let (server, project) = scripted("", |digest| {
        let update = answer(&json!({"CodeSha256": digest}));
        vec![durable("old"), update, durable(digest), done("$LATEST"), done("$LATEST")]
    });
    let run = project.run(["invoke"]).success();
    let run = run.stderr_has("function `hello` is durable: executions that are in progress");
    assert_eq!(run.stdout, "\"ok\"\n");
    // The upload is up to date now, and its result is still recorded.
    let _ = project.run(["invoke"]).success().stderr_lacks("durable");
    assert_eq!(calls(&server), ["?Qualifier=%24LATEST"; 2]);
}

#[test]
fn a_durable_function_that_is_published_is_called_by_its_version() {
    let (server, project) = scripted("publish = true", |digest| {
        let versions =
            ["$LATEST", "3"].map(|version| json!({"Version": version, "CodeSha256": digest}));
        vec![
            durable("old"),
            answer(&json!({"CodeSha256": digest})),
            durable(digest),
            answer(&json!({"Versions": versions})),
            durable(digest),
            invoked(200, "3", &json!("ok"), ""),
        ]
    });
    let _ = project.run(["invoke"]).success().stderr_lacks("durable");
    assert_eq!(calls(&server), ["?Qualifier=3"]);
}

#[test]
fn a_call_that_lambda_refuses_for_want_of_a_qualifier_is_made_with_one() {
    let refusal = || {
        let words = "You cannot invoke a durable function using an unqualified ARN.";
        failure(400, "InvalidParameterValueException", words)
    };
    let (server, project) = scripted("", |digest| {
        let done = invoked(200, "$LATEST", &json!("ok"), "");
        vec![answer(&json!({"CodeSha256": digest})), refusal(), done, refusal()]
    });
    let _ = project.run(["invoke"]).success();
    assert_eq!(calls(&server), ["", "?Qualifier=%24LATEST"]);
    // With a qualifier of the user, a refusal is an error.
    let _ = project.run(["invoke", "--qualifier=live"]).failure();
    assert_eq!(calls(&server).len(), 3);
}

#[test]
fn a_function_on_instances_is_published_as_its_latest() {
    let (server, project) = scripted("publish = 'latest-published'", |digest| {
        let published = json!({"CodeSha256": digest, "Version": "$LATEST.PUBLISHED"});
        vec![
            on_instances("old"),
            answer(&json!({"CodeSha256": digest})),
            on_instances(digest),
            answer(&published),
            answer(&published),
            invoked(200, "$LATEST.PUBLISHED", &json!("ok"), ""),
            answer(&published),
        ]
    });
    let run = project.run(["--json", "invoke"]).success().stderr_lacks("Managed Instances");
    assert_eq!(run.target("upload")["version"], "$LATEST.PUBLISHED");
    let requests = server.requests();
    assert_eq!(requests[3], "POST /2015-03-31/functions/hello/versions");
    let publish: Value = serde_json::from_str(&server.bodies()[3]).unwrap();
    assert_eq!(publish["PublishTo"], "LATEST_PUBLISHED");
    assert!(requests[4].ends_with("/configuration?Qualifier=%24LATEST.PUBLISHED"), "{requests:?}");
    assert_eq!(calls(&server), ["?Qualifier=%24LATEST.PUBLISHED"]);
    // `verify` compares the code that callers get.
    let _ = project.run(["verify"]).success();
    assert!(server.requests()[6].ends_with("Qualifier=%24LATEST.PUBLISHED"));
}

#[test]
fn code_that_no_caller_of_instances_gets_is_warned_of() {
    let (_, project) = scripted("", |digest| {
        vec![
            on_instances("old"),
            answer(&json!({"CodeSha256": digest})),
            on_instances(digest),
            invoked(200, "$LATEST.PUBLISHED", &json!("old"), ""),
        ]
    });
    let run = project.run(["invoke"]).failure();
    let run = run.stderr_has("function `hello` runs on Managed Instances, where only published");
    let _ = run.stderr_has("its published code was called, not the uploaded code: set `publish = ");
}

#[test]
fn lambda_refers_to_a_version_of_an_object() {
    let keys = "s3 = { bucket = 'bundles', storage = 'reference' }";
    let begun =
        "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    let sent = |last| {
        move |digest: &str| {
            let configured = |digest: &str| answer(&json!({"CodeSha256": digest}));
            vec![
                configured("old"),
                plain(404, ""),
                plain(200, begun),
                plain(200, ""),
                last,
                configured(digest),
                configured(digest),
            ]
        }
    };
    let ended = plain(200, "<CompleteMultipartUploadResult/>");
    let (server, project) = scripted(keys, sent(with_header("x-amz-version-id: v7", &ended)));
    let _ = project.run(["upload"]).success();
    let update = update(&server);
    assert_eq!(update["S3ObjectStorageMode"], "REFERENCE");
    assert_eq!(update["S3ObjectVersion"], "v7");
    assert!(update.get("ZipFile").is_none());
    assert!(!server.requests().iter().any(|request| request.starts_with("DELETE")));

    // Without versions, a later upload under the same key would change the code of a function.
    let (server, project) = scripted(keys, sent(ended));
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.contains("bucket `bundles` has no versioning"), "{error}");
    assert!(!server.requests().iter().any(|request| request.starts_with("PUT /2015")));
}

#[test]
fn a_kms_key_goes_with_the_code_and_another_one_is_noticed() {
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1";
    let (server, project) = scripted(&format!("kms-key = '{arn}'"), |digest| {
        let configured = |digest: &str| answer(&json!({"CodeSha256": digest}));
        let stored = |key: &str| answer(&json!({"Code": {"SourceKMSKeyArn": key}}));
        let mut answers = vec![configured("old"), configured(digest), configured(digest)];
        // With -B, the preflight reads the function as well.
        answers.extend([configured(digest), configured(digest), stored(arn)]);
        answers.extend([configured(digest), configured(digest), stored("another")]);
        answers.extend([configured(digest), configured(digest)]);
        answers
    });
    let _ = project.run(["upload"]).success();
    assert_eq!(update(&server)["SourceKMSKeyArn"], arn);
    assert_eq!(server.requests().len(), 3);
    // Checked once more: nothing to do, then a key that another client changed.
    let again = |sent: bool| {
        let run = project.run(["--json", "-B", "upload"]).success();
        assert_eq!(run.target("upload")["sent"], sent, "{run}");
    };
    again(false);
    again(true);
    assert_eq!(server.requests()[5], "GET /2015-03-31/functions/hello");
}

#[test]
fn code_that_is_stored_in_another_way_is_sent_again() {
    let object = |bucket: &str| json!({"ResolvedS3Object": {"S3Bucket": bucket, "S3Key": "a.zip"}});
    let stored = |code: Value| answer(&json!({"Code": code}));
    let denied = failure(403, "AccessDeniedException", "no");
    let cases = [
        (stored(json!({})), false),
        (stored(json!({"SourceKMSKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1"})), true),
        (stored(object("bundles")), true),
        // Who may not look is taken to have the defaults.
        (denied, false),
    ];
    side_by_side(cases, |(found, sent)| {
        let (_, project) = scripted("", |digest| {
            let configured = answer(&json!({"CodeSha256": digest}));
            vec![configured.clone(), found, configured.clone(), configured]
        });
        let run = project.run(["--json", "upload"]).success();
        assert_eq!(run.target("upload")["sent"], sent, "{run}");
    });
    // The same bucket and another one.
    let keys = "s3 = { bucket = 'bundles', storage = 'reference' }";
    for (bucket, is_read_only) in [("bundles", true), ("others", false)] {
        let (server, project) = scripted(keys, |digest| {
            vec![answer(&json!({"CodeSha256": digest})), stored(object(bucket))]
        });
        let _ = project.run(["upload"]);
        assert_eq!(server.requests().len() == 2, is_read_only, "{:?}", server.requests());
    }
}

#[test]
fn an_alias_that_moved_or_went_although_it_was_right_at_first_is_an_error() {
    let alias = |version: &str| answer(&json!({"Name": "live", "FunctionVersion": version}));
    let gone = failure(404, "ResourceNotFoundException", "Alias not found");
    for (last, expected) in [
        (alias("4"), Some("alias `live` of function `hello` in eu-west-1 at http://127.0.0.1:")),
        (alias("4"), Some("was moved to version 4 by another client during this upload")),
        (gone, Some("was deleted by another client during this upload")),
        (alias("3"), None),
    ] {
        let (_, project) = scripted("alias = 'live'", |digest| {
            let function = answer(&json!({"CodeSha256": digest}));
            let versions =
                ["$LATEST", "3"].map(|version| json!({"Version": version, "CodeSha256": digest}));
            let versions = answer(&json!({"Versions": versions}));
            vec![alias("3"), function.clone(), versions, function, last]
        });
        let run = project.run(["--json", "upload"]);
        let error = run.target("upload")["error"].as_str().map(str::to_owned);
        match expected {
            Some(expected) => assert!(error.unwrap_or_default().contains(expected), "{run}"),
            None => assert_eq!(error, None, "{run}"),
        }
    }
}

#[test]
fn one_function_under_two_names_is_refused_before_anything_is_sent() {
    let arn = "arn:aws:lambda:eu-west-1:1:function:hello";
    let (server, project) =
        scripted("", |_| vec![answer(&json!({"CodeSha256": "old", "FunctionArn": arn})); 9]);
    let several = format!("functions = ['{arn}', 'hello'] #");
    project.write("Buildfile", uploading!().replace("function = ", &several));
    let expected = format!("`{arn}` and `hello` are the same function, `{arn}`: leave one");
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.starts_with(&expected), "{error}");

    let digest = aws_project::digest(&project);
    let functions = ["--function", "hello", "--function", arn];
    let args = [&["promote", "package", "--digest", &digest], &functions[..]].concat();
    let _ = Run::of(project.zipwright().args(args)).failure().stderr_has(&expected);
    assert!(!server.requests().iter().any(|request| request.starts_with("PUT")));
}

#[test]
fn a_function_that_cannot_be_called_has_no_live_code_and_one_line_of_reasons() {
    let (_, project) = scripted("", |digest| {
        let sent = answer(&json!({"CodeSha256": digest}));
        let failed = answer(&json!({"CodeSha256": digest, "State": "Failed",
            "StateReason": "no role\nmore of it"}));
        vec![answer(&json!({"CodeSha256": "old"})), sent, failed]
    });
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.ends_with("could not use it: no role; the function cannot be called"), "{error}");
}

#[test]
fn verify_finds_functions_that_do_not_run_the_code_of_a_zip() {
    for (more, expected) in [
        (json!({"State": "Deleting"}), "it is being deleted"),
        (json!({"PackageType": "Image"}), "it is made of a container image"),
        (json!({"State": "Failed", "StateReason": "no\nrole"}), "it cannot be called: no\n"),
    ] {
        let (_, project) = scripted("", |digest| {
            let mut function = json!({"CodeSha256": digest});
            function.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            vec![answer(&function)]
        });
        let run = project.run(["verify"]).status(1);
        assert!(run.stdout.contains(expected), "{run}");
    }
}

#[test]
fn refusals_of_what_is_not_signed_say_how_to_sign() {
    for (kind, expected) in [
        ("CodeVerificationFailedException", "AWS Signer"),
        ("InvalidCodeSignatureException", "AWS Signer"),
        ("CodeSigningConfigNotFoundException", "delete-function-code-signing-config"),
    ] {
        let refusal = failure(400, kind, "no");
        let (_, project) = scripted("", |_| vec![answer(&json!({"CodeSha256": "old"})), refusal]);
        let run = project.run(["--json", "upload"]).failure();
        let error = text(&run.target("upload"), "error");
        assert!(error.contains(kind) && error.contains(expected), "{error}");
        assert!(error.contains("still has the code with CodeSha256 old"), "{error}");
    }
}

#[test]
fn a_function_with_a_preview_runtime_is_uploaded_to_with_a_warning() {
    let (_, project) = scripted("", |digest| {
        vec![
            answer(&json!({"CodeSha256": "old", "Runtime": "python3.15"})),
            answer(&json!({"CodeSha256": digest})),
            answer(&json!({"CodeSha256": digest})),
        ]
    });
    let run = project.run(["upload"]).success();
    let run = run.stderr_has("[new-runtime] python3.15 is a preview in Lambda");
    let _ = run.stderr_has("skipped: `glibc`, `libstdcxx`");
}

#[test]
#[cfg(feature = "login")]
fn credentials_of_a_login_session_sign_the_requests() {
    let session = "arn:aws:iam::123456789012:user/somebody";
    let token = json!({
        "accessToken": {
            "accessKeyId": "ASIALOGINSESSION",
            "secretAccessKey": "secret-of-the-session",
            "sessionToken": "token-of-the-session",
            "accountId": "123456789012",
            "expiresAt": "2099-01-01T00:00:00Z",
        },
        "tokenType": "aws_sigv4",
        "refreshToken": "refresh",
        "clientId": "arn:aws:signin:::devtools/same-device",
        "dpopKey": "none is needed before the session ends",
    });
    let (server, mut project) = scripted("", |digest| vec![answer(&json!({"CodeSha256": digest}))]);
    let hex: Vec<String> =
        Sha256::digest(session).iter().map(|byte| format!("{byte:02x}")).collect();
    project.write(&format!("cache/{}.json", hex.concat()), token.to_string());
    project.write("config", format!("[default]\nlogin_session = {session}\n"));
    project.set("AWS_CONFIG_FILE", project.path("config").display());
    project.set("AWS_LOGIN_CACHE_DIRECTORY", project.path("cache").display());
    project.unset("AWS_ACCESS_KEY_ID");
    project.unset("AWS_SECRET_ACCESS_KEY");
    let _ = project.run(["upload"]).success();
    let head = server.heads().remove(0).to_lowercase();
    assert!(head.contains("credential=asialoginsession/"), "{head}");
    assert!(head.contains("x-amz-security-token: token-of-the-session"), "{head}");
}
