//! The `staging` kind: merges wheels and the project's own files into one tree.
//!
//! The tree is its manifest. The folder is written only if it is a goal or an input of a target;
//! once it exists, it is kept up to date, so that it never shows an old tree.

pub(super) mod bytecode;
mod keys;
mod merge;
mod origins;
mod rules;
mod sources;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;

pub(super) use self::keys::read;
use self::merge::Claim;
pub(super) use self::origins::Origins;
use self::rules::Rules;
use crate::base::fs;
use crate::base::{Digest, RelPath};
use crate::bundle::{Entry, Manifest, Origin, WheelId};
use crate::diagnostic::Spanned;
use crate::event::Reporter;
use crate::files::{Content, Fact};
use crate::glob::Glob;
use crate::key::{Key, Value};
use crate::project::STATE_FOLDER;
use crate::target::{
    Declared, Done, Findings, Fingerprint, Input, Job, Kind, Output, Reference, Target, add_fact,
};
use crate::targets::checkout::Repository;
use crate::targets::clamp;
use crate::targets::shared::Manifests;
use crate::targets::wheelhouse::Wheelhouse;
use crate::targets::zip::Zip;
use crate::timestamp::{self, Timestamp};
use crate::wheel::{self, Placed, Wheel};

#[derive(Clone, Debug)]
pub struct Staging {
    /// Names of wheelhouse targets.
    pub wheels: Vec<Spanned<String>>,
    pub sources: Vec<Source>,
    /// Globs over the paths inside the tree, wheels' files included.
    pub exclude: Vec<Spanned<Glob>>,
    pub conflicts: Vec<Conflict>,
    /// `None`: times are not touched.
    pub clamp: Option<Spanned<Timestamp>>,
    /// Whether the tree is always written as a folder, even if only a zip reads it.
    pub write: bool,
    /// Whether Python sources get bytecode beside them.
    pub bytecode: bool,
    pub output: Spanned<RelPath>,
}

/// Files of the project that go into a staging tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// A file, a folder, or a glob; relative to the project.
    pub from: Spanned<Glob>,
    /// `None`: at the same path as in the project.
    pub to: Option<Spanned<Destination>>,
}

/// The place of a source in the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Written with a final `/`, or `.`: below this folder, less the part of the path that
    /// `from` spells out before its first wildcard.
    Folder(RelPath),
    /// This very path: for a `from` that is one file.
    Exactly(RelPath),
}

