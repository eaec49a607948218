//! Reuse of packed members of the previous bundle, so that a build packs only changed members.
//!
//! The members are read from the bundle in its place; an index beside the manifests has the offset
//! of the packed bytes of each content. The index is used only if the bundle is byte for byte the
//! one that it was made with, and the compressor is the same. It is a cache: without it, everything
//! is packed again, to the same bytes.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use zipwright_store::Format;

use crate::base::fs::{self, Range};
use crate::base::{Digest, RelPath};
use crate::bundle::{Method, Packing};
use crate::files::Content;
use crate::observation::Stat;
use crate::project::STATE_FOLDER;
use crate::target::Job;

const FORMAT: Format = Format::new("packed members", 1);

/// Packed bytes of a content, and their offset in a bundle.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct PackedMember {
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) size: u64,
    pub(super) compressed: u64,
    pub(super) offset: u64,
}

pub(super) type Index = BTreeMap<Digest, PackedMember>;

/// The bundle that will be replaced.
pub(super) struct Previous<'a> {
    path: &'a RelPath,
    file: File,
    stat: crate::observation::Stat,
    index: Index,
}

impl<'a> Previous<'a> {
    /// Returns `None` if there is no bundle with a valid index.
    pub(super) fn open(path: &'a RelPath, packing: Packing, job: &Job) -> Option<Self> {
        let bytes = std::fs::read(job.project.place(&index_path(job))).ok()?;
        let (digest, index) = decode(&bytes, packing)?;
        let file = File::open(job.project.place(path)).ok()?;
        let stat = Stat::from(&file.metadata().ok()?);
        // The digest is that of the file with this stat data, or was just verified.
        let known = matches!(job.files.fact(path).ok()?.content,
            Content::File { digest: now, .. } if now == digest);
        known.then_some(Self { path, file, stat, index })
    }

    pub(super) fn find(&self, content: &Digest) -> Option<&PackedMember> {
        self.index.get(content)
    }

    pub(super) fn bytes(&self, place: &PackedMember) -> Range<&File> {
        Range::new(&self.file, place.offset, place.compressed)
    }

    /// Fails if the old bundle was modified meanwhile. Call it after the last read.
    pub(super) fn check(&self, job: &Job) -> Result<()> {
        let read = self.stat.written();
        let now = self.file.metadata().map(|meta| Stat::from(&meta));
        if job.files.written(self.path)? != Some(read) || now.ok() != Some(self.stat) {
            bail!("`{}` changed while it was read: run zipwright again", self.path);
        }
        Ok(())
    }
}

/// Writes the index of the bundle with this digest, which is now in its place.
pub(super) fn remember(index: &Index, packing: Packing, bundle: &Digest, job: &Job) -> Result<()> {
    let bytes = FORMAT.seal(&(compressor(packing), bundle, index))?;
    fs::write_over(&job.files.to_write(&index_path(job))?, &bytes)
}

/// Returns the settings that decide the packed bytes of a content.
fn compressor(packing: Packing) -> String {
    format!("{packing:?} {}", packing.form())
}

fn decode(bytes: &[u8], packing: Packing) -> Option<(Digest, Index)> {
    let (by, bundle, index): (String, Digest, Index) = FORMAT.open(bytes)?;
    (by == compressor(packing)).then_some((bundle, index))
}

fn index_path(job: &Job) -> RelPath {
    let name = Digest::of(job.target.name.value.as_bytes());
    RelPath::parse(&format!("{STATE_FOLDER}/packed/{name:.32}"))
        .expect("BUG: hex is part of a path")
}
