//! The engine's own records, `.zipwright/state`: for each target the fingerprint that it was last
//! brought up to date with, and the outputs that it left.
//!
//! An append-only file: after a first line that names the format come records, each with its length
//! and a checksum, each written in one call after the outputs it is about are in place. A torn tail
//! is dropped; a file that is foreign or damaged is set aside. All of it is a cache: losing it costs
//! time, so reading never fails a build. Only the positions of records are in memory: a record is read
//! when it is needed. Knows nothing of the graph: targets are names.

mod format;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::key::Key;
use zipwright_store::fs as base_fs;
use zipwright_store::{Digest, RelPath, private};

use format::{Item, Kind};

/// First line of the file. The number changes whenever a record's layout does.
const MAGIC: &[u8] = b"zipwright state 6\n";
pub const FILE_NAME: &str = "state";

/// The file is written anew if it is longer than this, in bytes, and so many times as long as what is
/// up to date: the record of a target of 50,000 files is 3 MB, and each run of it adds one.
const COMPACT_MIN: u64 = 1 << 20;
const COMPACT_FACTOR: u64 = 4;

/// Up to so many records are read by one thread: to wake others takes as long.
const ALONE: usize = 1024;
/// Bytes that are read at a time; more for a record that is longer.
const PIECE: usize = 512 << 10;

/// How a target was last brought up to date.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub key: Key,
    /// Stands for everything the target made, in the fingerprints of the targets that need it.
    pub result: Digest,
    pub outputs: Vec<RecordedOutput>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Facts for reports, as JSON texts.
    pub facts: Vec<(String, String)>,
}

/// An output as it was left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedOutput {
    pub path: RelPath,
    /// Digest of a file's content and mode, or of a whole folder.
    pub digest: Digest,
    /// Permission bits of a file that the target made; `None` for a folder, and for a file that was
    /// only found there.
    pub mode: Option<u32>,
}

/// The files that a target left: they are the target's as long as they are unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    pub outputs: Vec<RecordedOutput>,
    /// Whether the target has a record, or ran since it was last cleaned.
    pub has_run: bool,
    /// Whether its last run began and did not end: zipwright was killed.
    pub interrupted: bool,
}

pub struct State {
    folder: PathBuf,
    targets: HashMap<Box<str>, RecordSpan>,
    /// Targets without a record that ran: the position of the outputs that they left, and whether the
    /// run is still open.
    begun: HashMap<Box<str>, (RecordSpan, bool)>,
    /// Targets without a record whose run succeeded, and that wait until another condition is met.
    waiting: HashMap<Box<str>, RecordSpan>,
    /// Bytes of the records that count.
    live: u64,
    /// Length of the file up to its last whole record.
    length: u64,
    /// The file, if there is a sound one.
    file: Option<File>,
    /// Whether records may be put at its end.
    is_log: bool,
}

/// Position of a target's record in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RecordSpan {
    at: u64,
    /// Bytes, with the frame.
    size: u64,
    /// How long the target took, in seconds.
    seconds: f64,
}

impl State {
    /// Reads the state below `folder`, and returns a notice for the user if part of it was dropped.
    /// Writes nothing.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        let mut state = Self::empty(folder);
        let read = match base_fs::open_itself(&state.path()) {
            Ok(file) => state.read(file),
            Err(error) if base_fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let notice = read.unwrap_or_else(|error| {
            state = Self::empty(folder);
            let shown = state.path();
            let text = format!("could not read `{}`: {error}", shown.display());
            Some(format!("{text}; everything is checked anew"))
        });
        (state, notice)
    }

