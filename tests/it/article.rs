//! The project of the Makefile that people use today (requirements, a handler, a `setup.py` project
//! beside them), built by `Buildfile.example` with real pip and real wheels.

use std::fs;
use std::path::Path;

use crate::sandbox::{Run, Sandbox, copy_tree};

fn article() -> Sandbox {
    let sandbox = Sandbox::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("Buildfile.example");
    sandbox.fixture("article").write("Buildfile", fs::read(example).unwrap());
    sandbox
}

#[track_caller]
fn code_sha256(run: &Run) -> String {
    run.target("package")["code_sha256"].as_str().unwrap().to_owned()
}

/// Returns the names in the zip, by Python's reader.
fn names(sandbox: &Sandbox) -> Vec<String> {
    let script = "python3 -c \"import zipfile; print(*zipfile.ZipFile('build/lambda.zip').namelist(), sep='\\n')\"";
    sandbox.sh(script).success().stdout.lines().map(str::to_owned).collect()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_second_run_does_nothing_and_an_edit_redoes_what_depends_on_it() {
    let sandbox = article();
    let first = sandbox.run(["--json"]).success();
    for target in ["wheels", "version", "staging", "package", "all"] {
        assert_eq!(first.target(target)["outcome"], "ran", "{first}");
    }
    assert_eq!(sandbox.ran([]), [""; 0]);
    sandbox.touch("requirements.txt").touch("setup.py").touch("greetings/__init__.py");
    assert_eq!(sandbox.ran([]), [""; 0]);

    let edited = sandbox.read("lambda_handler.py") + "\n# edited\n";
    sandbox.write("lambda_handler.py", edited);
    assert_eq!(sandbox.ran([]), ["all", "package", "staging"]);

    sandbox.write("greetings/__init__.py", "def greet(name):\n    return name\n");
    assert_eq!(sandbox.ran([]), ["all", "package", "staging", "wheels"]);
    assert_eq!(sandbox.ran([]), [""; 0]);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn what_is_taken_out_is_gone_from_the_bundle() {
    let sandbox = article();
    let buildfile = sandbox.read("Buildfile");
    let with = buildfile.replace("\"lambda_handler.py\",", "\"lambda_handler.py\", \"more/*.py\",");
    sandbox.write("Buildfile", &with).write("more/a.py", "").write("more/b.py", "");
    sandbox.run([]).success();
    assert!(names(&sandbox).contains(&"more/a.py".to_owned()));
    assert!(names(&sandbox).contains(&"idna/codec.py".to_owned()));

    // The folder is the project of `projects = ["."]` as well, so its list of files is an input of
    // a wheel, which comes out with the same bytes.
    sandbox.remove("more/a.py");
    assert_eq!(sandbox.ran([]), ["all", "package", "staging", "wheels"]);
    assert!(!names(&sandbox).contains(&"more/a.py".to_owned()));
    assert!(names(&sandbox).contains(&"more/b.py".to_owned()));

    sandbox.write("Buildfile", with.replace("\"**/tests/**\"", "\"**/tests/**\", \"**/codec.py\""));
    assert_eq!(sandbox.ran([]), ["all", "package", "staging"]);
    assert!(!names(&sandbox).contains(&"idna/codec.py".to_owned()));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_bytes_depend_on_nothing_but_the_content() {
    let mut quiet = article();
    quiet.set("TZ", "UTC");
    let expected = code_sha256(&Run::of(&mut under_umask(&quiet, "022")).success());

    // Another path, umask, zone, locale, order of creation, other times, and a commit that changes
    // no file.
    let mut hostile = Sandbox::new();
    hostile.set("TZ", "Asia/Tokyo");
    hostile.set("LC_ALL", "tr_TR.UTF-8");
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(quiet.path("")).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let below = path.strip_prefix(quiet.path("")).unwrap().to_str().unwrap().to_owned();
        if path.is_file() && !below.starts_with("build/") && !below.starts_with(".zipwright/") {
            files.push(below);
        }
    }
    for file in files.iter().rev() {
        hostile.write(file, quiet.bytes(file)).age(file, 1_000_000);
    }
    let git = "git init -q . && git -c user.name=t -c user.email=t@example.com";
    hostile.sh(&format!("{git} commit -q --allow-empty -m first")).success();
    assert_eq!(code_sha256(&Run::of(&mut under_umask(&hostile, "077")).success()), expected);
    let git = "git -c user.name=t -c user.email=t@example.com";
    hostile.sh(&format!("{git} commit -q --allow-empty -m more")).success();
    let again = Run::of(&mut under_umask(&hostile, "077")).success();
    assert_eq!(again.target("package")["outcome"], "up-to-date", "{again}");
    let forced = Run::of(under_umask(&hostile, "077").env("ARGS", "-B")).success();
    assert_eq!(code_sha256(&forced), expected);
}

fn under_umask(sandbox: &Sandbox, umask: &str) -> std::process::Command {
    let mut command = sandbox.program("/bin/sh");
    let script = format!("umask {umask}; exec \"$0\" --json $ARGS");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_zipwright")]);
    command
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_bundle_opens_everywhere_and_the_handler_runs_from_it() {
    let sandbox = article();
    let run = sandbox.run(["--json"]).success();
    let digest = sandbox.run(["digest", "package"]).success().stdout;
    assert_eq!(digest.trim(), code_sha256(&run));
    let openssl = "openssl dgst -sha256 -binary build/lambda.zip | base64";
    assert_eq!(sandbox.sh(openssl).success().stdout, digest);
    assert_eq!(sandbox.run(["digest", "build/lambda.zip"]).success().stdout, digest);

    sandbox.sh("unzip -tq build/lambda.zip").success();
    sandbox.sh("umask 077; unzip -q build/lambda.zip -d unzipped").success();
    let modes = sandbox.sh("find unzipped -mindepth 1 -printf '%m %y\\n' | sort -u").success();
    assert_eq!(modes.stdout, "644 f\n755 d\n");
    let script = "import sys; sys.path.insert(0, 'build/lambda.zip'); import lambda_handler; \
                  event = {'name': 'World', 'domain': 'größe.example'}; \
                  print(lambda_handler.handler(event, None))";
    let run = sandbox.sh(&format!("python3 -S -c \"{script}\"")).success();
    assert!(run.stdout.contains("Hello, World!"), "{run}");
    assert!(run.stdout.contains("xn--gre-6ka8i.example"), "{run}");
}

#[test]
fn the_example_of_the_readme_builds() {
    let sandbox = Sandbox::new();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let buildfile = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    sandbox.fixture("hello").write("Buildfile", buildfile);
    let run = sandbox.run([]).success();
    run.stderr_has("CodeSha256").stderr_has("build/lambda.zip");
}

#[test]
fn the_project_that_the_readme_names_first_runs_its_handler() {
    let sandbox = Sandbox::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hello");
    copy_tree(&fixture, &sandbox.path(""));
    for leftover in ["build", ".zipwright"] {
        if sandbox.exists(leftover) {
            sandbox.remove(leftover);
        }
    }
    let run = sandbox.run([]).success();
    assert!(run.stdout.contains("{'domain': 'xn--gre-6ka8i.example'}"), "{run}");
    run.stderr_has("CodeSha256");
}
