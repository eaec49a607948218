//! The whole Buildfile of docs/BUILDFILE.md: as written, built for Lambda's own platform; and for
//! this machine, from an empty folder to the response of the deployed function.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::emulators::{Emulator, REGION, bundle};
use crate::sandbox::{Sandbox, python};

const PLATFORM: &str = "platform = { python = \"3.13\", arch = \"arm64\" }";

/// Returns the example exactly as written.
fn example() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/BUILDFILE.md");
    let docs = fs::read_to_string(docs).unwrap();
    let after = docs.split("## A whole Buildfile\n\n```toml\n").nth(1).unwrap();
    after.split("```").next().unwrap().to_owned()
}

/// Returns a project with everything that the example names. `python3.13` is any Python, under that
/// name.
fn project(buildfile: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(buildfile);
    let generate = "open('build/models.py', 'w').write('MODELS = ' + open('schema/a.json').read())";
    sandbox
        .fixture("article")
        .write("config/deep/settings.json", "{}")
        .write("schema/a.json", "[1]")
        .write("generate.py", generate);
    let named = sandbox.beside("bin/python3.13");
    fs::create_dir(sandbox.beside("bin")).unwrap();
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", python().display());
    sandbox.write("../bin/python3.13", script).chmod("../bin/python3.13", 0o755);
    let path = std::env::var("PATH").unwrap();
    let own = python().parent().unwrap().display().to_string();
    sandbox.set("PATH", format!("{}:{own}:{path}", named.parent().unwrap().display()));
    sandbox
}

#[test]
fn it_builds_as_written() {
    let sandbox = project(&example());
    let run = sandbox.run(["--json", "all"]).success();
    for target in ["wheels", "staging", "package", "models", "all"] {
        assert_eq!(run.target(target)["outcome"], "ran", "{target}: {run}");
    }
    assert_eq!(sandbox.read("build/models.py"), "MODELS = [1]");
    let wheels = sandbox.sh("ls build/wheels").success().stdout;
    assert_eq!(wheels.lines().count(), 2, "{wheels}");
    let names = sandbox.sh("unzip -Z1 build/lambda.zip").success().stdout;
    for name in ["lambda_handler.py", "config/deep/settings.json", "greetings/__init__.py", "idna/"]
    {
        assert!(names.lines().any(|line| line == name), "no `{name}` in\n{names}");
    }
    assert_eq!(sandbox.ran(["all"]), [""; 0]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
fn it_deploys_and_answers() {
    let aws = Emulator::ministack_alone();
    aws.create_function("MyFunction", "x86_64", &bundle("app.py", "old = 1\n"));
    // The emulator calls `app.handler`, on this machine's Python.
    let buildfile = example().replace(PLATFORM, "").replace("lambda_handler.py", "app.py");
    let mut sandbox = project(&buildfile);
    sandbox.write("app.py", sandbox.read("lambda_handler.py")).remove("lambda_handler.py");
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_ENDPOINT_URL", aws.endpoint());

    // The first command of a fresh checkout: pip's output does not mix with the response.
    let run = sandbox.run(["invoke"]).success().stderr_has("asked for World");
    let response: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        response,
        json!({"greeting": "Hello, World!", "domain": "xn--gre-6ka8i.example"}),
        "{run}"
    );
    assert_eq!(sandbox.ran(["upload"]), [""; 0]);
    assert_eq!(sandbox.ran(["invoke"]), ["invoke"]);

    let edited = sandbox.read("app.py").replace("\"greeting\": ", "\"said\": ");
    sandbox.write("app.py", edited);
    let run = sandbox.run(["invoke"]).success();
    let response: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(response["said"], "Hello, World!");
    assert_eq!(
        aws.function("MyFunction")["CodeSha256"],
        sandbox.run(["digest", "package"]).stdout.trim()
    );
}
