//! The bytecode of a wheel, stored as an archive in the form of a wheel: it is checked and read like
//! one, and its members go into a bundle as they are.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use zipwright_store::{Bucket, Cache};

use super::{Compiler, Source};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, fs, private};
use crate::bundle::{BundleWriter, Item, Packed, Packing, Time, Written, pack};
use crate::project::Project;
use crate::pyc::place_of;
use crate::wheel::{Member, Placed, Wheel, layout, write_record};

/// Number of bytes of source that one process compiles, so that large wheels are divided among
/// processes.
const PORTION: u64 = 2 << 20;

/// Returns the sources of a wheel that get bytecode, in portions. Scripts are run, not imported.
pub(super) fn portions(wheel: &Wheel) -> Result<Vec<Vec<Placed<'_>>>> {
    let is_script = |member: &Member| {
        let mut parts = member.name.split('/');
        parts.next().is_some_and(|top| top.ends_with(".data")) && parts.next() == Some("scripts")
    };
    let (mut portions, mut size) = (Vec::new(), PORTION);
    for placed in layout(&wheel.members)? {
        let is_too_large = placed.member.size > SOURCE_MAX;
        if is_too_large || is_script(placed.member) || place_of(&placed.path, (3, 0)).is_none() {
            continue;
        }
        if size >= PORTION {
            portions.push(Vec::new());
            size = 0;
        }
        size += placed.member.size;
        portions.last_mut().expect("BUG: one was just begun").push(placed);
    }
    Ok(portions)
}

/// Most bytes of a source that is compiled. It is in memory, here and in Python.
const SOURCE_MAX: u64 = 64 << 20;

/// Reads a source, and compares it with the digest in the wheel's index.
pub(super) fn source(wheel: &Wheel, placed: &Placed) -> Result<Source> {
    let name = &placed.member.name;
    let mut content = Vec::new();
    wheel
        .content(placed.member)
        .read_to_end(&mut content)
        .with_context(|| format!("could not read `{name}` of `{}`", wheel.file_name))?;
    ensure!(
        Digest::of(&content) == placed.member.digest,
        "`{}` changed while it was read: run zipwright again",
        wheel.file_name
    );
    Ok(Source { path: placed.path.clone(), content })
}

/// Returns the archive with this content if it is in this user's cache and intact.
pub fn reopen(project: &Project, digest: &Digest, file_name: &str) -> Option<Wheel> {
    let cache = project.cache().ok()?;
    let place = place_in(cache, digest, file_name);
    // A damaged one is made again.
    if Digest::of_file(&place).ok()? != *digest {
        let _ = fs::remove(&place);
        return None;
    }
    cache.mark_used(place.parent()?);
    Wheel::open(&place, *digest, cache).ok()
}

/// Returns the path of an archive with this content.
fn place_in(cache: &Cache, digest: &Digest, file_name: &str) -> PathBuf {
    cache.place(Bucket::BytecodeArchives, &digest.to_string()).join(file_name)
}

impl Compiler<'_> {
    pub(super) fn recall(&self, wheel: &Wheel) -> Option<Wheel> {
        let cache = self.project.cache().ok()?;
        let digest = cache.get(Bucket::WheelBytecode, &self.wheel_key(wheel))?;
        reopen(self.project, &digest, &wheel.file_name)
    }

    /// Makes the archive of a wheel from bytecode with the paths of its sources.
    pub(super) fn keep(&self, wheel: &Wheel, compiled: Vec<(&str, &[u8])>) -> Result<Wheel> {
        let mut members: Vec<(String, &[u8])> = compiled
            .into_iter()
            .filter_map(|(path, bytes)| Some((place_of(path, self.minor())?, bytes)))
            .collect();
        members.sort();
        let record_name = format!("{}-{}.dist-info/RECORD", wheel.name.project, wheel.name.version);
        let listed = members.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        let record = write_record(listed, &record_name);
        members.push((record_name, record.as_bytes()));
        members.sort();
        let cache = self.project.cache()?;
        let temp = cache.temporary_file(Bucket::BytecodeArchives)?;
        let work = cache.temporary_folder()?;
        let packed: Vec<Packed> = members
            .par_iter()
            .map(|(name, bytes)| {
                pack(|| Ok(*bytes), Packing::Deflate, work.path())
                    .with_context(|| format!("could not pack `{name}`"))
            })
            .collect::<Result<_>>()?;
        let mut writer = BundleWriter::new(temp, Time::CONSTANT);
        writer.leave_folders_out();
        for ((name, _), mut packed) in members.iter().zip(packed) {
            let Packed { method, crc, size, compressed, .. } = packed;
            let item = Item { name, executable: false, method, crc, compressed, size };
            writer.add(&item, &mut packed.data)?;
        }
        let Written { sink: temp, digest, .. } = writer.finish()?;
        let place = place_in(cache, &digest, &wheel.file_name);
        private::create_dir_all(place.parent().unwrap_or(&place))?;
        fs::persist(temp, &place, private::FILE_MODE)?;
        cache.put(Bucket::WheelBytecode, &self.wheel_key(wheel), &digest)?;
        Wheel::open(&place, digest, cache)
    }

    fn wheel_key(&self, wheel: &Wheel) -> Digest {
        let mut hasher = FieldHasher::new();
        hasher
            .field(self.key(&wheel.file_name, &wheel.digest).as_bytes())
            .field(Packing::Deflate.form());
        hasher.finish()
    }
}
