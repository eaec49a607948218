//! The engine's own records, `.zipwright/state`: for each target the key it was last brought up
//! to date with and what it left; for files the digests remembered with their stat data.
//!
//! An append-only file. After a first line that names the format come records, each with its
//! length and a checksum, each written in one call after the outputs it speaks of are in place.
//! A torn tail is dropped; a file that is foreign or damaged is set aside. Everything here is a
//! cache: losing it costs time, so reading never fails a build. Knows nothing of the graph:
//! targets are names.

mod format;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::base::fs::{self as base_fs, FILE_MODE};
use crate::base::{Digest, RelPath};
use crate::files::{Digests, Learned, Memory, Remembered};
use crate::key::Key;

use format::Item;

/// First line of the file. The number changes whenever a record's layout does.
const MAGIC: &[u8] = b"zipwright state 2\n";
pub const FILE_NAME: &str = "state";

/// The file is written anew when it is longer than this, in bytes, and most of it is of no use.
const COMPACT_MIN: u64 = 1 << 20;
const COMPACT_FACTOR: u64 = 2;

/// As many records as this are read by one thread: to wake others takes as long.
const ALONE: usize = 4096;
/// As many records as this are taken in at a time, so that they are not there twice for long.
const BATCH: usize = 16 * 1024;

/// How a target was last brought up to date.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub key: Key,
    /// What stands for everything the target made, in the keys of those that need it.
    pub result: Digest,
    pub outputs: Vec<RecordedOutput>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Facts for reports, as JSON texts.
    pub facts: Vec<(String, String)>,
}

/// An output as it was left.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedOutput {
    pub path: RelPath,
    /// Digest of what was there: a file's content and mode, or a whole folder's.
    pub digest: Digest,
}

pub struct State {
    folder: PathBuf,
    targets: HashMap<String, Kept>,
    /// As they were when the file was read.
    files: Arc<Digests>,
    /// Those that were learned since.
    newer: Digests,
    tools: HashMap<PathBuf, Remembered>,
    /// Output folders that zipwright made, or began to make.
    owned: BTreeSet<RelPath>,
    /// Bytes of the records that count, of those in the file.
    live: u64,
    /// Length of the file up to its last whole record.
    length: u64,
    /// Where the next record goes; `None` until something is written.
    log: Option<File>,
}

/// A record, and how many bytes of the file it takes.
#[derive(Debug, PartialEq)]
struct Kept {
    record: Record,
    size: u64,
}

