//! What a kind is given to work with.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Kind, Model, Shared, Target};
use crate::aws;
use crate::base::{Digest, RelPath};
use crate::event::Reporter;
use crate::files::{Content, Fact, View};
use crate::instant::{self, Instant};
use crate::key::{Key, Value};
use crate::make::Pool;
use crate::observation::Stat;
use crate::ownership::{self, Owned};
use crate::project::Project;

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
    pub messages: &'a dyn Reporter,
}

/// What the programs that a command runs find around them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Variables on top of our own environment: make's, for the makes below.
    pub env: Vec<(String, String)>,
    /// Standard input and both outputs are a terminal that a command may be given.
    pub terminal: bool,
}

/// What a run left behind.
#[derive(Debug, Default)]
pub struct Done {
    /// Of what was taken in, where the kind knows that for sure: see [`takes_in_by_digest`].
    pub key: Option<Key>,
    /// Stands for everything the target made, in the keys of the targets that need it. `None`:
    /// the digest of its outputs will do.
    pub result: Option<Digest>,
    /// Further facts for reports, e.g. `code_sha256`, in the order they are shown.
    pub facts: Facts,
}

/// What is known of a target once it ran, by name.
pub type Facts = Vec<(String, serde_json::Value)>;

impl Job<'_> {
    /// The result of a target that this one needs. There is none yet only in a dry run, of a
    /// target that was never built.
    pub fn result_of(&self, name: &str) -> Result<Digest> {
        self.results.get(name).copied().with_context(|| format!("`{name}` was not built before"))
    }

    /// Returns the instant of a clamp, in seconds since 1970-01-01T00:00:00Z.
    pub fn instant(&self, instant: &Instant) -> Result<i64> {
        match instant {
            Instant::At(_) => {}
            Instant::SourceDateEpoch => _ = self.files.var("SOURCE_DATE_EPOCH"),
            // The commit may change without any file of the project.
            Instant::Git => self.files.partial(),
        }
        instant::resolve(instant, self.project)
    }

    /// Returns the settings that decide where an upload goes, as components.
    pub fn destination(&self) -> Vec<(&'static str, String)> {
        aws::destination(|name| self.files.var(name))
    }

    /// Adds what is at `path` to `key`: content, executable bit, and a link's own text.
    pub fn add_file(&self, key: &mut Key, path: &RelPath) -> Result<()> {
        add_fact(key, path, &self.files.fact(path)?)
    }

    /// Fails if there is something at `path` that a file with the digest `new` may not replace.
    pub fn check_replaces(&self, path: &RelPath, new: &Digest) -> Result<()> {
        let place = self.project.place_to_write(path)?;
        let Ok(meta) = place.symlink_metadata() else { return Ok(()) };
        // A folder is never replaced by a file.
        if meta.is_dir() || self.owned.force {
            return Ok(());
        }
        if meta.is_file() {
            if self.files.written(path)? != Some(Stat::from(&meta).written()) {
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

    /// The target that `name` stands for; the graph has checked that it exists.
    pub fn named(&self, name: &str) -> Result<&Target> {
        self.model.target(name).with_context(|| format!("there is no target `{name}`"))
    }

    /// Returns the target `name` as a `T`. Fails if it is of another kind than `kind`, the name of `T`.
    pub fn of_kind<T: Kind>(&self, kind: &str, name: &str) -> Result<&T> {
        let found = &self.named(name)?.kind;
        found.get().with_context(|| format!("`{name}` is of kind `{}`, not `{kind}`", found.name()))
    }
}

/// Adds to `key` what was found at `path`; see [`Job::add_file`].
pub fn add_fact(key: &mut Key, path: &RelPath, fact: &Fact) -> Result<()> {
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
