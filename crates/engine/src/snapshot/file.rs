//! The bytes of the snapshot: sections with the observed paths, each read and compared by one
//! thread, then a head with everything else.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rayon::prelude::*;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use crate::files::Scanned;
use crate::observation::{FileState, Now, Observation, Stat};
use zipwright_store::fs::{open_itself, open_own};
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// Changes whenever the form of the file does.
const FORM: &str = "zipwright snapshot 1";

pub(super) const FILE_NAME: &str = "snapshot";

/// Paths in a section, the last one excepted.
pub(super) const SECTION: usize = 2048;

/// Bytes of a path and its observation, approximately.
const USUAL: usize = 100;

/// Bytes behind the head: its digest, its length.
const TRAILER: usize = 32 + 8;

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) form: String,
    pub(super) program: Stat,
    pub(super) state: Stat,
    /// The Buildfile as it was named, and the digest of the variables that counted in it.
    pub(super) buildfile: String,
    pub(super) overrides: Digest,
    pub(super) declared: Vec<String>,
    /// Whether the graph is that of its observations.
    pub(super) graph_is_sound: bool,
    pub(super) default: Vec<u32>,
    pub(super) names: Texts,
    pub(super) flags: Vec<u8>,
    pub(super) needs: Lists,
    pub(super) after: Lists,
    /// All outputs, in the order of the targets, and the number of each one's target.
    pub(super) outputs: Texts,
    pub(super) owners: Vec<u32>,
    pub(super) results: Vec<Digest>,
    /// The targets that have facts.
    pub(super) facts: Vec<Reported>,
    /// For each memo, the numbers of its observations in the tables.
    pub(super) paths: Lists,
    pub(super) variables_of: Lists,
    pub(super) programs_of: Lists,
    pub(super) external_of: Lists,
    pub(super) variables: Vec<(String, Option<Digest>)>,
    pub(super) programs: Vec<(String, Option<PathBuf>)>,
    pub(super) external: Vec<(PathBuf, FileState)>,
    /// Length and digest of each section.
    pub(super) sections: Vec<(u64, Digest)>,
}

impl Head {
    /// Returns the target with this name, or with this output.
    pub(super) fn find(&self, goal: &str) -> Option<u32> {
        let by_name = || (0..self.names.len()).find(|at| self.names.get(*at) == goal);
        let path = || RelPath::parse(goal).ok();
        let by_path = |path: RelPath| {
            let at = (0..self.outputs.len()).find(|at| self.outputs.get(*at) == path.as_str())?;
            Some(self.owners[at] as usize)
        };
        by_name().or_else(|| by_path(path()?)).map(|target| target as u32)
    }

    pub(super) fn outputs_of(&self, target: u32) -> Vec<String> {
        let owned = self.owners.iter().enumerate().filter(|(_, owner)| **owner == target);
        owned.map(|(at, _)| self.outputs.get(at).to_owned()).collect()
    }
}

/// A target with facts for reports, as JSON texts.
#[derive(Serialize, Deserialize)]
pub(super) struct Reported {
    pub(super) target: u32,
    pub(super) kind: String,
    pub(super) facts: Vec<(String, String)>,
}

/// Many texts in one piece of memory.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    pub(super) fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }
}

/// Many lists of numbers in one piece of memory.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Lists {
    ends: Vec<u32>,
    numbers: Vec<u32>,
}

impl Lists {
    pub(super) fn push(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.numbers.extend(numbers);
        self.ends.push(self.numbers.len() as u32);
    }

    /// Returns a list; an empty one if there is none of this number.
    pub(super) fn of(&self, list: u32) -> &[u32] {
        let list = list as usize;
        let start = if list == 0 { 0 } else { self.ends.get(list - 1).copied().unwrap_or(0) };
        let end = self.ends.get(list).copied().unwrap_or(start);
        &self.numbers[start as usize..end as usize]
    }
}

/// The observations of some paths, encoded.
pub(super) struct Section {
    bytes: Vec<u8>,
    digest: Digest,
}

impl Section {
    /// Calls `each` with the position, the path and the observation of each entry; `None` if the bytes
    /// are damaged.
    pub(super) fn each<'a>(
        &'a self,
        mut each: impl FnMut(usize, &'a str, Observation),
    ) -> Option<()> {
        if Digest::of(&self.bytes) != self.digest {
            return None;
        }
        let mut rest = self.bytes.as_slice();
        let mut at = 0;
        while !rest.is_empty() {
            let ((path, observation), after) = postcard::take_from_bytes(rest).ok()?;
            each(at, path, observation);
            (rest, at) = (after, at + 1);
        }
        Some(())
    }

