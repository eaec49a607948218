//! One process with the handler, from its start to its end. The thread that makes a call reads its
//! events and its output, so a program that prints without end holds nothing up.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::api::{Call, Event, Sender, Server};
use super::{INIT_LIMIT, Log, Setup};
use crate::process::{Background, Invocation, Lines, Stream};

pub(super) struct Worker {
    program: Background,
    server: Server,
    /// `None` after the end.
    events: Option<(Receiver<Event>, PipeReader)>,
    /// `None` after its end.
    output: Option<Lines>,
    ending: Option<JoinHandle<()>>,
    ready: bool,
}

/// The end of a call.
pub(super) enum End {
    Answered(Vec<u8>),
    Failed(Vec<u8>),
    InitFailed(Vec<u8>),
    TimedOut,
    InitTimedOut,
    Exited(ExitStatus),
}

impl Worker {
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        let (sender, events, woken) = Sender::new().context("could not make a pipe")?;
        let server = Server::start(sender.clone())?;
        let (reader, output) = std::io::pipe().context("could not make a pipe")?;
        let address = server.address().to_string();
        let program = invocation(setup, &address).isolated(output)?;
        let end = program.end();
        let ending = thread::spawn(move || {
            end();
            // If we ended the program, the receiver is gone.
            sender.send(Event::Ended);
        });
        Ok(Self {
            program,
            server,
            events: Some((events, woken)),
            output: Some(Lines::new(reader, Stream::Stderr)),
            ending: Some(ending),
            ready: false,
        })
    }

    pub(super) fn set_lasting(&self, lasting: bool) {
        self.program.set_lasting(lasting);
    }

    /// Makes one call, and passes on all output printed until it ended.
    pub(super) fn call(
        &mut self,
        (setup, log): (&Setup, Log),
        id: &str,
        payload: &[u8],
    ) -> Result<End> {
        let started = self.until_ready(setup, log)?;
        let end = match started {
            Some(end) => end,
            None => self.until_done((setup, log), id, payload)?,
        };
        self.drain(log);
        Ok(end)
    }

    /// Waits until the program requests a call. Returns its end if it does not.
    fn until_ready(&mut self, setup: &Setup, log: Log) -> Result<Option<End>> {
        let limit = Instant::now() + INIT_LIMIT.max(setup.timeout);
        let mut failed = None;
        while !self.ready {
            match self.next(log, limit) {
                Some(Event::Ready) => self.ready = true,
                // The client reports the reason, then it ends.
                Some(Event::InitFailed(body)) => failed = Some(body),
                Some(Event::Ended) => {
                    let status = self.program.kill()?;
                    return Ok(Some(failed.map_or(End::Exited(status), End::InitFailed)));
                }
                Some(_) => {}
                None => {
                    self.program.kill()?;
                    return Ok(Some(failed.map_or(End::InitTimedOut, End::InitFailed)));
                }
            }
        }
        Ok(None)
    }

    fn until_done(
        &mut self,
        (setup, log): (&Setup, Log),
        our_id: &str,
        payload: &[u8],
    ) -> Result<End> {
        self.ready = false;
        let limit = Instant::now() + setup.timeout;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.server.hand(Call {
            id: our_id.to_owned(),
            arn: setup.arn(),
            deadline: (now + setup.timeout).as_millis(),
            payload: payload.to_vec(),
        });
        loop {
            match self.next(log, limit) {
                Some(Event::Response { id, body }) if id == our_id => {
                    return Ok(End::Answered(body));
                }
                Some(Event::Failed { id, body }) if id == our_id => return Ok(End::Failed(body)),
                Some(Event::Ended) => return Ok(End::Exited(self.program.kill()?)),
                Some(Event::Ready) => self.ready = true,
                Some(_) => {}
                None => {
                    self.program.kill()?;
                    return Ok(End::TimedOut);
                }
            }
        }
    }

    /// Returns the next event, and passes on the output until then. `None` at the time limit.
    fn next(&mut self, log: Log, limit: Instant) -> Option<Event> {
        loop {
            let (events, woken) = self.events.as_mut().expect("BUG: a dropped worker has no call");
            // Before the output, which may have no end.
            if let Ok(event) = events.try_recv() {
                return Some(event);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut fds = vec![PollFd::new(woken, PollFlags::IN)];
            fds.extend(self.output.iter().map(|output| PollFd::new(output, PollFlags::IN)));
            // An error is an interruption by a signal, and its results are empty.
            let _ = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                let _ = woken.read(&mut [0; 64]);
            }
            if ready.get(1) == Some(&true) {
                self.read(log);
            }
        }
    }

    /// Reads the output once, and returns the number of bytes.
    fn read(&mut self, log: Log) -> usize {
        let Some(output) = &mut self.output else { return 0 };
        let length = output.read(&|_, line| pass_on(line, log));
        if length == 0 {
            self.output = None;
        }
        length
    }

    /// Passes on the output so far. Output printed before the end of the call is in the pipe.
    fn drain(&mut self, log: Log) {
        let waiting = |output: &Lines| rustix::io::ioctl_fionread(output.as_fd()).unwrap_or(0);
        let mut left = self.output.as_ref().map_or(0, waiting);
        while left > 0 {
            let length = self.read(log) as u64;
            left = if length == 0 { 0 } else { left.saturating_sub(length) };
        }
        if let Some(output) = &mut self.output {
            output.finish(&|_, line| pass_on(line, log));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.program.kill();
        // Threads that send events end when the receiver is dropped.
        drop(self.events.take());
        if let Some(ending) = self.ending.take() {
            let _ = ending.join();
        }
    }
}

