//! The content of a Buildfile as plain values: names not yet resolved, variables filled in, paths
//! normalised. Every value that a later message may point at has its span.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use zipwright_python::Arch;

use super::typed::Typed;
use crate::base::RelPath;
use crate::check::Python;
use crate::deploy::Publish;

/// Byte range in the Buildfile's text.
pub type Span = Range<usize>;

/// A value and its place. Equality compares only the value, so reformatting changes nothing.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

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
    pub kind: Kind,
}

/// Commands are the kind of which there may be very many: none is to take the room that another
/// needs.
#[derive(Clone, Debug)]
pub enum Kind {
    Wheelhouse(Box<Wheelhouse>),
    Staging(Box<Staging>),
    Clamp(Clamp),
    Zip(Box<Zip>),
    Check(Box<Check>),
    Layer(Box<Layer>),
    Upload(Box<Upload>),
    Invoke(Box<Invoke>),
    Command(Command),
    Group(Group),
}

#[derive(Clone, Debug)]
pub struct Wheelhouse {
    pub requirements: Vec<Spanned<RelPath>>,
    /// A lockfile in place of requirements.
    pub lock: Option<Lock>,
    pub constraints: Vec<Spanned<RelPath>>,
    /// Folders of local projects, each with a `pyproject.toml` or `setup.py`.
    pub projects: Vec<Spanned<RelPath>>,
    /// A program on PATH, or a path (relative to the project, or absolute).
    pub python: Spanned<String>,
    pub platform: Option<Platform>,
    /// Further arguments for pip, e.g. `--pre`.
    pub pip_args: Vec<String>,
    /// Variables for builds from source.
    pub build_env: BTreeMap<String, String>,
    pub output: Spanned<RelPath>,
}

/// A lockfile, and the parts of it that are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    pub path: Spanned<RelPath>,
    /// A member of the workspace.
    pub package: Option<String>,
    pub extras: Vec<String>,
    /// `None`: the default groups of the lockfile.
    pub groups: Option<Vec<String>>,
}

/// The Lambda runtime that wheels are chosen for.
#[derive(Clone, Debug)]
pub struct Platform {
    pub span: Span,
    /// `3.13`
    pub python: PythonVersion,
    pub arch: Arch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    pub major: u8,
    pub minor: u8,
}

#[derive(Clone, Debug)]
pub struct Staging {
    /// Names of wheelhouse targets.
    pub wheels: Vec<Spanned<String>>,
    pub sources: Vec<Source>,
    /// Globs over the paths inside the tree, wheels' files included.
    pub exclude: Vec<Spanned<Glob>>,
    pub conflicts: Vec<Conflict>,
    /// `None`: times are not touched.
    pub clamp: Option<Spanned<Instant>>,
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

/// A normalised pattern: `*` and `?` stay within a path part, `**` crosses parts, `[ab]`, `{a,b}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The leading parts without wildcards; the whole path if there is no wildcard.
    pub base: RelPath,
    /// The whole pattern; `None` without a wildcard. Most inputs are plain paths, and there may be
    /// a hundred thousand of them.
    pub wild: Option<Box<str>>,
}

impl Glob {
    pub fn pattern(&self) -> &str {
        self.wild.as_deref().unwrap_or(self.base.as_str())
    }

    pub fn has_wildcard(&self) -> bool {
        self.wild.is_some()
    }
}

impl From<RelPath> for Glob {
    fn from(base: RelPath) -> Self {
        Self { base, wild: None }
    }
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

/// The chosen instant of a clamp.
#[derive(Clone, Debug, PartialEq)]
pub enum Instant {
    /// Commit time of `HEAD`.
    Git,
    /// The environment variable `SOURCE_DATE_EPOCH`.
    SourceDateEpoch,
    /// Seconds since 1970-01-01T00:00:00Z.
    At(i64),
}

#[derive(Clone, Debug)]
pub struct Clamp {
    pub directory: Spanned<RelPath>,
    pub instant: Spanned<Instant>,
}

#[derive(Clone, Debug)]
pub struct Zip {
    /// Name of a staging target.
    pub staging: Spanned<String>,
    /// The folder of the bundle that contains the tree; `None` for the root.
    pub below: Option<Spanned<RelPath>>,
    pub output: Spanned<RelPath>,
    pub compression: Compression,
    /// The time of every entry; `None`: the constant.
    pub clamp: Option<Spanned<Instant>>,
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

/// Checks whether a bundle will run in a Lambda runtime.
#[derive(Clone, Debug)]
pub struct Check {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// Names of zip targets that the function has as layers.
    pub layers: Vec<Spanned<String>>,
    pub runtime: Python,
    pub arch: Arch,
    /// `module.function`
    pub handler: Option<String>,
    /// Rules that report nothing.
    pub silence: Vec<String>,
}

/// A layer of Lambda's, which has a bundle for its content.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// What Lambda calls the layer.
    pub name: Spanned<String>,
    /// The declared runtimes; empty if not declared.
    pub runtimes: Vec<Python>,
    pub archs: Vec<Arch>,
    pub s3: Option<S3>,
    /// Whether the bundle is checked against the runtimes and architectures before it is sent.
    pub check: bool,
    /// Rules of the check that report nothing.
    pub silence: Vec<String>,
}

/// The bucket for bundles that exceed Lambda's request limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    /// What the keys of objects begin with: a folder, without `/` at its ends; empty for none.
    pub prefix: String,
    /// Whether every bundle is sent there, and Lambda refers to it instead of copying it.
    pub reference: bool,
}

