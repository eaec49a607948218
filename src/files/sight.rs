//! What a build looked at, in a form in which it can be looked at again by stat data alone.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;

use super::{Content, Seen, Stat, nanoseconds};

/// What there was at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Nothing,
    /// A file whose digest was remembered under this stat data.
    File(Stat),
    /// A folder whose members nobody asked for.
    Folder,
    /// A folder that was listed. Its times change with its members' names.
    Listed(Stat),
    /// A symbolic link, and what it led to.
    Link(String, Box<Sight>),
}

impl Sight {
    /// `None` when stat data cannot tell whether it is still so.
    pub(super) fn of(seen: &Seen, is_remembered: bool) -> Option<Self> {
        let target = match (&seen.fact.content, seen.stat) {
            (Content::Missing, _) => Self::Nothing,
            (Content::Folder, _) => Self::Folder,
            (Content::File { .. }, Some(stat)) if is_remembered => Self::File(stat),
            (Content::File { .. } | Content::Other, _) => return None,
        };
        Some(match &seen.fact.link {
            Some(text) => Self::Link(text.clone(), Box::new(target)),
            None => target,
        })
    }

    /// Whether the same is at `path` now, relative to the folder `root`. What cannot be looked
    /// at is another thing.
    pub fn is_still_at(&self, root: impl AsFd, path: &str) -> bool {
        let root = root.as_fd();
        let now = |flags| match statat(root, path, flags) {
            Ok(stat) => Some(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Some(None),
            Err(_) => None,
        };
        match self {
            Self::Link(text, target) => {
                readlinkat(root, path, Vec::new()).is_ok_and(|now| now.to_string_lossy() == *text)
                    && now(AtFlags::empty()).is_some_and(|now| target.is(now.as_ref()))
            }
            _ => now(AtFlags::SYMLINK_NOFOLLOW).is_some_and(|now| self.is(now.as_ref())),
        }
    }

    fn is(&self, now: Option<&rustix::fs::Stat>) -> bool {
        let kind = now.map(|now| FileType::from_raw_mode(now.st_mode));
        match self {
            Self::Nothing => now.is_none(),
            Self::Folder => kind == Some(FileType::Directory),
            Self::File(then) => {
                kind == Some(FileType::RegularFile)
                    && now.is_some_and(|now| stat_of_system(now) == *then)
            }
            Self::Listed(then) => {
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
