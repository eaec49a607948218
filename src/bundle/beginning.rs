//! The beginning that a bundle has in common with others. A SHA-256 cannot be divided, but it can
//! be gone on with: where it stands after these bytes is kept, and they need not be hashed again.
//!
//! It is kept together with the BLAKE3 of the very bytes, which can be taken by many threads and
//! is faster: no digest comes from bytes that nobody looked at.

use std::error::Error;
use std::fmt;

use blake3::hazmat::ChainingValue;

use crate::base::Digest;
use crate::base::sealed::{Decoder, Encoder};
use crate::base::sha256::ResumableSha256;

/// Changes whenever the fields change, or the size of a piece.
const FORM: &str = "zipwright beginning 1";

/// The first pieces of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// How many; never none.
    pub(super) pieces: usize,
    /// Of the BLAKE3 of each.
    blake3: Digest,
    /// Where the SHA-256 stands after them.
    sha256: Vec<u8>,
}

/// The error of a bundle that does not begin as was said: what is said of beginnings is wrong.
#[derive(Debug)]
pub struct OtherBeginning;

impl fmt::Display for OtherBeginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bundle does not begin as was said")
    }
}

impl Error for OtherBeginning {}

impl Beginning {
    pub(super) fn new(pieces: &[ChainingValue], sha256: &ResumableSha256) -> Self {
        Self { pieces: pieces.len(), blake3: digest(pieces), sha256: sha256.state() }
    }

    /// The SHA-256 after these pieces; `None` when they are others.
    pub(super) fn sha256_after(&self, pieces: &[ChainingValue]) -> Option<ResumableSha256> {
        let same = pieces.len() == self.pieces && digest(pieces) == self.blake3;
        ResumableSha256::resume(&self.sha256).filter(|_| same)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(FORM);
        encoder.number(self.pieces as u64);
        encoder.digest(&self.blake3);
        encoder.bytes(&self.sha256);
        encoder.seal()
    }

    /// `None` when the bytes are no whole beginning.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::open(bytes, FORM)?;
        Some(Self {
            pieces: usize::try_from(decoder.number()?).ok()?,
            blake3: decoder.digest()?,
            sha256: decoder.bytes()?.to_vec(),
        })
    }
}

fn digest(pieces: &[ChainingValue]) -> Digest {
    Digest::of(pieces.as_flattened())
}
