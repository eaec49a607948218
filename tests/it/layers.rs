//! Layers: published if changed, attached to functions, read by checks and used by handlers;
//! against MiniStack and moto, a server with scripted responses, and locally.

use std::path::Path;

use serde_json::{Value, json};

use crate::aws_project::{self, create, uploading};
use crate::emulators::{Emulator, bundle, code_sha256};
use crate::sandbox::{Run, Sandbox, side_by_side, text};
use crate::scripted::{Answer, Script, answer, failure};

/// The example of docs/BUILDFILE.md.
const EXAMPLE: &str = r#"
default = ["upload"]

[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]

[target.dependencies]
kind = "staging"
wheels = ["wheels"]

[target.deps]
kind = "zip"
staging = "dependencies"
below = "python"

[target.deps-layer]
kind = "layer"
zip = "deps"
name = "hello-deps"

[target.code]
kind = "staging"
sources = ["app.py"]

[target.package]
kind = "zip"
staging = "code"
output = "build/lambda.zip"

[target.upload]
kind = "upload"
zip = "package"
function = "hello"
layers = ["deps-layer"]

[target.invoke]
kind = "invoke"
upload = "upload"
handler = "app.handler"         # for `zipwright invoke --local`
"#;

const APP: &str = "
import iniconfig
def handler(event, context):
    return iniconfig.__file__
";

/// Returns a project with a dependency in a layer, and nothing built.
fn example(endpoint: &str) -> Sandbox {
    let sandbox = aws_project::project(EXAMPLE, endpoint);
    sandbox.write("requirements.txt", "iniconfig==2.1.0\n").write("app.py", APP);
    sandbox
}

/// Buildfile whose layer is a single file, so that it needs no wheels.
const SMALL: &str = uploading!(
    r#"layers = ["layer"]

[target.shared]
kind = "staging"
sources = [{ from = "shared", to = "." }]

[target.shared-zip]
kind = "zip"
staging = "shared"
below = "python"

[target.layer]
kind = "layer"
zip = "shared-zip"
name = "shared"
"#
);

fn small(endpoint: &str) -> Sandbox {
    let sandbox = aws_project::project(SMALL, endpoint);
    sandbox.write("shared/kit.py", "x = 1\n");
    sandbox.write("app.py", "import kit\ndef handler(event, context):\n    return kit.x\n");
    sandbox
}

/// Returns the event of a target's successful run.
#[track_caller]
fn event(sandbox: &Sandbox, args: &[&str], target: &str) -> Value {
    Run::of(sandbox.zipwright().arg("--json").args(args)).success().target(target)
}

fn digest(sandbox: &Sandbox, zip: &str) -> String {
    code_sha256(&sandbox.bytes(zip))
}

