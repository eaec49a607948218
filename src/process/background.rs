//! A program that runs beside its caller, with its output in a pipe.

use std::io::PipeWriter;
use std::process::{Child, ExitStatus};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Invocation, Running};

/// A running program. Dropping it kills the program with everything that it started.
pub struct Background {
    child: Child,
    /// Set once the program was waited for: its id may then be another's.
    ended: Option<ExitStatus>,
    _running: Running,
}

impl Invocation {
    /// Starts the program beside the caller, with an empty environment. All its output goes into
    /// `output`, in the order in which it was printed. Standard input is empty.
    pub fn isolated(&self, output: PipeWriter) -> Result<Background> {
        let copy = output.try_clone().context("could not copy a pipe")?;
        let child = self.clone().empty_environment().spawn(output, copy)?;
        let running = Running::new(&child);
        Ok(Background { child, ended: None, _running: running })
    }
}

impl Background {
    /// Returns a function that waits for the end of the program, on any thread. The program can still be
    /// killed and waited for: until then its id is not reused.
    pub fn end(&self) -> impl FnOnce() + Send + 'static {
        let pid = Pid::from_child(&self.child);
        move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        }
    }

    /// Kills the program and its group, and waits until the program is gone.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // A program that has ended may have left others behind.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait().context("lost track of a program")?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // There is no caller left for an error.
        let _ = self.kill();
    }
}
