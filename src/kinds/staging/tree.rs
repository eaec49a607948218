//! Writes a staging tree as a folder: only what differs is changed, and nothing else stays.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use foldhash::fast::FixedState;
use rayon::prelude::*;

use super::Origins;
use crate::base::fs::{EXECUTABLE_MODE, FILE_MODE, create_dir_all, persist, remove, temp_beside};
use crate::base::{Digest, RelPath};
use crate::bundle::{Entry, Manifest};
use crate::files::{Content, Files};
use crate::kinds::{Job, clamp};

const BUFFER: usize = 64 * 1024;

/// Files of a tree. There may be many: the hash is a fast one.
type Paths<'a> = HashSet<&'a str, FixedState>;

/// Brings the folder `output` to what the manifest says. With an instant, times later than it
/// are lowered to it; without, a file has the time at which it was written.
pub(super) fn write(
    manifest: &Manifest,
    origins: &Origins,
    job: &Job,
    output: &RelPath,
    instant: Option<i64>,
) -> Result<()> {
    let root = job.project.place(output);
    job.files.forget_folder(output);
    if fs::symlink_metadata(&root).is_ok_and(|meta| !meta.is_dir()) {
        remove(&root)?;
    }
    create_dir_all(&root)?;
    let entries = &manifest.entries;
    let folders = folders_of(entries);
    let files: Paths = entries.iter().map(|entry| entry.path.as_str()).collect();
    clear(&root, None, (&files, &folders))?;
    set_mode(&root, EXECUTABLE_MODE)?;
    for folder in &folders {
        let place = root.join(folder);
        create_dir_all(&place)?;
        set_mode(&place, EXECUTABLE_MODE)?;
    }
    let written: Vec<Result<()>> = entries
        .par_iter()
        .map(|entry| bring(entry, (job.files, &output.join(&entry.path)), origins, &root))
        .collect();
    job.files.forget_folder(output);
    written.into_iter().collect::<Result<()>>()?;
    if let Some(instant) = instant {
        clamp::lower(&root, instant)?;
    }
    Ok(())
}

/// All folders, each after the one that it lies in.
fn folders_of(entries: &[Entry]) -> BTreeSet<&str> {
    let ancestors = |entry: &'_ Entry| -> Vec<usize> {
        entry.path.as_str().match_indices('/').map(|(at, _)| at).collect()
    };
    entries
        .iter()
        .flat_map(|entry| ancestors(entry).into_iter().map(|at| &entry.path.as_str()[..at]))
        .collect()
}

/// Removes what the tree does not have, links included, from `folder` and those that it holds, side
/// by side. `below` is where in the tree the folder is, unless it is all of it.
fn clear(
    folder: &Path,
    below: Option<&str>,
    (files, folders): (&Paths, &BTreeSet<&str>),
) -> Result<()> {
    let failed = || format!("could not list `{}`", folder.display());
    let mut inner = Vec::new();
    for found in fs::read_dir(folder).with_context(failed)? {
        let found = found.with_context(failed)?;
        let kind = found.file_type().with_context(failed)?;
        let path = found.file_name().into_string().ok().map(|name| match below {
            Some(below) => format!("{below}/{name}"),
            None => name,
        });
        match path {
            Some(path) if kind.is_dir() && folders.contains(path.as_str()) => inner.push(path),
            Some(path) if kind.is_file() && files.contains(path.as_str()) => {}
            _ => drop(remove(&found.path())?),
        }
    }
    inner.par_iter().try_for_each(|path| {
        let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
        clear(&folder.join(name), Some(path), (files, folders))
    })
}

fn bring(
    entry: &Entry,
    (files, path): (&Files, &RelPath),
    origins: &Origins,
    root: &Path,
) -> Result<()> {
    let place = root.join(entry.path.as_str());
    let mode = if entry.executable { EXECUTABLE_MODE } else { FILE_MODE };
    let fact = files.fact(path)?;
    match fact.content {
        Content::File { digest, .. } if digest == entry.digest && fact.link.is_none() => {
            if files.mode(path)? == Some(mode) { Ok(()) } else { set_mode(&place, mode) }
        }
        _ => write_file(entry, origins, &place, mode),
    }
}

fn write_file(entry: &Entry, origins: &Origins, place: &Path, mode: u32) -> Result<()> {
    let mut content = origins.content(&entry.origin)?;
    let mut file = temp_beside(place)?;
    let digest = copy(&mut content, file.as_file_mut())
        .with_context(|| format!("could not write `{}`", place.display()))?;
    if digest != entry.digest {
        let name = Origins::name(&origins.wheels, &entry.origin);
        bail!("`{name}` changed while the tree was being made: run zipwright again");
    }
    persist(file, place, mode)
}

fn copy(content: &mut dyn Read, file: &mut fs::File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(*hasher.finalize().as_bytes())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                file.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sets the permission bits where they are others.
fn set_mode(place: &Path, mode: u32) -> Result<()> {
    let failed = || format!("could not set the mode of `{}`", place.display());
    let now = fs::symlink_metadata(place).with_context(failed)?.permissions().mode() & 0o7777;
    if now != mode {
        fs::set_permissions(place, Permissions::from_mode(mode)).with_context(failed)?;
    }
    Ok(())
}
