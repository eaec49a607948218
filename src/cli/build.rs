//! `zipwright [GOAL]...`: brings goals up to date, or says what that would take.

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::thread;

use anyhow::{Context, Result, bail};

use super::args::{Build, Common};
use super::session::Session;
use super::{FAILURE, Failure, OUT_OF_DATE, SUCCESS};
use crate::engine::{self, Mode, Options, World};
use crate::event::{Report, Summary};
use crate::signals;
use crate::state::State;
use crate::ui::{self, Style, Verbosity, Writers};

pub(super) fn run(common: &Common, build: &Build) -> Result<u8, Failure> {
    let session = Session::open(common, &build.words)?;
    let options = options(build, &session)?;
    let mut report = reporter(common, build);
    let summary = if options.mode == Mode::Build {
        let (_lock, mut state) = session.locked_state()?;
        signals::install().context("could not listen for signals")?;
        run_engine(&session, &mut state, &options, report.as_mut())?
    } else {
        run_engine(&session, &mut session.state(), &options, report.as_mut())?
    };
    Ok(match summary {
        Summary { failed: 1.., .. } => FAILURE,
        Summary { would_run: 1.., .. } if options.mode == Mode::Question => OUT_OF_DATE,
        _ => SUCCESS,
    })
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
    let jobs = build.jobs.unwrap_or(cores);
    if jobs == 0 {
        bail!("-j takes a number from 1 up");
    }
    // Only the first call in a process counts, and there is but one build in each.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(jobs.min(cores)).build_global();
    let mode = match (build.question, build.dry_run) {
        (true, _) => Mode::Question,
        (false, true) => Mode::DryRun,
        (false, false) => Mode::Build,
    };
    Ok(Options {
        goals: session.goal_ids()?,
        jobs,
        keep_going: build.keep_going,
        always: build.always_make,
        mode,
    })
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
    }
}