impl State {
    /// Reads the state below `folder`, and what there is to say about it. Writes nothing.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        let mut state = Self {
            folder: folder.to_path_buf(),
            targets: HashMap::new(),
            files: Arc::default(),
            newer: Digests::default(),
            tools: HashMap::new(),
            owned: BTreeSet::new(),
            live: 0,
            length: 0,
            log: None,
        };
        let bytes = match fs::read(state.path()) {
            Ok(bytes) => bytes,
            Err(error) if base_fs::is_missing(&error) => return (state, None),
            Err(error) => {
                let text = format!("could not read `{}`: {error}", state.path().display());
                return (state, Some(format!("{text}; everything is looked at anew")));
            }
        };
        let Some(records) = bytes.strip_prefix(MAGIC) else {
            let notice = format!(
                "`{}` is of another version or damaged; everything is looked at anew",
                state.path().display()
            );
            return (state, Some(notice));
        };
        let whole = state.read_records(records);
        state.length = (MAGIC.len() + whole) as u64;
        let notice = (whole < records.len()).then(|| {
            format!(
                "the last {} bytes of `{}` were not written whole and are dropped",
                records.len() - whole,
                state.path().display()
            )
        });
        (state, notice)
    }

    pub fn target(&self, name: &str) -> Option<&Record> {
        self.targets.get(name).map(|kept| &kept.record)
    }

    pub fn targets(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.targets.iter().map(|(name, kept)| (name, &kept.record))
    }

    /// The digests kept by earlier runs.
    pub fn memory(&self) -> Memory {
        let tools = self.tools.iter().map(|(path, entry)| (path.clone(), *entry));
        Memory { files: Arc::clone(&self.files), tools: tools.collect() }
    }

    /// Keeps how a target was brought up to date. Call it after the outputs are in place.
    pub fn record(&mut self, name: &str, record: Record) -> Result<()> {
        let frame = format::target(name, &record);
        self.append(&frame)?;
        self.take_in(Item::Target(name.to_owned(), record), frame.len());
        Ok(())
    }

    /// Forgets a target: it counts as never built.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        if !self.targets.contains_key(name) {
            return Ok(());
        }
        let frame = format::forgotten(name);
        self.append(&frame)?;
        self.take_in(Item::Forgotten(name.to_owned()), frame.len());
        Ok(())
    }

    /// Whether the engine fills this output folder, so that what is in it may be removed.
    pub fn owns(&self, folder: &RelPath) -> bool {
        self.owned.contains(folder)
    }

    /// Says so, before the first file is put there.
    pub fn own(&mut self, folder: RelPath) -> Result<()> {
        if self.owned.contains(&folder) {
            return Ok(());
        }
        let frame = format::owned(&folder);
        self.append(&frame)?;
        self.take_in(Item::Owned(folder), frame.len());
        Ok(())
    }

    /// Keeps the digests learned in this run. Call it last: it is also when the file is made shorter,
    /// if that is worth it.
    pub fn remember(&mut self, learned: Learned) -> Result<()> {
        let mut frames = Vec::new();
        for (path, entry) in learned.files {
            let frame = format::file(&path, &entry);
            frames.extend(&frame);
            self.take_in(Item::File(path, entry), frame.len());
        }
        for (path, entry) in learned.tools {
            let text = path.to_str().filter(|_| self.tools.get(&path) != Some(&entry));
            if let Some(text) = text {
                let frame = format::tool(text, &entry);
                frames.extend(&frame);
                self.take_in(Item::Tool(path, entry), frame.len());
            }
        }
        if !frames.is_empty() {
            self.append(&frames)?;
        }
        if self.length > COMPACT_MIN && self.length > self.live * COMPACT_FACTOR {
            self.compact()?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Takes in the records; how many bytes of whole ones there were. One that is not whole, or cannot
    /// be read, is dropped with all that follows: a torn tail, or a foreign version's.
    fn read_records(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let frames = frames(&bytes[at..]);
            let items: Vec<Option<Item>> = if frames.len() < ALONE {
                frames.iter().map(|frame| format::read(frame)).collect()
            } else {
                frames.par_iter().map(|frame| format::read(frame)).collect()
            };
            let whole = items.iter().take_while(|item| item.is_some()).count();
            for (frame, item) in frames.iter().zip(items.into_iter().flatten()).take(whole) {
                self.take_in(item, frame.len());
                at += frame.len();
            }
            if whole < BATCH {
                break;
            }
        }
        self.files = Arc::new(mem::take(&mut self.newer));
        at
    }

    /// Takes in what a record of `size` bytes in the file says.
    fn take_in(&mut self, item: Item, size: usize) {
        let size = size as u64;
        let (added, gone) = match item {
            Item::Target(name, record) => {
                let before = self.targets.insert(name, Kept { record, size });
                (size, before.map_or(0, |kept| kept.size))
            }
            Item::Forgotten(name) => (0, self.targets.remove(&name).map_or(0, |kept| kept.size)),
            Item::File(path, entry) => {
                let is_known = !self.files.is_empty() && self.files.contains_key(&path);
                let before = self.newer.insert(path, entry);
                (size, if is_known || before.is_some() { size } else { 0 })
            }
            Item::Tool(path, entry) => {
                let before = self.tools.insert(path, entry);
                (size, before.map_or(0, |_| size))
            }
            Item::Owned(folder) => (if self.owned.insert(folder) { size } else { 0 }, 0),
        };
        self.live = self.live + added - gone;
    }

    fn append(&mut self, frames: &[u8]) -> Result<()> {
        let path = self.path();
        let failed = || format!("could not write `{}`", path.display());
        let log = match &mut self.log {
            Some(log) => log,
            None => {
                let log = open_log(&path, self.length).with_context(failed)?;
                self.length = self.length.max(MAGIC.len() as u64);
                self.log.insert(log)
            }
        };
        log.write_all(frames).with_context(failed)?;
        self.length += frames.len() as u64;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        let targets: BTreeMap<_, _> = self.targets.iter().collect();
        for (name, kept) in targets {
            bytes.extend(format::target(name, &kept.record));
        }
        let files: BTreeMap<_, _> = self.files.iter().chain(&self.newer).collect();
        for (path, entry) in files {
            bytes.extend(format::file(path, entry));
        }
        let tools: BTreeMap<_, _> = self.tools.iter().collect();
        for (path, entry) in tools {
            let text = path.to_str().expect("BUG: only paths that are texts are taken in");
            bytes.extend(format::tool(text, entry));
        }
        for folder in &self.owned {
            bytes.extend(format::owned(folder));
        }
        base_fs::write_if_changed(&self.path(), &bytes, FILE_MODE)?;
        self.log = None;
        self.length = bytes.len() as u64;
        self.live = (bytes.len() - MAGIC.len()) as u64;
        Ok(())
    }
}

