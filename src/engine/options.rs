//! The options of a build, and everything that it reads.

use super::Shuffle;
use crate::base::RelPath;
use crate::files::Files;
use crate::graph::{Graph, TargetId};
use crate::project::Project;
use crate::target::{Model, Shared, Surroundings, Target};

/// The goals of a build and how they are brought up to date.
#[derive(Clone, Debug)]
pub struct Options {
    pub goals: Vec<TargetId>,
    pub surroundings: Surroundings,
    /// No two targets run at once, so make's own order is kept.
    pub serial: bool,
    /// After a failure, build what does not need the failed target.
    pub keep_going: bool,
    /// Run every target, up to date or not.
    pub always: bool,
    /// Count targets as up to date as they are, and run nothing.
    pub touch: bool,
    /// Files of others that are in the way of outputs are removed.
    pub force: bool,
    /// Go on as if a target that failed had succeeded; nothing is recorded for it.
    pub ignore_errors: bool,
    /// Files that count as just changed, whatever is in them.
    pub what_if: Vec<RelPath>,
    /// Files that are not made, and whose changes are no reason to run anything.
    pub old_files: Vec<RelPath>,
    /// Nothing is started beside what runs while the load average is this or more.
    pub load_max: f64,
    pub shuffle: Shuffle,
    pub mode: Mode,
}

impl Options {
    /// Returns the options of a build of `goals`, one target at a time, that are off but for that.
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
        }
    }

    /// Whether `target` makes a file of `-o`. Then it is not looked at, nor what only it needs.
    pub(super) fn is_old(&self, target: &Target) -> bool {
        target.outputs().iter().any(|output| self.old_files.contains(output.path()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Build,
    /// Say what would run; write nothing.
    DryRun,
    /// Like `DryRun`, and stop at the first target that would run.
    Question,
}

/// What a build reads and never changes.
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
