//! Reports which files a build opened, by the kernel's inotify. A watch is on the file and not on
//! its name, so it works also if the file is opened by another name, is renamed first, or is opened
//! without an update of its access time; and on every file system, also if a copy shares blocks
//! with the original or access times are off.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::RelPath;

/// The files of a set that are opened while it exists.
pub struct OpenedFiles {
    queue: OwnedFd,
    files: HashMap<i32, RelPath>,
}

impl OpenedFiles {
    /// Starts to watch these files, each at its place. Returns `None` if the kernel refuses one:
    /// the number of watches per user is limited.
    pub fn watch(files: impl Iterator<Item = (RelPath, PathBuf)>) -> Option<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let files = files.map(|(path, place)| Some((watch(&queue, &place)?, path)));
        let files = files.collect::<Option<_>>()?;
        Some(Self { queue, files })
    }

    /// Returns the files that were opened since the start; `None` if the result is incomplete: the
    /// queue of events overflowed, or the file system of `folder` sends none.
    pub fn finish(self, folder: &Path) -> Option<BTreeSet<RelPath>> {
        let probe = tempfile::NamedTempFile::new_in(folder).ok()?;
        let number = watch(&self.queue, probe.path())?;
        fs::read(probe.path()).ok()?;
        let (mut opened, mut is_reported) = (BTreeSet::new(), false);
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reports = Reader::new(&self.queue, &mut buffer);
        loop {
            let report = match reports.next() {
                Ok(report) => report,
                Err(Errno::AGAIN) => return is_reported.then_some(opened),
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            };
            if report.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return None;
            }
            if report.events().contains(ReadFlags::OPEN) {
                is_reported |= report.wd() == number;
                opened.extend(self.files.get(&report.wd()).cloned());
            }
        }
    }
}

/// Adds a watch with at most one event, so that few files fill the queue.
fn watch(queue: &OwnedFd, place: &Path) -> Option<i32> {
    inotify::add_watch(queue, place, WatchFlags::OPEN | WatchFlags::ONESHOT).ok()
}
