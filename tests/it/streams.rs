//! The output streams of commands, and the programs that read-only commands start.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use signal_hook::consts::SIGPIPE;

use crate::sandbox::{Run, Sandbox};

const TARGETS: &str = r#"
default = ["noise"]
[target.noise]
kind = "command"
outputs = ["out"]
shell = "seq 3; touch out"
"#;

/// Command lines that write to standard output.
const PRINTING: [&[&str]; 12] = [
    &["list"],
    &["list", "--json"],
    &["graph"],
    &["graph", "--format", "mermaid"],
    &["explain", "noise"],
    &["explain", "--json", "noise"],
    &["diff", "Buildfile", "Buildfile"],
    &["diff", "--json", "Buildfile", "Buildfile"],
    &["digest", "Buildfile"],
    &["digest", "--json", "Buildfile"],
    &["--help"],
    &["--version"],
];
const BUILDING: [&[&str]; 5] = [&["-n"], &["-n", "--json"], &[], &["--json"], &["-B", "-s"]];

#[test]
fn a_standard_output_that_is_full_is_an_error_of_every_command() {
    for args in PRINTING.iter().chain(&BUILDING) {
        let sandbox = Sandbox::with(TARGETS);
        let mut zipwright = sandbox.zipwright();
        let run = zipwright.args(*args).stdout(File::create("/dev/full").unwrap());
        let run = Run::of(run.stderr(Stdio::piped())).failure();
        let errors = run.stderr.matches("error: could not write to standard output: ").count();
        assert_eq!(errors, 1, "{args:?}\n{run}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_what_only_prints_and_no_build() {
    let end = |args: &[&str]| {
        let sandbox = Sandbox::with(TARGETS);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.zipwright().args(args).stdout(writer).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!errors.contains("error"), "{args:?}: {errors}");
        (output.status, sandbox.exists("out"))
    };
    for args in PRINTING {
        assert_eq!(end(args).0.signal(), Some(SIGPIPE), "{args:?}");
    }
    for args in BUILDING {
        let (status, built) = end(args);
        assert!(status.success(), "{args:?}");
        assert_eq!(built, !args.contains(&"-n"), "{args:?}");
    }
}

#[test]
fn what_looking_starts_is_what_the_docs_name() {
    let mut sandbox = Sandbox::with(
        r#"
        default = ["call"]
        [target.wheels]
        kind = "wheelhouse"
        requirements = ["requirements.txt"]
        [target.staging]
        kind = "staging"
        wheels = ["wheels"]
        sources = ["app.py"]
        bytecode = true
        [target.own]
        kind = "staging"
        sources = ["app.py"]
        clamp = "git"
        [target.package]
        kind = "zip"
        staging = "staging"
        [target.before]
        kind = "command"
        phony = true
        shell = "touch ran"
        [target.upload]
        kind = "upload"
        zip = "package"
        function = "hello"
        after = ["before"]
        [target.call]
        kind = "invoke"
        upload = "upload"
        "#,
    );
    sandbox.write("requirements.txt", "six\n").write("app.py", "");
    sandbox.set("AWS_REGION", "eu-west-1");
    let git = "git -c user.name=n -c user.email=e";
    sandbox.sh(&format!("{git} init -q . && {git} commit -q --allow-empty -m x")).success();
    let path = sandbox.sh("echo \"$PATH\"").success().stdout;
    let bin = sandbox.beside("bin");
    let log = sandbox.beside("started");
    fs::create_dir(&bin).unwrap();
    for program in ["python3", "git", "pip", "sh", "make"] {
        let real = sandbox.sh(&format!("command -v {program} || true")).success().stdout;
        let script = format!(
            "#!/bin/sh\necho {program} \"$1\" \"$2\" \"$3\" | head -1 >> '{}'\nexec {} \"$@\"\n",
            log.display(),
            real.trim()
        );
        fs::write(bin.join(program), script).unwrap();
    }
    sandbox.sh(&format!("chmod +x '{}'/*", bin.display())).success();
    sandbox.set("PATH", format!("{}:{}", bin.display(), path.trim()));
    for args in [["list", "-C."], ["graph", "-C."]] {
        sandbox.run(args).success();
        assert!(!log.exists(), "{args:?}");
    }
    for (word, code) in [("-n", 0), ("-q", 1), ("explain", 0)] {
        sandbox.run([word, "call", "own"]).status(code);
        let lines = fs::read_to_string(&log).unwrap();
        let mut started: Vec<&str> = lines.lines().map(str::trim_end).collect();
        started.sort();
        started.dedup();
        assert_eq!(started, ["git -c log.showSignature=false log", "python3 -c"], "{word}");
        fs::remove_file(&log).unwrap();
    }
    assert!(!sandbox.exists("ran") && !sandbox.exists(".zipwright"));
}
