//! SHA-256, for digests that others define: `CodeSha256`, wheels, RECORD. Digests that only zipwright
//! compares are BLAKE3.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use ring::digest::{Context, SHA256, digest};

use super::fs;

const BUFFER: usize = 256 * 1024;

/// SHA-256 of content that comes in parts.
pub struct Sha256(Context);

impl Sha256 {
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn of(bytes: &[u8]) -> [u8; 32] {
        array(digest(&SHA256, bytes))
    }

    /// Returns the SHA-256 of everything that is read: memory does not grow with it.
    pub fn of_reader(mut content: impl Read) -> io::Result<[u8; 32]> {
        let mut hasher = Self::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the SHA-256 of a file, read as a stream. The error names the file.
    pub fn of_file(place: &Path) -> Result<[u8; 32]> {
        Self::of_reader(fs::open(place)?)
            .with_context(|| format!("could not read `{}`", place.display()))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        array(self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

fn array(digest: impl AsRef<[u8]>) -> [u8; 32] {
    digest.as_ref().try_into().expect("BUG: SHA-256 has 32 bytes")
}

/// Returns lowercase hex, as `sha256sum` writes it.
pub fn hex(sha256: &[u8; 32]) -> String {
    hex::encode(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_another_library_says_however_it_came() {
        let content: Vec<u8> = (0..200_u8).collect();
        for length in [0, 1, 55, 56, 63, 64, 65, 200] {
            let (before, after) = content[..length].split_at(length / 3);
            let mut hasher = Sha256::new();
            hasher.update(before);
            hasher.update(after);
            let expected: [u8; 32] =
                <sha2::Sha256 as sha2::Digest>::digest(&content[..length]).into();
            assert_eq!((hasher.finish(), Sha256::of(&content[..length])), (expected, expected));
            assert_eq!(Sha256::of_reader(before.chain(after)).unwrap(), expected);
        }
        assert!(hex(&Sha256::of(b"")).starts_with("e3b0c44298fc"));
    }
}
