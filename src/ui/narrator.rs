//! Turns events into the lines a person reads, in order: what is worth a line, and when. The
//! output of targets that run side by side is held back so that it does not mix: a target's
//! lines are passed on as they come only while nothing else runs.
//!
//! Owns what is held back and what the last line will say. Knows nothing of writers, terminals
//! or the wording itself.

use super::held::Held;
use super::wording::{Reasons, Tally, Wording};
use super::{Style, Verbosity};
use crate::base::Printable;
use crate::base::printable::printable;
use crate::event::{Event, Finished, Outcome};
use crate::key::Reason;
use crate::process::Stream;

/// Whole lines for one stream, to be written at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) stream: Stream,
    pub(super) text: Printable,
}

/// Writes chunks, in order.
pub(super) type Write<'a> = &'a mut dyn FnMut(Vec<Chunk>);

/// Bytes from which on chunks are written before there are more.
const ENOUGH: usize = 1 << 20;

/// When a target that runs gets its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announce {
    /// As it starts: in a log there is nothing else that says what goes on.
    AtStart,
    /// As it ends, or when it has something to say: until then a terminal shows it by other means.
    AtEnd,
}

pub(super) struct Narrator {
    wording: Wording,
    style: Style,
    announce: Announce,
    /// In the order in which they started.
    running: Vec<Running>,
    /// Whose line was written last; its next lines need no heading.
    last: Option<String>,
    tally: Tally,
    chunks: Vec<Chunk>,
}

struct Running {
    target: String,
    reasons: Vec<Reason>,
    announced: bool,
    held: Held,
}

impl Narrator {
    pub(super) fn new(style: Style, announce: Announce) -> Self {
        Self {
            wording: style.wording(),
            style,
            announce,
            running: Vec::new(),
            last: None,
            tally: Tally::default(),
            chunks: Vec::new(),
        }
    }

    /// Writes all that `event` is a reason for.
    pub(super) fn hear(&mut self, event: &Event, write: Write) {
        match event {
            Event::Planned { .. } | Event::Status { .. } => {}
            Event::Started { target, reasons, .. } => self.started(target, reasons),
            Event::Line { target, stream, text } => self.line(target, *stream, text, write),
            Event::Warning { target, text } => {
                self.say(target.as_deref(), self.wording.warning(target.as_deref(), text));
            }
            Event::Finished(finished) => self.finished(finished, write),
            Event::Summary(summary) => {
                if self.style.verbosity != Verbosity::Silent {
                    self.say(None, self.wording.summary(summary, &self.tally));
                }
            }
        }
        if !self.chunks.is_empty() {
            write(std::mem::take(&mut self.chunks));
        }
    }

    fn started(&mut self, target: &str, reasons: &[Reason]) {
        self.running.push(Running {
            target: target.to_owned(),
            reasons: reasons.to_owned(),
            announced: false,
            held: Held::default(),
        });
        if self.announce == Announce::AtStart || self.style.verbosity == Verbosity::Trace {
            self.announce(self.running.len() - 1);
        }
    }

    fn line(&mut self, target: &str, stream: Stream, text: &Printable, write: Write) {
        let Some(index) = self.running.iter().position(|running| running.target == target) else {
            // Nothing says when it would end, so there is nothing to wait for.
            self.head(target);
            return self.pass_on(stream, text);
        };
        self.running[index].held.push(stream, text);
        if self.running.len() == 1 || !self.style.hold {
            self.release(index, write);
        }
    }

    fn finished(&mut self, finished: &Finished, write: Write) {
        let index = self.running.iter().position(|running| running.target == finished.target);
        if let Some(index) = index {
            self.release(index, write);
        }
        let ended = index.map(|index| self.running.remove(index));
        self.end(finished, ended.as_ref());
        self.tally.add(finished);
        if self.running.len() == 1 {
            self.release(0, write);
        }
    }

    /// The line, if any, that says how the target ended.
    fn end(&mut self, finished: &Finished, ended: Option<&Running>) {
        let Finished { target, outcome, reasons, error, .. } = finished;
        let shown = self.reasons();
        let silent = self.style.verbosity == Verbosity::Silent;
        let trace = self.style.verbosity == Verbosity::Trace;
        let text = match outcome {
            Outcome::Failed => self.wording.failed(target, error.as_deref()),
            _ if silent => return,
            Outcome::Skipped => {
                let how = match error {
                    Some(cause) if self.tally.is_skipped(cause) => "was skipped",
                    _ => "failed",
                };
                self.wording.skipped(target, error.as_deref(), how)
            }
            Outcome::WouldRun => {
                // What a dry run finds out is its result, as it is of `make -n`.
                let text = self.wording.would_run(target, reasons, shown);
                return self.chunk(Stream::Stdout, text);
            }
            Outcome::UpToDate if trace => self.wording.up_to_date(target),
            Outcome::UpToDate => return,
            Outcome::Ran => match ended {
                Some(ended) if !ended.announced => self.wording.ran(finished, reasons, shown),
                Some(_) if trace || self.announce == Announce::AtEnd => {
                    self.wording.ran(finished, &[], shown)
                }
                _ => return,
            },
        };
        self.say(Some(target), text);
    }

    fn reasons(&self) -> Reasons {
        if self.style.verbosity == Verbosity::Trace { Reasons::All } else { Reasons::First }
    }

    /// Says that the running target `index` runs.
    fn announce(&mut self, index: usize) {
        let shown = self.reasons();
        let running = &mut self.running[index];
        running.announced = true;
        let target = running.target.clone();
        let text = self.wording.running(&target, &running.reasons, shown);
        if self.style.verbosity != Verbosity::Silent {
            self.say(Some(&target), text);
        }
    }

    /// Passes on what was held back of the running target `index`.
    fn release(&mut self, index: usize, write: Write) {
        let held = std::mem::take(&mut self.running[index].held);
        if held.is_empty() {
            return;
        }
        if self.running[index].announced {
            let target = self.running[index].target.clone();
            self.head(&target);
        } else {
            self.announce(index);
        }
        let mut size = 0;
        held.each(|stream, text| {
            self.pass_on(stream, text);
            size += text.as_str().len();
            if size > ENOUGH {
                size = 0;
                write(std::mem::take(&mut self.chunks));
            }
        });
    }

    /// Makes it clear that the next lines are those of `target`.
    fn head(&mut self, target: &str) {
        if self.last.as_deref() != Some(target) && self.style.verbosity != Verbosity::Silent {
            self.say(Some(target), self.wording.heading(target));
        }
    }

    fn pass_on(&mut self, stream: Stream, text: &Printable) {
        self.chunk(stream, printable![text, "\n"]);
    }

    /// zipwright's own words, about `target` or the whole build.
    fn say(&mut self, target: Option<&str>, text: Printable) {
        self.last = target.map(str::to_owned);
        self.chunk(Stream::Stderr, text);
    }

    fn chunk(&mut self, stream: Stream, text: Printable) {
        match self.chunks.last_mut() {
            Some(last) if last.stream == stream => last.text.push(text),
            _ => self.chunks.push(Chunk { stream, text }),
        }
    }
}
