//! Attacks by other users of the machine and by other people's input: the cache, the state folder,
//! the local Runtime API, memory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sandbox::{Run, Sandbox};

const NOBODY: u32 = 65_534;

/// A build that uses the cache and needs no network.
const WHEELS: &str = r#"
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
python = "python3"
"#;

fn project() -> Sandbox {
    let sandbox = Sandbox::with(WHEELS);
    sandbox.write("requirements.txt", "");
    sandbox
}

fn mode(place: &Path) -> u32 {
    place.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(place: &Path, mode: u32) {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes the owner of a path; returns `false` if only root could.
fn give_away(place: &Path) -> bool {
    chown(place, Some(NOBODY), Some(NOBODY)).is_ok()
}

#[test]
fn cache_and_state_are_for_their_user_alone() {
    let sandbox = project();
    sandbox.run([]).success();
    for folder in [sandbox.beside("cache/zipwright"), sandbox.path(".zipwright")] {
        for entry in walkdir::WalkDir::new(&folder) {
            let entry = entry.unwrap();
            let expected = if entry.file_type().is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(entry.path()), expected, "{}", entry.path().display());
        }
    }
    assert_eq!(mode(&sandbox.path("build")) & 0o700, 0o700);
    for looser in [sandbox.beside("cache/zipwright"), sandbox.path(".zipwright")] {
        set_mode(&looser, 0o755);
        sandbox.write("requirements.txt", format!("# {}\n", looser.display()));
        sandbox.run([]).success();
        assert_eq!(mode(&looser), 0o700);
    }
}

#[test]
fn a_folder_that_others_can_write_is_an_error_with_a_way_out() {
    let sandbox = project();
    fs::create_dir(sandbox.beside("cache/zipwright")).unwrap();
    set_mode(&sandbox.beside("cache/zipwright"), 0o777);
    let run = sandbox.run([]).failure().stderr_has("cache/zipwright");
    run.stderr_has("other users can write").stderr_has("set XDG_CACHE_HOME");
    assert_eq!(fs::read_dir(sandbox.beside("cache/zipwright")).unwrap().count(), 0);
    set_mode(&sandbox.beside("cache/zipwright"), 0o700);
    sandbox.run([]).success();
    set_mode(&sandbox.path(".zipwright"), 0o777);
    let run = sandbox.run(["-B"]).failure().stderr_has(".zipwright");
    run.stderr_has("other users can write").stderr_has("remove it");
}

#[test]
fn folders_of_another_user_are_an_error() {
    let sandbox = project();
    sandbox.run([]).success();
    for folder in [sandbox.beside("cache/zipwright"), sandbox.path(".zipwright")] {
        if !give_away(&folder) {
            return;
        }
        sandbox.run(["-B"]).failure().stderr_has("belongs to the user with the number 65534");
        chown(&folder, Some(0), Some(0)).unwrap();
    }
    // The owner of the project could change the Buildfile as well.
    assert!(give_away(&sandbox.path("")) && give_away(&sandbox.path(".zipwright")));
    sandbox.run(["-B"]).success();
}

#[test]
fn a_link_of_another_user_leads_to_no_cache() {
    let sandbox = project();
    let (link, real) = (sandbox.beside("cache/zipwright"), sandbox.beside("real"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    sandbox.run([]).success();
    if std::os::unix::fs::lchown(&link, Some(NOBODY), None).is_ok() {
        sandbox.run(["-B"]).failure().stderr_has("65534").stderr_has("XDG_CACHE_HOME");
    }
}

#[test]
fn what_another_user_wrote_into_the_cache_is_not_read() {
    let sandbox = project();
    sandbox.run([]).success();
    let records = sandbox.beside("cache/zipwright/interpreters-v1");
    for entry in fs::read_dir(&records).unwrap() {
        let place = entry.unwrap().path();
        fs::write(&place, "not JSON").unwrap();
        if !give_away(&place) {
            return;
        }
    }
    sandbox.run(["-B"]).success();
}

#[test]
fn without_a_home_the_cache_has_the_users_own_name() {
    let mut sandbox = project();
    let temporary = sandbox.beside("tmp");
    fs::create_dir(&temporary).unwrap();
    sandbox.unset("XDG_CACHE_HOME");
    sandbox.set("TMPDIR", temporary.display());
    for home in ["/", "/proc/self/nowhere"] {
        sandbox.set("HOME", home);
        sandbox.run(["-B"]).success();
    }
    let user = rustix::process::geteuid().as_raw();
    let cache = temporary.join(format!("zipwright-cache-{user}"));
    assert_eq!(mode(&cache), 0o700);
    set_mode(&cache, 0o1777);
    sandbox.run(["-B"]).failure().stderr_has("set XDG_CACHE_HOME");
}

#[test]
fn a_cache_that_cannot_be_made_says_what_to_set() {
    let mut sandbox = project();
    sandbox.write("file", "");
    for place in ["/proc/self/nowhere".into(), sandbox.path("file").display().to_string()] {
        sandbox.set("XDG_CACHE_HOME", place);
        sandbox.run([]).failure().stderr_has("set XDG_CACHE_HOME");
    }
    // A build that does not need the cache runs without it.
    sandbox.write("Buildfile", "[target.a]\nkind = 'command'\nphony = true\nshell = 'true'\n");
    sandbox.run([]).success();
}

#[test]
fn output_waits_for_its_reader_and_not_in_memory() {
    let script = format!("yes {} | head -c 30000000", "0123456789".repeat(40));
    let endless_line = "head -c 60000000 /dev/zero | tr '\\\\0' x";
    let sandbox = Sandbox::with(&format!(
        "[target.lines]\nkind = 'command'\nphony = true\nshell = '{script}'\n\
         [target.line]\nkind = 'command'\nphony = true\nshell = \"{endless_line}\"\n\
         [target.quiet]\nkind = 'command'\nphony = true\nshell = 'sleep 2'\n"
    ));
    let measure = "import resource, subprocess, sys\n\
                   status = subprocess.call(sys.argv[1:])\n\
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)\n\
                   sys.exit(status)";
    for words in ["-Onone lines", "-Onone line", "--json line", "-j2 -Otarget lines quiet"] {
        let mut command = sandbox.program(crate::sandbox::python());
        command.args(["-c", measure, env!("CARGO_BIN_EXE_zipwright")]);
        let run = Run::of(command.args(words.split(' ')).stdout(Stdio::null())).success();
        let most: u64 = run.stderr.lines().last().unwrap().parse().unwrap();
        assert!(most < 65, "{most} MB with {words}");
    }
}

#[test]
fn a_local_call_answers_no_other_user() {
    let mut sandbox = Sandbox::with(
        "[target.s]\nkind = 'staging'\nsources = ['h.py']\n\
         [target.z]\nkind = 'zip'\nstaging = 's'\n\
         [target.call]\nkind = 'invoke'\nlocal = true\nzip = 'z'\nhandler = 'h.handler'\n\
         payload = { word = 's3cr3t' }\n",
    );
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("local-cache");
    sandbox.set("XDG_CACHE_HOME", cache.display());
    let can_switch = rustix::process::geteuid().is_root()
        && Path::new("/usr/bin/python3").exists()
        && Command::new("setpriv").arg("--version").output().is_ok();
    // The handler starts the spy, because it has the port, before it can be called.
    let handler = HANDLER.replace("SWITCH", if can_switch { "True" } else { "False" });
    sandbox.write("h.py", handler.replace("SPY", &format!("{SPY:?}")));
    let run = sandbox.run(["call"]).success();
    assert_eq!(run.stdout, "\"genuine\"\n", "{run}");
    let seen = if can_switch { "spy: nothing" } else { "spy: not tried" };
    run.stderr_has(seen).stderr_lacks("s3cr3t");
}

const HANDLER: &str = r#"
import os, subprocess, sys
address = os.environ["AWS_LAMBDA_RUNTIME_API"]
if SWITCH:
    switch = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    spy = subprocess.run([*switch, "/usr/bin/python3", "-c", SPY, address],
                         capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]})
    print("spy:", spy.stdout + spy.stderr)
else:
    print("spy: not tried")
def handler(event, context):
    return "genuine"
"#;

const SPY: &str = r#"
import socket, sys
host, port = sys.argv[1].split(":")
found = b""
for request in [b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"]:
    for close in [False, True]:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            try:
                connection.sendall(request)
                if close:
                    continue
                found += connection.recv(1000)
            except OSError:
                pass
print(found or "nothing")
"#;

const TYPED: &str = "[vars]\nTOKEN = ''\n\
    [target.c]\nkind = 'command'\noutputs = ['out']\nshell = 'echo made > out; test -z \"{TOKEN}\" || false'\n\
    [target.d]\nkind = 'command'\noutputs = ['other']\nrun = ['cp', 'Buildfile', 'other']\nenv = { T = '{TOKEN}' }\n";

/// Asserts that no file below the state folder has this text.
fn assert_not_kept(sandbox: &Sandbox, text: &str) {
    for entry in walkdir::WalkDir::new(sandbox.path(".zipwright")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "`{text}` in {}", entry.path().display());
        }
    }
}

