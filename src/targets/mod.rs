//! The kinds of targets, each in a module of its own with all of it: keys, edges, outputs, fingerprint,
//! run. A new kind is a module here, and a line in [`KINDS`].

mod artifact;
pub mod check;
mod checkout;
pub mod clamp;
pub mod command;
pub mod group;
pub mod invoke;
pub mod layer;
mod shared;
pub mod staging;
pub mod upload;
pub mod wheelhouse;
pub mod zip;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buildfile::{self, KindKeys, Loaded};
use crate::target::Kind;

/// All kinds, in the order in which messages list them.
pub static KINDS: [KindKeys; 10] = [
    KindKeys {
        name: "wheelhouse",
        read: |stem, table, reader| boxed(wheelhouse::read(stem, table, reader)),
    },
    KindKeys {
        name: "staging",
        read: |stem, table, reader| boxed(Some(staging::read(stem, table, reader))),
    },
    KindKeys { name: "clamp", read: |_, table, reader| boxed(clamp::read(table, reader)) },
    KindKeys { name: "zip", read: |stem, table, reader| boxed(zip::read(stem, table, reader)) },
    KindKeys { name: "check", read: |_, table, reader| boxed(check::read(table, reader)) },
    KindKeys { name: "layer", read: |_, table, reader| boxed(layer::read(table, reader)) },
    KindKeys { name: "upload", read: |_, table, reader| boxed(upload::read(table, reader)) },
    KindKeys { name: "invoke", read: |_, table, reader| boxed(invoke::read(table, reader)) },
    KindKeys { name: "command", read: |_, table, reader| boxed(command::read(table, reader)) },
    KindKeys { name: "group", read: |_, table, reader| boxed(group::read(table, reader)) },
];

/// Reads a Buildfile with targets of these kinds; see [`buildfile::load`].
pub fn load(text: &str, overrides: &BTreeMap<String, String>) -> Loaded {
    buildfile::load(text, overrides, &KINDS)
}

/// Returns the name of the kind `name`, if there is one.
pub fn name_of_kind(name: &str) -> Option<&'static str> {
    KINDS.iter().map(|keys| keys.name).find(|kind| *kind == name)
}

fn boxed<K: Kind>(kind: Option<K>) -> Option<Arc<dyn Kind>> {
    kind.map(|kind| Arc::new(kind) as Arc<dyn Kind>)
}
