//! Everything that happens in a build, as values. The engine says it here; a [`Report`] decides
//! whether and how a person or a program sees it. Nothing else prints during a build.

use serde_json::Value;

use crate::key::Reason;
use crate::process::Stream;

#[derive(Clone, Debug)]
pub enum Event {
    /// The graph is known: this many targets are looked at.
    Planned {
        targets: usize,
    },
    Started {
        target: String,
        kind: &'static str,
        reasons: Vec<Reason>,
        /// It has the terminal to itself until it has finished: nothing else may draw.
        terminal: bool,
    },
    /// A line of output of the work itself: a command's, pip's, a function's response.
    Line {
        target: String,
        stream: Stream,
        text: String,
    },
    /// What a running target does right now.
    Status {
        target: String,
        text: String,
    },
    /// `target` is `None` when the warning is about the build as a whole.
    Warning {
        target: Option<String>,
        text: String,
    },
    Finished(Finished),
    Summary(Summary),
}

/// How a target ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub target: String,
    pub kind: &'static str,
    pub outcome: Outcome,
    /// Why it ran, or would; empty for a target that is up to date.
    pub reasons: Vec<Reason>,
    pub seconds: f64,
    /// Paths relative to the project.
    pub outputs: Vec<String>,
    /// For a zip: `code_sha256`, `size`, `unzipped_size`. Others add their own.
    pub facts: Vec<(String, Value)>,
    /// For `Failed`: what went wrong. For `Skipped`: because of which target.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ran,
    UpToDate,
    /// In a dry run: it would have run.
    WouldRun,
    Failed,
    /// Not tried, because a target it needs failed.
    Skipped,
}

impl Outcome {
    /// The word in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::UpToDate => "up-to-date",
            Self::WouldRun => "would-run",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The build as a whole. Groups are counted like any other target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    pub ran: usize,
    pub up_to_date: usize,
    pub would_run: usize,
    pub failed: usize,
    pub skipped: usize,
    pub seconds: f64,
}

impl Summary {
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ran => self.ran += 1,
            Outcome::UpToDate => self.up_to_date += 1,
            Outcome::WouldRun => self.would_run += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }
}

/// Shows a build, or keeps it.
pub trait Report {
    fn event(&mut self, event: &Event);
}
