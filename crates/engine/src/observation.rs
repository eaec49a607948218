//! How a path looked when a target read it, in a form that one `stat` can compare with the path as
//! it is now.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zipwright_store::stat::nanoseconds;

use zipwright_store::Digest;

pub use zipwright_store::stat::{Stat, Written};

/// The content of a file, and the stat data under which it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub stat: Stat,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    Missing,
    File(FileState),
    /// A folder whose members were not listed.
    Folder,
    /// A folder that was listed, and how many members it has. Its times change with their names.
    Listed(Stat, u64),
    Link(Box<Link>),
    /// A socket or a device.
    Other,
}

/// A symbolic link: its text, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub text: String,
    pub target: Observation,
}

/// A path as it is now, compared with an observation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    Same,
    /// Another content, but still a folder, or still something else than a folder.
    Changed,
    Another,
    /// The path was not compared.
    Unchecked,
}

impl Observation {
    /// Returns the state of the file at the path, links followed.
    pub fn file(&self) -> Option<&FileState> {
        match self {
            Self::File(state) => Some(state),
            Self::Link(link) => link.target.file(),
            _ => None,
        }
    }

    /// Compares the observation with `path` below the folder `root`. A path that cannot be read is
    /// `Another`.
    pub fn compare(&self, root: impl AsFd, path: &str) -> Now {
        let root = root.as_fd();
        let now = |flags| match statat(root, path, flags) {
            Ok(stat) => Some(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Some(None),
            Err(_) => None,
        };
        match self {
            Self::Link(link) => {
                let is_same = readlinkat(root, path, Vec::new())
                    .is_ok_and(|now| now.to_string_lossy() == *link.text)
                    && now(AtFlags::empty()).is_some_and(|now| link.target.is(now.as_ref()));
                if is_same { Now::Same } else { Now::Another }
            }
            _ => match now(AtFlags::SYMLINK_NOFOLLOW) {
                Some(now) if self.is(now.as_ref()) => Now::Same,
                Some(Some(now)) if self.is_member_like(&now) => Now::Changed,
                _ => Now::Another,
            },
        }
    }

    /// Returns whether both are folders, or both are something else.
    fn is_member_like(&self, now: &rustix::fs::Stat) -> bool {
        let is_folder = FileType::from_raw_mode(now.st_mode) == FileType::Directory;
        match self {
            Self::Folder | Self::Listed(..) => is_folder,
            Self::File(_) => !is_folder,
            Self::Missing | Self::Link(_) | Self::Other => false,
        }
    }

    fn is(&self, now: Option<&rustix::fs::Stat>) -> bool {
        let kind = now.map(|now| FileType::from_raw_mode(now.st_mode));
        let has = |stat: &Stat| now.is_some_and(|now| stat_of_system(now) == *stat);
        match self {
            Self::Missing => now.is_none(),
            Self::Folder => kind == Some(FileType::Directory),
            Self::File(then) => kind == Some(FileType::RegularFile) && has(&then.stat),
            Self::Listed(then, _) => kind == Some(FileType::Directory) && has(then),
            Self::Link(_) | Self::Other => false,
        }
    }
}

#[expect(clippy::unnecessary_cast, reason = "the fields have other types on other systems")]
pub(crate) fn stat_of_system(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        size: stat.st_size as u64,
        mtime: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        inode: stat.st_ino as u64,
        mode: stat.st_mode as u32,
    }
}
