//! Lines that are held back until their target has ended: the last ones in memory, all earlier ones
//! in a temporary file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;

use crate::base::Printable;
use crate::base::fs::Range;
use crate::process::Stream;

/// Number of bytes in memory from which on they are written to the file.
const MOST: usize = 1 << 20;

/// Each line is a byte for its stream, its length, and its text.
#[derive(Default)]
pub(super) struct Held {
    last: Vec<u8>,
    file: Option<File>,
    /// Number of bytes in the file.
    written: u64,
    /// Whether the file could not be written: further lines stay in memory.
    is_full: bool,
}

impl Held {
    pub(super) fn push(&mut self, stream: Stream, text: &Printable) {
        let text = text.as_str().as_bytes();
        self.last.push(u8::from(stream == Stream::Stderr));
        self.last.extend((text.len() as u64).to_le_bytes());
        self.last.extend(text);
        if self.last.len() >= MOST && !self.is_full && self.write().is_none() {
            self.is_full = true;
        }
    }

    fn write(&mut self) -> Option<()> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile().ok()?);
        }
        self.file.as_ref()?.write_all_at(&self.last, self.written).ok()?;
        self.written += self.last.len() as u64;
        self.last.clear();
        Some(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.written == 0
    }

    /// Passes on all lines in order. If the file cannot be read back, only the first lines are
    /// passed on.
    pub(super) fn each(self, mut pass_on: impl FnMut(Stream, &Printable)) {
        let mut from: Box<dyn Read> = match &self.file {
            Some(file) => {
                Box::new(BufReader::new(Range::new(file, 0, self.written)).chain(&*self.last))
            }
            None => Box::new(&*self.last),
        };
        while let Some((stream, text)) = read(&mut from) {
            pass_on(stream, &text);
        }
    }
}

fn read(from: &mut dyn Read) -> Option<(Stream, Printable)> {
    let (mut stream, mut length) = ([0], [0; 8]);
    from.read_exact(&mut stream).ok()?;
    from.read_exact(&mut length).ok()?;
    let mut text = vec![0; usize::try_from(u64::from_le_bytes(length)).ok()?];
    from.read_exact(&mut text).ok()?;
    let stream = if stream == [0] { Stream::Stdout } else { Stream::Stderr };
    // The text was printable when it was stored.
    Some((stream, Printable::as_is(String::from_utf8(text).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_in_order_from_file_and_memory() {
        let mut held = Held::default();
        assert!(held.is_empty());
        let line = |number: usize| Printable::from(format!("{number} {}", "x".repeat(100)));
        let stream = |number| if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        for number in 0..50_000 {
            held.push(stream(number), &line(number));
            assert!(held.last.len() < MOST);
        }
        assert!(held.written > 4 << 20 && !held.last.is_empty());
        let mut number = 0;
        held.each(|found, text| {
            assert_eq!((found, text), (stream(number), &line(number)));
            number += 1;
        });
        assert_eq!(number, 50_000);
    }
}
