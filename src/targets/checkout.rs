//! The state of the project's git repository, for the records of its bundles.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use crate::bundle::{Manifest, Origin};
use crate::process::Invocation;
use crate::project::Project;
use crate::record::Git;

/// The state of git, computed once in a build.
#[derive(Default)]
pub(super) struct Repository {
    asking: Mutex<Option<Asking>>,
    checkout: OnceLock<Option<Checkout>>,
}

type Asking = JoinHandle<Option<Checkout>>;

impl Repository {
    /// Starts git, once. It starts early, because a new process waits for its turn if all cores are
    /// busy.
    pub(super) fn start(&self, project: &Project) {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.is_none()
            && self.checkout.get().is_none()
            && may_be_repository(project)
            && let Some(git) = project.find_program("git")
        {
            let root = project.root.clone();
            *asking = Some(thread::spawn(move || Checkout::ask(&git, &root)));
        }
    }

    /// Returns the state of git. `None` if git was not started, or outside of a repository.
    pub(super) fn checkout(&self) -> Option<&Checkout> {
        let answer = || {
            let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
            asking?.join().expect("BUG: asking does not panic")
        };
        self.checkout.get_or_init(answer).as_ref()
    }
}

/// Returns whether git could find a repository: without one, it need not be started.
fn may_be_repository(project: &Project) -> bool {
    let ceilings = project.var("GIT_CEILING_DIRECTORIES").unwrap_or_default();
    let is_ceiling = |folder: &Path| ceilings.split(':').any(|ceiling| folder == ceiling);
    let mut above = project.root.ancestors().skip(1).take_while(|folder| !is_ceiling(folder));
    project.var("GIT_DIR").is_some()
        || project.root.join(".git").exists()
        || above.any(|folder| folder.join(".git").exists())
}

/// Waits for git, so that no process outlives the build.
impl Drop for Repository {
    fn drop(&mut self) {
        self.checkout();
    }
}

pub(super) struct Checkout {
    commit: String,
    is_changed: bool,
    /// Separated by NUL.
    untracked: String,
}

impl Checkout {
    /// Runs two git commands in parallel. Returns `None` outside of a repository.
    fn ask(git: &Path, root: &Path) -> Option<Self> {
        let ask = |words: &[&str]| {
            // Reading must not write into the repository's index.
            let asked = Invocation::new(git, root)
                .env("GIT_OPTIONAL_LOCKS", "0")
                .args(words.iter().copied());
            let captured = asked.capture().ok()?;
            captured.status.success().then_some(captured.stdout)
        };
        let (status, untracked) = thread::scope(|scope| {
            let words = ["status", "--porcelain=v2", "--branch", "--untracked-files=no"];
            let status = scope.spawn(move || ask(&words));
            let untracked = ask(&["ls-files", "--others", "--exclude-standard", "-z"]);
            (status.join().expect("BUG: asking does not panic"), untracked)
        });
        let (status, untracked) = (status?, untracked?);
        let commit = status.lines().find_map(|line| line.strip_prefix("# branch.oid "))?;
        // git prints this before the first commit.
        let commit = Some(commit).filter(|commit| *commit != "(initial)")?.to_owned();
        let is_changed = status.lines().any(|line| !line.starts_with('#'));
        Some(Self { commit, is_changed, untracked })
    }

    /// Returns the part of a record about git, for a bundle of these files.
    pub(super) fn git(&self, manifest: &Manifest) -> Git {
        let untracked: HashSet<&str> = self.untracked.split('\0').collect();
        let foreign = manifest.entries.iter().any(|entry| match &entry.origin {
            Origin::Source(path) => untracked.contains(path.as_str()),
            Origin::Wheel { .. } => false,
        });
        Git { commit: self.commit.clone(), clean: !self.is_changed && !foreign }
    }
}
