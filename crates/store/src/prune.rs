//! Maintenance of the per-user cache: how large it is, and removal of entries, while no build uses it.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::bucket::{Keep, is_outdated};
use crate::cache::{LOCK, TEMPORARY, uninterrupted};
use crate::fs::{is_temp_name, open_own, remove};
use crate::{Bucket, private};

/// Fewest digits of the digest at the end of an entry's name.
const DIGEST_MIN: usize = 32;

/// Entries of one kind, and the bytes of their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub entries: u64,
    pub bytes: u64,
}

impl Amount {
    fn of(entries: &[PathBuf]) -> Self {
        Self { entries: entries.len() as u64, bytes: entries.iter().map(|path| bytes(path)).sum() }
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |a, b| Self {
            entries: a.entries + b.entries,
            bytes: a.bytes + b.bytes,
        })
    }
}

/// A part of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Bucket(Bucket),
    /// Files of builds that run, or that were killed.
    Temporary,
    /// Folders of earlier versions of zipwright.
    Outdated,
}

impl Part {
    fn all() -> impl Iterator<Item = Self> {
        Bucket::ALL.into_iter().map(Self::Bucket).chain([Self::Temporary, Self::Outdated])
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bucket(bucket) => bucket.name(),
            Self::Temporary => "temporary",
            Self::Outdated => "outdated",
        }
    }

    /// Returns the entries, sorted by path.
    fn entries(self, root: &Path) -> Vec<PathBuf> {
        match self {
            Self::Bucket(bucket) => members(&root.join(bucket.folder()), is_entry),
            Self::Temporary => {
                members(&root.join(TEMPORARY), |name| is_temp_name(OsStr::new(name)))
            }
            Self::Outdated => members(root, is_outdated),
        }
    }

    /// Returns the entries that pruning removes at this instant.
    fn prunable(self, root: &Path, now: SystemTime) -> Vec<PathBuf> {
        let mut entries = self.entries(root);
        if let Self::Bucket(bucket) = self {
            entries.retain(|entry| is_prunable(root, bucket, entry, now));
        }
        entries
    }
}

