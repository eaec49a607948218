//! The files of the project that belong in a tree, and their paths there.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::rules::Rules;
use crate::base::RelPath;
use crate::files::{Fact, Selection};
use crate::project::Project;
use crate::target::Job;
use crate::targets::staging::{Destination, Source, Staging};

/// Folders of working copies that are never wanted in a bundle.
const CLUTTER_FOLDERS: [&str; 2] = ["__pycache__", ".git"];
const CLUTTER_FILES: [&str; 2] = [".pyc", ".DS_Store"];

pub(super) struct Pick {
    /// Path in the project.
    pub(super) from: RelPath,
    /// Path in the tree.
    pub(super) to: RelPath,
    /// Content and mode of the file at `from`.
    pub(super) fact: Fact,
}

pub(super) struct Picked {
    pub(super) picks: Vec<Pick>,
    /// Patterns without a match.
    pub(super) unmatched: Vec<String>,
}

/// Returns the files of the sources. A source that is a plain path is always included; the caller
/// checks whether it exists.
pub(super) fn pick(staging: &Staging, job: &Job, exclude: &Rules) -> Result<Picked> {
    let mut picked = Picked { picks: Vec::new(), unmatched: Vec::new() };
    let root = fs::canonicalize(&job.project.root)?;
    for source in &staging.sources {
        let glob = &source.from.value;
        refuse_outside(&glob.base, &root, job)?;
        let Selection { mut files, mut unnamed } = job.files.select(glob)?;
        if files.is_empty() && unnamed.is_empty() {
            picked.unmatched.push(glob.pattern().to_owned());
        }
        unnamed.retain(|file| !is_left_out(file, source, exclude));
        Selection { files: Vec::new(), unnamed }.named()?;
        files = side_by_side(files).filter(|file| !is_clutter(file, &glob.base)).collect();
        refuse_several(source, &files)?;
        let (to, from): (Vec<RelPath>, Vec<RelPath>) = side_by_side(files)
            .map(|from| (destination(source, &from), from))
            .filter(|(to, _)| !exclude.cover(to))
            .unzip();
        refuse_environment(source, &from, job.project)?;
        let facts = job.files.facts(&from)?;
        for (from, _) in from.iter().zip(&facts).filter(|(_, fact)| fact.link.is_some()) {
            refuse_outside(from, &root, job)?;
        }
        let picks = from.into_iter().zip(to).zip(facts);
        picked.picks.extend(picks.map(|((from, to), fact)| Pick { from, to, fact }));
    }
    Ok(picked)
}

/// Returns whether a file whose name does not fit a [`RelPath`] is clutter, or excluded by its path
/// in the tree.
fn is_left_out(file: &Path, source: &Source, exclude: &Rules) -> bool {
    let glob = &source.from.value;
    let below = match glob.base.is_root() {
        true => file,
        false => file.strip_prefix(glob.base.as_str()).unwrap_or(file),
    };
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    CLUTTER_FILES.iter().any(|end| name.ends_with(end.as_bytes()))
        || below.iter().any(|part| CLUTTER_FOLDERS.iter().any(|folder| part == *folder))
        || match source.to.as_ref().map(|to| &to.value) {
            None => exclude.cover_unnamed(file),
            Some(Destination::Exactly(to)) => exclude.cover(to),
            Some(Destination::Folder(folder)) if folder.is_root() => exclude.cover_unnamed(below),
            Some(Destination::Folder(folder)) => {
                exclude.cover_unnamed(&Path::new(folder.as_str()).join(below))
            }
        }
}

/// Fails if a path leads out of the project through links. Linked folders are not entered, so only
/// a path that is spelled out or is a link itself can.
fn refuse_outside(path: &RelPath, root: &Path, job: &Job) -> Result<()> {
    match fs::canonicalize(job.project.place(path)) {
        Ok(place) if !place.starts_with(root) => bail!(
            "source `{path}` leads out of the project through a link, to `{}`: copy its target \
             into the project, or leave it out with `exclude`",
            place.display()
        ),
        // A missing file is reported elsewhere.
        _ => Ok(()),
    }
}

/// Returns a parallel iterator with large batches: there may be many names, and each is quick.
fn side_by_side(files: Vec<RelPath>) -> impl IndexedParallelIterator<Item = RelPath> {
    files.into_par_iter().with_min_len(1024)
}

/// Returns whether a path is clutter. Only the part below `base` counts: a Buildfile may name
/// clutter explicitly.
fn is_clutter(file: &RelPath, base: &RelPath) -> bool {
    if file == base {
        return false;
    }
    let mut below = file.as_str();
    if !base.is_root() {
        let Some(rest) = below.strip_prefix(base.as_str()) else { return false };
        below = rest;
    }
    CLUTTER_FILES.iter().any(|end| below.ends_with(end))
        || below.split('/').any(|part| CLUTTER_FOLDERS.contains(&part))
}

fn destination(source: &Source, from: &RelPath) -> RelPath {
    match source.to.as_ref().map(|to| &to.value) {
        None => from.clone(),
        Some(Destination::Exactly(to)) => to.clone(),
        Some(Destination::Folder(folder)) => {
            let below = from.below(&source.from.value.base).filter(|below| !below.is_root());
            let name = || RelPath::parse(from.file_name()).expect("BUG: it is part of a path");
            folder.join(&below.unwrap_or_else(name))
        }
    }
}

/// Fails if a virtual environment, or one of conda, is among the files that are not excluded. A
/// `site-packages` that the source names itself is an ordinary folder.
fn refuse_environment(source: &Source, files: &[RelPath], project: &Project) -> Result<()> {
    let base = &source.from.value.base;
    let is_telling = |file: &&RelPath| {
        let mut parts = file.as_str().split('/');
        file.file_name() == "pyvenv.cfg" || parts.any(|part| part == "site-packages")
    };
    let mut seen = HashSet::new();
    let telling: Vec<&RelPath> = files.par_iter().with_min_len(1024).filter(is_telling).collect();
    for file in telling {
        let mut folder = file.parent();
        while folder.is_within(base) && seen.insert(folder.clone()) {
            let place = project.place(&folder);
            if place.join("pyvenv.cfg").is_file() || place.join("conda-meta").is_dir() {
                let way_out = match folder == *base {
                    true => "remove it from `sources`".to_string(),
                    false => format!("add `exclude = [\"{}\"]`", destination(source, &folder)),
                };
                bail!(
                    "source `{}` has the virtual environment `{folder}`: {way_out}; to add the \
                     packages installed in it, use `wheels`",
                    source.from.value.pattern()
                );
            }
            if folder.is_root() {
                break;
            }
            folder = folder.parent();
        }
    }
    Ok(())
}

/// Fails if several files match a source whose destination is a single path.
fn refuse_several(source: &Source, files: &[RelPath]) -> Result<()> {
    let Some(Destination::Exactly(to)) = source.to.as_ref().map(|to| &to.value) else {
        return Ok(());
    };
    let glob = &source.from.value;
    let is_folder = !glob.has_wildcard() && files != [glob.base.clone()];
    if is_folder || files.len() > 1 {
        bail!(
            "source `{}` matches {} files, and `to = \"{to}\"` for one: write \"{to}/\" to put \
             them below that folder",
            glob.pattern(),
            files.len()
        );
    }
    Ok(())
}
