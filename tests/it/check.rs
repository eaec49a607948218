//! `check`: real wheels for the wrong runtime, deliberate mistakes, and no findings for good
//! bundles; as a command, as a target, and before an upload.

use std::io::Write;

use serde_json::{Value, json};

use crate::emulators::{Emulator, REGION, bundle};
use crate::sandbox::{Run, Sandbox, python, text};

/// Returns a project with one requirement, fetched for one runtime and checked for another.
fn project(requirement: &str, platform: &str, runtime: &str) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
{platform}

[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["app.py"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"

[target.fits]
kind = "check"
zip = "package"
{runtime}
handler = "app.handler"
"#
    ));
    sandbox
        .write("requirements.txt", format!("{requirement}\n"))
        .write("app.py", "def handler(event, context):\n    return 1\n");
    sandbox
}

const X86_313: &str = "runtime = 'python3.13'\narch = 'x86_64'";

/// Builds the bundle and checks it by the command; returns the rules of errors and of warnings.
#[track_caller]
fn rules(sandbox: &Sandbox) -> [Vec<String>; 2] {
    let _ = sandbox.run(["package"]).success();
    let run = sandbox.run(["--json", "check", "fits"]);
    let report = &run.events()[0];
    let findings = report["findings"].as_array().unwrap();
    let of = |severity: &str| {
        let found = findings.iter().filter(|finding| finding["severity"] == severity);
        found.map(|finding| text(finding, "rule")).collect::<Vec<_>>()
    };
    let [errors, warnings] = [of("error"), of("warning")];
    assert_eq!(report["errors"], errors.len(), "{run}");
    assert_eq!(run.code, Some(i32::from(!errors.is_empty())), "{run}");
    [errors, warnings]
}

#[test]
fn a_wheel_for_another_machine_is_found() {
    let platform = "platform = { python = '3.13', arch = 'arm64' }";
    let sandbox = project("markupsafe==3.0.2", platform, X86_313);
    assert_eq!(rules(&sandbox), [vec!["machine", "wheel-tags"], vec![]]);

    let run = sandbox.run(["fits"]).failure();
    let run = run.stderr_has("`build/lambda.zip` will not run in Lambda, for 2 reasons:");
    let run = run.stderr_has("[machine] native code for arm64, and the function runs on x86_64");
    let run = run.stderr_has("(from MarkupSafe-3.0.2-cp313-cp313-manylinux");
    let run = run.stderr_has("markupsafe/_speedups.cpython-313-aarch64-linux-gnu.so");
    let _ = run.stderr_has("`platform = { python = \"3.13\", arch = \"x86_64\" }`");
    assert!(!sandbox.exists("build/fits.stamp"));

    // The command needs no Buildfile, and accepts other names of the machine.
    let run = sandbox.run(["-f", "none", "check", "build/lambda.zip", "--runtime", "python3.13"]);
    let _ = run.failure().stderr_has("give the runtime of `build/lambda.zip`");
    let right = ["check", "build/lambda.zip", "--runtime", "python3.13", "--arch", "arm64"];
    let run = sandbox.run(right).success();
    assert_eq!(run.stdout, "`build/lambda.zip`: 0 errors, 0 warnings\n");
    let run = sandbox.run(["check", "fits", "--silence", "machine", "--silence", "wheel-tags"]);
    let _ = run.success();
}

#[test]
fn an_extension_module_for_another_python_is_found() {
    let platform = "platform = { python = '3.12', arch = 'x86_64' }";
    let sandbox = project("markupsafe==3.0.2", platform, X86_313);
    assert_eq!(rules(&sandbox), [vec!["extension", "wheel-tags"], vec![]]);
    let run = sandbox.run(["fits"]).failure();
    let _ = run.stderr_has("[extension] an extension module for Python 3.12, which python3.13");
}

