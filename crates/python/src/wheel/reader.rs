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
    unpacked(span, Range::new(file, span.offset, span.compressed))
}

/// Returns the content of a member. `raw` has its bytes as they are in the wheel.
fn unpacked<'a>(span: Span, raw: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    match span.method {
        Method::Stored => Box::new(raw),
        Method::Deflated => Box::new(Inflate::new(raw, span.compressed)),
    }
}

/// Reads a member to its end, once; an error if its content has more than `most` bytes.
pub(super) fn read(file: &File, span: Span, most: u64, hasher: Option<Context>) -> Result<Content> {
    let mut reading = Reading::new(content(file, span), most, hasher);
    reading.advance()?;
    Ok(reading.finish())
}

/// A member that is read in steps.
pub(super) struct Reading<'a> {
    content: Box<dyn Read + Send + 'a>,
    /// Most bytes that the content may have.
    most: u64,
    size: u64,
    crc: Crc,
    digest: blake3::Hasher,
    hasher: Context,
    start: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Reading<'a> {
    /// Begins to read a member whose bytes in the wheel are those of `raw`.
    pub(super) fn of(span: Span, raw: impl Read + Send + 'a, most: u64) -> Self {
        Self::new(unpacked(span, raw), most, None)
    }

    fn new(content: Box<dyn Read + Send + 'a>, most: u64, hasher: Option<Context>) -> Self {
        Self {
            content,
            most,
            size: 0,
            crc: Crc::new(),
            digest: blake3::Hasher::new(),
            hasher: hasher.unwrap_or_else(|| Context::new(&SHA256)),
            start: Vec::new(),
            buffer: vec![0; BUFFER.min(usize::try_from(most).unwrap_or(BUFFER) + 1)],
        }
    }

    /// Reads on until the content ends, or its bytes would block. Returns whether it ended.
    pub(super) fn advance(&mut self) -> Result<bool> {
        loop {
            let count = match self.content.read(&mut self.buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("its bytes cannot be read"),
            };
            let bytes = &self.buffer[..count];
            self.size += count as u64;
            ensure!(self.size <= self.most, "it is longer than in its header");
            self.crc.update(bytes);
            self.digest.update(bytes);
            self.hasher.update(bytes);
            if self.start.len() < SHEBANG.len() {
                self.start.extend_from_slice(&bytes[..count.min(SHEBANG.len() - self.start.len())]);
            }
        }
    }

    /// Returns the number of bytes of content so far.
    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns what was read of the content.
    pub(super) fn finish(self) -> Content {
        Content {
            size: self.size,
            crc: self.crc.sum(),
            digest: Digest::from_bytes(*self.digest.finalize().as_bytes()),
            hash: self.hasher.finish(),
            python_shebang: self.start == SHEBANG,
        }
    }
}

/// Inflates a member. Stricter than flate2's own readers, because the raw bytes are handed on as
/// they are: the deflate stream must end, and must end where the member does.
struct Inflate<R> {
    raw: R,
    /// Bytes that were not read from `raw` yet.
    left: u64,
    state: Decompress,
    buffer: Vec<u8>,
    /// Start of the part of `buffer` that is not inflated yet.
    start: usize,
    end: usize,
    ended: bool,
}

impl<R: Read> Inflate<R> {
    /// Inflates the bytes of `raw`, of which there are `left`.
    fn new(raw: R, left: u64) -> Self {
        let buffer = vec![0; BUFFER.min(usize::try_from(left).unwrap_or(BUFFER))];
        Self { raw, left, state: Decompress::new(false), buffer, start: 0, end: 0, ended: false }
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let damaged = |what: &str| Error::new(ErrorKind::InvalidData, what);
        while !self.ended && !out.is_empty() {
            if self.start == self.end {
                let count = self.raw.read(&mut self.buffer)?;
                (self.start, self.end) = (0, count);
                self.left -= count as u64;
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
                if self.start < self.end || self.left > 0 {
                    return Err(damaged("there are bytes after the end of its deflated data"));
                }
            } else if consumed == 0 && produced == 0 && self.left == 0 {
                return Err(damaged("its deflated data ends too early"));
            }
            if produced > 0 {
                return Ok(produced);
            }
        }
        Ok(0)
    }
}
