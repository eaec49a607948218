//! Ways of a bundle into other tools: `unpack`, `terraform`, and the tools themselves.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
[vars]
name = "one"
[target.staging]
kind = "staging"
sources = ["app.py", "bin/run", "{name}.txt"]
[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox
        .write("app.py", "def handler(event, context):\n    return event\n")
        .write("bin/run", "#!/bin/sh\n")
        .chmod("bin/run", 0o755)
        .write("one.txt", "1")
        .write("two.txt", "2");
    sandbox
}

#[test]
fn unpack_builds_a_target_and_fills_a_folder() {
    let sandbox = project();
    let run = sandbox.run(["unpack", "package", "../out"]).success();
    assert_eq!(run.stdout, "");
    let run = run.stderr_has("unpacked `build/lambda.zip` into `../out`: 3 files, ");
    run.stderr_has("package: running");
    let app = sandbox.beside("out/app.py");
    let time = app.metadata().unwrap().modified().unwrap();
    let constant = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(315_532_800);
    assert!(time >= constant && time < constant + std::time::Duration::from_secs(86_400 * 60));
    let mode = |path: &str| sandbox.beside(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("out/app.py"), mode("out/bin/run"), mode("out/bin")), (0o644, 0o755, 0o755));
    // Again: the same files.
    sandbox.run(["unpack", "package", "../out"]).success();
    std::fs::write(&app, "mine").unwrap();
    let run = sandbox.run(["unpack", "package", "../out"]).failure();
    run.stderr_has("app.py` would be replaced by other content; nothing was written");
    assert_eq!(std::fs::read_to_string(&app).unwrap(), "mine");
    sandbox.run(["unpack", "--force", "package", "../out"]).success();
    assert!(std::fs::read_to_string(&app).unwrap().starts_with("def handler"));
    // A file is unpacked as it is.
    sandbox.write("app.py", "changed");
    let run = sandbox.run(["--json", "unpack", "build/lambda.zip", "new/er"]).success();
    assert_eq!(
        (&run.events()[0]["files"], &run.events()[0]["folder"]),
        (&3.into(), &"new/er".into())
    );
    assert!(sandbox.read("new/er/app.py").starts_with("def handler"));
    sandbox.run(["unpack", "staging", "x"]).failure().stderr_has("`staging` is of kind `staging`");
    sandbox.run(["unpack", "nothing", "x"]).failure().stderr_has("there is no file `nothing`");
    sandbox.run(["unpack", "app.py", "x"]).failure().stderr_has("could not read `app.py`");
    assert!(!sandbox.exists("x"));
}

