//! Runs programs, each in a process group of its own, and passes on its output line by line. Knows
//! nothing of targets or of the use of the output.

mod background;
mod lasting;
mod lines;
mod orphans;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use zipwright_store::words;

pub use background::Background;
pub use lasting::{End, Lasting};
pub use lines::{LINE_MAX, Lines};
pub use orphans::end_orphans;

/// Largest size of each stream in bytes, for a program whose output is read as a whole.
const CAPTURED_MAX: usize = 128 << 20;

/// The output stream of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A program to run. Its arguments do not pass a shell unless the program is one.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Variables in addition to zipwright's own environment.
    pub env: Vec<(OsString, OsString)>,
    pub env_remove: Vec<OsString>,
    /// Whether zipwright's own environment is not inherited.
    pub env_empty: bool,
    pub directory: PathBuf,
    /// Standard input of [`Invocation::stream`] and [`Invocation::capture`].
    pub input: Vec<u8>,
    /// The program is ended after this time, and running it is an error.
    pub limit: Option<Duration>,
}

impl Invocation {
    pub fn new(program: impl Into<OsString>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            env_empty: false,
            directory: directory.into(),
            input: Vec::new(),
            limit: None,
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

    /// Sets the program's standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Starts the program without zipwright's own environment.
    #[must_use]
    pub fn empty_environment(mut self) -> Self {
        self.env_empty = true;
        self
    }

    /// Runs the program to its end. `on_line` receives each line without its line break; one longer
    /// than [`LINE_MAX`] in pieces. Bytes that are not UTF-8 are replaced. The end is that of the
    /// program: a process that it left behind with its output open is not waited for.
    pub fn stream(&self, on_line: &(dyn Fn(Stream, &str) + Sync)) -> Result<ExitStatus> {
        let lost = || format!("lost track of `{}`", self.program.display());
        let (ended, tell_of_end) = io::pipe().with_context(lost)?;
        let (stdout, to_stdout) = io::pipe().with_context(lost)?;
        let (stderr, to_stderr) = io::pipe().with_context(lost)?;
        announce(&[&to_stdout, &to_stderr], false);
        let (stdin, to_stdin) = self.stdin().with_context(lost)?;
        let mut child = self.spawn_unannounced(stdin, to_stdout, to_stderr)?;
        let running = Running::new(&child);
        let pipes = vec![Lines::new(stdout, Stream::Stdout), Lines::new(stderr, Stream::Stderr)];
        let in_time = thread::scope(|scope| {
            // A program may end without reading all of it.
            to_stdin.map(|mut pipe| scope.spawn(move || _ = pipe.write_all(&self.input)));
            scope.spawn(|| {
                running.wait();
                drop(tell_of_end);
            });
            let (running, ended) = (&running, &ended);
            let end_after = |limit| scope.spawn(move || running.end_after(limit, ended));
            let watch = self.limit.map(end_after);
            hand_on(pipes, ended, on_line);
            watch.is_none_or(|watch| watch.join().expect("BUG: waiting does not panic"))
        });
        let status = child.wait().with_context(lost)?;
        running.end_the_rest();
        if in_time { Ok(status) } else { Err(self.too_long()) }
    }

    /// Runs the program to its end with our own standard input and outputs, and in our own process
    /// group, so that it is in the foreground of the terminal.
    pub fn on_terminal(&self) -> Result<ExitStatus> {
        let mut child = self.start(|command| {
            command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit())
        })?;
        let lost = || format!("lost track of `{}`", self.program.display());
        let (ended, tell_of_end) = io::pipe().with_context(lost)?;
        let running = Running::new(&child);
        let in_time = self.limit.is_none_or(|limit| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    running.wait();
                    drop(tell_of_end);
                });
                running.end_after(limit, &ended)
            })
        });
        let status = child.wait().with_context(lost)?;
        if in_time { Ok(status) } else { Err(self.too_long()) }
    }

    fn too_long(&self) -> anyhow::Error {
        TooLong(self.limit.unwrap_or_default()).into()
    }

    /// Runs the program to its end and returns all output. Fails if that is more than
    /// [`CAPTURED_MAX`].
    pub fn capture(&self) -> Result<Captured> {
        let stdout = Mutex::new(String::new());
        let stderr = Mutex::new(String::new());
        let is_too_much = AtomicBool::new(false);
        let status = self.stream(&|stream, line| {
            let kept = if stream == Stream::Stdout { &stdout } else { &stderr };
            let mut kept = kept.lock().expect("BUG: no holder of this lock panics");
            if kept.len() + line.len() < CAPTURED_MAX {
                kept.push_str(line);
                kept.push('\n');
            } else {
                is_too_much.store(true, Ordering::Relaxed);
            }
        })?;
        if is_too_much.into_inner() {
            let limit = CAPTURED_MAX >> 20;
            bail!("`{}` printed more than {limit} MiB", self.program.display());
        }
        let text = |kept: Mutex<String>| kept.into_inner().expect("BUG: as above");
        Ok(Captured { status, stdout: text(stdout), stderr: text(stderr) })
    }

    /// Starts the program in a process group of its own, with its output in these pipes.
    fn spawn(&self, stdout: PipeWriter, stderr: PipeWriter) -> Result<Child> {
        announce(&[&stdout, &stderr], false);
        self.spawn_unannounced(Stdio::null(), stdout, stderr)
    }

    fn spawn_unannounced(
        &self,
        stdin: Stdio,
        stdout: PipeWriter,
        stderr: PipeWriter,
    ) -> Result<Child> {
        self.start(|command| command.stdin(stdin).stdout(stdout).stderr(stderr).process_group(0))
    }

    /// Returns the program's standard input, and the pipe into it if there is any.
    fn stdin(&self) -> io::Result<(Stdio, Option<PipeWriter>)> {
        if self.input.is_empty() {
            return Ok((Stdio::null(), None));
        }
        let (stdin, to_stdin) = io::pipe()?;
        Ok((stdin.into(), Some(to_stdin)))
    }

    fn start(
        &self,
        connect: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
    ) -> Result<Child> {
        if programs().ending.is_some() {
            bail!(
                "`{}` was not started: zipwright received a signal to end",
                self.program.display()
            );
        }
        let mut command = std::process::Command::new(&self.program);
        connect(command.args(&self.args).current_dir(&self.directory));
        if self.env_empty {
            command.env_clear();
        }
        for name in &self.env_remove {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.spawn().with_context(|| {
            let program = self.program.display();
            match self.directory.is_dir() {
                true => format!("could not start `{program}`"),
                false => format!(
                    "could not start `{program}` in `{}`, which is not a folder",
                    self.directory.display()
                ),
            }
        })
    }
}

