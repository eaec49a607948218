//! Environments that builds run in: each is made once per run for one locked set of wheels, and
//! copied into the sandbox of every further build.
//!
//! A build gets a copy, so its changes to the environment do not reach other builds.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use zipwright_store::Cache;

use super::super::wheels::Wheel;
use zipwright_engine::process::{Invocation, describe};

/// The parts of a sandbox that a preparation fills and a build only reads.
const PARTS: [&str; 2] = ["env", "cc"];

/// One environment, once it is made; the lock is held while it is being made.
type Cell = Arc<Mutex<Option<TempDir>>>;

#[derive(Default)]
pub(super) struct Environments(Mutex<HashMap<Vec<Wheel>, Cell>>);

impl Environments {
    /// Puts the environment with these wheels into the sandbox at `place`, by `prepare` if this is
    /// its first use.
    pub(super) fn bring(
        &self,
        lock: &[Wheel],
        (place, cache): (&Path, &Cache),
        prepare: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let cell = {
            let mut all = self.0.lock().expect("BUG: no holder of this lock panics");
            all.entry(lock.to_vec()).or_default().clone()
        };
        let mut made = cell.lock().expect("BUG: as above");
        if let Some(made) = &*made {
            return copy(made.path(), place);
        }
        prepare()?;
        let kept = cache.temporary_folder()?;
        copy(place, kept.path())?;
        *made = Some(kept);
        Ok(())
    }
}

/// Copies a folder by the system's `cp`, which keeps links, modes and times, and clones blocks if
/// possible.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for part in PARTS {
        let place = to.join(part);
        zipwright_store::fs::remove(&place)?;
        let copied = Invocation::new("/bin/cp", "/")
            .arg("-a")
            .args([from.join(part), place])
            .capture()
            .context("could not copy the environment of a build")?;
        if !copied.status.success() {
            let said = copied.stderr.trim();
            bail!(
                "could not copy the environment of a build ({}): {said}",
                describe(copied.status)
            );
        }
    }
    Ok(())
}
