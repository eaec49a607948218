//! Bytes on their way to a sink, with their digests. For large streams a thread of its own takes
//! the SHA-256, which cannot be divided. BLAKE3 can: each piece is a subtree of its own, and of
//! the thread and the one that the bytes come from, whoever has less to do takes it, and hands the
//! piece to the sink. Where the SHA-256 stands after a beginning that is known, only its BLAKE3 is
//! taken.

use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use blake3::hazmat::{self, ChainingValue, HasherExt};
use tempfile::NamedTempFile;

use super::beginning::Beginning;
use crate::base::Digest;
use crate::base::sha256::ResumableSha256;

/// A power of two, as subtrees of BLAKE3 are.
const PIECE: usize = 1 << 18;

/// How many pieces may wait to be hashed: a bound on memory.
const WAITING: usize = 3;

/// From this many on, the thread has more to do than the other.
const MANY: usize = 2;

const LIVES: &str = "BUG: the thread lives as long as the stream";

/// Where a stream goes to: it takes pieces at their places, in any order and from any thread.
pub trait Sink: Send + Sync + 'static {
    /// Writes all of these bytes from byte `start` on.
    fn put(&self, bytes: &[u8], start: u64) -> io::Result<()>;
}

impl Sink for NamedTempFile {
    fn put(&self, bytes: &[u8], start: u64) -> io::Result<()> {
        self.as_file().write_all_at(bytes, start)
    }
}

pub(super) struct Stream<W> {
    sink: Arc<W>,
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
    /// BLAKE3 of its subtree, once somebody took it, and gave the piece to the sink.
    blake3: Option<ChainingValue>,
}

enum Hashing {
    /// All that was written still fits into one piece.
    Here(Box<Hashed>),
    Beside(Beside),
}

/// The thread, which ends with this.
struct Beside {
    full: Option<SyncSender<Step>>,
    empty: Receiver<Piece>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<io::Result<Hashed>>>,
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

impl<W: Sink> Stream<W> {
    /// `known` is how the stream is going to begin, as far as somebody knows.
    pub(super) fn new(sink: W, known: Option<Beginning>) -> Self {
        let hashing = Hashing::Here(Box::new(Hashed::new(known)));
        Self { sink: Arc::new(sink), piece: Piece::new(), hashing, length: 0 }
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
        if let Hashing::Beside(beside) = &self.hashing {
            beside.send(Step::Mark);
        }
    }

