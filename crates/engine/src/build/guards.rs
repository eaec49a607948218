//! Checks the guards of targets (`require`) before anything starts.
//!
//! When the first target is about to start, the targets that are going to run are those that are out
//! of date, and all that need one of them: whether these run shows only once it is done. All their
//! guards are checked then, side by side, each in a job slot, and no target starts before the last of
//! them has ended. A target that turns out to be out of date later, because its inputs changed
//! meanwhile, has its guards checked before it starts.
//!
//! A build in which nothing runs checks no guard.

use std::collections::BTreeSet;
use std::sync::mpsc::Sender;
use std::thread::Scope;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::attempt::Attempt;
use super::judge::{Verdict, judge};
use super::preflight::needs_of;
use super::{Engine, Message, Mode, Options, World};
use crate::event::Event;
use crate::graph::TargetId;
use crate::make::Token;
use crate::plan::{Plan, Progress};
use crate::target::{Require, Surroundings};

/// One guard: a member of the `require` of a target.
struct Guard {
    id: TargetId,
    /// Its place in `require`.
    at: usize,
    state: State,
}

enum State {
    /// Its target does not run as far as is known.
    Idle,
    Due,
    Running,
    Passed,
    Failed(anyhow::Error),
}

/// All guards of a build.
pub(super) struct Guards {
    guards: Vec<Guard>,
    /// Whether the targets that are going to run were determined.
    surveyed: bool,
}

impl Guards {
    pub(super) fn new(world: World, plan: &Plan, options: &Options) -> Self {
        let mut guards = Vec::new();
        if options.mode == Mode::Build && !options.touch {
            for id in plan.unfinished() {
                let all = 0..world.target(id).require().len();
                guards.extend(all.map(|at| Guard { id, at, state: State::Idle }));
            }
        }
        Self { guards, surveyed: false }
    }

    /// Returns whether targets have to wait for a guard.
    pub(super) fn hold(&self) -> bool {
        self.guards.iter().any(|guard| matches!(guard.state, State::Due | State::Running))
    }

    fn has_due(&self) -> bool {
        self.guards.iter().any(|guard| matches!(guard.state, State::Due))
    }

    fn has_running(&self) -> bool {
        self.guards.iter().any(|guard| matches!(guard.state, State::Running))
    }

    fn mark(&mut self, is_due: impl Fn(TargetId) -> bool) {
        for guard in &mut self.guards {
            if matches!(guard.state, State::Idle) && is_due(guard.id) {
                guard.state = State::Due;
            }
        }
    }
}

