//! Preflight: the function of an upload is checked before anything is built for it, and the payload
//! of an invoke before anything is uploaded.

use serde_json::{Value, json};

use crate::aws_project::{self, NEW, create, uploading};
use crate::emulators::Emulator;
use crate::proxy::{DRY_RUN, Fault, Proxy};
use crate::sandbox::{Run, Sandbox, text};
use crate::scripted::{Answer, Script, answer, failure};

/// The bundle's file is made by a command.
const BUILDFILE: &str = uploading!(
    r#"
[target.invoke]
kind = "invoke"
upload = "upload"
payload = "payload.json"

[target.other]
kind = "command"
phony = true
shell = "touch other-ran"

[target.generate]
kind = "command"
inputs = ["input.txt"]
outputs = ["app.py"]
shell = "echo ran >> ran; cp input.txt app.py"
"#
);

fn project(endpoint: &str) -> Sandbox {
    let sandbox = aws_project::project(BUILDFILE, endpoint);
    sandbox.write("input.txt", NEW).write("payload.json", "{}").remove("app.py");
    sandbox
}

fn scripted(answers: Vec<Answer>) -> (Script, Sandbox) {
    let server = Script::new(answers);
    let project = project(&server.endpoint());
    (server, project)
}

fn gone() -> Answer {
    failure(404, "ResourceNotFoundException", "Function not found")
}

/// Returns the error of a target that failed before anything was generated.
#[track_caller]
fn early(run: &Run, sandbox: &Sandbox, target: &str) -> String {
    assert!(!sandbox.exists("ran"), "{run}");
    text(&run.target(target), "error")
}

#[test]
fn a_function_that_is_not_there_costs_no_build() {
    let aws = Emulator::ministack();
    let project = project(&aws.endpoint());
    for goal in ["upload", "invoke"] {
        let run = project.run(["--json", goal]).failure();
        let error = early(&run, &project, "upload");
        assert!(error.contains("could not read function `hello`"), "{error}");
        assert!(error.contains("aws lambda create-function --function-name hello"), "{error}");
        assert!(run.finished().iter().all(|event| event["outcome"] != "ran"), "{run}");
    }
    create(&aws);
    assert_eq!(project.run(["invoke"]).success().stdout, "\"new\"\n");
}

