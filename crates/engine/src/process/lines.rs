//! The output of a program, split into lines. Knows nothing of the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::Stream;

/// Largest length of a line in bytes; longer ones are passed on in pieces of this size.
pub const LINE_MAX: usize = 1 << 20;

/// A pipe with a program's output, split into lines.
pub struct Lines {
    pipe: OwnedFd,
    stream: Stream,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Lines {
    pub fn new(pipe: impl Into<OwnedFd>, stream: Stream) -> Self {
        Self { pipe: pipe.into(), stream, rest: Vec::new() }
    }

    /// Reads once, and returns the number of bytes; 0 at the end. A failing pipe counts as ended:
    /// the exit status shows the rest.
    pub fn read(&mut self, on_line: &dyn Fn(Stream, &str)) -> usize {
        let mut buffer = [0; 16 * 1024];
        let length = match rustix::io::read(&self.pipe, &mut buffer) {
            Err(Errno::INTR) => return 1,
            read => read.unwrap_or(0),
        };
        for part in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend(part);
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                on_line(self.stream, &String::from_utf8_lossy(&self.rest));
                self.rest.clear();
            } else if self.rest.len() >= LINE_MAX {
                let rest = self.rest.split_off(end_of_piece(&self.rest));
                on_line(self.stream, &String::from_utf8_lossy(&self.rest));
                self.rest = rest;
            }
        }
        length
    }

    /// Passes on the beginning of a line.
    pub fn finish(&mut self, on_line: &dyn Fn(Stream, &str)) {
        if !self.rest.is_empty() {
            on_line(self.stream, &String::from_utf8_lossy(&self.rest));
            self.rest.clear();
        }
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Returns the position at which a line that is too long is split: not within a character.
fn end_of_piece(line: &[u8]) -> usize {
    let begins = |byte: &u8| *byte & 0xc0 != 0x80;
    match line.iter().rev().take(4).position(begins) {
        Some(back) if line[line.len() - 1 - back] >= 0x80 => line.len() - 1 - back,
        _ => line.len(),
    }
}