/// The winner if two wheels or files have the same path with different bytes.
#[derive(Clone, Debug)]
pub struct Conflict {
    pub path: Spanned<Glob>,
    pub keep: Spanned<Winner>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Winner {
    /// The project's own files: `keep = "sources"`.
    Sources,
    /// The wheel of this project, its name normalised by PEP 503: `keep = "boto3"`.
    Wheel(String),
}

/// Version of the tree. Change it if the same inputs give another tree.
const FORM: &str = "staging 2";

/// The sources of a fingerprint, for the run.
struct Judged {
    /// Value of [`crate::files::Files::changes`] before the computation.
    changes: u64,
    picked: sources::Picked,
    key: Key,
}

fn fingerprint(staging: &Staging, job: &Job) -> Result<Fingerprint> {
    let exclude = Rules::new(staging.exclude.iter().map(|glob| &glob.value))?;
    let mut judged = judge(staging, job, &exclude)?;
    // The original has room for the components of every kind.
    let copy = judged.key.clone();
    let key = mem::replace(&mut judged.key, copy);
    Ok(Fingerprint { key, findings: Some(Box::new(judged)) })
}

fn judge(staging: &Staging, job: &Job, exclude: &Rules) -> Result<Judged> {
    let changes = job.files.changes();
    let picked = sources::pick(staging, job, exclude)?;
    let key = key_of(staging, job, &picked.picks)?;
    Ok(Judged { changes, picked, key })
}

/// Returns the key with these sources as observed.
fn key_of(staging: &Staging, job: &Job, picks: &[sources::Pick]) -> Result<Key> {
    let Staging { wheels, sources, exclude, conflicts, clamp, write, bytecode, output } = staging;
    let mut key = Key::of_files(picks.len());
    key.text("form", FORM);
    for name in wheels {
        let result = job.result_of(&name.value)?;
        key.push(format!("wheels {}", name.value), Value::Digest(result));
    }
    // Quoted, so that different lists never give the same text.
    for (at, source) in sources.iter().enumerate() {
        let to = match source.to.as_ref().map(|to| &to.value) {
            None => String::new(),
            Some(Destination::Folder(folder)) => format!(" to \"{folder}/\""),
            Some(Destination::Exactly(path)) => format!(" to \"{path}\""),
        };
        key.text(format!("source {}", at + 1), format!("{:?}{to}", source.from.value.pattern()));
    }
    let patterns: Vec<&str> = exclude.iter().map(|glob| glob.value.pattern()).collect();
    key.text("exclude", format!("{patterns:?}"));
    for (at, conflict) in conflicts.iter().enumerate() {
        let keep = match &conflict.keep.value {
            Winner::Sources => "the sources",
            Winner::Wheel(project) => project,
        };
        let rule = format!("{:?} from {keep}", conflict.path.value.pattern());
        key.text(format!("conflict {}", at + 1), rule);
    }
    let mut files: Vec<(&RelPath, &Fact)> =
        picks.iter().map(|pick| (&pick.from, &pick.fact)).collect();
    files.sort_by_key(|(file, _)| *file);
    files.dedup_by_key(|(file, _)| *file);
    for (file, fact) in files {
        add_fact(&mut key, file, fact)?;
    }
    key.text("output", &output.value);
    if *bytecode {
        job.files.partial();
        key.text("bytecode", bytecode::interpreter(staging, job)?.identity.python);
    }
    key.text("write", if *write { "always" } else { "when read" });
    if let Some(clamp) = clamp
        && writes_folder(staging, job)?
    {
        // Only the folder has times; the manifest has none.
        key.text("clamp", clamp::seconds(&clamp.value, job)?);
    }
    Ok(key)
}

fn run(staging: &Staging, job: &Job, findings: Findings) -> Result<Done> {
    if job.model.targets.iter().any(|target| is_zip_of(target, job.target)) {
        job.shared.get::<Repository>().start(job.project);
    }
    let exclude = Rules::new(staging.exclude.iter().map(|glob| &glob.value))?;
    let mut origins = Origins::open(staging, job)?;
    let mut claims = claims_of_wheels(&origins, &exclude)?;
    let judged = findings.and_then(|findings| findings.downcast::<Judged>().ok());
    let Judged { picked, key, .. } = match judged {
        Some(judged) if judged.changes == job.files.changes() => *judged,
        _ => judge(staging, job, &exclude)?,
    };
    let key = staging.reads_by_digest().then_some(key);
    claims.extend(claims_of_sources(staging, job, picked)?);
    let mut entries = merge::merge(claims, &staging.conflicts, &origins.wheels)?;
    bytecode::take_out(&mut entries, &origins, staging.bytecode)?;
    let mut facts = Vec::new();
    if staging.bytecode {
        let compiled = bytecode::add(&mut entries, &mut origins, (staging, &exclude), job)?;
        facts.push(("bytecode".into(), compiled.into()));
    }
    let ids = origins
        .wheels
        .iter()
        .map(|wheel| WheelId { file_name: wheel.file_name.clone(), digest: wheel.digest });
    let manifest = Manifest { wheels: ids.collect(), entries };
    let encode = || {
        let bytes = manifest.encode();
        (Digest::of(&bytes), bytes)
    };
    let ((result, bytes), ()) = rayon::join(encode, || {
        warn_of_case(&manifest.entries, job.messages);
        job.owned.read_ahead();
    });
    let place = manifest_path(&job.target.name.value);
    let written = rayon::join(
        || write_folder(staging, job, &manifest, &origins),
        || leave(&bytes, result, &place, job),
    );
    written.0.and(written.1)?;
    job.shared.get::<Manifests>().keep(result, manifest);
    Ok(Done { key, result: Some(result), facts })
}

pub(super) fn expected_outputs(staging: &Staging, job: &Job) -> Vec<Output> {
    let mut outputs = vec![Output::File(manifest_path(&job.target.name.value))];
    if staging.bytecode {
        outputs.push(Output::Folder(bytecode::folder(&job.target.name.value)));
    }
    // If the folder cannot be read, assume that it must be written.
    if writes_folder(staging, job).unwrap_or(true) {
        outputs.push(Output::Folder(staging.output.value.clone()));
    }
    outputs
}

/// Makes the folder match the manifest, if it is needed.
fn write_folder(
    staging: &Staging,
    job: &Job,
    manifest: &Manifest,
    origins: &Origins,
) -> Result<()> {
    if !writes_folder(staging, job)? {
        return Ok(());
    }
    let clamp: Option<&Timestamp> = staging.clamp.as_ref().map(|clamp| &clamp.value);
    let instant = clamp.map(|clamp| timestamp::resolve(clamp, job.project)).transpose()?;
    tree::write(manifest, origins, job, &staging.output.value, instant)
}

/// Writes a manifest with this digest to `place`, unless it is there.
fn leave(bytes: &[u8], digest: Digest, place: &RelPath, job: &Job) -> Result<()> {
    let before = job.files.fact(place)?;
    let is_there = before.link.is_none()
        && matches!(before.content, Content::File { digest: found, .. } if found == digest);
    if !is_there || job.files.mode(place)? != Some(fs::FILE_MODE) {
        fs::write(&job.files.to_write(place)?, bytes, fs::FILE_MODE)?;
    }
    Ok(())
}

/// Returns the result that a run would have with the existing manifest.
fn touched(job: &Job) -> Result<Done> {
    let bytes = fs::read(&job.project.place(&manifest_path(&job.target.name.value)))?;
    Ok(Done { result: Some(Digest::of(&bytes)), ..Done::default() })
}

/// Returns the manifest of an up-to-date staging target.
pub(super) fn load(name: &str, job: &Job) -> Result<Arc<Manifest>> {
    if let Some(made) =
        job.results.get(name).and_then(|result| job.shared.get::<Manifests>().find(result))
    {
        return Ok(made);
    }
    let path = manifest_path(name);
    let bytes = fs::read(&job.project.place(&path))?;
    Manifest::decode(&bytes)
        .map(Arc::new)
        .with_context(|| format!("`{path}` is damaged: remove it, and the next run makes it again"))
}

fn is_zip_of(target: &Target, staging: &Target) -> bool {
    target.kind.get::<Zip>().is_some_and(|zip| zip.staging.value == staging.name.value)
}

/// Returns the folders of the wheelhouses that a staging target reads.
fn wheelhouses<'a>(staging: &Staging, job: &'a Job) -> Result<Vec<&'a RelPath>> {
    let folder = |name: &str| {
        let wheelhouse = job.of_kind::<Wheelhouse>("wheelhouse", name)?;
        Ok(&wheelhouse.output.value)
    };
    staging.wheels.iter().map(|name| folder(&name.value)).collect()
}

