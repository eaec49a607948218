//! Reads the members of a wheel while its bytes arrive: a download leaves the processor idle, and the
//! members are known when its last byte is there.
//!
//! The header before each member says where it ends (APPNOTE.TXT 4.3.7). Nothing is judged here: the
//! check of the whole wheel compares what was read, and reads the other members itself.

use std::fs::File;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use zipwright_store::{Bucket, Cache, Digest};

use super::archive::{self, SIZE_LIMIT};
use super::reader::{self, Known, Span};
use super::{Checked, Method, WheelName};

/// Bytes of a header without the name and the extra field.
const HEADER: u64 = 30;
const SIGNATURE: u32 = 0x0403_4b50;
/// Flags of an encrypted member, and of one whose sizes come after it.
const NOT_READ: u16 = 1 | 1 << 3;

/// A wheel whose first bytes are there.
pub struct Arriving {
    file: Arc<File>,
    /// Offset of the next header; `None` after one that does not say where its member ends.
    next: Option<u64>,
    /// The number of bytes with which something is to be done.
    wanted: u64,
    /// Unpacked bytes that may still be read.
    left: u64,
    known: Arc<Mutex<Known>>,
}

/// The header of a member.
struct Header {
    span: Span,
    size: u64,
}

impl Arriving {
    pub fn new(file: File) -> Self {
        let (file, known) = (Arc::new(file), Arc::default());
        Self { file, next: Some(0), wanted: HEADER, left: SIZE_LIMIT, known }
    }

    /// Reads, on other threads, the members that are whole now that the first `count` bytes are there.
    pub fn advance(&mut self, count: u64) {
        while let Some(at) = self.next
            && count >= self.wanted
        {
            let Some(Header { span, size }) = header(&self.file, at) else {
                self.next = None;
                return;
            };
            let end = span.offset + span.compressed;
            if count < end {
                self.wanted = end;
                return;
            }
            self.next = self.left.checked_sub(size).map(|left| {
                self.left = left;
                end
            });
            self.wanted = end + HEADER;
            if self.next.is_some() && span.compressed > 0 {
                let (file, known) = (Arc::clone(&self.file), Arc::clone(&self.known));
                rayon::spawn(move || {
                    if let Ok(content) = reader::read(&file, span, size, None) {
                        lock(&known).insert(span, content);
                    }
                });
            }
        }
    }

    /// Checks the wheel, all of which is there, and if it is sound caches what [`super::Wheel::open`]
    /// would find out. `digest` and `sha256` are of all its bytes.
    pub fn keep(self, file_name: &str, digest: &Digest, sha256: &str, cache: &Cache) -> Result<()> {
        let known = mem::take(&mut *lock(&self.known));
        let name = WheelName::parse(file_name);
        match name.and_then(|name| archive::check(&self.file, &name, &known)) {
            Ok(members) => {
                let checked = Checked { sha256: sha256.into(), members };
                cache.put(Bucket::WheelIndexes, digest, &checked)
            }
            // Reported when the wheel is opened.
            Err(_) => Ok(()),
        }
    }
}

/// Returns the header at an offset; `None` if there is none, or it does not say where its member ends.
fn header(file: &File, at: u64) -> Option<Header> {
    let mut bytes = [0; HEADER as usize];
    file.read_exact_at(&mut bytes, at).ok()?;
    let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    let (compressed, size) = (long(18), long(22));
    // Larger ones have their sizes elsewhere.
    let is_read = long(0) == SIGNATURE && short(6) & NOT_READ == 0;
    if !is_read || compressed == u32::MAX || size == u32::MAX {
        return None;
    }
    let method = match short(8) {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return None,
    };
    let offset = at + HEADER + u64::from(short(26)) + u64::from(short(28));
    Some(Header { span: Span { method, offset, compressed: compressed.into() }, size: size.into() })
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::wheel::testing::Fixture;

    #[test]
    fn members_are_read_before_the_last_byte_is_there() {
        let long = "spam ".repeat(50_000);
        let bytes = Fixture::new(&[("demo/a.py", "x = 1\n"), ("demo/b.py", &long)]).bytes();
        let mut file = tempfile::tempfile().unwrap();
        let mut arriving = Arriving::new(file.try_clone().unwrap());
        let directory = bytes.windows(4).position(|word| word == b"PK\x01\x02").unwrap();
        file.write_all(&bytes[..directory]).unwrap();
        arriving.advance(directory as u64);
        // Both modules and RECORD.
        while lock(&arriving.known).len() < 3 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(SIZE_LIMIT - arriving.left > long.len() as u64, "what is unpacked is counted");
    }
}
