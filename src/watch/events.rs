//! Events of the file system, after a silence. They only start a comparison: which of the observed
//! paths has changed is decided by [`super::Tracker`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use notify::event::{EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::base::words;

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Events,
    /// Compare everything in this interval.
    Poll(Duration),
}

/// A silence is waited for at most this many times its length.
const MOST_WAITS: u32 = 10;

pub struct Events {
    /// `None` if everything is compared in an interval.
    watcher: Option<RecommendedWatcher>,
    /// The watched folders, and which folder each was.
    watched: HashMap<PathBuf, Option<Identity>>,
    shared: Arc<Mutex<Shared>>,
    settle: Duration,
}

/// Device, inode and time of creation of a folder.
type Identity = (u64, u64, Option<SystemTime>);

/// Data of the thread that receives events.
#[derive(Default)]
struct Shared {
    /// Paths whose events do not count, with everything in them.
    ignored: HashSet<PathBuf>,
    /// Paths that were removed or renamed: watches of them are of no use any more.
    gone: Vec<PathBuf>,
}

impl Events {
    /// Calls `notice` after each silence of the length `settle` that follows a change.
    pub fn new(
        method: Method,
        settle: Duration,
        notice: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let watcher = match method {
            Method::Poll(interval) => {
                thread::spawn(move || {
                    loop {
                        thread::sleep(interval);
                        notice();
                    }
                });
                None
            }
            Method::Events => {
                let (sender, receiver) = channel();
                thread::spawn(move || debounce(&receiver, settle, notice));
                let handler = handler(Arc::clone(&shared), sender);
                Some(notify::recommended_watcher(handler).map_err(|error| not_started(&error))?)
            }
        };
        Ok(Self { watcher, watched: HashMap::new(), shared, settle })
    }

    /// Without events, waits until `is_silent` returns `true` after a silence.
    pub fn settle(&self, mut is_silent: impl FnMut() -> bool) {
        for _ in 0..MOST_WAITS {
            if self.watcher.is_some() {
                return;
            }
            thread::sleep(self.settle);
            if is_silent() {
                return;
            }
        }
    }

    /// Watches exactly these folders. Events of `ignored`, and of everything in them, do not count.
    /// Returns whether a folder is watched that was not watched before.
    pub fn watch(
        &mut self,
        folders: &BTreeSet<PathBuf>,
        ignored: HashSet<PathBuf>,
    ) -> Result<bool> {
        let gone = {
            let mut shared = lock(&self.shared);
            shared.ignored = ignored;
            std::mem::take(&mut shared.gone)
        };
        let Some(watcher) = &mut self.watcher else { return Ok(false) };
        let mut is_new = false;
        self.watched.retain(|folder, watched| {
            let stays = folders.contains(folder)
                && *watched == identity(folder)
                && !gone.iter().any(|gone| folder.starts_with(gone));
            if !stays {
                // The folder may be gone, and its watch with it.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for folder in folders {
            if self.watched.contains_key(folder) {
                continue;
            }
            let identity = identity(folder);
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone(), identity);
                    is_new = true;
                }
                Err(error) => check(&error, folder, folders.len())?,
            }
        }
        Ok(is_new)
    }
}

/// Fails unless the error is that the folder is gone, which its own folder reports.
fn check(error: &notify::Error, folder: &Path, count: usize) -> Result<()> {
    let folder = folder.display();
    match &error.kind {
        ErrorKind::PathNotFound => Ok(()),
        ErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        ErrorKind::MaxFilesWatch => {
            let limit = "/proc/sys/fs/inotify/max_user_watches";
            let limit = fs::read_to_string(limit).unwrap_or_default();
            bail!(
                "could not watch `{folder}`: the system's limit of watches (max_user_watches, {}) is \
                 too small for {} beside those of other programs\n\
                 raise it with `sudo sysctl fs.inotify.max_user_watches=524288`, or use `--poll`",
                limit.trim(),
                words::count(count, "folder"),
            )
        }
        ErrorKind::Io(error) => bail!("could not watch `{folder}`: {error}\nuse `--poll`"),
        _ => bail!("could not watch `{folder}`: {error}\nuse `--poll`"),
    }
}

fn not_started(error: &notify::Error) -> anyhow::Error {
    match &error.kind {
        ErrorKind::Io(error)
            if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) =>
        {
            anyhow!(
                "could not watch files: the system's limit of watching programs \
                 (max_user_instances) is too small\n\
                 raise it with `sudo sysctl fs.inotify.max_user_instances=1024`, or use `--poll`"
            )
        }
        _ => anyhow!("could not watch files: {error}\nuse `--poll`"),
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    let meta = fs::metadata(folder).ok()?;
    Some((meta.dev(), meta.ino(), meta.created().ok()))
}

/// Returns the receiver of events. It sends a message for each one that counts.
fn handler(
    shared: Arc<Mutex<Shared>>,
    sender: Sender<()>,
) -> impl Fn(notify::Result<notify::Event>) + Send + 'static {
    move |event| {
        // An error may mean lost events.
        if event.is_err() || event.is_ok_and(|event| counts(&event, &mut lock(&shared))) {
            let _ = sender.send(());
        }
    }
}

fn counts(event: &notify::Event, shared: &mut Shared) -> bool {
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    let is_ignored = |path: &PathBuf| path.ancestors().any(|path| shared.ignored.contains(path));
    if !event.need_rescan() && !event.paths.is_empty() && event.paths.iter().all(is_ignored) {
        return false;
    }
    if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
        shared.gone.extend(event.paths.iter().cloned());
    }
    true
}

/// Calls `notice` whenever messages are followed by a silence.
fn debounce(receiver: &Receiver<()>, settle: Duration, notice: impl Fn()) {
    while receiver.recv().is_ok() {
        let first = Instant::now();
        while first.elapsed() < settle * MOST_WAITS {
            match receiver.recv_timeout(settle) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        while receiver.try_recv().is_ok() {}
        notice();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
