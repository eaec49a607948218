//! Bytes on their way to a sink, with their digests. For large streams a thread of its own takes
//! the SHA-256, which cannot be divided. BLAKE3 can: each piece is a subtree of its own, and of
//! the thread and the one that writes, whoever has less to do takes it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use blake3::hazmat::{self, ChainingValue, HasherExt};

use crate::base::{Digest, Sha256};

/// A power of two, as subtrees of BLAKE3 are.
const PIECE: usize = 1 << 18;

/// How many pieces may wait to be hashed: a bound on memory.
const WAITING: usize = 8;

/// From this many on, whoever writes has less to do than the thread.
const MANY: usize = 2;

pub(super) struct Stream<W> {
    sink: W,
    piece: Piece,
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
    /// Where in the stream it begins.
    start: u64,
    bytes: Box<[u8]>,
    filled: usize,
    /// BLAKE3 of its subtree, once somebody took it.
    blake3: Option<ChainingValue>,
}

enum Hashing {
    /// All that was written still fits into one piece.
    Here,
    Beside {
        full: SyncSender<Piece>,
        empty: Receiver<Piece>,
        waiting: Arc<AtomicUsize>,
        thread: JoinHandle<Hashed>,
    },
}

/// What is known of all pieces but the last.
#[derive(Default)]
struct Hashed {
    sha256: Sha256,
    blake3: Vec<ChainingValue>,
}

impl<W: Write> Stream<W> {
    pub(super) fn new(sink: W) -> Self {
        Self { sink, piece: Piece::new(), hashing: Hashing::Here, length: 0 }
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
        self.sink.write_all(self.piece.content())?;
        self.sink.flush()?;
        let mut hashed = match self.hashing {
            Hashing::Here => Hashed::default(),
            Hashing::Beside { full, thread, .. } => {
                drop(full);
                thread.join().expect("BUG: hashing does not panic")
            }
        };
        hashed.sha256.update(self.piece.content());
        let blake3 = if hashed.blake3.is_empty() {
            Digest::of(self.piece.content())
        } else {
            hashed.blake3.push(self.piece.subtree());
            whole(&hashed.blake3, self.length)
        };
        let sha256 = hashed.sha256.finish();
        Ok(Sent { sink: self.sink, length: self.length, sha256, blake3 })
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
        if let Hashing::Here = self.hashing {
            self.hashing = beside();
        }
        let Hashing::Beside { full, empty, waiting, .. } = &self.hashing else {
            unreachable!("BUG: it was started")
        };
        if waiting.load(Ordering::Relaxed) >= MANY {
            self.piece.blake3 = Some(self.piece.subtree());
        }
        let next = empty.try_recv().unwrap_or_else(|_| Piece::new());
        let piece = std::mem::replace(&mut self.piece, next);
        waiting.fetch_add(1, Ordering::Relaxed);
        full.send(piece).expect("BUG: the thread lives as long as the stream");
        self.piece.start = self.length;
        self.piece.filled = 0;
        self.piece.blake3 = None;
        Ok(())
    }
}

fn beside() -> Hashing {
    let (full, to_hash) = sync_channel::<Piece>(WAITING);
    let (done, empty) = sync_channel::<Piece>(WAITING + 1);
    let waiting = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&waiting);
    let thread = thread::spawn(move || {
        let mut hashed = Hashed::default();
        for piece in to_hash {
            hashed.sha256.update(piece.content());
            hashed.blake3.push(piece.blake3.unwrap_or_else(|| piece.subtree()));
            left.fetch_sub(1, Ordering::Relaxed);
            // One too many is dropped.
            let _ = done.try_send(piece);
        }
        hashed
    });
    Hashing::Beside { full, empty, waiting, thread }
}

impl Piece {
    fn new() -> Self {
        Self { start: 0, bytes: vec![0; PIECE].into_boxed_slice(), filled: 0, blake3: None }
    }

    fn content(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// BLAKE3 of the subtree that this is, of a stream with others.
    fn subtree(&self) -> ChainingValue {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(self.start).update(self.content()).finalize_non_root()
    }
}

/// BLAKE3 of a stream of `length` bytes, from its pieces, of which there are at least two. How they
/// are joined: section 2.1 of the BLAKE3 paper.
fn whole(pieces: &[ChainingValue], length: u64) -> Digest {
    let (left, right) = halves(pieces, length);
    let hash = hazmat::merge_subtrees_root(&left, &right, hazmat::Mode::Hash);
    Digest::from_bytes(*hash.as_bytes())
}

fn joined(pieces: &[ChainingValue], length: u64) -> ChainingValue {
    if let [piece] = pieces {
        return *piece;
    }
    let (left, right) = halves(pieces, length);
    hazmat::merge_subtrees_non_root(&left, &right, hazmat::Mode::Hash)
}

fn halves(pieces: &[ChainingValue], length: u64) -> (ChainingValue, ChainingValue) {
    let left = hazmat::left_subtree_len(length);
    let (before, after) = pieces.split_at((left / PIECE as u64) as usize);
    (joined(before, left), joined(after, length - left))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use sha2::Digest as _;

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
            assert_eq!(sent.sha256, <[u8; 32]>::from(sha2::Sha256::digest(&content)));
            assert_eq!(sent.blake3, Digest::of(&content));
        }
    }
}
