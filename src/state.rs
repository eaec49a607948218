//! The engine's own records, `.zipwright/state`: for each target the key it was last brought up
//! to date with and what it left; for files the digests remembered with their stat data.
//!
//! An append-only file. After a first line that names the format come records, each with its
//! length and a checksum, each written in one call after the outputs it speaks of are in place.
//! A torn tail is dropped; a file that is foreign or damaged is set aside. Everything here is a
//! cache: losing it costs time, so reading never fails a build. Knows nothing of the graph:
//! targets are names.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::fs::{self as base_fs, FILE_MODE};
use crate::base::{Digest, RelPath};
use crate::codec::{Decoder, Encoder};
use crate::files::{Memory, Remembered, Stat};
use crate::key::Key;

/// First line of the file. The number changes whenever a record's layout does.
const MAGIC: &[u8] = b"zipwright state 2\n";
pub const FILE_NAME: &str = "state";

/// Length and checksum in front of each record.
const FRAME: usize = 4 + 8;
/// No record is larger; a length beyond it is damage.
const RECORD_MAX: usize = 1 << 30;
/// The file is rewritten when it holds more than this many records for every live one.
const COMPACT_FACTOR: usize = 3;
const COMPACT_MIN: usize = 1_000;

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
    targets: HashMap<String, Record>,
    files: HashMap<RelPath, Remembered>,
    tools: HashMap<PathBuf, Remembered>,
    /// Output folders that zipwright made, or began to make.
    owned: BTreeSet<RelPath>,
    /// Records in the file, dead ones included.
    stored: usize,
    /// Where the next record goes; `None` until something is written.
    log: Option<File>,
    /// Length of the file up to its last whole record.
    good: u64,
}

impl State {
    /// Reads the state below `folder`, and what there is to say about it. Writes nothing.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        let mut state = Self {
            folder: folder.to_path_buf(),
            targets: HashMap::new(),
            files: HashMap::new(),
            tools: HashMap::new(),
            owned: BTreeSet::new(),
            stored: 0,
            log: None,
            good: 0,
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
        state.good = (MAGIC.len() + whole) as u64;
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
        self.targets.get(name)
    }

    pub fn targets(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.targets.iter()
    }

    /// The digests kept by earlier runs.
    pub fn memory(&self) -> Memory {
        Memory {
            files: self.files.iter().map(|(path, entry)| (path.clone(), *entry)).collect(),
            tools: self.tools.iter().map(|(path, entry)| (path.clone(), *entry)).collect(),
        }
    }

    /// Keeps how a target was brought up to date. Call it after the outputs are in place.
    pub fn record(&mut self, name: &str, record: Record) -> Result<()> {
        let frame = frame(&encode_target(name, &record));
        self.targets.insert(name.to_owned(), record);
        self.append(&frame, 1)
    }

    /// Forgets a target: it counts as never built.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        if self.targets.remove(name).is_none() {
            return Ok(());
        }
        let mut encoder = Encoder::new(KIND_FORGET);
        encoder.text(name);
        self.append(&frame(&encoder.finish()), 1)
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
        let frame = frame(&encode_owned(&folder));
        self.owned.insert(folder);
        self.append(&frame, 1)
    }

    /// Keeps the digests remembered in this run, as far as they are new.
    pub fn remember(&mut self, memory: Memory) -> Result<()> {
        let mut frames = Vec::new();
        let mut count = 0;
        for (path, entry) in memory.files {
            if self.files.get(&path) != Some(&entry) {
                frames.extend(frame(&encode_remembered(KIND_FILE, path.as_str(), &entry)));
                count += 1;
                self.files.insert(path, entry);
            }
        }
        for (path, entry) in memory.tools {
            let text = path.to_str().filter(|_| self.tools.get(&path) != Some(&entry));
            if let Some(text) = text {
                frames.extend(frame(&encode_remembered(KIND_TOOL, text, &entry)));
                count += 1;
                self.tools.insert(path, entry);
            }
        }
        if count > 0 {
            self.append(&frames, count)?;
        }
        if self.stored > COMPACT_MIN && self.stored > self.live() * COMPACT_FACTOR {
            self.compact()?;
        }
        Ok(())
    }

    fn live(&self) -> usize {
        self.targets.len() + self.files.len() + self.tools.len() + self.owned.len()
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Takes in the records; how many bytes of whole ones there were.
    fn read_records(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some((payload, next)) = next_record(bytes, at) {
            // A payload whose checksum is right but that cannot be read is a foreign version's:
            // it and what follows is dropped like a torn tail.
            if self.take_in(payload).is_none() {
                break;
            }
            self.stored += 1;
            at = next;
        }
        at
    }

    fn take_in(&mut self, payload: &[u8]) -> Option<()> {
        let mut decoder = Decoder::new(payload);
        match decoder.byte()? {
            KIND_TARGET => {
                let (name, record) = decode_target(&mut decoder)?;
                self.targets.insert(name, record);
            }
            KIND_FILE => {
                let (path, entry) = decode_remembered(&mut decoder)?;
                self.files.insert(RelPath::parse(&path).ok()?, entry);
            }
            KIND_TOOL => {
                let (path, entry) = decode_remembered(&mut decoder)?;
                self.tools.insert(path.into(), entry);
            }
            KIND_OWNED => {
                self.owned.insert(RelPath::parse(&decoder.text()?).ok()?);
            }
            KIND_FORGET => {
                self.targets.remove(&decoder.text()?);
            }
            _ => return None,
        }
        decoder.is_empty().then_some(())
    }

    fn append(&mut self, frames: &[u8], count: usize) -> Result<()> {
        let path = self.path();
        let failed = || format!("could not write `{}`", path.display());
        let log = match &mut self.log {
            Some(log) => log,
            None => self.log.insert(open_log(&path, self.good).with_context(failed)?),
        };
        log.write_all(frames).with_context(failed)?;
        self.stored += count;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        let mut targets: Vec<_> = self.targets.iter().collect();
        targets.sort_by_key(|(name, _)| *name);
        for (name, record) in targets {
            bytes.extend(frame(&encode_target(name, record)));
        }
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(path, _)| *path);
        for (path, entry) in files {
            bytes.extend(frame(&encode_remembered(KIND_FILE, path.as_str(), entry)));
        }
        let mut tools: Vec<_> = self.tools.iter().collect();
        tools.sort_by_key(|(path, _)| *path);
        for (path, entry) in tools {
            let text = path.to_str().expect("BUG: only paths that are texts are taken in");
            bytes.extend(frame(&encode_remembered(KIND_TOOL, text, entry)));
        }
        for folder in &self.owned {
            bytes.extend(frame(&encode_owned(folder)));
        }
        base_fs::write_if_changed(&self.path(), &bytes, FILE_MODE)?;
        self.log = None;
        self.good = bytes.len() as u64;
        self.stored = self.live();
        Ok(())
    }
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

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME + payload.len());
    let length = u32::try_from(payload.len()).expect("BUG: a record is far smaller than 4 GiB");
    frame.extend(length.to_le_bytes());
    frame.extend(checksum(payload));
    frame.extend(payload);
    frame
}

