//! What is in the project's files: digests, found out at most once a run, and at most once ever
//! while a file's stat data stays the same.
//!
//! Stat data is only a shortcut. A remembered digest is used when size, mtime, ctime, inode and
//! mode are equal and both times lie before the instant at which the digest was taken, as the
//! file system's own clock tells it; so a rewrite within one clock tick is never missed. Knows
//! nothing of targets; safe to ask from several threads.

mod known;
mod look;
mod recall;
mod sight;
mod walk;

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rayon::prelude::*;

use crate::base::fs::TEMP_PREFIX;
use crate::base::{Digest, RelPath, clock};
use crate::project::{Project, STATE_FOLDER};

pub use known::Known;
use known::{Entry, Found};
pub use recall::Pieces;
pub use sight::{Now, Sight};
use walk::Listing;
pub use walk::Selection;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The text of a symbolic link, when the path is one.
    pub link: Option<String>,
    /// What is there, links followed.
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
    /// A socket, a device: nothing that can be an input.
    Other,
}

/// Stat data of a file, as far as a rewrite could change it. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub inode: u64,
    pub mode: u32,
}

/// What every write to a file changes: its size, mtime or inode.
pub type Written = (u64, i64, u64);

impl Stat {
    pub fn written(&self) -> Written {
        (self.size, self.mtime, self.inode)
    }
}

/// Digests that are kept from one run to the next.
#[derive(Default)]
pub struct Memory {
    pub files: Known,
    /// Programs outside the project, by absolute path.
    pub tools: Vec<(PathBuf, Remembered)>,
}

/// What a [`Memory`] did not have, or had otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    pub files: Vec<LearnedFile>,
    pub tools: Vec<(PathBuf, Remembered)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedFile {
    pub path: RelPath,
    pub remembered: Remembered,
    /// Whether the memory had another digest of it.
    pub replaces: bool,
}

/// A digest and the stat data it was taken under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub stat: Stat,
    pub digest: Digest,
}

/// A path that an earlier build looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    pub path: RelPath,
    /// What was there then.
    pub sight: Sight,
    pub now: Now,
}

/// What a build looked at.
pub struct Sights<'a> {
    paths: Vec<(&'a RelPath, Seeing<'a>)>,
    /// Programs outside the project, links followed.
    pub tools: Vec<(PathBuf, Stat)>,
    /// Words, and where the program of that name is.
    pub programs: Vec<(String, Option<PathBuf>)>,
}

/// A sight, and who has it.
enum Seeing<'a> {
    /// Of this run. The sight is made when it is asked for: there may be hundreds of thousands.
    Now(&'a Entry),
    /// Recalled, or listed.
    Before(&'a Sight),
}

impl Sights<'_> {
    /// How many paths there are.
    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Some of the paths, which are sorted. A folder may come twice: looked at, and listed.
    pub fn paths(&self, range: Range<usize>) -> impl Iterator<Item = (&RelPath, Cow<'_, Sight>)> {
        self.paths[range].iter().map(|(path, seeing)| match seeing {
            Seeing::Now(entry) => {
                let sight = entry.sight().flatten().expect("BUG: only what has one is here");
                (*path, Cow::Owned(sight))
            }
            Seeing::Before(sight) => (*path, Cow::Borrowed(*sight)),
        })
    }
}

/// A program's digest; `checked` when its stat data was looked at in this run.
struct Tool {
    remembered: Remembered,
    checked: bool,
}

/// What was found at a path in this run.
#[derive(Clone, Debug)]
struct Seen {
    fact: Fact,
    /// Of a file.
    stat: Option<Stat>,
}

impl Seen {
    fn file(link: Option<String>, digest: Digest, stat: Stat) -> Self {
        let content = Content::File { digest, executable: stat.mode & 0o100 != 0, size: stat.size };
        Self { fact: Fact { link, content }, stat: Some(stat) }
    }
}

