//! Everything that happens in a build, as values. The engine sends them; a [`Report`] decides how a
//! person or a program sees them. Nothing else prints during a build.

use serde_json::Value;

use crate::key::Reason;
use crate::process::Stream;
use zipwright_store::Printable;

#[derive(Clone, Debug)]
pub enum Event {
    /// The graph is complete, and this many targets are checked.
    Planned {
        targets: usize,
    },
    Started {
        target: String,
        kind: &'static str,
        reasons: Vec<Reason>,
        /// It owns the terminal until it has finished: nothing else may draw.
        terminal: bool,
    },
    /// A line of output of the work itself: of a command, of pip, of a function.
    Line {
        target: String,
        stream: Stream,
        text: Printable,
    },
    /// The current step of a running target.
    Status {
        target: String,
        text: String,
    },
    /// A guard of `target` was started: a command of its `require`.
    Checking {
        target: String,
        guard: String,
    },
    /// It has ended.
    Checked {
        target: String,
        guard: String,
        passed: bool,
        seconds: f64,
    },
    /// The run of `target` succeeded, and the target waits until this command does.
    Waiting {
        target: String,
        until: String,
    },
    /// Files arrive for a running target.
    Downloading {
        target: String,
        downloads: Downloads,
    },
    /// `target` is `None` when the warning is about the build as a whole.
    Warning {
        target: Option<String>,
        text: String,
    },
    /// A finding about a place of a file. The warnings and errors of the target have it as well.
    Found {
        target: String,
        found: Located,
    },
    Finished(Finished),
    /// A line of output of a service, which may come at any time.
    Service {
        target: String,
        stream: Stream,
        text: Printable,
    },
    /// A line for people, about no target.
    Note {
        text: String,
    },
    /// The end of a round of `watch`. The summary follows if all targets had their turn.
    Round(Round),
    Summary(Summary),
}

/// The state of the downloads of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downloads {
    pub files: usize,
    /// Number of files that are complete.
    pub done: usize,
    pub bytes: u64,
    /// Bytes of all files, if they are known beforehand.
    pub size: Option<u64>,
    /// The project whose file has most bytes left.
    pub slowest: Option<String>,
}

/// A finding of a check about a file of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub is_error: bool,
    /// Relative to the project.
    pub file: String,
    /// From 1; `None` for the file as a whole.
    pub line: Option<usize>,
    pub title: String,
    pub text: String,
}

/// A round of `watch`.
#[derive(Clone, Debug)]
pub struct Round {
    /// From 1.
    pub number: u64,
    /// The changes that started it.
    pub changed: Vec<String>,
    pub end: RoundEnd,
    /// The targets that ran.
    pub ran: Vec<String>,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundEnd {
    Built,
    Failed,
    /// The Buildfile has mistakes, so that no target was checked.
    Broken,
    /// These paths changed meanwhile, so the next round began.
    Interrupted(Vec<String>),
}

impl RoundEnd {
    /// Returns the word used in `--json`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Failed | Self::Broken => "failed",
            Self::Interrupted(_) => "interrupted",
        }
    }
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
    /// For a zip: `code_sha256`, `size`, `unzipped_size`. Other kinds add their own.
    pub facts: Vec<(String, Value)>,
    /// For `Failed`: the error. For `Skipped`: the name of the target that caused it.
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
    /// Returns the word used in `--json`.
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
    /// Targets whose fingerprint was computed: all others are unchanged by the snapshot.
    pub checked: usize,
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

/// Shows or stores the events of a build.
pub trait Report {
    fn event(&mut self, event: &Event);
}

/// Receives the output and the messages of one running target, from any thread.
pub trait Reporter: Sync {
    /// Passes on a line of output of a program, such as a command or pip.
    fn line(&self, stream: Stream, text: Printable);
    /// Warns of a condition that the user may want to change.
    fn warn(&self, text: &str);
    /// Passes on a finding about a place of a file, for reports that show places.
    fn found(&self, _found: Located) {}
    /// Shows the current step, on a terminal only.
    fn status(&self, text: &str);
    /// Shows the state of downloads; called about ten times a second.
    fn downloading(&self, _downloads: Downloads) {}
}
