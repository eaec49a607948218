//! Reading members in place, by position, so that many threads can share one open file.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::Method;
use super::archive::Span;
use zipwright_store::fs::Range;

const BUFFER: usize = 64 * 1024;

pub(super) fn content(file: &File, span: Span) -> Box<dyn Read + Send + '_> {
    let raw = Range::new(file, span.offset, span.compressed);
    match span.method {
        Method::Stored => Box::new(raw),
        Method::Deflated => Box::new(Inflate::new(raw)),
    }
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
