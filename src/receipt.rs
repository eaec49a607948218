//! Receipts of builds after which there is nothing to do: all that was looked at. While every bit
//! of it is still so, the same question has the same answer, and nothing need be parsed, hashed
//! or judged to give it.
//!
//! A receipt is never a truth of its own. It is valid for one program, one command line, one
//! environment and one state file, holds stat data under the rules of [`crate::files`], and is
//! thrown away for any doubt. What was found to be as it was need not be looked at a second time.
//! Knows nothing of targets, keys or the Buildfile's meaning.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rayon::prelude::*;

use crate::base::digest::FieldHasher;
use crate::base::fs::{open_itself, open_own, remove};
use crate::base::parallel;
use crate::base::sealed::{Decoder, Encoder};
use crate::base::{Digest, RelPath};
use crate::event::{Event, Finished, Outcome, Report, Summary};
use crate::files::{Now, Pieces, Recalled, Remembered, Sight, Sights, Stat, stat_of};
use crate::project::Project;

/// Changes whenever the fields change.
const FORM: &str = "zipwright receipt 4";

const RECEIPTS: &str = "receipts";

/// Variables of the environment that say nothing to anybody but shells.
const IDLE_VARIABLES: [&str; 4] = ["_", "SHLVL", "PWD", "OLDPWD"];

/// One for each way in which a project is built; the oldest makes room.
const MOST_RECEIPTS: usize = 8;

/// So many paths at most are written, read and looked at by one thread at a time. For fewer, no
/// pool is started: that takes longer.
const SECTION: usize = 2048;

/// So many sections are written side by side.
const AT_ONCE: usize = 8;

/// Bytes of a path and what was seen there, more or less.
const USUAL: usize = 100;

/// A command line, given in an environment.
pub struct Question<'a> {
    project: &'a Project,
    place: PathBuf,
}

/// What a build that finds nothing to do has to tell.
pub struct Answer {
    pub up_to_date: usize,
    /// Zips among the targets: name, output, facts.
    pub zips: Vec<Finished>,
}

/// Some of the paths in a receipt, in order.
struct Section {
    bytes: Vec<u8>,
    digest: Digest,
}

impl Section {
    /// What is at each path now; `None` when it is damaged.
    fn look(&self, root: &File) -> Option<Vec<Now>> {
        let mut decoder = Decoder::part(&self.bytes, &self.digest)?;
        let mut found = Vec::with_capacity(SECTION);
        while !decoder.is_at_end() {
            let (path, sight) = (decoder.short_text()?, decode_sight(&mut decoder)?);
            found.push(sight.compare(root, path));
        }
        Some(found)
    }

    /// All that is in it, with what [`Section::look`] found.
    fn recall(&self, now: &[Now]) -> Option<Vec<Recalled>> {
        let mut decoder = Decoder::part(&self.bytes, &self.digest)?;
        let recall = |now: &Now| {
            let path = RelPath::parse(decoder.short_text()?).ok()?;
            Some(Recalled { path, sight: decode_sight(&mut decoder)?, now: *now })
        };
        now.iter().map(recall).collect()
    }
}

impl<'a> Question<'a> {
    pub fn new(project: &'a Project, words: impl Iterator<Item = OsString>) -> Self {
        let mut hasher = FieldHasher::new();
        hasher.field(FORM).field(env!("CARGO_PKG_VERSION"));
        hasher.field(project.root.as_os_str().as_encoded_bytes());
        for word in words {
            hasher.field(word.as_encoded_bytes());
        }
        hasher.field("environment");
        let heard = |name: &&String| !IDLE_VARIABLES.contains(&name.as_str());
        let vars: BTreeMap<_, _> = project.vars().iter().filter(|(name, _)| heard(name)).collect();
        for (name, value) in vars {
            hasher.field(name).field(value);
        }
        let name = format!("{:.32}", hasher.finish());
        Self { project, place: project.state().join(RECEIPTS).join(name) }
    }

    /// Whether there is a receipt to look at.
    pub fn has_receipt(&self) -> bool {
        self.place.exists()
    }

    /// The answer of the last time, if nothing that it came from has changed; otherwise what it came
    /// from, if there is anything. Call it under the project's lock.
    pub fn answer(&self) -> Result<Answer, Pieces> {
        let Some((answer, sections)) = self.still_valid() else { return Err(Vec::new()) };
        let Ok(root) = File::open(&self.project.root) else { return Err(Vec::new()) };
        let now: Option<Vec<Vec<Now>>> = if sections.len() <= 1 {
            sections.iter().map(|section| section.look(&root)).collect()
        } else {
            sections.par_iter().map(|section| section.look(&root)).collect()
        };
        let Some(now) = now else { return Err(Vec::new()) };
        if now.iter().flatten().all(|now| *now == Now::Same) {
            return Ok(answer);
        }
        let recalled = sections.par_iter().zip(now).map(|(section, now)| section.recall(&now));
        let recalled: Option<Pieces> = recalled.collect();
        Err(recalled.unwrap_or_default())
    }

