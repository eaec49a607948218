//! `zipwright clean`: removes what targets made. Only declared outputs and stamps, and of
//! folders only those that zipwright filled.

use anyhow::Result;

use super::args::{Common, Words};
use super::session::{self, Session};
use super::{Failure, SUCCESS, note, warn};
use crate::base::fs as base_fs;
use crate::base::words;
use crate::buildfile::model::{Output, Target};
use crate::lock::Patience;
use crate::state::State;

pub(super) fn run(common: &Common, words: &Words) -> Result<u8, Failure> {
    let session = Session::open(common, session::Words::new(&words.words))?;
    let targets: Vec<&Target> = if session.goals.is_empty() {
        session.model.targets.iter().collect()
    } else {
        let ids = session.goal_ids()?;
        ids.iter().map(|id| &session.model.targets[id.index()]).collect()
    };
    let _lock = session.lock(Patience::Wait)?;
    let mut state = session.state(false);
    let mut removed = 0;
    for target in targets {
        removed += clean(&session, target, &mut state)?;
    }
    if !common.json {
        note(&format!("removed {}", words::count(removed, "output")));
    }
    Ok(SUCCESS)
}

/// How many outputs of `target` were there and are gone.
fn clean(session: &Session, target: &Target, state: &mut State) -> Result<usize> {
    let mut removed = 0;
    let stamped =
        target.stamp.as_ref().is_some_and(|stamp| session.project.place(&stamp.value).exists());
    for output in target.outputs() {
        let place = session.project.place(output.path());
        if let Output::Folder(path) = &output
            && place.exists()
            && !stamped
            && !state.owns(path)
        {
            warn(&format!("`{path}` was not made by zipwright and stays"));
            continue;
        }
        removed += usize::from(base_fs::remove(&place)?);
    }
    state.forget(&target.name.value)?;
    Ok(removed)
}
