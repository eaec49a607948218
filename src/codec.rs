//! Encoding of the state file's records: texts and lists with their length before them, numbers of
//! eight bytes, little-endian. Reading returns `None` for anything malformed.

use crate::base::Digest;

pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Creates a writer that begins with zeros, for values that are determined at the end, with
    /// capacity for so many bytes.
    pub fn behind(zeros: usize, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        bytes.resize(zeros, 0);
        Self(bytes)
    }

    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.extend(digest.as_bytes());
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub fn digest(&mut self) -> Option<Digest> {
        self.take(32)?.try_into().ok().map(Digest::from_bytes)
    }

    pub fn list<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        // Every item takes at least a byte, so a larger length is damage.
        if length > self.0.len() as u64 {
            return None;
        }
        (0..length).map(|_| item(self)).collect()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
