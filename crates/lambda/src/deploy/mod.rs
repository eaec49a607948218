//! Deploys a bundle to Lambda functions and waits until it is live. Used by `upload` and `promote`.
//! The steps: layers, code, a version of it, an alias that points to the version. Each step checks
//! the current state first and repeats nothing, so another run continues after a failure.
//!
//! Knows the order of the steps, and the live code if one of them fails; the requests are in
//! [`crate::aws`]. Knows nothing of targets.

mod alias;
mod check;
mod commit;
mod layers;
mod live;
mod artifact;
mod update;
mod version;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, bail};

use crate::aws::{Alias, Code, Function, Lambda, Storage};
use zipwright_store::words;

pub use artifact::Artifact;
pub use check::{Layer, check};
pub use commit::commit_of;
pub use layers::publish_layer;
pub use live::{Live, live, live_layer};

/// Largest number of functions that are updated at once. Each holds a copy of the bundle while it
/// is sent, and Lambda accepts 15 such requests a second.
const MOST_AT_ONCE: usize = 4;

/// The wanted state of one function, and the callbacks of the steps.
pub struct Deployment<'a> {
    /// Name or ARN.
    pub function: &'a str,
    /// CodeSha256 of the bytes that are sent.
    pub code_sha256: &'a str,
    /// Size of the bundle in bytes.
    pub size: u64,
    /// ARNs of the layer versions to attach, in addition to layers of others.
    pub layers: &'a [String],
    /// What to publish; `None` only updates `$LATEST`.
    pub publish: Option<Publish>,
    /// How Lambda is to store the code.
    pub storage: Storage<'a>,
    /// The commit that the bundle was built from, for the description of a published version.
    pub commit: Option<&'a str>,
    /// The alias to point to the published version; created if it does not exist.
    pub alias: Option<&'a str>,
    /// Fails if the bundle would not run in this function. Called before anything is sent.
    pub check: &'a (dyn Fn(&Function) -> Result<()> + Sync),
    /// Returns the code in the form in which it is sent. Called only if it must be sent.
    pub code: &'a (dyn Fn() -> Result<Code<'a>> + Sync),
    /// Receives the current step.
    pub status: &'a (dyn Fn(&str) + Sync),
    /// Receives notes for the user that stay on the screen.
    pub note: &'a (dyn Fn(&str) + Sync),
}

/// The form in which the code is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// A version with a number, which never changes.
    Version,
    /// `$LATEST.PUBLISHED` of a function on Managed Instances.
    Latest,
}

/// The result of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Whether the code had to be sent.
    pub sent: bool,
    /// Whether layers had to be attached.
    pub attached: bool,
    /// The published version, if one was requested.
    pub version: Option<String>,
    /// Whether the function is durable, so that it must be called with a qualifier.
    pub durable: bool,
}

/// Runs the remaining steps of several deployments in parallel. Returns the results in the order of
/// the deployments; if some failed, fails with every error under the name of its function.
pub fn deploy_all(lambda: &Lambda, deployments: &[Deployment]) -> Result<Vec<Deployed>> {
    let names: Vec<&str> = deployments.iter().map(|deployment| deployment.function).collect();
    refuse_one_twice(lambda, &names)?;
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
    let results = done.into_iter().map(|slot| result(slot).expect("BUG: each was taken up"));
    all_of(deployments, results.collect())
}

/// Fails if two of the names are of one function. Reads only functions whose names are equal
/// without region and account.
fn refuse_one_twice(lambda: &Lambda, names: &[&str]) -> Result<()> {
    let plain = |name: &str| name.rsplit(':').next().unwrap_or_default().to_owned();
    let mut found: Vec<(String, &str)> = Vec::new();
    for name in names {
        if names.iter().filter(|other| plain(other) == plain(name)).count() < 2 {
            continue;
        }
        let function = lambda.function(name).map_err(|error| update::with_way_out(error, name))?;
        let Some(arn) = function.arn else { continue };
        if let Some((_, other)) = found.iter().find(|(known, _)| *known == arn) {
            bail!(
                "`{other}` and `{name}` are the same function, `{arn}`: leave one of them out; \
                 nothing was sent"
            );
        }
        found.push((arn, name));
    }
    Ok(())
}

fn all_of(deployments: &[Deployment], results: Vec<Result<Deployed>>) -> Result<Vec<Deployed>> {
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

/// Runs the remaining steps of one deployment.
pub fn deploy(lambda: &Lambda, deployment: &Deployment) -> Result<Deployed> {
    let Deployment { function: name, publish, alias, status, .. } = *deployment;
    status(&format!("checking function `{name}`"));
    // Read the alias first, so that any later change of it is noticed.
    let before = alias.map(|alias| alias::read(lambda, name, alias)).transpose()?.flatten();
    let leads = alias.map(|alias| alias::leads(alias, before.as_ref()));

    let unpublished = publish.map(|_| "no version was published");
    // Attach layers before the code: the live code still runs with the new layers, and the new code
    // may need them.
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
        let version = version::publish(lambda, deployment, updated.function).map_err(|error| {
            undone(&error, Some("no version with this code was published"), &leads)
        })?;
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

/// Returns the function, after checking that it and its alias can be updated. Needs no bundle.
pub fn look(lambda: &Lambda, name: &str, alias: Option<&str>) -> Result<Function> {
    let function = lambda.function(name).map_err(|error| update::with_way_out(error, name))?;
    refuse(&function, lambda)?;
    if let Some(alias) = alias {
        let _: Option<Alias> = alias::read(lambda, name, alias)?;
    }
    lambda.may_update(&function)?;
    Ok(function)
}

/// Returns an error with the code that is live now, and the steps that were not done.
fn undone(error: &anyhow::Error, live: Option<&str>, leads: &Option<String>) -> anyhow::Error {
    let parts = [Some(format!("{error:#}")), live.map(str::to_owned), leads.clone()];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.len() {
        1 => anyhow!("{}", parts[0]),
        _ => anyhow!("{}; another run continues from there", parts.join("; ")),
    }
}

/// Fails if a function does not accept a zip, or will soon be unusable.
fn refuse(function: &Function, lambda: &Lambda) -> Result<()> {
    let (name, place) = (&function.name, lambda.place());
    if function.is_image {
        bail!("function `{name}` {place} is made of a container image and does not accept a zip");
    }
    if function.is_being_deleted {
        bail!("function `{name}` {place} is being deleted");
    }
    Ok(())
}
