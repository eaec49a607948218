//! The loop that brings targets up to date. It is single-threaded: it owns the plan, the state and the
//! results of targets, and receives events from the threads that work.
//!
//! Each target is checked once all targets that it needs are done, so a rebuild with the same result
//! stops there. Checking is data-parallel (rayon); a run gets a thread of its own, because it may block
//! on a process or the network, and that pool must stay free for hashing and deflating.

mod preflight;
mod attempt;
mod channel;
mod guards;
mod judge;
mod message;
mod options;
mod order;
mod stamp;
mod until;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::event::{Event, Finished, Outcome, Report, Summary};
use crate::files::Observed;
use crate::graph::TargetId;
use crate::key::Reason;
use crate::make::{Pool, Token};
use crate::ownership;
use crate::plan::Plan;
use crate::signals;
use crate::snapshot::{Fresh, Prior};
use crate::state::{Left, Record, RecordedOutput, State};
use crate::target::{Facts, Fingerprint, Trees};
use zipwright_store::Digest;
use zipwright_store::platform;

pub use judge::output_digest;
pub use options::{Mode, Observer, Options, World};
pub use order::Shuffle;

use channel::{Channel, Gate};
use guards::Guards;
use judge::{Ask, Verdict, judge};
use message::Message;
use order::Order;
use preflight::Preflights;
use work::{How, Work, Worked, work, written_before};

/// The outcome of a build.
pub struct Built {
    pub summary: Summary,
    /// The targets that were checked or run, for the next snapshot.
    pub fresh: HashMap<TargetId, Fresh>,
}

/// Brings the goals up to date, or reports the targets that would run. A target that `prior` has as
/// up to date is not checked. A target that fails is reported and counted; an error is one of the
/// engine's own, such as a state file that cannot be written.
pub fn build<'a>(
    world: World<'a>,
    (state, prior): (&mut State, Option<&'a Prior>),
    options: &'a Options,
    pool: &'a Pool,
    report: &mut dyn Report,
) -> Result<Built> {
    let seconds = |id| state.seconds(world.name(id));
    let order = Order::new(world.graph, &options.goals, options.serial, options.shuffle, seconds);
    let plan = Plan::new(world.graph, &options.goals, |id| options.is_old(world.target(id)));
    let engine = Engine {
        world,
        prior,
        fresh: HashMap::new(),
        options,
        order,
        pool,
        offered: None,
        asked: false,
        preflights: Preflights::new(world, &plan, options),
        guards: Guards::new(world, &plan, options),
        plan,
        trees: written_trees(world, &options.goals),
        results: vec![None; world.graph.len()],
        facts: HashMap::new(),
        would_run: vec![false; world.graph.len()],
        waiting: Vec::new(),
        running: 0,
        polling: 0,
        alone: false,
        gate: Arc::default(),
        stopping: false,
        summary: Summary::default(),
        state,
        report,
    };
    engine.run()
}

struct Engine<'a, 'b> {
    world: World<'a>,
    prior: Option<&'a Prior>,
    fresh: HashMap<TargetId, Fresh>,
    options: &'a Options,
    plan: Plan<'a>,
    preflights: Preflights,
    guards: Guards,
    /// The staging targets whose tree is read by something other than a zip.
    trees: Vec<bool>,
    /// Results of the targets that are done; in a dry run also those of earlier runs.
    results: Vec<Option<Digest>>,
    /// Facts of the targets that are done and have any.
    facts: HashMap<TargetId, Facts>,
    would_run: Vec<bool>,
    order: Order,
    pool: &'a Pool,
    /// A free job slot for a target that waits.
    offered: Option<Token>,
    /// Whether a slot was requested and has not been received yet.
    asked: bool,
    /// Out of date; each runs once there is a slot.
    waiting: Vec<Work<'a>>,
    /// Targets and guards that run, each in a job slot.
    running: usize,
    /// Targets that wait for their `until`.
    polling: usize,
    /// Whether a command runs that has the terminal, and so runs alone.
    alone: bool,
    /// Bounds the lines of running targets on their way here.
    gate: Arc<Gate>,
    /// Whether nothing new is started: a target failed, or a signal was received.
    stopping: bool,
    summary: Summary,
    state: &'b mut State,
    report: &'b mut dyn Report,
}

