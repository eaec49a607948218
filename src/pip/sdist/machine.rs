//! The properties of this machine that builds depend on: the isolation and the compilers.
//!
//! Determining them takes dozens of processes, too many for a check that mostly leads to no build.
//! So they are cached, with stat data of all programs involved and the system's settings. A build
//! itself always determines them again.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::store::Store;
use super::sandbox::{Isolation, SYSTEM_PATH, is_without_namespaces};
use super::tools::{self, Tools};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, clock};
use crate::files::stat_of;
use crate::project::Project;

/// Bucket of the cached properties.
const KEPT: &str = "machines";

/// Version of the evidence. Change it when other evidence is collected.
const FORM: &str = "machine 1";

/// Files with the settings of the kernel and the container that decide whether namespaces can be
/// made.
const SETTINGS: [&str; 6] = [
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/user/max_mnt_namespaces",
    "/proc/self/attr/current",
];

/// Lines of `/proc/self/status` of the same kind.
const CONFINEMENT: [&str; 4] = ["Uid:", "CapEff:", "NoNewPrivs:", "Seccomp:"];

/// The compilers that a compiler cache or another wrapper may start.
const BEHIND: [&str; 4] = ["gcc", "g++", "clang", "clang++"];

pub(super) struct Machine<'a> {
    project: &'a Project,
    store: &'a Store,
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
    pub(super) fn new(project: &'a Project, store: &'a Store) -> Self {
        Self { project, store, found: OnceLock::new(), identity: OnceLock::new() }
    }

    /// Returns the current properties, determined at most once.
    pub(super) fn find(&self) -> &(Isolation, Tools) {
        self.found.get_or_init(|| {
            let evidence = evidence(self.project);
            let found =
                (Isolation::find(self.project, self.store.workshop()), Tools::find(self.project));
            // The evidence may miss a cause, such as another kernel module: correct the entry.
            if let Some(evidence) = evidence {
                let _ = self.store.remember(KEPT, &evidence, &Identity::of(&found));
            }
            found
        })
    }

    /// Returns the identity, determined or cached.
    pub(super) fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| {
            let kept = || self.store.recall(KEPT, &evidence(self.project)?);
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
/// determined.
fn evidence(project: &Project) -> Option<Digest> {
    let mut hasher = FieldHasher::new();
    hasher.field(FORM).field([u8::from(is_without_namespaces(project))]);
    for file in SETTINGS {
        hasher.field(fs::read(file).unwrap_or_default());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let confinement = |line: &&str| CONFINEMENT.iter().any(|name| line.starts_with(name));
    status.lines().filter(confinement).for_each(|line| {
        hasher.field(line);
    });
    let mut names = tools::asked(project);
    names.extend(BEHIND);
    let folders = SYSTEM_PATH.split(':').map(Path::new);
    // `join` returns an absolute name unchanged.
    let compilers = folders.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    for compiler in compilers {
        hasher.field(program(&compiler)?);
    }
    let unshare = project.find_program("unshare").unwrap_or_default();
    hasher.field(stat(&unshare)?);
    let rustc = project.find_program("rustc").unwrap_or_default();
    hasher.field(program(&rustc)?);
    for file in toolchains(project) {
        hasher.field(stat(&file)?);
    }
    hasher.field(project.var("RUSTUP_TOOLCHAIN").unwrap_or_default());
    Some(hasher.finish())
}

/// Returns the compilers that rustup's `rustc` may start.
fn toolchains(project: &Project) -> Vec<PathBuf> {
    let home = project.var("RUSTUP_HOME").map(PathBuf::from);
    let home =
        home.unwrap_or_else(|| Path::new(project.var("HOME").unwrap_or("/")).join(".rustup"));
    let toolchains = fs::read_dir(home.join("toolchains")).into_iter().flatten().flatten();
    let mut files: Vec<_> = toolchains.map(|entry| entry.path().join("bin/rustc")).collect();
    files.push(home.join("settings.toml"));
    files.sort();
    files
}

/// Returns stat data of a program, if it exists; `None` for a script, which may run any program.
fn program(path: &Path) -> Option<String> {
    let mut start = [0; 2];
    let script = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *b"#!";
    if script { None } else { stat(path) }
}

/// Returns real path and stat data of a file, if it exists; `None` if the file is too new.
fn stat(path: &Path) -> Option<String> {
    let (Ok(real), Ok(meta)) = (fs::canonicalize(path), fs::metadata(path)) else {
        return Some(String::new());
    };
    let stat = stat_of(&meta);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
    let settled = i64::try_from(now).ok()?.saturating_sub(clock::margin());
    (stat.mtime < settled && stat.ctime < settled).then(|| format!("{} {stat:?}", real.display()))
}
