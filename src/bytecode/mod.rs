//! Bytecode for the Python that a bundle runs on: the same bytes on every machine that has this
//! interpreter, and valid wherever the bundle is unpacked.
//!
//! The bytecode of a wheel is cached per user, as a small archive that is read like a wheel; so is
//! that of each of the project's own files. A cache key is made of the source's digest, its path in
//! the bundle and the interpreter. Knows nothing of targets; the caller selects the files.

mod archive;
mod python;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use rayon::prelude::*;
use zipwright_store::Bucket;

use crate::base::digest::FieldHasher;
use crate::base::{Digest, words};
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
        let cache = self.project.cache()?;
        let mut known: Vec<Option<Compiled>> =
            keys.iter().map(|key| cache.get(Bucket::SourceBytecode, key)).collect();
        let (missing, unknown): (Vec<usize>, Vec<Source>) =
            sources.into_iter().enumerate().filter(|(at, _)| known[*at].is_none()).unzip();
        if !unknown.is_empty() {
            for (at, compiled) in missing.into_iter().zip(self.run(&unknown)?) {
                cache.put(Bucket::SourceBytecode, &keys[at], &compiled)?;
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

    fn run(&self, sources: &[Source]) -> Result<Vec<Compiled>> {
        let folder = self.project.cache()?.temporary_folder()?;
        python::compile(&self.interpreter.identity.program, folder.path(), sources)
    }
}
