//! `verify` compares the deployed code with this checkout's build; `promote` deploys the same zip
//! elsewhere.

use serde_json::{Value, json};

use crate::aws_project::{self, NEW, OLD, create, digest, uploading};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::proxy::Proxy;
use crate::sandbox::{Run, Sandbox, text};
use crate::scripted::{Answer, Script, answer, bytes, failure, plain};

const BUILDFILE: &str = uploading!();

fn project(endpoint: &str) -> Sandbox {
    aws_project::project(BUILDFILE, endpoint)
}

#[track_caller]
fn json_of(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("no one object in\n{run}"))
}

#[test]
fn verify_builds_and_says_whether_that_is_what_is_deployed() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = project(&aws.endpoint());
    let live = |name: &str| text(&aws.function(name), "CodeSha256");
    let run = project.run(["verify"]).status(1);
    let here = digest(&project);
    let expected = format!(
        "upload: function `hello` differs\n  here     {here}\n  deployed {}\n",
        live("hello")
    );
    assert_eq!(run.stdout, expected, "{run}");
    assert_ne!(live("hello"), here, "verify uploads nothing");
    assert!(!project.exists("build/upload.stamp"));

    let run = project.run(["--json", "verify", "upload", "--diff"]).status(1);
    let all = json_of(&run);
    let found = &all["functions"][0];
    assert_eq!((&all["verdict"], &found["verdict"]), (&json!("differs"), &json!("differs")));
    assert_eq!((&found["here"], &found["version"]), (&json!(here), &json!("$LATEST")));
    let changes = found["difference"]["changes"].as_array().unwrap();
    let content = changes.iter().find(|change| change["what"] == "content").unwrap();
    assert_eq!(content["path"], "app.py");
    assert!(content["content"]["details"].to_string().contains("-    return 'old'"), "{content}");

    let _ = project.run(["upload"]).success();
    let run = project.run(["verify", "--diff"]).success();
    assert!(run.stdout.starts_with("upload: function `hello` identical\n"), "{run}");
    // Unlike a stamp, it notices code of another client.
    aws.update_code("hello", &bundle("app.py", OLD));
    assert_eq!(
        project.run(["--json", "upload"]).success().target("upload")["outcome"],
        "up-to-date"
    );
    let run = project.run(["verify", "--diff"]).status(1);
    assert!(run.stdout.contains("app.py"), "{run}");
    // It is kept for other tools.
    let kept = ".zipwright/deployed/hello.zip";
    assert!(run.stdout.contains(&format!("differs: `{kept}` and `build/lambda.zip`")), "{run}");
    assert_eq!(project.bytes(kept), bundle("app.py", OLD));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn with_an_alias_its_version_is_what_is_deployed() {
    let aws = Emulator::ministack();
    create(&aws);
    aws.publish("hello", "live");
    let project = project(&aws.endpoint());
    project.write("Buildfile", format!("{BUILDFILE}publish = true\n"));
    let _ = project.run(["upload"]).success();
    assert_eq!(project.run(["verify"]).success().code, Some(0));
    project.write("Buildfile", format!("{BUILDFILE}alias = 'live'\n"));
    let run = project.run(["--json", "verify"]).status(1);
    let all = json_of(&run);
    assert_eq!(all["functions"][0]["deployed"], code_sha256(&bundle("app.py", OLD)), "{run}");
    assert_eq!(all["functions"][0]["version"], "1");
    let _ = project.run(["upload"]).success();
    let run = project.run(["verify"]).success();
    assert!(run.stdout.contains(" (alias live, version 2)\n"), "{run}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn verify_cannot_say_without_a_function_a_build_or_an_upload() {
    let aws = Emulator::ministack();
    let project = project(&aws.endpoint());
    let run = project.run(["verify"]).failure().stderr_has("could not read function `hello`");
    assert_eq!(run.stdout, "");
    let _ =
        project.run(["verify", "package"]).failure().stderr_has("`package` is of kind `zip`; only");
    project.remove("app.py");
    let run = project.run(["verify"]).failure().stderr_has("app.py");
    assert_eq!(run.stdout, "");
    let (zip, _) = BUILDFILE.split_once("[target.upload]").unwrap();
    project.write("Buildfile", zip);
    let _ = project.run(["verify"]).failure().stderr_has("the Buildfile has no upload");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn moto_is_verified_as_well() {
    let aws = Emulator::moto();
    create(&aws);
    let project = project(&aws.endpoint());
    let _ = project.run(["verify"]).status(1);
    let _ = project.run(["upload"]).success();
    let _ = project.run(["verify"]).success();
}

/// Returns a function with other code, at the address `location`.
fn lying(location: &str, more: Vec<Answer>) -> (Script, Sandbox) {
    let live = json!({"CodeSha256": code_sha256(b"theirs"), "CodeSize": 6, "Version": "$LATEST"});
    let found = json!({"Configuration": live, "Code": {"Location": location}});
    let mut answers = vec![answer(&live), answer(&found)];
    answers.extend(more);
    let server = Script::new(answers);
    let project = project(&server.endpoint());
    (server, project)
}

#[test]
fn what_is_fetched_is_bounded_checked_and_never_leaves_this_machine() {
    const SIGNATURE: &str = "X-Amz-Signature=0123456789abcdef0123456789abcdef";
    // The script's own port is unknown before it listens, so another server has the code.
    let lies = |body: Answer| {
        let shelf = Script::new(vec![body]);
        let (_, project) = lying(&format!("{}/code?{SIGNATURE}", shelf.endpoint()), Vec::new());
        project.run(["verify", "--diff"])
    };
    let elsewhere = {
        let (_, project) = lying(&format!("http://192.0.2.1/code?{SIGNATURE}"), Vec::new());
        project.run(["verify", "--diff"])
    };
    for (run, says) in [
        (lies(plain(403, "<Error/>")), "could not fetch the code of function `hello`: HTTP 403"),
        (lies(plain(200, "longer than it should be")), "it has more than 6 bytes"),
        (lies(plain(200, "others")), "the code fetched for function `hello` has CodeSha256 "),
        (elsewhere, "`http://192.0.2.1` is not an http address on loopback"),
    ] {
        let run = run.failure().stderr_has(says);
        assert!(!run.to_string().contains(SIGNATURE), "{run}");
    }
}

#[test]
fn the_code_of_an_alias_is_fetched_as_its_version() {
    // MiniStack has one address for a function, for all versions.
    let theirs = bundle("app.py", OLD);
    let shelf = Script::new(vec![bytes(200, &theirs)]);
    let live = json!({
        "CodeSha256": code_sha256(&theirs), "CodeSize": theirs.len(), "Version": "3",
        "State": "Active", "LastUpdateStatus": "Successful",
    });
    let location = json!({"Location": format!("{}/code", shelf.endpoint())});
    let server = Script::new(vec![
        answer(&json!({"Name": "live", "FunctionVersion": "3"})),
        answer(&live),
        answer(&json!({"Configuration": live, "Code": location})),
    ]);
    let project = project(&server.endpoint());
    project.write("Buildfile", format!("{BUILDFILE}alias = 'live'\n"));
    let run = project.run(["verify", "--diff"]).status(1);
    assert!(run.stdout.contains(" (alias live, version 3)\n"), "{run}");
    assert!(run.stdout.contains("app.py"), "{run}");
    // An upload to another alias has a file of its own.
    let kept = ".zipwright/deployed/hello@live.zip";
    assert!(run.stdout.contains(kept) && project.exists(kept), "{run}");
    let asked = server.requests();
    assert_eq!(asked[1], "GET /2015-03-31/functions/hello/configuration?Qualifier=live");
    assert_eq!(asked[2], "GET /2015-03-31/functions/hello?Qualifier=3");
}

#[test]
fn an_alias_that_is_shared_is_a_difference_and_one_that_is_missing_cannot_be_said() {
    let mut project = project("http://127.0.0.1:1");
    project.write("Buildfile", format!("{BUILDFILE}alias = 'live'\n"));
    let _ = project.run(["package"]).success();
    let live = json!({"CodeSha256": digest(&project)});
    let alias = json!({
        "Name": "live", "FunctionVersion": "3",
        "RoutingConfig": {"AdditionalVersionWeights": {"4": 0.1}},
    });
    let server = Script::new(vec![answer(&alias), answer(&live)]);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let run = project.run(["verify"]).status(1);
    assert!(run.stdout.contains("`live` sends a part of its calls to version `4`"), "{run}");
    let gone = failure(404, "ResourceNotFoundException", "Alias not found");
    let server = Script::new(vec![gone]);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let _ = project.run(["verify"]).failure().stderr_has("has no alias `live`");
}

#[test]
fn a_failed_update_is_a_difference_whatever_the_digests_are() {
    let mut project = project("http://127.0.0.1:1");
    let _ = project.run(["package"]).success();
    let digest = digest(&project);
    let server = Script::new(vec![answer(&json!({
        "CodeSha256": digest, "LastUpdateStatus": "Failed", "LastUpdateStatusReason": "no room"
    }))]);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let run = project.run(["verify"]).status(1);
    assert!(run.stdout.contains("its last update failed: no room"), "{run}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_same_zip_goes_to_others_by_its_digest_and_no_other_does() {
    let aws = Emulator::ministack();
    for name in ["hello", "prod-a", "prod-b"] {
        aws.create_function(name, "x86_64", &bundle("app.py", OLD));
    }
    let project = project(&aws.endpoint());
    let _ = project.run(["upload"]).success();
    let digest = digest(&project);
    let promote = |zip: &str, digest: &str, more: &[&str]| {
        let args = ["promote", zip, "--digest", digest, "--function", "prod-a"];
        Run::of(project.zipwright().args(args).args(more))
    };
    let live = |name: &str| text(&aws.function(name), "CodeSha256");

    let other = code_sha256(b"another");
    let run = promote("build/lambda.zip", &other, &[]).failure();
    let _ = run.stderr_has(&format!("its CodeSha256 is {digest}, not {other}; nothing was sent"));
    let _ = promote("build/lambda.zip", "12", &[]).failure().stderr_has("`12` is not a digest");
    // If one function is missing, none is changed.
    let run = promote("build/lambda.zip", &digest, &["--function", "gone"]).failure();
    let _ = run.stderr_has("nothing was sent, because of function `gone`");
    let run = promote("build/lambda.zip", &digest, &["--function", "a:live"]).failure();
    let _ = run.stderr_has("`a:live` cannot be the name of a function");
    assert_eq!(live("prod-a"), code_sha256(&bundle("app.py", OLD)));

    // Only the zip counts, even if the sources changed.
    project.write("app.py", OLD);
    let run = promote("package", &digest, &["--function", "prod-b", "--alias", "live"]).success();
    let expected = |name| format!("function `{name}` has {digest}, version 1, alias live\n");
    assert_eq!(run.stdout, expected("prod-a") + &expected("prod-b"), "{run}");
    assert_eq!((live("prod-a"), live("prod-b")), (digest.clone(), digest.clone()));
    assert_eq!(aws.alias("prod-b", "live"), "1");

    let hex: String = project.sh("sha256sum build/lambda.zip | cut -d' ' -f1 | tr -d '\\n'").stdout;
    let run = promote("build/lambda.zip", &hex, &["--json", "--publish"]).success();
    let expected = json!({"code_sha256": digest, "s3": null, "functions": [
        {"function": "prod-a", "sent": false, "version": "1", "alias": null}
    ]});
    assert_eq!(json_of(&run), expected);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_zip_that_no_request_can_hold_is_promoted_by_way_of_s3() {
    let aws = Emulator::ministack_alone();
    aws.create_bucket("bundles");
    for name in ["one", "two"] {
        aws.create_function(name, "x86_64", &bundle("app.py", OLD));
    }
    let project = project(&aws.endpoint());
    let _ = project.sh("head -c 53000000 /dev/zero > data.bin").success();
    let sources = BUILDFILE.replace("[\"app.py\"]", "[\"app.py\", \"data.bin\"]");
    project.write("Buildfile", sources);
    let _ = project.run(["package"]).success();
    let digest = digest(&project);
    let args =
        ["promote", "package", "--digest", &digest, "--function", "one", "--function", "two"];
    let _ = project.run(args).failure().stderr_has("add `--s3 BUCKET`, with a bucket of the");
    let with = |s3: &str| Run::of(project.zipwright().args(args).args(["--json", "--s3", s3]));
    let _ = with("Bad_Bucket/x").failure().stderr_has("cannot be the name of a bucket");
    let run = with("s3://bundles/tested/").success();
    let all = json_of(&run);
    let stored = text(&all, "s3");
    assert!(stored.starts_with("s3://bundles/tested/") && stored.ends_with(".zip"), "{stored}");
    let (status, there) = aws.s3(stored.strip_prefix("s3:/").unwrap());
    assert_eq!((status, code_sha256(&there)), (200, digest.clone()));
    for name in ["one", "two"] {
        assert_eq!(text(&aws.function(name), "CodeSha256"), digest);
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_bundle_that_cannot_run_there_is_not_promoted() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = project(&aws.endpoint());
    project.write("lambda.zip", bundle("other.py", NEW));
    let digest = code_sha256(&bundle("other.py", NEW));
    let args = ["promote", "lambda.zip", "--digest", &digest, "--function", "hello"];
    let run = project.run(args).failure().stderr_has("nothing was sent; `--silence RULE`");
    let run = run.stderr_has("[handler-module]");
    assert_eq!(
        text(&aws.function("hello"), "CodeSha256"),
        code_sha256(&bundle("app.py", OLD)),
        "{run}"
    );
    let silent = [&args[..], &["--silence", "handler-module"]].concat();
    let _ = Run::of(project.zipwright().args(silent)).success();
    assert_eq!(text(&aws.function("hello"), "CodeSha256"), digest);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_profile_wins_over_credentials_of_the_environment() {
    let aws = Emulator::ministack();
    create(&aws);
    let proxy = Proxy::new(&aws.endpoint(), Vec::new());
    let mut project = project(&proxy.endpoint());
    project.set("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT00000");
    let key = aws.key();
    project.write("../home/.aws/config", "[profile prod]\nregion = sa-east-1\n");
    let keys = format!("[prod]\naws_access_key_id = {key}\naws_secret_access_key = test\n");
    project.write("../home/.aws/credentials", keys);
    let _ = project.run(["package"]).success();
    let digest = digest(&project);
    let args =
        ["promote", "package", "--digest", &digest, "--function", "hello", "--profile", "prod"];
    let run = project.run(args).success();
    let heads = proxy.heads().concat();
    assert!(heads.contains(&format!("Credential={key}/")), "{heads}");
    assert!(!heads.contains("AKIAENVIRONMENT"), "{heads}\n{run}");
    let unknown = [&args[..8], &["nobody"]].concat();
    let run = Run::of(project.zipwright().args(unknown)).failure();
    assert!(run.stderr.contains("nobody"), "{run}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_upload_of_a_digest_takes_no_other_zip() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = project(&aws.endpoint());
    let _ = project.run(["package"]).success();
    let digest = digest(&project);
    let other = code_sha256(b"another");
    let run = project.run(["--json", "upload", "--digest", &other]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.contains(&format!("its CodeSha256 is {digest}, not {other}")), "{error}");
    assert_eq!(text(&aws.function("hello"), "CodeSha256"), code_sha256(&bundle("app.py", OLD)));

    let run = project.run(["--json", "upload", "--digest", &digest]).success();
    assert_eq!(run.target("upload")["sent"], true);
    // It does not affect up-to-date targets, and is checked even if everything is up to date.
    let run = project.run(["--json", "upload"]).success();
    assert_eq!(run.target("upload")["outcome"], "up-to-date");
    let _ = project.run(["upload", "--digest", &other]).failure();
    let _ = project.run(["package", "--digest", &digest]).failure().stderr_has("no goal needs one");
}

#[test]
fn verify_says_what_lambda_refuses() {
    let server = Script::new(vec![failure(403, "AccessDeniedException", "not for you")]);
    let project = project(&server.endpoint());
    let run = project.run(["verify"]).failure();
    let _ = run.stderr_has("AccessDeniedException: not for you; zipwright needs");
}
