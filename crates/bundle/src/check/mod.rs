//! Checks from its bytes whether a bundle will run in Lambda: native code against the machine and
//! the C library, extension modules and bytecode against the Python, the handler against the
//! source, sizes, modes, secrets. Reports all findings at once, and runs no code of the bundle.
//!
//! Knows zips and runtimes. Knows nothing of targets, AWS or its callers. `docs/CHECK.md` lists the
//! rules and their inputs.

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

pub use findings::{Finding, Location, RULES, Severity, conclude, is_rule};
pub use python::{Handler, Imported, Outline, outline};
pub use runtime::Python;
pub use zipwright_python::Arch;

/// Version of all rules in keys. Increase it if a rule reports other findings than before.
pub const FORM: &str = "rules=2";

/// The environment of the function, as far as it is configured. Rules that need a missing value
/// report nothing.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    pub python: Option<Python>,
    pub arch: Option<Arch>,
    /// `module.function`, in Lambda's form.
    pub handler: Option<String>,
    /// Whether modules and libraries may also come from layers that cannot be read here.
    pub has_layers: bool,
    /// Rules that report nothing.
    pub silence: Vec<String>,
    /// The wheel of a path, where the caller has better information than the bundle's RECORD files.
    pub origins: BTreeMap<String, String>,
}

/// Checks the bundle that `zip` reads. Returns errors first, then in the order of the rules and
/// paths. `layers` are the function's layers: they are read, but not checked themselves. At most
/// one member is in memory at a time.
pub fn check<R: Read + Seek>(zip: R, layers: Vec<R>, subject: &Subject) -> Result<Vec<Finding>> {
    let archive = links::open(zip)?;
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
