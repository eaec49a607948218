//! Turns events into the lines a person reads, in order: what is worth a line, and when. The
//! output of targets that run side by side is held back so that it does not mix: a target's
//! lines are passed on as they come only while nothing else runs.
//!
//! Owns what is held back and what the last line will say. Knows nothing of writers, terminals
//! or the wording itself.

use super::wording::{Reasons, Tally, Wording};
use super::{Style, Verbosity};
use crate::event::{Event, Finished, Outcome};
use crate::key::Reason;
use crate::process::Stream;

/// Whole lines for one stream, to be written at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) stream: Stream,
    pub(super) text: String,
}

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
    held: Vec<(Stream, String)>,
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

    /// What is to be written because of `event`, in order.
    pub(super) fn hear(&mut self, event: &Event) -> Vec<Chunk> {
        match event {
            Event::Planned { .. } | Event::Status { .. } => {}
            Event::Started { target, reasons, .. } => self.started(target, reasons),
            Event::Line { target, stream, text } => self.line(target, *stream, text),
            Event::Warning { target, text } => {
                self.say(target.as_deref(), self.wording.warning(target.as_deref(), text));
            }
            Event::Finished(finished) => self.finished(finished),
            Event::Summary(summary) => {
                if self.style.verbosity != Verbosity::Silent {
                    self.say(None, self.wording.summary(summary, &self.tally));
                }
            }
        }
        std::mem::take(&mut self.chunks)
    }

    fn started(&mut self, target: &str, reasons: &[Reason]) {
        self.running.push(Running {
            target: target.to_owned(),
            reasons: reasons.to_owned(),
            announced: false,
            held: Vec::new(),
        });
        if self.announce == Announce::AtStart || self.style.verbosity == Verbosity::Trace {
            self.announce(self.running.len() - 1);
        }
    }

    fn line(&mut self, target: &str, stream: Stream, text: &str) {
        let Some(index) = self.running.iter().position(|running| running.target == target) else {
            // Nothing says when it would end, so there is nothing to wait for.
            self.head(target);
            return self.pass_on(stream, text);
        };
        self.running[index].held.push((stream, text.to_owned()));
        if self.running.len() == 1 || !self.style.hold {
            self.release(index);
        }
    }

    fn finished(&mut self, finished: &Finished) {
        let index = self.running.iter().position(|running| running.target == finished.target);
        if let Some(index) = index {
            self.release(index);
        }
        let ended = index.map(|index| self.running.remove(index));
        self.end(finished, ended.as_ref());
        self.tally.add(finished);
        if self.running.len() == 1 {
            self.release(0);
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
    fn release(&mut self, index: usize) {
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
        for (stream, text) in held {
            self.pass_on(stream, &text);
        }
    }

    /// Makes it clear that the next lines are those of `target`.
    fn head(&mut self, target: &str) {
        if self.last.as_deref() != Some(target) && self.style.verbosity != Verbosity::Silent {
            self.say(Some(target), self.wording.heading(target));
        }
    }

    fn pass_on(&mut self, stream: Stream, text: &str) {
        self.chunk(stream, format!("{text}\n"));
    }

    /// zipwright's own words, about `target` or the whole build.
    fn say(&mut self, target: Option<&str>, text: String) {
        self.last = target.map(str::to_owned);
        self.chunk(Stream::Stderr, text);
    }

    fn chunk(&mut self, stream: Stream, text: String) {
        match self.chunks.last_mut() {
            Some(last) if last.stream == stream => last.text += &text,
            _ => self.chunks.push(Chunk { stream, text }),
        }
    }
}
