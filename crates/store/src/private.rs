//! Folders and files that only this user may write: made with modes 0700 and 0600, and refused if
//! another user may have put something there.
//!
//! Knows nothing of caches and projects, nor of a way out: the caller adds it to the error. Owners are
//! read by system calls of one kind, so that a program that feigns some, such as fakeroot, feigns all
//! or none.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::fs::{FileType, Mode, OFlags, Stat, fchmod, fstat, lstat, stat};

/// Modes of files and folders that only their owner reads.
pub const FILE_MODE: u32 = 0o600;
pub const FOLDER_MODE: u32 = 0o700;

const ROOT: u32 = 0;

const NOT_THE_OWNER: Mode = Mode::RWXG.union(Mode::RWXO);

/// Creates a folder and its missing parents, all with [`FOLDER_MODE`].
pub fn create_dir_all(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.with_context(|| could_not_create(folder))
}

/// Returns the message for a folder that cannot be created, with the file that is in the way.
pub(super) fn could_not_create(folder: &Path) -> String {
    let failed = format!("could not create folder `{}`", folder.display());
    match folder.ancestors().find(|above| above.symlink_metadata().is_ok()) {
        Some(file) if !file.is_dir() => {
            format!("{failed}; `{}` is not a folder: move it away", file.display())
        }
        _ => failed,
    }
}

/// Makes `folder` accessible only to this user: creates it, or removes the permissions of others.
/// Fails if it belongs to another user, or if others can write it: its content may then be theirs.
pub fn claim(folder: &Path) -> Result<()> {
    create_dir_all(folder)?;
    claim_for(folder, own_id(), Mode::empty())
}

/// As [`claim`], for a folder below `root` that exists. It may also belong to the owner of `root`,
/// and be as open as `root` is: who can write there can do all that this user can.
pub fn claim_below(root: &Path, folder: &Path) -> Result<()> {
    let above = stat(root).with_context(|| could_not_read(root))?;
    claim_for(folder, above.st_uid, writers(&above))
}

fn claim_for(folder: &Path, owner: u32, allowed: Mode) -> Result<()> {
    let shown = folder.display();
    let link = lstat(folder).with_context(|| could_not_read(folder))?;
    let open = File::open(folder).with_context(|| could_not_read(folder))?;
    let meta = fstat(&open).with_context(|| could_not_read(folder))?;
    let user = own_id();
    // The owner of a link can change its target at any time.
    let is_link = FileType::from_raw_mode(link.st_mode) == FileType::Symlink;
    let may_own_link = if is_link { ROOT } else { owner };
    let foreign = [(link.st_uid, may_own_link), (meta.st_uid, owner)]
        .into_iter()
        .find(|(found, other)| *found != user && found != other);
    if let Some((found, _)) = foreign {
        bail!("`{shown}` belongs to the user with the number {found}, and not to you");
    }
    if !allowed.contains(writers(&meta)) {
        bail!("other users can write in `{shown}`: its content may be theirs");
    }
    let mode = Mode::from_raw_mode(meta.st_mode);
    if meta.st_uid == user && mode.intersects(NOT_THE_OWNER) {
        // A file system that has no permissions of its own refuses this.
        let _ = fchmod(&open, mode & Mode::RWXU);
    }
    Ok(())
}

/// The permission bits by which others can write. A group with the number of its user has no other
/// members: the custom of systems whose umask is 002.
fn writers(meta: &Stat) -> Mode {
    let group = if meta.st_gid == meta.st_uid { Mode::empty() } else { Mode::WGRP };
    Mode::from_raw_mode(meta.st_mode) & (Mode::WOTH | group)
}

/// Reads a file that belongs to this user and that others cannot write. Any other is an error of
/// the kind [`ErrorKind::PermissionDenied`].
pub fn read(place: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(place)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file as [`read`] does.
pub fn open(place: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(place)?;
    let meta = fstat(&file)?;
    let is_file = FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile;
    if !is_file || meta.st_uid != own_id() || !writers(&meta).is_empty() {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "another user may have written it",
        ));
    }
    Ok(file)
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn could_not_read(path: &Path) -> String {
    format!("could not read `{}`", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn folder_of_mode(place: &Path, mode: u32) {
        fs::create_dir(place).unwrap();
        fs::set_permissions(place, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_made_for_its_user_alone_and_a_looser_one_becomes_that() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("a/b");
        claim(&folder).unwrap();
        assert_eq!((mode(&folder), mode(folder.parent().unwrap())), (0o700, 0o700));
        let looser = above.path().join("looser");
        folder_of_mode(&looser, 0o755);
        claim(&looser).unwrap();
        assert_eq!(mode(&looser), 0o700);
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let above = tempfile::tempdir().unwrap();
        for bits in [0o777, 0o1777, 0o702] {
            let folder = above.path().join(format!("{bits:o}"));
            folder_of_mode(&folder, bits);
            let error = claim(&folder).unwrap_err().to_string();
            assert!(error.contains("other users can write"), "{error}");
            assert_eq!(mode(&folder), bits, "it is left as it was");
            // Below a root that others can write, the mode is not changed either.
            assert!(claim_below(above.path(), &folder).is_err());
            assert!(claim_below(&folder.clone(), &folder).is_ok());
        }
    }

    #[test]
    fn of_another_user_neither_folders_nor_files_nor_links_are_used() {
        let above = tempfile::tempdir().unwrap();
        let at = |name: &str| above.path().join(name);
        let other = 65_534;
        folder_of_mode(&at("folder"), 0o700);
        fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink("folder", at("link")).unwrap();
        assert!(claim(&at("link")).is_ok() && read(&at("file")).is_ok());
        if std::os::unix::fs::lchown(at("folder"), Some(other), None).is_err() {
            return; // Only root can be two users.
        }
        assert!(claim(&at("folder")).unwrap_err().to_string().contains("65534"));
        assert!(claim(&at("link")).is_err());
        std::os::unix::fs::lchown(at("folder"), Some(0), None).unwrap();
        std::os::unix::fs::lchown(at("link"), Some(other), None).unwrap();
        assert!(claim(&at("link")).is_err());
        std::os::unix::fs::lchown(at("file"), Some(other), None).unwrap();
        assert_eq!(read(&at("file")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn files_that_others_can_write_links_and_pipes_are_not_read() {
        let above = tempfile::tempdir().unwrap();
        let at = |name: &str| above.path().join(name);
        fs::write(at("file"), "x").unwrap();
        assert_eq!(read(&at("file")).unwrap(), b"x");
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert!(read(&at("link")).is_err() && read(above.path()).is_err());
        fs::set_permissions(at("file"), Permissions::from_mode(0o666)).unwrap();
        assert!(read(&at("file")).is_err());
    }
}
