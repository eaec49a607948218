//! BLAKE3 digests of content, and a hasher with unambiguous fields. `CodeSha256` is SHA-256 and
//! belongs to bundles.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// BLAKE3 of some content, 32 bytes. Shown as lowercase hex; `{:.12}` shows the first 12 digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the digest of a file's content, read as a stream: memory does not grow with the file.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 64 hexadecimal digits that [`Display`](fmt::Display) writes.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// As bytes; in JSON and other texts as hexadecimal digits.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(DigestVisitor),
            false => deserializer.deserialize_bytes(DigestVisitor),
        }
    }
}

struct DigestVisitor;

impl Visitor<'_> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest of 32 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Digest, E> {
        let bytes = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(Digest(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        Digest::from_hex(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64);
        let hex = blake3::Hash::from_bytes(self.0).to_hex();
        f.write_str(&hex[..digits.min(64)])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self:.12})")
    }
}

/// Digests a sequence of fields. Each field is preceded by its length, so `("ab", "c")` and
/// `("a", "bc")` differ.
#[derive(Default)]
pub struct FieldHasher {
    hasher: blake3::Hasher,
    /// Not yet hashed: BLAKE3 is several times faster on long inputs.
    pending: Vec<u8>,
}

/// Bytes that are hashed at a time.
const PIECE: usize = 64 * 1024;

impl FieldHasher {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn field(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.pending.extend((bytes.len() as u64).to_le_bytes());
        self.pending.extend(bytes);
        if self.pending.len() >= PIECE {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        self
    }

    pub fn finish(&self) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.pending);
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_borders_are_part_of_the_digest() {
        let ab_c = FieldHasher::new().field("ab").field("c").finish();
        let a_bc = FieldHasher::new().field("a").field("bc").finish();
        assert_ne!(ab_c, a_bc);
    }

    #[test]
    fn the_digest_is_that_of_all_lengths_and_fields_in_a_row() {
        let (mut hasher, mut row) = (FieldHasher::new(), Vec::new());
        for number in 0..400 {
            let field = vec![b'x'; number * 7 % 1000];
            hasher.field(&field);
            row.extend((field.len() as u64).to_le_bytes());
            row.extend(field);
            assert_eq!(hasher.finish(), Digest::of(&row), "{number}");
        }
        assert!(row.len() > 2 * PIECE);
    }

    #[test]
    fn a_digest_shows_as_hex_of_the_asked_length() {
        let digest = Digest::of(b"");
        assert_eq!(format!("{digest:.12}"), "af1349b9f5f9");
        assert_eq!(digest.to_string().len(), 64);
        assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(Digest::from_hex("af13"), None);
    }

    #[test]
    fn a_digest_is_hex_in_json() {
        let digest = Digest::of(b"");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"af13\"").is_err());
    }
}
