//! Gives functions the code of a bundle, step by step, and is done only when they run it: the one
//! way for everybody who uploads. The steps: its layers, the code, a version of it, an alias that
//! leads there.
//! Each looks first and does nothing twice, so running again goes on where a failure stopped.
//!
//! Knows the order of the steps, and what is live when one of them fails; the requests are
//! [`crate::aws`]'s. Knows nothing of targets.

mod alias;
mod check;
mod layers;
mod live;
mod sending;
mod update;
mod version;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::aws::{Alias, Code, Function, Lambda, Storage};
use crate::base::words;

pub use check::{Layer, check};
pub use layers::publish_layer;
pub use live::{Live, live, live_layer};
pub use sending::Sending;

/// How many functions are brought up to date at once. Each holds a copy of the bundle while it is
/// sent, and Lambda takes 15 such requests a second.
const MOST_AT_ONCE: usize = 4;

/// What one function is to run, and what is asked of others on the way.
pub struct Deployment<'a> {
    /// Name or ARN.
    pub function: &'a str,
    /// Of the bytes that are sent.
    pub code_sha256: &'a str,
    /// Of the bundle.
    pub size: u64,
    /// The versions of layers that it is to have, by ARN, besides those of others.
    pub layers: &'a [String],
    /// What becomes of the code besides; `None` leaves it as `$LATEST`.
    pub publish: Option<Publish>,
    /// How Lambda is to store the code.
    pub storage: Storage<'a>,
    /// Leads to the version that is published; made where there is none.
    pub alias: Option<&'a str>,
    /// Whether the bundle will run in this function. Asked before anything is sent.
    pub check: &'a (dyn Fn(&Function) -> Result<()> + Sync),
    /// The code in the form in which it is sent. Asked only when it must be sent.
    pub code: &'a (dyn Fn() -> Result<Code<'a>> + Sync),
    /// Takes what is being done right now.
    pub status: &'a (dyn Fn(&str) + Sync),
    /// Takes what somebody may want to know afterwards.
    pub note: &'a (dyn Fn(&str) + Sync),
}

/// What is published of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// A version with a number, which never changes.
    Version,
    /// `$LATEST.PUBLISHED` of a function on Managed Instances.
    Latest,
}

/// What it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Whether the code had to be sent.
    pub sent: bool,
    /// Whether layers had to be attached.
    pub attached: bool,
    /// The version that has the code, when there was to be one.
    pub version: Option<String>,
    /// The function is durable, and must be called with a qualifier.
    pub durable: bool,
}

/// Takes all the steps that are not done yet, for several functions at once. The results are in
/// the order of the deployments.
pub fn deploy_all(lambda: &Lambda, deployments: &[Deployment]) -> Vec<Result<Deployed>> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<Deployed>>>> =
        deployments.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..deployments.len().min(MOST_AT_ONCE) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && let Some(deployment) = deployments.get(at)
                {
                    *done[at].lock().expect(LOCK) = Some(deploy(lambda, deployment));
                }
            });
        }
    });
    let result = |slot: Mutex<Option<_>>| slot.into_inner().expect(LOCK);
    done.into_iter().map(|slot| result(slot).expect("BUG: each was taken up")).collect()
}

/// The results of all, or every error by the name of its function.
pub fn all_of(deployments: &[Deployment], results: Vec<Result<Deployed>>) -> Result<Vec<Deployed>> {
    if results.len() == 1 || results.iter().all(Result::is_ok) {
        return results.into_iter().collect();
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (Deployment { function, .. }, result) in deployments.iter().zip(results) {
        match result {
            Ok(_) => done.push(*function),
            Err(error) => failed.push(format!("`{function}`: {error:#}")),
        }
    }
    let count = words::count(deployments.len(), "function");
    let done = match done.is_empty() {
        true => String::new(),
        false => format!("\ndone, and not done again: {}", words::list(&done)),
    };
    bail!("{} of {count} failed:\n{}{done}", failed.len(), failed.join("\n"))
}

const LOCK: &str = "BUG: a deployment that panics ends the command";

/// Takes all the steps that are not done yet.
pub fn deploy(lambda: &Lambda, deployment: &Deployment) -> Result<Deployed> {
    let Deployment { function: name, publish, alias, status, .. } = *deployment;
    status(&format!("looking at function `{name}`"));
    // Read before everything else: who moves it in the meantime is noticed.
    let before = alias.map(|alias| alias::read(lambda, name, alias)).transpose()?.flatten();
    let leads = alias.map(|alias| alias::leads(alias, before.as_ref()));

    let unpublished = publish.map(|_| "no version was published");
    // What is live still finds all it needs with the new layers; the new code may need them.
    let attached =
        layers::attach(lambda, deployment).map_err(|error| undone(&error, unpublished, &leads))?;
    let updated = update::bring_up_to_date(lambda, deployment)
        .map_err(|error| undone(&error, unpublished, &leads))?;
    if !updated.sent {
        status(&format!("function `{name}` has this code already: nothing sent"));
    }
    let durable = updated.function.is_durable;
    let mut deployed = Deployed { sent: updated.sent, attached, version: None, durable };
    if publish.is_some() {
        let version = version::publish(lambda, deployment, updated.function)
            .map_err(|error| undone(&error, Some("no version with this code was made"), &leads))?;
        if let Some(alias) = alias {
            alias::lead(lambda, deployment, (alias, before.as_ref()), &version).map_err(
                |error| {
                    let live = format!("function `{name}` has the code as version {version}");
                    undone(&error, Some(&live), &leads)
                },
            )?;
        }
        deployed.version = Some(version);
    }
    Ok(deployed)
}

/// The function, and the alias if one is named: what can be known before there is a bundle.
pub fn look(lambda: &Lambda, name: &str, alias: Option<&str>) -> Result<Function> {
    let function = lambda.function(name).map_err(|error| update::with_way_out(error, name))?;
    refuse(&function, lambda)?;
    if let Some(alias) = alias {
        let _: Option<Alias> = alias::read(lambda, name, alias)?;
    }
    lambda.may_update(&function)?;
    Ok(function)
}

/// An error with what is live now, and what was left undone.
fn undone(error: &anyhow::Error, live: Option<&str>, leads: &Option<String>) -> anyhow::Error {
    let parts = [Some(format!("{error:#}")), live.map(str::to_owned), leads.clone()];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.len() {
        1 => anyhow!("{}", parts[0]),
        _ => anyhow!("{}; running again goes on from there", parts.join("; ")),
    }
}

/// A function that takes no zip, or soon nothing at all.
fn refuse(function: &Function, lambda: &Lambda) -> Result<()> {
    let (name, place) = (&function.name, lambda.place());
    if function.is_image {
        bail!("function `{name}` {place} is made of a container image and takes no zip");
    }
    if function.is_being_deleted {
        bail!("function `{name}` {place} is being deleted");
    }
    Ok(())
}
