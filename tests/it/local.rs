//! Handlers that run on this machine from a bundle, in every installed Python: those of
//! `TEST_PYTHONS` (paths with `:` between them), else those on PATH and beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::aws_project::bundling;
use crate::sandbox::{Run, Sandbox, copy_tree, python, side_by_side, text};
use crate::wait::{runs, until};
use crate::watching::Watching;

const BUILDFILE: &str = bundling!(
    r#"
[target.invoke]
kind = "invoke"
local = true
zip = "package"
handler = "app.handler"
"#
);

/// Returns a project with this handler. All tests share the folder of installed packages.
fn project(app: &str) -> Sandbox {
    with_keys(app, "")
}

fn with_keys(app: &str, keys: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(&format!("{BUILDFILE}{keys}\n"));
    sandbox.set(
        "XDG_CACHE_HOME",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-cache").display(),
    );
    sandbox.write("app.py", app);
    sandbox
}

/// Returns the project with this Python.
fn project_in(program: &Path, app: &str, keys: &str) -> Sandbox {
    with_keys(app, &format!("python = '{}'\n{keys}", program.display()))
}

/// Returns the interpreters that handlers can run in, by version. With fewer than two, prints a
/// note.
fn pythons() -> &'static BTreeMap<(u8, u8), PathBuf> {
    static FOUND: OnceLock<BTreeMap<(u8, u8), PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found = BTreeMap::new();
        for place in candidates() {
            let script = "import pip, sys; print(*sys.version_info[:2], sys.executable)";
            let Ok(output) = Command::new(place).args(["-c", script]).output() else { continue };
            let answer = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut words = answer.trim_end().splitn(3, ' ');
            let mut number = || words.next().and_then(|word| word.parse().ok());
            let (Some(major), Some(minor)) = (number(), number()) else { continue };
            let Some(program) = words.next() else { continue };
            // A development version has no wheels yet.
            if (3, 10) <= (major, minor) && (major, minor) <= (3, 14) {
                found.entry((major, minor)).or_insert_with(|| PathBuf::from(program));
            }
        }
        if found.len() < 2 {
            eprintln!("skipped: a second Python from 3.10 to 3.14 with pip; set TEST_PYTHONS");
        }
        found
    })
}

