//! The per-user cache: results that outlive one project, in buckets of entries.
//!
//! Safe to use from several processes at once, and to delete while no build runs. An entry that is
//! damaged, or that another user may have written, counts as absent. Every user of the cache holds
//! a shared lock on it, so that pruning waits for builds, and builds for pruning.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::{NamedTempFile, TempDir};

use crate::{Bucket, Digest, fs, private};

/// Name of the file that is locked.
pub(crate) const LOCK: &str = "lock";

/// Folder for the work of builds. After all builds ended, everything in it is left over.
pub(crate) const TEMPORARY: &str = "tmp";

/// Interval at which the mtime of an entry in use is renewed; pruning reads it as the time of the
/// last use.
const RENEWED: Duration = Duration::from_secs(24 * 60 * 60);

/// The cache of one user. Clones share the lock.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    /// `None` on a file system without locks.
    _lock: Option<Arc<File>>,
}

impl Cache {
    /// Opens the cache in `root`, which is created if it does not exist. Waits while the cache is
    /// pruned. Fails if another user may have written in the folder.
    pub fn open(root: &Path) -> Result<Self> {
        private::claim(root)?;
        let lock = shared_lock(&root.join(LOCK)).ok().map(Arc::new);
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the value under this key; `None` if it is absent or damaged, or was written under
    /// another key.
    pub fn get<T: DeserializeOwned>(&self, bucket: Bucket, key: &Digest) -> Option<T> {
        let place = self.place(bucket, &key.to_string());
        let bytes = private::read(&place).ok()?;
        let (written, value): (Digest, T) = bucket.format().open(&bytes)?;
        if written != *key {
            return None;
        }
        self.mark_used(&place);
        Some(value)
    }

    /// Writes a value under this key, and replaces an existing one.
    pub fn put<T: Serialize>(&self, bucket: Bucket, key: &Digest, value: &T) -> Result<()> {
        let place = self.place(bucket, &key.to_string());
        if place.is_dir() {
            fs::remove(&place)?;
        }
        let bytes = bucket.format().seal(&(key, value))?;
        fs::write_if_changed(&place, &bytes, private::FILE_MODE)?;
        Ok(())
    }

    /// Returns the path of an entry. Buckets of files and folders are read and written there.
    pub fn place(&self, bucket: Bucket, name: &str) -> PathBuf {
        self.root.join(bucket.folder()).join(name)
    }

    /// Returns an empty file beside the entries of a bucket. Dropped, it is removed.
    pub fn temporary_file(&self, bucket: Bucket) -> Result<NamedTempFile> {
        let place = self.place(bucket, "new");
        private::create_dir_all(place.parent().unwrap_or(&self.root))?;
        fs::temp_beside(&place)
    }

    /// Returns an empty folder for work. Dropped, it is removed.
    pub fn temporary_folder(&self) -> Result<TempDir> {
        let folder = self.root.join(TEMPORARY);
        private::create_dir_all(&folder)?;
        fs::temp_dir_beside(&folder.join("new"))
    }

    /// Makes the entry at `place` one that was used now, for pruning.
    pub fn mark_used(&self, place: &Path) {
        let meta = place.symlink_metadata().and_then(|meta| meta.modified());
        let is_recent = |time: SystemTime| time.elapsed().is_ok_and(|age| age < RENEWED);
        if meta.is_ok_and(|time| !is_recent(time)) {
            // If it fails, the entry may be pruned too early, and made again.
            let _ = filetime::set_file_mtime(place, filetime::FileTime::now());
        }
    }
}

fn shared_lock(place: &Path) -> io::Result<File> {
    let file = fs::open_own(place, false)?;
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => uninterrupted(|| file.lock_shared())?,
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Repeats a system call that a signal interrupts.
pub(crate) fn uninterrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;

    use super::*;

    const BUCKET: Bucket = Bucket::Resolutions;

    #[test]
    fn an_entry_that_is_damaged_or_under_another_key_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let (key, other) = (Digest::of(b"key"), Digest::of(b"other"));
        let get = |key: &Digest| cache.get::<Vec<String>>(BUCKET, key);
        assert_eq!(get(&key), None);
        cache.put(BUCKET, &key, &vec!["value"]).unwrap();
        assert_eq!(get(&key), Some(vec!["value".into()]));
        let place = cache.place(BUCKET, &key.to_string());
        let whole = std_fs::read(&place).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std_fs::write(&place, damaged).unwrap();
            assert_eq!(get(&key), None, "byte {at}");
        }
        std_fs::write(cache.place(BUCKET, &other.to_string()), &whole).unwrap();
        assert_eq!(get(&other), None);
        std_fs::remove_file(&place).unwrap();
        std_fs::create_dir_all(place.join("folder")).unwrap();
        assert_eq!(get(&key), None);
        cache.put(BUCKET, &key, &vec!["value"]).unwrap();
        assert_eq!(get(&key), Some(vec!["value".into()]));
        assert_eq!(cache.get::<Vec<String>>(Bucket::Provenance, &key), None);
    }

    #[test]
    fn an_entry_that_is_used_gets_the_time_of_its_use() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        cache.put(BUCKET, &key, &1).unwrap();
        let place = cache.place(BUCKET, &key.to_string());
        let time = || place.metadata().unwrap().modified().unwrap();
        let recent = time();
        cache.get::<i32>(BUCKET, &key).unwrap();
        assert_eq!(time(), recent, "only once a day");
        filetime::set_file_mtime(&place, filetime::FileTime::from_unix_time(1, 0)).unwrap();
        cache.get::<i32>(BUCKET, &key).unwrap();
        assert!(time() >= recent);
    }
}