#[test]
fn a_wheel_for_a_newer_glibc_is_found() {
    let platform = "platform = { python = '3.13', arch = 'x86_64' }";
    let runtime = "runtime = 'python3.11'\narch = 'x86_64'";
    let sandbox = project("bcrypt==4.2.1", platform, runtime);
    assert_eq!(rules(&sandbox), [vec!["glibc"], vec!["wheel-glibc"]]);
    let run = sandbox.run(["fits"]).failure();
    let run = run.stderr_has("needs glibc 2.28, and python3.11 (Amazon Linux 2) has 2.26");
    let _ = run.stderr_has("(from bcrypt-4.2.1-cp39-abi3-manylinux_2_28_x86_64.whl)");
}

/// A wheel's name limits where its code is used; the code itself may need less.
#[test]
fn a_wheel_that_is_only_named_for_a_newer_glibc_is_no_error() {
    let platform = "platform = { python = '3.11', arch = 'x86_64' }\n\
                    pip-args = ['--no-deps', '--platform=manylinux_2_28_x86_64']";
    let runtime = "runtime = 'python3.11'\narch = 'x86_64'";
    let sandbox = project("contourpy==1.3.3", platform, runtime);
    // It is accepted without the numpy that it needs.
    assert_eq!(rules(&sandbox), [vec![], vec!["wheel-glibc", "requires"]]);
    let run = sandbox.run(["--json", "fits"]).success();
    assert_eq!(run.target("fits")["warnings"], 2);
}

/// The bundle has the wheel without the file of the handler.
#[test]
fn a_module_of_a_wheel_that_is_missing_is_found() {
    let platform = "platform = { python = '3.13', arch = 'x86_64' }";
    let sandbox = project("iniconfig==2.1.0", platform, X86_313);
    let buildfile = sandbox.read("Buildfile").replace("app.handler", "iniconfig.IniConfig");
    sandbox.write("Buildfile", &buildfile);
    assert_eq!(rules(&sandbox), [vec![], Vec::<String>::new()]);
    let without = "sources = [\"app.py\"]\nexclude = ['iniconfig/__init__.py']";
    sandbox.write("Buildfile", buildfile.replace("sources = [\"app.py\"]", without));
    assert_eq!(rules(&sandbox), [vec!["handler-module"], vec![]]);
    let run = sandbox.run(["fits"]).failure();
    let run = run.stderr_has("the bundle has no module `iniconfig` of the handler");
    let _ = run.stderr_has("neither `iniconfig.py` nor `iniconfig/__init__.py`");
}

/// Compiled and zipped by the Python of this machine, and checked for it and for another.
#[test]
fn bytecode_is_told_by_its_python_and_its_source() {
    let sandbox = Sandbox::new();
    sandbox.write("src/app.py", "def handler(e, c): pass\n").write("src/kit.py", "x = 1\n");
    let script = "
import compileall, sys, zipfile
compileall.compile_dir('src', legacy=True, quiet=2)
for name, files in [('both', ['kit.py', 'kit.pyc']), ('alone', ['kit.pyc'])]:
    with zipfile.ZipFile(name + '.zip', 'w') as zip:
        for file in ['app.py', *files]:
            zip.write('src/' + file, file)
print(*sys.version_info[:2], sep='.')
";
    let version = Run::of(sandbox.program(python()).args(["-c", script])).success().stdout;
    let here = format!("python{}", version.trim());
    let other = if here == "python3.13" { "python3.12" } else { "python3.13" };
    let rules = |zip: &str, runtime: &str| {
        let run = sandbox.run(["--json", "check", zip, "--runtime", runtime, "--arch", "arm64"]);
        let report = run.events().remove(0);
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(|found| text(found, "rule")).collect::<Vec<_>>()
    };
    assert_eq!(rules("both.zip", &here), [""; 0]);
    assert_eq!(rules("both.zip", other), ["pyc-unused"]);
    assert_eq!(rules("alone.zip", &here), [""; 0]);
    assert_eq!(rules("alone.zip", other), ["pyc-python"]);
    // Its time is no longer that of the source.
    sandbox.age("src/kit.py", 100_000);
    let again = script.replace("compileall.compile_dir('src', legacy=True, quiet=2)", "");
    let _ = Run::of(sandbox.program(python()).args(["-c", &again])).success();
    assert_eq!(rules("both.zip", &here), ["pyc-stale"]);
}

