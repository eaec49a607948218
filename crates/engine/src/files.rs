//! The digests of the project's files: each file is read at most once a run, and only once as long as
//! its stat data stays the same.
//!
//! Stat data is only a shortcut. The digest of an earlier run is used if size, mtime, ctime, inode and
//! mode are equal and both times are before the instant, on the file system's own clock, at which the
//! digest was computed; so a rewrite within one clock tick is never missed. Knows nothing of targets;
//! safe to use from several threads.

mod look;
pub(crate) mod place;
mod table;
mod view;
mod walk;

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rayon::prelude::*;

use crate::observation::{FileState, Observation, Stat, Written};
use zipwright_store::fs::TEMP_PREFIX;
use zipwright_store::project::{Project, STATE_FOLDER};
use zipwright_store::{Digest, RelPath, clock};

pub use place::Place;
use table::{Index, Near, Seen, Table};
pub use table::{Pieces, Scanned};
pub use view::{Looked, Observed, View};
use walk::Listing;
pub use walk::Selection;

/// The entry at a path, as targets use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The text of a symbolic link, if the path is one.
    pub link: Option<String>,
    /// The entry, links followed.
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Missing,
    File {
        digest: Digest,
        executable: bool,
        size: u64,
    },
    Folder,
    /// A socket or a device, which cannot be an input.
    Other,
}

impl From<&Observation> for Fact {
    fn from(observation: &Observation) -> Self {
        let content = match observation {
            Observation::Missing => Content::Missing,
            Observation::File(FileState { stat, digest }) => {
                let executable = stat.mode & 0o100 != 0;
                Content::File { digest: *digest, executable, size: stat.size }
            }
            Observation::Folder | Observation::Listed(..) => Content::Folder,
            Observation::Link(link) => {
                let content = Self::from(&link.target).content;
                return Self { link: Some(link.text.clone()), content };
            }
            Observation::Other => Content::Other,
        };
        Self { link: None, content }
    }
}

/// The observations of earlier runs.
#[derive(Default)]
pub struct Memory {
    pub paths: Pieces,
    /// Files outside the project, by absolute path, links followed.
    pub external: Vec<(PathBuf, FileState)>,
}

/// The digest of a file outside the project.
struct External {
    state: FileState,
    /// Whether its stat data was compared in this run.
    checked: bool,
}

/// Number and length of the waits until the last write of a file is in the past. The slowest clocks
/// tick every 10 ms.
const SETTLE_TRIES: usize = 20;
const SETTLE_WAIT: Duration = Duration::from_millis(1);
/// The sum of these waits, in nanoseconds: there is no wait for a later time.
const SETTLE_MOST: i64 = 20_000_000;

pub struct Files {
    root: PathBuf,
    /// Outputs that wildcards skip: see [`Files::matches`].
    hidden: Vec<RelPath>,
    /// The project's root, if it can be opened: paths are then looked up from there.
    start: Option<File>,
    table: Table,
    /// Digests of files that zipwright itself wrote, and the stat data that any later write changes.
    made: Mutex<HashMap<RelPath, (Written, Digest)>>,
    /// Folders that were listed.
    listed: Mutex<HashMap<RelPath, Listing>>,
    /// Number of the look; see [`Files::look_anew`].
    look: AtomicU32,
    /// How often an observation was dropped.
    changes: AtomicU64,
    external: Mutex<HashMap<PathBuf, External>>,
    /// Paths of programs, by the words they were searched by.
    programs: Mutex<HashMap<String, Option<PathBuf>>>,
    /// Instant of the file system's clock, in nanoseconds; see [`Files::tick`].
    now: AtomicI64,
    /// The file system whose clock that is.
    device: AtomicU64,
    clock: PathBuf,
}

impl Files {
    /// `memory` has the observations of earlier runs; `hidden` are the outputs that globs skip. The
    /// clock is read in the state folder.
    pub fn new(root: &Path, hidden: Vec<RelPath>, memory: Memory) -> Self {
        let Memory { paths, external } = memory;
        let external = external.into_iter();
        let external = external.map(|(path, state)| (path, External { state, checked: false }));
        let (index, listed) = rayon::join(|| Index::of(&paths), || walk::scanned_listings(&paths));
        Self {
            root: root.to_path_buf(),
            hidden,
            start: File::open(root).ok(),
            table: Table::new(paths, index),
            made: Mutex::default(),
            listed: Mutex::new(listed),
            look: AtomicU32::new(0),
            changes: AtomicU64::new(0),
            external: Mutex::new(external.collect()),
            programs: Mutex::default(),
            now: AtomicI64::new(i64::MIN),
            device: AtomicU64::new(0),
            clock: root.join(STATE_FOLDER),
        }
    }

