//! Steps of an upload after the code: versions, aliases, several functions; and which of them an
//! invoke then calls. Module `aws` tests the code itself, `outages` tests failures.

use serde_json::{Value, json};

use crate::emulators::{Emulator, REGION, bundle, code_sha256};
use crate::sandbox::{Run, Sandbox, text};

const BUNDLE: &str = r#"
[target.staging]
kind = "staging"
sources = ["app.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
compression = "store"
"#;

const OLD: &str = "def handler(event, context):\n    return 'old'\n";
const NEW: &str = "def handler(event, context):\n    return 'new'\n";
const NEWER: &str = "def handler(event, context):\n    return 'newer'\n";

fn project(aws: &Emulator, keys: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(&format!(
        "{BUNDLE}\n[target.upload]\nkind = 'upload'\nzip = 'package'\n{keys}\n\
         [target.invoke]\nkind = 'invoke'\nupload = 'upload'\n"
    ));
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_ENDPOINT_URL", aws.endpoint());
    sandbox.write("app.py", NEW);
    sandbox
}

#[track_caller]
fn upload(sandbox: &Sandbox, args: &[&str]) -> Value {
    let run = Run::of(sandbox.zipwright().args(["--json", "upload"]).args(args)).success();
    run.target("upload")
}

#[track_caller]
fn upload_error(sandbox: &Sandbox) -> String {
    let run = sandbox.run(["--json", "upload"]).failure();
    assert!(!sandbox.exists("build/upload.stamp"), "{run}");
    text(&run.target("upload"), "error")
}

#[test]
fn a_version_is_published_and_the_alias_leads_there_once() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "x86_64", &bundle("app.py", OLD));
    let project = project(&aws, "function = 'hello'\nalias = 'live'");
    let run = project.run(["--json", "upload"]).success();
    let first = run.target("upload");
    assert_eq!((&first["version"], &first["alias"]), (&json!("1"), &json!("live")), "{run}");
    assert!(run.stdout.contains("had no alias `live`: it was created"), "{run}");
    assert_eq!((aws.alias("hello", "live"), aws.versions("hello")), ("1".into(), vec!["1".into()]));

    // The same code never gives a second version, and the alias is not touched.
    let again = upload(&project, &["-B"]);
    assert_eq!((&again["sent"], &again["version"]), (&json!(false), &json!("1")));
    assert_eq!(aws.versions("hello"), ["1"]);

    project.write("app.py", NEWER);
    let newer = upload(&project, &[]);
    assert_eq!((&newer["sent"], &newer["version"]), (&json!(true), &json!("2")));
    assert_eq!((aws.alias("hello", "live"), aws.versions("hello").len()), ("2".into(), 2));

    // A rollback uses the version that exists.
    project.write("app.py", NEW);
    assert_eq!(upload(&project, &[])["version"], "1");
    assert_eq!((aws.alias("hello", "live"), aws.versions("hello").len()), ("1".into(), 2));

    // With another configuration, the same code is another version.
    aws.configure("hello", &json!({"Timeout": 9}));
    assert_eq!(upload(&project, &["-B"])["version"], "3");
    assert_eq!(aws.alias("hello", "live"), "3");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_invoke_calls_what_was_published_and_notices_another() {
    let aws = Emulator::ministack_alone();
    aws.create_function("hello", "x86_64", &bundle("app.py", OLD));
    let published = project(&aws, "function = 'hello'\npublish = true");
    let run = published.run(["--json", "invoke"]).success();
    assert_eq!(run.target("invoke")["executed_version"], "1", "{run}");
    // The upload is up to date, so the version published then is called.
    aws.update_code("hello", &bundle("app.py", OLD));
    let run = published.run(["invoke"]).success();
    assert_eq!(run.stdout, "\"new\"\n");

    let led = project(&aws, "function = 'hello'\nalias = 'live'");
    let run = led.run(["--json", "invoke"]).success();
    assert_eq!(run.target("invoke")["executed_version"], "1", "{run}");
    // Another client points the alias to other code.
    aws.update_code("hello", &bundle("app.py", OLD));
    let theirs = aws.publish("hello", "theirs");
    aws.move_alias("hello", "live", &json!({"FunctionVersion": theirs}));
    let run = led.run(["invoke"]).failure();
    let run = run.stderr_has("version 2 of function `hello` ran instead of 1: ");
    assert_eq!(run.stdout, "", "the answer of other code is no answer");
    // A user can call that version explicitly.
    assert_eq!(led.run(["invoke", "--qualifier", "theirs"]).success().stdout, "\"old\"\n");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn an_alias_that_somebody_shares_out_is_left_alone() {
    let aws = Emulator::ministack();
    aws.create_function("hello", "x86_64", &bundle("app.py", OLD));
    aws.publish("hello", "live");
    aws.update_code("hello", &bundle("app.py", NEWER));
    let other = aws.publish("hello", "other");
    let share = json!({"RoutingConfig": {"AdditionalVersionWeights": {other: 0.1}}});
    aws.move_alias("hello", "live", &share);
    let project = project(&aws, "function = 'hello'\nalias = 'live'");
    let error = upload_error(&project);
    assert!(
        error.contains("sends a part of its calls to version `2` and the rest to 1"),
        "{error}"
    );
    assert_ne!(aws.function("hello")["CodeSha256"], code_sha256(&bundle("app.py", NEW)));
    assert_eq!(aws.versions("hello").len(), 2, "nothing was published either");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn several_functions_get_the_code_and_the_one_that_fails_is_named() {
    let aws = Emulator::ministack_alone();
    for name in ["one", "two"] {
        aws.create_function(name, "x86_64", &bundle("app.py", OLD));
    }
    let project = project(&aws, "functions = ['one', 'gone', 'two']\npublish = true");
    project.write(
        "Buildfile",
        project
            .read("Buildfile")
            .replace("upload = 'upload'", "upload = 'upload'\nfunction = 'two'"),
    );
    let _ = project.run(["package"]).success();
    let error = upload_error(&project);
    assert!(
        error.starts_with("1 of 3 functions failed:\n`gone`: could not read function"),
        "{error}"
    );
    assert!(error.ends_with("done, and not done again: `one` and `two`"), "{error}");
    let digest = code_sha256(&project.bytes("build/lambda.zip"));
    let revision = |name: &str| aws.function(name)["RevisionId"].clone();
    let revisions = ["one", "two"].map(revision);
    for name in ["one", "two"] {
        assert_eq!(aws.function(name)["CodeSha256"], digest);
    }

    aws.create_function("gone", "x86_64", &bundle("app.py", OLD));
    let done = upload(&project, &[]);
    assert_eq!(done["sent"], true, "{done}");
    let all = done["functions"].as_array().unwrap();
    let sent: Vec<bool> = all.iter().map(|one| one["sent"].as_bool().unwrap()).collect();
    assert_eq!(sent, [false, true, false]);
    assert_eq!((&all[1]["function"], &all[1]["version"]), (&json!("gone"), &json!("1")));
    assert_eq!(["one", "two"].map(revision), revisions, "nothing was done twice");
    assert_eq!(aws.versions("one"), ["1"]);

    let run = project.run(["--json", "invoke"]).success();
    assert_eq!(run.target("invoke")["executed_version"], "1");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn moto_publishes_and_leads_as_well() {
    let aws = Emulator::moto();
    aws.create_function("hello", "x86_64", &bundle("app.py", OLD));
    let project = project(&aws, "function = 'hello'\nalias = 'live'");
    assert_eq!(upload(&project, &[])["version"], "1");
    assert_eq!(aws.alias("hello", "live"), "1");
    assert_eq!(upload(&project, &["-B"])["version"], "1");
    assert_eq!(aws.versions("hello"), ["1"]);
}