/// Linked by the compiler of this machine: a required library is in the bundle, in a layer, or
/// missing.
#[test]
fn a_library_that_is_needed_is_looked_for_in_the_bundle_and_in_layers() {
    let sandbox = sources(&[("app.py", b"def handler(e, c): pass")]);
    sandbox.write("c/need.c", "int need(void) { return 1; }\n");
    sandbox.write("c/mod.c", "int need(void);\nint use(void) { return need(); }\n");
    sandbox.write("deps/readme.txt", "");
    let build = "cc -shared -fPIC -nostdlib -o c/libneed.so.1 c/need.c -Wl,-soname,libneed.so.1 && \
                 cc -shared -fPIC -nostdlib -o src/mod.abi3.so c/mod.c -l:libneed.so.1 -Lc";
    let _ = sandbox.sh(build).success();
    let arch = if cfg!(target_arch = "x86_64") { "x86_64" } else { "arm64" };
    let layer = "[target.deps]\nkind = 'staging'\nsources = [{ from = 'deps', to = '.' }]\n\
                 [target.layer]\nkind = 'zip'\nstaging = 'deps'\n";
    let buildfile = sandbox
        .read("Buildfile")
        .replace("arch = \"arm64\"", &format!("arch = '{arch}'\nlayers = ['layer']"));
    sandbox.write("Buildfile", format!("{buildfile}\n{layer}"));
    let _ = sandbox.run(["layer"]).success();
    assert_eq!(rules(&sandbox), [vec![], vec!["library"]]);
    let run = sandbox.run(["fits"]).success();
    let run = run.stderr_has("needs `libneed.so.1`, which the bundle does not have");
    let _ = run.stderr_has("mod.abi3.so");

    let _ = sandbox.sh("cp c/libneed.so.1 src/").success();
    assert_eq!(rules(&sandbox), [vec![], Vec::<String>::new()]);
    // A layer made by another tool.
    let _ = sandbox
        .sh("rm src/libneed.so.1 && mkdir -p other/lib && cp c/libneed.so.1 other/lib/")
        .success();
    let _ = sandbox.sh("cd other && python3 -m zipfile -c ../other.zip lib").success();
    let _ = sandbox.run(["package"]).success();
    let words = ["check", "build/lambda.zip", "--runtime", "python3.13", "--arch", arch];
    let check =
        |more: &[&str]| Run::of(sandbox.zipwright().args(words).args(more)).success().stdout;
    assert!(check(&[]).starts_with("warning[library] needs `libneed.so.1`"));
    assert_eq!(check(&["--layer", "other.zip"]), "`build/lambda.zip`: 0 errors, 0 warnings\n");
    let _ = sandbox.sh("cp c/libneed.so.1 src/").success();
    let _ = sandbox.sh("mkdir -p deps/lib && mv src/libneed.so.1 deps/lib/").success();
    let _ = sandbox.run(["layer"]).success();
    assert_eq!(rules(&sandbox), [vec![], Vec::<String>::new()]);
}

#[test]
fn what_fits_is_checked_once() {
    let platform = "platform = { python = '3.13', arch = 'x86_64' }";
    let requirements = "markupsafe==3.0.2\nargon2-cffi-bindings==25.1.0";
    let sandbox = project(requirements, platform, X86_313);
    assert_eq!(rules(&sandbox), [vec![], Vec::<String>::new()]);
    let run = sandbox.run(["--json", "fits"]).success();
    assert_eq!(run.target("fits")["warnings"], 0);
    assert!(sandbox.exists("build/fits.stamp"));
    assert_eq!(sandbox.ran(["fits"]), [""; 0]);
    sandbox.write("app.py", "def main(): pass\n");
    let run = sandbox.run(["fits"]).failure();
    let _ = run.stderr_has("[handler-function] `handler` of the handler");
}

