//! Where a build happens: the project's root, its state folder, the per-user cache, and the
//! environment as it was at the start. The only reader of the process environment.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::RelPath;

/// Folder of the engine's own records, below the project's root.
pub const STATE_FOLDER: &str = ".zipwright";

#[derive(Clone, Debug)]
pub struct Project {
    /// Absolute. Every [`RelPath`] is relative to it.
    pub root: PathBuf,
    /// Per-user: `$XDG_CACHE_HOME/zipwright`, else `~/.cache/zipwright`. Absolute, may not exist.
    pub cache: PathBuf,
    env: BTreeMap<String, String>,
}

impl Project {
    /// The project in the current folder. Variables that are not UTF-8 are left out.
    pub fn here() -> Result<Self> {
        let root = env::current_dir().context("could not find the current folder")?;
        let env = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self::new(root, env))
    }

    pub fn new(root: PathBuf, env: BTreeMap<String, String>) -> Self {
        let absolute =
            |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(env::temp_dir)
            .join("zipwright");
        Self { root, cache, env }
    }

    /// A variable of the environment that zipwright was started in; an empty one counts as unset.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn vars(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    pub fn state(&self) -> PathBuf {
        self.root.join(STATE_FOLDER)
    }

    pub fn place(&self, path: &RelPath) -> PathBuf {
        path.under(&self.root)
    }

    /// The first executable file named `program` on PATH; a `program` with a `/` is itself, taken
    /// from the project's root when it is relative.
    pub fn find_program(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            return Some(self.root.join(program)).filter(|path| is_executable(path));
        }
        env::split_paths(self.var("PATH")?)
            .map(|folder| self.root.join(folder).join(program))
            .find(|path| is_executable(path))
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