    /// What a receipt holds, if nothing but the project's files can have changed since.
    fn still_valid(&self) -> Option<(Answer, Vec<Section>)> {
        let file = open_itself(&self.place).ok()?;
        let end = file.metadata().ok()?.len().checked_sub(8)?;
        let length = u64::from_le_bytes(read(&file, end, 8)?.try_into().ok()?);
        let bytes = read(&file, end.checked_sub(length)?, length)?;
        let mut decoder = Decoder::open(&bytes, FORM)?;
        let same = decode_stat(&mut decoder)? == own_stat()?
            && decode_stat(&mut decoder)? == self.state_stat()?;
        if !same {
            return None;
        }
        let answer = decode_answer(&mut decoder)?;
        let programs = decode_list(&mut decoder, |decoder| {
            let word = decoder.text()?;
            Some((word, decoder.flag()?.then(|| decoder.text().map(Path::new)).flatten()))
        })?;
        let found = |word| self.project.find_program(word);
        if programs.iter().any(|(word, place)| found(word).as_deref() != *place) {
            return None;
        }
        let tools =
            decode_list(&mut decoder, |decoder| Some((decoder.text()?, decode_stat(decoder)?)))?;
        let now = |path: &str| fs::metadata(path).ok().map(|meta| stat_of(&meta));
        if tools.iter().any(|(path, stat)| now(path) != Some(*stat)) {
            return None;
        }
        let mut start = 0_u64;
        let places = decode_list(&mut decoder, |decoder| {
            let (length, digest) = (decoder.number()?, decoder.digest()?);
            start = start.checked_add(length).filter(|next| *next <= end)?;
            Some((start - length, length, digest))
        })?;
        let section = |(start, length, digest): &(u64, u64, Digest)| {
            Some(Section { bytes: read(&file, *start, *length)?, digest: *digest })
        };
        let sections: Option<Vec<Section>> = if places.len() <= 1 {
            places.iter().map(section).collect()
        } else {
            parallel::start();
            places.par_iter().map(section).collect()
        };
        Some((answer, sections?))
    }

    /// Keeps what a build had looked at after which there is nothing to do. Call it under the lock,
    /// and after the last write to the state file.
    pub fn keep(&self, answer: &Answer, sights: &Sights) -> Result<()> {
        let (Some(own), Some(state)) = (own_stat(), self.state_stat()) else { return Ok(()) };
        let folder = &self.project.state_folder(RECEIPTS)?;
        let failed = || format!("could not write `{}`", self.place.display());
        let mut file = open_own(&self.place, false).with_context(failed)?;
        let mut sections = Vec::new();
        let starts: Vec<usize> = (0..sights.count()).step_by(SECTION).collect();
        // Not all at once: they would all be in memory.
        for starts in starts.chunks(AT_ONCE) {
            let parts = starts.par_iter().map(|start| encode_section(sights, *start));
            for (bytes, digest) in parts.collect::<Vec<_>>() {
                file.write_all(&bytes).with_context(failed)?;
                sections.push((bytes.len() as u64, digest));
            }
        }
        let Some(head) = encode_head(answer, sights, [own, state], &sections) else {
            return remove(&self.place).map(drop);
        };
        let length = (head.len() as u64).to_le_bytes();
        file.write_all(&[head.as_slice(), &length].concat()).with_context(failed)?;
        let end = file.stream_position().with_context(failed)?;
        file.set_len(end).with_context(failed)?;
        make_room(folder)
    }

    fn state_stat(&self) -> Option<Stat> {
        stat_at(&self.project.state().join(crate::state::FILE_NAME))
    }
}

impl Answer {
    /// Says what the build said.
    pub fn tell(&self, seconds: f64, report: &mut dyn Report) -> Summary {
        report.event(&Event::Planned { targets: self.up_to_date });
        for zip in &self.zips {
            report.event(&Event::Finished(zip.clone()));
        }
        let summary = Summary { up_to_date: self.up_to_date, seconds, ..Summary::default() };
        report.event(&Event::Summary(summary));
        summary
    }
}

/// Of the program that runs: another build of the same version may judge otherwise.
fn own_stat() -> Option<Stat> {
    stat_at(Path::new("/proc/self/exe")).or_else(|| stat_at(&std::env::current_exe().ok()?))
}