    /// Reads the file system's clock, by making and removing a file. Digests taken afterwards are
    /// remembered for files whose times are before this instant. Never called, nothing is newly
    /// remembered: a dry run writes nothing at all.
    pub fn tick(&self) -> io::Result<()> {
        let probe = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(&self.clock)?;
        let meta = probe.as_file().metadata()?;
        // Of a new file both are the same instant, unless one of them is kept less precisely.
        let Stat { mtime, ctime, .. } = Stat::from(&meta);
        self.now.store(mtime.min(ctime), Ordering::Relaxed);
        self.device.store(meta.dev(), Ordering::Relaxed);
        Ok(())
    }

    /// Returns the instant before which the times of a file on the file system `device` are of the
    /// past for certain: any later write gives it another time.
    fn past(&self, device: u64) -> i64 {
        if device == self.device.load(Ordering::Relaxed) {
            self.now.load(Ordering::Relaxed)
        } else {
            self.settled()
        }
    }

    /// Returns the entry at `path`. It is read once a run, until [`Files::forget`] or
    /// [`Files::look_anew`].
    pub fn fact(&self, path: &RelPath) -> Result<Fact> {
        Ok(Fact::from(&self.see(path)?.observation))
    }

    /// Returns the stat data that any write to the file at `path` changes, though it wrote the same
    /// bytes, as of the moment at which [`Files::fact`] read it; `None` if no file is there. The ctime
    /// is left out: a new hard link is not a write.
    pub fn written(&self, path: impl AsRef<str>) -> Result<Option<Written>> {
        let path = path.as_ref();
        let written = |seen: &Seen| seen.observation.file().map(|file| file.stat.written());
        if let Some(seen) = self.table.find(path).seen {
            return Ok(written(&seen));
        }
        let path =
            RelPath::parse(path).map_err(|_| anyhow!("`{path}` is not a path in the project"))?;
        Ok(written(&self.see(&path)?))
    }

    /// Returns whether a file with this digest and these permission bits, and not a link, was seen at
    /// `path`; `false` also if the path was not read.
    pub fn saw(&self, path: &str, digest: Digest, mode: u32) -> bool {
        let look = self.look.load(Ordering::Relaxed);
        let seen = self.table.find(path).seen.filter(|seen| seen.look == look);
        matches!(seen, Some(Seen { observation: Observation::File(file), .. })
            if file.digest == digest && file.stat.mode & 0o7777 == mode)
    }

    /// Returns the permission bits of the file at `path`, links followed, as [`Files::fact`] read it.
    pub fn mode(&self, path: &RelPath) -> Result<Option<u32>> {
        Ok(self.see(path)?.observation.file().map(|file| file.stat.mode & 0o7777))
    }

    /// Notes that `file`, finished and still under a temporary name, has this digest and is about to be
    /// renamed to `path`: it need not be read again. Waits until the clock of the file system has
    /// passed the last write, so that any other write shows.
    pub fn made(&self, path: &RelPath, file: &File, digest: Digest) -> Result<()> {
        let failed = || format!("could not read the time of `{path}`");
        let meta = file.metadata().with_context(failed)?;
        let stat = Stat::from(&meta);
        // If the clock stands still, or is another one, the file is read like any other.
        if self.tick_past(stat.mtime).with_context(failed)? && stat.mtime < self.past(meta.dev()) {
            lock(&self.made).insert(path.clone(), (stat.written(), digest));
        }
        Ok(())
    }

    /// Waits until the clock of the file system has passed `instant`. `false` when it stands still,
    /// or `instant` is far in the future.
    fn tick_past(&self, instant: i64) -> io::Result<bool> {
        for _ in 0..SETTLE_TRIES {
            self.tick()?;
            let now = self.now.load(Ordering::Relaxed);
            if now > instant {
                return Ok(true);
            }
            if instant - now > SETTLE_MOST {
                break;
            }
            thread::sleep(SETTLE_WAIT);
        }
        Ok(false)
    }

    fn see(&self, path: &RelPath) -> Result<Seen> {
        self.see_near(path, &mut Near::default())
    }

    fn see_near(&self, path: &RelPath, near: &mut Near) -> Result<Seen> {
        let look = self.look.load(Ordering::Relaxed);
        let found = self.table.find_near(path.as_str(), near);
        if let Some(seen) = found.seen.filter(|seen| seen.look == look) {
            return Ok(seen);
        }
        let (observation, settled) = self
            .look(path, found.remembered)
            .with_context(|| format!("could not read `{path}`"))?;
        let seen = Seen { observation, settled, look };
        self.table.insert(path, seen.clone());
        Ok(seen)
    }