/// How often, and how long each time, a file's own last write is waited for to be in the past.
/// Clocks tick every 10 ms at the slowest.
const SETTLE_TRIES: usize = 20;
const SETTLE_WAIT: Duration = Duration::from_millis(1);
/// How long that is in all, in nanoseconds: what lies further ahead is not waited for.
const SETTLE_MOST: i64 = 20_000_000;

pub struct Files {
    root: PathBuf,
    /// Outputs that a wildcard does not reach: see [`Files::matches`].
    hidden: Vec<RelPath>,
    /// The project's root, where it can be opened: paths are then looked up from there.
    start: Option<File>,
    known: Known,
    /// Digests of files that zipwright itself wrote, and what any later write would change.
    made: Mutex<HashMap<RelPath, (Written, Digest)>>,
    /// Folders that were listed.
    listed: Mutex<HashMap<RelPath, Listing>>,
    /// How often everything had to be looked at anew: see [`Files::look_anew`].
    looks: AtomicU32,
    /// How often something was said to be no longer as it was seen.
    changes: AtomicU64,
    /// Programs outside the project, by absolute path.
    tools: Mutex<HashMap<PathBuf, Tool>>,
    /// Where programs were found, by the word they were looked for by.
    programs: Mutex<BTreeMap<String, Option<PathBuf>>>,
    /// Instant of the file system's clock, in nanoseconds; see [`Files::tick`].
    now: AtomicI64,
    /// The file system whose clock that is.
    device: AtomicU64,
    clock: PathBuf,
}

impl Files {
    /// `memory` comes from the state of earlier runs; `hidden` are the outputs that globs pass
    /// over. The state folder is where the clock is read.
    pub fn new(root: &Path, hidden: Vec<RelPath>, memory: Memory) -> Self {
        let tools = memory
            .tools
            .into_iter()
            .map(|(path, remembered)| (path, Tool { remembered, checked: false }));
        Self {
            root: root.to_path_buf(),
            hidden,
            start: File::open(root).ok(),
            known: memory.files,
            made: Mutex::default(),
            listed: Mutex::default(),
            looks: AtomicU32::new(0),
            changes: AtomicU64::new(0),
            programs: Mutex::default(),
            tools: Mutex::new(tools.collect()),
            now: AtomicI64::new(i64::MIN),
            device: AtomicU64::new(0),
            clock: root.join(STATE_FOLDER),
        }
    }

    /// Reads the file system's clock, by making and removing a file. Digests taken afterwards are
    /// remembered for files whose times lie before this instant. Never called, nothing is newly
    /// remembered: a dry run writes nothing at all.
    pub fn tick(&self) -> io::Result<()> {
        let probe = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(&self.clock)?;
        let meta = probe.as_file().metadata()?;
        // Of a new file both are the same instant, unless one of them is kept less precisely.
        let Stat { mtime, ctime, .. } = stat_of(&meta);
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

    /// What is at `path`. Found out once a run, until [`Files::forget`] or [`Files::look_anew`].
    pub fn fact(&self, path: &RelPath) -> Result<Fact> {
        Ok(self.see(path)?.fact)
    }

    /// What a write to the file at `path` would change, though it wrote the same bytes: of the
    /// moment at which [`Files::fact`] was found out. The ctime is no part of it: a new link to
    /// a file is no write.
    pub fn written(&self, path: impl AsRef<str>) -> Result<Option<Written>> {
        let path = path.as_ref();
        if let Some(seen) = self.known.find(path).and_then(|found| found.seen) {
            return Ok(seen.stat.as_ref().map(Stat::written));
        }
        let path =
            RelPath::parse(path).map_err(|_| anyhow!("`{path}` is no path in the project"))?;
        Ok(self.see(&path)?.stat.as_ref().map(Stat::written))
    }

    /// Whether a file with this digest and these permission bits, and no link, was seen at `path`;
    /// `false` also where nobody has looked.
    pub fn saw(&self, path: &str, digest: Digest, mode: u32) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        let found = self.known.find(path).filter(|found| found.of == looks);
        let is_it = |seen: Seen| {
            let is_file =
                matches!(seen.fact.content, Content::File { digest: found, .. } if found == digest);
            is_file
                && seen.fact.link.is_none()
                && seen.stat.is_some_and(|stat| stat.mode & 0o7777 == mode)
        };
        found.and_then(|found| found.seen).is_some_and(is_it)
    }