fn candidates() -> Vec<PathBuf> {
    if let Ok(places) = std::env::var("TEST_PYTHONS") {
        return std::env::split_paths(&places).collect();
    }
    let names: Vec<String> = (10..=14).map(|minor| format!("python3.{minor}")).collect();
    let mut found = vec![python().to_path_buf()];
    found.extend(names.iter().map(PathBuf::from));
    // Versions that are installed side by side.
    let beside = python().ancestors().nth(3).and_then(|folder| fs::read_dir(folder).ok());
    for folder in beside.into_iter().flatten().flatten() {
        found.push(folder.path().join("bin/python3"));
    }
    found
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// Returns the error of a failed invoke, and its run.
#[track_caller]
fn error(sandbox: &Sandbox) -> (String, Run) {
    let run = sandbox.run(["--json", "invoke"]).failure();
    (text(&run.target("invoke"), "error"), run)
}

#[test]
fn an_event_gives_a_response_and_a_log_in_every_python() {
    let app = "
import logging, sys
def handler(event, context):
    print('printed')
    print('to stderr', file=sys.stderr)
    logging.getLogger().setLevel(logging.INFO)
    logging.info('logged')
    return {'event': event, 'id': context.aws_request_id, 'arn': context.invoked_function_arn,
            'name': context.function_name, 'left': context.get_remaining_time_in_millis(),
            'python': list(sys.version_info[:2])}
";
    for ((major, minor), program) in pythons() {
        let keys = format!("payload = {{ name = 'é' }}\npython = '{}'", program.display());
        let project = with_keys(app, &keys);
        let run = project.run(["invoke"]).success();
        let response = json_of(&run.stdout);
        assert_eq!(response["event"], json!({"name": "é"}));
        assert_eq!(response["python"], json!([major, minor]));
        assert_eq!(response["name"], "invoke");
        assert_eq!(response["arn"], "arn:aws:lambda:us-east-1:000000000000:function:invoke");
        let left = response["left"].as_u64().unwrap();
        assert!((1..=3000).contains(&left), "{left}");
        let id = text(&response, "id");
        assert_eq!(id.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        let logged: Vec<&str> = run
            .stderr
            .lines()
            .filter(|line| line.contains(&id) && line.contains("logged"))
            .collect();
        assert!(matches!(logged.as_slice(), [line] if line.contains("[INFO]\t")), "{run}");
        let _ = run.stderr_has("printed\n").stderr_has("to stderr\n");
    }
}

#[test]
fn an_exception_fails_with_its_traceback_in_every_python() {
    let app = "def handler(event, context):\n    raise ValueError('boom')\n";
    for program in pythons().values() {
        let project = with_keys(app, &format!("python = '{}'", program.display()));
        let run = project.run(["invoke"]).failure();
        let run = run.stderr_has("`app.handler` failed: ValueError: boom\n");
        let run = run.stderr_has("line 2, in handler").stderr_has("raise ValueError('boom')");
        assert_eq!(run.stdout, "", "an error is no response");
    }
}

#[test]
fn what_cannot_be_loaded_fails_at_its_start_in_every_python() {
    for program in pythons().values() {
        let project = project_in(program, "import nowhere\n", "");
        let (error_text, _) = error(&project);
        assert!(error_text.contains("Runtime.ImportModuleError"), "{error_text}");
        assert!(error_text.contains("the bundle has no `nowhere`"), "{error_text}");

        project.write("app.py", "def other(event, context): pass\n");
        let (error_text, _) = error(&project);
        assert!(error_text.contains("Runtime.HandlerNotFound"), "{error_text}");

        project.write("app.py", "def handler(:\n");
        let (error_text, _) = error(&project);
        assert!(error_text.contains("Runtime.UserCodeSyntaxError"), "{error_text}");

        // The module itself.
        let buildfile = project.read("Buildfile").replace("app.handler", "elsewhere.handler");
        project.write("Buildfile", buildfile);
        let (error_text, _) = error(&project);
        assert!(error_text.contains("Runtime.ImportModuleError"), "{error_text}");
        assert!(error_text.contains("the bundle has no `elsewhere`"), "{error_text}");
    }
}

#[test]
fn what_is_installed_on_this_machine_is_not_there_in_every_python() {
    // pip is in site-packages of this interpreter.
    let app = "def handler(event, context):\n    import pip\n";
    for program in pythons().values() {
        let (error_text, _) = error(&project_in(program, app, ""));
        assert!(error_text.contains("ModuleNotFoundError: No module named 'pip'"), "{error_text}");
        assert!(error_text.contains("the bundle has no `pip`"), "{error_text}");
    }
}

#[test]
fn boto3_is_there_when_it_is_asked_for() {
    let app = "def handler(event, context):\n    import boto3\n    return boto3.__version__\n";
    let (error_text, _) = error(&project(app));
    assert!(error_text.contains("set `with-boto3 = true`"), "{error_text}");
    let run = with_keys(app, "with-boto3 = true\ntimeout = 60").run(["invoke"]).success();
    assert!(run.stdout.starts_with("\"1."), "{run}");
}

#[test]
fn a_handler_that_takes_too_long_is_ended_with_all_it_started_in_every_python() {
    let app = "
import subprocess, time
def handler(event, context):
    child = subprocess.Popen(['sleep', '600'])
    print('started', child.pid)
    time.sleep(600)
";
    side_by_side(pythons().values(), |program| {
        let (error_text, run) = error(&project_in(program, app, "timeout = 1"));
        assert!(error_text.contains("Task timed out after 1.00 seconds"), "{error_text}");
        let lines = run.events();
        let line = lines.iter().filter_map(|event| event["text"].as_str());
        let pid = line.filter_map(|line| line.strip_prefix("started ")).next();
        let pid = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?));
        let pid = pid.unwrap_or_else(|| panic!("{run}"));
        until("the end of the handler's child process", || (!runs(pid)).then_some(()));
    });
}

