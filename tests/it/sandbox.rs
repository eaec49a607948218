//! A project for each test, with an empty home, a cache of its own, a fixed environment, and the
//! zipwright that was just built.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::{emulators, wait};

pub(crate) struct Sandbox {
    folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Sandbox {
    /// Returns an empty project.
    pub(crate) fn new() -> Self {
        heed_signals();
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::Builder::new().prefix("zw-").tempdir_in(parent).unwrap();
        for name in ["project", "home", "cache"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut sandbox = Self { folder, env: BTreeMap::new() };
        let path = std::env::var("PATH").unwrap();
        let python = python().parent().unwrap().display().to_string();
        sandbox.set("PATH", format!("{python}:{path}"));
        sandbox.set("HOME", sandbox.beside("home").display());
        sandbox.set("XDG_CACHE_HOME", sandbox.beside("cache").display());
        sandbox.set("PIP_CACHE_DIR", parent.join("pip-cache").display());
        // The sandbox is in no repository, though its parent is.
        sandbox.set("GIT_CEILING_DIRECTORIES", parent.display());
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("TERM", "dumb"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("ZIPWRIGHT_REQUIRE_LOOPBACK", "1"),
        ] {
            sandbox.set(name, value);
        }
        // Pass on the settings by which this machine reaches the package registry.
        for (name, value) in std::env::vars() {
            let proxy = name.to_lowercase().ends_with("_proxy");
            if (name.starts_with("PIP_") || proxy) && !sandbox.env.contains_key(&name) {
                sandbox.set(&name, value);
            }
        }
        sandbox
    }

    /// Returns a project with this Buildfile.
    pub(crate) fn with(buildfile: &str) -> Self {
        let sandbox = Self::new();
        sandbox.write("Buildfile", buildfile);
        sandbox
    }

    /// Sets a variable in the environment of programs. With an endpoint, also sets the credentials
    /// of the account that this test created last.
    pub(crate) fn set(&mut self, name: &str, value: impl fmt::Display) {
        if name == "AWS_ENDPOINT_URL" {
            self.env.insert("AWS_ACCESS_KEY_ID".into(), emulators::access_key());
        }
        self.env.insert(name.into(), value.to_string());
    }

    /// Lets zipwright rely on the times of programs as soon as they are in the past: in a test, all
    /// files are on file systems with one clock.
    pub(crate) fn set_clock_margin(&mut self) {
        self.set("ZIPWRIGHT_TEST_CLOCK_MARGIN", 0);
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// Returns a path in the project.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("project").join(path)
    }

    /// Returns a path beside the project, outside of it.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
        self
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        let place = self.path(path);
        if place.is_dir() { fs::remove_dir_all(place) } else { fs::remove_file(place) }.unwrap();
        self
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    pub(crate) fn modified(&self, path: &str) -> SystemTime {
        fs::symlink_metadata(self.path(path)).unwrap().modified().unwrap()
    }

    /// Sets a file's mtime so many seconds into the past.
    pub(crate) fn age(&self, path: &str, seconds: u64) -> &Self {
        let file = fs::File::options().append(true).open(self.path(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        self
    }

    /// Sets a file's mtime to now.
    pub(crate) fn touch(&self, path: &str) -> &Self {
        self.age(path, 0)
    }

    /// Waits until this file exists.
    #[track_caller]
    pub(crate) fn wait_for(&self, path: &str) {
        wait::until(path, || self.exists(path).then_some(()));
    }

    /// Copies a folder of `fixtures/` into the project.
    pub(crate) fn fixture(&self, name: &str) -> &Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        copy_tree(&from, &self.path(""));
        self
    }

    /// Returns a command that runs a program in the project with the sandbox's environment.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path("")).env_clear().envs(&self.env);
        command
    }

    /// Runs a shell script in the project.
    #[must_use = "say how it should end"]
    pub(crate) fn sh(&self, script: &str) -> Run {
        Run::of(self.program("/bin/sh").args(["-c", script]))
    }

    pub(crate) fn zipwright(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_zipwright"))
    }

    #[must_use = "say how it should end"]
    pub(crate) fn run<const N: usize>(&self, args: [&str; N]) -> Run {
        Run::of(self.zipwright().args(args))
    }

    /// Runs with `--json`; returns each target's outcome, even if the run failed.
    pub(crate) fn outcomes<const N: usize>(&self, args: [&str; N]) -> BTreeMap<String, String> {
        let run = Run::of(self.zipwright().arg("--json").args(args));
        run.finished()
            .into_iter()
            .map(|event| (text(&event, "target"), text(&event, "outcome")))
            .collect()
    }

    /// Builds, and returns how many targets were checked.
    pub(crate) fn checked<const N: usize>(&self, args: [&str; N]) -> u64 {
        let run = Run::of(self.zipwright().arg("--json").args(args)).success();
        let summary = run.events().pop().unwrap();
        summary["checked"].as_u64().unwrap()
    }

    /// Builds until the snapshot has all targets as up to date: a program outside of the project is
    /// trusted by its stat data only if its times are past.
    pub(crate) fn settle<const N: usize>(&self, args: [&str; N]) {
        crate::wait::until("a snapshot", || (self.checked(args) == 0).then_some(()));
    }

    /// Returns the targets that ran, sorted by name.
    pub(crate) fn ran<const N: usize>(&self, args: [&str; N]) -> Vec<String> {
        let outcomes = self.outcomes(args);
        outcomes.into_iter().filter(|(_, outcome)| outcome == "ran").map(|(name, _)| name).collect()
    }
}

/// The output and exit status of a program.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.status(0)
    }

    /// Asserts the exit status of an error.
    #[track_caller]
    pub(crate) fn failure(self) -> Self {
        self.status(2)
    }

    #[track_caller]
    pub(crate) fn status(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_has(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no `{text}` in\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn stderr_lacks(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "`{text}` in\n{self}");
        self
    }

    /// Returns the objects of a `--json` run. Any other text on standard output fails the test.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|_| panic!("`{line}` in\n{self}"))
            })
            .collect()
    }

    /// Returns the events of finished targets.
    #[track_caller]
    pub(crate) fn finished(&self) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == "finished").collect()
    }

    /// Returns the final event of this target.
    #[track_caller]
    pub(crate) fn target(&self, name: &str) -> Value {
        let found = self.finished().into_iter().find(|event| event["target"] == name);
        found.unwrap_or_else(|| panic!("nothing of `{name}` in\n{self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "{stdout}--- stderr ---\n{stderr}--- exit {code:?} ---")
    }
}

/// Returns a text field of an event.
#[track_caller]
pub(crate) fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {event}")).to_owned()
}

/// Resets signals in the programs that tests start. A shell ignores some in its background jobs,
/// zipwright respects that, and a test that sends one would wait in vain. A signal with any handler
/// here is no longer ignored there.
fn heed_signals() {
    static HEEDED: OnceLock<()> = OnceLock::new();
    HEEDED.get_or_init(|| {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).unwrap();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        });
    });
}

/// Returns the real interpreter behind `python3` on PATH: version managers put scripts there that
/// need the user's home.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("these tests need python3 on PATH");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let place = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(place).unwrap();
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

/// Checks all cases at once, each in a thread of its own: for cases that wait more than they compute.
pub(crate) fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}
