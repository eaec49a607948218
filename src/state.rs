//! The engine's own records, `.zipwright/state`: for each target the key it was last brought up
//! to date with and what it left; for files the digests remembered with their stat data.
//!
//! An append-only file. After a first line that names the format come records, each with its
//! length and a checksum, each written in one call after the outputs it speaks of are in place.
//! A torn tail is dropped; a file that is foreign or damaged is set aside. Everything here is a
//! cache: losing it costs time, so reading never fails a build. What is known of a target is read
//! again when somebody asks: in memory is only where it stands. Knows nothing of the graph:
//! targets are names.

mod format;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::base::fs as base_fs;
use crate::base::{Digest, RelPath, private};
use crate::files::{Known, Learned, LearnedFile, Memory, Remembered};
use crate::key::Key;

use format::Item;

/// First line of the file. The number changes whenever a record's layout does.
const MAGIC: &[u8] = b"zipwright state 4\n";
pub const FILE_NAME: &str = "state";

/// The file is written anew when it is longer than this, in bytes, and most of it is of no use.
const COMPACT_MIN: u64 = 1 << 20;
const COMPACT_FACTOR: u64 = 2;

/// As many records as this are read by one thread: to wake others takes as long.
const ALONE: usize = 1024;
/// So many bytes are read at a time, or one record if it is longer.
const PIECE: usize = 512 << 10;

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
    /// Permission bits of a file that the target made; `None` for a folder, and for a file that was
    /// only found there.
    pub mode: Option<u32>,
}

/// The files that a target left, by which it is known whose an output is.
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
    targets: HashMap<Box<str>, Place>,
    /// Digests of files, until somebody takes them.
    files: Known,
    tools: HashMap<PathBuf, Remembered>,
    /// Targets without a record that ran: where it is stored what they left, and whether the run is
    /// still open.
    begun: HashMap<Box<str>, (Place, bool)>,
    /// Bytes of the records that count, of those in the file.
    live: u64,
    /// Length of the file up to its last whole record.
    length: u64,
    /// The file, if there is one that is of use.
    file: Option<File>,
    /// Whether records may be put at its end.
    is_log: bool,
    /// Where the digests of files lie that nobody has read; `None` where all were.
    left: Option<Vec<Range<u64>>>,
}

/// Where a target's record is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    /// Position in the file.
    at: u64,
    /// Bytes, with the frame.
    size: u64,
    /// How long the target took, in seconds.
    seconds: f64,
}

