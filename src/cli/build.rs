//! `zipwright [GOAL]...`: brings goals up to date, or reports the targets that would run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::args::{Build, Common, Invoking, OutputSync, Uploading};
use super::discreet::Discreet;
use super::makeflags::BuildOptions;
use super::session::{self, Session, Words};
use super::{FAILURE, Failure, OUT_OF_DATE, SUCCESS};
use super::{invoking, uploading};
use crate::base::fs::{self as base_fs, FILE_MODE};
use crate::base::{parallel, private};
use crate::build::{self, Built, Mode, Observer, Options, Shuffle, World};
use crate::diagnostic;
use crate::event::{Report, Summary};
use crate::files::Files;
use crate::graph::TargetId;
use crate::lock::{Lock, Patience};
use crate::make::Pool;
use crate::project::{Project, STATE_FOLDER};
use crate::signals;
use crate::snapshot::{self, Basis, Prior, Snapshot, UpToDate};
use crate::state::State;
use crate::target::{Shared, Surroundings};
use crate::targets;
use crate::targets::zip::Zip;
use crate::timings::{self, Recorder, Timings};
use crate::ui::github::{Before, Github};
use crate::ui::{self, Style, Verbosity, Writers};
use crate::watch::Hosts;

pub(super) fn run(common: &Common, typed: &Build) -> Result<u8, Failure> {
    let started = Instant::now();
    let project = Project::here()?;
    let mut resolved = BuildOptions::new(typed, &project);
    parallel::limit(resolved.threads());
    let mut words = Words::new(&resolved.build.words);
    words.overrides.inherited = resolved.inherited(&project);
    let entered = says_directory(common, &resolved);
    let start = Start::new(&resolved, &project, &words)?;
    if let Some(up_to_date) = start.nothing_to_do(common, &resolved, &words) {
        enter(entered, &project);
        let mut report = reporter(common, &resolved.build, (&project, None));
        up_to_date.report(started.elapsed().as_secs_f64(), targets::name_of_kind, report.as_mut());
        leave(entered, &project);
        return Ok(SUCCESS);
    }
    let mut session = Session::open_in(project.clone(), common, words)?;
    invoking::apply(&resolved.build.invoking, &mut session)?;
    uploading::apply(&resolved.build.uploading, &mut session)?;
    enter(entered, &project);
    let summary = build_goals((common, &mut resolved), &session, start);
    // As at the end of `build_with`.
    mem::forget(session);
    leave(entered, &project);
    Ok(match summary? {
        Summary { failed: 1.., .. } => FAILURE,
        Summary { would_run: 1.., .. } if resolved.build.question => OUT_OF_DATE,
        _ => SUCCESS,
    })
}

/// The parts of a build that belong to the `watch` of which it is a round.
pub(super) struct Watched {
    pub(super) hosts: Arc<Hosts>,
    pub(super) observer: Observer,
}

/// Builds the goals of a session as a round of `watch`.
pub(super) fn round(
    (common, resolved): (&Common, &mut BuildOptions),
    session: &Session,
    watched: Watched,
    report: Box<dyn Report>,
) -> Result<Summary> {
    let goals = session.goal_ids()?;
    let start = Start::new(resolved, &session.project, &session.words)?;
    let options = Options { goals, observer: watched.observer, ..options(resolved, session)? };
    build_with((common, resolved), session, options, (start, Some(watched.hosts)), report)
}

/// The snapshot, compared with the disk before the Buildfile is read.
#[derive(Default)]
struct Start {
    /// Held since the comparison, so that no other build runs meanwhile.
    lock: Option<Lock>,
    snapshot: Option<Snapshot>,
    /// The goals, if the snapshot has all of them.
    goals: Option<Vec<u32>>,
}

impl Start {
    fn new(resolved: &BuildOptions, project: &Project, words: &Words) -> Result<Self> {
        if !snapshot::exists(project) {
            return Ok(Self::default());
        }
        let writes = !resolved.build.dry_run && !resolved.build.question;
        let lock = writes.then(|| session::lock(project, patience(resolved))).transpose()?;
        let Some(mut snapshot) = Snapshot::load(project) else {
            return Ok(Self { lock, ..Self::default() });
        };
        let goals = snapshot.goals(&words.goals);
        if !snapshot.scan(project, goals.as_deref()) {
            return Ok(Self { lock, ..Self::default() });
        }
        // A killed build may have left anything.
        let goals = goals.filter(|_| lock.as_ref().is_none_or(|lock| !lock.after_a_kill));
        Ok(Self { lock, snapshot: Some(snapshot), goals })
    }