/// A program that was ended, because it had not ended by itself within this time.
#[derive(Clone, Copy, Debug)]
pub struct TooLong(pub Duration);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "did not end within {} and was ended", words::duration(self.0))
    }
}

impl std::error::Error for TooLong {}

/// The output and status of a finished program.
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

/// Which programs a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the current build.
    Build,
    /// Those that outlast a build as well.
    All,
}

/// Sends `signal` to the process group of every running program within `reach`, and to programs of
/// the build that are registered later: one may be just starting.
pub fn signal_all(signal: i32, reach: Reach) {
    let mut programs = programs();
    programs.ending = Some(signal);
    for group in programs.groups.iter().filter(|group| reach == Reach::All || !group.lasting) {
        signal_group(group.id, signal);
    }
}

/// Lets programs be started again after [`signal_all`], if `may` still returns `true`.
pub fn resume(may: impl FnOnce() -> bool) {
    let mut programs = programs();
    if may() {
        programs.ending = None;
    }
}

/// Records in `journal` which programs are started from now on, so that [`end_orphans`] can end
/// them if zipwright is killed.
pub fn keep_journal(journal: Option<File>) {
    programs().journal = journal;
}

/// Like [`keep_journal`], for programs that outlast a build.
pub fn keep_lasting_journal(journal: Option<File>) {
    programs().lasting_journal = journal;
}

