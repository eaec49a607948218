//! The `zip` kind: makes the bundle from a staging tree's manifest, directly from wheels and the
//! project's files. The tree need not exist as a folder.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use tempfile::NamedTempFile;

use self::splice::{Index, PackedMember, Previous};
use super::staging::{self, Origins};
use crate::base::{Digest, RelPath, fs, words};
use crate::buildfile::table::{Reader, Table, boolean, string};
use crate::buildfile::{default_path, value};
use crate::bundle::{
    self, BundleWriter, Entry, Item, Manifest, Method, Origin, Packed, Packing, Time, Written,
};
use crate::diagnostic::Spanned;
use crate::files::Content;
use crate::key::{Key, Value};
use crate::observation::Stat;
use crate::target::{Declared, Done, Findings, Fingerprint, Job, Kind, Output, Reference, Trees};
use crate::targets::checkout::Repository;
use crate::targets::clamp;
use crate::targets::layer::Layer;
use crate::targets::staging::Staging;
use crate::targets::upload::Upload;
use crate::timestamp::{self, Timestamp};
use crate::wheel::{self, Member, Wheel};

#[derive(Clone, Debug)]
pub struct Zip {
    /// Name of a staging target.
    pub staging: Spanned<String>,
    /// The folder of the bundle that contains the tree; `None` for the root.
    pub below: Option<Spanned<RelPath>>,
    pub output: Spanned<RelPath>,
    pub compression: Compression,
    /// The time of every entry; `None`: the constant.
    pub clamp: Option<Spanned<Timestamp>>,
    /// Whether a bundle over Lambda's limits is an error.
    pub limits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Wheels' deflated members as they are; the project's own files deflated.
    Keep,
    /// Everything deflated anew, as small as can be had in reasonable time.
    Smallest,
    /// Nothing compressed.
    Store,
}

impl Zip {
    /// Returns the path of the build record, beside the bundle.
    pub fn record(&self) -> RelPath {
        let path = format!("{}.record.json", self.output.value);
        RelPath::parse(&path).expect("BUG: a longer name is a name")
    }
}

