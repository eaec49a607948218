//! Environments that builds run in: each made once a run for one set of locked wheels, and copied to
//! where every further build looks for it.
//!
//! A build gets a copy and not the thing itself: what it does to it is seen by no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::super::store::{Store, Wheel};
use crate::process::{Invocation, describe};

/// What a preparation leaves on a bench, and a build only reads.
const PARTS: [&str; 2] = ["env", "cc"];

/// One environment, once it is made; the lock is held while it is.
type Cell = Arc<Mutex<Option<TempDir>>>;

#[derive(Default)]
pub(super) struct Environments(Mutex<HashMap<Vec<Wheel>, Cell>>);

impl Environments {
    /// Brings the environment with these wheels to the bench at `place`, by `prepare` where it is
    /// the first to need it.
    pub(super) fn bring(
        &self,
        lock: &[Wheel],
        (place, store): (&Path, &Store),
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
        let kept = store.workshop()?;
        copy(place, kept.path())?;
        *made = Some(kept);
        Ok(())
    }
}

/// By the system's own program: it keeps links, modes and times, and clones where it can.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for part in PARTS {
        let place = to.join(part);
        crate::base::fs::remove(&place)?;
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