/// Writes into the journal which pipes will be a program's output, before it is started: if
/// zipwright is killed before it writes the line of the program itself, the pipes identify it.
fn announce(pipes: &[&PipeWriter], lasting: bool) {
    if let Some(journal) = programs().journal_of(lasting) {
        let lines: String = pipes.iter().map(|pipe| orphans::describe_pipe(pipe)).collect();
        // As in [`Running::new`].
        let _ = journal.write_all(lines.as_bytes());
    }
}

/// The running programs. Global because a signal is: it ends every program of this process.
struct Programs {
    groups: Vec<Group>,
    /// The last signal that was sent to all of them.
    ending: Option<i32>,
    journal: Option<File>,
    lasting_journal: Option<File>,
}

/// The process group of a running program.
struct Group {
    id: i32,
    /// Whether it outlasts a build.
    lasting: bool,
}

impl Programs {
    fn journal_of(&mut self, lasting: bool) -> Option<&mut File> {
        let journal = if lasting { &mut self.lasting_journal } else { &mut self.journal };
        journal.as_mut()
    }

    /// Records a program in the journal. Without the line, the program may outlive a killed
    /// zipwright, but nothing else is lost.
    fn record(&mut self, group: i32, lasting: bool) {
        if let Some(journal) = self.journal_of(lasting) {
            let _ = writeln!(journal, "{}", orphans::describe(group));
        }
    }
}

static PROGRAMS: Mutex<Programs> =
    Mutex::new(Programs { groups: Vec::new(), ending: None, journal: None, lasting_journal: None });

fn programs() -> MutexGuard<'static, Programs> {
    PROGRAMS.lock().expect("BUG: no holder of this lock panics")
}

fn signal_group(group: i32, signal: i32) {
    let signal = rustix::process::Signal::from_named_raw(signal);
    if let (Some(group), Some(signal)) = (rustix::process::Pid::from_raw(group), signal) {
        // A program on the terminal does not lead a group. Either may have ended meanwhile.
        if rustix::process::kill_process_group(group, signal).is_err() {
            let _ = rustix::process::kill_process(group, signal);
        }
    }
}

/// Time for leftover processes to end by themselves, after zipwright received a signal.
const GRACE: Duration = Duration::from_secs(2);

/// Keeps a program's group in [`PROGRAMS`] for as long as it runs.
struct Running(i32);

impl Running {
    fn new(child: &Child) -> Self {
        let id = child.id().cast_signed();
        let mut programs = programs();
        programs.groups.push(Group { id, lasting: false });
        programs.record(id, false);
        if let Some(signal) = programs.ending {
            signal_group(id, signal);
        }
        Self(id)
    }

    /// Like [`Running::new`], for a program that outlasts the build.
    fn lasting(child: &Child) -> Self {
        let id = child.id().cast_signed();
        let mut programs = programs();
        programs.groups.push(Group { id, lasting: true });
        programs.record(id, true);
        Self(id)
    }

    /// Sets whether the program outlasts the build. A program that becomes part of a build that is
    /// ending receives the signal.
    fn set_lasting(&self, lasting: bool) {
        let mut programs = programs();
        for group in &mut programs.groups {
            if group.id == self.0 {
                group.lasting = lasting;
            }
        }
        if lasting {
            programs.record(self.0, true);
        } else if let Some(signal) = programs.ending {
            signal_group(self.0, signal);
        }
    }