/// Targets that are checked at a time: each takes memory meanwhile.
const AT_A_TIME: usize = 4096;

/// Interval in which the loop reads the load and signals if there is no message.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl<'a> Engine<'a, '_> {
    fn run(mut self) -> Result<Built> {
        let started = Instant::now();
        self.report.event(&Event::Planned { targets: self.plan.unfinished().len() });
        let (sender, receiver) = channel();
        let gate = Arc::clone(&self.gate);
        thread::scope(|scope| {
            let _opener = gate.opener();
            self.turn(scope, &sender, &receiver)
        })?;
        if self.options.mode == Mode::Build {
            if self.summary.ran > 0 {
                self.world.files.settle(0).context("could not write in the state folder")?;
            }
            self.state.tidy()?;
        }
        self.summary.seconds = started.elapsed().as_secs_f64();
        self.report.event(&Event::Summary(self.summary));
        Ok(Built { summary: self.summary, fresh: self.fresh })
    }

    /// Checks targets that are ready, starts those that are out of date, waits for a message; again.
    fn turn<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
        receiver: &Receiver<Message>,
    ) -> Result<()> {
        loop {
            while let Ok(message) = receiver.try_recv() {
                self.take_in(message)?;
            }
            self.stopping |= signals::is_ending();
            if self.judge_ready(sender) {
                continue;
            }
            self.start_preflights(scope, sender);
            self.start_guards(scope, sender)?;
            self.start_waiting(scope, sender)?;
            let running = self.running + self.polling;
            if running == 0 && (self.waiting.is_empty() || self.stopping) {
                return Ok(());
            }
            match receiver.recv_timeout(LOOK_AGAIN) {
                Ok(message) => self.take_in(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("BUG: the loop itself holds a sender")
                }
            }
        }
    }

    /// Starts waiting targets as long as there are job slots; requests a slot for the next one.
    fn start_waiting<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) -> Result<()> {
        if self.guards.hold() {
            return Ok(());
        }
        while !self.stopping && !self.alone && !self.is_loaded() {
            let startable = self.startable();
            if startable.is_empty() {
                break;
            }
            let Some(token) = self.slot(sender)? else { return Ok(()) };
            let ids: Vec<TargetId> = startable.iter().map(|at| self.waiting[*at].id).collect();
            let next = self.order.next(&ids).expect("BUG: something waits");
            if self.wants_terminal(ids[next]) {
                if self.running > 0 {
                    return Ok(());
                }
                self.alone = true;
            }
            let next = self.waiting.remove(startable[next]);
            self.start(next, token, scope, sender)?;
        }
        self.offered = None;
        Ok(())
    }

    /// Returns a free job slot. If there is none, requests one, which arrives as a message.
    fn slot(&mut self, sender: &Sender<Message>) -> Result<Option<Token>> {
        let free = self.offered.take().or_else(|| self.pool.try_acquire());
        if free.is_none() && !self.asked {
            let sender = sender.clone();
            // A token without a receiver is dropped, which returns it.
            self.pool.request(move |token| drop(sender.send(Message::Token(token))))?;
            self.asked = true;
        }
        Ok(free)
    }

    fn wants_terminal(&self, id: TargetId) -> bool {
        self.world.target(id).kind.takes_terminal()
    }

    /// Returns whether the load is too high to start another target beside those that run.
    fn is_loaded(&self) -> bool {
        self.running > 0
            && self.options.load_max.is_finite()
            && platform::load_average().is_some_and(|load| load >= self.options.load_max)
    }

    /// Checks every target that is ready. Returns whether there was one.
    fn judge_ready(&mut self, sender: &Sender<Message>) -> bool {
        let mut ready = Vec::new();
        while !self.stopping
            && let Some(id) = self.plan.take_ready()
        {
            ready.push(id);
        }
        for ready in ready.chunks(AT_A_TIME) {
            self.judge_all(ready, sender);
        }
        !ready.is_empty()
    }

    fn judge_all(&mut self, ready: &[TargetId], sender: &Sender<Message>) {
        let known: Vec<Option<Verdict>> = ready.iter().map(|id| self.known(*id)).collect();
        let unknown = ready.iter().zip(&known).filter(|(_, known)| known.is_none());
        let asks: Vec<Ask> = unknown.map(|(id, _)| self.ask(*id, sender)).collect();
        let mut judged: Vec<Result<Verdict>> = asks.par_iter().map(judge).collect();
        drop(asks);
        self.summary.checked += judged.len();
        let mut judged = judged.drain(..);
        for (id, known) in ready.iter().zip(known) {
            let verdict = match known {
                Some(verdict) => Ok(verdict),
                None => judged.next().expect("BUG: every other target was judged"),
            };
            match verdict {
                Ok(Verdict::UpToDate { result, facts, observed }) => {
                    if let Some(observed) = observed {
                        self.remember(*id, Some(result), facts.clone(), observed);
                    }
                    self.up_to_date(*id, result, facts);
                }
                Ok(Verdict::OutOfDate { fingerprint, reasons, observed, resumed })
                    if self.options.mode == Mode::Build =>
                {
                    let fingerprint = fingerprint.expect("BUG: only a dry run has none");
                    self.enqueue(*id, (fingerprint, observed), reasons, resumed);
                }
                Ok(Verdict::OutOfDate { reasons, resumed, .. }) => {
                    self.would_run(*id, reasons, resumed.is_some());
                }
                Err(error) => self.failed(*id, Vec::new(), 0.0, &error),
            }
        }
    }

    /// Returns the verdict on a target whose observations are unchanged, as long as no program has run
    /// that may have changed them, and if the targets that it needs have the results of then.
    fn known(&self, id: TargetId) -> Option<Verdict> {
        let prior = self.prior.filter(|_| self.world.files.is_first_look())?;
        let result = prior.clean(id)?;
        let is_same = |need: &TargetId| {
            self.results[need.index()] == prior.result(*need) && !self.would_run[need.index()]
        };
        let needs = self.world.graph.needs(id);
        let facts = || prior.facts_of(id);
        needs.iter().all(is_same).then(|| Verdict::UpToDate {
            result,
            facts: facts(),
            observed: None,
        })
    }

    /// Keeps the state of a target for the next snapshot.
    fn remember(
        &mut self,
        id: TargetId,
        result: Option<Digest>,
        facts: Vec<(String, String)>,
        observed: Observed,
    ) {
        let tree = self.trees[id.index()];
        // A phony target is never up to date, and a service only as long as it runs.
        let kind = &self.world.target(id).kind;
        let result = result.filter(|_| !kind.is_phony() && !kind.is_service());
        self.fresh.insert(id, Fresh { result, tree, facts, observed });
    }

    fn enqueue(
        &mut self,
        id: TargetId,
        (fingerprint, observed): (Fingerprint, Observed),
        reasons: Vec<Reason>,
        resumed: Option<Record>,
    ) {
        let Fingerprint { key, findings } = fingerprint;
        let (results, facts) = (self.results_of(id), self.facts_of(id));
        let kind = &*self.world.target(id).kind;
        let written = written_before(kind, &key, self.world.files);
        let (tree, left) = (self.trees[id.index()], Left::default());
        self.waiting.push(Work {
            id,
            key,
            findings,
            observed,
            written,
            reasons,
            results,
            facts,
            tree,
            left,
            resumed,
        });
    }

    fn ask(&self, id: TargetId, sender: &Sender<Message>) -> Ask<'_> {
        let name = self.world.name(id);
        let runs_first =
            self.world.graph.needs(id).iter().find(|need| self.would_run[need.index()]);
        Ask {
            world: self.world,
            target: self.world.target(id),
            state: self.state,
            results: self.results_of(id),
            facts: self.facts_of(id),
            runs_first: runs_first.map(|need| self.world.name(*need)),
            tree: self.trees[id.index()],
            options: self.options,
            messages: Channel::new(name, sender.clone(), None),
        }
    }

    fn results_of(&self, id: TargetId) -> BTreeMap<&'a str, Digest> {
        let needs = self.world.graph.needs(id).iter();
        needs
            .filter_map(|need| Some((self.world.name(*need), self.results[need.index()]?)))
            .collect()
    }

    fn keep_facts(&mut self, id: TargetId, facts: &Facts) {
        if !facts.is_empty() {
            self.facts.insert(id, facts.clone());
        }
    }

    /// Returns the facts of the targets that `id` needs and that have any.
    fn facts_of(&self, id: TargetId) -> BTreeMap<&'a str, Facts> {
        let needs = self.world.graph.needs(id).iter();
        needs
            .filter_map(|need| Some((self.world.name(*need), self.facts.get(need)?.clone())))
            .collect()
    }

    fn start<'scope>(
        &mut self,
        mut next: Work<'a>,
        token: Token,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) -> Result<()> {
        let target = self.world.target(next.id);
        // The record may be wrong from here on. If it stayed, a killed run followed by restoring the old
        // input would look up to date.
        let name = &target.name.value;
        next.left = self.state.left(name)?;
        if !next.left.interrupted {
            ownership::end_writing(self.world.project, name)?;
        }
        match (&next.resumed, target.outputs().is_empty()) {
            // If it is interrupted again, it still waits.
            (Some(_), _) => {}
            (None, true) => self.state.forget(name)?,
            (None, false) => self.state.begin(name, &next.left)?,
        }
        // Else the next snapshot would take over the mark of the last one, also if the run fails.
        self.remember(next.id, None, Vec::new(), Observed::default());
        self.report.event(&Event::Started {
            target: target.name.value.clone(),
            kind: target.kind.name(),
            reasons: next.reasons.clone(),
            terminal: self.alone && self.options.surroundings.terminal,
        });
        self.running += 1;
        let (world, options, pool) = (self.world, self.options, self.pool);
        let (sender, gate) = (sender.clone(), Arc::clone(&self.gate));
        let how = How { touch: options.touch, force: options.force };
        scope.spawn(move || {
            let started = Instant::now();
            let channel = Channel::new(world.name(next.id), sender.clone(), Some(&gate));
            let (id, mut token) = (next.id, Some(token));
            let mut wait = |ran| {
                let _ = sender.send(Message::Polling { id, token: token.take(), ran });
            };
            let surroundings = (&options.surroundings, pool);
            let worked = work(world, &mut next, how, surroundings, &channel, &mut wait);
            let seconds = started.elapsed().as_secs_f64();
            let Work { id, reasons, .. } = next;
            // The loop outlives its workers.
            let _ = sender.send(Message::Finished { id, token, seconds, reasons, worked });
        });
        Ok(())
    }

    /// Returns whether errors are ignored. A signal is not an error of the target.
    fn ignores_errors(&self) -> bool {
        self.options.ignore_errors && !signals::is_ending()
    }

    fn failed_but_ignored(
        &mut self,
        id: TargetId,
        reasons: Vec<Reason>,
        seconds: f64,
        error: &anyhow::Error,
    ) {
        let target = Some(self.world.name(id).to_owned());
        self.report.event(&Event::Warning { target, text: format!("{error:#} (ignored)") });
        self.results[id.index()] = Some(work::result_of_nothing());
        self.plan.done(id);
        self.finish(id, Outcome::Ran, reasons, seconds, Vec::new(), None);
    }

    fn up_to_date(&mut self, id: TargetId, result: Digest, facts: Vec<(String, String)>) {
        self.results[id.index()] = Some(result);
        self.plan.done(id);
        let facts: Facts = facts
            .into_iter()
            .filter_map(|(name, json)| Some((name, serde_json::from_str(&json).ok()?)))
            .collect();
        self.keep_facts(id, &facts);
        self.finish(id, Outcome::UpToDate, Vec::new(), 0.0, facts, None);
    }

    fn would_run(&mut self, id: TargetId, reasons: Vec<Reason>, is_resumed: bool) {
        self.would_run[id.index()] = true;
        let record = self.state.target(self.world.name(id));
        self.results[id.index()] = record.map(|record| record.result);
        self.plan.done(id);
        let guards = self.world.target(id).guards_in_words(is_resumed);
        self.finish(id, Outcome::WouldRun, reasons, 0.0, guards, None);
        self.stopping |= self.options.mode == Mode::Question;
    }

    fn ran(
        &mut self,
        id: TargetId,
        reasons: Vec<Reason>,
        seconds: f64,
        worked: Worked,
    ) -> Result<()> {
        let Worked { result, facts, outputs, key, observed, .. } = worked;
        let name = self.world.name(id);
        let texts = facts.iter().map(|(name, fact)| (name.clone(), fact.to_string()));
        let texts: Vec<(String, String)> = texts.collect();
        self.remember(id, key.is_some().then_some(result), texts.clone(), observed);
        match key {
            Some(key) => {
                let outputs = self.with_former(name, outputs)?;
                let record = Record { key, result, outputs, seconds, facts: texts };
                self.state.record(name, &record)?;
                ownership::end_writing(self.world.project, name)?;
            }
            None => self.state.stop(name, Some(&outputs))?,
        }
        self.results[id.index()] = Some(result);
        self.keep_facts(id, &facts);
        self.plan.done(id);
        self.finish(id, Outcome::Ran, reasons, seconds, facts, None);
        Ok(())
    }

    /// Adds the files that the target left where it has no output any more, while they exist.
    fn with_former(
        &self,
        name: &str,
        mut outputs: Vec<RecordedOutput>,
    ) -> Result<Vec<RecordedOutput>> {
        let mut former = self.state.left(name)?.outputs;
        former.retain(|old| {
            old.mode.is_some()
                && outputs.iter().all(|new| new.path != old.path)
                && ownership::is_file(&self.world.project.place(&old.path))
        });
        outputs.extend(former);
        Ok(outputs)
    }

    fn failed(&mut self, id: TargetId, reasons: Vec<Reason>, seconds: f64, error: &anyhow::Error) {
        let skipped = self.plan.failed(id);
        let text = Some(format!("{error:#}"));
        self.finish(id, Outcome::Failed, reasons, seconds, Vec::new(), text);
        for (id, cause) in skipped {
            let cause = Some(self.world.name(cause).to_owned());
            self.finish(id, Outcome::Skipped, Vec::new(), 0.0, Vec::new(), cause);
        }
        self.stopping |= !self.options.keep_going;
    }

    fn finish(
        &mut self,
        id: TargetId,
        outcome: Outcome,
        reasons: Vec<Reason>,
        seconds: f64,
        facts: Vec<(String, serde_json::Value)>,
        error: Option<String>,
    ) {
        let target = self.world.target(id);
        self.summary.add(outcome);
        self.report.event(&Event::Finished(Finished {
            target: target.name.value.clone(),
            kind: target.kind.name(),
            outcome,
            reasons,
            seconds,
            outputs: target.outputs().iter().map(|output| output.path().to_string()).collect(),
            facts,
            error,
        }));
    }
}

/// Returns the staging targets whose tree must be there as a folder: goals, members of groups that are
/// goals, and those whose folder another target reads.
fn written_trees(world: World, goals: &[TargetId]) -> Vec<bool> {
    let mut written = vec![false; world.graph.len()];
    let mut asked = goals.to_vec();
    while let Some(id) = asked.pop() {
        if world.target(id).kind.trees() == Trees::AsGoals {
            asked.extend(world.graph.needs(id));
        }
        written[id.index()] = true;
    }
    for id in world.graph.closure(goals) {
        if world.target(id).kind.trees() == Trees::Folders {
            for need in world.graph.needs(id) {
                written[need.index()] = true;
            }
        }
    }
    written
}
