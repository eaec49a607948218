//! The state of the project's git repository, for the records of its bundles.

use std::collections::HashSet;
use std::path::Path;
use std::thread;

use crate::bundle::{Manifest, Origin};
use crate::process::Invocation;
use crate::record::Git;

pub(crate) struct Checkout {
    commit: String,
    is_changed: bool,
    /// Separated by NUL.
    untracked: String,
}

impl Checkout {
    /// Runs two git commands in parallel. Returns `None` outside of a repository.
    pub(crate) fn ask(git: &Path, root: &Path) -> Option<Self> {
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
    pub(crate) fn git(&self, manifest: &Manifest) -> Git {
        let untracked: HashSet<&str> = self.untracked.split('\0').collect();
        let foreign = manifest.entries.iter().any(|entry| match &entry.origin {
            Origin::Source(path) => untracked.contains(path.as_str()),
            Origin::Wheel { .. } => false,
        });
        Git { commit: self.commit.clone(), clean: !self.is_changed && !foreign }
    }
}