#[test]
fn the_sample_bundles_are_right() {
    let sandbox = Sandbox::new();
    sandbox.fixture("hello");
    let _ = sandbox.run(["package"]).success();
    let words =
        "check build/lambda.zip --runtime python3.13 --arch arm64 --handler lambda_handler.handler";
    let check = |sandbox: &Sandbox| {
        let run = Run::of(sandbox.zipwright().args(words.split(' '))).success();
        assert_eq!(run.stdout, "`build/lambda.zip`: 0 errors, 0 warnings\n");
    };
    check(&sandbox);
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Buildfile.example");
    let sandbox = Sandbox::new();
    sandbox.fixture("article").write("Buildfile", std::fs::read(example).unwrap());
    let _ = sandbox.run(["package"]).success();
    check(&sandbox);
    let _ = sandbox.run(["bundle-check"]).success();
}

/// Returns a project without wheels, checked for a runtime on arm64.
fn sources(files: &[(&str, &[u8])]) -> Sandbox {
    let sandbox = Sandbox::with(
        r#"
[target.staging]
kind = "staging"
sources = [{ from = "src", to = "." }]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
limits = false

[target.fits]
kind = "check"
zip = "package"
runtime = "python3.13"
arch = "arm64"
handler = "app.handler"
"#,
    );
    for (name, content) in files {
        sandbox.write(&format!("src/{name}"), content);
    }
    sandbox
}

#[test]
fn everything_is_said_at_once() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n");
    let sandbox = sources(&[
        ("lambda_handler.py", b"def handler(e, c): pass"),
        ("a/Data.json", b"{}"),
        ("a/data.json", b"{}"),
        (".env", b"TOKEN=1"),
        ("keys/server.pem", pem.as_bytes()),
    ]);
    let expected = [vec!["handler-module", "private-key"], vec!["secret-file", "case"]];
    assert_eq!(rules(&sandbox), expected);
    let run = sandbox.run(["check", "fits"]).status(1);
    assert!(!run.stdout.contains(body), "{run}");
    assert!(run.stdout.ends_with("`build/lambda.zip`: 2 errors, 2 warnings\n"), "{run}");
    let run = sandbox.run(["check", "fits", "--silence", "cose"]).failure();
    let _ = run.stderr_has("unknown rule `cose`; did you mean `case`?");
    let run = sandbox.run(["check", "staging", "--runtime", "python3.13"]).failure();
    let _ = run.stderr_has("`staging` is a staging; only a zip can be checked");
}

#[test]
fn a_tree_that_lambda_does_not_unzip_is_too_large() {
    let sandbox = sources(&[("app.py", b"handler = print")]);
    let file = std::fs::File::create(sandbox.path("src/weights.bin")).unwrap();
    file.set_len(300_000_000).unwrap();
    assert_eq!(rules(&sandbox), [vec!["unzipped-size"], vec![]]);
    let run = sandbox.run(["check", "fits"]).status(1);
    assert!(run.stdout.contains("weights.bin (300.0 MB), app.py (15 B)"), "{run}");
}

