//! Bytecode in a staging tree: which `.pyc` files of wheels and sources stay, and which files are
//! compiled. [`crate::bytecode`] compiles.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use walkdir::WalkDir;

use super::origins::Origins;
use super::rules::Rules;
use crate::base::{Digest, RelPath, fs};
use crate::bundle::{Entry, Manifest, Origin};
use crate::bytecode::{Compiler, Source, reopen};
use crate::pip::Interpreter;
use crate::pyc;
use crate::target::Job;
use crate::targets::staging::Staging;
use crate::targets::wheelhouse::Wheelhouse;

/// Folder with the bytecode of the project's own files, in the state folder.
const FOLDER: &str = "bytecode";

/// Returns the interpreter that compiles: of the version of the wheelhouses, which must all have
/// the same.
pub(super) fn interpreter(staging: &Staging, job: &Job) -> Result<Interpreter> {
    let mut found: Option<(&str, Interpreter)> = None;
    for name in &staging.wheels {
        let wheelhouse = job.of_kind::<Wheelhouse>("wheelhouse", &name.value)?;
        let own = of_wheelhouse(&name.value, wheelhouse, job)?;
        match &found {
            None => found = Some((&name.value, own)),
            Some((other, first)) if first.identity.minor != own.identity.minor => bail!(
                "`bytecode` is for one Python, and `{other}` is for {} and `{}` for {}: stage them \
                 apart, or leave `bytecode` out",
                version(first.identity.minor),
                name.value,
                version(own.identity.minor)
            ),
            Some(_) => {}
        }
    }
    match found {
        Some((_, found)) => Ok(found),
        None => Interpreter::find_any(job.project, "python3"),
    }
}

fn of_wheelhouse(name: &str, wheelhouse: &Wheelhouse, job: &Job) -> Result<Interpreter> {
    let own = Interpreter::find_any(job.project, &wheelhouse.python.value);
    let Some(platform) = &wheelhouse.platform else { return own };
    let wanted = (platform.python.major, platform.python.minor);
    let program = format!("python{}", version(wanted));
    let by_name = || Interpreter::find_any(job.project, &program);
    let fits = |found: &Interpreter| found.identity.minor == wanted;
    let found = own.ok().filter(fits).or_else(|| by_name().ok().filter(fits));
    let version = version(wanted);
    found.with_context(|| {
        format!(
            "`bytecode` needs the Python that `{name}` is for, and there is no `{program}` on \
             PATH: install Python {version}, set `python` of `{name}` to one, or leave `bytecode` \
             out"
        )
    })
}

fn version((major, minor): (u8, u8)) -> String {
    format!("{major}.{minor}")
}

/// Returns the folder with the bytecode of a staging target's own files.
pub(super) fn folder(target: &str) -> RelPath {
    super::state_path(FOLDER, target)
}

/// Returns the source of a file in such a folder, as a path in the tree.
pub(in crate::targets) fn source_of(origin: &RelPath) -> Option<String> {
    let above = RelPath::parse(crate::project::STATE_FOLDER).ok()?;
    let below = origin.below(&above.join(&RelPath::parse(FOLDER).ok()?))?;
    let (_, path) = below.as_str().split_once('/')?;
    pyc::source_of(path).map(|(source, _)| source)
}

/// Removes `.pyc` files that Python would ignore at runtime. With `all`, also removes every `.pyc`
/// that has a source or is under `__pycache__`.
pub(super) fn take_out(entries: &mut Vec<Entry>, origins: &Origins, all: bool) -> Result<()> {
    let has_bytecode = |entry: &Entry| entry.path.as_str().ends_with(".pyc");
    if !entries.iter().any(has_bytecode) {
        return Ok(());
    }
    let paths: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    let mut out = BTreeSet::new();
    for entry in entries.iter().filter(|entry| has_bytecode(entry)) {
        let Some((source, cached)) = pyc::source_of(entry.path.as_str()) else { continue };
        let has_source = paths.contains(source.as_str());
        let is_dead = if all {
            has_source || cached
        } else {
            has_source && kind(entry, origins)? == pyc::Kind::Timestamp
        };
        if is_dead {
            out.insert(entry.path.clone());
        }
    }
    entries.retain(|entry| !out.contains(&entry.path));
    Ok(())
}

fn kind(entry: &Entry, origins: &Origins) -> Result<pyc::Kind> {
    let mut header = Vec::new();
    origins
        .content(&entry.origin)?
        .take(pyc::HEADER)
        .read_to_end(&mut header)
        .with_context(|| format!("could not read `{}`", entry.path))?;
    Ok(pyc::Kind::of(&header))
}