impl<'a> Engine<'a, '_> {
    /// Starts guards as long as there are job slots.
    pub(super) fn start_guards<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) -> Result<()> {
        if self.guards.guards.is_empty() || self.waiting.is_empty() || self.stopping {
            return Ok(());
        }
        if !std::mem::replace(&mut self.guards.surveyed, true) {
            let runs = self.going_to_run(sender);
            self.guards.mark(|id| runs[id.index()]);
        }
        // A target whose wait is resumed does not run.
        let waiting = self.waiting.iter().filter(|work| work.resumed.is_none());
        let waiting: BTreeSet<TargetId> = waiting.map(|work| work.id).collect();
        self.guards.mark(|id| waiting.contains(&id));
        if self.guards.hold() && !self.guards.has_due() {
            // A slot that was requested for a guard and came late.
            self.offered = None;
        }
        for at in 0..self.guards.guards.len() {
            if !matches!(self.guards.guards[at].state, State::Due) {
                continue;
            }
            let Some(token) = self.slot(sender)? else { return Ok(()) };
            let (guard, world) = (&mut self.guards.guards[at], self.world);
            guard.state = State::Running;
            let (id, require) = (guard.id, &world.target(guard.id).require()[guard.at]);
            self.running += 1;
            self.report.event(&Event::Checking {
                target: world.name(id).to_owned(),
                guard: require.action.to_string(),
            });
            let (sender, surroundings) = (sender.clone(), &self.options.surroundings);
            scope.spawn(move || {
                let started = Instant::now();
                let found = check(world, id, require, surroundings);
                let seconds = started.elapsed().as_secs_f64();
                let _ = sender.send(Message::Guarded { at, token, seconds, found });
            });
        }
        Ok(())
    }

    /// Returns for each target whether it is going to run: it is out of date, or needs such a target.
    fn going_to_run(&mut self, sender: &Sender<Message>) -> Vec<bool> {
        let world = self.world;
        let mut wanted = BTreeSet::new();
        for guard in &self.guards.guards {
            wanted.insert(guard.id);
            wanted.extend(needs_of(guard.id, world));
        }
        let mut runs = vec![false; world.graph.len()];
        let mut resumed = vec![false; world.graph.len()];
        for work in &self.waiting {
            runs[work.id.index()] = true;
            resumed[work.id.index()] = work.resumed.is_some();
        }
        for id in world.graph.closure(&self.options.goals) {
            if !wanted.contains(&id) || self.plan.progress(id) != Progress::Waiting {
                continue;
            }
            runs[id.index()] = world.graph.needs(id).iter().any(|need| runs[need.index()])
                || !self.is_up_to_date(id, sender);
        }
        runs.iter().zip(resumed).map(|(runs, resumed)| *runs && !resumed).collect()
    }

    /// Returns whether a target that only waits for its turn is up to date.
    fn is_up_to_date(&mut self, id: TargetId, sender: &Sender<Message>) -> bool {
        let verdict = self.known(id).map_or_else(|| judge(&self.ask(id, sender)), Ok);
        let Ok(Verdict::UpToDate { result, .. }) = verdict else { return false };
        // It is set again when the target is checked in its turn.
        self.results[id.index()] = Some(result);
        true
    }

    /// Takes in the end of a guard. After the last one, the targets of those that failed have failed.
    pub(super) fn guarded(&mut self, at: usize, token: Token, seconds: f64, found: Result<()>) {
        drop(token);
        self.running -= 1;
        // The program may have written anywhere.
        self.world.files.look_anew();
        let guard = &mut self.guards.guards[at];
        let target = self.world.target(guard.id);
        self.report.event(&Event::Checked {
            target: target.name.value.clone(),
            guard: target.require()[guard.at].action.to_string(),
            passed: found.is_ok(),
            seconds,
        });
        guard.state = match found {
            Ok(()) => State::Passed,
            Err(error) => State::Failed(error),
        };
        if !self.guards.has_running() && (self.stopping || !self.guards.hold()) {
            self.refuse();
        }
    }

    /// Fails the targets whose guards have failed.
    fn refuse(&mut self) {
        let mut refused: Vec<(TargetId, anyhow::Error)> = Vec::new();
        for guard in &mut self.guards.guards {
            if let State::Failed(error) = std::mem::replace(&mut guard.state, State::Passed) {
                match refused.iter_mut().find(|(id, _)| *id == guard.id) {
                    Some((_, all)) => *all = anyhow!("{all:#}\n{error:#}"),
                    None => refused.push((guard.id, error)),
                }
            }
        }
        // A target comes before those that it needs, so that each has its own error.
        let order = self.world.graph.closure(&self.options.goals);
        refused.sort_by_key(|(id, _)| order.iter().position(|other| other == id));
        for (id, error) in refused.into_iter().rev() {
            self.waiting.retain(|work| work.id != id);
            if matches!(self.plan.progress(id), Progress::Waiting | Progress::Active) {
                let stopping = self.stopping;
                self.failed(id, Vec::new(), 0.0, &error);
                // `-i` ignores errors of commands, and goes on with the targets that do not need this one.
                self.stopping =
                    stopping || !(self.options.keep_going || self.options.ignore_errors);
            }
        }
    }
}

/// Runs a guard. Fails with its message and its last lines.
fn check(world: World, id: TargetId, require: &Require, surroundings: &Surroundings) -> Result<()> {
    let Require { action, message, timeout } = require;
    let attempt = Attempt::run(world, world.target(id), action, *timeout, surroundings)?;
    let Some(failure) = &attempt.failure else { return Ok(()) };
    let first = match message {
        Some(message) => format!("{message}\n{failure}"),
        None => failure.clone(),
    };
    Err(anyhow!(attempt.with_words(&first)))
}
