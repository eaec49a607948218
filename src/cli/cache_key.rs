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
use crate::key::Component;
use crate::ownership;
use crate::pip;
use crate::process::Stream;
use crate::target::{Job, Shared, Surroundings};
use crate::targets::wheelhouse::Wheelhouse;

/// Components of a fingerprint that do not change the wheels.
const IRRELEVANT: [&str; 1] = ["output"];

/// Hexadecimal digits of the line.
const DIGITS: usize = 32;

pub(super) fn run(common: &Common, given: &Given) -> Result<u8, Failure> {
    let session = Session::open(common, Words::new(&given.words))?;
    let goals = match session.words.goals.is_empty() {
        true => session.graph.ids().collect(),
        false => session.goal_ids()?,
    };
    let is_house =
        |id: &TargetId| session.model.targets[id.index()].kind.get::<Wheelhouse>().is_some();
    let houses: Vec<TargetId> =
        session.graph.closure(&goals).into_iter().filter(is_house).collect();
    if houses.is_empty() {
        return Err(anyhow!("no wheelhouse is needed; a cache would have nothing to keep").into());
    }
    // Requirements may be the output of a target.
    let needs: Vec<TargetId> =
        houses.iter().flat_map(|id| session.graph.needs(*id)).copied().collect();
    if !needs.is_empty() && build::for_command(common, &[], &session, needs)?.failed > 0 {
        return Ok(FAILURE);
    }
    let mut digests: Vec<String> =
        houses.iter().map(|id| digest(&session, *id)).collect::<anyhow::Result<_>>()?;
    digests.sort();
    digests.dedup();
    let mut hasher = FieldHasher::new();
    hasher.field(pip::RECIPE);
    for digest in digests {
        hasher.field(digest);
    }
    let key = format!("{:.DIGITS$}", hasher.finish());
    if common.json {
        let name = |id: &TargetId| session.model.targets[id.index()].name.value.clone();
        let names: Vec<String> = houses.iter().map(name).collect();
        print_json(&json!({ "key": key, "wheelhouses": names }))?;
    } else {
        print(key)?;
    }
    Ok(SUCCESS)
}

/// Returns the digest of the components on which the wheels of a target depend.
fn digest(session: &Session, id: TargetId) -> anyhow::Result<String> {
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
    let key = target.kind.fingerprint(&job)?.key;
    let mut hasher = FieldHasher::new();
    for Component { name, value } in key.components() {
        if !IRRELEVANT.contains(&name) {
            hasher.field(name).field(format!("{value:?}"));
        }
    }
    Ok(hasher.finish().to_string())
}

/// Drops all messages: a fingerprint has none that a user needs.
struct Silent;

impl Reporter for Silent {
    fn line(&self, _stream: Stream, _text: Printable) {}
    fn warn(&self, _text: &str) {}
    fn status(&self, _text: &str) {}
}
