//! The per-user cache: wheels by the SHA-256 of their bytes, and small entries of derived data.
//!
//! Safe to delete at any time, and to use from several targets and processes at once: every file is
//! written beside its place and renamed into it, and every wheel is compared with its digest when
//! it is used. A damaged wheel is removed and treated as absent. Once the SHA-256 was verified, the
//! BLAKE3 of the same bytes is cached and compared instead, which is faster. Every entry has a
//! checksum; a damaged entry counts as absent. Only files of this user are used.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zipwright_python::normalise;

use crate::base::fs::{FILE_MODE, persist, remove, temp_beside, write_if_changed};
use crate::base::sealed::{Decoder, Encoder};
use crate::base::{Digest, Sha256, private, sha256};

/// Bucket of BLAKE3 digests, each of a wheel whose SHA-256 was verified.
const BLAKE3: &str = "blake3";

/// A wheel: its file name, and the SHA-256 of its bytes in lowercase hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wheel {
    pub name: String,
    pub sha256: String,
}

impl Wheel {
    /// Returns the normalised name of its project: lowercase, runs of `-`, `_`, `.` as one `-`.
    pub fn project(&self) -> String {
        normalise(self.name.split('-').next().unwrap_or_default())
    }

    fn key(&self) -> Digest {
        Digest::of(self.sha256.as_bytes())
    }

    /// Returns whether the file at `place` has the bytes of this wheel.
    pub fn is_at(&self, place: &Path) -> Result<bool> {
        Ok(sha256_of(place)? == self.sha256)
    }

    /// Returns whether it fits every platform.
    pub fn is_portable(&self) -> bool {
        self.name.ends_with("-any.whl")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
}

impl Store {
    pub(super) fn new(cache: &Path) -> Self {
        Self { root: cache.to_path_buf() }
    }

    pub(super) fn place(&self, wheel: &Wheel) -> PathBuf {
        self.root.join("wheels").join(&wheel.sha256).join(&wheel.name)
    }

    /// Stores a copy of a wheel.
    pub(super) fn put(&self, file: &Path) -> Result<Wheel> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        if !name.ends_with(".whl") {
            bail!("`{}` is not a wheel", file.display());
        }
        private::create_dir_all(&self.root.join("wheels"))?;
        let mut temp = temp_beside(&self.root.join("wheels/new"))?;
        let (sha256, blake3) = pour_with_sha256(file, temp.as_file_mut())?;
        let wheel = Wheel { name, sha256 };
        self.remember(BLAKE3, &wheel.key(), &blake3)?;
        let place = self.place(&wheel);
        private::create_dir_all(place.parent().unwrap_or(&self.root))?;
        persist(temp, &place, private::FILE_MODE)?;
        Ok(wheel)
    }

    /// Returns whether the wheel is in the cache and undamaged.
    pub(super) fn has(&self, wheel: &Wheel) -> Result<bool> {
        let place = self.place(wheel);
        if private::open(&place).is_err() {
            return Ok(false);
        }
        let whole = self.pour(wheel, &place, &mut io::sink())?;
        if !whole {
            remove(&place)?;
        }
        Ok(whole)
    }

    /// Puts the wheel into `folder`, unless it has the right bytes already. Returns `false` if the
    /// cache does not have the wheel, or has it damaged.
    pub(super) fn copy_into(&self, wheel: &Wheel, folder: &Path) -> Result<bool> {
        let place = folder.join(&wheel.name);
        let meta = fs::symlink_metadata(&place).ok().filter(Metadata::is_file);
        let is_file = meta.is_some();
        let has_mode = meta.is_some_and(|meta| meta.permissions().mode() & 0o7777 == FILE_MODE);
        if has_mode && self.pour(wheel, &place, &mut io::sink())? {
            return Ok(true);
        }
        let kept = self.place(wheel);
        if private::open(&kept).is_err() {
            return Ok(false);
        }
        let mut temp = temp_beside(&place)?;
        if !self.pour(wheel, &kept, temp.as_file_mut())? {
            remove(&kept)?;
            return Ok(false);
        }
        if !is_file {
            remove(&place)?;
        }
        persist(temp, &place, FILE_MODE)?;
        Ok(true)
    }