    /// Compares the wanted paths with the disk; `None` if the section is damaged.
    pub(super) fn compare(
        &self,
        root: impl AsFd,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Option<Vec<Now>> {
        let mut now = Vec::with_capacity(SECTION);
        let mut folder = Folder::default();
        self.each(|at, path, observation| {
            now.push(match is_wanted(at) {
                true => {
                    let (start, rest) = folder.start(root.as_fd(), path);
                    observation.compare(start, rest)
                }
                false => Now::Unchecked,
            });
        })?;
        Some(now)
    }

    /// Returns all entries with the results of the comparison, if there was one.
    pub(super) fn decode(&self, now: Option<&Vec<Now>>) -> Option<Vec<Scanned>> {
        let mut scanned = Vec::with_capacity(SECTION);
        let mut is_sound = true;
        self.each(|at, path, observation| match RelPath::parse(path) {
            Ok(path) => {
                let now = now.map_or(Now::Unchecked, |now| now[at]);
                scanned.push(Scanned { path, observation, now });
            }
            Err(_) => is_sound = false,
        })?;
        is_sound.then_some(scanned)
    }

    pub(super) fn encode(entries: &[(&RelPath, &Observation)]) -> Self {
        let mut bytes = Vec::with_capacity(entries.len() * USUAL);
        for (path, observation) in entries {
            bytes = postcard::to_extend(&(path.as_str(), observation), bytes)
                .expect("BUG: memory takes every byte");
        }
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    pub(super) fn size_and_digest(&self) -> (u64, Digest) {
        (self.bytes.len() as u64, self.digest)
    }
}

/// The folder of the path that was compared last. The paths are sorted, and from their folder the system
/// finds files in less time than from the root.
#[derive(Default)]
struct Folder<'a> {
    path: &'a str,
    /// Opened once a second path is in it.
    open: Option<OwnedFd>,
}

impl<'a> Folder<'a> {
    /// Returns a folder to begin at, and the rest of `path`.
    fn start<'f>(&'f mut self, root: BorrowedFd<'f>, path: &'a str) -> (BorrowedFd<'f>, &'a str) {
        let Some((parent, name)) = path.rsplit_once('/') else { return (root, path) };
        if self.path != parent {
            *self = Self { path: parent, open: None };
            return (root, path);
        }
        if self.open.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.open = openat(root, parent, flags, Mode::empty()).ok();
        }
        self.open.as_ref().map_or((root, path), |folder| (folder.as_fd(), name))
    }
}

/// Returns the head, its digest, and the sections; `None` if there is no file, or a damaged or foreign
/// one.
pub(super) fn read(project: &Project) -> Option<(Head, Digest, Vec<Section>)> {
    let file = open_itself(&project.state().join(FILE_NAME)).ok()?;
    let end = file.metadata().ok()?.len().checked_sub(TRAILER as u64)?;
    let trailer = read_at(&file, end, TRAILER as u64)?;
    let (digest, length) = trailer.split_at(32);
    let length = u64::from_le_bytes(length.try_into().ok()?);
    let bytes = read_at(&file, end.checked_sub(length)?, length)?;
    let head_digest = Digest::of(&bytes);
    if head_digest.as_bytes() != digest {
        return None;
    }
    let head: Head = postcard::from_bytes(&bytes).ok().filter(|head: &Head| head.form == FORM)?;
    let mut places = Vec::with_capacity(head.sections.len());
    let mut start = 0_u64;
    for (length, digest) in &head.sections {
        places.push((start, *length, *digest));
        start = start.checked_add(*length).filter(|next| *next <= end)?;
    }
    let section = |(start, length, digest): &(u64, u64, Digest)| {
        Some(Section { bytes: read_at(&file, *start, *length)?, digest: *digest })
    };
    let sections: Option<Vec<Section>> = if places.len() <= 1 {
        places.iter().map(section).collect()
    } else {
        zipwright_store::parallel::start();
        places.par_iter().map(section).collect()
    };
    Some((head, head_digest, sections?))
}

/// Returns `None` if the file is shorter.
fn read_at(file: &File, start: u64, length: u64) -> Option<Vec<u8>> {
    if start.checked_add(length)? > file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

/// Writes the snapshot over the old one, unless that has a head of the same bytes. A new file would
/// mean an old one to free, which costs more on many a disk.
pub(super) fn write(
    project: &Project,
    mut head: Head,
    sections: &[Section],
    old: Option<Digest>,
) -> Result<()> {
    head.form = FORM.to_owned();
    head.sections = sections.iter().map(Section::size_and_digest).collect();
    let bytes = postcard::to_allocvec(&head).context("could not encode the snapshot")?;
    let digest = Digest::of(&bytes);
    if old == Some(digest) {
        return Ok(());
    }
    let place = project.state().join(FILE_NAME);
    let failed = || format!("could not write `{}`", place.display());
    let mut file = open_own(&place, false).with_context(failed)?;
    for section in sections {
        file.write_all(&section.bytes).with_context(failed)?;
    }
    let length = (bytes.len() as u64).to_le_bytes();
    file.write_all(&[bytes.as_slice(), digest.as_bytes(), &length].concat())
        .with_context(failed)?;
    let end = file.stream_position().with_context(failed)?;
    file.set_len(end).with_context(failed)?;
    Ok(())
}
