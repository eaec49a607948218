//! `zipwright [GOAL]...`: brings goals up to date, or says what that would take.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::mem;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::args::{Build, Common, OutputSync};
use super::discreet::Discreet;
use super::session::{Session, Words};
use super::shortcut::{self, Answered, Begun};
use super::under_make::Asked;
use super::{FAILURE, Failure, OUT_OF_DATE, SUCCESS};
use super::{invoking, uploading};
use crate::base::fs as base_fs;
use crate::base::{parallel, private};
use crate::engine::{self, Mode, Options, Shuffle, World};
use crate::event::{Report, Summary};
use crate::files::Files;
use crate::graph::TargetId;
use crate::kinds::{Shared, Surroundings};
use crate::lock::Patience;
use crate::make::Pool;
use crate::project::Project;
use crate::receipt::Question;
use crate::signals;
use crate::state::State;
use crate::timings::{self, Recorder, Timings};
use crate::ui::{self, Style, Verbosity, Writers};

pub(super) fn run(common: &Common, typed: &Build) -> Result<u8, Failure> {
    let started = Instant::now();
    let project = Project::here()?;
    let mut asked = Asked::new(typed, &project);
    parallel::limit(asked.threads());
    let question = shortcut::question(common, &asked, &project);
    let entered = says_directory(common, &asked);
    let mut begun = None;
    if let Some(question) = &question {
        let patience = (&project, patience(&asked));
        let report = || {
            enter(entered, &project);
            reporter(common, &asked.build)
        };
        match shortcut::answer(question, patience, started, report)? {
            Answered::Told => {
                leave(entered, &project);
                return Ok(SUCCESS);
            }
            Answered::Not(so_far) => begun = so_far,
        }
    }
    let words = asked.build.words.clone();
    let words = Words { given: &words, inherited: asked.inherited(&project) };
    let mut session = Session::open_in(project.clone(), common, words)?;
    invoking::apply(&asked.build.invoking, &mut session)?;
    uploading::apply(&asked.build.uploading, &mut session)?;
    enter(entered, &project);
    let summary = build_goals((common, &mut asked), &session, question.as_ref(), begun);
    // As at the end of `build_with`.
    mem::forget(session);
    leave(entered, &project);
    Ok(match summary? {
        Summary { failed: 1.., .. } => FAILURE,
        Summary { would_run: 1.., .. } if asked.build.question => OUT_OF_DATE,
        _ => SUCCESS,
    })
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

fn patience(asked: &Asked) -> Patience {
    if asked.build.no_wait { Patience::None } else { Patience::Wait }
}

/// Brings what a command needs up to date. Standard output is that command's, so whatever is said
/// goes to standard error.
pub(super) fn for_command(
    common: &Common,
    words: &[String],
    session: &Session,
    goals: Vec<TargetId>,
) -> Result<Summary> {
    let typed = Build { words: words.to_vec(), ..Build::default() };
    let mut asked = Asked::new(&typed, &session.project);
    parallel::limit(asked.threads());
    let options = Options { goals, mode: Mode::Build, ..options(&asked, session)? };
    let verbosity = if common.json { Verbosity::Silent } else { Verbosity::Normal };
    let writers = Writers::new(Box::new(io::stderr()), Box::new(io::stderr()));
    let report = ui::report(style(common, &asked.build, verbosity), writers);
    build_with((common, &mut asked), session, options, (None, None), report)
}

fn build_goals(
    (common, asked): (&Common, &mut Asked),
    session: &Session,
    question: Option<&Question>,
    begun: Option<Begun>,
) -> Result<Summary> {
    let goals = session.goal_ids()?;
    let options = Options { goals, ..options(asked, session)? };
    let report = reporter(common, &asked.build);
    build_with((common, asked), session, options, (question, begun), report)
}

fn build_with(
    (common, asked): (&Common, &mut Asked),
    session: &Session,
    options: Options,
    (question, begun): (Option<&Question>, Option<Begun>),
    mut report: Box<dyn Report>,
) -> Result<Summary> {
    if options.mode != Mode::Build {
        let pool = Pool::private(1)?;
        let mut state = session.state(false);
        let files = session.files(&mut state);
        return run_engine(session, (&mut state, &files), &options, &pool, report.as_mut());
    }
    let (_lock, recalled) = match begun {
        Some(Begun { lock, recalled }) => {
            session.sweep(&lock);
            (lock, recalled)
        }
        None => (session.lock(patience(asked))?, Vec::new()),
    };
    signals::install().context("could not listen for signals")?;
    let pool = asked.pool(parallel::cores(), super::warn)?;
    parallel::start();
    // A receipt is of one state file, and has the digests.
    let mut state = session.state(!recalled.is_empty());
    let serial = asked.is_serial();
    let surroundings =
        Surroundings { env: asked.for_children(&pool), terminal: has_terminal(common) };
    let options = Options { surroundings, serial, ..options };
    let mut recorder = Recorder::new(report, asked.build.timings.is_some());
    let mut files = session.files(&mut state);
    files.tick().context("could not write in the state folder")?;
    files.recall(recalled);
    let summary = run_engine(session, (&mut state, &files), &options, &pool, &mut recorder);
    pool.close();
    if let (Some(question), Ok(summary)) = (question, &summary) {
        shortcut::keep(question, session, (&state, &files), summary)?;
    }
    if let Some(place) = &asked.build.timings {
        let jobs = asked.slots();
        write_timings(place, &recorder.timings(jobs, &needs_by_name(session)))?;
    }
    // The process ends soon, and gives all memory back at once instead of by millions of pieces.
    mem::forget((state, files));
    summary
}

/// Everything each target waits for, order-only edges included.
fn needs_by_name(session: &Session) -> BTreeMap<String, Vec<String>> {
    let name = |id: TargetId| session.model.targets[id.index()].name.value.clone();
    let graph = &session.graph;
    let waits = |id| graph.needs(id).iter().chain(graph.after(id)).map(|need| name(*need));
    graph.ids().map(|id| (name(id), waits(id).collect())).collect()
}

fn write_timings(place: &Path, timings: &Timings) -> Result<()> {
    let page = place.with_extension("html");
    base_fs::write_if_changed(&page, timings::html(timings).as_bytes(), private::FILE_MODE)?;
    let trace = place.with_extension("json");
    let text = timings::chrome_trace(timings);
    base_fs::write_if_changed(&trace, text.as_bytes(), private::FILE_MODE)?;
    super::note(&format!("times are in `{}` and `{}`", page.display(), trace.display()));
    Ok(())
}

/// Whether a command can be given the terminal: all of it, and nobody waits for our own output.
fn has_terminal(common: &Common) -> bool {
    !common.json
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
        && io::stderr().is_terminal()
}

/// As make: when asked, after `-C`, and below another make.
fn says_directory(common: &Common, asked: &Asked) -> bool {
    let build = &asked.build;
    let quiet = build.silent || build.question || build.no_print_directory || common.json;
    build.print_directory || (!quiet && (!common.directory.is_empty() || asked.is_nested()))
}

pub(super) fn run_engine(
    session: &Session,
    (state, files): (&mut State, &Files),
    options: &Options,
    pool: &Pool,
    report: &mut dyn Report,
) -> Result<Summary> {
    let world = World {
        project: &session.project,
        model: &session.model,
        graph: &session.graph,
        files,
        shared: &Shared::default(),
    };
    let mut report = Discreet { typed: &session.model.typed, report };
    engine::build(world, state, options, pool, &mut report)
}

fn options(asked: &Asked, session: &Session) -> Result<Options> {
    let build = &asked.build;
    let mode = match (build.question, build.dry_run) {
        (true, _) => Mode::Question,
        (false, true) => Mode::DryRun,
        (false, false) => Mode::Build,
    };
    let paths = |texts: &[String]| texts.iter().map(|text| session.path(text)).collect();
    Ok(Options {
        goals: Vec::new(),
        surroundings: Surroundings::default(),
        serial: true,
        keep_going: build.keep_going,
        always: build.always_make,
        touch: build.touch,
        force: build.force,
        ignore_errors: build.ignore_errors,
        what_if: paths(&build.what_if),
        old_files: paths(&build.old_file),
        load_max: build.load_average.unwrap_or(f64::INFINITY),
        shuffle: shuffle(build.shuffle.as_deref())?,
        mode,
    })
}

fn shuffle(how: Option<&str>) -> Result<Shuffle> {
    match how {
        None | Some("none") => Ok(Shuffle::No),
        Some("reverse") => Ok(Shuffle::Reverse),
        Some("random") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seed = u64::from(now.subsec_nanos());
            // Whoever finds a missing edge this way wants to find it again.
            super::note(&format!("--shuffle={seed}"));
            Ok(Shuffle::Random(seed))
        }
        Some(seed) => Ok(Shuffle::Random(seed.parse().with_context(|| {
            format!("--shuffle takes a number, `reverse`, `random` or `none`, not `{seed}`")
        })?)),
    }
}

fn reporter(common: &Common, build: &Build) -> Box<dyn Report> {
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
