//! Results that the targets of one build share: wheels and manifests that one target has in memory
//! and another would read again. They are found by digest, so they are never outdated.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::base::{Cache, Digest};
use crate::bundle::Manifest;
use crate::wheel::Wheel;

/// Opened wheels, by place and content.
#[derive(Default)]
pub(super) struct Wheels(Mutex<HashMap<(PathBuf, Digest), Wheel>>);

impl Wheels {
    /// Like [`Wheel::open`], but opens each wheel once.
    pub(super) fn open(&self, place: &Path, digest: Digest, cache: &Cache) -> Result<Wheel> {
        let key = (place.to_path_buf(), digest);
        if let Some(wheel) = lock(&self.0).get(&key) {
            return Ok(wheel.clone());
        }
        // Opened outside of the lock: the first time, a wheel is read to its end.
        let wheel = Wheel::open(place, digest, cache)?;
        lock(&self.0).insert(key, wheel.clone());
        Ok(wheel)
    }
}

/// Manifests of staging trees, by the digest of their encoding.
#[derive(Default)]
pub(super) struct Manifests(Mutex<HashMap<Digest, Arc<Manifest>>>);

impl Manifests {
    pub(super) fn keep(&self, digest: Digest, manifest: Manifest) {
        lock(&self.0).insert(digest, Arc::new(manifest));
    }

    /// Returns the manifest whose encoding has this digest, if it was made in this build.
    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        lock(&self.0).get(digest).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Bucket;
    use crate::targets::staging::testing::Fixture;

    #[test]
    fn a_wheel_is_opened_once_for_each_content() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("demo-1.0-py3-none-any.whl");
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let wheels = Wheels::default();
        let open = |source: &str| {
            let bytes = Fixture::new(&[("demo/a.py", source)]).bytes();
            std::fs::write(&place, &bytes).unwrap();
            wheels.open(&place, Digest::of(&bytes), &cache).unwrap()
        };
        let first = open("a");
        let bucket = cache.place(Bucket::WheelIndexes, "");
        std::fs::remove_dir_all(&bucket).unwrap();
        assert_eq!(open("a").members, first.members);
        assert!(!bucket.exists(), "it was opened again");
        assert_ne!(open("b").members, first.members);
    }

    #[test]
    fn a_manifest_is_found_by_its_digest_alone() {
        let manifests = Manifests::default();
        let manifest = Manifest::default();
        let digest = Digest::of(&manifest.encode());
        manifests.keep(digest, manifest.clone());
        assert_eq!(manifests.find(&digest).as_deref(), Some(&manifest));
        assert_eq!(manifests.find(&Digest::of(b"another")), None);
    }
}