#[test]
fn values_of_the_command_line_are_not_kept_and_not_shown() {
    let sandbox = Sandbox::with(TYPED);
    for token in ["s3cr3t", "s3'c\"r3t$", "it's one\nand two"] {
        let word = format!("TOKEN={token}");
        let runs = [
            sandbox.run(["-k", "--timings", "c", "d", &word]).failure(),
            sandbox.run(["--trace", "-n", "c", "d", &word]).success(),
            sandbox.run(["--json", "explain", "c", "d", &word]).success(),
            sandbox.run(["--json", "-k", "c", "d", &word]).failure(),
            sandbox.run(["--trace", "-n", "d"]).success(),
        ];
        for run in runs {
            for part in
                token.lines().chain([serde_json::json!(token).to_string().trim_matches('"')])
            {
                assert!(!run.stdout.contains(part) && !run.stderr.contains(part), "{run}");
            }
            assert_not_kept(&sandbox, token.lines().next().unwrap());
        }
    }
    // The value is part of the fingerprint, and texts in the Buildfile itself are shown as usual.
    assert_eq!(sandbox.ran(["d", "TOKEN=another"]), ["d"]);
    assert!(sandbox.ran(["d", "TOKEN=another"]).is_empty());
    let run = sandbox.run(["explain", "d", "TOKEN=a third"]).success();
    assert!(run.stdout.contains(" with {TOKEN}\n"), "{run}");
    assert_eq!(sandbox.ran(["d"]), ["d"]);
    assert!(sandbox.ran(["d", "TOKEN="]).is_empty(), "the same as in the Buildfile");
}

