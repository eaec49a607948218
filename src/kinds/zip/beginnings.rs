//! Beginnings of bundles, kept once per user: what bundles of the same wheels have in common. A key
//! is made of all that decides the bytes; a file that does not open only means that these bytes
//! are hashed again.

use std::path::PathBuf;

use anyhow::Result;

use crate::base::digest::FieldHasher;
use crate::base::{Digest, fs};
use crate::bundle::{Beginning, Entry, Manifest, Origin, Packing, Time};
use crate::kinds::Job;

/// The beginning that is made of some entries.
pub(super) struct Known {
    place: PathBuf,
}

impl Known {
    /// `entries` are all of wheels, in their order.
    pub(super) fn new(
        entries: &[&Entry],
        manifest: &Manifest,
        (packing, time): (Packing, Time),
        job: &Job,
    ) -> Self {
        let key = key(entries, manifest, packing, time);
        Self { place: job.project.cache.join("beginnings").join(key.to_string()) }
    }

    pub(super) fn load(&self) -> Option<Beginning> {
        Beginning::decode(&std::fs::read(&self.place).ok()?)
    }

    pub(super) fn save(&self, beginning: &Beginning) -> Result<()> {
        fs::write_if_changed(&self.place, &beginning.encode(), fs::FILE_MODE)?;
        Ok(())
    }
}

fn key(entries: &[&Entry], manifest: &Manifest, packing: Packing, time: Time) -> Digest {
    let mut hasher = FieldHasher::new();
    let (date, time) = time.words();
    hasher.field(format!("{packing:?} {} {date} {time}", packing.form()));
    for entry in entries {
        hasher.field(entry.path.as_str()).field([u8::from(entry.executable)]);
        hasher.field(entry.digest.as_bytes());
        if let Origin::Wheel { wheel, member, .. } = &entry.origin {
            hasher.field(manifest.wheels[*wheel].digest.as_bytes()).field(member);
        }
    }
    hasher.finish()
}