pub(super) fn read(stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Zip> {
    let words = [
        ("keep", Compression::Keep),
        ("smallest", Compression::Smallest),
        ("store", Compression::Store),
    ];
    let staging = table.required("staging", "\"…\"", reader, string);
    let below = table.optional("below", reader, value::path);
    let output = table.optional("output", reader, value::output);
    let compression = table.optional("compression", reader, |item, reader| {
        value::word(item, reader, "compression", &words)
    });
    let clamp = table.optional("clamp", reader, value::zip_instant);
    let limits = table.optional("limits", reader, boolean);
    Some(Zip {
        staging: staging?,
        below: below.filter(|path| !path.value.is_root()),
        output: output.unwrap_or_else(|| default_path(stem, ".zip", table.span())),
        compression: compression.unwrap_or(Compression::Keep),
        clamp,
        limits: limits.unwrap_or(true),
    })
}

mod record;
mod splice;
#[cfg(test)]
mod tests;

/// Size of a batch in bytes; a packed batch is held in memory until it is written.
const BATCH: u64 = 64 << 20;

fn key(zip: &Zip, job: &Job) -> Result<Key> {
    let Zip { staging, below, output, compression, clamp, limits } = zip;
    let mut key = Key::new();
    key.text("form", packing(zip).form());
    let result = job.result_of(&staging.value)?;
    key.push(format!("staging {}", staging.value), Value::Digest(result));
    if let Some(below) = below {
        key.text("below", &below.value);
    }
    key.text("output", &output.value);
    key.text(
        "compression",
        match compression {
            Compression::Keep => "keep",
            Compression::Smallest => "smallest",
            Compression::Store => "store",
        },
    );
    match clamp {
        None => key.text("time", "the constant"),
        Some(clamp) => key.text("time", clamp::seconds(&clamp.value, job)?),
    }
    key.text("limits", limits);
    key.text("record", crate::record::FORM);
    key.text("zipwright", env!("CARGO_PKG_VERSION"));
    for house in record::wheelhouses(staging_of(zip, job)?, job) {
        let platform = house.platform.as_deref().unwrap_or("this host");
        key.text(format!("wheels of {}", house.target), format!("{} for {platform}", house.python));
    }
    Ok(key)
}

fn run(zip: &Zip, job: &Job) -> Result<Done> {
    job.shared.get::<Repository>().start(job.project);
    let name = &zip.staging.value;
    let staging = staging_of(zip, job)?;
    let manifest = manifest(zip, job)?;
    if manifest.entries.is_empty() {
        bail!("`{name}` is empty: give it `wheels` or `sources`");
    }
    let mut origins = Origins::open(staging, job)?;
    origins.add_bytecode(&manifest, staging, job)?;
    let held = manifest.wheels.iter().map(|wheel| wheel.digest);
    if !held.eq(origins.wheels.iter().map(|wheel| wheel.digest)) {
        bail!(
            "the wheels of `{name}` changed while the bundle was being made: run zipwright again"
        );
    }
    let unzipped = manifest.unzipped_size();
    if zip.limits && unzipped > bundle::UNZIPPED_LIMIT {
        bail!("{}", too_large(&manifest, unzipped));
    }
    let place = job.files.to_write(&zip.output.value)?;
    let previous = Previous::open(&zip.output.value, packing(zip), job);
    let ((written, packed), draft) = thread::scope(|scope| {
        let draft = scope.spawn(|| record::Draft::of(staging, (&manifest, &origins), job));
        let written = write(zip, job, (&manifest, &origins, previous.as_ref()), &place)?;
        anyhow::Ok((written, draft.join().expect("BUG: drafting a record does not panic")?))
    })?;
    let code_sha256 = bundle::code_sha256(&written.sha256);
    let Written { sink: file, size, sha256, digest } = written;
    let written = Written { sink: (), size, sha256, digest };
    if let Some(previous) = &previous {
        previous.check(job)?;
    }
    if !is_in_place(&zip.output.value, &written, job)? {
        job.check_replaces(&zip.output.value, &digest)?;
        job.owned.promise([(&zip.output.value, &digest)])?;
        job.files.made(&zip.output.value, file.as_file(), digest)?;
        fs::persist(file, &place, fs::FILE_MODE)?;
    }
    if zip.limits && !bundle::fits_in_a_request(written.size) && !goes_by_s3(job) {
        job.messages.warn(&format!(
            "`{}` has {}, which is more than can be uploaded to Lambda directly (50 MiB): what \
             uploads it needs `s3 = {{ bucket = \"…\" }}`",
            zip.output.value,
            words::size(written.size)
        ));
    }
    drop(place);
    thread::scope(|scope| {
        // Freeing an old bundle's blocks may take as long as writing a new one.
        scope.spawn(|| drop(previous));
        splice::remember(&packed.index, packing(zip), &written.digest, job)?;
        draft.leave(zip, &written, job)
    })?;
    Ok(Done {
        result: Some(result(&code_sha256)),
        facts: vec![
            ("code_sha256".into(), code_sha256.into()),
            ("size".into(), written.size.into()),
            ("unzipped_size".into(), unzipped.into()),
            ("packed".into(), packed.now.into()),
        ],
        ..Done::default()
    })
}

/// Writes the bundle to a temporary file beside its place.
fn write(
    zip: &Zip,
    job: &Job,
    (manifest, origins, previous): (&Manifest, &Origins, Option<&Previous>),
    place: &Path,
) -> Result<(Written<NamedTempFile>, PackedFiles)> {
    let time = match &zip.clamp {
        None => Time::CONSTANT,
        Some(clamp) => Time::at(timestamp::resolve(&clamp.value, job.project)?),
    };
    let folder = place.parent().unwrap_or(&job.project.root);
    let sources =
        Sources { origins, previous, compression: zip.compression, packing: packing(zip), folder };
    let mut writer = BundleWriter::new(fs::temp_beside(place)?, time);
    if zip.compression == Compression::Smallest {
        // Programs that unzip create folders for the files in them.
        writer.leave_folders_out();
    }
    let mut packed = PackedFiles::default();
    sources.write_all(&manifest.entries, &mut writer, &mut packed)?;
    Ok((writer.finish()?, packed))
}

fn packing(zip: &Zip) -> Packing {
    match zip.compression {
        Compression::Keep => Packing::Deflate,
        Compression::Smallest => Packing::Smallest,
        Compression::Store => Packing::Store,
    }
}

/// Returns the result that a run would have with the existing bundle, as far as the file itself
/// shows.
fn touched(zip: &Zip, job: &Job) -> Result<Done> {
    let place = job.project.place(&zip.output.value);
    let code_sha256 = bundle::code_sha256_of(&place)?;
    let size = place.metadata().map_or(0, |meta| meta.len());
    let result = Some(result(&code_sha256));
    let facts = vec![("code_sha256".into(), code_sha256.into()), ("size".into(), size.into())];
    Ok(Done { result, facts, ..Done::default() })
}

/// Returns the digest of the bundle alone: the informative part of the build record is not an input
/// of any target.
fn result(code_sha256: &str) -> Digest {
    Digest::of(code_sha256.as_bytes())
}

/// Returns the files of the bundle, at their paths in it.
pub(super) fn manifest(zip: &Zip, job: &Job) -> Result<Arc<Manifest>> {
    let staged = staging::load(&zip.staging.value, job)?;
    let Some(below) = &zip.below else { return Ok(staged) };
    let mut manifest = Arc::unwrap_or_clone(staged);
    for entry in &mut manifest.entries {
        entry.path = below.value.join(&entry.path);
    }
    Ok(Arc::new(manifest))
}

/// Returns whether every target that sends this bundle to Lambda can send one of any size.
fn goes_by_s3(job: &Job) -> bool {
    let name = &job.target.name.value;
    let ways = job.model.targets.iter().filter_map(|target| {
        let upload = target.kind.get::<Upload>().map(|upload| (&upload.zip, &upload.s3));
        let layer = || target.kind.get::<Layer>().map(|layer| (&layer.zip, &layer.s3));
        let (zip, s3) = upload.or_else(layer)?;
        (zip.value == *name).then_some(s3.is_some())
    });
    let ways: Vec<bool> = ways.collect();
    !ways.is_empty() && !ways.contains(&false)
}

fn staging_of<'a>(zip: &Zip, job: &'a Job) -> Result<&'a Staging> {
    let name = &zip.staging.value;
    job.of_kind("staging", name)
}