#[test]
fn a_handler_that_prints_without_end_takes_no_longer_than_its_timeout() {
    let floods = [
        "import subprocess\ndef handler(event, context):\n    subprocess.run(['yes'])\n",
        "import os\ndef handler(event, context):\n    while True: os.write(1, b'x\\n' * 30000)\n",
    ];
    for app in floods {
        let project = with_keys(app, "timeout = 1");
        let _ = project.run(["-s", "invoke"]).failure().stderr_has("Task timed out after 1.00 s");

        project
            .write("Buildfile", project.read("Buildfile").replace("timeout = 1", "timeout = 600"));
        let mut watching = Watching::start(&mut project.zipwright());
        watching.expect("`");
        watching.send(Signal::TERM);
        assert_eq!(watching.ended().signal(), Some(Signal::TERM.as_raw()));
    }
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_response_does_not_wait_for_output_without_end() {
    let process = "subprocess.Popen(['yes'])";
    let leaver = "subprocess.Popen(['timeout', '30', 'yes'], start_new_session=True)";
    let thread = "threading.Thread(target=flood, daemon=True).start()";
    for start in [process, leaver, thread] {
        let project = project(&format!(
            "
import os, subprocess, threading, time
def flood():
    while True: os.write(1, b'x\\n' * 30000)
def handler(event, context):
    {start}
    time.sleep(0.3)
    return 1
"
        ));
        let run = project.run(["-s", "invoke", "--payload=1", "--repeat=2"]).success();
        assert_eq!(run.stdout, "1\n1\n");
    }
}

#[test]
fn the_lines_of_a_traceback_in_the_log_are_lines() {
    let run = project("def handler(event, context):\n    raise ValueError('boom')\n");
    let run = run.run(["invoke"]).failure();
    assert!(!run.stderr.contains('\r'), "{run}");
    let lines = run.stderr.lines().filter(|line| line.ends_with("raise ValueError('boom')"));
    assert_eq!(lines.count(), 2, "in the log and in the error: {run}");
}

#[test]
fn a_process_that_ends_is_an_error_of_the_runtime_in_every_python() {
    let app = "import os\ndef handler(event, context):\n    print('last words')\n    os._exit(3)\n";
    for program in pythons().values() {
        let project = project_in(program, app, "");
        let (error_text, run) = error(&project);
        assert!(error_text.contains("Runtime.ExitError: "), "{error_text}");
        assert!(error_text.contains("Runtime exited with error: exit status 3"), "{error_text}");
        assert!(run.stdout.contains("last words"), "{run}");

        project.write("app.py", "import os\nos.abort()\n");
        let (error_text, _) = error(&project);
        assert!(error_text.contains("signal 6 (SIGABRT)"), "{error_text}");
    }
}

#[test]
fn a_second_call_finds_what_the_first_left() {
    let app = "
count = 0
def handler(event, context):
    global count
    count += 1
    print('call', count)
    return [event, count]
";
    let project = with_keys(app, "payloads = ['a.json', { b = 2 }]");
    project.write("a.json", "{\"a\": 1}");
    let run = project.run(["invoke", "--repeat", "2"]).success();
    let expected = "[{\"a\": 1}, 1]\n[{\"b\": 2}, 2]\n[{\"a\": 1}, 3]\n[{\"b\": 2}, 4]\n";
    assert_eq!(run.stdout, expected);
    let run = project.run(["--json", "invoke", "--repeat=3", "--payload", "5"]).success();
    let invoked = run.target("invoke");
    assert_eq!((&invoked["calls"], &invoked["cold_starts"]), (&json!(3), &json!(1)), "{run}");
    // A call's log comes before its response, and both before the next call's.
    let events = run.events();
    let lines: Vec<&str> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    let lines: Vec<&str> = lines
        .into_iter()
        .filter(|line| line.starts_with("call ") || line.starts_with('['))
        .collect();
    assert_eq!(lines, ["call 1", "[5, 1]", "call 2", "[5, 2]", "call 3", "[5, 3]"]);
}

#[test]
fn a_second_call_is_warm_in_every_python() {
    let app = "
import os
count = 0
def handler(event, context):
    global count
    count += 1
    return [count, os.getpid()]
";
    for program in pythons().values() {
        let project = project_in(program, app, "");
        let run = project.run(["--json", "invoke", "--payload", "1", "--repeat", "3"]).success();
        let invoked = run.target("invoke");
        assert_eq!((&invoked["calls"], &invoked["cold_starts"]), (&json!(3), &json!(1)), "{run}");
        let events = run.events();
        let lines = events.iter().filter_map(|event| event["text"].as_str());
        let answers: Vec<Value> = lines.filter(|line| line.starts_with('[')).map(json_of).collect();
        let counts: Vec<&Value> = answers.iter().map(|answer| &answer[0]).collect();
        assert_eq!(counts, [1, 2, 3], "{run}");
        assert!(answers.iter().all(|answer| answer[1] == answers[0][1]), "one process: {run}");
    }
}

#[test]
fn a_call_that_fails_among_others_is_named() {
    let project = project("def handler(event, context):\n    return 1 / event\n");
    let run = project.run(["invoke", "--payload", "1", "--payload", "0"]).failure();
    let run = run.stderr_has("call 2 of 2: `app.handler` failed: ZeroDivisionError");
    assert_eq!(run.stdout, "1.0\n");
}

#[test]
fn payloads_come_from_files_words_and_standard_input() {
    let mut project = project("def handler(event, context):\n    return event\n");
    project.write("p.json", "[1]");
    let outside = project.beside("outside.json");
    fs::write(&outside, "[2]").unwrap();
    project.set("OUTSIDE", outside.display());
    let script = format!(
        "echo '[3]' | {} invoke --payload p.json --payload \"$OUTSIDE\" --payload - \
         --payload '{{\"x\": 4}}'",
        env!("CARGO_BIN_EXE_zipwright")
    );
    let run = project.sh(&script).success();
    assert_eq!(run.stdout, "[1]\n[2]\n[3]\n{\"x\": 4}\n");

    let run = project.run(["invoke", "--payload", "{\"x\": 4,}"]).failure();
    let _ = run.stderr_has("what --payload says is not JSON: ");
    let mut child = project.zipwright();
    child.args(["invoke", "--payload", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"no JSON").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input is not JSON"), "{said}");
}

#[test]
fn only_the_variables_that_were_given_are_there() {
    let app = "
import os
def handler(event, context):
    return [os.environ.get(name) for name in ('GIVEN', 'TAKEN', 'OTHER', 'AWS_REGION', 'SHELL_ONE',
            'AWS_SECRET_ACCESS_KEY', 'TZ')]
";
    let mut project = with_keys(app, "env = { GIVEN = 'g', OTHER = 'o' }");
    project.set("SHELL_ONE", "s");
    project.set("TAKEN", "t");
    project.set("AWS_REGION", "eu-west-1");
    let run = project.run(["invoke", "--env", "TAKEN", "--env", "OTHER=x=y"]).success();
    let expected = json!(["g", "t", "x=y", "eu-west-1", null, null, ":UTC"]);
    assert_eq!(json_of(&run.stdout), expected);
    let run = project.run(["invoke", "--env", "NOT_THERE"]).failure();
    let _ = run.stderr_has("the environment has no such variable");
}

#[test]
fn large_responses_pass_up_to_lambdas_limit() {
    let project =
        with_keys("def handler(event, context):\n    return 'x' * event\n", "timeout = 60");
    let run = project.run(["invoke", "--payload", "6000000"]).success();
    assert_eq!(run.stdout.len(), 6_000_003);
    let run = project.run(["invoke", "--payload", "6300000"]).failure();
    let _ = run.stderr_has("Function.ResponseSizeTooLarge");
    project.write("large.json", format!("\"{}\"", "x".repeat(6 << 20)));
    let run = project.run(["invoke", "--payload", "large.json"]).failure();
    let _ = run.stderr_has("`large.json` is too large").stderr_has("such a call is 6291456");
}

#[test]
fn what_a_handler_writes_beside_its_code_is_said_and_does_not_stay() {
    let app = "
import os
def handler(event, context):
    before = os.path.exists('left')
    open('left', 'w').close()
    return before
";
    let project = project(app);
    for _ in 0..2 {
        let run = project.run(["invoke"]).success();
        assert_eq!(run.stdout, "false\n");
        let _ = run.stderr_has("the handler wrote `left` beside its code");
    }
}

#[test]
fn a_process_that_leaves_the_group_is_not_waited_for() {
    let app = "
import subprocess
def handler(event, context):
    child = subprocess.Popen(['sleep', '60'], start_new_session=True)
    return child.pid
";
    let project = project(app);
    // It holds our pipe, not that of the test: this returns although it still sleeps.
    let run = project.run(["invoke"]).success();
    let _ = project.sh(&format!("kill {}", run.stdout.trim())).success();
}

#[test]
fn a_new_bundle_is_what_runs_next() {
    let project = project("def handler(event, context):\n    return 1\n");
    assert_eq!(project.run(["invoke"]).success().stdout, "1\n");
    project.write("app.py", "def handler(event, context):\n    return 2\n");
    assert_eq!(project.run(["invoke"]).success().stdout, "2\n");
}

#[test]
fn local_runs_an_uploads_bundle_and_uploads_nothing() {
    let mut project = project("def handler(event, context):\n    return 'here'\n");
    let buildfile = BUILDFILE.replace("local = true\nzip = \"package\"", "upload = \"upload\"")
        + "\n[target.upload]\nkind = 'upload'\nzip = 'package'\nfunction = 'f'\n\
           [target.all]\nkind = 'group'\ntargets = ['invoke']\n";
    project.write("Buildfile", &buildfile);
    // A request to AWS would fail.
    project.set("AWS_REGION", "eu-west-1");
    project.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    for goal in ["invoke", "all"] {
        let run = project.run([goal, "--local"]).success();
        assert_eq!(run.stdout, "\"here\"\n");
    }
    assert!(!project.exists("build/upload.stamp"));
    let outcomes = project.outcomes(["invoke", "--local"]);
    assert!(!outcomes.contains_key("upload"), "{outcomes:?}");

    let _ = project.run(["package", "--local"]).failure().stderr_has("no goal is one");
    let _ = project.run(["invoke", "--env=A=b"]).failure().stderr_has("add --local");
    let _ = project.run(["invoke", "--local", "--qualifier=1"]).failure();
    project.write("Buildfile", buildfile.replace("handler = \"app.handler\"", ""));
    let run = project.run(["invoke", "--local"]).failure();
    let _ = run.stderr_has("add `handler = \"module.function\"` to invoke `invoke`");
}

#[test]
fn a_client_that_lost_or_changed_a_file_is_installed_again() {
    let mut project = project("def handler(event, context):\n    return 'here'\n");
    project.run(["invoke"]).success();
    // A cache of its own, because other tests use the shared one.
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-cache/zipwright/tools-v1");
    let own = project.beside("cache/zipwright/tools-v1");
    copy_tree(&shared, &own);
    project.set("XDG_CACHE_HOME", project.beside("cache").display());
    assert_eq!(project.run(["invoke"]).success().stdout, "\"here\"\n");
    let find = || {
        let entries = walkdir::WalkDir::new(&own).into_iter().flatten();
        let mut places = entries.map(walkdir::DirEntry::into_path);
        places.find(|place| place.ends_with("awslambdaric/bootstrap.py")).unwrap()
    };
    fs::remove_file(find()).unwrap();
    assert_eq!(project.run(["invoke"]).success().stdout, "\"here\"\n");
    let mut text = fs::read_to_string(find()).unwrap();
    text.insert_str(0, "raise SystemExit(3)\n");
    fs::write(find(), text).unwrap();
    assert_eq!(project.run(["invoke"]).success().stdout, "\"here\"\n");
}