    /// Waits for the program, but leaves its status to be collected.
    fn wait(&self) {
        let Some(pid) = rustix::process::Pid::from_raw(self.0) else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options) {}
    }

    /// Waits for the end of the program, but ends it and its group after `limit`. Returns whether it
    /// ended by itself.
    fn end_after(&self, limit: Duration, ended: &PipeReader) -> bool {
        if closes_within(ended, limit) {
            return true;
        }
        signal_group(self.0, rustix::process::Signal::TERM.as_raw());
        closes_within(ended, GRACE);
        // The program is not collected yet, so its number is not reused.
        signal_group(self.0, rustix::process::Signal::KILL.as_raw());
        false
    }

    /// After a signal, ends other processes of the group, which may ignore it.
    fn end_the_rest(&self) {
        if programs().ending.is_none() {
            return;
        }
        let started = Instant::now();
        while orphans::group_runs(self.0) {
            if started.elapsed() > GRACE {
                signal_group(self.0, rustix::process::Signal::KILL.as_raw());
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        programs().groups.retain(|group| group.id != self.0);
    }
}

/// Returns whether the other end of `pipe` is closed within this time.
fn closes_within(pipe: &PipeReader, time: Duration) -> bool {
    let started = Instant::now();
    loop {
        let left = time.saturating_sub(started.elapsed());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(1..) => return true,
            Err(Errno::INTR) => {}
            Ok(0) if left.is_zero() => return false,
            Ok(0) => {}
            Err(_) => return false,
        }
    }
}

/// Number of bytes read after a program's end: the capacity of a pipe. Other processes may still
/// write.
const LAST_WORDS: usize = 1 << 20;

/// Passes on lines until both pipes are closed, or the program has `ended` and its output was read.
fn hand_on(mut pipes: Vec<Lines>, ended: &PipeReader, on_line: &(dyn Fn(Stream, &str) + Sync)) {
    let mut left = None;
    while !pipes.is_empty() && left != Some(0) {
        let mut fds: Vec<PollFd> =
            pipes.iter().map(|lines| PollFd::new(lines, PollFlags::IN)).collect();
        if left.is_none() {
            fds.push(PollFd::new(ended, PollFlags::IN));
        }
        match poll(&mut fds, left.map(|_| &Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Err(Errno::INTR) => continue,
            Err(_) | Ok(0) => break,
            Ok(_) => {}
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if left.is_none() && ready.last() == Some(&true) {
            left = Some(LAST_WORDS);
        }
        for (at, is_ready) in ready.iter().enumerate().take(pipes.len()).rev() {
            if !is_ready {
                continue;
            }
            match pipes[at].read(on_line) {
                0 => pipes.remove(at).finish(on_line),
                length => left = left.map(|left| left.saturating_sub(length)),
            }
        }
    }
    pipes.into_iter().for_each(|mut lines| lines.finish(on_line));
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
    fn a_line_without_an_end_is_handed_on_in_pieces() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' x; printf 'é%.0s' $(seq 600000); echo";
        let pieces = Mutex::new(Vec::new());
        let shell = Invocation::new("/bin/sh", "/").args(["-c", script]);
        shell.stream(&|_, line| pieces.lock().unwrap().push(line.to_owned())).unwrap();
        let pieces = pieces.into_inner().unwrap();
        assert!(pieces.len() >= 4 && pieces.iter().all(|piece| piece.len() <= LINE_MAX + 32_768));
        assert_eq!(pieces.concat(), "x".repeat(3_000_000) + &"é".repeat(600_000));
    }

    #[test]
    fn input_is_written_as_far_as_it_is_read() {
        let input = vec![b'x'; 200_000];
        let count = Invocation::new("/bin/sh", "/").args(["-c", "wc -c"]).input(input.clone());
        assert_eq!(count.capture().unwrap().stdout.trim(), "200000");
        assert!(Invocation::new("/bin/true", "/").input(input).capture().unwrap().status.success());
    }

    #[test]
    fn a_signal_is_named() {
        let captured =
            Invocation::new("/bin/sh", "/").args(["-c", "kill -9 $$"]).capture().unwrap();
        assert_eq!(describe(captured.status), "signal 9 (SIGKILL)");
    }
}
