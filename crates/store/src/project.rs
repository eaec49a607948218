//! The place of a build: the project's root, its state folder, the per-user cache, and the
//! environment at the start. The only reader of the process environment.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::Cache;
use anyhow::{Context, Result, anyhow};

use crate::{RelPath, beneath, clock, private};

/// Folder of the engine's state, below the project's root.
pub const STATE_FOLDER: &str = ".zipwright";

#[derive(Clone, Debug)]
pub struct Project {
    /// Absolute path. Every [`RelPath`] is relative to it.
    pub root: PathBuf,
    cache_path: PathBuf,
    /// Opened by the first use, for all clones of this value.
    cache: Arc<OnceLock<Cache>>,
    env: BTreeMap<String, String>,
    /// Variables only for builds from source; [`Project::var`] returns them as well.
    build_vars: BTreeMap<String, String>,
}

impl Project {
    /// Returns the project in the current folder. Variables that are not UTF-8 are ignored.
    pub fn here() -> Result<Self> {
        let root = env::current_dir().context("could not find the current folder")?;
        let env = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let project = Self::new(root, env);
        // For tests, where all files are on one file system.
        if let Some(margin) = project.var("ZIPWRIGHT_TEST_CLOCK_MARGIN") {
            clock::set_margin(margin.parse().context("ZIPWRIGHT_TEST_CLOCK_MARGIN")?);
        }
        Ok(project)
    }

    pub fn new(root: PathBuf, env: BTreeMap<String, String>) -> Self {
        let cache_path = cache_path(&env);
        Self { root, cache_path, cache: Arc::default(), env, build_vars: BTreeMap::new() }
    }

    /// Returns the project with further variables for builds from source.
    #[must_use]
    pub fn with_build_vars(&self, vars: &BTreeMap<String, String>) -> Self {
        let mut project = self.clone();
        project.env.extend(vars.clone());
        project.build_vars.clone_from(vars);
        project
    }

    pub fn build_vars(&self) -> &BTreeMap<String, String> {
        &self.build_vars
    }

    /// Returns the per-user cache, a folder that only this user can use. Fails if it cannot be
    /// created, or if another user may have written in it.
    pub fn cache(&self) -> Result<&Cache> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        let cache = Cache::open(&self.cache_path).map_err(|error| {
            anyhow!(
                "the cache cannot be used: {error:#}\n\
                     set XDG_CACHE_HOME to a folder of yours, or move this one away"
            )
        })?;
        Ok(self.cache.get_or_init(|| cache))
    }

    /// Returns the path of the cache, usable or not.
    pub fn cache_path(&self) -> &Path {
        &self.cache_path
    }

    /// Creates the state folder, or checks that it belongs to this user, or to the owner of the
    /// project.
    pub fn claim_state(&self) -> Result<()> {
        let state = self.state();
        private::create_dir_all(&state)?;
        private::claim_below(&self.root, &state).map_err(|error| {
            anyhow!("{error:#}\nremove it, or have it given to you: it costs a build, and no more")
        })
    }

    /// Returns a variable of the environment at the start; an empty one counts as unset.
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

    /// Returns a folder below the state folder, after creating it if necessary. Fails if either is
    /// a link.
    pub fn state_folder(&self, name: &str) -> Result<PathBuf> {
        let path = RelPath::parse(&format!("{STATE_FOLDER}/{name}"));
        let path = path.expect("BUG: a plain name is part of a path");
        beneath::check_folder(&self.root, &path)?;
        let place = self.place(&path);
        private::create_dir_all(&place)?;
        Ok(place)
    }

    /// Returns the first executable file named `program` on PATH. A `program` with a `/` is a path,
    /// relative to the project's root unless absolute.
    pub fn find_program(&self, program: &str) -> Option<PathBuf> {
        if program.contains('/') {
            return Some(self.root.join(program)).filter(|path| is_executable(path));
        }
        env::split_paths(self.var("PATH")?)
            .map(|folder| self.root.join(folder).join(program))
            .find(|path| is_executable(path))
    }
}

/// Returns `$XDG_CACHE_HOME/zipwright`, else `~/.cache/zipwright`. A user without a home, as in
/// many containers, has a folder of a unique name among the temporary files.
fn cache_path(env: &BTreeMap<String, String>) -> PathBuf {
    let absolute = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(caches) = absolute("XDG_CACHE_HOME") {
        return caches.join("zipwright");
    }
    // Without HOME, this is the home in the system's list of users.
    let home = absolute("HOME").or_else(env::home_dir);
    // `/` is the home of users without one.
    match home.filter(|home| home.parent().is_some() && home.is_dir()) {
        Some(home) => home.join(".cache/zipwright"),
        None => {
            let user = rustix::process::geteuid().as_raw();
            env::temp_dir().join(format!("zipwright-cache-{user}"))
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