#[derive(Clone, Debug)]
pub struct Upload {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// Names or ARNs; never empty, each once.
    pub functions: Vec<Spanned<String>>,
    /// Names of layer targets whose versions the functions are to have.
    pub layers: Vec<Spanned<String>>,
    pub s3: Option<S3>,
    /// Whether the bundle is checked against the function before it is sent.
    pub check: bool,
    /// Rules of the check that report nothing.
    pub silence: Vec<String>,
    /// What is published of the code.
    pub publish: Option<Publish>,
    /// Leads to the version that is published.
    pub alias: Option<String>,
    /// The ARN of the KMS key that encrypts the zip in Lambda.
    pub kms_key: Option<String>,
    /// `CodeSha256` that the zip must have; of the command line only.
    pub digest: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Invoke {
    pub place: Place,
    /// What the function is called with, in this order; never empty.
    pub payloads: Vec<Payload>,
    /// Number of calls with each payload.
    pub repeat: usize,
    pub remote: Remote,
    pub local: Local,
}

/// The place where an invoke runs the function.
#[derive(Clone, Debug)]
pub enum Place {
    /// On AWS, once this upload target is done.
    Aws { upload: Spanned<String> },
    /// On this machine, from the bundle of this zip target, with those of others as layers.
    Here { zip: Spanned<String>, layers: Vec<Spanned<String>> },
}

/// What counts for an invoke on AWS.
#[derive(Clone, Debug)]
pub struct Remote {
    pub call: Call,
    /// Which of the functions of the upload; `None`: the only one.
    pub function: Option<Spanned<String>>,
    /// A version or an alias; `None` for the target of the upload.
    pub qualifier: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Waits for the response.
    Request,
    /// Lambda takes the event, and runs the function later.
    Event,
    /// Lambda checks only whether it would run the function.
    DryRun,
}

/// What counts for an invoke on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// `module.function`
    pub handler: Option<String>,
    /// Seconds.
    pub timeout: u16,
    pub env: BTreeMap<String, String>,
    /// `None`: the Python that the bundle's wheels are for.
    pub python: Option<Spanned<String>>,
    /// Whether the handler can import boto3 without a copy in the bundle, as on Lambda.
    pub boto3: bool,
}

#[derive(Clone, Debug)]
pub enum Payload {
    File(Spanned<RelPath>),
    /// JSON text.
    Inline(String),
}

#[derive(Clone, Debug)]
pub struct Command {
    pub action: Action,
    pub inputs: Box<[Spanned<Glob>]>,
    pub outputs: Box<[Spanned<RelPath>]>,
    pub env: BTreeMap<String, String>,
    pub directory: RelPath,
    /// Always runs.
    pub phony: bool,
    /// Runs alone, with the terminal as its own where there is one.
    pub terminal: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A program and its arguments; never empty.
    Run(Words),
    /// Given to `/bin/sh -c`.
    Shell(String),
}

/// A list of words in one piece of memory, each with its length in front (as netstrings are): a
/// Buildfile may have fifty thousand such lists.
#[derive(Clone, PartialEq)]
pub struct Words(Box<str>);

impl Words {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, words) = rest.split_once(':')?;
            let (word, after) = words.split_at(length.parse().ok()?);
            rest = after;
            Some(word)
        })
    }
}

impl<W: AsRef<str>> FromIterator<W> for Words {
    fn from_iter<T: IntoIterator<Item = W>>(words: T) -> Self {
        let mut text = String::new();
        for word in words {
            let word = word.as_ref();
            text.push_str(&word.len().to_string());
            text.push(':');
            text.push_str(word);
        }
        Self(text.into())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[derive(Clone, Debug)]
pub struct Group {
    pub targets: Vec<Spanned<String>>,
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

impl Zip {
    /// Returns the path of the build record, beside the bundle.
    pub fn record(&self) -> RelPath {
        let path = format!("{}.record.json", self.output.value);
        RelPath::parse(&path).expect("BUG: a longer name is a name")
    }
}

impl Target {
    /// Everything this target may leave on disk, its stamp last.
    pub fn outputs(&self) -> Vec<Output> {
        let mut outputs = match &self.kind {
            Kind::Wheelhouse(wheelhouse) => vec![Output::Folder(wheelhouse.output.value.clone())],
            Kind::Staging(staging) => vec![Output::Folder(staging.output.value.clone())],
            Kind::Zip(zip) => {
                vec![Output::File(zip.output.value.clone()), Output::File(zip.record())]
            }
            Kind::Command(command) => {
                command.outputs.iter().map(|path| Output::File(path.value.clone())).collect()
            }
            Kind::Clamp(_)
            | Kind::Check(_)
            | Kind::Layer(_)
            | Kind::Upload(_)
            | Kind::Invoke(_)
            | Kind::Group(_) => Vec::new(),
        };
        outputs.extend(self.stamp.iter().map(|stamp| Output::Stamp(stamp.value.clone())));
        outputs
    }

    /// Returns whether this target always runs as a goal or a need, as `.PHONY` does in make.
    pub fn is_phony(&self) -> bool {
        match &self.kind {
            Kind::Invoke(_) => true,
            Kind::Command(command) => command.phony,
            _ => false,
        }
    }
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Wheelhouse(_) => "wheelhouse",
            Self::Staging(_) => "staging",
            Self::Clamp(_) => "clamp",
            Self::Zip(_) => "zip",
            Self::Check(_) => "check",
            Self::Layer(_) => "layer",
            Self::Upload(_) => "upload",
            Self::Invoke(_) => "invoke",
            Self::Command(_) => "command",
            Self::Group(_) => "group",
        }
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