    /// Returns the targets of the build if all of them are up to date, and nothing but the summary is
    /// reported of such targets.
    fn nothing_to_do(
        &self,
        common: &Common,
        resolved: &BuildOptions,
        words: &Words,
    ) -> Option<UpToDate<'_>> {
        let build = &resolved.build;
        let is_plain = !build.trace && !common.json && build.timings.is_none();
        let goals = self.goals.as_ref().filter(|_| is_plain && may_skip(build))?;
        let file = session::buildfile(common);
        self.snapshot.as_ref()?.nothing_to_do(file.to_str()?, &words.overrides, goals)
    }
}

/// Returns whether a build with these options may leave targets unchecked. Options for a single upload
/// or invoke change the graph.
fn may_skip(build: &Build) -> bool {
    !(build.always_make || build.touch)
        && build.what_if.is_empty()
        && build.old_file.is_empty()
        && is_graph_of_buildfile(build)
}

fn is_graph_of_buildfile(build: &Build) -> bool {
    build.invoking == Invoking::default() && build.uploading == Uploading::default()
}

fn enter(says: bool, project: &Project) {
    if says {
        super::tell(format!("zipwright: Entering directory '{}'", project.root.display()));
    }
}

fn leave(says: bool, project: &Project) {
    if says {
        super::tell(format!("zipwright: Leaving directory '{}'", project.root.display()));
    }
}

fn patience(resolved: &BuildOptions) -> Patience {
    if resolved.build.no_wait { Patience::None } else { Patience::Wait }
}

/// Brings the targets that a command needs up to date. Standard output belongs to that command, so all
/// messages go to standard error.
pub(super) fn for_command(
    common: &Common,
    words: &[String],
    session: &Session,
    goals: Vec<TargetId>,
) -> Result<Summary> {
    let typed = Build { words: words.to_vec(), ..Build::default() };
    let mut resolved = BuildOptions::new(&typed, &session.project);
    parallel::limit(resolved.threads());
    let options = Options { goals, mode: Mode::Build, ..options(&resolved, session)? };
    let verbosity = if common.json { Verbosity::Silent } else { Verbosity::Normal };
    let writers = Writers::new(Box::new(io::stderr()), Box::new(io::stderr()));
    let report = ui::report(style(common, &resolved.build, verbosity), writers);
    let start = Start::new(&resolved, &session.project, &session.words)?;
    build_with((common, &mut resolved), session, options, (start, None), report)
}

fn build_goals(
    (common, resolved): (&Common, &mut BuildOptions),
    session: &Session,
    start: Start,
) -> Result<Summary> {
    let goals = session.goal_ids()?;
    let options = Options { goals, ..options(resolved, session)? };
    let report = reporter(common, &resolved.build, (&session.project, Some(session)));
    build_with((common, resolved), session, options, (start, None), report)
}