    /// Copies a file, and returns whether it has the bytes of this wheel.
    fn pour(&self, wheel: &Wheel, from: &Path, to: &mut dyn Write) -> Result<bool> {
        if let Some(known) = self.recall::<String>(BLAKE3, &wheel.key()) {
            let mut blake3 = blake3::Hasher::new();
            pour(from, to, |bytes| {
                blake3.update(bytes);
            })?;
            return Ok(blake3.finalize().to_hex().as_str() == known);
        }
        let (sha256, blake3) = pour_with_sha256(from, to)?;
        let whole = sha256 == wheel.sha256;
        if whole {
            self.remember(BLAKE3, &wheel.key(), &blake3)?;
        }
        Ok(whole)
    }

    /// Returns the entry that [`Store::remember`] wrote under this bucket and key; `None` if it
    /// does not exist or is damaged.
    pub(super) fn recall<T: DeserializeOwned>(&self, kind: &str, key: &Digest) -> Option<T> {
        let bytes = private::read(&self.record(kind, key)).ok()?;
        let mut decoder = Decoder::open(&bytes, &form(kind, &key.to_string()))?;
        serde_json::from_slice(decoder.bytes()?).ok()
    }

    /// Writes `value` as JSON with a checksum, and replaces an existing entry.
    pub(super) fn remember<T: Serialize>(&self, kind: &str, key: &Digest, value: &T) -> Result<()> {
        let place = self.record(kind, key);
        let mut encoder = Encoder::new(&form(kind, &key.to_string()));
        encoder.bytes(&serde_json::to_vec(value)?);
        if place.is_dir() {
            remove(&place)?;
        }
        write_if_changed(&place, &encoder.seal(), private::FILE_MODE)?;
        Ok(())
    }

    /// Returns the JSON of all undamaged entries of this bucket.
    pub(super) fn all(&self, kind: &str) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.root.join(kind)).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let bytes = private::read(&entry.path()).ok()?;
                Some(Decoder::open(&bytes, &form(kind, &name))?.bytes()?.to_vec())
            })
            .collect()
    }

    fn record(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join(kind).join(key.to_string())
    }

    /// Returns a temporary directory, removed on drop.
    pub(super) fn workshop(&self) -> Result<tempfile::TempDir> {
        private::create_dir_all(&self.root.join("work"))?;
        crate::base::fs::temp_dir_beside(&self.root.join("work/new"))
    }
}

/// Returns the header of an entry. It includes the name, so that an entry under another name is
/// invalid.
fn form(kind: &str, name: &str) -> String {
    format!("zipwright {kind} 1 {name}")
}

pub(super) fn sha256_of(path: &Path) -> Result<String> {
    Ok(sha256::hex(&Sha256::of_file(path)?))
}

/// Copies a file's bytes; returns their SHA-256 and BLAKE3 in lowercase hex.
fn pour_with_sha256(from: &Path, to: &mut dyn Write) -> Result<(String, String)> {
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    pour(from, to, |bytes| {
        sha256.update(bytes);
        blake3.update(bytes);
    })?;
    Ok((sha256::hex(&sha256.finish()), blake3.finalize().to_hex().to_string()))
}

