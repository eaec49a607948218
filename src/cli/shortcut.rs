//! The way around a build that would find nothing to do: by a receipt of the last one.

use std::time::Instant;

use anyhow::{Context, Result};

use super::args::{Build, Common};
use super::session::{self, Session};
use super::under_make::Asked;
use crate::buildfile::model::Target;
use crate::event::{Finished, Outcome, Report, Summary};
use crate::files::{Files, Pieces};
use crate::kinds;
use crate::lock::{Lock, Patience};
use crate::project::Project;
use crate::receipt::{Answer, Question};
use crate::state::State;

/// What is asked, when a receipt could answer it: a build of goals, and nothing out of the way.
pub(super) fn question<'a>(
    common: &Common,
    asked: &Asked,
    project: &'a Project,
) -> Option<Question<'a>> {
    let Build { dry_run, question, touch, always_make, what_if, old_file, trace, timings, .. } =
        &asked.build;
    let another = *dry_run || *question || *touch || *always_make || *trace || common.json;
    let plain = !another
        && what_if.is_empty()
        && old_file.is_empty()
        && timings.is_none()
        // A make above hands down more than words.
        && project.var("MAKEFLAGS").is_none();
    // If nothing is to be done, nothing is in the way.
    let words = std::env::args_os().skip(1).filter(|word| word != "--force");
    plain.then(|| Question::new(project, words))
}

/// What came of looking for a receipt.
pub(super) enum Answered {
    /// Nothing has changed since the last build, and what it had found was told.
    Told,
    /// There is something to find out.
    Not(Option<Begun>),
}

/// What a build need not do again: the lock is held since, so that nobody built meanwhile.
pub(super) struct Begun {
    pub(super) lock: Lock,
    pub(super) recalled: Pieces,
}

/// Tells what the last build had found, where nothing has changed since.
pub(super) fn answer(
    question: &Question,
    (project, patience): (&Project, Patience),
    started: Instant,
    report: impl FnOnce() -> Box<dyn Report>,
) -> Result<Answered> {
    if !question.has_receipt() {
        return Ok(Answered::Not(None));
    }
    let lock = session::lock(project, patience)?;
    let answer = if lock.after_a_kill { Err(Vec::new()) } else { question.answer() };
    Ok(match answer {
        Ok(answer) => {
            answer.tell(started.elapsed().as_secs_f64(), report().as_mut());
            Answered::Told
        }
        Err(recalled) => Answered::Not(Some(Begun { lock, recalled })),
    })
}

/// Leaves a receipt of a build after which there is nothing to do, where its targets allow one.
/// What it looked at after its targets ran is what the next one would look at: their inputs once
/// more, and their outputs.
pub(super) fn keep(
    question: &Question,
    session: &Session,
    (state, files): (&State, &Files),
    summary: &Summary,
) -> Result<()> {
    if !session.buildfile_is_as_read(files)? {
        return Ok(());
    }
    let goals = session.goal_ids()?;
    let targets = session.graph.closure(&goals).into_iter();
    let targets: Vec<_> = targets.map(|id| &session.model.targets[id.index()]).collect();
    // Without a record: it failed, was not come to, or its inputs changed while it ran.
    let is_done = |target: &&Target| {
        !target.is_phony()
            && kinds::looks_at_files_only(&target.kind)
            && state.has(&target.name.value)
    };
    if summary.ran + summary.up_to_date != targets.len() || !targets.iter().all(is_done) {
        return Ok(());
    }
    if summary.ran > 0 {
        files.settle(0).context("could not write in the state folder")?;
    }
    let zips = targets.iter().filter(|target| target.kind.name() == "zip").map(|target| {
        let record = state.target(&target.name.value);
        let facts = record.map(|record| record.facts).unwrap_or_default();
        Finished {
            target: target.name.value.clone(),
            kind: target.kind.name(),
            outcome: Outcome::UpToDate,
            reasons: Vec::new(),
            seconds: 0.0,
            outputs: target.outputs().iter().map(|output| output.path().to_string()).collect(),
            facts: facts
                .into_iter()
                .filter_map(|(name, json)| Some((name, serde_json::from_str(&json).ok()?)))
                .collect(),
            error: None,
        }
    });
    let answer = Answer { up_to_date: targets.len(), zips: zips.collect() };
    files.sights(|sights| question.keep(&answer, sights)).unwrap_or(Ok(()))
}