/// `None` when it is shorter.
fn read(file: &File, start: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

fn stat_at(path: &Path) -> Option<Stat> {
    fs::metadata(path).ok().map(|meta| stat_of(&meta))
}

fn make_room(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut kept: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    let surplus = kept.len().saturating_sub(MOST_RECEIPTS);
    kept.iter().take(surplus).try_for_each(|(_, path)| remove(path).map(drop))
}

const NOTHING: u64 = 0;
const FILE: u64 = 1;
const FOLDER: u64 = 2;
const LISTED: u64 = 3;
const LINK: u64 = 4;

/// What was looked at from the path `start` on, and its digest.
fn encode_section(sights: &Sights, start: usize) -> (Vec<u8>, Digest) {
    let end = sights.count().min(start + SECTION);
    let mut encoder = Encoder::bare().with_room((end - start) * USUAL);
    for (path, sight) in sights.paths(start..end) {
        encoder.short_text(path.as_str());
        encode_sight(&mut encoder, &sight);
    }
    encoder.part()
}

/// `None` for paths that are no texts.
fn encode_head(
    answer: &Answer,
    sights: &Sights,
    stats: [Stat; 2],
    sections: &[(u64, Digest)],
) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(FORM);
    for stat in &stats {
        encode_stat(&mut encoder, stat);
    }
    encoder.number(answer.up_to_date as u64);
    encoder.number(answer.zips.len() as u64);
    for zip in &answer.zips {
        encoder.text(&zip.target);
        encoder.number(zip.outputs.len() as u64);
        zip.outputs.iter().for_each(|output| encoder.text(output));
        encoder.number(zip.facts.len() as u64);
        for (name, value) in &zip.facts {
            encoder.text(name);
            encoder.text(&value.to_string());
        }
    }
    encoder.number(sights.programs.len() as u64);
    for (word, place) in &sights.programs {
        encoder.text(word);
        encoder.flag(place.is_some());
        if let Some(place) = place {
            encoder.text(place.to_str()?);
        }
    }
    encoder.number(sights.tools.len() as u64);
    for (place, stat) in &sights.tools {
        encoder.text(place.to_str()?);
        encode_stat(&mut encoder, stat);
    }
    encoder.number(sections.len() as u64);
    for (length, digest) in sections {
        encoder.number(*length);
        encoder.digest(digest);
    }
    Some(encoder.seal())
}

fn encode_sight(encoder: &mut Encoder, sight: &Sight) {
    match sight {
        Sight::Nothing => encoder.short(NOTHING),
        Sight::Folder => encoder.short(FOLDER),
        Sight::File(Remembered { stat, digest }) => {
            encoder.short(FILE);
            encode_stat(encoder, stat);
            encoder.digest(digest);
        }
        Sight::Listed(stat, members) => {
            encoder.short(LISTED);
            encode_stat(encoder, stat);
            encoder.short(*members);
        }
        Sight::Link(text, target) => {
            encoder.short(LINK);
            encoder.short_text(text);
            encode_sight(encoder, target);
        }
    }
}

fn encode_stat(encoder: &mut Encoder, stat: &Stat) {
    let Stat { size, mtime, ctime, inode, mode } = stat;
    encoder.short(*size);
    encoder.number(mtime.cast_unsigned());
    // Mostly of the same moment.
    encoder.short(ctime.wrapping_sub(*mtime).cast_unsigned());
    encoder.short(*inode);
    encoder.short(u64::from(*mode));
}

fn decode_answer(decoder: &mut Decoder) -> Option<Answer> {
    let up_to_date = usize::try_from(decoder.number()?).ok()?;
    let zips = decode_list(decoder, |decoder| {
        let target = decoder.text()?.to_owned();
        let outputs = decode_list(decoder, |decoder| decoder.text().map(str::to_owned))?;
        let facts = decode_list(decoder, |decoder| {
            Some((decoder.text()?.to_owned(), serde_json::from_str(decoder.text()?).ok()?))
        })?;
        Some(Finished {
            target,
            kind: "zip",
            outcome: Outcome::UpToDate,
            reasons: Vec::new(),
            seconds: 0.0,
            outputs,
            facts,
            error: None,
        })
    })?;
    Some(Answer { up_to_date, zips })
}

fn decode_sight(decoder: &mut Decoder) -> Option<Sight> {
    Some(match decoder.short()? {
        NOTHING => Sight::Nothing,
        FOLDER => Sight::Folder,
        FILE => {
            let stat = decode_stat(decoder)?;
            Sight::File(Remembered { stat, digest: decoder.digest()? })
        }
        LISTED => Sight::Listed(decode_stat(decoder)?, decoder.short()?),
        LINK => Sight::Link(decoder.short_text()?.to_owned(), Box::new(decode_sight(decoder)?)),
        _ => return None,
    })
}

fn decode_stat(decoder: &mut Decoder) -> Option<Stat> {
    let size = decoder.short()?;
    let mtime = decoder.number()?.cast_signed();
    let ctime = mtime.wrapping_add(decoder.short()?.cast_signed());
    let inode = decoder.short()?;
    let mode = u32::try_from(decoder.short()?).ok()?;
    Some(Stat { size, mtime, ctime, inode, mode })
}

fn decode_list<'a, T>(
    decoder: &mut Decoder<'a>,
    mut item: impl FnMut(&mut Decoder<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    (0..decoder.number()?).map(|_| item(decoder)).collect()
}
