//! Turns events into the lines of a report, in order: which events get a line, and when. The output
//! of targets that run at once is held back so that it does not mix: a target's lines are passed on
//! immediately only while no other target runs.
//!
//! Owns the held lines and the data of the last line. Knows nothing of writers, terminals or the
//! texts themselves.

use super::held::Held;
use super::wording::{Reasons, Tally, Wording};
use super::{Style, Verbosity};
use crate::base::Printable;
use crate::base::printable::printable;
use crate::event::{Event, Finished, Outcome, Round, RoundEnd};
use crate::key::Reason;
use crate::process::Stream;

/// Whole lines for one stream, written at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) stream: Stream,
    pub(super) text: Printable,
}

/// Writes chunks, in order.
pub(super) type Write<'a> = &'a mut dyn FnMut(Vec<Chunk>);

/// Number of bytes from which on chunks are written without waiting for more.
const ENOUGH: usize = 1 << 20;

/// When the line of a running target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announce {
    /// At its start: a log shows progress in no other way.
    AtStart,
    /// At its end, or with its first output: until then, a terminal shows it in the moving lines.
    AtEnd,
}

pub(super) struct Narrator {
    wording: Wording,
    style: Style,
    announce: Announce,
    /// Running targets, in the order of their starts.
    running: Vec<Running>,
    /// The target of the last line; further lines of it need no heading.
    last: Option<String>,
    tally: Tally,
    /// The beginning of the last line of a round.
    round: Printable,
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
            round: Printable::default(),
            chunks: Vec::new(),
        }
    }

    /// Writes all lines that result from `event`.
    pub(super) fn narrate(&mut self, event: &Event, write: Write) {
        match event {
            Event::Planned { .. }
            | Event::Status { .. }
            | Event::Downloading { .. }
            | Event::Checking { .. }
            | Event::Found { .. } => {}
            Event::Checked { target, guard, passed: true, seconds }
                if self.style.verbosity == Verbosity::Trace =>
            {
                self.say(Some(target), self.wording.guard_passed(target, guard, *seconds));
            }
            // The error of the target has the guard that failed.
            Event::Checked { .. } => {}
            Event::Waiting { target, until } => self.waiting(target, until),
            Event::Started { target, reasons, .. } => self.started(target, reasons),
            Event::Line { target, stream, text } => self.line(target, *stream, text, write),
            Event::Warning { target, text } => {
                self.say(target.as_deref(), self.wording.warning(target.as_deref(), text));
            }
            Event::Finished(finished) => self.finished(finished, write),
            Event::Service { target, stream, text } => {
                self.last = None;
                let name = self.wording.target(target);
                self.chunk(*stream, printable![name, ": ", text, "\n"]);
            }
            Event::Note { text } if self.style.verbosity != Verbosity::Silent => {
                self.say(None, printable![text, "\n"]);
            }
            Event::Note { .. } => {}
            Event::Round(round) => self.round(round),
            Event::Summary(summary) => {
                if self.style.verbosity != Verbosity::Silent {
                    let round = std::mem::take(&mut self.round);
                    self.say(None, printable![round, self.wording.summary(summary, &self.tally)]);
                }
            }
        }
        if !self.chunks.is_empty() {
            write(std::mem::take(&mut self.chunks));
        }
    }

    fn round(&mut self, round: &Round) {
        match &round.end {
            RoundEnd::Built | RoundEnd::Failed => self.round = self.wording.round(round),
            RoundEnd::Broken | RoundEnd::Interrupted(_) => {
                let text = printable![self.wording.round(round), self.wording.end(round)];
                if self.style.verbosity != Verbosity::Silent {
                    self.say(None, text);
                }
            }
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

    /// Adds a line for the wait of a running target, where no moving line shows it.
    fn waiting(&mut self, target: &str, until: &str) {
        let is_shown =
            self.announce == Announce::AtStart || self.style.verbosity == Verbosity::Trace;
        if is_shown && self.style.verbosity != Verbosity::Silent {
            self.say(Some(target), self.wording.waiting(target, until));
        }
    }

    fn line(&mut self, target: &str, stream: Stream, text: &Printable, write: Write) {
        let Some(index) = self.running.iter().position(|running| running.target == target) else {
            // It has no end event, so do not wait for one.
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

    /// Adds the line for the end of the target, if any.
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
                // The results of a dry run go to standard output, as those of `make -n`.
                let text = self.wording.would_run(target, reasons, shown);
                let text = printable![text, self.wording.guards(&finished.facts)];
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

    /// Adds the line that the running target `index` runs.
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

    /// Writes the held lines of the running target `index`.
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

    /// Adds a heading, unless the last line was of `target`.
    fn head(&mut self, target: &str) {
        if self.last.as_deref() != Some(target) && self.style.verbosity != Verbosity::Silent {
            self.say(Some(target), self.wording.heading(target));
        }
    }

    fn pass_on(&mut self, stream: Stream, text: &Printable) {
        self.chunk(stream, printable![text, "\n"]);
    }

    /// Adds a text of zipwright about `target` or the whole build.
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
