//! The options of a build, and everything that it reads.

use std::fmt;
use std::sync::Arc;

use super::Shuffle;
use crate::files::{Files, Observed};
use crate::graph::{Graph, TargetId};
use crate::target::{Model, Shared, Surroundings, Target};
use zipwright_store::RelPath;
use zipwright_store::project::Project;

/// The goals of a build and how they are brought up to date.
#[derive(Clone, Debug)]
pub struct Options {
    pub goals: Vec<TargetId>,
    pub surroundings: Surroundings,
    /// Run one target at a time, in make's order.
    pub serial: bool,
    /// After a failure, build the targets that do not need the failed one.
    pub keep_going: bool,
    /// Run every target, up to date or not.
    pub always: bool,
    /// Count targets as up to date, and run nothing.
    pub touch: bool,
    /// Remove files of users that are in the way of outputs.
    pub force: bool,
    /// Continue as if a failed target had succeeded, without recording it.
    pub ignore_errors: bool,
    /// Files that count as just changed, whatever their content.
    pub what_if: Vec<RelPath>,
    /// Files that are not made, and whose changes make no target out of date.
    pub old_files: Vec<RelPath>,
    /// If the load average is at least this, no target is started beside one that runs.
    pub load_max: f64,
    pub shuffle: Shuffle,
    pub mode: Mode,
    pub observer: Observer,
}

/// Receives the observations of every target that is checked, successfully or not. It is called by
/// threads of the pool for data-parallel work, so it must not wait for other work of that pool.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Receiver>>);

type Receiver = dyn Fn(Observed) + Send + Sync;

impl Observer {
    pub fn new(observer: impl Fn(Observed) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(super) fn notify(&self, read: impl FnOnce() -> Observed) {
        if let Some(observer) = &self.0 {
            observer(read());
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

impl Options {
    /// Returns options for building `goals` one target at a time, with everything else off.
    pub fn new(goals: Vec<TargetId>, mode: Mode) -> Self {
        Self {
            goals,
            surroundings: Surroundings::default(),
            serial: true,
            keep_going: false,
            always: false,
            touch: false,
            force: false,
            ignore_errors: false,
            what_if: Vec::new(),
            old_files: Vec::new(),
            load_max: f64::INFINITY,
            shuffle: Shuffle::No,
            mode,
            observer: Observer::default(),
        }
    }

    /// Returns whether `target` makes a file of `-o`. Then neither it nor its needs are checked.
    pub(super) fn is_old(&self, target: &Target) -> bool {
        target.outputs().iter().any(|output| self.old_files.contains(output.path()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Build,
    /// Report the targets that would run; write nothing.
    DryRun,
    /// Like `DryRun`, and stop at the first target that would run.
    Question,
}

/// Everything that a build reads and does not change.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub project: &'a Project,
    pub model: &'a Model,
    pub graph: &'a Graph,
    pub files: &'a Files,
    pub shared: &'a Shared,
}

impl<'a> World<'a> {
    pub(super) fn target(self, id: TargetId) -> &'a Target {
        &self.model.targets[id.index()]
    }

    pub(super) fn name(self, id: TargetId) -> &'a str {
        &self.target(id).name.value
    }
}