/// The records that `bytes` begins with, a batch at most.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while frames.len() < BATCH
        && let Some(frame) = format::next_frame(rest)
    {
        frames.push(frame);
        rest = &rest[frame.len()..];
    }
    frames
}

/// Opens the state file for appending after `good` bytes. A file that has none that are good is
/// foreign or damaged: it is set aside, not written over.
fn open_log(path: &Path, good: u64) -> io::Result<File> {
    if good == 0 {
        let aside = path.with_extension("set-aside");
        // The one set aside before makes room; a folder in its place could not be replaced.
        base_fs::remove(&aside).map_err(io::Error::other)?;
        match fs::rename(path, aside) {
            Err(error) if !base_fs::is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    let mut log = OpenOptions::new().create(true).append(true).open(path)?;
    if good == 0 {
        log.write_all(MAGIC)?;
    } else {
        log.set_len(good)?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Stat;
    use crate::key::Value;

    /// All that is read back.
    fn content(state: &State) -> impl PartialEq + std::fmt::Debug {
        let files: BTreeMap<_, _> = state.files.iter().chain(&state.newer).collect();
        let files: Vec<_> = files.into_iter().map(|(path, entry)| (path.clone(), *entry)).collect();
        let targets: BTreeMap<_, _> =
            state.targets().map(|(a, b)| (a.clone(), b.clone())).collect();
        (targets, files, state.tools.clone(), state.owned.clone(), state.live)
    }

    fn record(text: &str) -> Record {
        let mut key = Key::new();
        key.text("run", text);
        key.push("file a", Value::File { digest: Digest::of(b"a"), executable: true });
        key.push("file b", Value::Missing);
        Record {
            key,
            result: Digest::of(text.as_bytes()),
            outputs: vec![RecordedOutput {
                path: RelPath::parse("build/out").unwrap(),
                digest: Digest::of(b"out"),
            }],
            seconds: 1.5,
            facts: vec![("size".into(), "12".into())],
        }
    }

    fn filled(folder: &Path) -> State {
        let (mut state, notice) = State::load(folder);
        assert_eq!(notice, None);
        state.record("one", record("first")).unwrap();
        state.record("two", record("second")).unwrap();
        state.record("one", record("again")).unwrap();
        let stat = Stat { size: 1, mtime: -2, ctime: 3, inode: 4, mode: 0o100_644 };
        let entry = Remembered { stat, digest: Digest::of(b"a") };
        let files = vec![(RelPath::parse("a").unwrap(), entry)];
        let tools = vec![(PathBuf::from("/bin/sh"), entry)];
        state.remember(Learned { files, tools }).unwrap();
        state.own(RelPath::parse("build/staging").unwrap()).unwrap();
        state
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = filled(folder.path());
        let (again, notice) = State::load(folder.path());
        assert_eq!(notice, None);
        assert_eq!(content(&again), content(&state));
        assert_eq!(again.target("one"), Some(&record("again")));
    }

    #[test]
    fn a_forgotten_target_stays_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path()).forget("one").unwrap();
        let (state, _) = State::load(folder.path());
        assert_eq!(state.target("one"), None);
        assert!(state.target("two").is_some());
    }

    #[test]
    fn a_file_cut_at_any_length_loads_and_takes_new_records() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let path = folder.path().join(FILE_NAME);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut state, _) = State::load(folder.path());
            state.record("three", record("third")).unwrap();
            let (state, notice) = State::load(folder.path());
            assert_eq!(notice, None, "cut at {length}");
            assert_eq!(state.target("three"), Some(&record("third")), "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_byte_never_gives_a_wrong_record() {
        let folder = tempfile::tempdir().unwrap();
        let good = filled(folder.path());
        let path = folder.path().join(FILE_NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            let (state, notice) = State::load(folder.path());
            assert!(notice.is_some(), "flipped at {at}");
            for (name, found) in state.targets() {
                let earlier = (name == "one").then(|| record("first"));
                assert!(
                    good.target(name) == Some(found) || earlier.as_ref() == Some(found),
                    "flipped at {at}"
                );
            }
        }
    }

    #[test]
    fn a_foreign_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "zipwright state 99\nmore").unwrap();
        let (mut state, notice) = State::load(folder.path());
        assert!(notice.unwrap().contains("another version"));
        state.record("one", record("first")).unwrap();
        let aside = folder.path().join("state.set-aside");
        assert_eq!(fs::read(aside).unwrap(), b"zipwright state 99\nmore");
        assert_eq!(State::load(folder.path()).0.target("one"), Some(&record("first")));
    }

    #[test]
    fn a_file_that_is_mostly_of_no_use_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = filled(folder.path());
        let mut longest = 0;
        for number in 0..20 {
            // Few records, but long ones.
            state.record("one", record(&format!("{number} {}", "x".repeat(400_000)))).unwrap();
            state.remember(Learned::default()).unwrap();
            longest = longest.max(fs::metadata(state.path()).unwrap().len());
            let (again, notice) = State::load(folder.path());
            assert_eq!(notice, None);
            assert_eq!(content(&again), content(&state));
            assert_eq!(again.length, state.length);
        }
        assert!(longest < 3 * 410_000, "{longest}");
    }

    #[test]
    fn many_records_are_read_by_several_threads_up_to_the_first_that_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = filled(folder.path());
        let stat = Stat { size: 1, mtime: 2, ctime: 3, inode: 4, mode: 0o100_644 };
        let path = |number: usize| RelPath::parse(&format!("src/{number:05}")).unwrap();
        let entry = Remembered { stat, digest: Digest::of(b"a") };
        let count = BATCH + ALONE + 7;
        let files = (0..count).map(|number| (path(number), entry)).collect();
        state.remember(Learned { files, tools: Vec::new() }).unwrap();
        let (again, _) = State::load(folder.path());
        assert_eq!(content(&again), content(&state));
        let mut bytes = fs::read(state.path()).unwrap();
        let last = format::file(&path(count - 1), &entry).len();
        let at = bytes.len() - 5 * last - 1;
        bytes[at] ^= 1;
        fs::write(state.path(), bytes).unwrap();
        let (again, notice) = State::load(folder.path());
        assert!(notice.unwrap().contains("were not written whole"));
        assert_eq!(again.files.len(), 1 + count - 6);
    }

    #[test]
    fn compaction_keeps_what_is_live() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = filled(folder.path());
        for number in 0..50 {
            state.record("one", record(&number.to_string())).unwrap();
        }
        let long = fs::metadata(state.path()).unwrap().len();
        state.compact().unwrap();
        assert!(fs::metadata(state.path()).unwrap().len() < long / 4);
        state.record("three", record("third")).unwrap();
        let (again, notice) = State::load(folder.path());
        assert_eq!(notice, None);
        assert_eq!(content(&again), content(&state));
    }
}
