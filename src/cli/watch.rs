//! `zipwright watch [GOAL]...`: builds, and again whenever something changes that the goals observed.
//!
//! Each round is an ordinary build on a thread of its own, under the project's lock. Meanwhile, and
//! between rounds, this thread receives notices of changes and compares the observed paths with the
//! disk. A change during a round interrupts it.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use super::args::{Build, Common, Watch};
use super::build::{self, Watched};
use super::makeflags::BuildOptions;
use super::session::{self, Session, Words};
use super::{FAILURE, Failure, invoking, tell, uploading};
use crate::base::{RelPath, parallel, words};
use crate::build::Observer;
use crate::event::Summary;
use crate::graph::TargetId;
use crate::project::Project;
use crate::signals;
use crate::snapshot::Snapshot;
use crate::target::{Input, Target};
use crate::watch::{
    Events, Handlers, Hosts, InRound, Journal, Method, Observations, Pattern, Screen, Services,
    Tracker,
};

/// Bytes of the stack of a round: as much as the main thread has.
const STACK: usize = 8 << 20;

/// A reason to look at the state of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// Something on the file system has changed.
    Changed,
    /// A target of the round has observed further paths.
    Observed,
    /// The round has ended.
    Ended,
    /// A signal was received.
    Signal,
}

pub(super) fn run(common: &Common, options: &Watch) -> Result<u8, Failure> {
    check(&options.build)?;
    let project = Project::here()?;
    let inherited = BuildOptions::new(&options.build, &project).build;
    if inherited.dry_run || inherited.question || inherited.touch {
        // `make -n`, `-q` or `-t` above: they are for one build.
        return build::run(common, &options.build);
    }
    let mut build = options.build.clone();
    invoking::read_stdin(&mut build.invoking)?;
    session::read_buildfile(&project, &session::buildfile(common))?;
    signals::install().context("could not listen for signals")?;
    let (sender, notices) = channel();
    let wake = sender.clone();
    signals::on_receipt(move || _ = wake.send(Notice::Signal));
    project.claim_state()?;
    drop(session::lock(&project, crate::lock::Patience::Wait)?);
    let journal = Journal::open(&project)?;
    let method = options.poll.map_or(Method::Events, Method::Poll);
    let wake = sender.clone();
    let events = Events::new(method, options.settle, move || _ = wake.send(Notice::Changed))?;
    let screen = Arc::new(Screen::new(build::plain_reporter(common, &build)));
    let services = Services::new(Arc::clone(&screen) as Arc<_>);
    let observations = Arc::new(Observations::new(Tracker::new(project.clone())));
    let hosts = Arc::new(Hosts { services, handlers: Handlers::default() });
    let notified = Arc::default();
    let mut watching = Watching {
        common,
        build,
        project,
        events,
        screen,
        observations,
        hosts,
        sender,
        notices,
        notified,
    };
    let ended = watching.rounds();
    watching.hosts.services.retain(|_| false);
    drop((watching, journal));
    ended.map(|()| FAILURE)
}

fn check(build: &Build) -> Result<()> {
    let given = [
        (build.dry_run, "-n"),
        (build.question, "-q"),
        (build.touch, "-t"),
        (build.always_make, "-B"),
        (!build.what_if.is_empty(), "-W"),
        (!build.old_file.is_empty(), "-o"),
        (build.timings.is_some(), "--timings"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => bail!("{option} is for a single build, and `watch` has many of them"),
        None => Ok(()),
    }
}

struct Watching<'a> {
    common: &'a Common,
    build: Build,
    project: Project,
    events: Events,
    screen: Arc<Screen>,
    observations: Arc<Observations>,
    hosts: Arc<Hosts>,
    sender: Sender<Notice>,
    notices: Receiver<Notice>,
    /// Whether a notice of observed paths is on its way.
    notified: Arc<AtomicBool>,
}

/// The outcome of a round.
struct Round {
    /// The result of the build, and the names of the targets that it was about.
    built: Result<(Summary, HashSet<String>), Failure>,
    /// The changes that interrupted it.
    again: BTreeSet<String>,
}

