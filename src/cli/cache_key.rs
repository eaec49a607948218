//! `zipwright cache-key [GOAL]...`: one line that changes when the wheels of the goals would, for the
//! cache of a CI service.

use std::collections::BTreeMap;

use anyhow::anyhow;
use serde_json::json;

use super::args::{Common, Words as Given};
use super::session::{Session, Words};
use super::{FAILURE, Failure, SUCCESS, build, print, print_json};
use crate::base::digest::FieldHasher;
use crate::base::printable::Printable;
use crate::event::Reporter;
use crate::files::View;
use crate::graph::TargetId;
use crate::ownership;
use crate::pip;
use crate::process::Stream;
use crate::target::{Job, Shared, Surroundings};
use crate::targets::wheelhouse::Wheelhouse;

/// Hexadecimal digits of the line.
const DIGITS: usize = 32;

pub(super) fn run(common: &Common, given: &Given) -> Result<u8, Failure> {
    let session = Session::open(common, Words::new(&given.words))?;
    let goals = match session.words.goals.is_empty() {
        true => session.graph.ids().collect(),
        false => session.goal_ids()?,
    };
    let house = |id: TargetId| {
        let target = &session.model.targets[id.index()];
        target.kind.get::<Wheelhouse>().map(|house| (id, house))
    };
    let houses: Vec<(TargetId, &Wheelhouse)> =
        session.graph.closure(&goals).into_iter().filter_map(house).collect();
    if houses.is_empty() {
        return Err(anyhow!("no wheelhouse is needed; a cache would have nothing to keep").into());
    }
    // Requirements may be the output of a target.
    let needs: Vec<TargetId> =
        houses.iter().flat_map(|(id, _)| session.graph.needs(*id)).copied().collect();
    if !needs.is_empty() && build::for_command(common, &[], &session, needs)?.failed > 0 {
        return Ok(FAILURE);
    }
    let mut digests: Vec<String> =
        houses.iter().map(|house| digest(&session, *house)).collect::<anyhow::Result<_>>()?;
    digests.sort();
    digests.dedup();
    let mut hasher = FieldHasher::new();
    hasher.field(pip::RECIPE);
    for digest in digests {
        hasher.field(digest);
    }
    let key = format!("{:.DIGITS$}", hasher.finish());
    if common.json {
        let name = |id: TargetId| session.model.targets[id.index()].name.value.clone();
        let names: Vec<String> = houses.iter().map(|(id, _)| name(*id)).collect();
        print_json(&json!({ "key": key, "wheelhouses": names }))?;
    } else {
        print(key)?;
    }
    Ok(SUCCESS)
}

/// Returns the digest of the key of a target's wheels.
fn digest(session: &Session, (id, house): (TargetId, &Wheelhouse)) -> anyhow::Result<String> {
    let target = &session.model.targets[id.index()];
    let files = session.files_anew();
    let view = View::unlogged(&files, &session.project);
    let job = Job {
        model: &session.model,
        target,
        project: &session.project,
        files: &view,
        shared: &Shared::default(),
        results: &BTreeMap::new(),
        facts: &BTreeMap::new(),
        write_tree: false,
        owned: &ownership::NOTHING,
        surroundings: &Surroundings::default(),
        pool: None,
        messages: &Silent,
    };
    Ok(house.key_of_wheels(&job)?.digest().to_string())
}

/// Drops all messages: a fingerprint has none that a user needs.
struct Silent;

impl Reporter for Silent {
    fn line(&self, _stream: Stream, _text: Printable) {}
    fn warn(&self, _text: &str) {}
    fn status(&self, _text: &str) {}
}