/// A zip of another tool, with modes that zipwright never writes.
#[test]
fn modes_that_lambda_cannot_read_are_found() {
    let sandbox = Sandbox::new();
    let mut zip = zip::ZipWriter::new(std::fs::File::create(sandbox.path("a.zip")).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.add_directory("pkg", options.unix_permissions(0o700)).unwrap();
    zip.start_file("pkg/a.py", options.unix_permissions(0o640)).unwrap();
    zip.write_all(b"x = 1").unwrap();
    zip.finish().unwrap();
    let run = sandbox.run(["check", "a.zip", "--runtime", "python3.13", "--arch", "arm64"]);
    let run = run.status(1);
    assert!(run.stdout.contains("the mode 700 keeps Lambda from reading it\n    pkg\n"), "{run}");
    assert!(run.stdout.contains("the mode 640"), "{run}");
    sandbox.write("a.zip", "no zip");
    let run = sandbox.run(["check", "a.zip", "--runtime", "python3.13", "--arch", "arm64"]);
    let _ = run.failure().stderr_has("could not check `a.zip`: it is not a complete zip file");
}

#[test]
fn an_upload_is_checked_against_the_function_itself() {
    let aws = Emulator::ministack();
    let before = bundle("app.py", "old = 1\n");
    aws.create_function("hello", "x86_64", &before);
    let mut sandbox = sources(&[("app.py", b"def main(event, context): pass\n")]);
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_ENDPOINT_URL", aws.endpoint());
    let buildfile = sandbox.read("Buildfile");
    let upload = |extra: &str| {
        let text = format!(
            "{buildfile}\n[target.up]\nkind = \"upload\"\nzip = \"package\"\nfunction = \"hello\"\n{extra}\n"
        );
        sandbox.write("Buildfile", text);
        sandbox.run(["--json", "up"])
    };
    let live = || text(&aws.function("hello"), "CodeSha256");
    let old = live();

    let run = upload("").failure();
    let error = text(&run.target("up"), "error");
    assert!(error.contains("nothing was sent"), "{error}");
    assert!(error.contains("of the handler `app.handler`"), "{error}");
    assert_eq!((live(), sandbox.exists("build/up.stamp")), (old.clone(), false));

    let run = upload("silence = [\"handler-function\"]").success();
    assert_eq!(run.target("up")["sent"], true);
    assert_ne!(live(), old);
    // A failing check does not change the inputs of the upload.
    assert_eq!(upload("").success().target("up")["outcome"], json!("up-to-date"));

    sandbox.write("src/app.py", "main = 2\n");
    let _ = upload("").failure();
    let sent: Value = upload("check = false").success().target("up");
    assert_eq!(sent["sent"], true);
}

#[test]
fn a_zip_that_is_not_there_is_named() {
    let outside = Sandbox::new();
    let inside = sources(&[("app.py", b"def handler(e, c): pass")]);
    for sandbox in [&outside, &inside] {
        for name in ["nope.zip", "./dist/nope.zip"] {
            let check = ["check", name, "--runtime", "python3.13", "--arch", "arm64"];
            let run = sandbox.run(check).failure();
            let _ = run.stderr_has(&format!("there is no file `{name}`"));
            for command in ["digest", "sbom"] {
                let run = sandbox.run([command, name]).failure();
                let _ = run.stderr_has(&format!("there is no file `{name}`"));
            }
        }
    }
    let run = inside.run(["check", "src"]).failure();
    let _ = run.stderr_has("`src` is a folder; name a zip file, or a target");
}

/// The same bytes get the same result as a target, which has the wheel of each path, and as a file,
/// which has only RECORD.
#[test]
fn files_of_a_data_folder_are_the_wheels() {
    let sandbox = project("./kit-1.0-py3-none-any.whl", "", X86_313);
    let script = r#"
import base64, hashlib, zipfile
body = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7'
pem = '-----BEGIN PRIVATE KEY-----\n' + body + '\n'
info = 'kit-1.0.dist-info/'
files = {
    'kit/__init__.py': '', 'kit-1.0.data/purelib/kit/b.pem': pem,
    'kit-1.0.data/data/share/c.pem': pem,
    info + 'METADATA': 'Metadata-Version: 2.1\nName: kit\nVersion: 1.0\n',
    info + 'WHEEL': 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
}
def line(name):
    digest = hashlib.sha256(files[name].encode()).digest()
    digest = base64.urlsafe_b64encode(digest).rstrip(b'=').decode()
    return f'{name},sha256={digest},{len(files[name])}\n'
files[info + 'RECORD'] = ''.join(map(line, list(files))) + info + 'RECORD,,\n'
with zipfile.ZipFile('kit-1.0-py3-none-any.whl', 'w') as zip:
    for name, content in files.items():
        zip.writestr(name, content)
"#;
    let _ = Run::of(sandbox.program(python()).args(["-c", script])).success();
    assert_eq!(rules(&sandbox), [vec![], Vec::<String>::new()]);
    let words = ["check", "build/lambda.zip", "--runtime", "python3.13", "--arch", "x86_64"];
    let run = Run::of(sandbox.zipwright().args(words)).success();
    assert_eq!(run.stdout, "`build/lambda.zip`: 0 errors, 0 warnings\n");
}
