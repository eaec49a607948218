//! Records when each target of a build started and ended. Passes every event on to another report,
//! unchanged. Receives the graph only at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Skipped, Span, Timings};
use crate::event::{Event, Finished, Outcome, Report};
use crate::key::Reason;

/// Created at the build's start.
pub struct Recorder {
    inner: Box<dyn Report>,
    /// Whether the timings are needed.
    is_asked: bool,
    born: Instant,
    running: Vec<Running>,
    spans: Vec<Span>,
    up_to_date: Vec<String>,
    skipped: Vec<Skipped>,
    /// Time of the last event.
    latest: f64,
}

struct Running {
    target: String,
    kind: &'static str,
    start: f64,
    reasons: Vec<String>,
    /// Since when it waits, and for what.
    waited: Option<String>,
}

impl Recorder {
    /// Creates a recorder; records nothing unless `is_asked`.
    pub fn new(inner: Box<dyn Report>, is_asked: bool) -> Self {
        Self {
            inner,
            is_asked,
            born: Instant::now(),
            running: Vec::new(),
            spans: Vec::new(),
            up_to_date: Vec::new(),
            skipped: Vec::new(),
            latest: 0.0,
        }
    }

    /// Returns the timings, after the last event. `needs` is the whole graph: the needs of each
    /// target, order-only ones too. A target that is still running counts as failed.
    pub fn timings(&self, jobs: usize, needs: &BTreeMap<String, Vec<String>>) -> Timings {
        let mut spans = self.spans.clone();
        spans.extend(self.running.iter().map(|running| Span {
            target: running.target.clone(),
            kind: running.kind,
            start: running.start,
            end: self.latest,
            outcome: Outcome::Failed,
            reasons: running.reasons.clone(),
            needs: Vec::new(),
            error: Some("was not finished".into()),
        }));
        spans.sort_by(|a, b| a.start.total_cmp(&b.start));
        let mut up_to_date = self.up_to_date.clone();
        up_to_date.sort();
        let ran: BTreeSet<String> = spans.iter().map(|span| span.target.clone()).collect();
        for span in &mut spans {
            span.needs = nearest_that_ran(&span.target, needs, &ran);
        }
        Timings { jobs, total: self.latest, spans, up_to_date, skipped: self.skipped.clone() }
    }

    fn note(&mut self, event: &Event, now: f64) {
        self.latest = now;
        match event {
            Event::Started { target, kind, reasons, .. } => self.running.push(Running {
                target: target.clone(),
                kind,
                start: now,
                reasons: in_words(reasons),
                waited: None,
            }),
            Event::Finished(finished) => self.finish(finished, now),
            Event::Checked { target, guard, passed, seconds } => self.spans.push(Span {
                target: format!("{target}: require"),
                kind: "guard",
                start: (now - seconds).max(0.0),
                end: now,
                outcome: if *passed { Outcome::Ran } else { Outcome::Failed },
                reasons: vec![guard.clone()],
                needs: Vec::new(),
                error: None,
            }),
            Event::Waiting { target, until } => self.wait(target, until, now),
            Event::Checking { .. }
            | Event::Planned { .. }
            | Event::Line { .. }
            | Event::Service { .. }
            | Event::Note { .. }
            | Event::Round(_)
            | Event::Status { .. }
            | Event::Downloading { .. }
            | Event::Warning { .. }
            | Event::Found { .. }
            | Event::Summary(_) => {}
        }
    }

    /// Notes when the wait of a target began.
    fn wait(&mut self, target: &str, until: &str, now: f64) {
        let mut running = self.running.iter_mut();
        if let Some(running) = running.find(|running| running.target == target) {
            running.waited = Some(format!("waited from {} on until {until}", super::shown(now)));
        }
    }

    fn finish(&mut self, finished: &Finished, now: f64) {
        let Finished { target, kind, outcome, reasons, seconds, error, .. } = finished;
        let running = self.running.iter().position(|running| running.target == *target);
        let running = running.map(|place| self.running.swap_remove(place));
        let waited = running.as_ref().and_then(|running| running.waited.clone());
        match outcome {
            Outcome::UpToDate => self.up_to_date.push(target.clone()),
            Outcome::Skipped => self.skipped.push(Skipped {
                target: target.clone(),
                because: error.clone().unwrap_or_default(),
            }),
            // Nothing ran, so there is no time to show.
            Outcome::WouldRun => {}
            Outcome::Ran | Outcome::Failed => self.spans.push(Span {
                target: target.clone(),
                kind,
                // Without a start event, use the reported duration.
                start: running.map_or((now - seconds).max(0.0), |running| running.start),
                end: now,
                outcome: *outcome,
                reasons: in_words(reasons).into_iter().chain(waited).collect(),
                needs: Vec::new(),
                error: error.clone(),
            }),
        }
    }
}

impl Report for Recorder {
    fn event(&mut self, event: &Event) {
        // Read the clock first, so that a slow display does not count.
        if self.is_asked {
            self.note(event, self.born.elapsed().as_secs_f64());
        }
        self.inner.event(event);
    }
}

