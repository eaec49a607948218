//! A fresh copy of a project, as a checkout would give it: all files that git tracks or does not
//! ignore; without git, everything except outputs.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::base::{Digest, RelPath};
use crate::process::Invocation;
use crate::project::{Project, STATE_FOLDER};

/// Returns the files of the project, sorted.
pub(super) fn files(project: &Project, outputs: &[RelPath]) -> Result<Vec<RelPath>> {
    let state = RelPath::parse(STATE_FOLDER).expect("BUG: it is a plain name");
    // git lists nothing if the project is in a folder that a repository ignores.
    let mut files = match known_to_git(project).filter(|files| !files.is_empty()) {
        Some(files) => files,
        None => all(project)?,
    };
    files.retain(|file| {
        !file.is_within(&state) && !outputs.iter().any(|output| file.is_within(output))
    });
    files.sort();
    files.dedup();
    Ok(files)
}

fn known_to_git(project: &Project) -> Option<Vec<RelPath>> {
    let git = project.find_program("git")?;
    let words = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let captured = Invocation::new(git, &project.root).args(words).capture().ok()?;
    let names = captured.stdout.split('\0').filter(|name| !name.is_empty());
    captured.status.success().then(|| names.filter_map(|name| RelPath::parse(name).ok()).collect())
}

fn all(project: &Project) -> Result<Vec<RelPath>> {
    let mut files = Vec::new();
    let walk = WalkDir::new(&project.root).min_depth(1).into_iter();
    for found in walk.filter_entry(|entry| entry.file_name() != ".git") {
        let found = found.context("could not list the project")?;
        if !found.file_type().is_dir() {
            files.extend(RelPath::relative_to(found.path(), &project.root));
        }
    }
    Ok(files)
}

/// Copies files to `to`, with the modes that `umask` leaves, in the order of their names or in
/// another order.
pub(super) fn copy(
    project: &Project,
    files: &[RelPath],
    to: &Path,
    umask: u32,
    shuffled: bool,
) -> Result<()> {
    let mut files: Vec<&RelPath> = files.iter().collect();
    if shuffled {
        files.sort_by_key(|file| Digest::of(file.as_str().as_bytes()));
    }
    folder(to, umask)?;
    for file in files {
        let (from, place) = (project.place(file), file.under(to));
        for (at, _) in file.as_str().match_indices('/') {
            folder(&to.join(&file.as_str()[..at]), umask)?;
        }
        match copy_one(&from, &place, umask) {
            // Tracked by git but deleted, or a folder of another repository.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
            }
            copied => copied.with_context(|| format!("could not copy `{file}`"))?,
        }
    }
    link_repository(project, to)
}

fn copy_one(from: &Path, place: &Path, umask: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, place);
    }
    if meta.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    fs::write(place, fs::read(from)?)?;
    let mode = if meta.permissions().mode() & 0o100 != 0 { 0o777 } else { 0o666 };
    fs::set_permissions(place, fs::Permissions::from_mode(mode & !umask))
}

fn folder(place: &Path, umask: u32) -> Result<()> {
    if !place.is_dir() {
        let made = fs::create_dir_all(place)
            .and_then(|()| fs::set_permissions(place, fs::Permissions::from_mode(0o777 & !umask)));
        made.with_context(|| format!("could not create `{}`", place.display()))?;
    }
    Ok(())
}

/// Makes git's history available without a copy, for times and versions that come from it.
fn link_repository(project: &Project, to: &Path) -> Result<()> {
    let Some(git) = project.find_program("git") else { return Ok(()) };
    let words = ["rev-parse", "--absolute-git-dir"];
    let captured = Invocation::new(git, &project.root).args(words).capture()?;
    if captured.status.success() {
        let link = format!("gitdir: {}\n", captured.stdout.trim_end());
        fs::write(to.join(".git"), link).context("could not link the repository")?;
    }
    Ok(())
}

/// Returns the order in which the system lists the content of a folder, at any depth.
pub(super) fn listing(folder: &Path) -> Vec<String> {
    let names = WalkDir::new(folder).into_iter().filter_map(Result::ok);
    names
        .filter_map(|entry| Some(entry.path().strip_prefix(folder).ok()?.display().to_string()))
        .collect()
}
