//! One look at a path: its stat data, and its digest where stat data does not tell it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::sight::stat_of_system;
use super::{Content, Fact, Files, Remembered, Seen, Stat, lock, stat_of};
use crate::base::{Digest, RelPath};

/// Where a path is looked up.
enum Place<'a> {
    /// From the project's root on, which costs the system less than the whole way.
    Below(BorrowedFd<'a>, &'a str),
    Whole(PathBuf),
}

impl Place<'_> {
    fn parts(&self) -> (BorrowedFd<'_>, &Path) {
        match self {
            Self::Below(root, path) => (*root, Path::new(path)),
            Self::Whole(path) => (CWD, path),
        }
    }

    /// `None` when there is nothing.
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
    /// What is at `path` now, and what is to be remembered of it.
    pub(super) fn look(
        &self,
        path: &RelPath,
        remembered: Option<Remembered>,
    ) -> io::Result<(Seen, Option<Remembered>)> {
        let nothing = |link| Seen { fact: Fact { link, content: Content::Missing }, stat: None };
        let place = match &self.start {
            Some(root) => Place::Below(root.as_fd(), path.as_str()),
            None => Place::Whole(path.under(&self.root)),
        };
        let Some(stat) = place.stat(AtFlags::SYMLINK_NOFOLLOW)? else {
            return Ok((nothing(None), remembered));
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return self.content(None, path, &stat, remembered);
        }
        let link = Some(place.link()?);
        match place.stat(AtFlags::empty())? {
            Some(stat) => self.content(link, path, &stat, remembered),
            None => Ok((nothing(link), remembered)),
        }
    }

    fn content(
        &self,
        link: Option<String>,
        path: &RelPath,
        stat: &rustix::fs::Stat,
        remembered: Option<Remembered>,
    ) -> io::Result<(Seen, Option<Remembered>)> {
        let content = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                return self.file(link, path, stat_of_system(stat), remembered);
            }
            FileType::Directory => Content::Folder,
            _ => Content::Other,
        };
        Ok((Seen { fact: Fact { link, content }, stat: None }, remembered))
    }

    fn file(
        &self,
        link: Option<String>,
        path: &RelPath,
        stat: Stat,
        remembered: Option<Remembered>,
    ) -> io::Result<(Seen, Option<Remembered>)> {
        let (digest, remembered) = match remembered {
            Some(known) if known.stat == stat => (known.digest, remembered),
            _ => self.find_out(path, stat)?,
        };
        Ok((Seen::file(link, digest, stat), remembered))
    }

    /// The digest of a file, and whether it may be remembered.
    fn find_out(&self, path: &RelPath, stat: Stat) -> io::Result<(Digest, Option<Remembered>)> {
        let place = path.under(&self.root);
        // The clock is read before the content: a later write carries this instant or a later one.
        let meta = fs::metadata(&place)?;
        let past = self.past(meta.dev());
        let made = lock(&self.made).get(path).copied();
        let digest = match made.filter(|(written, _)| *written == stat.written()) {
            Some((_, digest)) => digest,
            None => Digest::of_file(&place)?,
        };
        let unchanged = stat_of(&fs::metadata(&place)?) == stat && stat_of(&meta) == stat;
        let settled = unchanged && stat.mtime < past && stat.ctime < past;
        Ok((digest, settled.then_some(Remembered { stat, digest })))
    }
}
