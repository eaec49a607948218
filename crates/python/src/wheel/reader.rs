//! Reading members in place, by position, so that many threads can share one open file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};

use anyhow::{Context as _, Result, ensure};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use ring::digest::{Context, SHA256};

use super::Method;
use zipwright_store::Digest;
use zipwright_store::fs::Range;

const BUFFER: usize = 64 * 1024;

/// The bytes of a member in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) method: Method,
    pub(super) offset: u64,
    pub(super) compressed: u64,
}

/// The content of a member, as it is.
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) crc: u32,
    pub(super) digest: Digest,
    /// SHA-256, or what was asked for.
    pub(super) hash: ring::digest::Digest,
    pub(super) python_shebang: bool,
}

/// What is known of members by their bytes.
pub(super) type Known = HashMap<Span, Content>;

const SHEBANG: &[u8] = b"#!python";

pub(super) fn content(file: &File, span: Span) -> Box<dyn Read + Send + '_> {
    let raw = Range::new(file, span.offset, span.compressed);
    match span.method {
        Method::Stored => Box::new(raw),
        Method::Deflated => Box::new(Inflate::new(raw)),
    }
}

/// Reads a member to its end, once; an error if its content has more than `most` bytes.
pub(super) fn read(file: &File, span: Span, most: u64, hasher: Option<Context>) -> Result<Content> {
    let mut hasher = hasher.unwrap_or_else(|| Context::new(&SHA256));
    let mut content = content(file, span);
    let (mut crc, mut digest) = (Crc::new(), blake3::Hasher::new());
    let mut buffer = vec![0; BUFFER.min(usize::try_from(most).unwrap_or(BUFFER) + 1)];
    let (mut size, mut start) = (0_u64, Vec::new());
    loop {
        let count = content.read(&mut buffer).context("its bytes cannot be read")?;
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        size += count as u64;
        ensure!(size <= most, "it is longer than in its header");
        crc.update(bytes);
        digest.update(bytes);
        hasher.update(bytes);
        if start.len() < SHEBANG.len() {
            start.extend_from_slice(&bytes[..count.min(SHEBANG.len() - start.len())]);
        }
    }
    Ok(Content {
        size,
        crc: crc.sum(),
        digest: Digest::from_bytes(*digest.finalize().as_bytes()),
        hash: hasher.finish(),
        python_shebang: start == SHEBANG,
    })
}

/// Inflates a member. Stricter than flate2's own readers, because the raw bytes are handed on as
/// they are: the deflate stream must end, and must end where the member does.
struct Inflate<'a> {
    raw: Range<'a>,
    state: Decompress,
    buffer: Vec<u8>,
    /// Start of the part of `buffer` that is not inflated yet.
    start: usize,
    end: usize,
    ended: bool,
}

impl<'a> Inflate<'a> {
    fn new(raw: Range<'a>) -> Self {
        let buffer = vec![0; BUFFER.min(usize::try_from(raw.left()).unwrap_or(BUFFER))];
        Self { raw, state: Decompress::new(false), buffer, start: 0, end: 0, ended: false }
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let damaged = |what: &str| Error::new(ErrorKind::InvalidData, what);
        while !self.ended && !out.is_empty() {
            if self.start == self.end {
                self.start = 0;
                self.end = self.raw.read(&mut self.buffer)?;
            }
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let waiting = &self.buffer[self.start..self.end];
            let status = self
                .state
                .decompress(waiting, out, FlushDecompress::None)
                .map_err(|_| damaged("its deflated data is damaged"))?;
            let consumed = (self.state.total_in() - before_in) as usize;
            let produced = (self.state.total_out() - before_out) as usize;
            self.start += consumed;
            if status == Status::StreamEnd {
                self.ended = true;
                if self.start < self.end || self.raw.left() > 0 {
                    return Err(damaged("there are bytes after the end of its deflated data"));
                }
            } else if consumed == 0 && produced == 0 && self.raw.left() == 0 {
                return Err(damaged("its deflated data ends too early"));
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
        Ok(0)
    }
}
