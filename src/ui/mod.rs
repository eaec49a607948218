//! What a person or a program sees of a build: live on a terminal, as plain lines, or as JSON.
//!
//! Owns every word printed while targets are brought up to date. Sees events only, and knows
//! nothing of where they come from; whoever builds decides which of the reports is right.

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

/// How a build is shown to a person.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Standard error is a terminal that may be redrawn.
    pub live: bool,
    pub verbosity: Verbosity,
    /// Nothing runs, so there is no progress to show.
    pub dry_run: bool,
    /// Targets that run at once do not mix their output: it is held back until each has ended.
    pub hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// The output of what runs, warnings and errors; nothing else.
    Silent,
    Normal,
    /// Every reason, and every target that is up to date.
    Trace,
}

impl Style {
    fn wording(self) -> Wording {
        if self.color { Wording::coloured() } else { Wording::plain() }
    }
}

/// Whether a report could not be written to standard output. Global because standard output is.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Returns whether a part of a report could not be written to standard output, and its reader had
/// not gone away.
pub fn output_lost() -> bool {
    OUTPUT_LOST.load(Ordering::Relaxed)
}

/// Where a report goes. The output of targets and the results that were asked for go to `stdout`,
/// zipwright's own words to `stderr`.
pub struct Writers {
    stdout: Option<Box<dyn Write + Send>>,
    stderr: Option<Box<dyn Write + Send>>,
}

impl Writers {
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self { stdout: Some(stdout), stderr: Some(stderr) }
    }

    /// Those of this process.
    pub fn standard() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Writes whole lines at once. If the reader of a stream has gone away, or it cannot be written
    /// for another reason, it is given up and the build goes on. Other reasons are one error.
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

/// A build for a person to read.
pub fn report(style: Style, writers: Writers) -> Box<dyn Report> {
    // Without a word of its own a build has nothing that could move.
    if style.live && !style.dry_run && style.verbosity != Verbosity::Silent {
        Box::new(live::Live::new(style, writers))
    } else {
        Box::new(plain::Plain::new(style, writers))
    }
}

/// Returns an event as a `--json` build writes it, on one line; `None` for events that it leaves out.
pub fn json_line(event: &Event) -> Option<Printable> {
    json::object(event).map(|object| Printable::json(&object.to_string()))
}

/// A build for a program to read, as `docs/JSON.md` says. Warnings and errors are on standard
/// error as well, for the person who reads the log.
pub fn json(writers: Writers) -> Box<dyn Report> {
    Box::new(json::Json::new(writers))
}
