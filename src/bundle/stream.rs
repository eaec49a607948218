//! Bytes on their way to a sink, with their digests. For large streams a thread of its own takes
//! the SHA-256, which cannot be divided. BLAKE3 can: each piece is a subtree of its own, and of
//! the thread and the one that writes, whoever has less to do takes it. Where the SHA-256 stands
//! after a beginning that is known, only its BLAKE3 is taken.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use blake3::hazmat::{self, ChainingValue, HasherExt};

use super::beginning::Beginning;
use crate::base::Digest;
use crate::base::sha256::ResumableSha256;

/// A power of two, as subtrees of BLAKE3 are.
const PIECE: usize = 1 << 18;

/// How many pieces may wait to be hashed: a bound on memory.
const WAITING: usize = 8;

/// From this many on, whoever writes has less to do than the thread.
const MANY: usize = 2;

const LIVES: &str = "BUG: the thread lives as long as the stream";

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
    /// `None` when it did not begin as was said.
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) blake3: Digest,
    /// What was marked, unless it was known.
    pub(super) beginning: Option<Beginning>,
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
    Here(Box<Hashed>),
    Beside {
        full: SyncSender<Step>,
        empty: Receiver<Piece>,
        waiting: Arc<AtomicUsize>,
        thread: JoinHandle<Hashed>,
    },
}

enum Step {
    Take(Piece),
    Mark,
}

/// What is known of all pieces but the last.
#[derive(Default)]
struct Hashed {
    /// `None` once it turned out that the stream does not begin as was said.
    sha256: Option<ResumableSha256>,
    blake3: Vec<ChainingValue>,
    /// How the stream is said to begin, until as many pieces have come.
    known: Option<Beginning>,
    /// How many pieces that was.
    skipped: usize,
    marked: Option<Beginning>,
}

impl<W: Write> Stream<W> {
    /// `known` is how the stream is going to begin, as far as somebody knows.
    pub(super) fn new(sink: W, known: Option<Beginning>) -> Self {
        let hashing = Hashing::Here(Box::new(Hashed::new(known)));
        Self { sink, piece: Piece::new(), hashing, length: 0 }
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

    /// Says that the full pieces so far are a beginning that other streams may have.
    pub(super) fn mark(&mut self) {
        if let Hashing::Beside { full, .. } = &self.hashing {
            full.send(Step::Mark).expect(LIVES);
        }
    }

    pub(super) fn finish(mut self) -> io::Result<Sent<W>> {
        self.sink.write_all(self.piece.content())?;
        self.sink.flush()?;
        let hashed = match self.hashing {
            Hashing::Here(hashed) => *hashed,
            Hashing::Beside { full, thread, .. } => {
                drop(full);
                thread.join().expect("BUG: hashing does not panic")
            }
        };
        let Hashed { sha256, mut blake3, known, marked, .. } = hashed;
        let sha256 = sha256.filter(|_| known.is_none()).map(|mut sha256| {
            sha256.update(self.piece.content());
            sha256.finish()
        });
        let blake3 = if blake3.is_empty() {
            Digest::of(self.piece.content())
        } else {
            blake3.push(self.piece.subtree());
            whole(&blake3, self.length)
        };
        Ok(Sent { sink: self.sink, length: self.length, sha256, blake3, beginning: marked })
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
        if let Hashing::Here(hashed) = &mut self.hashing {
            self.hashing = beside(mem::take(&mut **hashed));
        }
        let Hashing::Beside { full, empty, waiting, .. } = &self.hashing else {
            unreachable!("BUG: it was started")
        };
        if waiting.load(Ordering::Relaxed) >= MANY {
            self.piece.blake3 = Some(self.piece.subtree());
        }
        let next = empty.try_recv().unwrap_or_else(|_| Piece::new());
        let piece = mem::replace(&mut self.piece, next);
        waiting.fetch_add(1, Ordering::Relaxed);
        full.send(Step::Take(piece)).expect(LIVES);
        self.piece.start = self.length;
        self.piece.filled = 0;
        self.piece.blake3 = None;
        Ok(())
    }
}

fn beside(mut hashed: Hashed) -> Hashing {
    let (full, steps) = sync_channel::<Step>(WAITING);
    let (done, empty) = sync_channel::<Piece>(WAITING + 1);
    let waiting = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&waiting);
    let thread = thread::spawn(move || {
        for step in steps {
            let Step::Take(piece) = step else {
                hashed.mark();
                continue;
            };
            hashed.take(&piece);
            left.fetch_sub(1, Ordering::Relaxed);
            // One too many is dropped.
            let _ = done.try_send(piece);
        }
        hashed
    });
    Hashing::Beside { full, empty, waiting, thread }
}