/// Returns whether this is the name of an entry of a bucket, which ends in a digest, or of one that was
/// being written.
fn is_entry(name: &str) -> bool {
    let ends_in_digest = name.len().checked_sub(DIGEST_MIN).is_some_and(|start| {
        name.as_bytes()[start..].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    ends_in_digest || is_temp_name(OsStr::new(name))
}

fn is_prunable(root: &Path, bucket: Bucket, entry: &Path, now: SystemTime) -> bool {
    let name = entry.file_name().unwrap_or_default();
    if is_temp_name(name) {
        return true;
    }
    match bucket.keep() {
        Keep::With(other) => root.join(other.folder()).join(name).symlink_metadata().is_err(),
        Keep::Used(time) => {
            let used = entry.symlink_metadata().and_then(|meta| meta.modified());
            used.is_ok_and(|used| now.duration_since(used).is_ok_and(|age| age > time))
        }
    }
}

/// Parts of the cache that have entries, each with their amount.
pub type Amounts = Vec<(Part, Amount)>;

/// Returns the size of each part that has entries.
pub fn sizes(root: &Path) -> Amounts {
    let sizes = Part::all().map(|part| (part, Amount::of(&part.entries(root))));
    sizes.filter(|(_, amount)| amount.entries > 0).collect()
}

/// The cache under an exclusive lock.
#[derive(Debug)]
pub struct Maintenance {
    root: PathBuf,
    _lock: File,
}

impl Maintenance {
    /// Locks the cache in `root`; `None` if there is no cache. If builds use it, calls `waiting` and
    /// waits for their end, or fails if `wait` is `false`. Fails if another user may have written in
    /// the folder.
    pub fn begin(root: &Path, wait: bool, waiting: impl FnOnce()) -> Result<Option<Self>> {
        if root.symlink_metadata().is_err() {
            return Ok(None);
        }
        private::claim(root)?;
        let place = root.join(LOCK);
        let failed = || format!("could not lock `{}`", place.display());
        let lock = open_own(&place, false).with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if !wait => {
                bail!("a build uses the cache in `{}`: run this again after it", root.display())
            }
            Err(TryLockError::WouldBlock) => {
                waiting();
                uninterrupted(|| lock.lock()).with_context(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        Ok(Some(Self { root: root.to_path_buf(), _lock: lock }))
    }

    /// Removes the entries that the rules of their buckets do not keep, files that killed builds left
    /// behind, and folders of earlier versions. Returns the amount removed from each part.
    pub fn prune(&self) -> Result<Amounts> {
        let now = SystemTime::now();
        // Wheels come first, and the entries that stay as long as they do after them.
        self.remove(|part| part.prunable(&self.root, now))
    }

    /// Removes all entries. Files that are not zipwright's stay. Returns the amount removed from each
    /// part.
    pub fn clean(&self) -> Result<Amounts> {
        let removed = self.remove(|part| part.entries(&self.root))?;
        let folders = Bucket::ALL.into_iter().map(Bucket::folder).chain([TEMPORARY.to_owned()]);
        for folder in folders {
            // One that is not empty, or not there, stays as it is.
            let _ = fs::remove_dir(self.root.join(folder));
        }
        Ok(removed)
    }

    fn remove(&self, entries: impl Fn(Part) -> Vec<PathBuf>) -> Result<Amounts> {
        let mut removed = Vec::new();
        for part in Part::all() {
            let entries = entries(part);
            if entries.is_empty() {
                continue;
            }
            let amount = Amount::of(&entries);
            entries.iter().try_for_each(|entry| remove_all(entry))?;
            removed.push((part, amount));
        }
        Ok(removed)
    }
}

/// Removes a file or folder, also a folder with folders that are not writable.
fn remove_all(entry: &Path) -> Result<()> {
    if remove(entry).is_ok() {
        return Ok(());
    }
    for folder in WalkDir::new(entry).into_iter().filter_entry(|found| found.file_type().is_dir()) {
        let Ok(folder) = folder else { continue };
        let _ =
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(private::FOLDER_MODE));
    }
    remove(entry).map(drop)
}

/// Returns the members of a folder whose names are wanted, sorted. A link to a folder has none. A name
/// that is not UTF-8 is of no entry.
fn members(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    if !folder.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Vec::new();
    }
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = found.filter(|entry| entry.file_name().to_str().is_some_and(&is_wanted));
    let mut paths: Vec<PathBuf> = wanted.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Returns the bytes of a file, or of all files below a folder; 0 if they cannot be read.
fn bytes(path: &Path) -> u64 {
    let files =
        WalkDir::new(path).into_iter().flatten().filter(|entry| !entry.file_type().is_dir());
    files
        .filter_map(|file| io::Result::ok(file.metadata().map_err(io::Error::from)))
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use filetime::{FileTime, set_file_mtime};

    use super::*;
    use crate::{Cache, Digest};

    /// A cache with an old and a new resolution, a wheel with its digest, and the digest of a wheel
    /// that is gone.
    fn filled(root: &Path) -> Cache {
        let cache = Cache::open(root).unwrap();
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        for key in [&old, &new] {
            cache.put(Bucket::Resolutions, key, &"x").unwrap();
            cache.put(Bucket::WheelDigests, key, &"x").unwrap();
        }
        let wheel = cache.place(Bucket::Wheels, &new.to_string());
        private::create_dir_all(&wheel).unwrap();
        fs::write(wheel.join("a.whl"), "12345").unwrap();
        let old = cache.place(Bucket::Resolutions, &old.to_string());
        set_file_mtime(old, FileTime::from_unix_time(1, 0)).unwrap();
        cache
    }

    fn names(root: &Path) -> Vec<String> {
        let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn pruning_follows_the_rules_of_the_buckets() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        let cache = filled(&root);
        let left_over = cache.temporary_folder().unwrap().keep();
        fs::create_dir(left_over.join("closed")).unwrap();
        fs::write(left_over.join("closed/file"), "123").unwrap();
        fs::set_permissions(left_over.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        cache.temporary_file(Bucket::Wheels).unwrap().keep().unwrap();
        fs::create_dir(root.join("blake3")).unwrap();
        fs::write(root.join("blake3/x"), "12").unwrap();
        for theirs in ["notes", "wheels-v9"] {
            fs::create_dir(root.join(theirs)).unwrap();
        }
        drop(cache);
        let maintenance = Maintenance::begin(&root, false, || {}).unwrap().unwrap();
        let removed = maintenance.prune().unwrap();
        let entries: Vec<_> = removed.iter().map(|(part, of)| (part.name(), of.entries)).collect();
        let expected = [
            ("wheels", 1),
            ("wheel-digests", 1),
            ("resolutions", 1),
            ("temporary", 1),
            ("outdated", 1),
        ];
        assert_eq!(entries, expected);
        assert_eq!(
            removed.iter().map(|(_, of)| of.bytes).rev().take(2).collect::<Vec<_>>(),
            [2, 3]
        );
        assert_eq!(maintenance.prune().unwrap(), []);
        let left = ["lock", "notes", "resolutions-v2", "tmp", "wheel-digests-v1", "wheels-v1"];
        assert_eq!(names(&root), [&left[..], &["wheels-v9"]].concat());
        let sizes = sizes(&root);
        assert_eq!(sizes[0], (Part::Bucket(Bucket::Wheels), Amount { entries: 1, bytes: 5 }));
        assert_eq!(sizes.len(), 3);
    }

    #[test]
    fn cleaning_leaves_the_files_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        drop(filled(&root));
        fs::write(root.join("notes"), "").unwrap();
        fs::write(root.join("wheels-v1/precious"), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), root.join("tmp")).unwrap();
        let maintenance = Maintenance::begin(&root, false, || {}).unwrap().unwrap();
        let removed: Amount = maintenance.clean().unwrap().into_iter().map(|(_, of)| of).sum();
        assert_eq!(removed.entries, 5);
        assert_eq!(names(&root), ["lock", "notes", "tmp", "wheels-v1"]);
        assert_eq!(names(&root.join("wheels-v1")), ["precious"]);
        assert_eq!(sizes(&root), []);
    }

    #[test]
    fn a_cache_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        assert!(Maintenance::begin(&root, false, || {}).unwrap().is_none());
        let users = [filled(&root), Cache::open(&root).unwrap()];
        let error = Maintenance::begin(&root, false, || {}).unwrap_err().to_string();
        assert!(error.contains("a build uses the cache"), "{error}");
        drop(users);
        let maintenance = Maintenance::begin(&root, false, || {}).unwrap().unwrap();
        let opening = std::thread::spawn({
            let root = root.clone();
            move || {
                Cache::open(&root)
                    .map(|cache| cache.get::<String>(Bucket::Resolutions, &Digest::of(b"new")))
            }
        });
        maintenance.clean().unwrap();
        assert!(!opening.is_finished(), "it waits");
        drop(maintenance);
        assert_eq!(opening.join().unwrap().unwrap(), None);
    }
}
