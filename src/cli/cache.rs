//! `zipwright cache`: the folder of the per-user cache, its size, and removal of entries. Needs no
//! Buildfile.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use zipwright_store::prune::{self, Amount, Amounts, Maintenance, Part};

use super::args::{Cache, CacheAction, Common};
use super::{Failure, SUCCESS, note, print, print_json};
use crate::base::words;
use crate::project::Project;

pub(super) fn run(common: &Common, cache: &Cache) -> Result<u8, Failure> {
    let project = Project::here()?;
    let root = project.cache_path();
    match &cache.action {
        CacheAction::Dir if common.json => print_json(&json!({ "path": root }))?,
        CacheAction::Dir => print(root.display().to_string())?,
        CacheAction::Size => size(common, root)?,
        CacheAction::Prune(options) => {
            removed(common, root, options.no_wait, Maintenance::prune)?;
        }
        CacheAction::Clean(options) => {
            removed(common, root, options.no_wait, Maintenance::clean)?;
        }
    }
    Ok(SUCCESS)
}

fn size(common: &Common, root: &Path) -> Result<()> {
    let parts = prune::sizes(root);
    if common.json {
        return print_parts(root, &parts);
    }
    let total = [("total", sum(&parts))];
    let rows = parts.iter().map(|(part, amount)| (part.name(), *amount)).chain(total);
    let row = |(name, Amount { entries, bytes }): (&str, Amount)| {
        format!("{name:20} {entries:>8} {:>12}", words::size(bytes))
    };
    print(rows.map(row).collect::<Vec<String>>().join("\n"))
}

/// Removes entries by `remove`, after all builds that use the cache, and prints their number.
fn removed(
    common: &Common,
    root: &Path,
    no_wait: bool,
    remove: fn(&Maintenance) -> Result<Amounts>,
) -> Result<()> {
    let waiting = || note(&format!("waiting for builds that use `{}`", root.display()));
    let parts = match Maintenance::begin(root, !no_wait, waiting)? {
        Some(maintenance) => remove(&maintenance)?,
        None => Vec::new(),
    };
    if common.json {
        return print_parts(root, &parts);
    }
    let Amount { entries, bytes } = sum(&parts);
    let noun = if entries == 1 { "entry" } else { "entries" };
    print(format!("removed {entries} {noun}, {}", words::size(bytes)))
}

fn sum(parts: &[(Part, Amount)]) -> Amount {
    parts.iter().map(|(_, amount)| *amount).sum()
}

fn print_parts(root: &Path, parts: &[(Part, Amount)]) -> Result<()> {
    let Amount { entries, bytes } = sum(parts);
    let part = |(part, amount): &(Part, Amount)| json!({ "name": part.name(), "entries": amount.entries, "bytes": amount.bytes });
    let parts: Vec<_> = parts.iter().map(part).collect();
    print_json(&json!({ "path": root, "entries": entries, "bytes": bytes, "parts": parts }))
}
