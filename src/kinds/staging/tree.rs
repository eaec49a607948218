//! Writes a staging tree as a folder: only what differs is changed, and nothing else stays. What
//! is there is known from judging the target; [`Files`] is told of each change.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::Origins;
use crate::base::fs::{EXECUTABLE_MODE, FILE_MODE, create_dir_all, persist, remove, temp_beside};
use crate::base::{Digest, RelPath};
use crate::bundle::{Entry, Manifest};
use crate::files::{Content, Files};
use crate::kinds::{Job, clamp};

const BUFFER: usize = 64 * 1024;

/// The folder that is written: where it is, and what is known of it.
#[derive(Clone, Copy)]
struct Folder<'a> {
    root: &'a Path,
    path: &'a RelPath,
    files: &'a Files,
}

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
    if !fs::symlink_metadata(&root).is_ok_and(|meta| meta.is_dir()) {
        remove(&root)?;
        create_dir_all(&root)?;
        job.files.forget_folder(output);
    }
    let folder = Folder { root: &root, path: output, files: job.files };
    let entries = &manifest.entries;
    let folders = folders_of(entries);
    clear(folder, None, (entries, &folders))?;
    set_mode(&root, EXECUTABLE_MODE)?;
    for below in &folders {
        let place = root.join(below);
        if !place.exists() {
            create_dir_all(&place)?;
            let below = RelPath::parse(below).expect("BUG: it is part of a path");
            job.files.replaced(&output.join(&below));
        }
        set_mode(&place, EXECUTABLE_MODE)?;
    }
    let brought: Vec<Result<()>> =
        entries.par_iter().with_min_len(64).map(|entry| bring(entry, folder, origins)).collect();
    brought.into_iter().collect::<Result<()>>()?;
    if let Some(instant) = instant {
        clamp::lower(&root, instant)?;
    }
    Ok(())
}

/// All folders, each after the one that it lies in.
fn folders_of(entries: &[Entry]) -> BTreeSet<&str> {
    let mut folders = BTreeSet::new();
    let mut last = "";
    for entry in entries {
        let Some(own) = entry.path.folders().next().filter(|own| *own != last) else { continue };
        last = own;
        for folder in entry.path.folders() {
            if !folders.insert(folder) {
                // So are those that it lies in.
                break;
            }
        }
    }
    folders
}

/// Removes what the tree does not have, links included, from one of its folders and those that it
/// holds, side by side. `below` is where in the tree that is, unless it is all of it.
fn clear(
    folder: Folder,
    below: Option<&str>,
    (entries, folders): (&[Entry], &BTreeSet<&str>),
) -> Result<()> {
    let path = match below {
        Some(below) => folder.path.join(&RelPath::parse(below).expect("BUG: it is part of a path")),
        None => folder.path.clone(),
    };
    if let Some(inner) = clear_already(&path, folder, (entries, folders)) {
        return inner.par_iter().try_for_each(|path| clear(folder, Some(path), (entries, folders)));
    }
    let place = below.map_or(folder.root.into(), |below| folder.root.join(below));
    let failed = || format!("could not list `{}`", place.display());
    let mut inner = Vec::new();
    for found in fs::read_dir(&place).with_context(failed)? {
        let found = found.with_context(failed)?;
        let kind = found.file_type().with_context(failed)?;
        let path = found.file_name().into_string().ok().map(|name| match below {
            Some(below) => format!("{below}/{name}"),
            None => name,
        });
        match path {
            Some(path) if kind.is_dir() && folders.contains(path.as_str()) => inner.push(path),
            Some(path) if kind.is_file() && all_in(entries, [path.as_str()]) => {}
            path => {
                remove(&found.path())?;
                // What was known of files below it may have been seen through a link.
                if let Some(path) = path.and_then(|path| RelPath::parse(&path).ok()) {
                    let path = folder.path.join(&path);
                    folder.files.forget_folder(&path);
                    folder.files.replaced(&path);
                }
            }
        }
    }
    inner.par_iter().try_for_each(|path| clear(folder, Some(path), (entries, folders)))
}

/// Whether the tree has all of `paths`, which are sorted.
fn all_in<'a>(entries: &[Entry], paths: impl IntoIterator<Item = &'a str>) -> bool {
    let mut rest = entries;
    paths.into_iter().all(|path| {
        // Mostly it is the next one.
        if rest.first().is_none_or(|entry| entry.path.as_str() != path) {
            rest = &rest[rest.partition_point(|entry| entry.path.as_str() < path)..];
        }
        rest.split_off_first().is_some_and(|entry| entry.path.as_str() == path)
    })
}

/// The folders in the folder at `path`, if it is known to hold nothing that the tree does not have.
/// A link in the place of a file is for [`bring`] to see.
fn clear_already(
    path: &RelPath,
    folder: Folder,
    (entries, folders): (&[Entry], &BTreeSet<&str>),
) -> Option<Vec<String>> {
    let below = |path: &RelPath| path.below(folder.path).map(|below| below.as_str().to_owned());
    let members = folder.files.known_members(path)?;
    let start = folder.path.as_str().len() + 1;
    let files = members.files.iter().map(|path| &path.as_str()[start..]);
    if members.half_made > 0 || !members.unnamed.is_empty() || !all_in(entries, files) {
        return None;
    }
    let inner: Vec<String> = members.folders.iter().map(below).collect::<Option<_>>()?;
    inner.iter().all(|path| folders.contains(path.as_str())).then_some(inner)
}

fn bring(entry: &Entry, folder: Folder, origins: &Origins) -> Result<()> {
    let files = folder.files;
    let mode = if entry.executable { EXECUTABLE_MODE } else { FILE_MODE };
    // Mostly nothing is to be done, and no path is made for that.
    if files.saw(&[folder.path.as_str(), "/", entry.path.as_str()].concat(), entry.digest, mode) {
        return Ok(());
    }
    let path = folder.path.join(&entry.path);
    let place = || folder.root.join(entry.path.as_str());
    let fact = files.fact(&path)?;
    let is_there = fact.link.is_none()
        && matches!(fact.content, Content::File { digest, .. } if digest == entry.digest);
    if is_there && files.mode(&path)? == Some(mode) {
        return Ok(());
    }
    let brought = match is_there {
        true => set_mode(&place(), mode),
        false => write_file(entry, origins, &place(), mode),
    };
    files.replaced(&path);
    brought
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
