//! `--local`, `--payload` and the other options for goals that are invoke targets. They change the
//! Buildfile's settings of these targets before planning: a local run needs the bundle of its
//! upload, and not the upload.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::de::IgnoredAny;

use super::args::Invoking;
use super::session::Session;
use crate::base::{RelPath, fs as base_fs};
use crate::diagnostic::Spanned;
use crate::graph::{Graph, TargetId};
use crate::project::Project;
use crate::target::Model;
use crate::targets::group::Group;
use crate::targets::invoke::{Invoke, Payload, Runner};
use crate::targets::layer::Layer;
use crate::targets::upload::{self, Upload};

pub(super) fn apply(given: &Invoking, session: &mut Session) -> Result<()> {
    let Invoking { local, payload, repeat, qualifier, env } = given;
    let first = [
        (*local, "--local"),
        (!payload.is_empty(), "--payload"),
        (repeat.is_some(), "--repeat"),
        (qualifier.is_some(), "--qualifier"),
        (!env.is_empty(), "--env"),
    ];
    let Some((_, option)) = first.into_iter().find(|(given, _)| *given) else { return Ok(()) };
    let goals: Vec<usize> = session.goal_ids()?.into_iter().map(TargetId::index).collect();
    let invokes = invokes(&goals, &session.model);
    if invokes.is_empty() {
        bail!("{option} is for invoke targets, and no goal is one");
    }
    refuse_second_stdin(payload)?;
    if let Some(name) = qualifier.as_ref().filter(|name| !upload::is_qualifier(name)) {
        bail!("--qualifier: `{name}` is neither a version nor the name of an alias");
    }
    let change = Change {
        given,
        payloads: payload
            .iter()
            .map(|text| read_payload(text, &session.project))
            .collect::<Result<_>>()?,
        env: env.iter().map(|text| variable(text, &session.project)).collect::<Result<_>>()?,
    };
    for payload in &change.payloads {
        if let Payload::Inline(text) = payload {
            session.model.typed.add("--payload", text);
        }
    }
    for (name, value) in &change.env {
        session.model.typed.add(name, value);
    }
    for index in invokes {
        let target = &session.model.targets[index];
        if let Some(invoke) = target.kind.get::<Invoke>() {
            let mut invoke = invoke.clone();
            change.make(&target.name.value, &mut invoke, &session.model)?;
            session.model.targets[index].kind = Arc::new(invoke);
        }
    }
    session.graph = Graph::new(&session.model).0;
    Ok(())
}

/// Replaces the payload `-` by the text of standard input, for several builds.
pub(super) fn read_stdin(given: &mut Invoking) -> Result<()> {
    refuse_second_stdin(&given.payload)?;
    for text in given.payload.iter_mut().filter(|text| *text == "-") {
        *text = stdin()?;
    }
    Ok(())
}

fn refuse_second_stdin(payloads: &[String]) -> Result<()> {
    if payloads.iter().filter(|text| *text == "-").count() > 1 {
        bail!("--payload -: standard input is one payload, so `-` can be given only once");
    }
    Ok(())
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("could not read standard input")?;
    refuse_other_than_json(&text, "standard input")?;
    Ok(text)
}

fn refuse_other_than_json(text: &str, place: &str) -> Result<()> {
    serde_json::from_str::<IgnoredAny>(text)
        .map(drop)
        .with_context(|| format!("{place} is not JSON, which a function requires"))
}

/// Returns the invoke targets among the goals, and in goals that are groups.
fn invokes(goals: &[usize], model: &Model) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let (mut waiting, mut seen) = (goals.to_vec(), BTreeSet::new());
    while let Some(index) = waiting.pop() {
        let kind = &model.targets[index].kind;
        if kind.get::<Invoke>().is_some() {
            found.insert(index);
        } else if let Some(group) = kind.get::<Group>()
            && seen.insert(index)
        {
            let named = |name: &Spanned<String>| {
                model.targets.iter().position(|target| target.name.value == name.value)
            };
            waiting.extend(group.targets.iter().filter_map(named));
        }
    }
    found
}

/// The options, parsed once for all targets.
struct Change<'a> {
    given: &'a Invoking,
    payloads: Vec<Payload>,
    env: Vec<(String, String)>,
}

impl Change<'_> {
    fn make(&self, name: &str, invoke: &mut Invoke, model: &Model) -> Result<()> {
        let Self { given, payloads, env } = self;
        if given.local
            && let Runner::Aws { upload } = &invoke.runner
        {
            if invoke.local.handler.is_none() {
                bail!(
                    "--local needs a handler: add `handler = \"module.function\"` to \
                     invoke `{name}`"
                );
            }
            let upload = model.target(&upload.value).and_then(|found| found.kind.get::<Upload>());
            let upload = upload.expect("BUG: the graph has checked that it is an upload");
            let of_layer = |name: &Spanned<String>| {
                Some(model.target(&name.value)?.kind.get::<Layer>()?.zip.clone())
            };
            let layers = upload.layers.iter().filter_map(of_layer).collect();
            invoke.runner = Runner::Here { zip: upload.zip.clone(), layers };
        }
        let is_here = matches!(invoke.runner, Runner::Here { .. });
        if !is_here && !env.is_empty() {
            bail!("--env is for local runs, and invoke `{name}` runs on AWS: add --local");
        }
        if is_here && given.qualifier.is_some() {
            bail!("--qualifier is for functions on AWS, and invoke `{name}` is local");
        }
        invoke.local.env.extend(env.iter().cloned());
        if given.qualifier.is_some() {
            invoke.remote.qualifier.clone_from(&given.qualifier);
        }
        if !payloads.is_empty() {
            invoke.payloads.clone_from(payloads);
        }
        if let Some(repeat) = given.repeat {
            invoke.repeat = usize::try_from(repeat).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// Reads a payload of the command line. A file of the project may be one that a target makes.
fn read_payload(text: &str, project: &Project) -> Result<Payload> {
    if text == "-" {
        return stdin().map(Payload::Inline);
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => return Ok(Payload::Inline(text.to_owned())),
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => {
            return Err(error).context("what --payload says is not JSON");
        }
        Err(_) => {}
    }
    if let Ok(path) = RelPath::parse(text) {
        return Ok(Payload::File(Spanned { value: path, span: 0..0 }));
    }
    let read = base_fs::read_to_string(&project.root.join(text))?;
    refuse_other_than_json(&read, &format!("`{text}`"))?;
    Ok(Payload::Inline(read))
}

fn variable(text: &str, project: &Project) -> Result<(String, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value),
        None => match project.vars().get(text) {
            Some(value) => (text, value.as_str()),
            None => bail!("--env {text}: the environment has no such variable"),
        },
    };
    if name.is_empty() {
        bail!("--env: a variable has a name before its `=`");
    }
    Ok((name.to_owned(), value.to_owned()))
}
