//! `zipwright [GOAL]...`: brings goals up to date, or says what that would take.

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::args::{Build, Common, OutputSync};
use super::session::{Session, Words};
use super::{FAILURE, Failure, OUT_OF_DATE, SUCCESS};
use crate::engine::{self, Mode, Options, Shuffle, World};
use crate::event::{Report, Summary};
use crate::project::Project;
use crate::signals;
use crate::state::State;
use crate::ui::{self, Style, Verbosity, Writers};

pub(super) fn run(common: &Common, build: &Build) -> Result<u8, Failure> {
    let words = Words { given: &build.words, environment: build.environment_overrides };
    let session = Session::open(common, words)?;
    let entered = says_directory(common, build, &session.project);
    if entered {
        super::tell(&format!("zipwright: Entering directory '{}'", session.project.root.display()));
    }
    let summary = build_goals(common, build, &session);
    if entered {
        super::tell(&format!("zipwright: Leaving directory '{}'", session.project.root.display()));
    }
    Ok(match summary? {
        Summary { failed: 1.., .. } => FAILURE,
        Summary { would_run: 1.., .. } if build.question => OUT_OF_DATE,
        _ => SUCCESS,
    })
}

fn build_goals(common: &Common, build: &Build, session: &Session) -> Result<Summary> {
    let options = options(build, session)?;
    let mut report = reporter(common, build);
    if options.mode == Mode::Build {
        let (_lock, mut state) = session.locked_state()?;
        signals::install().context("could not listen for signals")?;
        run_engine(session, &mut state, &options, report.as_mut())
    } else {
        run_engine(session, &mut session.state(), &options, report.as_mut())
    }
}

/// As make: when asked, after `-C`, and below another make.
fn says_directory(common: &Common, build: &Build, project: &Project) -> bool {
    let nested = project.var("MAKELEVEL").is_some_and(|level| level != "0");
    let quiet = build.silent || build.question || build.no_print_directory || common.json;
    build.print_directory || (!quiet && (!common.directory.is_empty() || nested))
}

pub(super) fn run_engine(
    session: &Session,
    state: &mut State,
    options: &Options,
    report: &mut dyn Report,
) -> Result<Summary> {
    let files = session.files(state);
    if options.mode == Mode::Build {
        files.tick().context("could not write in the state folder")?;
    }
    let world = World {
        project: &session.project,
        model: &session.model,
        graph: &session.graph,
        files: &files,
    };
    engine::build(world, state, options, report)
}

fn options(build: &Build, session: &Session) -> Result<Options> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = match build.jobs {
        None => cores,
        // `-j` without a number.
        Some(0) => usize::MAX,
        Some(jobs) => jobs,
    };
    // Only the first call in a process counts, and there is but one build in each.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs.min(cores)).build_global();
    let mode = match (build.question, build.dry_run) {
        (true, _) => Mode::Question,
        (false, true) => Mode::DryRun,
        (false, false) => Mode::Build,
    };
    let paths = |texts: &[String]| texts.iter().map(|text| session.path(text)).collect();
    Ok(Options {
        goals: session.goal_ids()?,
        jobs,
        keep_going: build.keep_going,
        always: build.always_make,
        touch: build.touch,
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
        hold: matches!(build.output_sync, OutputSync::Target | OutputSync::Recurse),
    }
}
