//! A program that runs in parallel to its caller, with its output in a pipe.

use std::io::PipeWriter;
use std::process::{Child, ExitStatus};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Invocation, Running};

/// A running program. Dropping it kills the program and its process group.
pub struct Background {
    child: Child,
    /// Set after the program was waited for: its id may then be reused.
    ended: Option<ExitStatus>,
    running: Running,
}

impl Invocation {
    /// Starts the program, with an empty environment, and returns immediately. All its output goes
    /// into `output`, in order. Standard input is empty.
    pub fn isolated(&self, output: PipeWriter) -> Result<Background> {
        let copy = output.try_clone().context("could not copy a pipe")?;
        let child = self.clone().empty_environment().spawn(output, copy)?;
        let running = Running::new(&child);
        Ok(Background { child, ended: None, running })
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

    /// Sets whether the program outlasts the build, and is not ended with it.
    pub fn set_lasting(&self, lasting: bool) {
        self.running.set_lasting(lasting);
    }

    /// Kills the program and its group, and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // After its end, processes of its group may remain.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait().context("lost track of a program")?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // In `drop`, an error has no receiver.
        let _ = self.kill();
    }
}