/// Passes on a line. AWS's client joins the lines of one record with carriage returns.
fn pass_on(line: &str, log: Log) {
    line.trim_end_matches('\r').split('\r').for_each(log);
}

/// Returns the command that runs the handler under AWS's client, which can import only the bundle,
/// the standard library and the client. The environment is Lambda's, without variables of ours.
fn invocation(setup: &Setup, address: &str) -> Invocation {
    let client = &setup.client;
    let mut programs = "/usr/local/bin:/usr/bin:/bin".to_owned();
    if let Some(layers) = &setup.layers {
        programs += &format!(":{}", layers.join("bin").display());
    }
    let (major, minor) = client.interpreter.identity.minor;
    let mut invocation = Invocation::new(&client.interpreter.program, &setup.tree)
        .args(["-S", "-s", "-m", "awslambdaric", &setup.handler])
        .env("AWS_EXECUTION_ENV", format!("AWS_Lambda_python{major}.{minor}"))
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", super::MEMORY)
        .env("AWS_LAMBDA_FUNCTION_NAME", &setup.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", setup.name))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
        .env("AWS_DEFAULT_REGION", &setup.region)
        .env("AWS_REGION", &setup.region)
        .env("LANG", "C.UTF-8")
        .env("PATH", programs)
        // The unpacked bundle must not change.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TZ", ":UTC");
    if let Some(layers) = &setup.layers {
        invocation = invocation.env("LD_LIBRARY_PATH", layers.join("lib"));
    }
    for (name, value) in &setup.env {
        invocation = invocation.env(name, value);
    }
    let mut modules: Vec<String> = setup.env.get("PYTHONPATH").cloned().into_iter().collect();
    // In Lambda's order: layers win over the runtime's own packages.
    if let Some(layers) = &setup.layers {
        let python = layers.join("python");
        let versioned = python.join(format!("lib/python{major}.{minor}/site-packages"));
        modules.extend([versioned, python].map(|folder| folder.display().to_string()));
    }
    modules.extend(client.folders.iter().cloned());
    invocation
        .env("PYTHONPATH", modules.join(":"))
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("LAMBDA_TASK_ROOT", &setup.tree)
        .env("_HANDLER", &setup.handler)
}
