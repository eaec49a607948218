//! The only way in which a target reads the world: each read is an observation that the target's
//! state rests on.

use std::borrow::Borrow;
use std::iter;
use std::mem;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;

use super::{Fact, Files, Seen, Selection, lock};
use crate::glob::Glob;
use crate::observation::{FileState, Observation};
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// [`Files`] and the environment as one target reads them, with a log of its reads.
pub struct View<'a> {
    pub(super) files: &'a Files,
    pub(super) project: &'a Project,
    /// `None` if reads are not logged.
    observed: Option<Mutex<Observed>>,
}

/// Everything that a target has read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    paths: Vec<Looked>,
    /// Those of many paths at once.
    lists: Vec<Vec<Looked>>,
    /// Variables of the environment, with the digests of their values.
    pub variables: Vec<(String, Option<Digest>)>,
    /// Words, and the paths of the programs with these names.
    pub programs: Vec<(String, Option<PathBuf>)>,
    /// Files outside the project, links followed.
    pub external: Vec<(PathBuf, FileState)>,
    /// Whether something else was read, so that the target has to be checked in each build.
    pub partial: bool,
}

/// A path that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    pub path: RelPath,
    /// `None` for a listing whose stat data would not show a change.
    pub observation: Option<Observation>,
    /// Whether stat data would show any later change.
    pub settled: bool,
}

impl Looked {
    pub(super) fn new(path: RelPath, Seen { observation, settled, .. }: Seen) -> Self {
        Self { path, observation: Some(observation), settled }
    }

    /// The path was listed as a folder.
    pub(super) fn listing(path: RelPath, observation: Option<Observation>) -> Self {
        Self { path, settled: observation.is_some(), observation }
    }
}

impl Observed {
    pub fn paths(&self) -> impl Iterator<Item = &Looked> {
        self.paths.iter().chain(self.lists.iter().flatten())
    }

    pub(crate) fn take_lists(&mut self) -> impl Iterator<Item = Vec<Looked>> + use<> {
        iter::once(mem::take(&mut self.paths)).chain(mem::take(&mut self.lists))
    }

    pub fn push(&mut self, looked: Looked) {
        self.paths.push(looked);
    }

    pub fn extend(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.lists.extend(other.lists);
        self.variables.extend(other.variables);
        self.programs.extend(other.programs);
        self.external.extend(other.external);
        self.partial |= other.partial;
    }
}

/// Whatever is not a read goes to the files themselves.
impl Deref for View<'_> {
    type Target = Files;

    fn deref(&self) -> &Files {
        self.files
    }
}

impl<'a> View<'a> {
    pub fn new(files: &'a Files, project: &'a Project) -> Self {
        Self { files, project, observed: Some(Mutex::default()) }
    }

    /// A view without a log, for reads on which no state rests.
    pub fn unlogged(files: &'a Files, project: &'a Project) -> Self {
        Self { files, project, observed: None }
    }

    /// Returns the log so far.
    pub fn read(&self) -> Observed {
        self.observed.as_ref().map(|observed| lock(observed).clone()).unwrap_or_default()
    }

    /// Ends the log, and returns it.
    pub fn finish(self) -> Observed {
        let observed = self.observed.unwrap_or_default();
        observed.into_inner().expect("BUG: no holder of this lock panics")
    }

    fn log(&self, add: impl FnOnce(&mut Observed)) {
        if let Some(observed) = &self.observed {
            add(&mut lock(observed));
        }
    }

    /// See [`Files::fact`].
    pub fn fact(&self, path: &RelPath) -> Result<Fact> {
        let seen = self.files.see(path)?;
        let fact = Fact::from(&seen.observation);
        self.log(|observed| observed.push(Looked::new(path.clone(), seen)));
        Ok(fact)
    }

    /// Returns the entries at many paths, read in parallel; of several errors, the first.
    pub fn facts<P: Borrow<RelPath> + Sync>(&self, paths: &[P]) -> Result<Vec<Fact>> {
        let seen = self.files.see_all(paths)?;
        let facts = seen.par_iter().with_min_len(1024);
        let facts = facts.map(|seen| Fact::from(&seen.observation)).collect();
        if self.observed.is_some() {
            let looked = paths.par_iter().with_min_len(1024).zip(seen);
            let looked = looked.map(|(path, seen)| Looked::new(path.borrow().clone(), seen));
            let looked = looked.collect();
            self.log(|observed| observed.lists.push(looked));
        }
        Ok(facts)
    }

    /// See [`Files::list`].
    pub fn list(&self, folder: &RelPath) -> Result<Selection> {
        let mut log = Vec::new();
        let selection = self.files.list_into(folder, &mut log);
        self.log(|observed| observed.lists.push(log));
        selection
    }

    /// Returns the files that a glob selects.
    ///
    /// Without a wildcard: the path itself, existing or not, or all files below it if it is a
    /// folder. With one: the files that match, hidden ones included, without the state folder, `.git`,
    /// and the outputs of targets, unless the pattern spells them out.
    pub fn select(&self, glob: &Glob) -> Result<Selection> {
        let mut log = Vec::new();
        let selection = self.files.select_into(glob, &mut log);
        self.log(|observed| observed.lists.push(log));
        selection
    }

    /// Returns the files that a glob selects, sorted by bytes; fails if it selects a name that is not a
    /// [`RelPath`].
    pub fn matches(&self, glob: &Glob) -> Result<Vec<RelPath>> {
        self.select(glob)?.named()
    }

    /// Returns a variable of the environment; see [`Project::var`].
    pub fn var(&self, name: &str) -> Option<&'a str> {
        let value = self.project.var(name);
        let digest = value.map(|value| Digest::of(value.as_bytes()));
        self.log(|observed| observed.variables.push((name.to_owned(), digest)));
        value
    }

    /// See [`Project::find_program`].
    pub fn program(&self, word: &str) -> Option<PathBuf> {
        let found = self.files.program(self.project, word);
        self.log(|observed| observed.programs.push((word.to_owned(), found.clone())));
        found
    }

    /// Returns the digest of a file outside the project, links followed.
    pub fn external(&self, place: &Path) -> Result<Digest> {
        let state = self.files.external(place)?;
        self.log(|observed| observed.external.push((place.to_path_buf(), state)));
        Ok(state.digest)
    }

    /// Notes that the target reads something that is not observed: it is checked in each build.
    pub fn partial(&self) {
        self.log(|observed| observed.partial = true);
    }
}