impl State {
    /// Reads the state below `folder`, and what there is to say about it. Writes nothing.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        Self::load_by(folder, Self::read_records)
    }

    /// As [`State::load`], of a file that is known to be as it was when it was written: digests of
    /// files are only read when somebody asks for one that is not known otherwise, and records of
    /// targets are checked when they are asked for.
    pub fn skim(folder: &Path) -> (Self, Option<String>) {
        let (mut state, notice) = Self::load_by(folder, Self::skim_records);
        let folder = folder.to_path_buf();
        state.files.leave(move || Self::load(&folder).0.files.remembered());
        (state, notice)
    }

    fn load_by(
        folder: &Path,
        records: fn(&mut Self, &File) -> io::Result<u64>,
    ) -> (Self, Option<String>) {
        let mut state = Self::empty(folder);
        let read = match base_fs::open_itself(&state.path()) {
            Ok(file) => state.read(file, records),
            Err(error) if base_fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let notice = read.unwrap_or_else(|error| {
            state = Self::empty(folder);
            let shown = state.path();
            let text = format!("could not read `{}`: {error}", shown.display());
            Some(format!("{text}; everything is looked at anew"))
        });
        (state, notice)
    }

    fn empty(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            targets: HashMap::new(),
            files: Known::default(),
            tools: HashMap::new(),
            begun: HashMap::new(),
            live: 0,
            length: 0,
            file: None,
            is_log: false,
            left: None,
        }
    }

    /// Takes in what the file holds, its records by `records`; what there is to say about it.
    fn read(
        &mut self,
        file: File,
        records: fn(&mut Self, &File) -> io::Result<u64>,
    ) -> io::Result<Option<String>> {
        let shown = self.path();
        let mut magic = Vec::with_capacity(MAGIC.len());
        (&file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Ok(Some(format!(
                "`{}` is of another version or damaged; everything is looked at anew",
                shown.display()
            )));
        }
        self.length = MAGIC.len() as u64;
        let left = records(self, &file)?;
        self.file = Some(file);
        Ok((left > 0).then(|| {
            format!(
                "the last {left} bytes of `{}` were not written whole and are dropped",
                shown.display()
            )
        }))
    }

    /// How a target was last brought up to date; `None` when it was not, or nobody can tell.
    pub fn target(&self, name: &str) -> Option<Record> {
        format::read_target(self.frame(self.targets.get(name)?).ok()?)
    }

    /// Whether a target was ever brought up to date.
    pub fn has(&self, name: &str) -> bool {
        self.targets.contains_key(name)
    }

    /// How long a target took when it was last brought up to date, in seconds.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        self.targets.get(name).map(|place| place.seconds)
    }

    /// The digests kept by earlier runs. They are handed out once: there are many.
    pub fn memory(&mut self) -> Memory {
        let tools = self.tools.iter().map(|(path, entry)| (path.clone(), *entry));
        Memory { files: mem::take(&mut self.files), tools: tools.collect() }
    }

    /// Keeps how a target was brought up to date. Call it after the outputs are in place.
    pub fn record(&mut self, name: &str, record: &Record) -> Result<()> {
        let frame = format::target(name, record);
        let at = self.append(&frame)?;
        let place = Place { at, size: frame.len() as u64, seconds: record.seconds };
        self.place(name.into(), place);
        Ok(())
    }

    /// Forgets a target: it counts as never built, and nothing counts as left by it.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        if !self.targets.contains_key(name) && !self.begun.contains_key(name) {
            return Ok(());
        }
        self.append(&format::forgotten(name))?;
        self.remove(name);
        Ok(())
    }

    /// The files that a target left when it last ran. Fails if the state file cannot be read any more.
    pub fn left(&self, name: &str) -> Result<Left> {
        let failed = || format!("could not read `{}`", self.path().display());
        if let Some(place) = self.targets.get(name) {
            let record = format::read_target(self.frame(place).with_context(failed)?);
            let outputs = record.map(|record| record.outputs).unwrap_or_default();
            return Ok(Left { outputs, has_run: true, interrupted: false });
        }
        let Some((place, interrupted)) = self.begun.get(name) else { return Ok(Left::default()) };
        let outputs = format::read_begun(&self.frame(place).with_context(failed)?);
        let outputs = outputs.unwrap_or_default();
        Ok(Left { outputs, has_run: true, interrupted: *interrupted })
    }

    /// Forgets how a target was brought up to date, and keeps what it left. Call it before a run.
    pub fn begin(&mut self, name: &str, left: &Left) -> Result<()> {
        self.keep_left(name, &left.outputs, true)
    }

    /// Keeps what a run left that is not recorded: `outputs`, if its inputs changed, or nothing new,
    /// if it failed. What the target left before counts as left where there is nothing new.
    pub fn stop(&mut self, name: &str, outputs: Option<&[RecordedOutput]>) -> Result<()> {
        if !self.begun.contains_key(name) {
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
        self.begin_at(name.into(), Place { at, size: frame.len() as u64, seconds: 0.0 }, open);
        Ok(())
    }

    /// Keeps the digests learned in this run. Call it last: it is also when the file is made shorter,
    /// if that is worth it; `all` are then the digests of files that are known.
    pub fn remember(
        &mut self,
        learned: Learned,
        all: impl FnOnce() -> Vec<(RelPath, Remembered)>,
    ) -> Result<()> {
        let mut frames = Vec::new();
        for LearnedFile { path, remembered, replaces } in learned.files {
            let frame = format::file(&path, &remembered);
            self.live += if replaces { 0 } else { frame.len() as u64 };
            frames.extend(frame);
        }
        let files = frames.len() as u64;
        for (path, entry) in learned.tools {
            let text = path.to_str().filter(|_| self.tools.get(&path) != Some(&entry));
            if let Some(text) = text {
                let frame = format::tool(text, &entry);
                self.tool(path, entry, frame.len());
                frames.extend(frame);
            }
        }
        if !frames.is_empty() {
            let at = self.append(&frames)?;
            if let Some(left) = &mut self.left {
                left.push(at..at + files);
            }
        }
        if self.length > COMPACT_MIN && self.length > self.live * COMPACT_FACTOR {
            self.compact(all)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }

    /// Takes in the records that follow; how many bytes are left. One that is not whole, or cannot be
    /// read, is dropped with all that follows: a torn tail, or a foreign version's.
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
                self.take_in(item, frame.len());
                taken += frame.len();
            }
            bytes.drain(..taken);
            if is_end || !is_sound {
                let rest = io::copy(&mut file, &mut io::sink())?;
                return Ok(bytes.len() as u64 + rest);
            }
        }
    }

    /// As [`State::read_records`], of records that are known to be sound, and reading of a long one
    /// only its beginning.
    fn skim_records(&mut self, file: &File) -> io::Result<u64> {
        self.left = Some(Vec::new());
        let whole = file.metadata()?.len();
        let mut bytes = vec![0; PIECE];
        loop {
            let (before, wanted) = (self.length, (whole - self.length).min(PIECE as u64));
            let bytes = &mut bytes[..wanted as usize];
            file.read_exact_at(bytes, before)?;
            self.skim_piece(bytes, whole);
            if self.length == before || self.length == whole {
                return Ok(whole - self.length);
            }
        }
    }

    /// Skims what begins in the piece of the file that comes next, and does not end behind `whole`.
    fn skim_piece(&mut self, bytes: &[u8], whole: u64) {
        let mut rest = bytes;
        while let Some(size) = format::size(rest)
            && self.length + size as u64 <= whole
        {
            let is_cut = rest.len() < size;
            if is_cut && rest.len() < bytes.len() {
                // It is looked at from its beginning on.
                return;
            }
            let Some(item) = format::skim(&rest[..size.min(rest.len())]) else { return };
            self.take_in(item, size);
            if is_cut {
                return;
            }
            rest = &rest[size..];
        }
    }

    /// Takes in the next record of the file, which has `size` bytes there.
    fn take_in(&mut self, item: Item, size: usize) {
        let (at, length) = (self.length, size as u64);
        self.length += length;
        match item {
            Item::Target(name, seconds) => self.place(name, Place { at, size: length, seconds }),
            Item::Left => self.leave(at..self.length),
            Item::Forgotten(name) => self.remove(&name),
            Item::File(path, entry) => {
                self.live += if self.files.remember(path, entry) { 0 } else { length };
            }
            Item::Tool(path, entry) => self.tool(path, entry, size),
            Item::Begun(name, open) => {
                self.begin_at(name, Place { at, size: length, seconds: 0.0 }, open);
            }
        }
    }

    /// Passes over what lies there.
    fn leave(&mut self, place: Range<u64>) {
        self.live += place.end - place.start;
        let left = self.left.get_or_insert_default();
        match left.last_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => left.push(place),
        }
    }

    fn place(&mut self, name: Box<str>, place: Place) {
        self.remove(&name);
        self.live += place.size;
        self.targets.insert(name, place);
    }

    fn begin_at(&mut self, name: Box<str>, place: Place, open: bool) {
        self.remove(&name);
        self.live += place.size;
        self.begun.insert(name, (place, open));
    }

    fn remove(&mut self, name: &str) {
        self.live -= self.targets.remove(name).map_or(0, |place| place.size);
        self.live -= self.begun.remove(name).map_or(0, |(place, _)| place.size);
    }

    fn tool(&mut self, path: PathBuf, entry: Remembered, size: usize) {
        self.live += if self.tools.insert(path, entry).is_some() { 0 } else { size as u64 };
    }

    /// The bytes of a record.
    fn frame(&self, place: &Place) -> io::Result<Vec<u8>> {
        self.bytes(place.at..place.at + place.size)
    }

    fn bytes(&self, place: Range<u64>) -> io::Result<Vec<u8>> {
        let file = self.file.as_ref().expect("BUG: what has a place is in a file");
        let length = usize::try_from(place.end - place.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, place.start)?;
        Ok(bytes)
    }

    /// Where in the file the first of `frames` is now.
    fn append(&mut self, frames: &[u8]) -> Result<u64> {
        let path = self.path();
        let failed = || format!("could not write `{}`", path.display());
        if !self.is_log {
            self.file = Some(open_log(&path, self.length).with_context(failed)?);
            self.length = self.length.max(MAGIC.len() as u64);
            self.is_log = true;
        }
        let mut log = self.file.as_ref().expect("BUG: the log was opened");
        log.write_all(frames).with_context(failed)?;
        let at = self.length;
        self.length += frames.len() as u64;
        Ok(at)
    }

    /// Writes the file anew. Digests of files that were not read are taken over as they lie there;
    /// else they are `all`.
    fn compact(&mut self, all: impl FnOnce() -> Vec<(RelPath, Remembered)>) -> Result<()> {
        let path = self.path();
        let failed = || format!("could not read `{}`", path.display());
        let mut bytes = MAGIC.to_vec();
        let targets: BTreeMap<_, _> = self.targets.iter().collect();
        let mut places = HashMap::with_capacity(targets.len());
        for (name, place) in targets {
            let frame = self.frame(place).with_context(failed)?;
            places.insert(name.clone(), Place { at: bytes.len() as u64, ..*place });
            bytes.extend(frame);
        }
        let start = bytes.len() as u64;
        match &self.left {
            None => all().iter().for_each(|(path, entry)| bytes.extend(format::file(path, entry))),
            Some(left) => {
                for place in left {
                    bytes.extend(self.bytes(place.clone()).with_context(failed)?);
                }
            }
        }
        let files = start..bytes.len() as u64;
        let tools: BTreeMap<_, _> = self.tools.iter().collect();
        for (path, entry) in tools {
            let text = path.to_str().expect("BUG: only paths that are texts are taken in");
            bytes.extend(format::tool(text, entry));
        }
        let begun: BTreeMap<_, _> = self.begun.iter().collect();
        let mut begun_places = HashMap::with_capacity(begun.len());
        for (name, (place, open)) in begun {
            let frame = self.frame(place).with_context(failed)?;
            let place = Place { at: bytes.len() as u64, ..*place };
            begun_places.insert(name.clone(), (place, *open));
            bytes.extend(frame);
        }
        base_fs::write_if_changed(&path, &bytes, private::FILE_MODE)?;
        self.file = File::open(&path).ok();
        let is_read = self.file.is_some();
        self.targets = if is_read { places } else { HashMap::new() };
        self.begun = if is_read { begun_places } else { HashMap::new() };
        self.is_log = false;
        self.left = self.left.is_some().then(|| vec![files]);
        self.length = bytes.len() as u64;
        self.live = (bytes.len() - MAGIC.len()) as u64;
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
    let mut log = base_fs::open_own(path, true)?;
    if good == 0 {
        log.write_all(MAGIC)?;
    } else {
        log.set_len(good)?;
    }
    Ok(log)
}
