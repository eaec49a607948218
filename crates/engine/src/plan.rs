//! Decides which targets may be checked next. Pure: takes and returns ids; knows nothing of files,
//! fingerprints, time or output. Owns the progress of every target, which only [`Plan::set`] changes.

use std::collections::VecDeque;

use crate::graph::{Graph, TargetId};

/// Progress of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not part of this build.
    Unwanted,
    /// Waits for targets that it needs or comes after.
    Waiting,
    /// All of those are done; it is in the queue of [`Plan::take_ready`].
    Ready,
    /// Returned by [`Plan::take_ready`], with its outcome still to come.
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
    /// Plans a build of `goals` and everything they need or come after. `settled` targets wait for nothing.
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

    /// Returns a target that may be checked now. The caller reports its outcome with [`Plan::done`] or
    /// [`Plan::failed`].
    pub fn take_ready(&mut self) -> Option<TargetId> {
        let id = self.ready.pop_front()?;
        self.set(id, Progress::Active);
        Some(id)
    }

    /// Marks `id` as up to date.
    pub fn done(&mut self, id: TargetId) {
        self.set(id, Progress::Done);
        self.release(id);
    }

    /// Marks `id` as failed, in its turn or before it. Returns the targets skipped because of it, each
    /// with the needed target that was not done.
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
            // A target that only comes after a failed one does not wait for it.
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

    /// Returns the targets of this build without an outcome, in the order of the graph.
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

    /// Returns the targets that must be finished before `id`, each once.
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
            (Active, Done) | (Active | Waiting, Failed) | (Waiting, Skipped) => {
                self.unfinished -= 1;
            }
            (Unwanted | Waiting | Ready | Active | Done | Failed | Skipped, _) => {
                panic!("BUG: target {id:?} went from {from:?} to {to:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    /// Plays `deeds` over targets written as `name: needs | after`, all of them goals. Each deed has its
    /// expected effect: `ready a b`, `done a`, `fail a skips b c`.
    #[track_caller]
    fn check(targets: &[&str], deeds: &[&str]) {
        let model = model(targets);
        let (graph, mistakes) = Graph::new(&model);
        assert!(mistakes.is_empty(), "{targets:?}");
        let goals: Vec<TargetId> = graph.ids().collect();
        let mut plan = Plan::new(&graph, &goals, |_| false);
        let name = |id: TargetId| model.targets[id.index()].name.value.as_str();
        for deed in deeds {
            let words: Vec<&str> = deed.split_whitespace().collect();
            let found: Vec<&str> = match words[0] {
                "ready" => std::iter::from_fn(|| plan.take_ready()).map(name).collect(),
                "done" => {
                    plan.done(graph.id(words[1]).unwrap());
                    continue;
                }
                "fail" => {
                    let skipped = plan.failed(graph.id(words[1]).unwrap());
                    skipped.into_iter().map(|(id, _)| name(id)).collect()
                }
                other => panic!("no deed `{other}`"),
            };
            let expected = words.iter().skip(1 + 2 * usize::from(words[0] == "fail"));
            assert_eq!(found, expected.copied().collect::<Vec<_>>(), "{deed}");
        }
        assert!(plan.is_finished(), "{:?}", plan.unfinished());
    }

    #[test]
    fn a_target_is_ready_when_all_it_waits_for_is_done() {
        check(
            &["wheels:", "staging: wheels", "zip: staging", "lint:"],
            &[
                "ready wheels lint",
                "done lint",
                "ready",
                "done wheels",
                "ready staging",
                "done staging",
                "ready zip",
                "done zip",
            ],
        );
    }

    #[test]
    fn a_failure_skips_those_that_need_it_and_nobody_else() {
        check(
            &["wheels:", "staging: wheels", "zip: staging", "lint:", "late: | wheels"],
            &[
                "ready wheels lint",
                "fail wheels skips staging zip",
                "ready late",
                "done lint",
                "done late",
            ],
        );
    }

    #[test]
    fn a_target_may_fail_before_its_turn() {
        check(
            &["wheels:", "upload: wheels", "invoke: upload", "late: | upload"],
            &["ready wheels", "fail upload skips invoke", "ready late", "done wheels", "done late"],
        );
    }

    #[test]
    fn a_diamond_waits_for_both_sides() {
        check(
            &["top:", "left: top", "right: top", "bottom: left right"],
            &[
                "ready top",
                "done top",
                "ready left right",
                "done right",
                "ready",
                "fail left skips bottom",
                "ready",
            ],
        );
    }
}
