//! What a build looked at, in a form in which it can be looked at again by stat data alone.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::{Content, Remembered, Seen, Stat, nanoseconds};

/// What there was at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Nothing,
    /// A file whose digest was remembered under its stat data.
    File(Remembered),
    /// A folder whose members nobody asked for.
    Folder,
    /// A folder that was listed, and how many members it has. Its times change with their names.
    Listed(Stat, u64),
    /// A symbolic link, and what it led to.
    Link(String, Box<Sight>),
}

/// What there is, beside what there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    Same,
    /// A folder as before, or something else than a folder as before.
    Changed,
    Another,
}

impl Sight {
    /// `None` when stat data cannot tell whether it is still so.
    pub(super) fn of(seen: &Seen, remembered: Option<Remembered>) -> Option<Self> {
        let target = match &seen.fact.content {
            Content::Missing => Self::Nothing,
            Content::Folder => Self::Folder,
            Content::File { .. } => {
                Self::File(remembered.filter(|known| Some(known.stat) == seen.stat)?)
            }
            Content::Other => return None,
        };
        Some(match &seen.fact.link {
            Some(text) => Self::Link(text.clone(), Box::new(target)),
            None => target,
        })
    }

    /// What is at `path` now, relative to the folder `root`. What cannot be looked at is another
    /// thing.
    pub fn compare(&self, root: impl AsFd, path: &str) -> Now {
        let root = root.as_fd();
        let now = |flags| match statat(root, path, flags) {
            Ok(stat) => Some(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Some(None),
            Err(_) => None,
        };
        match self {
            Self::Link(text, target) => {
                let is_same = readlinkat(root, path, Vec::new())
                    .is_ok_and(|now| now.to_string_lossy() == *text)
                    && now(AtFlags::empty()).is_some_and(|now| target.is(now.as_ref()));
                if is_same { Now::Same } else { Now::Another }
            }
            _ => match now(AtFlags::SYMLINK_NOFOLLOW) {
                Some(now) if self.is(now.as_ref()) => Now::Same,
                Some(Some(now)) if self.is_member_like(&now) => Now::Changed,
                _ => Now::Another,
            },
        }
    }

    /// Whether both are folders, or both are something else.
    fn is_member_like(&self, now: &rustix::fs::Stat) -> bool {
        let is_folder = FileType::from_raw_mode(now.st_mode) == FileType::Directory;
        match self {
            Self::Folder | Self::Listed(..) => is_folder,
            Self::File(_) => !is_folder,
            Self::Nothing | Self::Link(..) => false,
        }
    }

    fn is(&self, now: Option<&rustix::fs::Stat>) -> bool {
        let kind = now.map(|now| FileType::from_raw_mode(now.st_mode));
        match self {
            Self::Nothing => now.is_none(),
            Self::Folder => kind == Some(FileType::Directory),
            Self::File(then) => {
                kind == Some(FileType::RegularFile)
                    && now.is_some_and(|now| stat_of_system(now) == then.stat)
            }
            Self::Listed(then, _) => {
                kind == Some(FileType::Directory)
                    && now.is_some_and(|now| stat_of_system(now) == *then)
            }
            Self::Link(..) => false,
        }
    }
}

#[expect(clippy::unnecessary_cast, reason = "the fields have other types on other systems")]
pub(super) fn stat_of_system(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        size: stat.st_size as u64,
        mtime: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        inode: stat.st_ino as u64,
        mode: stat.st_mode as u32,
    }
}