/// Adds bytecode for all files that can be compiled, and returns their number.
pub(super) fn add(
    entries: &mut Vec<Entry>,
    origins: &mut Origins,
    (staging, exclude): (&Staging, &Rules),
    job: &Job,
) -> Result<usize> {
    let status = |text: &str| job.messages.status(text);
    let compiler = Compiler::new(job.project, interpreter(staging, job)?, job.pool, &status)?;
    let wanted: Vec<(&Entry, RelPath)> = entries
        .iter()
        .filter_map(|entry| {
            let place = pyc::place_of(entry.path.as_str(), compiler.minor())?;
            let place = RelPath::parse(&place).expect("BUG: it is made of a path");
            (!exclude.cover(&place)).then_some((entry, place))
        })
        .collect();
    let mut added = of_wheels(&wanted, origins, &compiler)?;
    added.extend(of_sources(&wanted, &compiler, job)?);
    if added.is_empty() && !entries.is_empty() {
        job.messages.warn("`bytecode` compiles nothing: no Python source is left in the tree, or `exclude` covers `__pycache__`");
    }
    let count = added.len();
    entries.extend(added);
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(count)
}

fn of_wheels(
    wanted: &[(&Entry, RelPath)],
    origins: &mut Origins,
    compiler: &Compiler,
) -> Result<Vec<Entry>> {
    let wheel_of = |entry: &Entry| match &entry.origin {
        Origin::Wheel { wheel, new_shebang: false, .. } => Some(*wheel),
        _ => None,
    };
    let used: BTreeSet<usize> = wanted.iter().filter_map(|(entry, _)| wheel_of(entry)).collect();
    let first = origins.wheels.len();
    let archives = compiler.wheels(&origins.wheels, &used)?;
    origins.wheels.extend(archives);
    let entries = wanted.iter().filter_map(|(entry, place)| {
        let wheel = wheel_of(entry)?;
        let at = first + used.range(..wheel).count();
        let member = origins.wheels[at].member(place.as_str())?;
        Some(Entry {
            path: place.clone(),
            executable: false,
            digest: member.digest,
            size: member.size,
            origin: Origin::Wheel { wheel: at, member: member.name.clone(), new_shebang: false },
        })
    });
    Ok(entries.collect())
}

fn of_sources(wanted: &[(&Entry, RelPath)], compiler: &Compiler, job: &Job) -> Result<Vec<Entry>> {
    let mut own = Vec::new();
    let mut sources = Vec::new();
    for (entry, place) in wanted {
        let Origin::Source(from) = &entry.origin else { continue };
        let content = fs::read(&job.project.place(from))?;
        ensure!(
            Digest::of(&content) == entry.digest,
            "`{from}` changed while it was read: run zipwright again"
        );
        sources.push(Source { path: entry.path.to_string(), content });
        own.push((from, place));
    }
    let folder = folder(&job.target.name.value);
    let mut entries = Vec::new();
    for ((from, place), compiled) in own.into_iter().zip(compiler.own(sources)?) {
        match compiled {
            Ok(bytes) => {
                let origin = folder.join(place);
                fs::write_if_changed(&job.files.to_write(&origin)?, &bytes, fs::FILE_MODE)?;
                entries.push(Entry {
                    path: place.clone(),
                    executable: false,
                    digest: Digest::of(&bytes),
                    size: bytes.len() as u64,
                    origin: Origin::Source(origin),
                });
            }
            Err(why) => job.messages.warn(&format!("`{from}` gets no bytecode: {why}")),
        }
    }
    keep_only(&folder, &entries, job)?;
    Ok(entries)
}

/// Removes files of earlier runs from the folder.
fn keep_only(folder: &RelPath, entries: &[Entry], job: &Job) -> Result<()> {
    let root = job.files.folder_to_write(folder)?;
    fs::create_dir_all(&root)?;
    let kept: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    for found in WalkDir::new(&root).into_iter().flatten() {
        let path = found.path().strip_prefix(&root).ok().and_then(|path| path.to_str());
        if !found.file_type().is_dir() && !path.is_some_and(|path| kept.contains(path)) {
            fs::remove(found.path())?;
        }
    }
    Ok(())
}

impl Origins<'_> {
    /// Opens the archives of bytecode that a manifest points to besides the wheels.
    pub(in crate::targets) fn add_bytecode(
        &mut self,
        manifest: &Manifest,
        staging: &Staging,
        job: &Job,
    ) -> Result<()> {
        let wanted = manifest.wheels.get(self.wheels.len()..).unwrap_or_default();
        let archives: Option<Vec<_>> = wanted
            .iter()
            .map(|archive| reopen(job.project, &archive.digest, &archive.file_name))
            .collect();
        if let Some(archives) = archives {
            self.wheels.extend(archives);
            return Ok(());
        }
        // The per-user cache was deleted: compile them again with the same interpreter.
        let status = |text: &str| job.messages.status(text);
        let compiler = Compiler::new(job.project, interpreter(staging, job)?, job.pool, &status)?;
        let names: HashSet<&str> = wanted.iter().map(|id| id.file_name.as_str()).collect();
        let used = (0..self.wheels.len())
            .filter(|at| names.contains(self.wheels[*at].file_name.as_str()))
            .collect();
        let mut made = compiler.wheels(&self.wheels, &used)?;
        made.retain(|made| wanted.iter().any(|wanted| wanted.digest == made.digest));
        self.wheels.extend(made);
        Ok(())
    }

    /// Returns the wheels without the archives of bytecode.
    pub(in crate::targets) fn without_bytecode(&self) -> &[crate::wheel::Wheel] {
        &self.wheels[..self.genuine]
    }
}