/// Copies a file's bytes, and passes each chunk to `show`.
fn pour(from: &Path, to: &mut dyn Write, mut show: impl FnMut(&[u8])) -> Result<()> {
    let mut file = crate::base::fs::open(from)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = file
            .read(&mut buffer)
            .with_context(|| format!("could not read `{}`", from.display()))?;
        if length == 0 {
            return Ok(());
        }
        show(&buffer[..length]);
        to.write_all(&buffer[..length])
            .with_context(|| format!("could not copy `{}`", from.display()))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(folder: &Path) -> (Store, Wheel) {
        let file = folder.join("My_Lib-1-py3-none-any.whl");
        fs::write(&file, "bytes").unwrap();
        let store = Store::new(&folder.join("cache"));
        let wheel = store.put(&file).unwrap();
        (store, wheel)
    }

    #[test]
    fn a_wheel_is_kept_by_its_digest_and_copied_out() {
        let folder = tempfile::tempdir().unwrap();
        let (store, wheel) = stored(folder.path());
        assert_eq!(wheel.project(), "my-lib");
        assert!(wheel.is_portable() && store.has(&wheel).unwrap());
        let out = folder.path().join("out");
        assert!(store.copy_into(&wheel, &out).unwrap());
        assert_eq!(fs::read(out.join(&wheel.name)).unwrap(), b"bytes");
    }

    #[test]
    fn only_the_bytes_of_a_wheel_become_known_by_a_faster_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (store, wheel) = stored(folder.path());
        let known = || store.recall::<String>(BLAKE3, &wheel.key());
        let expected = Digest::of(b"bytes").to_string();
        assert_eq!(known(), Some(expected.clone()));
        fs::remove_dir_all(folder.path().join("cache").join(BLAKE3)).unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(&wheel.name), "others").unwrap();
        assert!(store.copy_into(&wheel, &out).unwrap());
        assert_eq!(fs::read(out.join(&wheel.name)).unwrap(), b"bytes");
        assert_eq!(known(), Some(expected));
        // From then on, the cached digest counts.
        store.remember(BLAKE3, &wheel.key(), &"of something else").unwrap();
        assert!(!store.has(&wheel).unwrap());
    }

    #[test]
    fn equal_bytes_stay_untouched_and_others_are_replaced() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (store, wheel) = stored(folder.path());
        let out = folder.path().join("out");
        let place = out.join(&wheel.name);
        store.copy_into(&wheel, &out).unwrap();
        let before = fs::metadata(&place).unwrap().ino();
        store.copy_into(&wheel, &out).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().ino(), before);
        fs::write(&place, "tampered").unwrap();
        store.copy_into(&wheel, &out).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"bytes");
        assert_eq!(fs::metadata(store.place(&wheel)).unwrap().nlink(), 1, "never a hard link");
    }

    #[test]
    fn a_record_with_another_byte_or_name_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let key = Digest::of(b"key");
        store.remember("kind", &key, &vec!["value"]).unwrap();
        let recall = |key: &Digest| store.recall::<Vec<String>>("kind", key);
        assert_eq!(recall(&key), Some(vec!["value".into()]));
        assert_eq!(store.all("kind"), [br#"["value"]"#]);
        let place = store.record("kind", &key);
        let whole = fs::read(&place).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&place, damaged).unwrap();
            assert_eq!(recall(&key), None, "byte {at}");
        }
        let other = Digest::of(b"other");
        fs::write(store.record("kind", &other), &whole).unwrap();
        assert_eq!(recall(&other), None);
        assert!(store.all("kind").is_empty());
        fs::remove_file(&place).unwrap();
        fs::create_dir_all(place.join("folder")).unwrap();
        assert_eq!(recall(&key), None);
        store.remember("kind", &key, &vec!["value"]).unwrap();
        assert_eq!(recall(&key), Some(vec!["value".into()]));
    }

    #[test]
    fn a_damaged_wheel_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        for used in [
            |store: &Store, wheel: &Wheel, _: &Path| store.has(wheel).unwrap(),
            |store: &Store, wheel: &Wheel, out: &Path| store.copy_into(wheel, out).unwrap(),
        ] {
            for is_known in [true, false] {
                let (store, wheel) = stored(folder.path());
                if !is_known {
                    fs::remove_dir_all(folder.path().join("cache").join(BLAKE3)).unwrap();
                }
                fs::write(store.place(&wheel), "byte").unwrap();
                assert!(!used(&store, &wheel, &folder.path().join("out")));
                assert!(!store.place(&wheel).exists());
            }
        }
    }
}
