//! Runs programs: each in a process group of its own, its output handed on line by line.
//! Knows nothing of targets; who asked for the output decides what becomes of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};

/// Where a line of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A program to run. Nothing of it passes a shell unless the program is one.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Set on top of the environment that zipwright was started in.
    pub env: Vec<(OsString, OsString)>,
    pub env_remove: Vec<OsString>,
    pub directory: PathBuf,
}

impl Invocation {
    pub fn new(program: impl Into<OsString>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            directory: directory.into(),
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs to the end. `on_line` gets each line without its line break, from two threads in
    /// turn; bytes that are not UTF-8 are replaced. Standard input is empty.
    pub fn stream(&self, on_line: &(dyn Fn(Stream, &str) + Sync)) -> Result<ExitStatus> {
        let mut child = self.spawn()?;
        let _running = Running::new(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(|| hand_on(stderr, Stream::Stderr, on_line));
            hand_on(stdout, Stream::Stdout, on_line);
        });
        child.wait().with_context(|| format!("lost track of `{}`", self.program.display()))
    }

    /// Runs to the end and keeps all output.
    pub fn capture(&self) -> Result<Captured> {
        let stdout = Mutex::new(String::new());
        let stderr = Mutex::new(String::new());
        let status = self.stream(&|stream, line| {
            let kept = if stream == Stream::Stdout { &stdout } else { &stderr };
            let mut kept = kept.lock().expect("BUG: no holder of this lock panics");
            kept.push_str(line);
            kept.push('\n');
        })?;
        let text = |kept: Mutex<String>| kept.into_inner().expect("BUG: as above");
        Ok(Captured { status, stdout: text(stdout), stderr: text(stderr) })
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = std::process::Command::new(&self.program);
        command
            .args(&self.args)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for name in &self.env_remove {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.spawn().with_context(|| format!("could not start `{}`", self.program.display()))
    }
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Captured {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// `exit status 2`, `signal 9 (SIGKILL)`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("signal {signal} ({name})"),
            None => format!("signal {signal}"),
        },
        (None, None) => "an unknown end".into(),
    }
}

/// Sends `signal` to the process group of every program that runs now.
pub fn signal_all(signal: i32) {
    let Some(signal) = rustix::process::Signal::from_named_raw(signal) else { return };
    for group in RUNNING.lock().expect("BUG: no holder of this lock panics").iter() {
        if let Some(pid) = rustix::process::Pid::from_raw(*group) {
            // The group may have ended by itself a moment ago.
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }
}

/// Process groups of the programs that run now. Global because a signal is: it ends every
/// program of this process, whichever target asked for it.
static RUNNING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Keeps a program's group in [`RUNNING`] for as long as it runs.
struct Running(i32);

impl Running {
    fn new(child: &Child) -> Self {
        let group = child.id().cast_signed();
        RUNNING.lock().expect("BUG: no holder of this lock panics").push(group);
        Self(group)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.lock().expect("BUG: no holder of this lock panics").retain(|pid| *pid != self.0);
    }
}

fn hand_on(pipe: Option<impl Read>, stream: Stream, on_line: &(dyn Fn(Stream, &str) + Sync)) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // A pipe that fails is a pipe that ended: the exit status tells the rest.
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        on_line(stream, &String::from_utf8_lossy(&line));
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept_apart() {
        let shell = Invocation::new("/bin/sh", "/").args(["-c", "echo out; echo err >&2; exit 3"]);
        let captured = shell.capture().unwrap();
        assert_eq!((captured.stdout.as_str(), captured.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(describe(captured.status), "exit status 3");
    }

    #[test]
    fn a_signal_is_named() {
        let captured =
            Invocation::new("/bin/sh", "/").args(["-c", "kill -9 $$"]).capture().unwrap();
        assert_eq!(describe(captured.status), "signal 9 (SIGKILL)");
    }
}
