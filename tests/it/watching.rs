//! A running `zipwright watch`, for tests: its lines as they arrive, and its end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;
use serde_json::Value;

use crate::sandbox::Sandbox;
use crate::wait::{end_of, send, until};

pub(crate) struct Watching {
    child: Child,
    /// Lines of both outputs, in the order of their arrival.
    lines: Arc<Mutex<Vec<String>>>,
    /// How many of them were expected or passed over.
    seen: usize,
    reader: Option<JoinHandle<()>>,
}

impl Watching {
    pub(crate) fn start(command: &mut Command) -> Self {
        // One pipe keeps the order of the lines.
        let (pipe, output) = std::io::pipe().unwrap();
        let child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        // The command has the writing end as well, and the lines end with its last one.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let reader = thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in BufReader::new(pipe).lines() {
                    lines.lock().unwrap().push(line.unwrap());
                }
            }
        });
        Self { child, lines, seen: 0, reader: Some(reader) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text, after the last expected one, and returns it.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let lines = Arc::clone(&self.lines);
        let seen = self.seen;
        let what = || format!("`{text}` in\n{}", lines.lock().unwrap().join("\n"));
        let found = std::panic::catch_unwind(|| {
            until(text, || {
                let lines = lines.lock().unwrap();
                let at = lines.iter().skip(seen).position(|line| line.contains(text))?;
                Some((seen + at, lines[seen + at].clone()))
            })
        });
        let (at, line) = found.unwrap_or_else(|_| panic!("waited in vain for {}", what()));
        self.seen = at + 1;
        line
    }

    /// Returns all lines so far.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Returns the last event of a round that was not interrupted, with `--json`.
    pub(crate) fn last_round(&self) -> Option<Value> {
        let lines = self.lines.lock().unwrap();
        let mut rounds = lines.iter().rev().filter(|line| line.contains(r#""event":"round""#));
        let is_complete = |round: &Value| round["outcome"] != "interrupted";
        rounds.find_map(|line| serde_json::from_str(line).ok().filter(is_complete))
    }

    pub(crate) fn send(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Ends the watch by a signal. Returns its status, after all lines were read.
    #[track_caller]
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        self.send(signal);
        self.ended()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = end_of(&mut self.child);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // A test that failed: services end with SIGTERM only.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.send(Signal::TERM);
            end_of(&mut self.child);
        }
    }
}

/// Writes a file at once: a round never sees a part of it.
pub(crate) fn edit(sandbox: &Sandbox, path: &str, content: &str) {
    fs::write(sandbox.beside("edited"), content).unwrap();
    fs::rename(sandbox.beside("edited"), sandbox.path(path)).unwrap();
}
