//! Targets as the engine sees them: the model of a Buildfile, and [`Kind`], the contract of a kind of
//! target. Each kind is a module of `src/targets`, with the one list of all of them.

mod action;
mod guard;
mod job;
mod shared;
mod typed;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::Result;

use crate::diagnostic::{Diagnostic, Span, Spanned};
use crate::glob::Glob;
use crate::key::{Key, Reason};
use zipwright_store::RelPath;

pub use action::{Action, Words};
pub use guard::{Guards, Require, Until};
pub use job::{Done, Facts, Job, Surroundings, add_fact};
pub use shared::Shared;
pub use typed::Typed;

/// A whole Buildfile. Targets are in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub default: Vec<Spanned<String>>,
    pub vars: BTreeMap<String, String>,
    /// Values that were typed on the command line, except those that the Buildfile has as well.
    pub typed: Typed,
    pub targets: Vec<Target>,
    /// Targets that are in the file but have mistakes too grave to be in `targets`: naming one is
    /// no mistake of its own.
    pub broken: BTreeSet<String>,
    /// Places where the text is not valid TOML. If there are any, a target or variable that is
    /// missing here may still be in the file.
    pub not_understood: Vec<Span>,
    /// Positions of the targets by name; computed at the first lookup, when all targets are read.
    pub places: OnceLock<HashMap<Box<str>, usize>>,
}

#[derive(Clone, Debug)]
pub struct Target {
    pub name: Spanned<String>,
    pub description: Option<Box<str>>,
    /// Targets that must be up to date first, and whose outputs are inputs of this one.
    pub needs: Box<[Spanned<String>]>,
    /// Targets that only must be done first.
    pub after: Box<[Spanned<String>]>,
    /// Path of the stamp; `None` for a target without one.
    pub stamp: Option<Spanned<RelPath>>,
    /// The conditions around its run, if it has any.
    pub guards: Option<Box<Guards>>,
    pub kind: Arc<dyn Kind>,
}

/// A kind of target with the values of its keys.
///
/// `fingerprint` computes the components on which the outputs depend, as they are now; `run` does the
/// work and leaves the outputs in place. A kind knows its own keys, the files and the programs it uses
/// (wheels, pip, AWS); it does not know the order of targets, the state, or who prints its messages.
pub trait Kind: Any + fmt::Debug + Send + Sync {
    /// Returns the value of `kind` in the Buildfile.
    fn name(&self) -> &'static str;

    /// Returns the targets that its keys name.
    fn references(&self) -> Vec<Reference<'_>> {
        Vec::new()
    }

    /// Returns the paths that it reads: a target that makes one of them comes first.
    fn inputs(&self) -> Vec<Input<'_>> {
        Vec::new()
    }

    /// Returns everything that it may leave on disk, without the stamp.
    fn outputs(&self) -> Vec<Declared<'_>> {
        Vec::new()
    }

    /// Returns the reason why it has no stamp; `None` if it has one.
    fn no_stamp(&self) -> Option<&'static str> {
        None
    }

    /// Returns the errors that show only beside other targets, whose names are correct.
    fn check(&self, _model: &Model) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Returns whether it runs whenever it is requested, as `.PHONY` does in make.
    fn is_phony(&self) -> bool {
        false
    }

    /// Returns whether its outputs are made by a program of the user's. Patterns match such outputs,
    /// `-t` may make one empty as make does, and the kind itself records which of them are its own.
    fn runs_program(&self) -> bool {
        false
    }

    /// Returns the folder and the variables of the programs that it runs, and of its guards.
    fn environment(&self) -> Option<(&RelPath, &BTreeMap<String, String>)> {
        None
    }

    /// Returns whether it runs alone, with the terminal as its own.
    fn takes_terminal(&self) -> bool {
        false
    }

    /// Returns whether it is a program that goes on after its run, under `watch` only.
    fn is_service(&self) -> bool {
        false
    }

    /// Returns the reasons to run a service again; `None` if its record decides, as for all other
    /// kinds. `key` is its fingerprint now.
    fn restarts(&self, _job: &Job, _key: &Key) -> Option<Vec<Reason>> {
        None
    }

    /// Returns whether a run changes the very values that its fingerprint is made of.
    fn changes_inputs(&self) -> bool {
        false
    }

    /// Returns whether a run reads only content that its fingerprint names by digest, and compares it
    /// while it reads: the fingerprint of its outputs is certain then, even if another program writes meanwhile. Such a
    /// run itself drops the observations of everything that it writes.
    fn reads_by_digest(&self) -> bool {
        false
    }

    /// Returns how it uses the trees of the staging targets that it needs.
    fn trees(&self) -> Trees {
        Trees::Folders
    }

    /// Returns when [`Kind::preflight`] is called; `None` if never.
    fn preflight_time(&self) -> Option<Preflight<'_>> {
        None
    }

    /// Finds errors that would otherwise show late. Writes nothing.
    fn preflight(&self, _job: &Job) -> Result<()> {
        Ok(())
    }

    /// Returns the components on which the target depends, as they are now. Writes nothing.
    fn fingerprint(&self, job: &Job) -> Result<Fingerprint>;

    /// Brings the target up to date: does the work and leaves the outputs in place. An error leaves no
    /// half-made output. `findings` are those of the fingerprint.
    fn run(&self, job: &Job, findings: Findings) -> Result<Done>;

    /// Returns the outcome of a run for outputs that are there and that `-t` counts as made.
    fn touched(&self, _job: &Job) -> Result<Done> {
        Ok(Done::default())
    }

    /// Returns the outputs that must be on disk for the target to be up to date, without the stamp.
    fn expected_outputs(&self, _job: &Job) -> Vec<Output> {
        self.outputs().into_iter().map(|declared| declared.output).collect()
    }
}