/// Number of files of a bundle that were packed by zipwright.
#[derive(Default)]
struct PackedFiles {
    index: Index,
    /// How many of them were packed in this run.
    now: usize,
}

/// The sources of a bundle's data, and its form in the bundle.
struct Sources<'a> {
    origins: &'a Origins<'a>,
    previous: Option<&'a Previous<'a>>,
    compression: Compression,
    packing: Packing,
    /// Folder for content that is too large for memory.
    folder: &'a Path,
}

/// How an entry's data gets into the bundle.
enum Way<'a> {
    /// Copied as stored in the wheel.
    Raw(&'a Wheel, &'a Member),
    /// Inflated from the wheel, and stored.
    Inflated(&'a Wheel, &'a Member),
    /// Copied from the previous bundle, where zipwright packed it.
    Spliced(&'a Previous<'a>, &'a PackedMember),
    /// Packed now.
    Packed,
}

impl Sources<'_> {
    /// Packs entries in parallel, and writes all entries in order, one batch at a time.
    fn write_all(
        &self,
        entries: &[Entry],
        writer: &mut BundleWriter<NamedTempFile>,
        done: &mut PackedFiles,
    ) -> Result<()> {
        let ways: Vec<Result<Way>> =
            entries.par_iter().with_min_len(512).map(|entry| self.way(entry)).collect();
        let ways: Vec<Way> = ways.into_iter().collect::<Result<_>>()?;
        let all: Vec<(&Entry, &Way)> = entries.iter().zip(&ways).collect();
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (batch, next) = rest.split_at(batch_length(rest));
            rayon::in_place_scope(|scope| {
                let mut packing = self.pack_all(batch, scope);
                for (at, (entry, way)) in batch.iter().enumerate() {
                    let packed = match way {
                        Way::Packed => Some(packing.wait_for(at)?),
                        _ => None,
                    };
                    done.now += usize::from(packed.is_some());
                    if let Some(place) = add(writer, entry, way, packed)? {
                        done.index.insert(entry.digest, place);
                    }
                }
                anyhow::Ok(())
            })?;
            rest = next;
        }
        Ok(())
    }

    /// Starts packing the entries of a batch that need it.
    fn pack_all<'scope>(
        &'scope self,
        batch: &[(&'scope Entry, &Way)],
        scope: &rayon::Scope<'scope>,
    ) -> BeingPacked {
        let mut entries: Vec<(usize, &Entry)> = batch
            .iter()
            .enumerate()
            .filter(|(_, (_, way))| matches!(way, Way::Packed))
            .map(|(at, (entry, _))| (at, *entry))
            .collect();
        // The largest first: one file may take as long as a thousand others, and started last, it
        // would run alone.
        entries.sort_by_key(|(_, entry)| Reverse(entry.size));
        let (sender, receiver) = channel();
        for (at, entry) in entries {
            let sender = sender.clone();
            // If writing has failed, the receiver is gone.
            scope.spawn(move |_| drop(sender.send((at, self.pack(entry)))));
        }
        BeingPacked { receiver, waiting: BTreeMap::new() }
    }

    fn way(&self, entry: &Entry) -> Result<Way<'_>> {
        if let Origin::Wheel { wheel, member, new_shebang: false } = &entry.origin
            && let Some(way) = self.way_from_wheel(*wheel, member)?
        {
            return Ok(way);
        }
        let found =
            self.previous.and_then(|previous| Some((previous, previous.find(&entry.digest)?)));
        Ok(found.map_or(Way::Packed, |(previous, place)| Way::Spliced(previous, place)))
    }

    /// Returns `None` if the entry must be packed by zipwright.
    fn way_from_wheel(&self, wheel: usize, member: &str) -> Result<Option<Way<'_>>> {
        let (wheel, member) = self.origins.member(wheel, member)?;
        Ok(match (self.compression, member.method) {
            (Compression::Keep, wheel::Method::Deflated)
            | (Compression::Store, wheel::Method::Stored) => Some(Way::Raw(wheel, member)),
            // Packing gives the same bytes.
            (Compression::Keep, wheel::Method::Stored) if member.size == 0 => {
                Some(Way::Raw(wheel, member))
            }
            (Compression::Store, wheel::Method::Deflated) => Some(Way::Inflated(wheel, member)),
            (Compression::Keep, wheel::Method::Stored) | (Compression::Smallest, _) => None,
        })
    }

    fn pack(&self, entry: &Entry) -> Result<Packed> {
        let open = || self.origins.content(&entry.origin).map_err(io::Error::other);
        let packed = bundle::pack(open, self.packing, self.folder)
            .with_context(|| format!("could not put `{}` into the bundle", entry.path))?;
        if packed.digest != entry.digest {
            let name = Origins::name(&self.origins.wheels, &entry.origin);
            bail!("`{name}` changed while the bundle was being made: run zipwright again");
        }
        Ok(packed)
    }
}

