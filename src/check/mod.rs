//! Whether a bundle will run in Lambda, found out from its bytes: native code against the machine
//! and the C library, extension modules and bytecode against the Python, the handler against the
//! source, sizes, modes, secrets. Everything is said at once; nothing is run.
//!
//! Knows zips and runtimes. Knows nothing of targets, of AWS, or of who asks. What the rules are
//! called, and what each looks at, is in `docs/CHECK.md`.

mod archive;
mod bytecode;
mod findings;
mod handler;
mod layer;
mod libraries;
mod links;
mod missing;
mod modules;
mod native;
mod python;
mod reach;
mod requires;
mod runtime;
mod secrets;
mod sources;
mod stdlib;
#[cfg(test)]
mod tests;
mod tree;
mod wheels;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::Result;

use archive::Archive;
use findings::Findings;
use layer::Layer;

pub use findings::{Finding, RULES, Severity, conclude, is_rule};
pub use runtime::{Arch, Python};

/// Stands for all rules in keys: another number when a rule finds something else than before.
pub const FORM: &str = "rules=2";

/// Where a bundle is to run, as far as it is known. Rules that need what is not known are silent.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub python: Option<Python>,
    pub arch: Option<Arch>,
    /// `module.function`, as Lambda has it.
    pub handler: Option<String>,
    /// Whether modules and libraries may come from layers that are not at hand as well.
    pub has_layers: bool,
    /// Rules that say nothing.
    pub silence: Vec<String>,
    /// Which wheel brought a path, where that is known better than by the bundle's RECORD files.
    pub origins: BTreeMap<String, String>,
}

/// Checks the bundle that `zip` reads; errors first, then in the order of the rules and paths.
/// `layers` are what the function has besides: they are looked into, and not found fault with.
/// Not more than one member is in memory at a time.
pub fn check<R: Read + Seek>(zip: R, layers: Vec<R>, subject: &Subject) -> Result<Vec<Finding>> {
    let archive = Archive::open(zip)?;
    let view = archive.view();
    let Archive { members, linked, mut contents, faults } = archive;
    let mut layers = layers.into_iter().map(Layer::open).collect::<Result<Vec<_>>>()?;
    let mut findings = Findings::default();
    let mut wheels = wheels::read(&members, &mut contents)?;
    wheels.origins.extend(subject.origins.clone());
    let origins = &wheels.origins;

    runtime::check(subject, &mut findings);
    tree::check(&members, &contents, origins, &layers, &mut findings);
    tree::names(&faults, &mut findings);
    wheels::check(&wheels, subject, &mut findings);
    requires::check(&members, &mut contents, &mut layers, origins, subject, &mut findings)?;
    let mut objects = native::Objects::default();
    for layer in &mut layers {
        for member in layer.members.iter().filter(|member| member.is_file()) {
            objects.lend(member, &mut layer.contents)?;
        }
    }
    for link in linked.iter().filter(|member| member.is_file()) {
        objects.link(link, &mut contents)?;
    }
    for member in members.iter().filter(|member| member.is_file()) {
        let origin = origins.get(&member.name);
        objects.look_at(member, origin, &mut contents)?;
        bytecode::check(member, origin, &members, &mut contents, subject, &mut findings)?;
        if origin.is_none() {
            secrets::check(member, &mut contents, &mut findings)?;
        }
    }
    objects.check(subject, &mut findings);
    sources::check(&view, &mut contents, &mut layers, &wheels, subject, &mut findings)?;
    Ok(findings.finish(&subject.silence))
}