#[test]
fn credentials_that_expired_cost_no_build() {
    let refused = failure(403, "ExpiredTokenException", "The security token is expired");
    let (server, project) = scripted(vec![refused]);
    let run = project.run(["--json", "upload"]).failure();
    let error = early(&run, &project, "upload");
    assert!(error.contains("sign in again, e.g. with `aws sso login`"), "{error}");
    assert_eq!(server.requests().len(), 1, "a permanent refusal is not retried");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn credentials_that_may_only_look_cost_no_build() {
    let aws = Emulator::ministack();
    create(&aws);
    let denied = Fault::Refuse(403, "AccessDeniedException", "");
    let proxy = Proxy::new(&aws.endpoint(), vec![(DRY_RUN, denied)]);
    let project = project(&proxy.endpoint());
    let run = project.run(["--json", "upload"]).failure();
    let error = early(&run, &project, "upload");
    assert!(error.contains("could not update the code of function `hello`"), "{error}");
    assert!(
        error.contains("zipwright needs lambda:GetFunctionConfiguration, lambda:Up"),
        "{error}"
    );
    assert!(proxy.is_through());
    assert_eq!(project.run(["invoke"]).success().stdout, "\"new\"\n");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn to_ask_for_leave_changes_nothing() {
    for start in [Emulator::ministack, Emulator::moto] {
        let aws = start();
        create(&aws);
        let before = aws.function("hello");
        let project = project(&aws.endpoint());
        project.write("Buildfile", BUILDFILE.replace("cp input.txt app.py", "false"));
        project.run(["upload"]).failure().stderr_has("generate: ");
        assert_eq!(aws.function("hello"), before);
    }
}

#[test]
fn what_the_upload_does_not_need_goes_on_with_k() {
    let (_, project) = scripted(vec![gone()]);
    let run = project.run(["-k", "--json", "upload", "other"]).failure();
    assert_eq!(run.target("upload")["outcome"], "failed");
    assert!(project.exists("other-ran"), "{run}");
    // Without -k, no other target is started.
    let (_, project) = scripted(vec![gone()]);
    let run = project.run(["-j1", "--json", "upload"]).failure();
    let _ = early(&run, &project, "upload");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_build_in_which_nothing_runs_before_the_upload_looks_at_nothing() {
    let aws = Emulator::ministack();
    create(&aws);
    let mut project = project(&aws.endpoint());
    let _ = project.run(["upload"]).success();
    // If the upload is up to date, no request is sent: one to this port would fail.
    project.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    for (args, status) in [(["-n", "upload"], 0), (["-q", "upload"], 1), (["-t", "upload"], 0)] {
        // Another endpoint is another deployment, so the upload is out of date.
        let _ = project.run(args).status(status).stderr_lacks("could not");
    }
    let (server, project) = scripted(vec![]);
    let _ = project.run(["-n", "upload"]).success();
    project.write("input.txt", "changed = 1\n");
    let _ = project.run(["-q", "upload"]).status(1);
    let _ = project.run(["package", "other"]).success();
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn an_upload_that_is_up_to_date_is_not_asked_for_what_only_comes_before() {
    let after =
        BUILDFILE.replace("function = \"hello\"", "function = \"hello\"\nafter = [\"other\"]");
    let is = answer(&json!({"CodeSha256": "", "RevisionId": "r"}));
    let (server, project) = scripted(vec![is]);
    project.write("Buildfile", after);
    let _ = project.run(["upload"]).failure();
    let before = server.requests().len();
    let _ = project.run(["-t", "upload"]).success();
    project.remove("other-ran");
    let run = project.run(["--json", "upload"]).success();
    assert_eq!(run.target("upload")["outcome"], "up-to-date", "{run}");
    assert!(project.exists("other-ran"));
    assert_eq!(server.requests().len(), before);
}

#[test]
fn wheels_for_another_runtime_than_the_functions_are_not_even_fetched() {
    let wheels = "\n[target.wheels]\nkind = 'wheelhouse'\nrequirements = ['requirements.txt']\n\
                  platform = { python = '3.13', arch = 'arm64' }\n";
    let with = |runtime: &str, arch: &str| {
        answer(&json!({"CodeSha256": "x", "Runtime": runtime, "Architectures": [arch]}))
    };
    for (runtime, arch, is_right) in [
        ("python3.11", "arm64", false),
        ("python3.13", "x86_64", false),
        ("nodejs22.x", "arm64", false),
        ("python3.13", "arm64", true),
    ] {
        let (_, project) = scripted(vec![with(runtime, arch), gone()]);
        let staging = "[target.staging]\nwheels = ['wheels']";
        let text = BUILDFILE.replace("[target.staging]", staging);
        project.write("Buildfile", format!("{text}{wheels}")).write("requirements.txt", "");
        let run = project.run(["--json", "upload"]).failure();
        let error = text_of(&run.target("upload"));
        let says = error.contains(&format!(
            "function `hello` has {runtime} on {arch}, and the `platform` of `wheels` is \
             python3.13 on arm64"
        ));
        assert_eq!(says, !is_right, "{error}");
        assert_eq!(project.exists("ran"), is_right, "{run}");
        assert_eq!(project.exists("build/wheels"), is_right, "{run}");
    }
}

#[test]
fn a_python_that_is_not_the_functions_is_worth_a_warning() {
    let is = json!({"CodeSha256": "x", "Runtime": "python3.8", "Architectures": ["x86_64"]});
    let (_, project) = scripted(vec![answer(&is), gone()]);
    let wheels = "\n[target.wheels]\nkind = 'wheelhouse'\nrequirements = ['requirements.txt']\n";
    let text = BUILDFILE.replace("[target.staging]", "[target.staging]\nwheels = ['wheels']");
    project.write("Buildfile", format!("{text}{wheels}")).write("requirements.txt", "");
    let run = project.run(["--json", "upload"]).failure();
    let run = run.stderr_has("function `hello` has python3.8, and `wheels` chooses wheels for");
    assert!(project.exists("ran"), "a warning stops nothing: {run}");
}

fn text_of(event: &Value) -> String {
    text(event, "error")
}

#[test]
fn a_payload_is_checked_before_anything_is_built() {
    let (server, project) = scripted(vec![]);
    project.write("payload.json", "{");
    for args in [["--json", "invoke"], ["--json", "invoke"]] {
        let run = project.run(args).failure();
        let error = early(&run, &project, "invoke");
        assert!(error.contains("`payload.json` is not JSON"), "{error}");
    }
    project.remove("payload.json");
    let run = project.run(["--json", "invoke"]).failure();
    let error = early(&run, &project, "invoke");
    assert!(error.contains("payload.json"), "{error}");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_payload_that_is_made_is_checked_before_the_upload() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let project = project(&aws.endpoint());
    let made = "\n[target.event]\nkind = 'command'\ninputs = ['event.txt']\n\
                outputs = ['payload.json']\nshell = 'sleep 1; cp event.txt payload.json'\n";
    project.write("Buildfile", format!("{BUILDFILE}{made}")).write("event.txt", "no JSON");
    project.remove("payload.json");
    let before = aws.function("hello")["CodeSha256"].clone();
    for jobs in ["-j1", "-j4"] {
        let run = project.run(["--json", jobs, "invoke"]).failure();
        let error = text_of(&run.target("invoke"));
        assert!(error.contains("`payload.json` is not JSON"), "{error}");
        assert_eq!(aws.function("hello")["CodeSha256"], before, "nothing was uploaded for it");
    }
    project.write("event.txt", "{}");
    assert_eq!(project.run(["-j4", "invoke"]).success().stdout, "\"new\"\n");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_payload_made_after_the_upload_does_not_hold_it_up() {
    let aws = Emulator::ministack_alone();
    create(&aws);
    let project = project(&aws.endpoint());
    let made = "\n[target.event]\nkind = 'command'\nneeds = ['upload']\n\
                outputs = ['payload.json']\nshell = 'echo {} > payload.json'\n";
    project.write("Buildfile", format!("{BUILDFILE}{made}")).remove("payload.json");
    assert_eq!(project.run(["invoke"]).success().stdout, "\"new\"\n");
}
