//! Wheels in the per-user cache, by the SHA-256 of their bytes.
//!
//! Every wheel is compared with its digest when it is used; a damaged one is removed and treated as
//! absent. Once the SHA-256 was compared, the BLAKE3 of the same bytes is cached and compared instead,
//! which is faster. A wheel is written beside its place and renamed into it.

use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use zipwright_python::normalise;
use zipwright_store::{Bucket, Cache};

use zipwright_store::fs::{FILE_MODE, persist, remove, temp_beside};
use zipwright_store::{Digest, Sha256, private, sha256};

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

    /// Returns the key of its entries in the cache. As a name it is the SHA-256 itself.
    pub(super) fn key(&self) -> Digest {
        key(&self.sha256)
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

/// Returns the key of a wheel's entries in the cache, from its SHA-256 in lowercase hex.
pub(super) fn key(sha256: &str) -> Digest {
    Digest::from_hex(sha256).unwrap_or_else(|| Digest::of(sha256.as_bytes()))
}

impl Wheel {
    /// Copies the wheel at `file` into the cache.
    pub(super) fn put(cache: &Cache, file: &Path) -> Result<Self> {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        if !name.ends_with(".whl") {
            bail!("`{}` is not a wheel", file.display());
        }
        let mut temp = cache.temporary_file(Bucket::Wheels)?;
        let (sha256, blake3) = pour_with_sha256(file, temp.as_file_mut())?;
        let wheel = Self { name, sha256 };
        wheel.adopt(cache, temp, &blake3)?;
        Ok(wheel)
    }

    /// Moves a temporary file of the cache, whose digests were computed, to this wheel's place.
    pub(super) fn adopt(&self, cache: &Cache, file: NamedTempFile, blake3: &Digest) -> Result<()> {
        cache.put(Bucket::WheelDigests, &self.key(), blake3)?;
        let place = self.place_in(cache);
        private::create_dir_all(place.parent().unwrap_or(&place))?;
        persist(file, &place, private::FILE_MODE)
    }

    /// Returns the path of this wheel in the cache, where it may be absent.
    pub(super) fn place_in(&self, cache: &Cache) -> PathBuf {
        cache.place(Bucket::Wheels, &self.sha256).join(&self.name)
    }

    /// Returns whether the cache has the wheel, undamaged. A damaged one is removed.
    pub(super) fn is_cached(&self, cache: &Cache) -> Result<bool> {
        let Some(place) = self.open_in(cache) else { return Ok(false) };
        let is_whole = self.pour(cache, &place, &mut io::sink())?;
        if !is_whole {
            remove(&place)?;
        }
        Ok(is_whole)
    }

    /// Returns the digest of the wheel, which is in the cache.
    pub(super) fn digest(&self, cache: &Cache) -> Result<Digest> {
        if let Some(digest) = cache.get(Bucket::WheelDigests, &self.key()) {
            return Ok(digest);
        }
        let place = self.place_in(cache);
        Digest::of_file(&place).with_context(|| format!("could not read `{}`", place.display()))
    }

    /// Puts the wheel into `folder`; a file with the right bytes is left as it is. Returns whether
    /// the wheel is there now: `false` if the cache does not have it, or has it damaged.
    pub(super) fn copy_into(&self, cache: &Cache, folder: &Path) -> Result<bool> {
        let place = folder.join(&self.name);
        let meta = fs::symlink_metadata(&place).ok().filter(Metadata::is_file);
        let is_file = meta.is_some();
        let has_mode = meta.is_some_and(|meta| meta.permissions().mode() & 0o7777 == FILE_MODE);
        if has_mode && self.pour(cache, &place, &mut io::sink())? {
            return Ok(true);
        }
        let Some(cached) = self.open_in(cache) else { return Ok(false) };
        let mut temp = temp_beside(&place)?;
        if !self.pour(cache, &cached, temp.as_file_mut())? {
            remove(&cached)?;
            return Ok(false);
        }
        if !is_file {
            remove(&place)?;
        }
        persist(temp, &place, FILE_MODE)?;
        Ok(true)
    }

    /// Returns the path in the cache if a file is there that no other user can have written.
    fn open_in(&self, cache: &Cache) -> Option<PathBuf> {
        let place = self.place_in(cache);
        private::open(&place).ok()?;
        cache.mark_used(place.parent()?);
        Some(place)
    }

    /// Copies a file. Returns whether it has the bytes of this wheel.
    fn pour(&self, cache: &Cache, from: &Path, to: &mut dyn Write) -> Result<bool> {
        if let Some(cached) = cache.get::<Digest>(Bucket::WheelDigests, &self.key()) {
            let mut blake3 = blake3::Hasher::new();
            pour(from, to, |bytes| {
                blake3.update(bytes);
            })?;
            return Ok(blake3.finalize() == *cached.as_bytes());
        }
        let (sha256, blake3) = pour_with_sha256(from, to)?;
        let is_whole = sha256 == self.sha256;
        if is_whole {
            cache.put(Bucket::WheelDigests, &self.key(), &blake3)?;
        }
        Ok(is_whole)
    }
}

pub(super) fn sha256_of(path: &Path) -> Result<String> {
    Ok(sha256::hex(&Sha256::of_file(path)?))
}

/// Copies a file's bytes; returns their SHA-256 and BLAKE3 in lowercase hex.
fn pour_with_sha256(from: &Path, to: &mut dyn Write) -> Result<(String, Digest)> {
    let (mut sha256, mut blake3) = (Sha256::new(), blake3::Hasher::new());
    pour(from, to, |bytes| {
        sha256.update(bytes);
        blake3.update(bytes);
    })?;
    Ok((sha256::hex(&sha256.finish()), Digest::from_bytes(*blake3.finalize().as_bytes())))
}

/// Copies a file's bytes, and passes each chunk to `show`.
fn pour(from: &Path, to: &mut dyn Write, mut show: impl FnMut(&[u8])) -> Result<()> {
    let mut file = zipwright_store::fs::open(from)?;
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

    fn cached(folder: &Path) -> (Cache, Wheel) {
        let file = folder.join("My_Lib-1-py3-none-any.whl");
        fs::write(&file, "bytes").unwrap();
        let cache = Cache::open(&folder.join("cache")).unwrap();
        let wheel = Wheel::put(&cache, &file).unwrap();
        (cache, wheel)
    }

    fn forget_digests(cache: &Cache) {
        fs::remove_dir_all(cache.place(Bucket::WheelDigests, "x").parent().unwrap()).unwrap();
    }

    #[test]
    fn a_wheel_is_cached_by_its_digest_and_copied_out() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, wheel) = cached(folder.path());
        assert_eq!(wheel.project(), "my-lib");
        assert_eq!(wheel.key().to_string(), wheel.sha256);
        assert!(wheel.is_portable() && wheel.is_cached(&cache).unwrap());
        let out = folder.path().join("out");
        assert!(wheel.copy_into(&cache, &out).unwrap());
        assert_eq!(fs::read(out.join(&wheel.name)).unwrap(), b"bytes");
    }

    #[test]
    fn only_the_bytes_of_a_wheel_get_a_faster_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, wheel) = cached(folder.path());
        let digest = || cache.get::<Digest>(Bucket::WheelDigests, &wheel.key());
        assert_eq!(digest(), Some(Digest::of(b"bytes")));
        forget_digests(&cache);
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(&wheel.name), "others").unwrap();
        assert!(wheel.copy_into(&cache, &out).unwrap());
        assert_eq!(fs::read(out.join(&wheel.name)).unwrap(), b"bytes");
        assert_eq!(digest(), Some(Digest::of(b"bytes")));
        // From then on the faster digest decides.
        cache.put(Bucket::WheelDigests, &wheel.key(), &Digest::of(b"others")).unwrap();
        assert!(!wheel.is_cached(&cache).unwrap());
    }

    #[test]
    fn equal_bytes_stay_untouched_and_others_are_replaced() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (cache, wheel) = cached(folder.path());
        let out = folder.path().join("out");
        let place = out.join(&wheel.name);
        wheel.copy_into(&cache, &out).unwrap();
        let before = fs::metadata(&place).unwrap().ino();
        wheel.copy_into(&cache, &out).unwrap();
        assert_eq!(fs::metadata(&place).unwrap().ino(), before);
        fs::write(&place, "tampered").unwrap();
        wheel.copy_into(&cache, &out).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"bytes");
        assert_eq!(fs::metadata(wheel.place_in(&cache)).unwrap().nlink(), 1, "never a hard link");
    }

    #[test]
    fn a_damaged_wheel_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        for used in [
            |cache: &Cache, wheel: &Wheel, _: &Path| wheel.is_cached(cache).unwrap(),
            |cache: &Cache, wheel: &Wheel, out: &Path| wheel.copy_into(cache, out).unwrap(),
        ] {
            for has_digest in [true, false] {
                let (cache, wheel) = cached(folder.path());
                if !has_digest {
                    forget_digests(&cache);
                }
                fs::write(wheel.place_in(&cache), "byte").unwrap();
                assert!(!used(&cache, &wheel, &folder.path().join("out")));
                assert!(!wheel.place_in(&cache).exists());
            }
        }
    }
}
