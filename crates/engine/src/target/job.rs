//! The input of a kind's functions: one target, and everything that it may use.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Kind, Model, Shared, Target};
use crate::event::Reporter;
use crate::files::{Content, Fact, View};
use crate::key::{Key, Value};
use crate::make::Pool;
use crate::observation::Stat;
use crate::ownership::{self, Owned};
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// One target, and everything that its kind may use. The targets that it needs are up to date.
pub struct Job<'a> {
    pub model: &'a Model,
    pub target: &'a Target,
    pub project: &'a Project,
    pub files: &'a View<'a>,
    pub shared: &'a Shared,
    /// The result of every target that this one needs, by name.
    pub results: &'a BTreeMap<&'a str, Digest>,
    /// The facts of these targets from their last run, by name.
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

/// The environment of the programs that a command runs.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Variables on top of our own environment: make's, for the makes below.
    pub env: Vec<(String, String)>,
    /// Standard input and both outputs are a terminal that a command may be given.
    pub terminal: bool,
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Done {
    /// The fingerprint of the content that was read, if that is certain; see [`Kind::reads_by_digest`].
    pub key: Option<Key>,
    /// Stands for everything that the target made, in the fingerprints of the targets that need it;
    /// `None` for the digest of its outputs.
    pub result: Option<Digest>,
    /// Further facts for reports, e.g. `code_sha256`, in the order they are shown.
    pub facts: Facts,
}

/// Facts of a target that ran, by name, for reports and for the targets that need it.
pub type Facts = Vec<(String, serde_json::Value)>;

impl Job<'_> {
    /// Returns the result of a target that this one needs. Fails only in a dry run, if that target was
    /// never built.
    pub fn result_of(&self, name: &str) -> Result<Digest> {
        self.results.get(name).copied().with_context(|| format!("`{name}` was not built before"))
    }

    /// Adds the entry at `path` to `key`: content, executable bit, and the text of a link.
    pub fn add_file(&self, key: &mut Key, path: &RelPath) -> Result<()> {
        add_fact(key, path, &self.files.fact(path)?)
    }

    /// Fails if there is something at `path` that a file with the digest `new` may not replace.
    pub fn check_replaces(&self, path: &RelPath, new: &Digest) -> Result<()> {
        let place = self.files.to_write(path)?;
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

    /// Returns the target `name`; the graph has checked that it exists.
    pub fn named(&self, name: &str) -> Result<&Target> {
        self.model.target(name).with_context(|| format!("there is no target `{name}`"))
    }

    /// Returns the target `name` as a `T`. Fails if it is of another kind than `kind`, the name of `T`.
    pub fn of_kind<T: Kind>(&self, kind: &str, name: &str) -> Result<&T> {
        let found = &self.named(name)?.kind;
        found.get().with_context(|| format!("`{name}` is of kind `{}`, not `{kind}`", found.name()))
    }
}

/// Adds the entry `fact` of `path` to `key`; see [`Job::add_file`].
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
