//! Files in a tree's folder that are not in the tree: files that the target left there are removed,
//! and other files are an error.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::Folder;
use crate::base::RelPath;
use crate::base::fs::{is_temp_name, remove};
use crate::bundle::Entry;
use crate::files::{Content, Fact, Place};
use crate::ownership::{self, Owned};

/// The entries of a tree, its folders, and the entries that are not in their place yet.
type Tree<'a> = (&'a [Entry], &'a BTreeSet<&'a str>, &'a [&'a Entry]);

/// Paths below a folder that are removed before the tree is written.
#[derive(Default)]
pub(super) struct Surplus {
    /// Files, links and temporary folders.
    files: Vec<String>,
    /// Folders that the tree does not have. Only empty ones are removed.
    folders: Vec<String>,
    /// Files that are not the target's.
    foreign: Vec<String>,
}

/// Returns the paths to remove. Fails if one of them is not the target's, or if the place of an
/// entry has a file with other content that is not the target's, unless forced.
pub(super) fn find(folder: Folder, tree: Tree, owned: &Owned) -> Result<Surplus> {
    let mut surplus = below(folder, None, (tree, owned))?;
    if owned.force {
        surplus.files.append(&mut surplus.foreign);
        return Ok(surplus);
    }
    let foreign = tree.2.par_iter().with_min_len(256);
    let foreign = foreign.filter_map(|entry| in_place_of(entry, folder, owned).transpose());
    surplus.foreign.extend(foreign.collect::<Result<Vec<String>>>()?);
    if surplus.foreign.is_empty() {
        return Ok(surplus);
    }
    surplus.foreign.sort();
    surplus.foreign.dedup();
    let foreign = surplus.foreign.iter().map(|path| format!("{}/{path}", folder.root.path()));
    Err(ownership::in_the_way(&foreign.collect::<Vec<_>>()))
}

/// Returns the path of an entry if a file with other content that is not the target's is in its
/// place.
fn in_place_of(entry: &Entry, folder: Folder, owned: &Owned) -> Result<Option<String>> {
    let path = folder.root.path().join(&entry.path);
    let may_go = match folder.files.fact(&path)? {
        Fact { link: None, content: Content::File { digest, .. } } => {
            digest == entry.digest || owned.is_ours(&path, &digest)
        }
        // Files in a folder are checked one by one.
        Fact { link: None, content: Content::Missing | Content::Folder } => true,
        _ => false,
    };
    Ok((!may_go).then(|| entry.path.to_string()))
}

impl Surplus {
    fn add(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.folders.append(&mut other.folders);
        self.foreign.append(&mut other.foreign);
    }

    /// Removes the files, and then the empty folders. Returns whether there was anything to remove.
    pub(super) fn remove(mut self, folder: Folder) -> Result<bool> {
        let place = |path: &str| RelPath::parse(path).ok().map(|path| folder.root.member(&path));
        for path in &self.files {
            remove(&folder.root.join(path))?;
            // Cached observations of files below it may have been made through a link.
            place(path).inspect(Place::look_anew_below);
        }
        // Contained folders first.
        self.folders.sort_unstable_by(|a, b| b.cmp(a));
        for path in &self.folders {
            if fs::remove_dir(folder.root.join(path)).is_ok() {
                place(path).inspect(Place::look_anew_below);
            }
        }
        Ok(!(self.files.is_empty() && self.folders.is_empty()))
    }
}

/// Returns the surplus of a folder and its subfolders, in parallel. `path` is its place in the
/// output folder; `None` for the output folder itself.
fn below(folder: Folder, path: Option<&str>, of: (Tree, &Owned)) -> Result<Surplus> {
    let (tree, owned) = of;
    let inside = match path {
        Some(below) => {
            folder.root.path().join(&RelPath::parse(below).expect("BUG: it is part of a path"))
        }
        None => folder.root.path().clone(),
    };
    if let Some(inner) = clear_already(&inside, folder, tree) {
        return join(&inner, folder, of);
    }
    let place = path.map_or(folder.root.to_path_buf(), |below| folder.root.join(below));
    let failed = || format!("could not list `{}`", place.display());
    let (mut surplus, mut inner) = (Surplus::default(), Vec::new());
    for found in fs::read_dir(&place).with_context(failed)? {
        let found = found.with_context(failed)?;
        let kind = found.file_type().with_context(failed)?;
        let name = found.file_name();
        let shown = match path {
            Some(below) => format!("{below}/{}", name.display()),
            None => name.display().to_string(),
        };
        let member = name.to_str().and_then(|name| inside.member(name));
        match member {
            _ if is_temp_name(&name) => surplus.files.push(shown),
            Some(_) if kind.is_dir() => {
                if !tree.1.contains(shown.as_str()) {
                    surplus.folders.push(shown.clone());
                }
                inner.push(shown);
            }
            Some(_) if kind.is_file() && all_in(tree.0, [shown.as_str()]) => {}
            Some(member) if kind.is_file() && is_ours(&member, folder, owned)? => {
                surplus.files.push(shown);
            }
            _ => surplus.foreign.push(shown),
        }
    }
    surplus.add(join(&inner, folder, of)?);
    Ok(surplus)
}

fn join(inner: &[String], folder: Folder, of: (Tree, &Owned)) -> Result<Surplus> {
    let found = inner.par_iter().map(|path| below(folder, Some(path), of));
    let mut surplus = Surplus::default();
    for found in found.collect::<Vec<Result<Surplus>>>() {
        surplus.add(found?);
    }
    Ok(surplus)
}

fn is_ours(path: &RelPath, folder: Folder, owned: &Owned) -> Result<bool> {
    let content = folder.files.fact(path)?.content;
    Ok(matches!(content, Content::File { digest, .. } if owned.is_ours(path, &digest)))
}

/// Returns whether the tree has all of `paths`, which are sorted.
fn all_in<'a>(entries: &[Entry], paths: impl IntoIterator<Item = &'a str>) -> bool {
    let mut rest = entries;
    paths.into_iter().all(|path| {
        // In most cases it is the next entry.
        if rest.first().is_none_or(|entry| entry.path.as_str() != path) {
            rest = &rest[rest.partition_point(|entry| entry.path.as_str() < path)..];
        }
        rest.split_off_first().is_some_and(|entry| entry.path.as_str() == path)
    })
}

/// Returns the subfolders of the folder at `path` if it is certain to hold nothing that is not in
/// the tree. A link in the place of a file is found by its content.
fn clear_already(
    path: &RelPath,
    folder: Folder,
    (entries, folders, _): Tree,
) -> Option<Vec<String>> {
    let below =
        |path: &RelPath| path.below(folder.root.path()).map(|below| below.as_str().to_owned());
    let members = folder.files.known_members(path)?;
    let start = folder.root.path().as_str().len() + 1;
    let files = members.files.iter().map(|path| &path.as_str()[start..]);
    if members.half_made > 0 || !members.unnamed.is_empty() || !all_in(entries, files) {
        return None;
    }
    let inner: Vec<String> = members.folders.iter().map(below).collect::<Option<_>>()?;
    inner.iter().all(|path| folders.contains(path.as_str())).then_some(inner)
}
