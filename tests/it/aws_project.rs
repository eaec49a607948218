//! The project of the tests about AWS: `app.py` in a bundle, uploaded to the function `hello`.

use serde_json::Value;

use crate::emulators::{Emulator, REGION, bundle, code_sha256};
use crate::sandbox::{Run, Sandbox, text};
use crate::scripted::{Answer, Script};

/// A Buildfile with the bundle, and further lines.
macro_rules! bundling {
    ($($more:expr)?) => {
        concat!(
            r#"
[target.staging]
kind = "staging"
sources = ["app.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
compression = "store"
"#
            $(, $more)?
        )
    };
}

/// A Buildfile with the bundle and its upload, and further lines: keys of the upload, then targets.
macro_rules! uploading {
    ($($more:expr)?) => {
        $crate::aws_project::bundling!(concat!(
            r#"
[target.upload]
kind = "upload"
zip = "package"
function = "hello"
"#
            $(, $more)?
        ))
    };
}

pub(crate) use {bundling, uploading};

/// The code of the function before an upload, as tests create it.
pub(crate) const OLD: &str = "def handler(event, context):\n    return 'old'\n";
/// The code of the project.
pub(crate) const NEW: &str = "def handler(event, context):\n    return 'new'\n";

pub(crate) const ZIP: &str = "build/lambda.zip";
pub(crate) const STAMP: &str = "build/upload.stamp";

/// Returns a project whose requests go to `endpoint`.
pub(crate) fn project(buildfile: &str, endpoint: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(buildfile);
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_ENDPOINT_URL", endpoint);
    sandbox.write("app.py", NEW);
    sandbox
}

/// Creates the function, with other code than the project's.
pub(crate) fn create(aws: &Emulator) {
    aws.create_function("hello", "x86_64", &bundle("app.py", OLD));
}

/// Returns a project with a built bundle, and a server whose responses depend on its digest.
pub(crate) fn scripted(
    buildfile: &str,
    answers: impl FnOnce(&str) -> Vec<Answer>,
) -> (Script, Sandbox) {
    let mut sandbox = project(buildfile, "http://127.0.0.1:1");
    let _ = sandbox.run(["package"]).success();
    let server = Script::new(answers(&digest(&sandbox)));
    sandbox.set("AWS_ENDPOINT_URL", server.endpoint());
    (server, sandbox)
}

/// Returns the `CodeSha256` of the project's bundle.
pub(crate) fn digest(sandbox: &Sandbox) -> String {
    code_sha256(&sandbox.bytes(ZIP))
}

/// Returns the event of a successful upload.
#[track_caller]
pub(crate) fn upload(sandbox: &Sandbox, args: &[&str]) -> Value {
    let run = Run::of(sandbox.zipwright().args(["--json", "upload"]).args(args)).success();
    run.target("upload")
}

/// Returns the error of a failed upload, after checking that it left no stamp.
#[track_caller]
pub(crate) fn upload_error(sandbox: &Sandbox) -> String {
    let run = sandbox.run(["--json", "upload"]).failure();
    assert!(!sandbox.exists(STAMP), "{run}");
    text(&run.target("upload"), "error")
}

/// Returns the paths and bodies of all calls of the function, each path without its beginning.
pub(crate) fn calls(server: &Script) -> Vec<(String, String)> {
    let path = "POST /2015-03-31/functions/hello/invocations";
    let all = server.requests().into_iter().zip(server.bodies());
    all.filter_map(|(head, body)| Some((head.strip_prefix(path)?.to_owned(), body))).collect()
}
