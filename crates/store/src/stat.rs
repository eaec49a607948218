//! Stat data of files, as far as a rewrite could change it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Stat {
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub inode: u64,
    pub mode: u32,
}

/// Size, mtime, ctime less mtime (usually a small number), inode, mode.
type Stored = (u64, i64, i64, u64, u32);

impl From<Stat> for Stored {
    fn from(Stat { size, mtime, ctime, inode, mode }: Stat) -> Self {
        (size, mtime, ctime.wrapping_sub(mtime), inode, mode)
    }
}

impl From<Stored> for Stat {
    fn from((size, mtime, later, inode, mode): Stored) -> Self {
        Self { size, mtime, ctime: mtime.wrapping_add(later), inode, mode }
    }
}

impl From<&Metadata> for Stat {
    fn from(meta: &Metadata) -> Self {
        Self {
            size: meta.size(),
            mtime: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            ctime: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            mode: meta.mode(),
        }
    }
}

/// The part of a file's stat data that every write changes: its size, mtime or inode.
pub type Written = (u64, i64, u64);

impl Stat {
    pub fn written(&self) -> Written {
        (self.size, self.mtime, self.inode)
    }

    /// Returns whether both times are before `instant`, in nanoseconds.
    pub fn is_before(&self, instant: i64) -> bool {
        self.mtime < instant && self.ctime < instant
    }
}

/// Returns an instant in nanoseconds.
pub fn nanoseconds(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