fn manifest_path(target: &str) -> RelPath {
    state_path("manifests", target)
}

/// Returns the path of a staging target's data in a folder of the state folder.
fn state_path(folder: &str, target: &str) -> RelPath {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_plain = target.chars().all(plain) && !target.starts_with('.');
    let name = if is_plain { target.into() } else { Digest::of(target.as_bytes()).to_string() };
    RelPath::parse(&format!("{STATE_FOLDER}/{folder}/{name}"))
        .expect("BUG: a plain name is part of a path")
}

fn writes_folder(staging: &Staging, job: &Job) -> Result<bool> {
    if job.write_tree || staging.write {
        return Ok(true);
    }
    Ok(job.files.fact(&staging.output.value)?.content == Content::Folder)
}

fn claims_of_wheels(origins: &Origins, exclude: &Rules) -> Result<Vec<Claim>> {
    let claims: Vec<Result<Vec<Claim>>> = origins
        .wheels
        .par_iter()
        .enumerate()
        .map(|(at, wheel)| {
            claims_of_wheel(at, wheel, exclude)
                .with_context(|| format!("wheel `{}` cannot be laid out", wheel.file_name))
        })
        .collect();
    let claims: Vec<Vec<Claim>> = claims.into_iter().collect::<Result<_>>()?;
    Ok(claims.into_iter().flatten().collect())
}