impl dyn Kind {
    /// Returns the kind if it is a `T`.
    pub fn get<T: Kind>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// A target that a key names, and the kind that it must be of.
pub struct Reference<'a> {
    pub name: &'a Spanned<String>,
    pub kind: Option<&'static str>,
}

impl<'a> Reference<'a> {
    pub fn to(kind: &'static str, name: &'a Spanned<String>) -> Self {
        Self { name, kind: Some(kind) }
    }

    pub fn to_any(name: &'a Spanned<String>) -> Self {
        Self { name, kind: None }
    }
}

/// A path that a target reads.
pub enum Input<'a> {
    /// Exactly this path, and nothing below it.
    Path(&'a Spanned<RelPath>),
    /// A program: a path only if it has a `/`.
    Program(&'a Spanned<String>),
    /// This folder, with all below it.
    Folder(&'a Spanned<RelPath>),
    Glob(&'a Spanned<Glob>),
}

/// An output, with its place in the Buildfile.
pub struct Declared<'a> {
    pub output: Output,
    pub span: &'a Span,
    /// Whether the path follows from that of another output of the target.
    pub is_derived: bool,
}

impl<'a> Declared<'a> {
    pub fn file(path: &'a Spanned<RelPath>) -> Self {
        Self { output: Output::File(path.value.clone()), span: &path.span, is_derived: false }
    }

    pub fn folder(path: &'a Spanned<RelPath>) -> Self {
        Self { output: Output::Folder(path.value.clone()), span: &path.span, is_derived: false }
    }
}

/// Something a target leaves on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    File(RelPath),
    /// A folder with all it holds.
    Folder(RelPath),
    Stamp(RelPath),
}

impl Output {
    pub fn path(&self) -> &RelPath {
        match self {
            Self::File(path) | Self::Folder(path) | Self::Stamp(path) => path,
        }
    }
}

/// How a target uses the trees of the staging targets that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trees {
    /// It reads their folders.
    Folders,
    /// Their manifests are enough.
    Manifests,
    /// It stands for the targets that it needs.
    AsGoals,
}

/// When a target is checked before its turn.
pub enum Preflight<'a> {
    /// As soon as one of the targets that it needs has to run; they wait for it.
    BeforeNeeds,
    /// As soon as these paths are there; the target `before` waits for it, if there is one.
    Paths { paths: Vec<&'a RelPath>, before: Option<&'a str> },
}

/// The components on which a target depends.
pub struct Fingerprint {
    pub key: Key,
    pub findings: Findings,
}

impl From<Key> for Fingerprint {
    fn from(key: Key) -> Self {
        Self { key, findings: None }
    }
}

/// Results of computing a fingerprint that the run needs.
pub type Findings = Option<Box<dyn Any + Send>>;

impl Target {
    /// Returns everything that this target may leave on disk, its stamp last.
    pub fn outputs(&self) -> Vec<Output> {
        let own = self.kind.outputs().into_iter().map(|declared| declared.output);
        own.chain(self.stamp.iter().map(|stamp| Output::Stamp(stamp.value.clone()))).collect()
    }

    /// See [`Kind::is_phony`].
    pub fn is_phony(&self) -> bool {
        self.kind.is_phony()
    }
}

impl Model {
    pub fn target(&self, name: &str) -> Option<&Target> {
        let places = self.places.get_or_init(|| {
            let targets = self.targets.iter().enumerate();
            targets.map(|(place, target)| (target.name.value.as_str().into(), place)).collect()
        });
        places.get(name).map(|place| &self.targets[*place])
    }
}
