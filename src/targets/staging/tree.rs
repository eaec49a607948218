//! Writes a staging tree as a folder: changes only differing files, and removes everything else.
//! The state of the folder is that observed when the target was checked.

mod surplus;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::Origins;
use crate::base::fs::{EXECUTABLE_MODE, FILE_MODE, create_dir_all, persist, remove, temp_beside};
use crate::base::{Digest, RelPath};
use crate::bundle::{Entry, Manifest};
use crate::files::{Content, Files, Place};
use crate::ownership;
use crate::target::Job;
use crate::targets::clamp;

const BUFFER: usize = 64 * 1024;

/// The output folder: its path, and its observed state.
#[derive(Clone, Copy)]
struct Folder<'a> {
    root: &'a Place<'a>,
    files: &'a Files,
}

/// Makes the folder `output` match the manifest. With an instant, later times are lowered to it;
/// without, a file has the time at which it was written.
///
/// Changes nothing if the folder has files that are neither the target's nor in the tree.
pub(super) fn write(
    manifest: &Manifest,
    origins: &Origins,
    job: &Job,
    output: &RelPath,
    instant: Option<i64>,
) -> Result<()> {
    let root = job.files.to_write(output)?;
    if !root.metadata().is_ok_and(|meta| meta.is_dir()) {
        make_room(&root, job)?;
        create_dir_all(&root)?;
        root.look_anew_below();
    }
    let folder = Folder { root: &root, files: job.files };
    let entries = &manifest.entries;
    let folders = folders_of(entries);
    let mut left = left_to_bring(entries, folder);
    let surplus = surplus::find(folder, (entries, &folders, &left), job.owned)?;
    promise(&left, folder, job)?;
    if surplus.remove(folder)? {
        left = left_to_bring(entries, folder);
    }
    set_mode(&root, EXECUTABLE_MODE)?;
    for below in &folders {
        let below = RelPath::parse(below).expect("BUG: it is part of a path");
        let place = below.under(&root);
        if !place.exists() {
            create_dir_all(&root.member(&below))?;
        }
        set_mode(&place, EXECUTABLE_MODE)?;
    }
    let brought = left.par_iter().with_min_len(64).map(|entry| bring(entry, folder, origins));
    let brought: Vec<Result<()>> = brought.collect();
    brought.into_iter().collect::<Result<()>>()?;
    if let Some(instant) = instant {
        clamp::lower(&root, instant)?;
    }
    Ok(())
}

/// Removes a file or link in the place of the folder, if it may be removed.
fn make_room(root: &Place, job: &Job) -> Result<()> {
    if root.metadata().is_ok() && !job.owned.force {
        return Err(ownership::in_the_way(&[root.path().to_string()]));
    }
    remove(root).map(drop)
}

/// Returns the entries that were not seen in their place, with their content and mode.
fn left_to_bring<'e>(entries: &'e [Entry], folder: Folder) -> Vec<&'e Entry> {
    let is_left =
        |entry: &&Entry| !folder.files.saw(&folder.text_of(entry), entry.digest, mode(entry));
    entries.par_iter().with_min_len(256).filter(is_left).collect()
}

/// Records the files that are about to be put into the folder.
fn promise(entries: &[&Entry], folder: Folder, job: &Job) -> Result<()> {
    let path = |entry: &&Entry| folder.root.path().join(&entry.path);
    let new: Vec<_> = entries.iter().map(|entry| (path(entry), &entry.digest)).collect();
    job.owned.promise(new.iter().map(|(path, digest)| (path, *digest)))
}

fn mode(entry: &Entry) -> u32 {
    if entry.executable { EXECUTABLE_MODE } else { FILE_MODE }
}

impl Folder<'_> {
    /// Returns the path of an entry in the project as text. A [`RelPath`] would be costly for the
    /// many entries that need no change.
    fn text_of(&self, entry: &Entry) -> String {
        [self.root.path().as_str(), "/", entry.path.as_str()].concat()
    }
}

/// Returns all folders, each after its parent.
fn folders_of(entries: &[Entry]) -> BTreeSet<&str> {
    let mut folders = BTreeSet::new();
    let mut last = "";
    for entry in entries {
        let Some(own) = entry.path.folders().next().filter(|own| *own != last) else { continue };
        last = own;
        for folder in entry.path.folders() {
            if !folders.insert(folder) {
                // Its parents exist, too.
                break;
            }
        }
    }
    folders
}

fn bring(entry: &Entry, folder: Folder, origins: &Origins) -> Result<()> {
    let files = folder.files;
    let mode = mode(entry);
    let path = folder.root.path().join(&entry.path);
    let fact = files.fact(&path)?;
    let is_there = fact.link.is_none()
        && matches!(fact.content, Content::File { digest, .. } if digest == entry.digest);
    if is_there && files.mode(&path)? == Some(mode) {
        return Ok(());
    }
    // The mode of a file is shared by all its hard links.
    let place = folder.root.member(&entry.path);
    let has_one_name = || place.metadata().is_ok_and(|meta| meta.nlink() == 1);
    match is_there && has_one_name() {
        true => set_mode(&place, mode),
        false => write_file(entry, origins, &place, mode),
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

/// Sets the permission bits if they differ.
fn set_mode(place: &Path, mode: u32) -> Result<()> {
    let failed = || format!("could not set the mode of `{}`", place.display());
    let now = fs::symlink_metadata(place).with_context(failed)?.permissions().mode() & 0o7777;
    if now != mode {
        fs::set_permissions(place, Permissions::from_mode(mode)).with_context(failed)?;
    }
    Ok(())
}