    /// Returns the entries at many paths, read in parallel; of several errors, the first.
    fn see_all<P: Borrow<RelPath> + Sync>(&self, paths: &[P]) -> Result<Vec<Seen>> {
        let see = |near: &mut Near, path: &P| self.see_near(path.borrow(), near);
        let seen = paths.par_iter().with_min_len(64).map_init(Near::default, see);
        seen.collect::<Vec<_>>().into_iter().collect()
    }

    /// Reads files once more that were written so shortly before they were read that a later write
    /// might not show, if they have `least` bytes or more in all: the clock has to be waited for. A
    /// file that has changed since stays as it was seen.
    pub fn settle(&self, least: u64) -> io::Result<()> {
        let young = self.table.unsettled();
        let bytes: u64 = young.iter().map(|(_, stat)| stat.size).sum();
        let latest = young.iter().map(|(_, stat)| stat.mtime.max(stat.ctime)).max();
        let Some(latest) = latest.filter(|_| bytes >= least) else { return Ok(()) };
        if !self.tick_past(latest)? {
            return Ok(());
        }
        young.par_iter().with_min_len(64).for_each(|(path, _)| {
            let Ok((observation, settled)) = self.look(path, None) else { return };
            if let Some(before) = self.table.find(path.as_str()).seen
                && Fact::from(&before.observation) == Fact::from(&observation)
            {
                self.table.insert(path, Seen { observation, settled, ..before });
            }
        });
        Ok(())
    }

    /// Drops all observations: a program has run that may have written anywhere.
    pub fn look_anew(&self) {
        self.look.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether the observations at the start of the run still count.
    pub fn is_first_look(&self) -> bool {
        self.look.load(Ordering::Relaxed) == 0
    }

    /// Returns a number that stays the same as long as no observation is dropped.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Drops the observation of `path`, which may have been written.
    pub(crate) fn forget(&self, path: impl AsRef<str>) {
        let path = path.as_ref();
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.table.forget(path);
    }

    /// Drops the observations of `folder` and everything below it, which may have been written, or will
    /// be before the next read.
    pub(crate) fn forget_folder(&self, folder: &RelPath) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        lock(&self.listed).retain(|path, _| !path.is_within(folder));
        self.table.forget_folder(folder);
    }

    /// See [`Project::find_program`]; searched once a run for each word.
    fn program(&self, project: &Project, word: &str) -> Option<PathBuf> {
        let mut programs = lock(&self.programs);
        if let Some(found) = programs.get(word) {
            return found.clone();
        }
        let found = project.find_program(word);
        programs.insert(word.to_owned(), found.clone());
        found
    }

    /// Returns the state of a file outside the project, links followed, read once a run.
    fn external(&self, place: &Path) -> Result<FileState> {
        let failed = || format!("could not read `{}`", place.display());
        let mut all = lock(&self.external);
        let known = all.get(place);
        if let Some(External { state, checked: true }) = known {
            return Ok(*state);
        }
        let stat = Stat::from(&fs::metadata(place).with_context(failed)?);
        let state = match known.filter(|known| known.state.stat == stat) {
            Some(known) => known.state,
            None => FileState { stat, digest: Digest::of_file(place).with_context(failed)? },
        };
        all.insert(place.to_path_buf(), External { state, checked: true });
        Ok(state)
    }

    /// Returns the observation of a path whose stat data would not have shown another write when it was
    /// `before`, if it would by now and the path still has the same content.
    pub fn settled_observation(&self, path: &RelPath, before: &Observation) -> Option<Observation> {
        let seen = self.table.find(path.as_str()).seen.filter(|seen| seen.settled)?;
        (Fact::from(&seen.observation) == Fact::from(before)).then_some(seen.observation)
    }

    /// Returns whether the stat data of a file outside the project would show any later write.
    pub fn is_settled(&self, stat: &Stat) -> bool {
        stat.is_before(self.settled())
    }

    /// Returns the observations of earlier runs, as they were given to [`Files::new`].
    pub fn scanned(&self) -> &Pieces {
        self.table.scanned()
    }

    /// As [`Files::past`], of a file system with another clock.
    fn settled(&self) -> i64 {
        self.now.load(Ordering::Relaxed).saturating_sub(clock::margin())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("BUG: no holder of this lock panics")
}
