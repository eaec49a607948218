//! The kinds of targets: what each depends on, and how each is brought up to date.
//!
//! Every kind is two functions over the same [`Job`]: `key` finds out what the output depends on,
//! as it is now; `run` does the work and leaves the outputs in place. A kind knows its own keys
//! of the Buildfile, the files and the leaves it uses (wheels, pip, AWS); it knows nothing of
//! order, state or who prints what it says.

mod check;
mod checkout;
mod clamp;
mod command;
mod group;
mod invoke;
mod layer;
mod sending;
mod shared;
mod staging;
mod upload;
mod wheelhouse;
mod zip;

use std::any::Any;
use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::aws;
use crate::base::fs as base_fs;
use crate::base::{Digest, Printable, RelPath};
use crate::buildfile::model::{Instant, Kind, Model, Output, Target, Zip};
use crate::files::{Content, Fact, View};
use crate::instant;
use crate::key::{Key, Value};
use crate::make::Pool;
use crate::observation::stat_of;
use crate::ownership::{self, Owned};
use crate::process::Stream;
use crate::project::Project;

pub use shared::Shared;

/// One target, and all that its kind may look at. The targets it needs are up to date.
pub struct Job<'a> {
    pub model: &'a Model,
    pub target: &'a Target,
    pub project: &'a Project,
    pub files: &'a View<'a>,
    pub shared: &'a Shared,
    /// The result of every target that this one needs, by name.
    pub results: &'a BTreeMap<&'a str, Digest>,
    /// What is known of these targets since their last run, by name.
    pub facts: &'a BTreeMap<&'a str, Facts>,
    /// Whether a staging tree must be there as a folder, not only as its manifest.
    pub write_tree: bool,
    /// The files that the target left before.
    pub owned: &'a Owned,
    pub surroundings: &'a Surroundings,
    /// Further job slots, for a kind that does several things at once.
    pub pool: Option<&'a Pool>,
    pub messages: &'a dyn Messages,
}

/// What the programs that a command runs find around them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Variables on top of our own environment: make's, for the makes below.
    pub env: Vec<(String, String)>,
    /// Standard input and both outputs are a terminal that a command may be given.
    pub terminal: bool,
}

/// Where a kind's words go while it works.
pub trait Messages: Sync {
    /// A line of output of the work itself: a command's, pip's.
    fn line(&self, stream: Stream, text: Printable);
    /// Something the user should know and may want to change.
    fn warn(&self, text: &str);
    /// What is being done right now; shown on a terminal only.
    fn status(&self, text: &str);
}

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Done {
    /// Of what was taken in, where the kind knows that for sure: see [`takes_in_by_digest`].
    pub key: Option<Key>,
    /// Stands for everything the target made, in the keys of the targets that need it. `None`:
    /// the digest of its outputs will do.
    pub result: Option<Digest>,
    pub outputs: Vec<Output>,
    /// Further facts for reports, e.g. `code_sha256`, in the order they are shown.
    pub facts: Facts,
}

/// What is known of a target once it ran, by name.
pub type Facts = Vec<(String, serde_json::Value)>;

/// The components on which a target depends, as they are now.
pub struct Fingerprint {
    pub key: Key,
    pub findings: Findings,
}

/// Results of computing a fingerprint that the run needs: [`run`] gets them unless a read on which
/// they rest was dropped.
pub type Findings = Option<Box<dyn Any + Send>>;

/// Returns the fingerprint of a target. Writes nothing.
pub fn fingerprint(job: &Job) -> Result<Fingerprint> {
    let key = match &job.target.kind {
        Kind::Staging(staging) => return staging::fingerprint(staging, job),
        Kind::Wheelhouse(wheelhouse) => wheelhouse::key(wheelhouse, job),
        Kind::Clamp(clamp) => clamp::key(clamp, job),
        Kind::Zip(zip) => zip::key(zip, job),
        Kind::Check(check) => check::key(check, job),
        Kind::Layer(layer) => layer::key(layer, job),
        Kind::Upload(upload) => upload::key(upload, job),
        Kind::Invoke(invoke) => invoke::key(invoke, job),
        Kind::Command(command) => command::key(command, job),
        Kind::Group(group) => group::key(group, job),
    };
    Ok(Fingerprint { key: key?, findings: None })
}

/// Whether a run takes in nothing but what its key names by digest, and checks it while it reads,
/// so that it knows the key of what it made whoever writes meanwhile; and itself drops the
/// observations of what it wrote.
pub fn takes_in_by_digest(kind: &Kind) -> bool {
    matches!(kind, Kind::Staging(staging) if staging.clamp.is_none() && !staging.bytecode)
}

/// Brings the target up to date: does the work and leaves the outputs in place. An error leaves
/// no half-made output.
pub fn run(job: &Job, findings: Findings) -> Result<Done> {
    match &job.target.kind {
        Kind::Wheelhouse(wheelhouse) => wheelhouse::run(wheelhouse, job),
        Kind::Staging(staging) => staging::run(staging, job, findings),
        Kind::Clamp(clamp) => clamp::run(clamp, job),
        Kind::Zip(zip) => zip::run(zip, job),
        Kind::Check(check) => check::run(check, job),
        Kind::Layer(layer) => layer::run(layer, job),
        Kind::Upload(upload) => upload::run(upload, job),
        Kind::Invoke(invoke) => invoke::run(invoke, job),
        Kind::Command(command) => command::run(command, job),
        Kind::Group(group) => group::run(group, job),
    }
}