/// Files of a batch that are being packed.
struct BeingPacked {
    receiver: Receiver<(usize, Result<Packed>)>,
    /// Packed entries that arrived before their turn.
    waiting: BTreeMap<usize, Result<Packed>>,
}

impl BeingPacked {
    /// Returns the entry at this position in the batch, when it is packed.
    fn wait_for(&mut self, at: usize) -> Result<Packed> {
        loop {
            if let Some(packed) = self.waiting.remove(&at) {
                return packed;
            }
            // On a thread of the pool itself, other threads may be missing: pack here.
            while rayon::yield_now() == Some(rayon::Yield::Executed) {}
            // A panic of a packing thread is passed on at the end of the scope.
            let (other, packed) = self.receiver.recv().context("a file could not be packed")?;
            self.waiting.insert(other, packed);
        }
    }
}

/// Returns the number of entries in a batch, at least one.
fn batch_length(entries: &[(&Entry, &Way)]) -> usize {
    let mut waiting = 0;
    for (at, (entry, way)) in entries.iter().enumerate() {
        if matches!(way, Way::Packed) {
            waiting += entry.size;
        }
        if waiting > BATCH {
            return at.max(1);
        }
    }
    entries.len()
}

fn add<W: Write>(
    writer: &mut BundleWriter<W>,
    entry: &Entry,
    way: &Way,
    packed: Option<Packed>,
) -> Result<Option<PackedMember>> {
    let item = |method, crc, compressed, size| Item {
        name: entry.path.as_str(),
        executable: entry.executable,
        method,
        crc,
        compressed,
        size,
    };
    match (way, packed) {
        (Way::Raw(wheel, member), _) => {
            let method = match member.method {
                wheel::Method::Stored => Method::Stored,
                wheel::Method::Deflated => Method::Deflated,
            };
            let item = item(method, member.crc, member.compressed, member.size);
            writer.add(&item, &mut wheel.raw(member))?;
            Ok(None)
        }
        (Way::Inflated(wheel, member), _) => {
            let item = item(Method::Stored, member.crc, member.size, member.size);
            writer.add(&item, &mut wheel.content(member))?;
            Ok(None)
        }
        (Way::Spliced(previous, place), _) => {
            let PackedMember { method, crc, size, compressed, .. } = **place;
            let item = item(method, crc, compressed, size);
            let offset = writer.add(&item, &mut previous.bytes(place))?;
            Ok(Some(PackedMember { offset, ..**place }))
        }
        (Way::Packed, packed) => {
            let mut packed = packed.expect("BUG: its batch was packed");
            let Packed { method, crc, compressed, size, .. } = packed;
            let item = item(method, crc, compressed, size);
            let offset = writer.add(&item, &mut packed.data)?;
            Ok(Some(PackedMember { method, crc, size, compressed, offset }))
        }
    }
}

