//! One process with the handler, from its start to its end. All its events arrive in one channel,
//! in order, and are read by the thread that makes a call; nothing here sleeps.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use uuid::Uuid;

use super::api::{Call, Event, Server};
use super::{INIT_LIMIT, Log, Setup};
use crate::process::{Background, Invocation, LINE_MAX};

/// Capacity of the channel of events. A full channel blocks the senders.
const WAITING: usize = 256;

pub(super) struct Worker {
    program: Background,
    server: Server,
    /// `None` after the end.
    events: Option<Receiver<Event>>,
    /// Our own end of the pipe that the program prints into.
    output: PipeWriter,
    /// The text that we print into the pipe to find out when all output before it was read. Random,
    /// so that a handler cannot print it.
    mark: String,
    reading: Option<JoinHandle<()>>,
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
        let (sender, events) = mpsc::sync_channel(WAITING);
        let server = Server::start(sender.clone())?;
        let (reader, output) = std::io::pipe().context("could not make a pipe")?;
        let address = server.address().to_string();
        let program = invocation(setup, &address)
            .isolated(output.try_clone().context("could not copy a pipe")?)?;
        let mark = format!("\0{}", Uuid::new_v4());
        let reading = thread::spawn({
            let (sender, mark) = (sender.clone(), mark.clone());
            move || read(reader, &mark, &sender)
        });
        let end = program.end();
        let ending = thread::spawn(move || {
            end();
            // If we ended the program, the receiver is gone.
            let _ = sender.send(Event::Ended);
        });
        Ok(Self {
            program,
            server,
            events: Some(events),
            output,
            mark,
            reading: Some(reading),
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
        self.drain(log)?;
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

    /// Returns the next event that is not an output line; output lines are passed on. `None` at the
    /// time limit.
    fn next(&self, log: Log, limit: Instant) -> Option<Event> {
        let events = self.events.as_ref().expect("BUG: only a dropped worker has no events");
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(Event::Line(line)) => log(&line),
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("BUG: the server holds a sender for as long as it runs")
                }
            }
        }
    }

    /// Passes on the output so far. Output printed before the end of the call is in the pipe before
    /// our mark.
    fn drain(&mut self, log: Log) -> Result<()> {
        writeln!(self.output, "{}", self.mark).context("could not write in a pipe")?;
        let never = Instant::now() + Duration::from_secs(3600);
        loop {
            match self.next(log, never) {
                Some(Event::Drained) | None => return Ok(()),
                Some(Event::Ready) => self.ready = true,
                Some(_) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.program.kill();
        // Threads that send events end when the receiver is dropped.
        drop(self.events.take());
        // A process that left the group may hold the pipe open, so do not wait for its end.
        let _ = writeln!(self.output, "{}", self.mark);
        for thread in [self.reading.take(), self.ending.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

/// Reads lines until the receiver is dropped.
fn read(pipe: PipeReader, mark: &str, sender: &SyncSender<Event>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let room = (LINE_MAX + mark.len()).saturating_sub(line.len()) as u64;
        let read = (&mut reader).take(room).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            break;
        }
        if line.len() >= LINE_MAX + mark.len() && line.last() != Some(&b'\n') {
            // The end may be the start of a mark.
            let rest = line.split_off(LINE_MAX);
            let piece = std::mem::replace(&mut line, rest);
            let text = String::from_utf8_lossy(&piece).into_owned();
            if sender.send(Event::Line(text)).is_err() {
                return;
            }
            continue;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let marked = line.strip_suffix(mark.as_bytes());
        let text = String::from_utf8_lossy(marked.unwrap_or(&line)).into_owned();
        // Before a mark there may be an unfinished line.
        let said = marked.is_none() || !text.is_empty();
        if said && sender.send(Event::Line(text)).is_err() {
            return;
        }
        if marked.is_some() && sender.send(Event::Drained).is_err() {
            return;
        }
        line.clear();
    }
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