fn claims_of_wheel(at: usize, wheel: &Wheel, exclude: &Rules) -> Result<Vec<Claim>> {
    let mut claims = Vec::with_capacity(wheel.members.len());
    for Placed { member, path, executable, new_shebang } in wheel::layout(&wheel.members)? {
        let path = RelPath::parse(&path).expect("BUG: members' names were checked");
        if exclude.cover(&path) {
            continue;
        }
        let (mut digest, mut size) = (member.digest, member.size);
        if new_shebang {
            let script = wheel.script(member)?;
            (digest, size) = (Digest::of(&script), script.len() as u64);
        }
        let origin = Origin::Wheel { wheel: at, member: member.name.clone(), new_shebang };
        claims.push(Entry { path, executable, digest, size, origin });
    }
    Ok(claims)
}

fn claims_of_sources(staging: &Staging, job: &Job, picked: sources::Picked) -> Result<Vec<Claim>> {
    for pattern in picked.unmatched {
        job.messages.warn(&format!("`sources` has `{pattern}`, which matches no file"));
    }
    let output = &staging.output.value;
    let picks = picked.picks.par_iter().with_min_len(1024);
    // Of several errors, the first.
    let mistake = picks.find_map_first(|pick| check_source(pick, output).err());
    mistake.map_or(Ok(()), Err)?;
    let picks = picked.picks.into_par_iter().with_min_len(1024);
    Ok(picks.map(claim_of_source).collect())
}

fn check_source(sources::Pick { from, fact, .. }: &sources::Pick, output: &RelPath) -> Result<()> {
    ensure!(!from.is_within(output), "source `{from}` lies in the target's own `output`");
    match (&fact.content, &fact.link) {
        (Content::File { .. }, _) => Ok(()),
        (Content::Missing, Some(link)) => {
            bail!("source `{from}` is a link to `{link}`, which is not there")
        }
        (Content::Missing, None) => {
            bail!("source `{from}` does not exist: create it, or remove it from `sources`")
        }
        (Content::Folder, Some(link)) => bail!(
            "source `{from}` is a link to the folder `{link}`: leave it out with `exclude`, \
             and name that folder as a source of its own"
        ),
        (Content::Folder | Content::Other, _) => bail!("source `{from}` is not a file"),
    }
}

fn claim_of_source(sources::Pick { from, to, fact }: sources::Pick) -> Claim {
    let Content::File { digest, executable, size } = fact.content else {
        unreachable!("BUG: the source was checked")
    };
    Entry { path: to, executable, digest, size, origin: Origin::Source(from) }
}

/// Warns of names that differ only in case, which many file systems cannot distinguish. `entries` are
/// sorted by path.
fn warn_of_case(entries: &[Entry], messages: &dyn Reporter) {
    let is_lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    let mut seen: HashMap<String, &RelPath> = HashMap::new();
    for Entry { path, .. } in entries {
        // Of two names that differ in case, one has an upper case.
        if path.as_str().bytes().all(is_lower) {
            continue;
        }
        let lower = path.as_str().to_lowercase();
        let at = entries.binary_search_by(|entry| entry.path.as_str().cmp(&lower));
        let as_lower = at.ok().map(|at| &entries[at].path).filter(|other| *other != path);
        if let Some(other) = seen.insert(lower, path).or(as_lower) {
            let (first, second) = if other < path { (other, path) } else { (path, other) };
            let text = format!("`{first}` and `{second}` differ in upper and lower case alone");
            messages.warn(&text);
        }
    }
}

impl Kind for Staging {
    fn name(&self) -> &'static str {
        "staging"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        self.wheels.iter().map(|name| Reference::to("wheelhouse", name)).collect()
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        self.sources.iter().map(|source| Input::Glob(&source.from)).collect()
    }

    fn outputs(&self) -> Vec<Declared<'_>> {
        vec![Declared::folder(&self.output)]
    }

    fn reads_by_digest(&self) -> bool {
        self.clamp.is_none() && !self.bytecode
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        fingerprint(self, job)
    }

    fn run(&self, job: &Job, findings: Findings) -> Result<Done> {
        run(self, job, findings)
    }

    fn touched(&self, job: &Job) -> Result<Done> {
        touched(job)
    }

    fn expected_outputs(&self, job: &Job) -> Vec<Output> {
        expected_outputs(self, job)
    }
}