/// Returns a text with the largest parts of the bundle.
fn too_large(manifest: &Manifest, unzipped: u64) -> String {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &manifest.entries {
        let package = match &entry.origin {
            Origin::Wheel { wheel, .. } => manifest.wheels[*wheel].file_name.as_str(),
            Origin::Source(_) => "the project's own files",
        };
        *sizes.entry(package).or_default() += entry.size;
    }
    let mut sizes: Vec<(&str, u64)> = sizes.into_iter().collect();
    sizes.sort_by_key(|(package, size)| (Reverse(*size), *package));
    let mut text = format!(
        "the bundle has {} unzipped, and Lambda takes {} at most; the largest parts are",
        words::size(unzipped),
        words::size(bundle::UNZIPPED_LIMIT)
    );
    for (package, size) in sizes.iter().take(5) {
        text += &format!("\n  {:>9}  {package}", words::size(*size));
    }
    text + "\nleave something out with `exclude`, or set `limits = false` if it is not for Lambda"
}

/// Returns whether the file at `path` is this bundle, with its mode, so that it can keep its time.
fn is_in_place(path: &RelPath, written: &Written<()>, job: &Job) -> Result<bool> {
    let has_mode = |meta: &Metadata| meta.permissions().mode() & 0o7777 == fs::FILE_MODE;
    let now = match job.project.place(path).symlink_metadata() {
        Ok(meta) if meta.is_file() && has_mode(&meta) && meta.len() == written.size => {
            Stat::from(&meta).written()
        }
        _ => return Ok(false),
    };
    let is_same = matches!(job.files.fact(path)?.content,
        Content::File { digest, .. } if digest == written.digest);
    Ok(is_same && job.files.written(path)? == Some(now))
}

impl Kind for Zip {
    fn name(&self) -> &'static str {
        "zip"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        vec![Reference::to("staging", &self.staging)]
    }

    fn outputs(&self) -> Vec<Declared<'_>> {
        let record = Output::File(self.record());
        let record = Declared { output: record, span: &self.output.span, is_derived: true };
        vec![Declared::file(&self.output), record]
    }

    fn no_stamp(&self) -> Option<&'static str> {
        Some("depend on its bundle instead")
    }

    fn trees(&self) -> Trees {
        Trees::Manifests
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }

    fn touched(&self, job: &Job) -> Result<Done> {
        touched(self, job)
    }
}
