//! Folders of a project that are really in it. A path that is written to or removed must not lead
//! elsewhere: each folder on the way is opened without following links.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{RelPath, platform};

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Fails if `path` or a folder that it is in is a symbolic link, or if such a folder is a file.
/// Parts that do not exist are allowed.
pub fn check_folder(root: &Path, path: &RelPath) -> Result<()> {
    match open_folder(root, path) {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => explain(root, path, error),
    }
}

/// Fails if a folder that `path` is in is a symbolic link. `path` itself may be anything.
pub fn check_parents(root: &Path, path: &RelPath) -> Result<()> {
    if path.is_root() || !path.as_str().contains('/') {
        return Ok(());
    }
    check_folder(root, &path.parent())
}

/// Opens a folder below `root`, which itself may be reached through links.
fn open_folder(root: &Path, path: &RelPath) -> Result<OwnedFd, Errno> {
    let root = openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match platform::open_beneath(&root, path.as_str(), FOLDER) {
        Some(opened) => opened,
        None => descend(root, path),
    }
}

/// Opens the folders on the way one after the other.
fn descend(root: OwnedFd, path: &RelPath) -> Result<OwnedFd, Errno> {
    let mut folder = root;
    for part in path.as_str().split('/') {
        folder = openat(folder.as_fd(), part, FOLDER, Mode::empty())?;
    }
    Ok(folder)
}

/// The error for a path that could not be opened, by the first part that is in the way.
fn explain(root: &Path, path: &RelPath, error: Errno) -> Result<()> {
    let outermost: Vec<&str> = path.folders().collect();
    for part in outermost.into_iter().rev().chain([path.as_str()]) {
        let place = root.join(part);
        match fs::symlink_metadata(&place) {
            Ok(meta) if meta.is_symlink() => {
                let target = fs::read_link(&place).unwrap_or_default();
                bail!(
                    "`{part}` is a link to `{}`, and zipwright writes and removes nothing through \
                     links: put a folder in its place, or name another path",
                    target.display()
                );
            }
            Ok(meta) if !meta.is_dir() => {
                bail!("`{}` is not a folder: move it away", place.display())
            }
            _ => {}
        }
    }
    let error = io::Error::from(error);
    bail!("could not open folder `{path}`: {error}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn links_on_the_way_are_refused_and_missing_folders_are_not() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("project");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(outer.path().join("home")).unwrap();
        symlink("../home", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        symlink("nowhere", root.join("a/dangling")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        for good in ["a", "a/b", "a/new/newer", "new", "."] {
            check_folder(&root, &path(good)).unwrap();
            check_parents(&root, &path(good)).unwrap();
            let folder = openat(CWD, &root, OFlags::DIRECTORY, Mode::empty()).unwrap();
            assert!(matches!(descend(folder, &path(good)), Ok(_) | Err(Errno::NOENT)), "{good}");
        }
        for bad in ["out", "out/x", "in", "in/b", "a/dangling", "a/dangling/x", "file", "file/x"] {
            let error = check_folder(&root, &path(bad)).unwrap_err().to_string();
            assert!(error.contains("is a link to") || error.contains("is not a folder"), "{error}");
            check_parents(&root, &path(&format!("{bad}/x"))).unwrap_err();
            let folder = openat(CWD, &root, OFlags::DIRECTORY, Mode::empty()).unwrap();
            descend(folder, &path(bad)).unwrap_err();
        }
        // The last part is for others to judge, and the project may be entered by a link.
        check_parents(&root, &path("out")).unwrap();
        symlink("project", outer.path().join("entry")).unwrap();
        check_folder(&outer.path().join("entry"), &path("a/b")).unwrap();
    }
}