impl Hashed {
    fn new(known: Option<Beginning>) -> Self {
        let skipped = known.as_ref().map_or(0, |known| known.pieces);
        let sha256 = Some(ResumableSha256::default());
        Self { sha256, known, skipped, ..Self::default() }
    }

    fn take(&mut self, piece: &Piece) {
        self.blake3.push(piece.blake3.unwrap_or_else(|| piece.subtree()));
        match &self.known {
            Some(known) if self.blake3.len() == known.pieces => {
                self.sha256 = known.sha256_after(&self.blake3);
                self.known = None;
            }
            Some(_) => {}
            None => {
                self.sha256.iter_mut().for_each(|sha256| sha256.update(piece.content()));
            }
        }
    }

    fn mark(&mut self) {
        if let (Some(sha256), None) = (&self.sha256, &self.known)
            && self.blake3.len() > self.skipped
        {
            self.marked = Some(Beginning::new(&self.blake3, sha256));
        }
    }
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

    use super::*;
    use crate::base::Sha256;

    #[test]
    fn digests_are_those_of_what_was_written_however_it_came() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 77] {
            let content = content(length);
            let (written, read) = content.split_at(length / 3);
            let mut stream = Stream::new(Vec::new(), None);
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
            assert_eq!(sent.sha256, Some(Sha256::of(&content)));
            assert_eq!(sent.blake3, Digest::of(&content));
        }
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    /// Writes two parts, the first of them as a beginning.
    fn sent(first: &[u8], second: &[u8], known: Option<Beginning>) -> Sent<Vec<u8>> {
        let mut stream = Stream::new(Vec::new(), known);
        stream.write(first).unwrap();
        stream.mark();
        stream.write(second).unwrap();
        stream.finish().unwrap()
    }

    #[test]
    fn what_begins_alike_is_gone_on_with() {
        for length in [PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 77] {
            let first = content(length);
            let beginning = sent(&first, b"one", None).beginning;
            // The last piece is full only when more has come.
            let pieces = (length - 1) / PIECE;
            assert_eq!(beginning.as_ref().map_or(0, |known| known.pieces), pieces, "{length}");
            let Some(known) = beginning else { continue };
            let known = Beginning::decode(&known.encode()).unwrap();
            for second in [b"two".to_vec(), content(3 * PIECE)] {
                let sent = sent(&first, &second, Some(known.clone()));
                let all = [first.as_slice(), &second].concat();
                assert_eq!(sent.sha256, Some(Sha256::of(&all)));
                assert_eq!(sent.blake3, Digest::of(&all));
                assert_eq!(sent.beginning, None, "it is known");
            }
        }
    }

    #[test]
    fn another_beginning_has_no_digest() {
        let first = content(3 * PIECE + 5);
        let known = || sent(&first, b"one", None).beginning;
        let mut damaged = first.clone();
        damaged[PIECE + 9] ^= 1;
        for first in [damaged.as_slice(), &first[..PIECE], &first[..9]] {
            let sent = sent(first, b"two", known());
            assert_eq!((sent.sha256, sent.beginning), (None, None));
            assert_eq!(sent.blake3, Digest::of(&[first, b"two"].concat()));
        }
    }
}
