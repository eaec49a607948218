//! A layer of the function, as far as imports, the linker and Lambda's limits see it. Knows nothing
//! of layer versions, and is not checked itself.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::Result;

use super::archive::{Contents, Member};
use super::links;
use super::runtime::Python;
use super::wheels;

/// Folder of a layer where Python looks for modules; Lambda unpacks layers in `/opt`.
const MODULES: &str = "python/";

pub(super) struct Layer<R> {
    pub(super) members: Vec<Member>,
    pub(super) contents: Contents<R>,
    /// The wheel of each path.
    pub(super) origins: BTreeMap<String, String>,
}

impl<R: Read + Seek> Layer<R> {
    pub(super) fn open(zip: R) -> Result<Self> {
        let archive = links::open(zip)?;
        let members = archive.view();
        let mut contents = archive.contents;
        let origins = wheels::read(&members, &mut contents)?.origins;
        Ok(Self { members, contents, origins })
    }
}

/// Returns the folders of a layer that are in the search path of a Python, each with its `/`.
pub(super) fn search_path(python: Option<Python>) -> Vec<String> {
    let versioned = python.map(|python| format!("{MODULES}lib/{python}/site-packages/"));
    versioned.into_iter().chain([MODULES.to_owned()]).collect()
}

/// Returns a path in a layer relative to its folder of modules.
pub(super) fn below_modules(name: &str) -> &str {
    name.strip_prefix(MODULES).unwrap_or(name)
}
