//! Steps of an upload after the code: versions, aliases, several functions; and which of them an
//! invoke then calls. Module `aws` tests the code itself, `outages` tests failures.

use serde_json::json;

use crate::aws_project::{self, NEW, OLD, create, digest, upload, upload_error, uploading};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::sandbox::Sandbox;

const NEWER: &str = "def handler(event, context):\n    return 'newer'\n";

/// Returns a project whose upload has these keys.
fn project(aws: &Emulator, keys: &str) -> Sandbox {
    let invoke = "[target.invoke]\nkind = 'invoke'\nupload = 'upload'\n";
    aws_project::project(&[uploading!(), keys, "\n", invoke].concat(), &aws.endpoint())
}

#[test]
fn a_version_is_published_and_the_alias_leads_there_once() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = project(&aws, "alias = 'live'");
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
    create(&aws);
    let published = project(&aws, "publish = true");
    let run = published.run(["--json", "invoke"]).success();
    assert_eq!(run.target("invoke")["executed_version"], "1", "{run}");
    // The upload is up to date, so the version published then is called.
    aws.update_code("hello", &bundle("app.py", OLD));
    let run = published.run(["invoke"]).success();
    assert_eq!(run.stdout, "\"new\"\n");

    let led = project(&aws, "alias = 'live'");
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
fn an_alias_that_divides_its_calls_is_left_alone() {
    let aws = Emulator::ministack();
    create(&aws);
    aws.publish("hello", "live");
    aws.update_code("hello", &bundle("app.py", NEWER));
    let other = aws.publish("hello", "other");
    let share = json!({"RoutingConfig": {"AdditionalVersionWeights": {other: 0.1}}});
    aws.move_alias("hello", "live", &share);
    let project = project(&aws, "alias = 'live'");
    let error = upload_error(&project);
    assert!(
        error.contains("sends a part of its calls to version `2` and the rest to `1`"),
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
    let project = project(&aws, "publish = true");
    let buildfile = project.read("Buildfile");
    let buildfile = buildfile.replace("function = \"hello\"", "functions = ['one', 'gone', 'two']");
    project.write("Buildfile", buildfile + "function = 'two'\n");
    let _ = project.run(["package"]).success();
    let error = upload_error(&project);
    assert!(
        error.starts_with("1 of 3 functions failed:\n`gone`: could not read function"),
        "{error}"
    );
    assert!(error.ends_with("done, and not done again: `one` and `two`"), "{error}");
    let digest = digest(&project);
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
    create(&aws);
    let project = project(&aws, "alias = 'live'");
    assert_eq!(upload(&project, &[])["version"], "1");
    assert_eq!(aws.alias("hello", "live"), "1");
    assert_eq!(upload(&project, &["-B"])["version"], "1");
    assert_eq!(aws.versions("hello"), ["1"]);
}