fn in_words(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

/// Returns the targets in `ran` that `target` waited for, directly or through targets that are not
/// in it, so that an up-to-date target between them does not break the chain.
fn nearest_that_ran(
    target: &str,
    needs: &BTreeMap<String, Vec<String>>,
    ran: &BTreeSet<String>,
) -> Vec<String> {
    let direct = |name: &str| needs.get(name).into_iter().flatten();
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&String> = direct(target).collect();
    while let Some(name) = open.pop() {
        if !seen.insert(name) {
            continue;
        }
        if ran.contains(name) {
            found.insert(name.clone());
        } else {
            open.extend(direct(name));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::event::Summary;

    struct Count(Rc<RefCell<usize>>);

    impl Report for Count {
        fn event(&mut self, _: &Event) {
            *self.0.borrow_mut() += 1;
        }
    }

    fn started(target: &str) -> Event {
        let target = target.into();
        Event::Started {
            target,
            kind: "command",
            reasons: vec![Reason::NeverBuilt],
            terminal: false,
        }
    }

    fn finished(target: &str, outcome: Outcome, error: Option<&str>) -> Event {
        Event::Finished(Finished {
            target: target.into(),
            kind: "command",
            outcome,
            reasons: vec![Reason::NeverBuilt],
            seconds: 0.5,
            outputs: Vec::new(),
            facts: Vec::new(),
            error: error.map(Into::into),
        })
    }

    fn graph(edges: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        edges
            .iter()
            .map(|(target, needs)| {
                (target.to_string(), needs.iter().map(ToString::to_string).collect())
            })
            .collect()
    }

    fn recorded(events: &[(f64, Event)]) -> Recorder {
        let mut recorder = Recorder::new(Box::new(Count(Rc::default())), true);
        for (time, event) in events {
            recorder.note(event, *time);
        }
        recorder
    }

    #[test]
    fn every_event_is_passed_on() {
        let count = Rc::new(RefCell::new(0));
        let mut recorder = Recorder::new(Box::new(Count(Rc::clone(&count))), true);
        recorder.event(&Event::Planned { targets: 1 });
        recorder.event(&started("a"));
        recorder.event(&finished("a", Outcome::Ran, None));
        recorder.event(&Event::Summary(Summary::default()));
        assert_eq!(*count.borrow(), 4);
        let timings = recorder.timings(3, &BTreeMap::new());
        assert_eq!((timings.jobs, timings.spans.len()), (3, 1));
        assert!(timings.spans[0].end <= timings.total);
    }

    #[test]
    fn targets_are_told_apart_by_how_they_ended() {
        let recorder = recorded(&[
            (0.1, finished("old", Outcome::UpToDate, None)),
            (1.0, started("b")),
            (2.0, started("a")),
            (3.0, finished("a", Outcome::Failed, Some("it broke"))),
            (3.1, finished("late", Outcome::Skipped, Some("a"))),
            (4.0, finished("b", Outcome::Ran, None)),
            (4.1, finished("dry", Outcome::WouldRun, None)),
            (5.0, Event::Summary(Summary::default())),
        ]);
        let timings = recorder.timings(2, &BTreeMap::new());
        let times: Vec<_> =
            timings.spans.iter().map(|span| (span.target.as_str(), span.start, span.end)).collect();
        assert_eq!(times, [("b", 1.0, 4.0), ("a", 2.0, 3.0)]);
        assert_eq!(timings.spans[1].error.as_deref(), Some("it broke"));
        assert_eq!(timings.spans[1].reasons, ["not built before"]);
        assert_eq!(timings.up_to_date, ["old"]);
        assert_eq!(timings.skipped, [Skipped { target: "late".into(), because: "a".into() }]);
        assert!((timings.total - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_target_that_never_ended_is_shown_as_unfinished() {
        let recorder = recorded(&[(1.0, started("a")), (4.0, Event::Planned { targets: 1 })]);
        let span = &recorder.timings(1, &BTreeMap::new()).spans[0];
        assert_eq!((span.outcome, span.end), (Outcome::Failed, 4.0));
        assert_eq!(span.error.as_deref(), Some("was not finished"));
    }

    #[test]
    fn a_target_that_never_started_took_as_long_as_it_says() {
        let recorder = recorded(&[(2.0, finished("a", Outcome::Ran, None))]);
        let span = &recorder.timings(1, &BTreeMap::new()).spans[0];
        assert_eq!((span.start, span.end), (1.5, 2.0));
    }

    #[test]
    fn edges_lead_through_what_was_up_to_date() {
        let needs = graph(&[
            ("c", &["b", "idle"]),
            ("b", &["a"]),
            ("idle", &["b", "idle"]),
            ("d", &["c", "b"]),
        ]);
        let ran = ["a", "c", "d"].map(String::from).into();
        assert_eq!(nearest_that_ran("c", &needs, &ran), ["a"]);
        assert_eq!(nearest_that_ran("d", &needs, &ran), ["a", "c"]);
        assert_eq!(nearest_that_ran("a", &needs, &ran), [""; 0]);
    }
}