fn build_with(
    (common, resolved): (&Common, &mut BuildOptions),
    session: &Session,
    options: Options,
    (start, hosts): (Start, Option<Arc<Hosts>>),
    mut report: Box<dyn Report>,
) -> Result<Summary> {
    let Start { lock, snapshot, goals } = start;
    let (shared, is_round) = (Shared::default(), hosts.is_some());
    match hosts {
        Some(hosts) => shared.set(hosts),
        None => session.check_services(&options.goals)?,
    }
    let goals = goals.filter(|_| may_skip(&resolved.build));
    let file = session.buildfile().to_string_lossy();
    let overrides = &session.words.overrides;
    let parts = |snapshot: Snapshot| snapshot.into_parts(&file, overrides, goals.as_deref());
    if options.mode != Mode::Build {
        let (memory, prior) = snapshot.map(parts).unzip();
        let files = session.files(memory.unwrap_or_default());
        let (mut state, pool) = (session.state(), Pool::private(1)?);
        let state = (&mut state, prior.as_ref());
        let both = (&files, &shared);
        return Ok(run_engine(session, state, both, &options, &pool, report.as_mut())?.summary);
    }
    let lock = match lock {
        Some(lock) => lock,
        None => session::lock(&session.project, patience(resolved))?,
    };
    session.sweep(&lock);
    signals::install().context("could not listen for signals")?;
    let pool = resolved.pool(parallel::cores(), super::warn)?;
    parallel::start();
    let (memory, prior) = snapshot.map(parts).unzip();
    let mut state = session.state();
    let serial = resolved.is_serial();
    let surroundings =
        Surroundings { env: resolved.for_children(&pool), terminal: has_terminal(common) };
    let options = Options { surroundings, serial, ..options };
    resolved.build.timings.as_deref().map_or(Ok(()), check_timings)?;
    let mut recorder = Recorder::new(report, resolved.build.timings.is_some());
    let files = session.files(memory.unwrap_or_default());
    files.tick().context("could not write in the state folder")?;
    let both = (&mut state, prior.as_ref());
    let built = run_engine(session, both, (&files, &shared), &options, &pool, &mut recorder);
    pool.close();
    let summary = built.and_then(|Built { summary, fresh }| {
        if !fresh.is_empty() {
            let observed = session.observed_buildfile(&files)?;
            let basis = Basis {
                file: &file,
                overrides,
                model: &session.model,
                graph: &session.graph,
                observed: observed.filter(|_| is_graph_of_buildfile(&resolved.build)),
            };
            snapshot::update(&session.project, basis, prior.as_ref(), &files, fresh)?;
        }
        Ok(summary)
    });
    if let Some(place) = &resolved.build.timings {
        write_timings(place, &recorder.timings(resolved.slots(), &needs_by_name(session)))?;
    }
    if !is_round {
        // The process ends soon, and gives all memory back at once instead of by millions of pieces.
        mem::forget((state, files, prior));
    }
    summary
}

/// Everything each target waits for, order-only edges included.
fn needs_by_name(session: &Session) -> BTreeMap<String, Vec<String>> {
    let name = |id: TargetId| session.model.targets[id.index()].name.value.clone();
    let graph = &session.graph;
    let waits = |id| graph.needs(id).iter().chain(graph.after(id)).map(|need| name(*need));
    graph.ids().map(|id| (name(id), waits(id).collect())).collect()
}

/// Returns the places of the page and the trace. Fails if a file is there that `--timings` did not
/// write.
fn places_of_timings(place: &Path) -> Result<[PathBuf; 2]> {
    type IsOwn = fn(&str) -> bool;
    let of = |extension: &str, is_own: IsOwn| {
        let mut file = place.as_os_str().to_owned();
        file.push(extension);
        let file = PathBuf::from(file);
        let meta = file.symlink_metadata();
        let is_own = || fs::read_to_string(&file).is_ok_and(|text| is_own(&text));
        if meta.is_ok_and(|meta| !meta.is_file() || !is_own()) {
            bail!(
                "`{}` is in the way: `--timings` did not write it; move it away, or name another \
                 `--timings=FILE`",
                file.display()
            );
        }
        Ok(file)
    };
    Ok([of(".html", timings::is_page)?, of(".json", timings::is_trace)?])
}

/// Fails if the timings cannot be written, before anything is built.
fn check_timings(place: &Path) -> Result<()> {
    places_of_timings(place).map(drop)
}

fn write_timings(place: &Path, timings: &Timings) -> Result<()> {
    let [page, trace] = places_of_timings(place)?;
    let mode = if place.starts_with(STATE_FOLDER) { private::FILE_MODE } else { FILE_MODE };
    base_fs::write_if_changed(&page, timings::html(timings).as_bytes(), mode)?;
    base_fs::write_if_changed(&trace, timings::chrome_trace(timings).as_bytes(), mode)?;
    super::note(&format!("times are in `{}` and `{}`", page.display(), trace.display()));
    Ok(())
}

/// Returns whether a command can have the terminal: input and both outputs are one, and the output is
/// not JSON.
fn has_terminal(common: &Common) -> bool {
    !common.json
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && io::stderr().is_terminal()
}

/// As make: when resolved, after `-C`, and below another make.
fn says_directory(common: &Common, resolved: &BuildOptions) -> bool {
    let build = &resolved.build;
    let quiet = build.silent || build.question || build.no_print_directory || common.json;
    build.print_directory || (!quiet && (!common.directory.is_empty() || resolved.is_nested()))
}

