//! Reading one path: its stat data, and its digest where stat data does not give it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::{Files, lock};
use crate::observation::{FileState, Link, Observation, Stat, stat_of_system};
use zipwright_store::{Digest, RelPath};

/// How the system is given a path.
enum Address<'a> {
    /// From the project's root on, which costs the system less than an absolute path.
    Below(BorrowedFd<'a>, &'a str),
    Whole(PathBuf),
}

impl Address<'_> {
    fn parts(&self) -> (BorrowedFd<'_>, &Path) {
        match self {
            Self::Below(root, path) => (*root, Path::new(path)),
            Self::Whole(path) => (CWD, path),
        }
    }

    /// Returns `None` if nothing is there.
    fn stat(&self, flags: AtFlags) -> io::Result<Option<rustix::fs::Stat>> {
        let (folder, path) = self.parts();
        match statat(folder, path, flags) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self) -> io::Result<String> {
        let (folder, path) = self.parts();
        Ok(readlinkat(folder, path, Vec::new())?.to_string_lossy().into_owned())
    }
}

impl Files {
    /// Observes `path`, and returns whether stat data would show any later write. The digest of
    /// `remembered` is used if the file has that stat data.
    pub(super) fn look(
        &self,
        path: &RelPath,
        remembered: Option<FileState>,
    ) -> io::Result<(Observation, bool)> {
        let place = match &self.start {
            Some(root) => Address::Below(root.as_fd(), path.as_str()),
            None => Address::Whole(path.under(&self.root)),
        };
        let Some(stat) = place.stat(AtFlags::SYMLINK_NOFOLLOW)? else {
            return Ok((Observation::Missing, true));
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return self.content(path, &stat, remembered);
        }
        let text = place.link()?;
        let (target, settled) = match place.stat(AtFlags::empty())? {
            Some(stat) => self.content(path, &stat, remembered)?,
            None => (Observation::Missing, true),
        };
        Ok((Observation::Link(Box::new(Link { text, target })), settled))
    }

    fn content(
        &self,
        path: &RelPath,
        stat: &rustix::fs::Stat,
        remembered: Option<FileState>,
    ) -> io::Result<(Observation, bool)> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok((Observation::Folder, true)),
            _ => return Ok((Observation::Other, false)),
        }
        let stat = stat_of_system(stat);
        match remembered.filter(|remembered| remembered.stat == stat) {
            Some(remembered) => Ok((Observation::File(remembered), true)),
            None => {
                let (digest, settled) = self.read(path, stat)?;
                Ok((Observation::File(FileState { stat, digest }), settled))
            }
        }
    }

    /// Returns the digest of a file, and whether `stat` would show any later write.
    fn read(&self, path: &RelPath, stat: Stat) -> io::Result<(Digest, bool)> {
        let place = path.under(&self.root);
        // The clock is read before the content: a later write has this instant or a later one.
        let meta = fs::metadata(&place)?;
        let past = self.past(meta.dev());
        let made = lock(&self.made).get(path).copied();
        let digest = match made.filter(|(written, _)| *written == stat.written()) {
            Some((_, digest)) => digest,
            None => Digest::of_file(&place)?,
        };
        let unchanged = Stat::from(&fs::metadata(&place)?) == stat && Stat::from(&meta) == stat;
        Ok((digest, unchanged && stat.is_before(past)))
    }
}
