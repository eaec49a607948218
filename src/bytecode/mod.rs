//! Bytecode for the Python that a bundle runs on: the same bytes on every machine that has this
//! interpreter, and valid wherever the bundle is unpacked.
//!
//! The bytecode of a wheel is cached per user, as a small archive that is read like a wheel; so is
//! that of each of the project's own files. A cache key is made of the source's digest, its path in
//! the bundle and the interpreter. Knows nothing of targets; the caller selects the files.

mod archive;
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use crate::base::digest::FieldHasher;
use crate::base::sealed::{Decoder, Encoder};
use crate::base::{Digest, fs, private, words};
use crate::make::Pool;
use crate::pip::{Interpreter, parallel_map};
use crate::project::Project;
use crate::wheel::Wheel;

pub use archive::reopen;

/// Changes whenever the same source gives other bytecode.
const FORM: &str = "zipwright bytecode 1";

/// A file to be compiled.
pub struct Source {
    /// Path in the tree.
    pub path: String,
    pub content: Vec<u8>,
}

/// The bytecode, or the compilation error.
pub type Compiled = Result<Vec<u8>, String>;

/// Compiles with one interpreter, and caches the results.
pub struct Compiler<'a> {
    project: &'a Project,
    interpreter: Interpreter,
    pool: Option<&'a Pool>,
    status: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Compiler<'a> {
    pub fn new(
        project: &'a Project,
        interpreter: Interpreter,
        pool: Option<&'a Pool>,
        status: &'a (dyn Fn(&str) + Sync),
    ) -> Result<Self> {
        let identity = &interpreter.identity;
        if !identity.python.starts_with("CPython ") {
            bail!(
                "`{}` is {}, and Lambda's Python is CPython: set the wheelhouse's `python` to \
                 CPython {}.{}, or leave `bytecode` out",
                interpreter.program.display(),
                identity.python,
                identity.minor.0,
                identity.minor.1
            );
        }
        Ok(Self { project, interpreter, pool, status })
    }

    /// Major and minor version.
    pub fn minor(&self) -> (u8, u8) {
        self.interpreter.identity.minor
    }

    /// Returns the archives of those wheels that are `used`, in their order, with bytecode for all
    /// sources that compile.
    pub fn wheels(&self, wheels: &[Wheel], used: &BTreeSet<usize>) -> Result<Vec<Wheel>> {
        let known: Vec<(usize, Option<Wheel>)> =
            used.par_iter().map(|at| (*at, self.recall(&wheels[*at]))).collect();
        let mut known: BTreeMap<usize, Option<Wheel>> = known.into_iter().collect();
        let missing: Vec<usize> =
            known.iter().filter(|(_, archive)| archive.is_none()).map(|(at, _)| *at).collect();
        if missing.is_empty() {
            return Ok(known.into_values().flatten().collect());
        }
        let (major, minor) = self.minor();
        let count = words::count(missing.len(), "wheel");
        (self.status)(&format!("compiling {count} for Python {major}.{minor}"));
        let mut portions = Vec::new();
        for at in &missing {
            portions.extend(archive::portions(&wheels[*at])?.into_iter().map(|part| (*at, part)));
        }
        let results = parallel_map(self.pool, &portions, |(at, members)| {
            let sources: Vec<Source> = members
                .iter()
                .map(|placed| archive::source(&wheels[*at], placed))
                .collect::<Result<_>>()?;
            let compiled = self.run(&sources)?;
            Ok(sources.into_iter().map(|source| source.path).zip(compiled).collect::<Vec<_>>())
        })?;
        for at in missing {
            let of_this = portions.iter().zip(&results).filter(|((of, _), _)| *of == at);
            let members = of_this
                .flat_map(|(_, results)| results)
                .filter_map(|(path, compiled)| Some((path.as_str(), compiled.as_deref().ok()?)));
            known.insert(at, Some(self.keep(&wheels[at], members.collect())?));
        }
        Ok(known.into_values().flatten().collect())
    }

    /// Returns the bytecode of the project's own files, in their order.
    pub fn own(&self, sources: Vec<Source>) -> Result<Vec<Compiled>> {
        let keys: Vec<Digest> = sources
            .iter()
            .map(|source| self.key(&source.path, &Digest::of(&source.content)))
            .collect();
        let own = self.store()?.join("own");
        let place = |key: &Digest| own.join(key.to_string());
        let mut known: Vec<Option<Compiled>> =
            keys.iter().map(|key| decode(&private::read(&place(key)).ok()?)).collect();
        let (missing, unknown): (Vec<usize>, Vec<Source>) =
            sources.into_iter().enumerate().filter(|(at, _)| known[*at].is_none()).unzip();
        if !unknown.is_empty() {
            for (at, compiled) in missing.into_iter().zip(self.run(&unknown)?) {
                fs::write_if_changed(&place(&keys[at]), &encode(&compiled), private::FILE_MODE)?;
                known[at] = Some(compiled);
            }
        }
        Ok(known.into_iter().flatten().collect())
    }

    fn key(&self, path: &str, source: &Digest) -> Digest {
        let mut hasher = FieldHasher::new();
        hasher.field(FORM).field(&self.interpreter.identity.python);
        hasher.field(path).field(source.as_bytes());
        hasher.finish()
    }

    fn store(&self) -> Result<PathBuf> {
        store(self.project)
    }

    fn run(&self, sources: &[Source]) -> Result<Vec<Compiled>> {
        let work = self.project.cache()?.join("work");
        private::create_dir_all(&work)?;
        let folder = fs::temp_dir_beside(&work.join("new"))
            .context("could not make a folder to compile in")?;
        python::compile(&self.interpreter.identity.program, folder.path(), sources)
    }
}

fn store(project: &Project) -> Result<PathBuf> {
    Ok(project.cache()?.join("bytecode"))
}

/// Returns the path of an archive with this content.
fn place_of_archive(store: &Path, digest: &Digest, file_name: &str) -> PathBuf {
    store.join("archives").join(digest.to_string()).join(file_name)
}

/// Form of the records of compilations.
const RECORDS: &str = "zipwright compiled 1";

fn encode(compiled: &Compiled) -> Vec<u8> {
    let mut encoder = Encoder::new(RECORDS);
    encoder.flag(compiled.is_ok());
    match compiled {
        Ok(bytes) => encoder.bytes(bytes),
        Err(why) => encoder.text(why),
    }
    encoder.seal()
}

fn decode(bytes: &[u8]) -> Option<Compiled> {
    let mut decoder = Decoder::open(bytes, RECORDS)?;
    Some(match decoder.flag()? {
        true => Ok(decoder.bytes()?.to_vec()),
        false => Err(decoder.text()?.to_owned()),
    })
}
