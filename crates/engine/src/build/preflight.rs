//! Runs the preflights of kinds, so that an error there costs no build: of an upload as soon as a
//! target that it needs has to run, of an invoke as soon as its payloads are there. Targets whose work
//! would be in vain wait meanwhile.
//!
//! A build in which nothing runs before an upload runs no preflight: it opens no connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::thread::Scope;
use std::time::Instant;

use anyhow::Result;

use super::channel::Channel;
use super::{Engine, Message, Mode, Options, World};
use crate::event::Event;
use crate::files::View;
use crate::graph::TargetId;
use crate::ownership;
use crate::plan::{Plan, Progress};
use crate::target::{Job, Preflight, Surroundings};
use zipwright_store::RelPath;

/// The preflight of one target.
struct Look {
    id: TargetId,
    state: State,
    when: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Due,
    /// Running on a thread.
    Asked,
    Over,
}

enum When {
    /// Once one of these targets has to run. They are all targets that it needs, and wait for it.
    BeforeAnyOf(BTreeSet<TargetId>),
    /// Once all of `makers` are done. `upload` waits for it.
    AfterAllOf { makers: Vec<TargetId>, upload: Option<TargetId> },
}

/// All preflights of a build.
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
        // An invalid payload is found without a request.
        looks.sort_by_key(|look| matches!(look.when, When::BeforeAnyOf(_)));
        Self(looks)
    }

    /// Returns whether `id` has to wait for a preflight.
    pub(super) fn holds(&self, id: TargetId) -> bool {
        self.0.iter().any(|look| match &look.when {
            When::BeforeAnyOf(needs) => look.state == State::Asked && needs.contains(&id),
            When::AfterAllOf { upload, .. } => look.state == State::Due && *upload == Some(id),
        })
    }
}

/// Returns all targets that `id` needs, directly or not. Targets that it only comes after are left
/// out: they do not make it run.
pub(super) fn needs_of(id: TargetId, world: World) -> BTreeSet<TargetId> {
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
    /// Starts every preflight whose time has come.
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
                        let found = look_at(world, id, &channel);
                        let seconds = started.elapsed().as_secs_f64();
                        let _ = sender.send(Message::Looked { id, seconds, found });
                    });
                }
                When::AfterAllOf { makers, .. } => {
                    let done = |maker: &TargetId| self.plan.progress(*maker) == Progress::Done;
                    if !makers.iter().all(done) {
                        continue;
                    }
                    let found = look_at(world, id, &channel);
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
        // A target that is ready already gets the same error from its run, and a skipped one is not needed
        // any more.
    }

    /// Returns the positions of waiting targets that may start. If nothing else can happen, none is held:
    /// two uploads may each wait for a payload that is made from the result of the other.
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