/// Looks for mistakes that would only show late, before anything that the target needs is there.
/// Writes nothing.
pub fn look_ahead(job: &Job) -> Result<()> {
    match &job.target.kind {
        Kind::Upload(upload) => upload::look_ahead(upload, job),
        Kind::Invoke(invoke) => invoke::look_ahead(invoke, job),
        _ => Ok(()),
    }
}

/// Takes what is there for what a run would have made, as `make -t` does: sets the outputs' mtimes
/// to now. A command's output that is not there is made empty, as make does it; what another
/// kind makes cannot be faked.
pub fn touch(job: &Job) -> Result<Done> {
    for output in expected_outputs(job) {
        let place = job.project.place(output.path());
        let path = output.path();
        let is_command = matches!(job.target.kind, Kind::Command(_));
        if !is_command && place.symlink_metadata().is_err() {
            anyhow::bail!("`{path}` is not there, so -t cannot count it as up to date; build it");
        }
        if let Output::File(path) = &output {
            base_fs::touch(&job.project.place_to_write(path)?)?;
            job.files.forget(path);
        }
    }
    match &job.target.kind {
        Kind::Zip(zip) => zip::touched(zip, job),
        Kind::Staging(_) => staging::touched(job),
        _ => Ok(Done::default()),
    }
}

/// What must be on disk for the target to be up to date, its stamp left out.
pub fn expected_outputs(job: &Job) -> Vec<Output> {
    match &job.target.kind {
        Kind::Staging(staging) => staging::expected_outputs(staging, job),
        _ => job
            .target
            .outputs()
            .into_iter()
            .filter(|output| !matches!(output, Output::Stamp(_)))
            .collect(),
    }
}

impl Job<'_> {
    /// The result of a target that this one needs. There is none yet only in a dry run, of a
    /// target that was never built.
    fn result_of(&self, name: &str) -> Result<Digest> {
        self.results.get(name).copied().with_context(|| format!("`{name}` was not built before"))
    }

    /// Returns the instant of a clamp, in seconds since 1970-01-01T00:00:00Z.
    fn instant(&self, instant: &Instant) -> Result<i64> {
        match instant {
            Instant::At(_) => {}
            Instant::SourceDateEpoch => _ = self.files.var("SOURCE_DATE_EPOCH"),
            // The commit may change without any file of the project.
            Instant::Git => self.files.partial(),
        }
        instant::resolve(instant, self.project)
    }

    /// Returns the settings that decide where an upload goes, as components.
    fn destination(&self) -> Vec<(&'static str, String)> {
        aws::destination(|name| self.files.var(name))
    }

    /// Adds what is at `path` to `key`: content, executable bit, and a link's own text.
    fn add_file(&self, key: &mut Key, path: &RelPath) -> Result<()> {
        add_fact(key, path, &self.files.fact(path)?)
    }

    /// Fails if there is something at `path` that a file with the digest `new` may not replace.
    fn check_replaces(&self, path: &RelPath, new: &Digest) -> Result<()> {
        let place = self.project.place_to_write(path)?;
        let Ok(meta) = place.symlink_metadata() else { return Ok(()) };
        // A folder is never replaced by a file.
        if meta.is_dir() || self.owned.force {
            return Ok(());
        }
        if meta.is_file() {
            if self.files.written(path)? != Some(stat_of(&meta).written()) {
                self.files.forget(path);
            }
            if let Content::File { digest, .. } = self.files.fact(path)?.content
                && (digest == *new || self.owned.is_ours(path, &digest))
            {
                return Ok(());
            }
        }
        Err(ownership::in_the_way(&[path.to_string()]))
    }

    /// The zip target that `name` stands for.
    fn zip(&self, name: &str) -> Result<&Zip> {
        match &self.named(name)?.kind {
            Kind::Zip(zip) => Ok(zip),
            other => anyhow::bail!("`{name}` is a {}, and no zip", other.name()),
        }
    }

    /// The target that `name` stands for; the graph has checked that it exists.
    fn named(&self, name: &str) -> Result<&Target> {
        self.model.target(name).with_context(|| format!("there is no target `{name}`"))
    }
}

/// Adds to `key` what was found at `path`; see [`Job::add_file`].
fn add_fact(key: &mut Key, path: &RelPath, fact: &Fact) -> Result<()> {
    if let Some(link) = &fact.link {
        key.text(format!("link {path}"), link);
    }
    let value = match fact.content {
        Content::File { digest, executable, .. } => Value::File { digest, executable },
        Content::Folder => Value::Text("folder"),
        Content::Missing => Value::Missing,
        Content::Other => anyhow::bail!("`{path}` is neither a file nor a folder"),
    };
    key.file(path, value);
    Ok(())
}
