//! Which files a build opened, as the kernel reports it (inotify). A watch is on the file itself and
//! not on its name: opened by another name, moved away first, or opened by a program that keeps its
//! access time, it is reported all the same; and so on every file system, also where a copy shares
//! blocks with the original or no access times are kept.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::base::RelPath;

/// Watches files from its start on.
pub(super) struct Watch {
    queue: OwnedFd,
    files: HashMap<i32, RelPath>,
}

impl Watch {
    /// Starts to watch these files, each at its place. `None` if the kernel refuses one of them: the
    /// number of watches of a user is limited.
    pub(super) fn start(files: impl Iterator<Item = (RelPath, PathBuf)>) -> Option<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let files = files.map(|(path, place)| Some((watch(&queue, &place)?, path)));
        let files = files.collect::<Option<_>>()?;
        Some(Self { queue, files })
    }

    /// Returns the files that were opened since the start; `None` if that cannot be known: the queue
    /// of reports was full, or the file system of `folder` reports nothing.
    pub(super) fn opened(self, folder: &Path) -> Option<BTreeSet<RelPath>> {
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

/// One report at most, so that few files fill the queue.
fn watch(queue: &OwnedFd, place: &Path) -> Option<i32> {
    inotify::add_watch(queue, place, WatchFlags::OPEN | WatchFlags::ONESHOT).ok()
}
