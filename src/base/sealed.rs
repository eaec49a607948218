//! Small binary files with a checksum: a form, fields, and a checksum over both. A file that cannot
//! be opened is not an error: its owner can make it again.

use super::Digest;

const CHECKSUM: usize = 32;

/// Builds the content of a sealed file, field by field.
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Creates an encoder. `form` names the content of the file and the version of its fields.
    pub fn new(form: &str) -> Self {
        let mut encoder = Self(Vec::new());
        encoder.text(form);
        encoder
    }

    /// Fields whose checksum is kept elsewhere; see [`Encoder::part`].
    pub fn bare() -> Self {
        Self(Vec::new())
    }

    /// With room for so many bytes more. What is long is moved about less.
    pub fn with_room(mut self, bytes: usize) -> Self {
        self.0.reserve(bytes);
        self
    }

    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub fn number(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    /// A number that mostly is small, in as many bytes as it has groups of seven bits (LEB128).
    pub fn short(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A text that mostly is short.
    pub fn short_text(&mut self, value: &str) {
        self.short(value.len() as u64);
        self.0.extend(value.as_bytes());
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend(value);
    }

    pub fn digest(&mut self, value: &Digest) {
        self.0.extend(value.as_bytes());
    }

    /// What [`Encoder::bare`] began, and its digest.
    pub fn part(self) -> (Vec<u8>, Digest) {
        let digest = Digest::of(&self.0);
        (self.0, digest)
    }

    pub fn seal(mut self) -> Vec<u8> {
        let checksum = Digest::of(&self.0);
        self.0.extend(checksum.as_bytes());
        self.0
    }
}

/// Reads the fields back in the order in which they were written.
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// `None` when the content is torn, damaged, or of another form.
    pub fn open(bytes: &'a [u8], form: &str) -> Option<Self> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if Digest::of(content).as_bytes() != checksum {
            return None;
        }
        let mut decoder = Self(content);
        (decoder.text()? == form).then_some(decoder)
    }

    /// Reads the result of [`Encoder::part`]; `None` if the bytes differ from it.
    pub fn part(bytes: &'a [u8], digest: &Digest) -> Option<Self> {
        (Digest::of(bytes) == *digest).then_some(Self(bytes))
    }

    pub fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn short(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return None };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn short_text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.short()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub fn digest(&mut self) -> Option<Digest> {
        Some(Digest::from_bytes(self.take(32)?.try_into().ok()?))
    }

    /// Returns whether every field has been read.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: [u64; 6] = [0, 127, 128, 300, u64::MAX - 1, u64::MAX];

    fn sealed() -> Vec<u8> {
        let mut encoder = Encoder::new("test 1");
        encoder.text("name");
        encoder.number(7);
        encoder.flag(true);
        for number in SHORT {
            encoder.short(number);
        }
        encoder.short_text("é");
        encoder.seal()
    }

    #[test]
    fn fields_come_back_in_order() {
        let bytes = sealed();
        let mut decoder = Decoder::open(&bytes, "test 1").unwrap();
        assert_eq!(decoder.text(), Some("name"));
        assert_eq!(decoder.number(), Some(7));
        assert_eq!(decoder.flag(), Some(true));
        assert_eq!(SHORT.map(|_| decoder.short().unwrap()), SHORT);
        assert_eq!(decoder.short_text(), Some("é"));
        assert!(decoder.is_at_end());
        assert_eq!((decoder.flag(), decoder.short(), decoder.short_text()), (None, None, None));
    }

    #[test]
    fn a_part_is_known_by_its_digest() {
        let mut encoder = Encoder::bare().with_room(100);
        encoder.short_text("name");
        let (bytes, digest) = encoder.part();
        let mut decoder = Decoder::part(&bytes, &digest).unwrap();
        assert_eq!((decoder.short_text(), decoder.is_at_end()), (Some("name"), true));
        assert!(Decoder::part(&bytes[1..], &digest).is_none());
    }

    #[test]
    fn any_damage_and_any_other_form_is_seen() {
        let bytes = sealed();
        assert!(Decoder::open(&bytes, "test 2").is_none());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Decoder::open(&damaged, "test 1").is_none(), "byte {at}");
            assert!(Decoder::open(&bytes[..at], "test 1").is_none(), "cut at {at}");
        }
    }
}