    /// The permission bits of the file at `path`, as [`Files::fact`] found it; of what a link leads to.
    pub fn mode(&self, path: &RelPath) -> Result<Option<u32>> {
        Ok(self.see(path)?.stat.map(|stat| stat.mode & 0o7777))
    }

    /// Says that `file`, finished but still under a name that nobody knows, has this digest and
    /// is about to be renamed to `path`: it need not be read again. Waits until the clock of the
    /// file system has passed the last write, so that any other shows.
    pub fn made(&self, path: &RelPath, file: &File, digest: Digest) -> Result<()> {
        let failed = || format!("could not read the time of `{path}`");
        let meta = file.metadata().with_context(failed)?;
        let stat = stat_of(&meta);
        // Where the clock stands still, or is another one, the file is read, like any other.
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
        let looks = self.looks.load(Ordering::Relaxed);
        let before = match self.known.find(path.as_str()) {
            Some(Found { seen: Some(seen), of, .. }) if of == looks => return Ok(seen),
            Some(Found { remembered, .. }) => remembered,
            None => self.left_to_read(path),
        };
        let found = self.look(path, before).with_context(|| format!("could not read `{path}`"))?;
        let seen = found.0.clone();
        self.known.saw(path, found, looks);
        Ok(seen)
    }

    /// What earlier runs remembered of a path of which nothing is known yet.
    fn left_to_read(&self, path: &RelPath) -> Option<Remembered> {
        self.known.read_rest();
        self.known.find(path.as_str())?.remembered
    }

    /// Takes it that what an earlier build looked at was looked at in this run already, before
    /// anything ran.
    pub fn recall(&mut self, recalled: Pieces) {
        let index = || recall::Index::of(&recalled);
        let (index, ()) = rayon::join(index, || self.recall_listings(&recalled));
        self.known.recall(index.with(recalled));
    }

    /// What is at each of many paths, found out in parallel.
    pub fn facts<P: Borrow<RelPath> + Sync>(&self, paths: &[P]) -> Result<Vec<Fact>> {
        let fact = |path: &P| self.fact(path.borrow());
        let facts: Vec<Result<Fact>> = paths.par_iter().with_min_len(64).map(fact).collect();
        // Only now: of several errors it is always the first one that is told.
        facts.into_iter().collect()
    }

    /// Looks once more at what was written so shortly before it was looked at that a later write
    /// might not show, now that it would; if it has `least` bytes or more in all, as the clock has to
    /// be waited for. What is something else by now is left in doubt.
    pub fn settle(&self, least: u64) -> io::Result<()> {
        let mut young = Vec::new();
        let (mut latest, mut bytes) = (i64::MIN, 0);
        for shard in self.known.shards() {
            for (path, entry) in lock(shard).iter() {
                if let Some(stat) = entry.unsettled() {
                    latest = latest.max(stat.mtime).max(stat.ctime);
                    bytes += stat.size;
                    young.push(path.clone());
                }
            }
        }
        if young.is_empty() || bytes < least || !self.tick_past(latest)? {
            return Ok(());
        }
        young.par_iter().with_min_len(64).for_each(|path| {
            let Ok((seen, digest)) = self.look(path, None) else { return };
            if let Some(entry) = self.known.shard(path.as_str()).get_mut(path)
                && entry.seen().is_some_and(|before| before.fact == seen.fact)
            {
                entry.saw(seen, digest, entry.of);
            }
        });
        Ok(())
    }

