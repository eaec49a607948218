//! The one form of bytes that zipwright keeps for itself: magic, version, length, checksum, then the
//! value as `postcard` writes it.
//!
//! Bytes that are torn, damaged, or of another format or version count as absent: they can always be
//! made again. Envelopes can follow one another in a file, as in a log.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The first bytes of every envelope. Another layout has another last byte.
const MAGIC: [u8; 4] = *b"ZWR1";

/// Bytes before the value: magic, version of the format, length of the value, checksum.
const HEADER: usize = MAGIC.len() + 4 + 8 + 32;

/// A type of values, and the version of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    name: &'static str,
    version: u32,
}

impl Format {
    /// `version` changes if the fields of the values change, or their meaning.
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version }
    }

    /// Returns the envelope of a value. Fails if the value has a path that is not UTF-8.
    pub fn seal<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let mut bytes = postcard::to_extend(value, vec![0; HEADER])
            .with_context(|| format!("could not encode a value of `{}`", self.name))?;
        let (header, value) = bytes.split_at_mut(HEADER);
        header.copy_from_slice(&self.header(value));
        Ok(bytes)
    }

    /// Returns the value of an envelope that takes up all of `bytes`.
    pub fn open<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Option<T> {
        let (value, rest) = self.open_first(bytes)?;
        rest.is_empty().then_some(value)
    }

    /// Returns the value of the envelope with which `bytes` begin, and the bytes after it.
    pub fn open_first<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let length = header[MAGIC.len() + 4..].first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        if *header != self.header(value) {
            return None;
        }
        let (value, unread) = postcard::take_from_bytes(value).ok()?;
        unread.is_empty().then_some((value, rest))
    }

    fn header(&self, value: &[u8]) -> [u8; HEADER] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.name.as_bytes()).update(&self.version.to_le_bytes()).update(value);
        let checksum = hasher.finalize();
        let parts = [
            &MAGIC[..],
            &self.version.to_le_bytes(),
            &(value.len() as u64).to_le_bytes(),
            checksum.as_bytes(),
        ];
        parts.concat().try_into().expect("BUG: the parts are as long as the header")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, RelPath};

    const FORMAT: Format = Format::new("test", 1);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Value<'a> {
        name: &'a str,
        path: RelPath,
        digest: Digest,
        numbers: Vec<u64>,
        nothing: Option<bool>,
    }

    fn value() -> Value<'static> {
        let path = RelPath::parse("a/b").unwrap();
        Value {
            name: "é",
            path,
            digest: Digest::of(b"x"),
            numbers: vec![0, u64::MAX],
            nothing: None,
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        let bytes = FORMAT.seal(&value()).unwrap();
        assert_eq!(FORMAT.open(&bytes), Some(value()));
        assert_eq!(&bytes[..4], b"ZWR1");
    }

    #[test]
    fn damaged_torn_and_foreign_envelopes_are_absent() {
        let bytes = FORMAT.seal(&value()).unwrap();
        for other in [Format::new("test", 2), Format::new("tesu", 1)] {
            assert_eq!(other.open::<Value>(&bytes), None);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(FORMAT.open::<Value>(&damaged), None, "bit {bit} of byte {at}");
            }
            assert_eq!(FORMAT.open::<Value>(&bytes[..at]), None, "cut at {at}");
        }
        assert_eq!(FORMAT.open::<Value>(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(FORMAT.open::<Vec<u64>>(&bytes), None, "another type");
    }

    #[test]
    fn envelopes_follow_one_another_until_the_first_that_is_torn() {
        let mut log = FORMAT.seal("first").unwrap();
        log.extend(FORMAT.seal("second").unwrap());
        log.pop();
        let (first, rest) = FORMAT.open_first::<&str>(&log).unwrap();
        assert_eq!((first, FORMAT.open_first::<&str>(rest)), ("first", None));
    }

    #[test]
    fn a_path_that_leaves_the_project_is_not_a_value() {
        let bytes = FORMAT.seal("../a").unwrap();
        assert_eq!(FORMAT.open::<RelPath>(&bytes), None);
    }
}
