//! Bytes on their way to a sink, with their digests. For large streams a thread of its own takes
//! the SHA-256, which cannot be divided and takes as long as all the rest.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use crate::base::Digest;

const PIECE: usize = 1 << 20;

/// How many pieces may wait to be hashed: a bound on memory.
const WAITING: usize = 4;

pub(super) struct Stream<W> {
    sink: W,
    piece: Piece,
    blake3: blake3::Hasher,
    hashing: Hashing,
    length: u64,
}

/// What went through a stream.
pub(super) struct Sent<W> {
    pub(super) sink: W,
    pub(super) length: u64,
    pub(super) sha256: [u8; 32],
    pub(super) blake3: Digest,
}

struct Piece {
    bytes: Box<[u8]>,
    filled: usize,
}

enum Hashing {
    /// All that was written still fits into one piece.
    Here,
    Beside {
        full: SyncSender<Piece>,
        empty: Receiver<Piece>,
        thread: JoinHandle<Sha256>,
    },
}

impl<W: Write> Stream<W> {
    pub(super) fn new(sink: W) -> Self {
        Self {
            sink,
            piece: Piece::new(),
            blake3: blake3::Hasher::new(),
            hashing: Hashing::Here,
            length: 0,
        }
    }

    /// Bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Sent<W>> {
        let last = self.piece.content();
        self.sink.write_all(last)?;
        self.sink.flush()?;
        self.blake3.update(last);
        let mut sha256 = match self.hashing {
            Hashing::Here => Sha256::new(),
            Hashing::Beside { full, empty: _, thread } => {
                drop(full);
                thread.join().expect("BUG: hashing does not panic")
            }
        };
        sha256.update(last);
        Ok(Sent {
            sink: self.sink,
            length: self.length,
            sha256: sha256.finalize().into(),
            blake3: Digest::from_bytes(*self.blake3.finalize().as_bytes()),
        })
    }

    /// Where the next bytes belong; never empty. Say with [`Stream::filled`] how many came.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.piece.filled == PIECE {
            self.send()?;
        }
        Ok(&mut self.piece.bytes[self.piece.filled..])
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.piece.filled += count;
        self.length += count as u64;
    }

    /// Writes the full piece and hands it to the thread.
    fn send(&mut self) -> io::Result<()> {
        self.sink.write_all(self.piece.content())?;
        self.blake3.update(self.piece.content());
        if let Hashing::Here = self.hashing {
            self.hashing = beside();
        }
        let Hashing::Beside { full, empty, .. } = &self.hashing else {
            unreachable!("BUG: it was started")
        };
        let next = empty.try_recv().unwrap_or_else(|_| Piece::new());
        let piece = std::mem::replace(&mut self.piece, next);
        full.send(piece).expect("BUG: the thread lives as long as the stream");
        self.piece.filled = 0;
        Ok(())
    }
}

fn beside() -> Hashing {
    let (full, to_hash) = sync_channel::<Piece>(WAITING);
    let (hashed, empty) = sync_channel::<Piece>(WAITING + 1);
    let thread = thread::spawn(move || {
        let mut sha256 = Sha256::new();
        for piece in to_hash {
            sha256.update(piece.content());
            // One too many is dropped.
            let _ = hashed.try_send(piece);
        }
        sha256
    });
    Hashing::Beside { full, empty, thread }
}

impl Piece {
    fn new() -> Self {
        Self { bytes: vec![0; PIECE].into_boxed_slice(), filled: 0 }
    }

    fn content(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn digests_are_those_of_what_was_written_however_it_came() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 77] {
            let content: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let (written, read) = content.split_at(length / 3);
            let mut stream = Stream::new(Vec::new());
            written.chunks(70_001).for_each(|part| stream.write(part).unwrap());
            let mut data = read;
            while !data.is_empty() {
                let room = stream.room().unwrap();
                let wanted = room.len().min(100_003);
                let count = data.read(&mut room[..wanted]).unwrap();
                stream.filled(count);
            }
            let sent = stream.finish().unwrap();
            assert!(sent.sink == content, "{length}");
            assert_eq!(sent.length, length as u64);
            assert_eq!(sent.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
            assert_eq!(sent.blake3, Digest::of(&content));
        }
    }
}
