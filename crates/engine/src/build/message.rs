//! The messages of working threads to the loop.

use anyhow::Result;

use super::Engine;
use super::work::Worked;
use crate::event::Event;
use crate::graph::TargetId;
use crate::key::Reason;
use crate::make::Token;
use crate::ownership;
use crate::signals;
use crate::state::Record;

/// A message of a working thread to the loop.
pub(super) enum Message {
    Event(Event),
    Token(Token),
    /// A guard has ended.
    Guarded {
        /// Its number.
        at: usize,
        token: Token,
        seconds: f64,
        found: Result<()>,
    },
    /// The run of a target has succeeded, and it waits for its `until`.
    Polling {
        id: TargetId,
        token: Option<Token>,
        /// The record of the run, if it can be resumed.
        ran: Option<Record>,
    },
    Finished {
        id: TargetId,
        /// `None` if it was returned before.
        token: Option<Token>,
        seconds: f64,
        reasons: Vec<Reason>,
        worked: Result<Worked>,
    },
    /// A preflight has ended.
    Looked {
        id: TargetId,
        seconds: f64,
        found: Result<()>,
    },
}

impl Engine<'_, '_> {
    pub(super) fn take_in(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Event(event) => {
                self.report.event(&event);
                self.gate.taken(&event);
            }
            Message::Token(token) => {
                self.asked = false;
                self.offered = Some(token);
            }
            Message::Looked { id, seconds, found } => self.looked(id, seconds, found),
            Message::Guarded { at, token, seconds, found } => {
                self.guarded(at, token, seconds, found);
            }
            Message::Polling { id, token, ran } => {
                drop(token);
                self.polls(id, ran)?;
            }
            Message::Finished { id, token, seconds, reasons, worked } => {
                // Not before: the outcome decides whether another target may start.
                match token {
                    Some(_) => {
                        self.running -= 1;
                        self.alone = false;
                    }
                    None => self.polling -= 1,
                }
                drop(token);
                let name = self.world.name(id);
                let is_interrupted = signals::is_ending() && self.state.waits(name);
                // Else what a killed run left half-written would count as a user's. The run of a target
                // that waits has succeeded.
                let is_clean =
                    self.state.waits(name) || !ownership::is_writing(self.world.project, name)?;
                if worked.is_err() && !is_interrupted && is_clean {
                    self.state.stop(name, None)?;
                }
                match worked {
                    Ok(worked) => self.ran(id, reasons, seconds, worked)?,
                    Err(error) if self.ignores_errors() => {
                        self.failed_but_ignored(id, reasons, seconds, &error);
                    }
                    Err(error) => self.failed(id, reasons, seconds, &error),
                }
            }
        }
        Ok(())
    }

    /// Takes in that a target waits for its `until`, without a job slot.
    fn polls(&mut self, id: TargetId, ran: Option<Record>) -> Result<()> {
        self.running -= 1;
        self.polling += 1;
        self.alone = false;
        let target = self.world.target(id);
        if let Some(record) = ran {
            self.state.wait(&target.name.value, &record)?;
        }
        let until = target.until().expect("BUG: it waits").action.to_string();
        self.report.event(&Event::Waiting { target: target.name.value.clone(), until });
        Ok(())
    }
}
