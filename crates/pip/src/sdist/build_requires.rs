//! The requirements of a build: the back end that `pyproject.toml` names, and the wheels of its
//! requirements. pip resolves these once; the resolution is cached and is part of a result's cache
//! key.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use zipwright_store::{Bucket, Cache};

use super::super::run::Pip;
use super::super::wheel_command::{Build, options_file, wheels_in};
use super::super::wheels::Wheel;
use zipwright_store::Digest;
use zipwright_store::digest::FieldHasher;
use zipwright_store::fs::{create_dir_all, read_to_string, write_if_changed};

/// The build system of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackEnd {
    pub(super) requires: Vec<String>,
    pub(super) module: String,
    pub(super) path: Vec<String>,
    /// The project's name, if `pyproject.toml` has it.
    pub(super) name: Option<String>,
}

#[derive(Default, Deserialize)]
struct PyProject {
    #[serde(rename = "build-system")]
    build_system: Option<BuildSystem>,
    project: Option<ProjectTable>,
}

#[derive(Deserialize)]
struct ProjectTable {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct BuildSystem {
    requires: Option<Vec<String>>,
    build_backend: Option<String>,
    #[serde(default)]
    backend_path: Vec<String>,
}

impl BackEnd {
    /// Reads it from a project's folder; missing keys have the defaults of PEP 517.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let place = folder.join("pyproject.toml");
        let mut name = None;
        let system = if place.is_file() {
            let text = read_to_string(&place)?;
            let project: PyProject =
                toml::from_str(&text).context("its `pyproject.toml` is not readable")?;
            name = project.project.and_then(|project| project.name);
            project.build_system.unwrap_or_default()
        } else if folder.join("setup.py").is_file() {
            BuildSystem::default()
        } else {
            bail!("it is not a Python project: it has neither `pyproject.toml` nor `setup.py`");
        };
        Ok(Self {
            requires: system.requires.unwrap_or_else(|| vec!["setuptools".into()]),
            module: system.build_backend.unwrap_or("setuptools.build_meta:__legacy__".into()),
            path: system.backend_path,
            name,
        })
    }
}

/// Resolves build requirements, for one set of sources and settings, and one content of the folders
/// of find-links in the project.
pub(super) struct Locks<'a> {
    pip: &'a Pip<'a>,
    cache: &'a Cache,
    build: &'a Build<'a>,
    context: Digest,
    /// Held while pip resolves, so that the same requirements of several packages are resolved
    /// once.
    asking: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

impl<'a> Locks<'a> {
    pub(super) fn new(
        pip: &'a Pip<'a>,
        cache: &'a Cache,
        build: &'a Build<'a>,
        context: Digest,
    ) -> Self {
        Self { pip, cache, build, context, asking: Mutex::default() }
    }

    /// Returns the cached resolution.
    pub(super) fn known(&self, requires: &[String]) -> Option<Vec<Wheel>> {
        if requires.is_empty() {
            return Some(Vec::new());
        }
        self.cache.get(Bucket::BuildRequirements, &self.key(requires))
    }

    /// Returns the wheels, all of them in the cache, sorted by name.
    pub(super) fn wheels(&self, requires: &[String], what: &str) -> Result<Vec<Wheel>> {
        let turn = {
            let mut asking = self.asking.lock().expect("BUG: no holder of this lock panics");
            asking.entry(self.key(requires)).or_default().clone()
        };
        let _turn = turn.lock().expect("BUG: as above");
        if let Some(known) = self.known(requires)
            && known
                .iter()
                .map(|wheel| wheel.is_cached(self.cache))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .all(|has| has)
        {
            return Ok(known);
        }
        self.pip.reporter.status(&format!("resolving the build requirements of {what}"));
        let workshop = self.cache.temporary_folder()?;
        let folder = workshop.path();
        let file = folder.join("requires.txt");
        write_if_changed(&file, (requires.join("\n") + "\n").as_bytes(), 0o600)?;
        let mut files = self.fetch(folder, &file)?;
        if files.is_empty() {
            self.pip.reporter.warn(&format!(
                "not all build requirements of {what} have ready wheels: pip builds the rest in \
                 its own way, so another machine may get other bytes"
            ));
            files = self.make(folder, &file, what)?;
        }
        let mut wheels: Vec<Wheel> =
            files.iter().map(|file| Wheel::put(self.cache, file)).collect::<Result<_>>()?;
        wheels.sort();
        self.cache.put(Bucket::BuildRequirements, &self.key(requires), &wheels)?;
        Ok(wheels)
    }

    /// Fetches ready wheels only; returns an empty list if some requirement has none.
    fn fetch(&self, folder: &Path, file: &Path) -> Result<Vec<PathBuf>> {
        let out = folder.join("ready");
        let mut command = self.command(folder, ["download", "--dest"], &out, file)?;
        command.extend(["--only-binary".into(), ":all:".into()]);
        Ok(match self.pip.run(command, &names(file))? {
            Ok(()) => wheels_in(&out),
            Err(_) => Vec::new(),
        })
    }

    fn make(&self, folder: &Path, file: &Path, what: &str) -> Result<Vec<PathBuf>> {
        let out = folder.join("made");
        let command = self.command(folder, ["wheel", "--wheel-dir"], &out, file)?;
        match self.pip.run(command, &names(file))? {
            Ok(()) => Ok(wheels_in(&out)),
            Err(failure) => Err(failure.error(&format!("get the build requirements of {what}"))),
        }
    }

    fn command(
        &self,
        folder: &Path,
        words: [&str; 2],
        out: &Path,
        file: &Path,
    ) -> Result<Vec<OsString>> {
        create_dir_all(out)?;
        let mut command: Vec<OsString> = words.map(Into::into).into();
        command.push(out.into());
        // `--require-hashes` and `--no-deps` apply to the installed wheels and not to their build
        // requirements, as in pip.
        let bears = |option: &&String| {
            !["--require-hashes", "--no-deps", "--no-dependencies"].contains(&option.trim())
        };
        let options: Vec<String> = self.build.options.iter().filter(bears).cloned().collect();
        command.extend(options_file(folder, &options)?);
        command.extend(self.build.pip_args.iter().filter(bears).map(Into::into));
        command.extend(["-r".into(), file.into()]);
        Ok(command)
    }

    fn key(&self, requires: &[String]) -> Digest {
        let mut sorted = requires.to_vec();
        sorted.sort();
        sorted.dedup();
        let mut hasher = FieldHasher::new();
        hasher.field(self.context.as_bytes()).field(self.build.offer.as_bytes());
        for requirement in sorted {
            hasher.field(requirement);
        }
        hasher.finish()
    }
}

fn names(file: &Path) -> Vec<(String, String)> {
    vec![(file.display().to_string(), "the build requirements".into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_project_does_not_say_is_setuptools() {
        let temp = tempfile::tempdir().unwrap();
        let read = || BackEnd::read(temp.path());
        assert!(read().unwrap_err().to_string().contains("neither"));
        std::fs::write(temp.path().join("setup.py"), "").unwrap();
        let old = read().unwrap();
        assert_eq!(old.requires, ["setuptools"]);
        assert_eq!(old.module, "setuptools.build_meta:__legacy__");
        let text = "[build-system]\nrequires = []\nbuild-backend = \"b\"\nbackend-path = [\"x\"]\n";
        std::fs::write(temp.path().join("pyproject.toml"), text).unwrap();
        let own = BackEnd {
            requires: Vec::new(),
            module: "b".into(),
            path: vec!["x".into()],
            name: None,
        };
        assert_eq!(read().unwrap(), own);
    }
}
