//! Decides which targets may be looked at next. Pure: ids in, ids out; knows nothing of files,
//! keys, time or output. Owns the one truth about each target's progress; every change of it
//! goes through [`Plan::set`].

use std::collections::VecDeque;

use crate::graph::{Graph, TargetId};

/// Progress of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not part of this build.
    Unwanted,
    /// Waits for targets that it needs or comes after.
    Waiting,
    /// All of those are done: it is in the queue of [`Plan::take_ready`].
    Ready,
    /// Handed out by [`Plan::take_ready`], not reported on yet.
    Active,
    Done,
    Failed,
    /// Needs a target that failed or was skipped.
    Skipped,
}

pub struct Plan<'g> {
    graph: &'g Graph,
    progress: Vec<Progress>,
    /// How many targets each still waits for.
    waits_for: Vec<usize>,
    ready: VecDeque<TargetId>,
    unfinished: usize,
}

impl<'g> Plan<'g> {
    /// A build of `goals` and all they need or come after. What is `settled` waits for nothing.
    pub fn new(graph: &'g Graph, goals: &[TargetId], settled: impl Fn(TargetId) -> bool) -> Self {
        let wanted = graph.closure_up_to(goals, &settled);
        let mut plan = Self {
            graph,
            progress: vec![Progress::Unwanted; graph.len()],
            waits_for: vec![0; graph.len()],
            ready: VecDeque::new(),
            unfinished: wanted.len(),
        };
        for id in &wanted {
            plan.progress[id.index()] = Progress::Waiting;
            if !settled(*id) {
                plan.waits_for[id.index()] = plan.predecessors(*id).count();
            }
        }
        for id in wanted {
            if plan.waits_for[id.index()] == 0 {
                plan.set(id, Progress::Ready);
            }
        }
        plan
    }

    /// A target that may be looked at now. The caller reports on it with [`Plan::done`] or
    /// [`Plan::failed`].
    pub fn take_ready(&mut self) -> Option<TargetId> {
        let id = self.ready.pop_front()?;
        self.set(id, Progress::Active);
        Some(id)
    }

    /// `id` is up to date, or was brought up to date.
    pub fn done(&mut self, id: TargetId) {
        self.set(id, Progress::Done);
        self.release(id);
    }

    /// `id` failed. Returns the targets skipped because of it, each with the target it needs
    /// that did not get done.
    pub fn failed(&mut self, id: TargetId) -> Vec<(TargetId, TargetId)> {
        self.set(id, Progress::Failed);
        let mut skipped = Vec::new();
        let mut causes = vec![id];
        while let Some(cause) = causes.pop() {
            for dependent in self.graph.dependents(cause).to_vec() {
                let waits = self.progress[dependent.index()] == Progress::Waiting;
                if waits && self.graph.needs(dependent).contains(&cause) {
                    self.set(dependent, Progress::Skipped);
                    skipped.push((dependent, cause));
                    causes.push(dependent);
                }
            }
            // What only comes after a target that did not get done need not wait for it.
            self.release(cause);
        }
        skipped
    }

    /// Whether every wanted target is done, failed or skipped.
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    pub fn progress(&self, id: TargetId) -> Progress {
        self.progress[id.index()]
    }

    /// Targets of this build that nothing was reported on, in the order of the graph.
    pub fn unfinished(&self) -> Vec<TargetId> {
        use Progress::{Active, Ready, Waiting};
        self.graph
            .ids()
            .filter(|id| matches!(self.progress(*id), Waiting | Ready | Active))
            .collect()
    }

    fn release(&mut self, id: TargetId) {
        for dependent in self.graph.dependents(id).to_vec() {
            if self.progress[dependent.index()] == Progress::Waiting {
                self.waits_for[dependent.index()] -= 1;
                if self.waits_for[dependent.index()] == 0 {
                    self.set(dependent, Progress::Ready);
                }
            }
        }
    }

    /// Targets that must be finished before `id`, each once.
    fn predecessors(&self, id: TargetId) -> impl Iterator<Item = TargetId> {
        let needs = self.graph.needs(id);
        let after = self.graph.after(id).iter().filter(|other| !needs.contains(other));
        needs.iter().chain(after).copied()
    }

    fn set(&mut self, id: TargetId, to: Progress) {
        use Progress::{Active, Done, Failed, Ready, Skipped, Unwanted, Waiting};
        let from = std::mem::replace(&mut self.progress[id.index()], to);
        match (from, to) {
            (Waiting, Ready) => self.ready.push_back(id),
            (Ready, Active) => {}
            (Active, Done | Failed) | (Waiting, Skipped) => self.unfinished -= 1,
            (Unwanted | Waiting | Ready | Active | Done | Failed | Skipped, _) => {
                panic!("BUG: target {id:?} went from {from:?} to {to:?}")
            }
        }
    }
}