    fn empty(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            targets: HashMap::new(),
            begun: HashMap::new(),
            waiting: HashMap::new(),
            live: 0,
            length: 0,
            file: None,
            is_log: false,
        }
    }

    /// Reads the file, and returns a notice for the user.
    fn read(&mut self, file: File) -> io::Result<Option<String>> {
        let shown = self.path();
        let mut magic = Vec::with_capacity(MAGIC.len());
        (&file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Ok(Some(format!(
                "`{}` is of another version or damaged; everything is checked anew",
                shown.display()
            )));
        }
        self.length = MAGIC.len() as u64;
        let left = self.read_records(&file)?;
        self.file = Some(file);
        Ok((left > 0).then(|| {
            format!(
                "the last {left} bytes of `{}` were not written whole and are dropped",
                shown.display()
            )
        }))
    }

    /// Returns how a target was last brought up to date; `None` if it was not, or its record is
    /// damaged.
    pub fn target(&self, name: &str) -> Option<Record> {
        format::read_target(self.frame(self.targets.get(name)?).ok()?)
    }

    /// Returns whether a target was ever brought up to date.
    pub fn has(&self, name: &str) -> bool {
        self.targets.contains_key(name)
    }

    /// Returns how long a target took when it was last brought up to date, in seconds.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        self.targets.get(name).map(|place| place.seconds)
    }

    /// Records how a target was brought up to date. Call it after the outputs are in place.
    pub fn record(&mut self, name: &str, record: &Record) -> Result<()> {
        let frame = format::target(Kind::Target, name, record);
        let at = self.append(&frame)?;
        let place = RecordSpan { at, size: frame.len() as u64, seconds: record.seconds };
        self.place(name.into(), place);
        Ok(())
    }

    /// Records that the run of a target succeeded and that it waits for its condition. The record is
    /// the one that it would get now.
    pub fn wait(&mut self, name: &str, record: &Record) -> Result<()> {
        let frame = format::target(Kind::Waits, name, record);
        let at = self.append(&frame)?;
        let place = RecordSpan { at, size: frame.len() as u64, seconds: 0.0 };
        self.wait_at(name.into(), place);
        Ok(())
    }

    /// Returns the record of a target whose wait has not ended; `None` if there is none or it is
    /// damaged.
    pub fn waiting(&self, name: &str) -> Option<Record> {
        format::read_target(self.frame(self.waiting.get(name)?).ok()?)
    }

    /// Returns whether the wait of a target has not ended.
    pub fn waits(&self, name: &str) -> bool {
        self.waiting.contains_key(name)
    }

    /// Forgets a target: it counts as never built, and no file counts as left by it.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        let has = [&self.targets, &self.waiting].iter().any(|places| places.contains_key(name));
        if !has && !self.begun.contains_key(name) {
            return Ok(());
        }
        self.append(&format::forgotten(name))?;
        self.remove(name);
        Ok(())
    }

    /// Returns the files that a target left when it last ran. Fails if the state file cannot be read
    /// any more.
    pub fn left(&self, name: &str) -> Result<Left> {
        let failed = || format!("could not read `{}`", self.path().display());
        if let Some(place) = self.targets.get(name).or_else(|| self.waiting.get(name)) {
            let record = format::read_target(self.frame(place).with_context(failed)?);
            let outputs = record.map(|record| record.outputs).unwrap_or_default();
            return Ok(Left { outputs, has_run: true, interrupted: false });
        }
        let Some((place, interrupted)) = self.begun.get(name) else { return Ok(Left::default()) };
        let outputs = format::read_begun(&self.frame(place).with_context(failed)?);
        let outputs = outputs.unwrap_or_default();
        Ok(Left { outputs, has_run: true, interrupted: *interrupted })
    }

    /// Forgets how a target was brought up to date, but not the files that it left. Call it before a run.
    pub fn begin(&mut self, name: &str, left: &Left) -> Result<()> {
        self.keep_left(name, &left.outputs, true)
    }

    /// Records the files of a run that is not recorded itself: `outputs` if its inputs changed, `None`
    /// if it failed. Files that the target left before still count, unless they are in `outputs`.
    pub fn stop(&mut self, name: &str, outputs: Option<&[RecordedOutput]>) -> Result<()> {
        if !self.begun.contains_key(name) && !self.waiting.contains_key(name) {
            return Ok(());
        }
        let mut all = outputs.unwrap_or_default().to_vec();
        let before = self.left(name)?.outputs.into_iter();
        let before: Vec<_> =
            before.filter(|old| all.iter().all(|new| new.path != old.path)).collect();
        all.extend(before);
        self.keep_left(name, &all, false)
    }

    fn keep_left(&mut self, name: &str, outputs: &[RecordedOutput], open: bool) -> Result<()> {
        let frame = format::begun(name, outputs, open);
        let at = self.append(&frame)?;
        self.begin_at(name.into(), RecordSpan { at, size: frame.len() as u64, seconds: 0.0 }, open);
        Ok(())
    }

    /// Writes the file anew without the records that are out of date, if that is worth it.
    pub fn tidy(&mut self) -> Result<()> {
        if self.length > COMPACT_MIN && self.length > self.live * COMPACT_FACTOR {
            self.compact()?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Reads the records that follow; returns how many bytes are left. One that is not whole, or cannot
    /// be read, is dropped with all that follow: a torn tail, or a foreign version's.
    fn read_records(&mut self, mut file: &File) -> io::Result<u64> {
        let mut bytes = Vec::with_capacity(2 * PIECE);
        loop {
            let before = bytes.len();
            file.take(PIECE as u64).read_to_end(&mut bytes)?;
            let is_end = bytes.len() == before;
            let frames = format::frames(&bytes);
            let items: Vec<Option<Item>> = if frames.len() < ALONE {
                frames.iter().map(|frame| format::read(frame)).collect()
            } else {
                frames.par_iter().map(|frame| format::read(frame)).collect()
            };
            let mut taken = 0;
            let is_sound = items.iter().all(Option::is_some);
            for (frame, item) in frames.iter().zip(items.into_iter().map_while(|item| item)) {
                self.add(&item, frame.len() as u64);
                taken += frame.len();
            }
            bytes.drain(..taken);
            if is_end || !is_sound {
                let rest = io::copy(&mut file, &mut io::sink())?;
                return Ok(bytes.len() as u64 + rest);
            }
        }
    }

    /// Adds the next record of the file, which has `size` bytes there.
    fn add(&mut self, item: &Item, size: u64) {
        let place = RecordSpan { at: self.length, size, seconds: item.seconds };
        self.length += size;
        match item.kind {
            Kind::Target => self.place(item.name.into(), place),
            Kind::Forgotten => self.remove(item.name),
            Kind::Begun { open } => self.begin_at(item.name.into(), place, open),
            Kind::Waits => self.wait_at(item.name.into(), place),
        }
    }

    fn place(&mut self, name: Box<str>, place: RecordSpan) {
        self.remove(&name);
        self.live += place.size;
        self.targets.insert(name, place);
    }

    fn begin_at(&mut self, name: Box<str>, place: RecordSpan, open: bool) {
        self.remove(&name);
        self.live += place.size;
        self.begun.insert(name, (place, open));
    }

    fn wait_at(&mut self, name: Box<str>, place: RecordSpan) {
        self.remove(&name);
        self.live += place.size;
        self.waiting.insert(name, place);
    }

    fn remove(&mut self, name: &str) {
        self.live -= self.targets.remove(name).map_or(0, |place| place.size);
        self.live -= self.waiting.remove(name).map_or(0, |place| place.size);
        self.live -= self.begun.remove(name).map_or(0, |(place, _)| place.size);
    }

    /// Returns the bytes of a record.
    fn frame(&self, place: &RecordSpan) -> io::Result<Vec<u8>> {
        let file = self.file.as_ref().expect("BUG: a record with a place is in a file");
        let mut bytes = vec![0; usize::try_from(place.size).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, place.at)?;
        Ok(bytes)
    }

    /// Returns the position of the frame in the file.
    fn append(&mut self, frame: &[u8]) -> Result<u64> {
        let path = self.path();
        let failed = || format!("could not write `{}`", path.display());
        if !self.is_log {
            self.file = Some(open_log(&path, self.length).with_context(failed)?);
            self.length = self.length.max(MAGIC.len() as u64);
            self.is_log = true;
        }
        let mut log = self.file.as_ref().expect("BUG: the log was opened");
        log.write_all(frame).with_context(failed)?;
        let at = self.length;
        self.length += frame.len() as u64;
        Ok(at)
    }

    fn compact(&mut self) -> Result<()> {
        let path = self.path();
        let mut bytes = MAGIC.to_vec();
        let mut copy = |place: &RecordSpan| {
            let frame = self.frame(place);
            let frame = frame.with_context(|| format!("could not read `{}`", path.display()))?;
            let place = RecordSpan { at: bytes.len() as u64, ..*place };
            bytes.extend(frame);
            anyhow::Ok(place)
        };
        let (mut targets, mut begun, mut waiting) =
            <(HashMap<_, _>, HashMap<_, _>, HashMap<_, _>)>::default();
        for (name, place) in self.targets.iter().collect::<BTreeMap<_, _>>() {
            targets.insert(name.clone(), copy(place)?);
        }
        for (name, place) in self.waiting.iter().collect::<BTreeMap<_, _>>() {
            waiting.insert(name.clone(), copy(place)?);
        }
        for (name, (place, open)) in self.begun.iter().collect::<BTreeMap<_, _>>() {
            begun.insert(name.clone(), (copy(place)?, *open));
        }
        base_fs::write_if_changed(&path, &bytes, private::FILE_MODE)?;
        self.file = File::open(&path).ok();
        let is_read = self.file.is_some();
        self.targets = if is_read { targets } else { HashMap::new() };
        self.begun = if is_read { begun } else { HashMap::new() };
        self.waiting = if is_read { waiting } else { HashMap::new() };
        self.is_log = false;
        self.length = bytes.len() as u64;
        self.live = (bytes.len() - MAGIC.len()) as u64;
        Ok(())
    }
}

/// Opens the state file for appending after `good` bytes. If there are none, a file that is there is
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
    let mut log = base_fs::open_own(path, true)?;
    if good == 0 {
        log.write_all(MAGIC)?;
    } else {
        log.set_len(good)?;
    }
    Ok(log)
}