impl Watching<'_> {
    /// Runs rounds until a signal is received.
    fn rounds(&mut self) -> Result<(), Failure> {
        let mut changed = BTreeSet::new();
        let mut is_first = true;
        loop {
            self.screen.begin(build::plain_reporter(self.common, &self.build), changed);
            let Round { built, again } = self.round()?;
            if signals::received().is_some() {
                return Ok(());
            }
            if self.screen.end_interrupted(&again) {
                changed = again;
                continue;
            }
            self.conclude(built, is_first)?;
            if is_first {
                self.greet();
            }
            is_first = false;
            changed = match again.is_empty() {
                true => self.wait()?,
                false => again,
            };
            if changed.is_empty() {
                return Ok(());
            }
        }
    }

    /// Builds once. Ends the build early if something changes meanwhile.
    fn round(&mut self) -> Result<Round> {
        let place = self.project.root.join(session::buildfile(self.common));
        self.observations.tracker().begin(&place);
        let maker = Maker {
            common: self.common,
            build: &self.build,
            project: &self.project,
            screen: Arc::clone(&self.screen),
            observations: Arc::clone(&self.observations),
            hosts: Arc::clone(&self.hosts),
            sender: self.sender.clone(),
            notified: Arc::clone(&self.notified),
        };
        let notified = &self.notified;
        let (events, observations) = (&mut self.events, &self.observations);
        let (notices, screen) = (&self.notices, &self.screen);
        let mut again = BTreeSet::new();
        let mut problem = None;
        let built = thread::scope(|scope| {
            let end = AtEnd(self.sender.clone());
            let make = move || {
                let _end = end;
                maker.make()
            };
            let builder = thread::Builder::new().name("round".into()).stack_size(STACK);
            let making = builder.spawn_scoped(scope, make).context("could not start a thread")?;
            while let Ok(notice) = notices.recv()
                && notice != Notice::Ended
            {
                if notice == Notice::Signal || problem.is_some() {
                    continue;
                }
                notified.store(false, Ordering::Relaxed);
                match compare(events, observations) {
                    Ok(changed) if changed.is_empty() => {}
                    Ok(changed) => {
                        again.extend(changed);
                        if screen.interrupt() {
                            signals::interrupt();
                        }
                    }
                    Err(error) => {
                        problem = Some(error);
                        screen.interrupt();
                        signals::interrupt();
                    }
                }
            }
            anyhow::Ok(making.join().expect("BUG: a build does not panic"))
        })?;
        signals::resume();
        match problem {
            Some(problem) => Err(problem),
            None => Ok(Round { built, again }),
        }
    }

    /// Reports a round that was not interrupted, and takes over its observations.
    fn conclude(
        &mut self,
        built: Result<(Summary, HashSet<String>), Failure>,
        is_first: bool,
    ) -> Result<(), Failure> {
        let (summary, targets) = match built {
            Ok(built) => built,
            Err(Failure::Error(error)) if is_first => return Err(error.into()),
            Err(failure) => {
                match failure {
                    Failure::Told(text) => tell(text),
                    Failure::Error(error) => tell(format!("error: {error:#}")),
                }
                self.screen.end_broken();
                return Ok(());
            }
        };
        let mut tracker = self.observations.tracker();
        if let Some(snapshot) = Snapshot::load(&self.project) {
            tracker.add(&snapshot.observed(|name| targets.contains(name)));
        }
        if summary.failed == 0 {
            tracker.end();
        }
        Ok(())
    }

    /// Reports the size of the watch, once.
    fn greet(&self) {
        let (files, folders) = self.observations.tracker().size();
        let (files, folders) = (words::count(files, "file"), words::count(folders, "folder"));
        self.screen.note(format!("watching {files} and {folders}; Ctrl-C ends it"));
    }

    /// Waits for changes; returns none after a signal.
    fn wait(&mut self) -> Result<BTreeSet<String>> {
        loop {
            if signals::received().is_some() {
                return Ok(BTreeSet::new());
            }
            let changed = compare(&mut self.events, &self.observations)?;
            if !changed.is_empty() {
                return Ok(changed);
            }
            self.notices.recv().map_err(|_| anyhow!("BUG: the watch itself holds a sender"))?;
        }
    }
}