    pub(super) fn finish(self) -> io::Result<Sent<W>> {
        self.sink.put(self.piece.content(), self.piece.start)?;
        let hashed = match self.hashing {
            Hashing::Here(hashed) => *hashed,
            Hashing::Beside(beside) => beside.end()?,
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
        let sink = Arc::into_inner(self.sink).expect("BUG: the thread has ended");
        Ok(Sent { sink, length: self.length, sha256, blake3, beginning: marked })
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

    /// Hands the full piece to the thread.
    fn send(&mut self) -> io::Result<()> {
        if let Hashing::Here(hashed) = &mut self.hashing {
            let beside = Beside::begin(mem::take(&mut **hashed), Arc::clone(&self.sink));
            self.hashing = Hashing::Beside(beside);
        }
        let Hashing::Beside(beside) = &self.hashing else { unreachable!("BUG: it was started") };
        if beside.waiting.load(Ordering::Relaxed) >= MANY {
            self.piece.blake3 = Some(self.piece.taken_to(&*self.sink)?);
        }
        let next = beside.empty.try_recv().unwrap_or_else(|_| Piece::new());
        let piece = mem::replace(&mut self.piece, next);
        beside.waiting.fetch_add(1, Ordering::Relaxed);
        beside.send(Step::Take(piece));
        self.piece.start = self.length;
        self.piece.filled = 0;
        self.piece.blake3 = None;
        Ok(())
    }
}

impl Beside {
    fn begin(mut hashed: Hashed, sink: Arc<impl Sink>) -> Self {
        let (full, steps) = sync_channel::<Step>(WAITING);
        let (done, empty) = sync_channel::<Piece>(WAITING + 1);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let thread = thread::spawn(move || {
            // The first error is told in the end; what comes after it is let pass.
            let mut result = Ok(());
            for step in steps {
                match step {
                    Step::Mark => hashed.mark(),
                    Step::Take(piece) => {
                        result = result.and_then(|()| hashed.take(&piece, &*sink));
                        left.fetch_sub(1, Ordering::Relaxed);
                        // One too many is dropped.
                        let _ = done.try_send(piece);
                    }
                }
            }
            result.map(|()| hashed)
        });
        Self { full: Some(full), empty, waiting, thread: Some(thread) }
    }

    fn send(&self, step: Step) {
        let full = self.full.as_ref().expect(LIVES);
        full.send(step).expect(LIVES);
    }

    /// What the thread has to say in the end.
    fn end(mut self) -> io::Result<Hashed> {
        drop(self.full.take());
        let thread = self.thread.take().expect(LIVES);
        thread.join().expect("BUG: hashing does not panic")
    }
}

impl Drop for Beside {
    /// A stream that is given up takes the thread along, and so its sink.
    fn drop(&mut self) {
        drop(self.full.take());
        // If it panicked, who drops this may be panicking for it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Hashed {
    fn new(known: Option<Beginning>) -> Self {
        let skipped = known.as_ref().map_or(0, |known| known.pieces);
        let sha256 = Some(ResumableSha256::default());
        Self { sha256, known, skipped, ..Self::default() }
    }

    fn take(&mut self, piece: &Piece, sink: &impl Sink) -> io::Result<()> {
        self.blake3.push(match piece.blake3 {
            Some(blake3) => blake3,
            None => piece.taken_to(sink)?,
        });
        match &self.known {
            Some(known) if self.blake3.len() == known.pieces => {
                self.sha256 = known.sha256_after(&self.blake3);
                self.known = None;
            }
            Some(_) => {}
            None => {
                if let Some(sha256) = &mut self.sha256 {
                    sha256.update(piece.content());
                }
            }
        }
        Ok(())
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

    /// Gives it to the sink; its BLAKE3.
    fn taken_to(&self, sink: &impl Sink) -> io::Result<ChainingValue> {
        sink.put(self.content(), self.start)?;
        Ok(self.subtree())
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
pub(super) mod testing {
    use std::sync::Mutex;

    use super::*;

    /// A sink in memory.
    #[derive(Default)]
    pub(in crate::bundle) struct InMemory(Mutex<Vec<u8>>);

    impl InMemory {
        pub(in crate::bundle) fn bytes(self) -> Vec<u8> {
            self.0.into_inner().unwrap()
        }
    }

    impl Sink for InMemory {
        fn put(&self, bytes: &[u8], start: u64) -> io::Result<()> {
            let mut content = self.0.lock().unwrap();
            let range = start as usize..start as usize + bytes.len();
            let length = content.len().max(range.end);
            content.resize(length, 0);
            content[range].copy_from_slice(bytes);
            Ok(())
        }
    }

    impl Sink for io::Sink {
        fn put(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::testing::InMemory;
    use super::*;
    use crate::base::Sha256;

    #[test]
    fn digests_are_those_of_what_was_written_however_it_came() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 77] {
            let content = content(length);
            let (written, read) = content.split_at(length / 3);
            let mut stream = Stream::new(InMemory::default(), None);
            written.chunks(70_001).for_each(|part| stream.write(part).unwrap());
            let mut data = read;
            while !data.is_empty() {
                let room = stream.room().unwrap();
                let wanted = room.len().min(100_003);
                let count = data.read(&mut room[..wanted]).unwrap();
                stream.filled(count);
            }
            let sent = stream.finish().unwrap();
            assert!(sent.sink.bytes() == content, "{length}");
            assert_eq!(sent.length, length as u64);
            assert_eq!(sent.sha256, Some(Sha256::of(&content)));
            assert_eq!(sent.blake3, Digest::of(&content));
        }
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    /// Writes two parts, the first of them as a beginning.
    fn sent(first: &[u8], second: &[u8], known: Option<Beginning>) -> Sent<InMemory> {
        let mut stream = Stream::new(InMemory::default(), known);
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

    /// Has no room beyond the first pieces.
    struct Full;

    impl Sink for Full {
        fn put(&self, _: &[u8], start: u64) -> io::Result<()> {
            if start < 3 * PIECE as u64 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        }
    }

    #[test]
    fn a_sink_that_fails_fails_the_stream() {
        for length in [3 * PIECE + 1, 20 * PIECE] {
            let mut stream = Stream::new(Full, None);
            let written = stream.write(&content(length)).and_then(|()| stream.finish().map(drop));
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }

    /// Has a bug.
    struct Broken;

    impl Sink for Broken {
        fn put(&self, _: &[u8], _: u64) -> io::Result<()> {
            panic!("BUG: on purpose")
        }
    }

    #[test]
    fn a_panic_of_the_thread_is_a_panic_and_no_abort() {
        let written = std::panic::catch_unwind(|| {
            let mut stream = Stream::new(Broken, None);
            stream.write(&content(9 * PIECE)).and_then(|()| stream.finish().map(drop))
        });
        assert!(written.is_err());
    }

    #[test]
    fn a_stream_that_is_given_up_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = NamedTempFile::new_in(folder.path()).unwrap();
        let mut stream = Stream::new(file, None);
        stream.write(&content(6 * PIECE)).unwrap();
        drop(stream);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
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
