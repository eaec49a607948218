//! `reproduce`: a project that holds under everything that is varied, and one in which every
//! file is planted with something that does not.

use serde_json::Value;

use crate::proving::project;
use crate::sandbox::{Run, Sandbox};

/// Each command writes one file that depends on something that no input says.
const PLANTED: &str = r#"
default = ["package"]

[target.clock]
kind = "command"
outputs = ["gen/clock.txt"]
shell = "echo built at $(date +%s) > gen/clock.txt"

[target.uuid]
kind = "command"
outputs = ["gen/uuid.txt"]
shell = "python3 -c 'import uuid; print(uuid.uuid4())' > gen/uuid.txt"

[target.threads]
kind = "command"
outputs = ["gen/threads.txt"]
shell = "python3 threads.py > gen/threads.txt"

[target.path]
kind = "command"
outputs = ["gen/path.txt"]
shell = "pwd > gen/path.txt"

[target.host]
kind = "command"
outputs = ["gen/host.txt"]
shell = "uname -n > gen/host.txt"

[target.umask]
kind = "command"
outputs = ["gen/umask.txt"]
shell = "umask > gen/umask.txt"

[target.hash]
kind = "command"
outputs = ["gen/hash.txt"]
shell = "python3 -c 'print(*set(\"abcdefghijkl\"))' > gen/hash.txt"

[target.staging]
kind = "staging"
sources = ["handler.py", "gen/*.txt"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"

[target.upload]
kind = "upload"
zip = "package"
function = "nobody"
"#;

const THREADS: &str = "import random, threading, time
lines = []
def work(number):
    time.sleep(random.random() / 20)
    lines.append(number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*lines, sep='\\n')
";

fn report(run: &Run) -> Value {
    run.events().remove(0)
}

fn is_varied(report: &Value, name: &str) -> bool {
    let offers = report["variations"].as_array().unwrap();
    offers
        .iter()
        .any(|offer| offer["varied"] == true && offer["name"].as_str().unwrap().contains(name))
}

#[test]
fn a_project_that_holds_is_identical() {
    let sandbox = project();
    let run = sandbox.run(["--json", "reproduce"]).success();
    let report = report(&run);
    assert_eq!(report["verdict"], "identical", "{run}");
    assert_eq!(report["builds"], 2);
    for name in ["folder of the build", "HOME", "TMPDIR", "umask", "TZ", "PYTHONHASHSEED"] {
        assert!(is_varied(&report, name), "{name} in {run}");
    }
    assert!(!sandbox.exists("build"), "the project itself is not built");
}

#[test]
fn what_is_planted_is_found_with_its_cause() {
    let sandbox = Sandbox::with(PLANTED);
    sandbox.write("handler.py", "").write("threads.py", THREADS).write("gen/.keep", "");
    let run = sandbox.run(["--json", "reproduce", "upload"]).status(1);
    let report = report(&run);
    assert_eq!(report["verdict"], "differs-cause-known", "{run}");
    let findings = report["zips"][0]["findings"].as_array().unwrap();
    let cause = |file: &str| {
        let path = format!("gen/{file}.txt");
        let found = findings.iter().find(|finding| finding["path"] == path.as_str());
        found.map(|finding| finding["cause"].as_str().unwrap().to_owned())
    };
    for (file, expected) in [
        ("clock", "clock"),
        ("uuid", "random"),
        ("threads", "order"),
        ("path", "path"),
        ("umask", "umask"),
        ("hash", "hash-seed"),
    ] {
        assert_eq!(cause(file).as_deref(), Some(expected), "{file} in {run}");
    }
    let host = is_varied(&report, "host name").then_some("hostname");
    assert_eq!(cause("host").as_deref(), host, "{run}");
    assert!(findings.iter().all(|finding| finding["path"] != "handler.py"));
    let kept = report["zips"][0]["kept"].as_array().unwrap();
    assert!(kept.iter().all(|path| sandbox.exists(path.as_str().unwrap())), "{run}");
    let diff = sandbox.run(["diff", kept[0].as_str().unwrap(), kept[1].as_str().unwrap()]);
    assert!(diff.status(1).stdout.contains("built at"));
}

#[test]
fn a_report_says_what_differs_why_and_what_to_do() {
    let sandbox = Sandbox::with(PLANTED);
    let only = PLANTED.replace("\"gen/*.txt\"", "\"gen/path.txt\"");
    sandbox.write("Buildfile", only).write("handler.py", "").write("gen/.keep", "");
    let run = sandbox.run(["reproduce", "package"]).status(1);
    for text in [
        "differs, cause known",
        "package: `gen/path.txt`",
        "build 2: /",
        "cause: it changes with the folder of the build",
        "what you can do: write paths relative to the project",
        "varied, in 4 builds:",
        "diffoscope '.zipwright/reproduce/package.1.zip'",
    ] {
        assert!(run.stdout.contains(text), "no `{text}` in\n{run}");
    }
}

#[test]
fn what_cannot_be_built_or_compared_is_an_error() {
    let sandbox = Sandbox::with(PLANTED);
    sandbox.run(["reproduce", "clock"]).failure().stderr_has("no zip is made");
    sandbox.run(["reproduce"]).failure().stderr_has("build 1 failed").stderr_has("threads.py");
}
