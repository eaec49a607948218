//! The report of a watch, shared by its rounds and its services. A round that runs nothing is not
//! shown unless the one before it went wrong, and of an interrupted round only the targets that ran.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Listener;
use crate::base::Printable;
use crate::event::{Event, Finished, Outcome, Report, Round, RoundEnd};
use crate::process::Stream;

pub struct Screen(Mutex<Inner>);

struct Inner {
    report: Box<dyn Report + Send>,
    /// The report of a round that has not been shown yet: until then, services write to the last one.
    next: Option<Box<dyn Report + Send>>,
    round: u64,
    started: Instant,
    changed: Vec<String>,
    ran: Vec<String>,
    interrupted: bool,
    /// Whether all targets of the round had their turn.
    ended: bool,
    /// The events of a round that has not been shown yet.
    held: Vec<Event>,
    shown: bool,
    /// Whether the last shown round has built everything.
    is_right: bool,
}

impl Screen {
    pub fn new(report: Box<dyn Report + Send>) -> Self {
        Self(Mutex::new(Inner {
            report,
            next: None,
            round: 0,
            started: Instant::now(),
            changed: Vec::new(),
            ran: Vec::new(),
            interrupted: false,
            ended: false,
            held: Vec::new(),
            shown: false,
            is_right: true,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a round, with a report of its own. The first one is always shown.
    pub fn begin(&self, report: Box<dyn Report + Send>, changed: BTreeSet<String>) {
        let mut inner = self.lock();
        let is_first = inner.round == 0;
        if is_first || inner.shown {
            inner.round += 1;
        }
        match is_first {
            true => inner.report = report,
            false => inner.next = Some(report),
        }
        inner.started = Instant::now();
        inner.changed = changed.into_iter().collect();
        inner.ran.clear();
        inner.held.clear();
        (inner.interrupted, inner.ended) = (false, false);
        inner.shown = is_first;
    }

    /// Hides all failures from now on: they are those of programs that are being ended. Returns `false`
    /// if the round has ended already.
    pub fn interrupt(&self) -> bool {
        let mut inner = self.lock();
        inner.interrupted |= !inner.ended;
        inner.interrupted
    }

    /// Ends the round because these paths have changed, if it was interrupted. Returns whether it was.
    pub fn end_interrupted(&self, again: &BTreeSet<String>) -> bool {
        let mut inner = self.lock();
        if inner.interrupted {
            inner.end(RoundEnd::Interrupted(again.iter().cloned().collect()));
        }
        inner.interrupted
    }

    /// Writes a line for people.
    pub fn note(&self, text: String) {
        self.lock().report.event(&Event::Note { text });
    }

    /// Ends a round in which no target was checked.
    pub fn end_broken(&self) {
        self.lock().end(RoundEnd::Broken);
    }
}

impl Inner {
    fn end(&mut self, end: RoundEnd) {
        self.show();
        self.is_right = end == RoundEnd::Built;
        let round = Round {
            number: self.round,
            changed: mem::take(&mut self.changed),
            end,
            ran: mem::take(&mut self.ran),
            seconds: self.started.elapsed().as_secs_f64(),
        };
        self.report.event(&Event::Round(round));
    }

    fn show(&mut self) {
        if !mem::replace(&mut self.shown, true) {
            self.report = self.next.take().expect("BUG: each round has a report");
            for event in mem::take(&mut self.held) {
                self.report.event(&event);
            }
        }
    }

    fn event(&mut self, event: &Event) {
        self.ended |= matches!(event, Event::Summary(_));
        match event {
            Event::Finished(Finished { outcome: Outcome::Failed | Outcome::Skipped, .. })
            | Event::Summary(_)
                if self.interrupted =>
            {
                return;
            }
            Event::Finished(Finished { outcome: Outcome::Ran, target, .. }) => {
                self.ran.push(target.clone());
            }
            Event::Started { .. }
            | Event::Finished(Finished { outcome: Outcome::Failed, .. })
            | Event::Warning { .. } => self.show(),
            // After another end, people wait for this one.
            Event::Summary(_) if !self.shown && self.is_right => return self.held.clear(),
            Event::Summary(summary) if summary.failed > 0 => self.end(RoundEnd::Failed),
            Event::Summary(_) => self.end(RoundEnd::Built),
            _ => {}
        }
        match self.shown {
            true => self.report.event(event),
            false => self.held.push(event.clone()),
        }
    }
}

/// The report of the current round.
pub struct InRound(pub Arc<Screen>);

impl Report for InRound {
    fn event(&mut self, event: &Event) {
        self.0.lock().event(event);
    }
}

impl Listener for Screen {
    fn line(&self, service: &str, stream: Stream, text: &str) {
        let (target, text) = (service.to_owned(), Printable::as_is(text));
        self.lock().report.event(&Event::Service { target, stream, text });
    }

    fn ended(&self, service: &str, how: &str) {
        let text = format!("the service ended with {how}; the next change starts it again");
        let target = Some(service.to_owned());
        self.lock().report.event(&Event::Warning { target, text });
    }
}
