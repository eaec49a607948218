//! The timings of a build: a [`Recorder`] reads the build's events and keeps a [`Span`] for each
//! target that ran; [`html`] and [`chrome_trace`] show the finished timings.
//!
//! Both depend only on the timings, so equal timings give equal text. Knows nothing of the engine,
//! and writes no file. The job slot of a target is computed from the times, because the engine
//! counts its jobs without numbering them.

mod chart;
mod escape;
mod page;
mod recorder;
mod schedule;
mod trace;

pub use page::{html, is_page};
pub use recorder::Recorder;
pub use schedule::{critical_path, slots};
pub use trace::{chrome_trace, is_trace};

use std::time::Duration;

use crate::event::Outcome;

/// A target that ran, and its times in seconds since the build's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub target: String,
    pub kind: &'static str,
    pub start: f64,
    pub end: f64,
    pub outcome: Outcome,
    /// The reasons for its run, as text.
    pub reasons: Vec<String>,
    /// The targets that had to finish before this one; those without a span are ignored.
    pub needs: Vec<String>,
    /// The error, for `Failed`.
    pub error: Option<String>,
}

/// A target that was not tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub target: String,
    /// The target whose failure was the cause; empty if unknown.
    pub because: String,
}

/// A finished build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    /// Number of targets that could run at once; `usize::MAX` without a limit.
    pub jobs: usize,
    /// Seconds from the build's start to its end.
    pub total: f64,
    pub spans: Vec<Span>,
    pub up_to_date: Vec<String>,
    pub skipped: Vec<Skipped>,
}

impl Span {
    /// Returns its duration; never negative, even if the clock was set back.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start).max(0.0)
    }
}

impl Timings {
    /// Returns the time span of the page: the total, or the end of the last target if that is
    /// later.
    fn extent(&self) -> f64 {
        self.spans.iter().map(|span| span.end).fold(self.total, f64::max).max(0.0)
    }

    fn failed(&self) -> usize {
        self.spans.iter().filter(|span| span.outcome == Outcome::Failed).count()
    }
}

/// Formats seconds as in messages.
fn shown(seconds: f64) -> String {
    crate::base::words::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Builds for several tests.
#[cfg(test)]
mod example {
    use super::{Skipped, Span, Timings};
    use crate::event::Outcome;

    pub(super) fn span(
        target: &str,
        kind: &'static str,
        (start, end): (f64, f64),
        needs: &[&str],
    ) -> Span {
        Span {
            target: target.into(),
            kind,
            start,
            end,
            outcome: Outcome::Ran,
            reasons: Vec::new(),
            needs: needs.iter().map(ToString::to_string).collect(),
            error: None,
        }
    }

    /// Returns a build of a bundle and its upload on two jobs, with a failure of another target.
    pub(super) fn bundle() -> Timings {
        let mut spans = vec![
            span("wheels", "wheelhouse", (0.0, 6.0), &[]),
            span("models", "command", (0.0, 1.2), &[]),
            span("lint", "command", (1.2, 2.2), &["models"]),
            span("staging", "staging", (6.0, 6.4), &["wheels", "models"]),
            span("package", "zip", (6.4, 6.6), &["staging"]),
            span("upload", "upload", (6.6, 9.6), &["package"]),
        ];
        spans[0].reasons = vec![
            "file requirements.txt: 1f2e3d4c5b6a -> 0a1b2c3d4e5f".into(),
            "forced by -B".into(),
        ];
        spans[2].outcome = Outcome::Failed;
        spans[2].error = Some("`ruff check <src>` exited with status 1".into());
        Timings {
            jobs: 2,
            total: 9.7,
            spans,
            up_to_date: vec!["docs & co".into()],
            skipped: vec![Skipped { target: "release".into(), because: "lint".into() }],
        }
    }

    /// Returns a build of any shape, the same for the same seed.
    pub(super) fn random(seed: u64, targets: usize) -> Timings {
        let mut state = seed;
        let mut next = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut spans: Vec<Span> = Vec::new();
        for number in 0..targets {
            let needs: Vec<String> = (0..next(3).min(number as u64))
                .map(|_| format!("t{}", next(number as u64)))
                .collect();
            let start = next(200) as f64 / 10.0;
            // Half of the lengths are 0 or end where another span begins: the edge cases.
            let length = next(2) as f64 * next(40) as f64 / 10.0;
            let mut span = span(&format!("t{number}"), "command", (start, start + length), &[]);
            span.needs = needs;
            spans.push(span);
        }
        Timings { jobs: 4, total: 25.0, spans, ..Timings::default() }
    }
}
