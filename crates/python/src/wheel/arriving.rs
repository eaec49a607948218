//! Reads the members of a wheel while its bytes arrive: a download leaves the processor idle, and the
//! members are known when its last byte is there.
//!
//! The header before each member says where it ends (APPNOTE.TXT 4.3.7). A long member is read on
//! after each further part of it: a wheel often has its largest library at its end. Nothing is judged
//! here: the check of the whole wheel compares what was read, and reads the other members itself.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use zipwright_store::{Bucket, Cache, Digest};

use super::archive::{self, SIZE_LIMIT};
use super::reader::{self, Known, Reading, Span};
use super::{Checked, Method, WheelName};
use zipwright_store::fs::Range;

/// Bytes of a header without the name and the extra field.
const HEADER: u64 = 30;
const SIGNATURE: u32 = 0x0403_4b50;
/// Flags of an encrypted member, and of one whose sizes come after it.
const NOT_READ: u16 = 1 | 1 << 3;
/// Number of bytes after which a member that is not whole yet is read on.
const PART: u64 = 512 << 10;

/// A wheel whose first bytes are there.
pub struct Arriving {
    file: Arc<File>,
    part: u64,
    /// Offset of the next header; `None` after one that does not say where its member ends.
    next: Option<u64>,
    /// The number of bytes with which something is to be done.
    wanted: u64,
    /// Unpacked bytes that may still be read.
    left: u64,
    known: Arc<Mutex<Known>>,
    /// The number of bytes that are there, for the threads that read.
    count: Arc<AtomicU64>,
    /// The last long member.
    long: Option<Arc<Long>>,
}

/// The header of a member.
struct Header {
    span: Span,
    size: u64,
}

impl Arriving {
    pub fn new(file: File) -> Self {
        Self::in_parts(file, PART)
    }

    /// A wheel whose members are read on after each `part` bytes.
    pub fn in_parts(file: File, part: u64) -> Self {
        Self {
            file: Arc::new(file),
            part,
            next: Some(0),
            wanted: HEADER,
            left: SIZE_LIMIT,
            known: Arc::default(),
            count: Arc::default(),
            long: None,
        }
    }

    /// Reads, on other threads, what is there of the members, now that these are the first `count`
    /// bytes.
    pub fn advance(&mut self, count: u64) {
        self.count.store(count, Ordering::Release);
        while let Some(at) = self.next
            && count >= self.wanted
        {
            let header = header(&self.file, at).filter(|header| header.size <= self.left);
            let Some(Header { span, size }) = header else {
                self.next = None;
                return;
            };
            let end = span.offset + span.compressed;
            if count < end {
                self.wanted = end.min(count.saturating_add(self.part));
                if span.compressed > self.part {
                    self.read_on(span, size, false);
                }
                return;
            }
            (self.next, self.wanted) = (Some(end), end + HEADER);
            self.left -= size;
            if self.long.as_ref().is_some_and(|long| long.span == span) {
                self.read_on(span, size, true);
            } else if span.compressed > 0 {
                let (file, known) = (Arc::clone(&self.file), Arc::clone(&self.known));
                rayon::spawn(move || {
                    if let Ok(content) = reader::read(&file, span, size, None) {
                        lock(&known).insert(span, content);
                    }
                });
            }
        }
    }

    /// Reads on, on another thread, what is there of a long member.
    fn read_on(&mut self, span: Span, size: u64, is_whole: bool) {
        let long = match self.long.take().filter(|long| long.span == span) {
            Some(long) => long,
            None => {
                let raw = Range::new(Arc::clone(&self.file), span.offset, span.compressed);
                let raw = Arrived { raw, next: span.offset, count: Arc::clone(&self.count) };
                let reading = Mutex::new(Some(Reading::of(span, raw, size)));
                Arc::new(Long { span, reading })
            }
        };
        self.long = Some(Arc::clone(&long));
        let known = Arc::clone(&self.known);
        rayon::spawn(move || long.read_on(is_whole, &known));
    }

    /// Checks the wheel, all of which is there, and if it is sound caches what [`super::Wheel::open`]
    /// would find out. `digest` and `sha256` are of all its bytes.
    pub fn keep(self, file_name: &str, digest: &Digest, sha256: &str, cache: &Cache) -> Result<()> {
        if let Some(long) = &self.long {
            long.read_on(true, &self.known);
        }
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

/// A member that is read while it arrives.
struct Long {
    span: Span,
    /// `None` when it was read to its end, or cannot be.
    reading: Mutex<Option<Reading<'static>>>,
}

impl Long {
    /// Reads on, as far as the member is there. If another thread does so already, waits for it only
    /// if the member is whole.
    fn read_on(&self, is_whole: bool, known: &Mutex<Known>) {
        let mut reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(_) if !is_whole => return,
            Err(_) => lock(&self.reading),
        };
        match reading.as_mut().map(Reading::advance) {
            Some(Ok(false)) | None => {}
            Some(Ok(true)) => {
                let content = reading.take().map(Reading::finish);
                lock(known).extend(content.map(|content| (self.span, content)));
            }
            Some(Err(_)) => *reading = None,
        }
    }
}

/// The bytes of a member, as far as they are there.
struct Arrived {
    raw: Range<Arc<File>>,
    /// Offset of the next byte.
    next: u64,
    count: Arc<AtomicU64>,
}

impl Read for Arrived {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.count.load(Ordering::Acquire).saturating_sub(self.next);
        if there == 0 && self.raw.left() > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let wanted = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let count = self.raw.read(&mut buffer[..wanted])?;
        self.next += count as u64;
        Ok(count)
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_long_member_is_read_before_it_is_whole() {
        let noise = (0..2_000_u32).flat_map(|n| *Digest::of(&n.to_le_bytes()).as_bytes());
        let noise: Vec<u8> = noise.collect();
        let mut fixture = Fixture::new(&[]);
        fixture.add("demo/a.so", &noise, 0o755);
        let bytes = fixture.bytes();
        let mut file = tempfile::tempfile().unwrap();
        let mut arriving = Arriving::in_parts(file.try_clone().unwrap(), 1_000);
        let (first, rest) = bytes.split_at(noise.len() / 2);
        file.write_all(first).unwrap();
        arriving.advance(first.len() as u64);
        let member = Arc::clone(arriving.long.as_ref().unwrap());
        let size = || lock(&member.reading).as_ref().map_or(0, Reading::size);
        while size() < noise.len() as u64 / 3 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(lock(&arriving.known).is_empty());
        file.write_all(rest).unwrap();
        arriving.advance(bytes.len() as u64);
        while lock(&arriving.known).len() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(lock(&member.reading).is_none());
    }
}