#[test]
fn the_example_is_the_documented_one() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BUILDFILE.md"));
    let body = EXAMPLE.trim_start().split_once("\n\n").unwrap().1;
    assert!(page.unwrap().contains(body), "docs/BUILDFILE.md has another example");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_dependency_lives_in_a_layer() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let project = example(&aws.endpoint());
    let run = project.run(["--json"]).success();
    let layer = run.target("deps-layer");
    assert_eq!((&layer["published"], &layer["version"]), (&json!(true), &json!(1)), "{layer}");
    assert_eq!(layer["code_sha256"], digest(&project, "build/deps.zip"));
    let upload = run.target("upload");
    assert_eq!((&upload["sent"], &upload["attached"]), (&json!(true), &json!(true)));
    assert_eq!(upload["layers"], json!([layer["arn"]]));
    assert_eq!(aws.layers_of("hello"), [text(&layer, "arn")]);
    let content = &aws.layer_version("hello-deps", 1)["Content"];
    assert_eq!(content["CodeSha256"], digest(&project, "build/deps.zip"));

    // The content of each zip, and of its build record.
    let names = |zip: &str| project.sh(&format!("unzip -Z1 {zip}")).success().stdout;
    assert_eq!(names("build/lambda.zip"), "app.py\n");
    let in_layer = names("build/deps.zip");
    assert!(in_layer.starts_with("python/\npython/iniconfig-2.1.0.dist-info/"), "{in_layer}");
    assert!(in_layer.lines().all(|name| name.starts_with("python/")), "{in_layer}");
    let record: Value = serde_json::from_str(&project.read("build/deps.zip.record.json")).unwrap();
    assert!(text(&record["members"][0], "path").starts_with("python/iniconfig"), "{record}");

    let run = project.run(["invoke"]).success();
    assert!(run.stdout.contains("iniconfig/__init__.py"), "{run}");

    // No request is sent, and with -B no code.
    let outcomes = project.outcomes(["upload"]);
    assert!(outcomes.values().all(|outcome| outcome == "up-to-date"), "{outcomes:?}");
    let before = aws.function("hello");
    let run = project.run(["--json", "-B", "upload"]).success();
    assert_eq!(run.target("deps-layer")["published"], false);
    let upload = run.target("upload");
    assert_eq!((&upload["sent"], &upload["attached"]), (&json!(false), &json!(false)));
    assert_eq!(aws.function("hello")["RevisionId"], before["RevisionId"]);

    // An edit of the code does not change the layer.
    project.write("app.py", APP.replace("__file__", "__doc__"));
    let run = project.run(["--json", "upload"]).success();
    assert_eq!(run.target("deps-layer")["outcome"], "up-to-date");
    let upload = run.target("upload");
    assert_eq!((&upload["sent"], &upload["attached"]), (&json!(true), &json!(false)));
    assert_eq!(aws.layer_versions("hello-deps").len(), 1);
}

/// The import comes from the layer, which is unpacked, and nothing is published.
#[test]
fn a_local_run_has_the_layers_of_its_upload() {
    let mut project = example("http://127.0.0.1:1");
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-cache");
    project.set("XDG_CACHE_HOME", cache.display());
    let run = project.run(["invoke", "--local"]).success();
    assert!(run.stdout.ends_with(".zipwright/local/invoke/opt/python/iniconfig/__init__.py\"\n"));
    let outcomes = project.outcomes(["invoke", "--local"]);
    let ran = |name: &str| outcomes.get(name).map(String::as_str);
    assert_eq!((ran("deps"), ran("deps-layer"), ran("upload")), (Some("up-to-date"), None, None));

    let local = "[target.try]\nkind = 'invoke'\nlocal = true\nzip = 'package'\n\
                 handler = 'app.handler'\n";
    project.write("Buildfile", format!("{EXAMPLE}\n{local}"));
    let run = project.run(["try"]).failure();
    let _ = run.stderr_has("No module named 'iniconfig'");
    project.write("Buildfile", format!("{EXAMPLE}\n{local}layers = ['deps']\n"));
    let _ = project.run(["try"]).success();
    project.write("Buildfile", format!("{EXAMPLE}\n{local}layers = ['deps-layer']\n"));
    let run = project.run(["try"]).failure();
    let _ = run.stderr_has("`deps-layer` is a `layer`, expected a `zip`");
}