    /// A program has ended that may have written anywhere: what was seen before is not relied on.
    pub fn look_anew(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// While this number is the same, so is everything that was seen.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Something may have written at `path`: look again when asked.
    pub fn forget(&self, path: impl AsRef<str>) {
        let path = path.as_ref();
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.known.forget(path);
    }

    /// Something may have written anywhere below `folder`, or will before anybody looks there again.
    pub fn forget_folder(&self, folder: &RelPath) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        lock(&self.listed).retain(|path, _| !path.is_within(folder));
        self.known.forget_folder(folder);
    }

    /// The digest of a program outside the project, links followed.
    pub fn tool(&self, place: &Path) -> Result<Digest> {
        let failed = || format!("could not read `{}`", place.display());
        let mut tools = lock(&self.tools);
        let known = tools.get(place);
        if let Some(Tool { remembered, checked: true }) = known {
            return Ok(remembered.digest);
        }
        let stat = stat_of(&fs::metadata(place).with_context(failed)?);
        let digest = match known.filter(|tool| tool.remembered.stat == stat) {
            Some(tool) => tool.remembered.digest,
            None => Digest::of_file(place).with_context(failed)?,
        };
        let remembered = Remembered { stat, digest };
        tools.insert(place.to_path_buf(), Tool { remembered, checked: true });
        Ok(digest)
    }

    /// As [`Project::find_program`], once for each word.
    pub fn program(&self, project: &Project, word: &str) -> Option<PathBuf> {
        let mut programs = lock(&self.programs);
        if let Some(found) = programs.get(word) {
            return found.clone();
        }
        let found = project.find_program(word);
        programs.insert(word.to_owned(), found.clone());
        found
    }

    /// Shows `to` all that was looked at in this run, when stat data alone can tell whether it is
    /// still so. Nobody can look at anything else meanwhile.
    pub fn sights<T>(&self, to: impl FnOnce(&Sights) -> T) -> Option<T> {
        let shards: Vec<_> = self.known.shards().iter().map(lock).collect();
        let listed = lock(&self.listed);
        let mut folders = Vec::with_capacity(listed.len());
        for (path, listing) in listed.iter() {
            folders.push((path, Seeing::Before(listing.sight.as_ref()?)));
        }
        folders.sort_unstable_by_key(|(path, _)| *path);
        let paths = self.known.seen(&shards, folders)?;
        let settled = self.settled();
        let tools = lock(&self.tools);
        let used = tools.iter().filter(|(_, tool)| tool.checked);
        let mut tools: Vec<_> =
            used.map(|(path, tool)| (path.clone(), tool.remembered.stat)).collect();
        if tools.iter().any(|(_, stat)| stat.mtime >= settled || stat.ctime >= settled) {
            return None;
        }
        tools.sort_by(|(a, _), (b, _)| a.cmp(b));
        let programs = lock(&self.programs).clone().into_iter().collect();
        Some(to(&Sights { paths, tools, programs }))
    }

    /// What is worth remembering, sorted, and was not remembered like this by earlier runs. Programs are
    /// few: here are all of them.
    pub fn learned(&self) -> Learned {
        let files = self.known.learned();
        let settled = self.settled();
        let mut tools: Vec<_> = lock(&self.tools)
            .iter()
            .map(|(path, tool)| (path.clone(), tool.remembered))
            .filter(|(_, entry)| entry.stat.mtime < settled && entry.stat.ctime < settled)
            .collect();
        tools.sort_by(|(a, _), (b, _)| a.cmp(b));
        Learned { files, tools }
    }

    /// All digests known, whoever remembers them, sorted by path.
    pub fn remembered(&self) -> Vec<(RelPath, Remembered)> {
        self.known.remembered()
    }

    /// As [`Files::past`], of a file system with another clock.
    fn settled(&self) -> i64 {
        self.now.load(Ordering::Relaxed).saturating_sub(clock::margin())
    }
}

/// Stat data as it is kept.
pub fn stat_of(meta: &Metadata) -> Stat {
    Stat {
        size: meta.size(),
        mtime: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        ctime: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        inode: meta.ino(),
        mode: meta.mode(),
    }
}

fn nanoseconds(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("BUG: no holder of this lock panics")
}
