//! The output of a build: live on a terminal, as plain lines, or as JSON.
//!
//! Owns every text printed while targets are brought up to date. Reads only events, and knows
//! nothing of their source; the caller chooses the report.

pub mod github;
mod held;
mod json;
mod live;
mod narrator;
mod plain;
#[cfg(test)]
mod testing;
mod wording;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::Printable;
use crate::event::{Event, Report};
use crate::process::Stream;
use wording::Wording;

/// How a build is shown on a terminal or in a log.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Whether standard error is a terminal that may be redrawn.
    pub live: bool,
    pub verbosity: Verbosity,
    /// Whether nothing runs, so that there is no progress to show.
    pub dry_run: bool,
    /// Whether the output of targets that run at once is held back until each has ended, so that it
    /// does not mix.
    pub hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Only the output of targets, warnings and errors.
    Silent,
    Normal,
    /// All reasons, and every target that is up to date.
    Trace,
}

impl Style {
    fn wording(self) -> Wording {
        if self.color { Wording::coloured() } else { Wording::plain() }
    }
}

/// Whether a report could not be written to standard output. Global because standard output is.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Returns whether a part of a report could not be written to standard output although its reader
/// was not gone.
pub fn output_lost() -> bool {
    OUTPUT_LOST.load(Ordering::Relaxed)
}

/// The outputs of a report. The output of targets and results go to `stdout`, zipwright's own texts
/// to `stderr`.
pub struct Writers {
    stdout: Option<Box<dyn Write + Send>>,
    stderr: Option<Box<dyn Write + Send>>,
}

impl Writers {
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self { stdout: Some(stdout), stderr: Some(stderr) }
    }

    /// Returns the outputs of this process.
    pub fn standard() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Writes whole lines at once. If the reader of a stream is gone, or it cannot be written for
    /// another reason, nothing more is written to it and the build continues. Other reasons are
    /// reported once.
    fn write(&mut self, stream: Stream, lines: &Printable) {
        let writer = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(handle) = writer else { return };
        let written = handle.write_all(lines.as_str().as_bytes()).and_then(|()| handle.flush());
        let Err(error) = written else { return };
        *writer = None;
        if stream == Stream::Stdout && error.kind() != io::ErrorKind::BrokenPipe {
            OUTPUT_LOST.store(true, Ordering::Relaxed);
            let text = format!("error: could not write to standard output: {error}\n");
            self.write(Stream::Stderr, &text.into());
        }
    }
}

/// Returns the report for people.
pub fn report(style: Style, writers: Writers) -> Box<dyn Report + Send> {
    // Without texts of zipwright, there are no moving lines.
    if style.live && !style.dry_run && style.verbosity != Verbosity::Silent {
        Box::new(live::Live::new(style, writers))
    } else {
        Box::new(plain::Plain::new(style, writers))
    }
}

/// Returns an event as a `--json` build writes it, on one line; `None` for events that are not part
/// of it.
pub fn json_line(event: &Event) -> Option<Printable> {
    json::object(event).map(|object| Printable::json(&object.to_string()))
}

/// Returns the report for programs, as in `docs/JSON.md`. Warnings and errors also go to standard
/// error, for readers of the log.
pub fn json(writers: Writers) -> Box<dyn Report + Send> {
    Box::new(json::Json::new(writers))
}
