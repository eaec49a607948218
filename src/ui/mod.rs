//! What a person or a program sees of a build: live on a terminal, as plain lines, or as JSON.
//!
//! Owns every word printed while targets are brought up to date. Sees events only, and knows
//! nothing of where they come from; whoever builds decides which of the reports is right.

mod json;
mod live;
mod narrator;
mod plain;
#[cfg(test)]
mod testing;
mod wording;

use std::io::{self, Write};

use crate::event::Report;
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

    /// Writes whole lines at once. A reader that went away ends that stream and not the build; a
    /// stream that cannot be written for another reason is given up with one warning.
    fn write(&mut self, stream: Stream, lines: &str) {
        let writer = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(handle) = writer else { return };
        let written = handle.write_all(lines.as_bytes()).and_then(|()| handle.flush());
        let Err(error) = written else { return };
        *writer = None;
        if stream == Stream::Stdout && error.kind() != io::ErrorKind::BrokenPipe {
            let text = format!("could not write to standard output: {error}");
            self.write(Stream::Stderr, &Wording::plain().warning(None, &text));
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

/// A build for a program to read, as `docs/JSON.md` says. Warnings and errors are on standard
/// error as well, for the person who reads the log.
pub fn json(writers: Writers) -> Box<dyn Report> {
    Box::new(json::Json::new(writers))
}
