//! In a CI service: `cache-key`, and annotations, summary and outputs for GitHub.

use std::collections::BTreeMap;

use crate::sandbox::{Run, Sandbox};

const BUILDFILE: &str = r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
constraints = ["constraints.txt"]
platform = { python = "3.13", arch = "arm64" }
[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["app.py"]
[target.package]
kind = "zip"
staging = "staging"
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    sandbox.write("requirements.txt", "idna==3.10\n").write("constraints.txt", "");
    sandbox.write("app.py", "1");
    sandbox
}

#[track_caller]
fn key(sandbox: &Sandbox) -> String {
    let run = sandbox.run(["cache-key"]).success();
    let line = run.stdout.strip_suffix('\n').unwrap().to_owned();
    assert!(line.len() == 32 && line.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
    line
}

#[test]
fn the_cache_key_changes_when_the_wheels_would() {
    let sandbox = project();
    let mut keys = vec![key(&sandbox)];
    let mut changed = |what: &str| {
        let new = key(&sandbox);
        assert!(!keys.contains(&new), "no change by {what}");
        keys.push(new);
    };
    sandbox.write("requirements.txt", "idna==3.9\n");
    changed("requirements");
    sandbox.write("constraints.txt", "idna<4\n");
    changed("constraints");
    let change = |from: &str, to: &str| {
        let text = sandbox.read("Buildfile");
        assert!(text.contains(from));
        sandbox.write("Buildfile", text.replace(from, to));
    };
    change("3.13", "3.12");
    changed("the runtime");
    change("arm64", "x86_64");
    changed("the architecture");
    change("platform = { python = \"3.12\", arch = \"x86_64\" }\n", "");
    changed("no platform");
    change("kind = \"wheelhouse\"", "kind = \"wheelhouse\"\npip-args = [\"--pre\"]");
    changed("an argument of pip");
    change("pip-args", "projects = [\"lib\"]\npip-args");
    sandbox.write("lib/pyproject.toml", "[project]\nname = \"lib\"\nversion = \"1\"\n");
    changed("a project");
    sandbox.write("lib/lib.py", "");
    changed("a file of a project");
    change(
        "[target.wheels]",
        "[target.more]\nkind = \"wheelhouse\"\nprojects = [\"lib\"]\n[target.wheels]",
    );
    changed("another wheelhouse");
}

#[test]
fn the_cache_key_is_the_same_on_every_machine() {
    let sandbox = project();
    let first = key(&sandbox);
    // Whether it was built, times, names of targets, outputs, other sources and other goals.
    sandbox.run(["staging"]).success();
    assert_eq!(key(&sandbox), first);
    sandbox.age("requirements.txt", 1000).write("app.py", "2").write("other", "");
    let text = sandbox.read("Buildfile");
    let text = text.replace("wheels]", "house]").replace("\"wheels\"", "\"house\"");
    sandbox
        .write("Buildfile", text.replace("[target.staging]", "output = \"x/y\"\n[target.staging]"));
    assert_eq!(key(&sandbox), first);
    // Comments, blank lines, and the files in which the requirements are.
    let text = sandbox.read("requirements.txt");
    sandbox.write("requirements.txt", "# What it needs.\n-r more/deps.txt  # more\n\n");
    sandbox.write("more/deps.txt", format!("\n{}  # pinned\n", text.trim_end()));
    assert_eq!(key(&sandbox), first);
    sandbox.write("deps.txt", text);
    let text = sandbox.read("Buildfile");
    sandbox.write("Buildfile", text.replace("requirements.txt", "deps.txt"));
    assert_eq!(key(&sandbox), first);
    let run = sandbox.run(["--json", "cache-key", "package"]).success();
    assert_eq!(run.events()[0]["key"], first.as_str());
    assert_eq!(run.events()[0]["wheelhouses"], serde_json::json!(["house"]));
    // Another folder, user and home.
    let mut other = project();
    other.set("HOME", other.path("").display());
    other.set("USER", "somebody");
    assert_eq!(key(&other), first);
    other.write("Buildfile", "[target.a]\nkind = \"command\"\nrun = [\"true\"]\n");
    other.run(["cache-key"]).failure().stderr_has("no wheelhouse is needed");
}

#[test]
fn requirements_that_a_target_makes_are_made_first() {
    let sandbox = Sandbox::with(
        r#"
        [target.export]
        kind = "command"
        inputs = ["lock"]
        outputs = ["build/requirements.txt"]
        shell = "cp lock build/requirements.txt"
        [target.wheels]
        kind = "wheelhouse"
        requirements = ["build/requirements.txt"]
        "#,
    );
    sandbox.write("lock", "idna==3.10\n");
    let first = key(&sandbox);
    assert_eq!(key(&sandbox), first);
    sandbox.write("lock", "idna==3.9\n");
    assert_ne!(key(&sandbox), first);
    sandbox.remove("lock");
    let run: Run = sandbox.run(["cache-key"]).failure();
    assert_eq!(run.stdout, "");
}

/// The variables of a step of GitHub Actions.
fn on_github(sandbox: &mut Sandbox) {
    for (name, value) in [
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_WORKSPACE", sandbox.path("").display().to_string()),
        ("GITHUB_STEP_SUMMARY", sandbox.beside("summary.md").display().to_string()),
        ("GITHUB_OUTPUT", sandbox.beside("output").display().to_string()),
    ] {
        sandbox.set(name, value);
    }
}

/// Returns the outputs of a step as the runner reads the file.
fn outputs(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(sandbox.beside("output")).unwrap_or_default();
    let mut lines = text.lines();
    let mut outputs = BTreeMap::new();
    while let Some(line) = lines.next() {
        let (name, end) = line.split_once("<<").unwrap();
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        outputs.insert(name.to_owned(), value.join("\n"));
    }
    outputs
}

const BUNDLE: &str = r#"
[target.staging]
kind = "staging"
sources = ["app.py"]
[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
[target.bundle-check]
kind = "check"
zip = "package"
runtime = "python3.13"
arch = "arm64"
[target.fails]
kind = "command"
shell = "echo to-the-log; exit 3"
"#;

#[test]
fn a_build_on_github_has_a_summary_and_outputs() {
    let mut sandbox = Sandbox::with(BUNDLE);
    sandbox.write("app.py", "1\n");
    sandbox.run(["package"]).success();
    assert!(!sandbox.beside("summary.md").exists());
    on_github(&mut sandbox);
    let run = sandbox.run(["package", "--no-github"]).success();
    assert!(!sandbox.beside("output").exists() && !run.stderr.contains("::"), "{run}");
    // Another program wrote the start of a line.
    std::fs::write(sandbox.beside("output"), "a<<b\nc\nb").unwrap();
    // With nothing to do, the zip has its facts.
    sandbox.run(["package"]).success();
    let digest = sandbox.run(["digest", "package"]).success().stdout.trim().to_owned();
    let first = outputs(&sandbox);
    assert_eq!(first["code-sha256"], digest);
    assert_eq!(first["package-path"], "build/lambda.zip");
    assert_eq!(first["a"], "c");
    let size = sandbox.bytes("build/lambda.zip").len();
    assert_eq!(first["size"], size.to_string());
    sandbox.write("app.py", "# longer, and harder to compress: 8f2a9c0d7e\n");
    std::fs::remove_file(sandbox.beside("summary.md")).unwrap();
    let run = sandbox.run(["--json", "package"]).success();
    assert!(!run.events().is_empty());
    assert_ne!(outputs(&sandbox)["code-sha256"], digest);
    let summary = std::fs::read_to_string(sandbox.beside("summary.md")).unwrap();
    let grown = sandbox.bytes("build/lambda.zip").len() - size;
    let row = summary.lines().find(|line| line.starts_with("| package | ran | ")).unwrap();
    assert!(row.contains(&format!(" | +{grown} B | `")), "{summary}");
    sandbox.run(["-n", "package"]).success();
    sandbox.run(["-q", "package"]).success();
    assert_eq!(std::fs::read_to_string(sandbox.beside("summary.md")).unwrap(), summary);
}

#[test]
fn errors_and_findings_on_github_are_annotations() {
    let mut sandbox = Sandbox::with(BUNDLE);
    on_github(&mut sandbox);
    sandbox.write("app.py", "import os\nprint 1\n");
    let run = sandbox.run(["-k", "bundle-check", "fails"]).failure();
    let commands: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("::")).collect();
    let starts = [
        "::error file=app.py,line=2,title=syntax (bundle-check)::python3.13 does not compile it: ",
        "::error file=Buildfile,line=9,col=9,title=target bundle-check::`build/lambda.zip` will not run",
        "::error file=Buildfile,line=14,col=9,title=target fails::",
    ];
    assert_eq!(commands.len(), 3, "{run}");
    for start in starts {
        assert!(commands.iter().any(|line| line.starts_with(start)), "no {start} in {run}");
    }
    assert_eq!(run.stdout, "to-the-log\n");
    let run =
        sandbox.run(["check", "build/lambda.zip", "--runtime", "python3.13", "--arch", "arm64"]);
    run.status(1)
        .stderr_has("::error file=app.py,line=2,title=syntax::python3.13 does not compile");
    // A mistake of the Buildfile, below the workspace.
    sandbox.write("sub/Buildfile", "[target.a]\nkind = \"zip\"\nstaging = \"b\"\n");
    let mistake =
        "::error file=sub/Buildfile,line=3,col=11,title=Buildfile::there is no target `b`%0Ahint: ";
    sandbox.run(["-C", "sub"]).failure().stderr_has(mistake);
    sandbox.run(["-C", "sub", "lint"]).failure().stderr_has(mistake);
    sandbox.run(["-C", "sub", "lint", "--no-github"]).failure().stderr_lacks("::error");
    sandbox.unset("GITHUB_ACTIONS");
    sandbox.run(["-C", "sub"]).failure().stderr_lacks("::error");
}
