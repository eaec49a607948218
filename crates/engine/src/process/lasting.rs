//! A program that outlasts a build, such as a server: it runs until it is stopped, with its output
//! passed on line by line by a thread of its own.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::orphans::group_runs;
use super::{Invocation, Lines, Running, Stream, announce, hand_on, signal_group};

/// Time limit for the kernel to end killed processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Interval in which a group is checked while it ends.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A running program. Dropping it kills the program and its process group.
pub struct Lasting {
    group: i32,
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

/// The end of a program.
#[derive(Default)]
pub struct End {
    status: Mutex<Option<Option<ExitStatus>>>,
    came: Condvar,
}

impl End {
    fn lock(&self) -> MutexGuard<'_, Option<Option<ExitStatus>>> {
        self.status.lock().expect("BUG: no holder of this lock panics")
    }

    /// Returns the status if the program has ended; `Some(None)` if its status was lost.
    pub fn status(&self) -> Option<Option<ExitStatus>> {
        *self.lock()
    }

    /// Waits for the end, up to `limit`. Returns whether the program has ended.
    pub fn wait(&self, limit: Duration) -> bool {
        let waiting = |status: &mut Option<Option<ExitStatus>>| status.is_none();
        let waited = self.came.wait_timeout_while(self.lock(), limit, waiting);
        waited.expect("BUG: as above").0.is_some()
    }

    fn set(&self, status: Option<ExitStatus>) {
        *self.lock() = Some(status);
        self.came.notify_all();
    }
}

impl Invocation {
    /// Starts the program in a process group of its own, and returns immediately. `on_line` receives
    /// its output as in [`Invocation::stream`]; `on_end` is called after its end, by the same thread.
    /// Processes of its group that are left then are killed.
    pub fn start_lasting(
        &self,
        on_line: impl Fn(Stream, &str) + Send + Sync + 'static,
        on_end: impl FnOnce(&End) + Send + 'static,
    ) -> Result<Lasting> {
        let lost = || format!("lost track of `{}`", self.program.display());
        let (ended, tell_of_end) = io::pipe().with_context(lost)?;
        let (stdout, to_stdout) = io::pipe().with_context(lost)?;
        let (stderr, to_stderr) = io::pipe().with_context(lost)?;
        announce(&[&to_stdout, &to_stderr], true);
        let mut child = self.spawn_unannounced(Stdio::null(), to_stdout, to_stderr)?;
        let running = Running::lasting(&child);
        let group = running.0;
        let end = Arc::new(End::default());
        let pipes = vec![Lines::new(stdout, Stream::Stdout), Lines::new(stderr, Stream::Stderr)];
        let thread = thread::spawn({
            let end = Arc::clone(&end);
            move || {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        running.wait();
                        drop(tell_of_end);
                    });
                    hand_on(pipes, &ended, &on_line);
                });
                // Before the status is collected: the number of the group is not reused until then.
                signal_group(group, Signal::KILL.as_raw());
                end.set(child.wait().ok());
                drop(running);
                on_end(&end);
            }
        });
        Ok(Lasting { group, end, thread: Some(thread) })
    }
}

impl Lasting {
    pub fn end(&self) -> &Arc<End> {
        &self.end
    }

    /// Sends `signal` to the program and its group, waits until all of them have ended, and kills
    /// those that still run after `grace`.
    pub fn stop(mut self, signal: i32, grace: Duration) {
        if self.end.status().is_none() {
            signal_group(self.group, signal);
            let started = Instant::now();
            // If the program itself has ended, its thread kills the rest of the group.
            self.end.wait(grace.saturating_sub(started.elapsed()));
        }
        self.kill();
    }

    fn kill(&mut self) {
        if self.end.status().is_none() {
            signal_group(self.group, Signal::KILL.as_raw());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let started = Instant::now();
        while group_runs(self.group) && started.elapsed() < PATIENCE {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.kill();
    }
}