/// The record that starts at `at`, and where the next one does; `None` when it is not whole.
fn next_record(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let head = bytes.get(at..at + FRAME)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    if length == 0 || length > RECORD_MAX {
        return None;
    }
    let payload = bytes.get(at + FRAME..at + FRAME + length)?;
    (checksum(payload) == head[4..]).then_some((payload, at + FRAME + length))
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let digest = Digest::of(payload);
    digest.as_bytes()[..8].try_into().expect("BUG: a digest has 32 bytes")
}

const KIND_TARGET: u8 = 1;
const KIND_FILE: u8 = 2;
const KIND_FORGET: u8 = 3;
const KIND_TOOL: u8 = 4;
const KIND_OWNED: u8 = 5;

fn encode_target(name: &str, record: &Record) -> Vec<u8> {
    let Record { key, result, outputs, seconds, facts } = record;
    let mut encoder = Encoder::new(KIND_TARGET);
    encoder.text(name).digest(result).number(seconds.to_bits());
    encoder.number(outputs.len() as u64);
    for RecordedOutput { path, digest } in outputs {
        encoder.text(path.as_str()).digest(digest);
    }
    encoder.number(facts.len() as u64);
    for (name, json) in facts {
        encoder.text(name).text(json);
    }
    encoder.bytes(key.as_bytes());
    encoder.finish()
}

fn decode_target(decoder: &mut Decoder) -> Option<(String, Record)> {
    let name = decoder.text()?;
    let result = decoder.digest()?;
    let seconds = f64::from_bits(decoder.number()?);
    let outputs = decoder.list(|decoder| {
        let path = RelPath::parse(&decoder.text()?).ok()?;
        Some(RecordedOutput { path, digest: decoder.digest()? })
    })?;
    let facts = decoder.list(|decoder| Some((decoder.text()?, decoder.text()?)))?;
    let key = Key::from_bytes(decoder.bytes()?.to_vec());
    Some((name, Record { key, result, outputs, seconds, facts }))
}

fn encode_owned(folder: &RelPath) -> Vec<u8> {
    let mut encoder = Encoder::new(KIND_OWNED);
    encoder.text(folder.as_str());
    encoder.finish()
}

fn encode_remembered(kind: u8, path: &str, entry: &Remembered) -> Vec<u8> {
    let Remembered { stat: Stat { size, mtime, ctime, inode, mode }, digest } = entry;
    let mut encoder = Encoder::new(kind);
    encoder.text(path).digest(digest).number(*size);
    encoder.number(mtime.cast_unsigned()).number(ctime.cast_unsigned());
    encoder.number(*inode).number(u64::from(*mode));
    encoder.finish()
}

fn decode_remembered(decoder: &mut Decoder) -> Option<(String, Remembered)> {
    let path = decoder.text()?;
    let digest = decoder.digest()?;
    let stat = Stat {
        size: decoder.number()?,
        mtime: decoder.number()?.cast_signed(),
        ctime: decoder.number()?.cast_signed(),
        inode: decoder.number()?,
        mode: u32::try_from(decoder.number()?).ok()?,
    };
    Some((path, Remembered { stat, digest }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Value;

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
        state.remember(Memory { files, tools }).unwrap();
        state.own(RelPath::parse("build/staging").unwrap()).unwrap();
        state
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = filled(folder.path());
        let (again, notice) = State::load(folder.path());
        assert_eq!(notice, None);
        assert_eq!(again.targets, state.targets);
        assert_eq!(again.files, state.files);
        assert_eq!(again.tools, state.tools);
        assert_eq!(again.owned, state.owned);
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
        assert_eq!(again.targets, state.targets);
        assert_eq!(again.files, state.files);
        assert_eq!(again.tools, state.tools);
        assert_eq!(again.owned, state.owned);
    }
}