#[test]
fn a_value_of_the_command_line_is_no_input_of_targets_without_it() {
    let sandbox = Sandbox::with(
        "default = ['package', 'with']\n[vars]\nstage = 'dev'\nn = ''\n\
         [target.staging]\nkind = 'staging'\noutput = 'tree'\nsources = ['4_handler.py']\n\
         [target.package]\nkind = 'zip'\nstaging = 'staging'\noutput = 'f.zip'\n\
         [target.with]\nkind = 'command'\nshell = 'echo 1 4'\nenv = { STAGE = '{stage}' }\n",
    );
    sandbox.write("4_handler.py", "");
    assert_eq!(sandbox.ran([]), ["package", "staging", "with"]);
    for stage in ["stage=1", "stage=4", "stage=zip", "stage=handler"] {
        assert_eq!(sandbox.ran([stage]), ["with"], "{stage}");
        assert_eq!(sandbox.ran([stage, "n=4"]), [""; 0]);
        assert_eq!(sandbox.ran([stage, "n=echo"]), [""; 0]);
        assert_eq!(sandbox.ran([stage]), [""; 0]);
    }
    assert_eq!(sandbox.ran([]), ["with"]);
}

#[test]
fn a_waiting_build_is_not_told_values() {
    let sandbox = Sandbox::with(
        "[vars]\nTOKEN = ''\n[target.a]\nkind = 'command'\nphony = true\n\
         shell = 'touch running; while [ ! -e go ]; do sleep 0.05; done'\n",
    );
    let mut first = sandbox.zipwright();
    let mut first = first.args(["a", "TOKEN=s3cr3t"]).spawn().unwrap();
    sandbox.wait_for("running");
    let run = sandbox.run(["--no-wait", "a"]).failure();
    run.stderr_has("TOKEN=…").stderr_lacks("s3cr3t");
    sandbox.write("go", "");
    assert!(first.wait().unwrap().success());
}

#[test]
fn what_strangers_wrote_steers_no_terminal() {
    let sandbox = Sandbox::with("[target.a]\nkind = 'command'\nphony = true\nshell = 'cat own'\n");
    let evil = "x\u{1b}[2J\u{202e}\u{9b}1m.py";
    sandbox.write("own", "\u{1b}[31mred\u{1b}[0m\n");
    let pack = "import sys, zipfile\n\
                for name, text in [('a.zip', '1'), ('b.zip', '2')]:\n    \
                zipfile.ZipFile(name, 'w').writestr(sys.argv[1], text)";
    Run::of(sandbox.program(crate::sandbox::python()).args(["-c", pack, evil])).success();
    let hidden = |text: &str| text.chars().any(|c| c != '\n' && c.is_control() || c == '\u{202e}');
    for words in ["diff a.zip b.zip", "--json diff a.zip b.zip", "check a.zip"] {
        let run = Run::of(sandbox.zipwright().args(words.split(' ')));
        assert!(!hidden(&run.stdout) && !hidden(&run.stderr), "{run}");
        assert!(words.starts_with("check") || run.stdout.contains("[2J"), "{run}");
    }
    // The user's own command may use colours.
    assert_eq!(sandbox.run(["a"]).success().stdout, "\u{1b}[31mred\u{1b}[0m\n");
}