#[test]
fn a_layer_is_published_when_it_changed_and_functions_follow() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = small(&aws.endpoint());
    let first = event(&project, &["upload"], "layer");
    // A version that another client published has other content, and stays.
    aws.publish_layer("shared", &bundle("python/kit.py", "x = 'drift'\n"));
    let again = event(&project, &["-B", "layer"], "layer");
    assert_eq!((&again["version"], &again["published"]), (&json!(3), &json!(true)), "{again}");
    assert_eq!(again["code_sha256"], first["code_sha256"]);

    project.write("shared/kit.py", "x = 2\n");
    let run = project.run(["--json", "upload"]).success();
    let (layer, upload) = (run.target("layer"), run.target("upload"));
    assert_eq!((&layer["version"], &upload["attached"]), (&json!(4), &json!(true)));
    assert_eq!(upload["sent"], false, "its own code is unchanged");
    assert_eq!(aws.layers_of("hello"), [text(&layer, "arn")]);

    // The runtimes are part of a version.
    let buildfile =
        SMALL.replace("name = \"shared\"", "name = \"shared\"\nruntimes = ['python3.11']");
    project.write("Buildfile", buildfile);
    let layer = event(&project, &["upload"], "layer");
    assert_eq!((&layer["version"], &layer["published"]), (&json!(5), &json!(true)), "{layer}");
    let live = aws.layer_version("shared", 5);
    assert_eq!(live["CompatibleRuntimes"], json!(["python3.11"]));
    assert_eq!(event(&project, &["-B", "layer"], "layer")["published"], false);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn verify_counts_layers_like_code() {
    let aws = Emulator::ministack();
    create(&aws);
    let project = small(&aws.endpoint());
    let _ = project.run(["package"]).success();
    aws.update_code("hello", &project.bytes("build/lambda.zip"));
    let run = project.run(["verify"]).status(1);
    assert!(run.stdout.contains("  deployed not attached (layer shared)"), "{run}");
    assert!(!project.exists("build/layer.stamp"), "nothing is published");
    let _ = project.run(["upload"]).success();
    let run = project.run(["verify"]).success();
    assert!(run.stdout.starts_with("upload: function `hello` identical\n"), "{run}");

    project.write("shared/kit.py", "x = 2\n");
    let run = project.run(["--json", "verify"]).status(1);
    let report = &run.events()[0]["functions"][0];
    assert_eq!((&report["verdict"], &report["here"]), (&json!("differs"), &report["deployed"]));
    let layer = &report["layers"][0];
    assert_eq!(layer["here"], digest(&project, "build/shared-zip.zip"));
    assert_eq!(layer["deployed"], aws.layer_version("shared", 1)["Content"]["CodeSha256"]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn layers_of_others_stay_in_front() {
    let aws = Emulator::ministack();
    create(&aws);
    let watcher = aws.publish_layer("watcher", &bundle("python/watch.py", ""));
    let old = aws.publish_layer("shared", &bundle("python/kit.py", "old = 1\n"));
    aws.set_layers("hello", &[&old, &watcher]);
    let project = small(&aws.endpoint());
    let arn = text(&event(&project, &["upload"], "layer"), "arn");
    assert_eq!(aws.layers_of("hello"), [watcher.clone(), arn.clone()]);
    // A layer that the Buildfile no longer names is not removed.
    project.write("Buildfile", SMALL.replace("layers = [\"layer\"]", ""));
    let _ = project.run(["upload"]).success();
    assert_eq!(aws.layers_of("hello"), [watcher, arn]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn too_many_layers_and_layers_for_others_are_refused_before_anything_is_sent() {
    let aws = Emulator::ministack();
    let old = bundle("app.py", "old = 1\n");
    aws.create_function("hello", "x86_64", &old);
    let project = small(&aws.endpoint());
    let error = |extra: &str| {
        let buildfile = SMALL.replace("name = \"shared\"", &format!("name = \"shared\"\n{extra}"));
        project.write("Buildfile", buildfile);
        let run = project.run(["--json", "upload"]).failure();
        assert_eq!(aws.function("hello")["CodeSha256"], code_sha256(&old));
        text(&run.target("upload"), "error")
    };
    let found = error("runtimes = ['python3.12', 'python3.13']");
    let expected = "layer `layer` is for python3.12, python3.13, and function `hello` is python3.11 \
                    on x86_64; nothing was sent";
    assert!(found.contains(expected), "{found}");
    assert!(error("archs = ['arm64']").contains("layer `layer` is for arm64, and function"));
    assert_eq!(aws.layers_of("hello"), [""; 0]);

    let others: Vec<String> = (1..=5)
        .map(|number| aws.publish_layer(&format!("other-{number}"), &bundle("python/a.py", "")))
        .collect();
    aws.set_layers("hello", &others.iter().map(String::as_str).collect::<Vec<_>>());
    let found = error("");
    assert!(found.contains("would have 6 layers, and Lambda's limit is 5"), "{found}");
    assert_eq!(aws.layers_of("hello"), others);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_check_looks_into_layers_and_counts_their_bytes() {
    let aws = Emulator::ministack();
    create(&aws);
    let mut project = small(&aws.endpoint());
    // The handler is in the layer, and the function has no other.
    let check = "[target.fits]\nkind = 'check'\nzip = 'package'\nlayers = ['shared-zip']\n\
                 runtime = 'python3.11'\narch = 'x86_64'\nhandler = 'app.handler'\n";
    let buildfile = SMALL.replace("sources = [\"app.py\"]", "sources = [\"data.txt\"]");
    let buildfile = buildfile.replace("compression = \"store\"", "");
    project.write("Buildfile", format!("{buildfile}\n{check}"));
    project.write("data.txt", "");
    project.write("shared/app.py", "def handler(event, context): pass\n");
    let run = project.run(["--json", "fits", "upload"]).success();
    let warned = run.events().iter().any(|event| event["event"] == "warning");
    assert!(!warned, "{run}");
    let run = project.run(["check", "fits"]).success();
    assert_eq!(run.stdout, "`build/lambda.zip`: 0 errors, 0 warnings\n");

    project.write("shared/app.py", "x = 1\n");
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.contains("[handler-function]"), "{error}");
    assert!(error.contains("python/app.py"), "{error}");
    let _ = project.run(["fits"]).failure().stderr_has("python/app.py");
    project.remove("shared/app.py");
    let run = project.run(["upload"]).failure();
    let _ =
        run.stderr_has("[handler-module] neither the bundle nor its layers have a module `app`");

    // Each fits alone, but not both together. Files of zeros take no space and deflate well.
    for (name, bytes) in [("shared/weights.bin", 150_000_000), ("data.txt", 120_000_000)] {
        std::fs::File::create(project.path(name)).unwrap().set_len(bytes).unwrap();
    }
    project.write("shared/app.py", "def handler(event, context): pass\n");
    project.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let _ = project.run(["package", "shared-zip"]).success();
    let run = project.run(["check", "fits"]).status(1);
    let expected = "the bundle has 120.0 MB unzipped, its 1 layer 150.0 MB, and Lambda takes";
    assert!(run.stdout.contains(expected), "{run}");
    assert!(run.stdout.contains("weights.bin (150.0 MB), data.txt (120.0 MB)"), "{run}");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn moto_agrees() {
    let aws = Emulator::moto();
    create(&aws);
    let project = small(&aws.endpoint());
    let run = project.run(["--json", "upload"]).success();
    let layer = run.target("layer");
    assert_eq!(layer["published"], true);
    assert_eq!(layer["code_sha256"], digest(&project, "build/shared-zip.zip"));
    assert_eq!(aws.layers_of("hello"), [text(&layer, "arn")]);
    let again = project.run(["--json", "-B", "upload"]).success();
    assert_eq!(
        (&again.target("layer")["published"], &again.target("upload")["attached"]),
        (&json!(false), &json!(false))
    );
    project.write("shared/kit.py", "x = 2\n");
    let layer = event(&project, &["upload"], "layer");
    assert_eq!(layer["version"], 2);
    assert_eq!(aws.layers_of("hello"), [text(&layer, "arn")]);
}

/// Returns the layer target with a server whose responses depend on the digest of its zip.
fn scripted(answers: impl FnOnce(&str) -> Vec<Answer>) -> (Script, Sandbox) {
    let mut sandbox = small("http://127.0.0.1:1");
    let _ = sandbox.run(["shared-zip"]).success();
    let server = Script::new(answers(&digest(&sandbox, "build/shared-zip.zip")));
    sandbox.set("AWS_ENDPOINT_URL", server.endpoint());
    (server, sandbox)
}

fn listed(version: i64) -> Answer {
    answer(&json!({"LayerVersions": [{"Version": version}]}))
}

fn version(number: i64, digest: &str) -> Answer {
    answer(&json!({"LayerVersionArn": format!("arn:aws:lambda:r:1:layer:shared:{number}"),
        "Version": number, "Content": {"CodeSha256": digest}}))
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_lost_answer_publishes_no_second_version() {
    let nothing = || answer(&json!({"LayerVersions": []}));
    let posts =
        |server: &Script| server.requests().iter().filter(|head| head.starts_with("POST")).count();
    let exists = || {
        let (server, project) = scripted(|digest| {
            let lost = failure(500, "ServiceException", "try again");
            vec![nothing(), lost, listed(1), version(1, digest)]
        });
        let layer = event(&project, &["layer"], "layer");
        assert_eq!((&layer["version"], &layer["published"]), (&json!(1), &json!(true)));
        assert_eq!(posts(&server), 1);
    };
    let is_sent_again = || {
        let (server, project) = scripted(|digest| {
            let busy = || failure(429, "TooManyRequestsException", "slower");
            vec![nothing(), busy(), nothing(), busy(), nothing(), version(1, digest)]
        });
        assert_eq!(event(&project, &["layer"], "layer")["version"], 1);
        assert_eq!(posts(&server), 3);
    };
    let is_given_up = || {
        let (_, project) = scripted(|_| {
            let no = || failure(500, "ServiceException", "no");
            vec![nothing(), no(), nothing(), no(), nothing(), no()]
        });
        let run = project.run(["layer"]).failure();
        let _ =
            run.stderr_has("could not publish layer `shared` in eu-west-1 at http://127.0.0.1:");
        assert!(!project.exists("build/layer.stamp"));
    };
    let cases: [&(dyn Fn() + Sync); 3] = [&exists, &is_sent_again, &is_given_up];
    side_by_side(cases, |case| case());
}

#[test]
fn another_digest_than_ours_is_no_layer() {
    let (_, project) = scripted(|_| vec![listed(1), version(1, "old"), version(2, "theirs")]);
    let run = project.run(["layer"]).failure();
    let run = run.stderr_has("Lambda received other data than was sent for layer `shared`");
    let _ = run.stderr_has("the CodeSha256 of version 2 is theirs instead of");
    assert!(!project.exists("build/layer.stamp"));
    let (_, project) =
        scripted(|_| vec![failure(403, "AccessDeniedException", "not authorized to perform")]);
    let run = project.run(["layer"]).failure();
    let _ = run.stderr_has("docs/AWS.md lists the other permissions");
}

#[test]
fn a_change_in_between_is_read_again_before_layers_are_attached() {
    let is = |digest: &str, revision: &str, layers: &Value| {
        answer(&json!({"CodeSha256": digest, "RevisionId": revision, "Layers": layers}))
    };
    let arn = |name: &str| json!({"Arn": format!("arn:aws:lambda:r:1:layer:{name}")});
    let mut project = small("http://127.0.0.1:1");
    let _ = project.run(["package", "shared-zip"]).success();
    let own = digest(&project, "build/lambda.zip");
    let (theirs, both) = (json!([arn("new:1")]), json!([arn("new:1"), arn("shared:1")]));
    let server = Script::new(vec![
        // The preflight.
        is(&own, "r-0", &json!([])),
        listed(1),
        version(1, &digest(&project, "build/shared-zip.zip")),
        is(&own, "r-1", &json!([])),
        failure(412, "PreconditionFailedException", "the RevisionId is another"),
        is(&own, "r-2", &theirs),
        answer(&json!({})),
        is(&own, "r-3", &both),
        is(&own, "r-3", &both),
    ]);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let upload = event(&project, &["upload"], "upload");
    assert_eq!((&upload["attached"], &upload["sent"]), (&json!(true), &json!(false)));
    let sent: Value = serde_json::from_str(&server.bodies()[6]).unwrap();
    let expected = json!({"Layers": ["arn:aws:lambda:r:1:layer:new:1", "arn:aws:lambda:r:1:layer:shared:1"],
        "RevisionId": "r-2"});
    assert_eq!(sent, expected);
}

#[test]
fn a_layer_of_the_same_name_in_another_account_is_another_layer() {
    let mut project = small("http://127.0.0.1:1");
    let _ = project.run(["package", "shared-zip"]).success();
    let code = digest(&project, "build/lambda.zip");
    let shared = digest(&project, "build/shared-zip.zip");
    let theirs = json!({"Arn": "arn:aws:lambda:r:2:layer:shared:7"});
    let ours = json!({"Arn": "arn:aws:lambda:r:1:layer:shared:1"});
    for (layers, versions, expected) in [
        (json!([theirs]), vec![version(7, "other")], "deployed not attached (layer shared)"),
        (json!([theirs, ours]), vec![version(7, "other"), version(1, &shared)], "` identical\n"),
    ] {
        let function = answer(&json!({"CodeSha256": code, "Layers": layers}));
        let server = Script::new([vec![function], versions].concat());
        project.set("AWS_ENDPOINT_URL", server.endpoint());
        let run = project.run(["verify"]);
        assert!(run.stdout.contains(expected), "{run}");
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_lost_response_leaves_open_whether_layers_are_attached() {
    let mut project = small("http://127.0.0.1:1");
    let _ = project.run(["package", "shared-zip"]).success();
    let function = answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"}));
    let published = version(1, &digest(&project, "build/shared-zip.zip"));
    let mut answers = vec![function.clone(), listed(1), published, function];
    answers.extend(vec![failure(500, "ServiceException", "no"); 5]);
    let server = Script::new(answers);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.contains("the layers may have been attached: run again"), "{error}");
}

#[test]
fn a_failed_change_of_layers_sends_no_code() {
    let mut project = small("http://127.0.0.1:1");
    let _ = project.run(["package", "shared-zip"]).success();
    let server = Script::new(vec![
        answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"})),
        listed(1),
        version(1, &digest(&project, "build/shared-zip.zip")),
        answer(&json!({"CodeSha256": "old", "RevisionId": "r-1"})),
        answer(&json!({})),
        answer(&json!({"CodeSha256": "old", "LastUpdateStatus": "Failed",
            "LastUpdateStatusReason": "The layer is broken"})),
    ]);
    project.set("AWS_ENDPOINT_URL", server.endpoint());
    let run = project.run(["--json", "upload"]).failure();
    let error = text(&run.target("upload"), "error");
    assert!(error.contains("The layer is broken; its code was not sent"), "{error}");
    assert_eq!(server.requests().len(), 6);
    assert!(!project.exists("build/upload.stamp"));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_layer_is_checked_against_all_it_is_for() {
    let aws = Emulator::ministack();
    let project = small(&aws.endpoint());
    let extension = Path::new("shared/kit.cpython-312-x86_64-linux-gnu.so");
    project.write(extension.to_str().unwrap(), b"MZ");
    let for_all = "name = \"shared\"\nruntimes = ['python3.12', 'python3.13']\narchs = ['x86_64']";
    project.write("Buildfile", SMALL.replace("name = \"shared\"", for_all));
    let run = project.run(["layer"]).failure();
    let run = run.stderr_has("layer `shared` will not run in Lambda, for 1 reason:");
    let _ = run.stderr_has("native code for Windows").stderr_has("nothing was sent");
    assert_eq!(aws.layer_versions("shared").len(), 0);
    let silenced = format!("{for_all}\nsilence = [\"extension\"]");
    project.write("Buildfile", SMALL.replace("name = \"shared\"", &silenced));
    let _ = project.run(["layer"]).success();

    // A zip that no function could import from.
    project.write(
        "Buildfile",
        SMALL.replace("below = \"python\"", "").replace("name = \"shared\"", &silenced),
    );
    let run = project.run(["layer"]).success();
    let _ = run.stderr_has("`build/shared-zip.zip` has nothing below `python/`");
}