/// Watches the folders of all observed paths, and returns the paths that have changed.
fn compare(events: &mut Events, observations: &Observations) -> Result<BTreeSet<String>> {
    let mut tracker = observations.tracker();
    let mut changed = tracker.compare();
    // Until no folder is new: its files may have changed before it was watched.
    while events.watch(&tracker.watched(), tracker.ignored())? {
        changed.extend(tracker.compare());
    }
    if !changed.is_empty() {
        events.settle(|| {
            let more = tracker.compare();
            let is_silent = more.is_empty();
            changed.extend(more);
            is_silent
        });
    }
    Ok(changed)
}

/// Sends a notice when it is dropped, by a panic as well.
struct AtEnd(Sender<Notice>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.0.send(Notice::Ended);
    }
}

/// Builds one round.
struct Maker<'a> {
    common: &'a Common,
    build: &'a Build,
    project: &'a Project,
    screen: Arc<Screen>,
    observations: Arc<Observations>,
    hosts: Arc<Hosts>,
    sender: Sender<Notice>,
    notified: Arc<AtomicBool>,
}

impl Maker<'_> {
    fn make(self) -> Result<(Summary, HashSet<String>), Failure> {
        let mut resolved = BuildOptions::new(self.build, self.project);
        parallel::limit(resolved.threads());
        let mut words = Words::new(&resolved.build.words);
        words.overrides.inherited = resolved.inherited(self.project);
        let mut session = Session::open_in(self.project.clone(), self.common, words)?;
        invoking::apply(&resolved.build.invoking, &mut session)?;
        uploading::apply(&resolved.build.uploading, &mut session)?;
        let goals = session.goal_ids()?;
        let targets = self.plan(&session, &goals);
        self.hosts.services.retain(|name| targets.contains(name));
        let watched = Watched { hosts: Arc::clone(&self.hosts), observer: self.observer() };
        let report = Box::new(InRound(Arc::clone(&self.screen)));
        let both = (self.common, &mut resolved);
        let summary = build::round(both, &session, watched, report)?;
        Ok((summary, targets))
    }

    /// Gives the tracker the inputs and outputs of the round. Returns the names of its targets.
    fn plan(&self, session: &Session, goals: &[TargetId]) -> HashSet<String> {
        let model = &session.model;
        let outputs = model.targets.iter().flat_map(Target::outputs);
        let outputs: HashSet<RelPath> = outputs.map(|output| output.path().clone()).collect();
        let (mut patterns, mut paths) = (Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for id in session.graph.closure(goals) {
            let target = &model.targets[id.index()];
            names.insert(target.name.value.clone());
            for input in target.kind.inputs() {
                match input {
                    Input::Path(path) => paths.push(path.value.clone()),
                    Input::Program(program) if program.value.contains('/') => {
                        paths.extend(RelPath::parse(&program.value));
                    }
                    Input::Program(_) => {}
                    Input::Folder(folder) => patterns.push(Pattern::folder(folder.value.clone())),
                    Input::Glob(glob) => {
                        patterns.push(Pattern::from(&glob.value));
                        let path = Some(&glob.value).filter(|glob| !glob.has_wildcard());
                        paths.extend(path.map(|glob| glob.base.clone()));
                    }
                }
            }
        }
        self.observations.tracker().plan(outputs, patterns, &paths);
        names
    }

    /// Returns the receiver of the observations of targets that are checked.
    fn observer(&self) -> Observer {
        let (observations, sender) =
            (Arc::clone(&self.observations), Mutex::new(self.sender.clone()));
        let notified = Arc::clone(&self.notified);
        Observer::new(move |observed| {
            observations.add(observed);
            if !notified.swap(true, Ordering::Relaxed) {
                let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = sender.send(Notice::Observed);
            }
        })
    }
}
