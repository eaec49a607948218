//! A layer that the function has: what an import, a linker and Lambda's limit see of it. Knows
//! nothing of versions, and finds no fault with it.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::Result;

use super::archive::{Archive, Contents, Member};
use super::runtime::Python;
use super::wheels;

/// Where in a layer Python looks for modules; Lambda unpacks layers in `/opt`.
const MODULES: &str = "python/";

pub(super) struct Layer<R> {
    pub(super) members: Vec<Member>,
    pub(super) contents: Contents<R>,
    /// Which wheel brought a path.
    pub(super) origins: BTreeMap<String, String>,
}

impl<R: Read + Seek> Layer<R> {
    pub(super) fn open(zip: R) -> Result<Self> {
        let archive = Archive::open(zip)?;
        let members = archive.view();
        let mut contents = archive.contents;
        let origins = wheels::read(&members, &mut contents)?.origins;
        Ok(Self { members, contents, origins })
    }
}

/// The folders of a layer that are in the search path of a Python, each with its `/`.
pub(super) fn search_path(python: Option<Python>) -> Vec<String> {
    let versioned = python.map(|python| format!("{MODULES}lib/{python}/site-packages/"));
    versioned.into_iter().chain([MODULES.to_owned()]).collect()
}

/// A path in a layer, as it is called where modules are.
pub(super) fn below_modules(name: &str) -> &str {
    name.strip_prefix(MODULES).unwrap_or(name)
}