/// Runs `zipwright terraform` in `folder` with a query on standard input.
fn query(sandbox: &Sandbox, folder: &str, query: &str) -> Run {
    let mut child = sandbox
        .zipwright()
        .arg("terraform")
        .current_dir(sandbox.path(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(query.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn terraform_gets_strings_about_the_zip_that_it_asks_for() {
    let sandbox = project();
    sandbox.write("infra/main.tf", "");
    let run = query(&sandbox, "infra", r#"{"directory": "..", "target": "package"}"#).success();
    let answer = &run.events()[0];
    assert_eq!(run.events().len(), 1);
    let zip = sandbox.bytes("build/lambda.zip");
    assert_eq!(answer["path"], "../build/lambda.zip");
    assert_eq!(answer["size"], zip.len().to_string());
    let digest = sandbox.run(["digest", "package"]).success().stdout;
    assert_eq!(answer["code_sha256"], digest.trim());
    let hex = sandbox.sh("sha256sum build/lambda.zip").success().stdout;
    assert_eq!(answer["sha256"], hex.split(' ').next().unwrap());
    assert!(answer.as_object().unwrap().values().all(serde_json::Value::is_string));
    // The only zip, with a variable.
    let other = query(&sandbox, "", r#"{"name": "two"}"#).success();
    assert_eq!(other.events()[0]["path"], "build/lambda.zip");
    assert_ne!(other.events()[0]["sha256"], answer["sha256"]);
}

#[test]
fn terraform_gets_errors_on_standard_error() {
    let sandbox = project();
    for (text, expected) in [
        ("[1]", "the query on standard input is not a JSON object of strings"),
        (r#"{"target": "pakage"}"#, "there is no target `pakage`; did you mean `package`?"),
        (r#"{"target": "staging"}"#, "`staging` is of kind `staging`; name a zip target"),
        (r#"{"tagret": "package"}"#, "`tagret=` sets no variable"),
        (r#"{"directory": "nowhere"}"#, "could not change to `nowhere`"),
    ] {
        let run = query(&sandbox, "", text).failure().stderr_has(expected);
        assert_eq!(run.stdout, "");
    }
    sandbox.sh("mkfifo pipe").success();
    sandbox.run(["unpack", "pipe", "out"]).failure().stderr_has("`pipe` is not a regular file");
    sandbox.remove("one.txt");
    let run = query(&sandbox, "", "{}").failure().stderr_has("one.txt");
    assert_eq!(run.stdout, "");
}

/// Returns the members of a zip that are files.
fn members(sandbox: &Sandbox, zip: &str) -> Vec<String> {
    let script = format!(
        "python3 -c \"import zipfile; print(*sorted(zipfile.ZipFile('{zip}').namelist()), sep='\\n')\""
    );
    let names = sandbox.sh(&script).success().stdout;
    names.lines().filter(|name| !name.ends_with('/')).map(str::to_owned).collect()
}

/// The directory of the program, for the PATH of other tools.
fn programs() -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_zipwright"));
    program.parent().unwrap().display().to_string()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn sam_builds_by_a_makefile() {
    let sandbox = project();
    let page = include_str!("../../docs/BRIDGES.md");
    let block = |language: &str| {
        let start = format!("```{language}\n");
        let sam = page.split("\n## SAM\n").nth(1).unwrap().split(&start).nth(1).unwrap();
        sam.split("```").next().unwrap().to_owned()
    };
    let head = "AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\n";
    sandbox.write("template.yaml", format!("{head}{}", block("yaml")));
    sandbox.write("Makefile", block("make"));
    let sam = crate::emulators::install_python("sam", "aws-sam-cli==1.170.0");
    let path = format!("{}:{}", programs(), sam.join("bin").display());
    let run = sandbox.sh(&format!("PATH='{path}':$PATH SAM_CLI_TELEMETRY=0 sam build 2>&1"));
    let run = run.success();
    assert!(run.stdout.contains("Build Succeeded"), "{run}");
    sandbox.run(["package"]).success();
    let built =
        sandbox.sh("cd .aws-sam/build/HelloFunction && find . -type f | cut -c3- | LC_ALL=C sort");
    let built: Vec<String> = built.success().stdout.lines().map(str::to_owned).collect();
    assert_eq!(built, members(&sandbox, "build/lambda.zip"));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn cdk_takes_the_zip_as_an_asset() {
    let sandbox = project();
    if sandbox.sh("command -v node && command -v npm").code != Some(0) {
        eprintln!("skipped: there is no node on PATH");
        return;
    }
    let tools =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-tools/cdk");
    std::fs::create_dir_all(&tools).unwrap();
    let install = "npm install --silent --no-audit --no-fund aws-cdk@2.1148.1 aws-cdk-lib@2.276.0 constructs@10";
    if !tools.join("node_modules/aws-cdk-lib").is_dir() {
        let script = format!("cd '{}' && npm init -y >/dev/null && {install}", tools.display());
        let status = std::process::Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
        assert!(status.success());
    }
    let app = r#"
const cdk = require("aws-cdk-lib");
const lambda = require("aws-cdk-lib/aws-lambda");
class Orders extends cdk.Stack {
  constructor(scope, id) {
    super(scope, id);
    new lambda.Function(this, "Orders", {
      runtime: lambda.Runtime.PYTHON_3_13,
      architecture: lambda.Architecture.ARM_64,
      handler: "lambda_handler.handler",
      code: lambda.Code.fromCustomCommand("build/lambda.zip", ["zipwright", "package"]),
    });
  }
}
new Orders(new cdk.App(), "orders");
"#;
    sandbox.write("app.js", app);
    let script = format!(
        "PATH='{}:{}':$PATH NODE_PATH='{}' CDK_DISABLE_VERSION_CHECK=1 cdk synth --app 'node app.js' --quiet",
        programs(),
        tools.join("node_modules/.bin").display(),
        tools.join("node_modules").display()
    );
    sandbox.sh(&script).success();
    let digest = sandbox.run(["digest", "package"]).success().stdout;
    let assets = sandbox
        .sh("for zip in cdk.out/asset.*.zip; do openssl dgst -sha256 -binary $zip | base64; done");
    assert_eq!(assets.success().stdout, digest);
}
