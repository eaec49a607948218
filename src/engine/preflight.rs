//! What is looked at before its turn, so that a mistake there costs no build: the function of an
//! upload, as soon as something that the upload needs must run, and the payloads of an invoke,
//! as soon as they are there. Nothing that the mistake would make vain is started meanwhile.
//!
//! A build in which nothing runs before an upload looks at no function: it opens no connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::thread::Scope;
use std::time::Instant;

use anyhow::Result;

use super::channel::Channel;
use super::work::unless_it_panics;
use super::{Engine, Message, Mode, Options, World};
use crate::base::RelPath;
use crate::event::Event;
use crate::files::View;
use crate::graph::TargetId;
use crate::ownership;
use crate::plan::{Plan, Progress};
use crate::target::{Job, Preflight, Surroundings};

/// One target that is to be looked at.
struct Look {
    id: TargetId,
    state: State,
    when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Due,
    /// A thread is at it.
    Asked,
    Over,
}

enum When {
    /// When one of these must run. They are all that the target needs, and wait for the answer.
    BeforeAnyOf(BTreeSet<TargetId>),
    /// When all of `makers` are done. `upload` waits for that.
    AfterAllOf { makers: Vec<TargetId>, upload: Option<TargetId> },
}

/// All looks of a build.
pub(super) struct Preflights(Vec<Look>);

impl Preflights {
    pub(super) fn new(world: World, plan: &Plan, options: &Options) -> Self {
        if options.mode != Mode::Build || options.touch {
            return Self(Vec::new());
        }
        let wanted = plan.unfinished().into_iter();
        let wanted = wanted.filter(|id| !options.is_old(world.target(*id)));
        let look = |id| {
            let when = match world.target(id).kind.preflight_time()? {
                Preflight::BeforeNeeds => When::BeforeAnyOf(needs_of(id, world)),
                Preflight::Paths { paths, before } => after_paths(id, &paths, before, world),
            };
            Some(Look { id, state: State::Due, when })
        };
        let mut looks: Vec<Look> = wanted.filter_map(look).collect();
        // A payload that is wrong is found without asking anybody.
        looks.sort_by_key(|look| matches!(look.when, When::BeforeAnyOf(_)));
        Self(looks)
    }

    /// Whether `id` has to wait for what a look will find.
    pub(super) fn holds(&self, id: TargetId) -> bool {
        self.0.iter().any(|look| match &look.when {
            When::BeforeAnyOf(needs) => look.state == State::Asked && needs.contains(&id),
            When::AfterAllOf { upload, .. } => look.state == State::Due && *upload == Some(id),
        })
    }
}

/// Everything that `id` needs, directly or not. What it only comes after is no reason for it to
/// run, and so none to look.
fn needs_of(id: TargetId, world: World) -> BTreeSet<TargetId> {
    let (mut found, mut waiting) = (BTreeSet::new(), world.graph.needs(id).to_vec());
    while let Some(need) = waiting.pop() {
        if found.insert(need) {
            waiting.extend(world.graph.needs(need));
        }
    }
    found
}

fn after_paths(id: TargetId, paths: &[&RelPath], before: Option<&str>, world: World) -> When {
    let maker = |path: &&RelPath| world.graph.by_output(path).filter(|maker| *maker != id);
    let makers: Vec<TargetId> = paths.iter().filter_map(maker).collect();
    // A path that is made from the result of that target comes after it.
    let comes_before = |target: &TargetId| {
        !makers.iter().any(|maker| maker == target || needs_of(*maker, world).contains(target))
    };
    let upload = before.and_then(|name| world.graph.id(name)).filter(comes_before);
    When::AfterAllOf { makers, upload }
}

impl<'a> Engine<'a, '_> {
    /// Starts every look whose time has come.
    pub(super) fn start_preflights<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) {
        for at in 0..self.preflights.0.len() {
            let look = &self.preflights.0[at];
            if look.state != State::Due || self.stopping {
                continue;
            }
            let (id, world) = (look.id, self.world);
            let channel = Channel::new(world.name(id), sender.clone(), None);
            let started = Instant::now();
            match &look.when {
                When::BeforeAnyOf(needs) => {
                    if !self.waiting.iter().any(|work| needs.contains(&work.id)) {
                        continue;
                    }
                    self.preflights.0[at].state = State::Asked;
                    let sender = sender.clone();
                    scope.spawn(move || {
                        let found = unless_it_panics(|| look_at(world, id, &channel));
                        let seconds = started.elapsed().as_secs_f64();
                        let _ = sender.send(Message::Looked { id, seconds, found });
                    });
                }
                When::AfterAllOf { makers, .. } => {
                    let done = |maker: &TargetId| self.plan.progress(*maker) == Progress::Done;
                    if !makers.iter().all(done) {
                        continue;
                    }
                    let found = unless_it_panics(|| look_at(world, id, &channel));
                    self.looked(id, started.elapsed().as_secs_f64(), found);
                }
            }
        }
    }

    pub(super) fn looked(&mut self, id: TargetId, seconds: f64, found: Result<()>) {
        for look in self.preflights.0.iter_mut().filter(|look| look.id == id) {
            look.state = State::Over;
        }
        let Err(error) = found else { return };
        if self.ignores_errors() {
            let target = Some(self.world.name(id).to_owned());
            self.report.event(&Event::Warning { target, text: format!("{error:#} (ignored)") });
        } else if self.plan.progress(id) == Progress::Waiting {
            self.failed(id, Vec::new(), seconds, &error);
        }
        // One that is ready already finds the same out for itself, and one that was skipped is
        // not wanted any more.
    }

    /// Positions of what waits and may be started. When nothing else can happen, nothing is held:
    /// two uploads may each wait for a payload that is made of what the other did.
    pub(super) fn startable(&self) -> Vec<usize> {
        let free = |at: &usize| !self.preflights.holds(self.waiting[*at].id);
        let found: Vec<usize> = (0..self.waiting.len()).filter(free).collect();
        let asked = self.preflights.0.iter().any(|look| look.state == State::Asked);
        if found.is_empty() && self.running == 0 && !asked {
            return (0..self.waiting.len()).collect();
        }
        found
    }
}

fn look_at(world: World, id: TargetId, messages: &Channel) -> Result<()> {
    let view = View::unlogged(world.files, world.project);
    let target = world.target(id);
    target.kind.preflight(&Job {
        model: world.model,
        target,
        project: world.project,
        files: &view,
        shared: world.shared,
        results: &BTreeMap::new(),
        facts: &BTreeMap::new(),
        write_tree: false,
        owned: &ownership::NOTHING,
        surroundings: &Surroundings::default(),
        pool: None,
        messages,
    })
}
