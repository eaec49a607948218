//! Results that the targets of one build share: wheels and manifests that one target has in memory
//! and another would read again, and the state of git. They are found by digest, so they are never
//! outdated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use zipwright_store::Cache;

use super::checkout::Checkout;
use crate::base::Digest;
use crate::bundle::Manifest;
use crate::project::Project;
use crate::wheel::Wheel;

#[derive(Default)]
pub struct Shared {
    wheels: Mutex<HashMap<(PathBuf, Digest), Wheel>>,
    manifests: Mutex<HashMap<Digest, Arc<Manifest>>>,
    asking: Mutex<Option<Asking>>,
    checkout: OnceLock<Option<Checkout>>,
}

type Asking = JoinHandle<Option<Checkout>>;

impl Shared {
    /// Like [`Wheel::open`], but opens each wheel once.
    pub(crate) fn wheel(&self, place: &Path, digest: Digest, cache: &Cache) -> Result<Wheel> {
        let key = (place.to_path_buf(), digest);
        if let Some(wheel) = lock(&self.wheels).get(&key) {
            return Ok(wheel.clone());
        }
        // Opened outside of the lock: the first time, a wheel is read to its end.
        let wheel = Wheel::open(place, digest, cache)?;
        lock(&self.wheels).insert(key, wheel.clone());
        Ok(wheel)
    }

    pub(crate) fn keep(&self, digest: Digest, manifest: Manifest) {
        lock(&self.manifests).insert(digest, Arc::new(manifest));
    }

    /// Returns the manifest whose encoding has this digest, if it was made in this build.
    pub(crate) fn manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        lock(&self.manifests).get(digest).cloned()
    }

    /// Starts git, once. It starts early, because a new process waits for its turn if all cores are
    /// busy.
    pub(crate) fn ask_git(&self, project: &Project) {
        let mut asking = lock(&self.asking);
        if asking.is_none()
            && self.checkout.get().is_none()
            && let Some(git) = project.find_program("git")
        {
            let root = project.root.clone();
            *asking = Some(thread::spawn(move || Checkout::ask(&git, &root)));
        }
    }

    /// Returns the state of git. `None` if git was not started, or outside of a repository.
    pub(crate) fn checkout(&self) -> Option<&Checkout> {
        let answer = || lock(&self.asking).take()?.join().expect("BUG: asking does not panic");
        self.checkout.get_or_init(answer).as_ref()
    }
}

/// Waits for git, so that no process outlives the build.
impl Drop for Shared {
    fn drop(&mut self) {
        self.checkout();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wheel::testing::Fixture;

    #[test]
    fn a_wheel_is_opened_once_for_each_content() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("demo-1.0-py3-none-any.whl");
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let shared = Shared::default();
        let open = |source: &str| {
            let bytes = Fixture::new(&[("demo/a.py", source)]).bytes();
            std::fs::write(&place, &bytes).unwrap();
            shared.wheel(&place, Digest::of(&bytes), &cache).unwrap()
        };
        let first = open("a");
        let bucket = cache.place(zipwright_store::Bucket::WheelIndexes, "");
        std::fs::remove_dir_all(&bucket).unwrap();
        assert_eq!(open("a").members, first.members);
        assert!(!bucket.exists(), "it was opened again");
        assert_ne!(open("b").members, first.members);
    }

    #[test]
    fn a_manifest_is_found_by_its_digest_alone() {
        let shared = Shared::default();
        let manifest = Manifest::default();
        let digest = Digest::of(&manifest.encode());
        shared.keep(digest, manifest.clone());
        assert_eq!(shared.manifest(&digest).as_deref(), Some(&manifest));
        assert_eq!(shared.manifest(&Digest::of(b"another")), None);
    }
}
