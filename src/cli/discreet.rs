//! Hides values of the command line in events. The output of commands is not changed: it is theirs.

use serde_json::Value;

use crate::event::{Event, Finished, Outcome, Report};
use crate::key::Reason;
use crate::target::Typed;

/// Passes events on to another report, with hidden values.
pub(super) struct Discreet<'a> {
    pub(super) typed: &'a Typed,
    pub(super) report: &'a mut dyn Report,
}

impl Discreet<'_> {
    /// Hides the values in all texts of `value`.
    fn clean_texts(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.typed.redact(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.clean_texts(value)),
            _ => {}
        }
    }
}

impl Report for Discreet<'_> {
    fn event(&mut self, event: &Event) {
        if self.typed.is_empty() {
            return self.report.event(event);
        }
        let mut event = event.clone();
        let clean = |text: &mut String| *text = self.typed.redact(text);
        let clean_reasons = |reasons: &mut Vec<Reason>| {
            for reason in reasons {
                match reason {
                    Reason::Changed { component, old, new } => {
                        [component, old, new].into_iter().for_each(clean);
                    }
                    Reason::Added { component, new: value }
                    | Reason::Removed { component, old: value } => {
                        [component, value].into_iter().for_each(clean);
                    }
                    _ => {}
                }
            }
        };
        match &mut event {
            Event::Planned { .. }
            | Event::Line { .. }
            | Event::Downloading { .. }
            | Event::Service { .. }
            | Event::Note { .. }
            | Event::Round(_)
            | Event::Summary(_) => {}
            Event::Started { reasons, .. } => clean_reasons(reasons),
            Event::Status { text, .. } | Event::Warning { text, .. } => clean(text),
            Event::Checking { guard: text, .. }
            | Event::Checked { guard: text, .. }
            | Event::Waiting { until: text, .. } => clean(text),
            Event::Found { found, .. } => clean(&mut found.text),
            Event::Finished(Finished { reasons, error, outcome, facts, .. }) => {
                clean_reasons(reasons);
                if *outcome == Outcome::WouldRun {
                    facts.iter_mut().for_each(|(_, fact)| self.clean_texts(fact));
                }
                error.iter_mut().for_each(clean);
            }
        }
        self.report.event(&event);
    }
}
