//! The properties of this machine that builds depend on: the isolation and the compilers.
//!
//! Determining them takes dozens of processes, too many for a check that mostly leads to no build.
//! So they are cached, with stat data of all programs involved and the system's settings. A build
//! itself always determines them again.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use zipwright_store::platform;
use zipwright_store::{Bucket, Cache, Memo, Observation};

use super::super::build_environment::SYSTEM_PATH;
use super::sandbox::{Isolation, is_without_namespaces};
use super::tools::{self, Tools};
use zipwright_store::Digest;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;

/// The compilers that a compiler cache or another wrapper may start.
const BEHIND: [&str; 4] = ["gcc", "g++", "clang", "clang++"];

pub(super) struct Machine<'a> {
    project: &'a Project,
    cache: &'a Cache,
    found: OnceLock<(Isolation, Tools)>,
    identity: OnceLock<Identity>,
}

/// The properties that are part of a result's cache key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Digest of the versions that the compilers report.
    pub(super) tools: String,
    /// The path of the sandbox as a build sees it.
    pub(super) path: PathBuf,
}

impl<'a> Machine<'a> {
    pub(super) fn new(project: &'a Project, cache: &'a Cache) -> Self {
        Self { project, cache, found: OnceLock::new(), identity: OnceLock::new() }
    }

    /// Returns the current properties, determined at most once.
    pub(super) fn find(&self) -> &(Isolation, Tools) {
        self.found.get_or_init(|| {
            // Observed before the search, so that a change in between is noticed.
            let observations = observations(self.project);
            let found = (
                Isolation::find(self.project, self.cache.temporary_folder()),
                Tools::find(self.project),
            );
            let memo = observations.and_then(|all| Memo::new(all, Identity::of(&found)));
            if let Some(memo) = memo {
                // Replaces an entry that the observations did not show to be outdated.
                let _ = self.cache.put(Bucket::Toolchains, &key(self.project), &memo);
            }
            found
        })
    }

    /// Returns the identity, determined or cached.
    pub(super) fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| {
            let kept = || {
                let memo: Memo<Identity> =
                    self.cache.get(Bucket::Toolchains, &key(self.project))?;
                memo.valid()
            };
            match self.found.get() {
                None => kept().unwrap_or_else(|| Identity::of(self.find())),
                Some(found) => Identity::of(found),
            }
        })
    }

    /// Returns the isolation of the builds, if there was a build.
    pub(super) fn isolation(&self) -> Option<&'static str> {
        self.found.get().map(|(isolation, _)| isolation.describe())
    }
}

impl Identity {
    fn of((isolation, tools): &(Isolation, Tools)) -> Self {
        Self { tools: tools.identity.to_string(), path: isolation.path() }
    }
}

/// Returns the digest of everything that could change the properties; `None` if that cannot be
/// Returns the key of the cached identity: the settings that select the compilers, and the
/// confinement of this process.
fn key(project: &Project) -> Digest {
    let mut hasher = FieldHasher::new();
    hasher.field([u8::from(is_without_namespaces(project))]);
    for line in platform::confinement() {
        hasher.field(line);
    }
    let programs = compilers(project).into_iter().chain(rustc(project));
    for program in programs.chain(platform::unshare(project)) {
        hasher.field(program.as_os_str().as_encoded_bytes());
    }
    hasher.field(rustup_home(project).as_os_str().as_encoded_bytes());
    hasher.field(project.var("RUSTUP_TOOLCHAIN").unwrap_or_default());
    hasher.finish()
}

/// Returns everything that shows whether the result would differ; `None` if a compiler is a script,
/// which may run any other.
fn observations(project: &Project) -> Option<Vec<Observation>> {
    let programs: Vec<PathBuf> = compilers(project).into_iter().chain(rustc(project)).collect();
    if programs.iter().any(|program| is_script(program)) {
        return None;
    }
    let others = toolchains(project).into_iter().chain(platform::unshare(project));
    let files = programs.into_iter().chain(others).map(Observation::file);
    Some(platform::NAMESPACE_SETTINGS.iter().map(Observation::content).chain(files).collect())
}

/// Returns the places where a build would find compilers.
fn compilers(project: &Project) -> Vec<PathBuf> {
    let mut names = tools::asked(project);
    names.extend(BEHIND);
    let folders = SYSTEM_PATH.split(':').map(Path::new);
    // An absolute name stays as it is.
    folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).collect()
}

fn rustc(project: &Project) -> Option<PathBuf> {
    project.find_program("rustc")
}

/// Returns the files by which the `rustc` of rustup selects a compiler.
fn toolchains(project: &Project) -> Vec<PathBuf> {
    let home = rustup_home(project);
    let folder = home.join("toolchains");
    let toolchains = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = toolchains.map(|entry| entry.path().join("bin/rustc")).collect();
    // A new toolchain changes the folder.
    files.extend([folder, home.join("settings.toml")]);
    files.sort();
    files
}

fn rustup_home(project: &Project) -> PathBuf {
    let home = project.var("RUSTUP_HOME").map(PathBuf::from);
    home.unwrap_or_else(|| Path::new(project.var("HOME").unwrap_or("/")).join(".rustup"))
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}