pub(super) fn run_engine(
    session: &Session,
    state: (&mut State, Option<&Prior>),
    (files, shared): (&Files, &Shared),
    options: &Options,
    pool: &Pool,
    report: &mut dyn Report,
) -> Result<Built> {
    let world = World {
        project: &session.project,
        model: &session.model,
        graph: &session.graph,
        files,
        shared,
    };
    let mut report = Discreet { typed: &session.model.typed, report };
    build::build(world, state, options, pool, &mut report)
}

fn options(resolved: &BuildOptions, session: &Session) -> Result<Options> {
    let build = &resolved.build;
    let mode = match (build.question, build.dry_run) {
        (true, _) => Mode::Question,
        (false, true) => Mode::DryRun,
        (false, false) => Mode::Build,
    };
    // A file outside of the project is no input of a target.
    let path = |text: &String| session::path(&session.project, text);
    let paths = |texts: &[String]| texts.iter().filter_map(path).collect();
    Ok(Options {
        keep_going: build.keep_going,
        always: build.always_make,
        touch: build.touch,
        force: build.force,
        ignore_errors: build.ignore_errors,
        what_if: paths(&build.what_if),
        old_files: paths(&build.old_file),
        load_max: build.load_average.unwrap_or(f64::INFINITY),
        shuffle: shuffle(build.shuffle.as_deref())?,
        ..Options::new(Vec::new(), mode)
    })
}

fn shuffle(how: Option<&str>) -> Result<Shuffle> {
    match how {
        None | Some("none") => Ok(Shuffle::No),
        Some("reverse") => Ok(Shuffle::Reverse),
        Some("random") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seed = u64::from(now.subsec_nanos());
            // A missing edge that is found this way has to be found again.
            super::note(&format!("--shuffle={seed}"));
            Ok(Shuffle::Random(seed))
        }
        Some(seed) => Ok(Shuffle::Random(seed.parse().with_context(|| {
            format!("--shuffle takes a number, `reverse`, `random` or `none`, not `{seed}`")
        })?)),
    }
}

/// Returns the report of a build. `session` is `None` if nothing has to be done.
fn reporter(
    common: &Common,
    build: &Build,
    (project, session): (&Project, Option<&Session>),
) -> Box<dyn Report> {
    let report = plain_reporter(common, build);
    match super::github(common, project).filter(|_| !build.question) {
        Some(runner) => {
            let before = session.map(before).unwrap_or_default();
            let writers = Writers::standard();
            Box::new(Github::new((runner, before), report, writers, build.dry_run))
        }
        None => report,
    }
}

/// Returns the places of all targets in the Buildfile, and the sizes of all zips.
fn before(session: &Session) -> Before {
    let file = session.buildfile();
    let text = session::read_buildfile(&session.project, file).unwrap_or_default();
    let mut before = Before { buildfile: file.display().to_string(), ..Before::default() };
    for target in &session.model.targets {
        let name = &target.name;
        if let Some(place) = text.get(..name.span.start).map(diagnostic::line_and_column) {
            before.places.insert(name.value.clone(), place);
        }
        if let Some(zip) = target.kind.get::<Zip>()
            && let Ok(meta) = session.project.place(&zip.output.value).metadata()
        {
            before.sizes.insert(zip.output.value.to_string(), meta.len());
        }
    }
    before
}

/// Returns the report without annotations for GitHub.
pub(super) fn plain_reporter(common: &Common, build: &Build) -> Box<dyn Report + Send> {
    if common.json {
        return ui::json(Writers::standard());
    }
    let verbosity = match (build.silent || build.question, build.trace) {
        (_, true) => Verbosity::Trace,
        (true, false) => Verbosity::Silent,
        (false, false) => Verbosity::Normal,
    };
    ui::report(style(common, build, verbosity), Writers::standard())
}

fn style(common: &Common, build: &Build, verbosity: Verbosity) -> Style {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Style {
        color: super::color(common),
        live: io::stderr().is_terminal() && !dumb && verbosity != Verbosity::Silent,
        verbosity,
        dry_run: build.dry_run || build.question,
        hold: !matches!(build.output_sync, Some(OutputSync::None | OutputSync::Line)),
    }
}
