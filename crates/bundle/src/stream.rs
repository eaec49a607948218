//! Writes a stream to a sink and takes both of its digests on the way. SHA-256, which is the slowest
//! part and cannot be divided, runs on a thread of its own while the caller writes and takes BLAKE3.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use zipwright_store::{Digest, Sha256};

/// Bytes that are handed to the hashing thread at a time.
const BLOCK: usize = 1 << 18;

/// Number of blocks that may wait for the hashing thread: a bound on memory.
const WAITING: usize = 3;

/// Writes to `sink` through blocks.
pub(super) struct Stream<W> {
    sink: W,
    /// The block that is being filled; it has no other owner.
    block: Arc<Block>,
    /// Blocks that the hashing thread may still hold, oldest first.
    lent: VecDeque<Arc<Block>>,
    blake3: blake3::Hasher,
    sha256: Hashing,
    length: u64,
}

/// A finished stream.
pub(super) struct Sent<W> {
    pub(super) sink: W,
    pub(super) length: u64,
    pub(super) sha256: [u8; 32],
    pub(super) blake3: Digest,
}

struct Block {
    bytes: Box<[u8]>,
    filled: usize,
}

enum Hashing {
    /// The stream still fits into one block.
    Here,
    Beside {
        blocks: SyncSender<Arc<Block>>,
        thread: JoinHandle<[u8; 32]>,
    },
}

impl<W: Write> Stream<W> {
    pub(super) fn new(sink: W) -> Self {
        Self {
            sink,
            block: Arc::new(Block::new()),
            lent: VecDeque::new(),
            blake3: blake3::Hasher::new(),
            sha256: Hashing::Here,
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

    /// Returns the place of the next bytes, which is never empty. [`Stream::filled`] takes how many
    /// of them were written.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        if self.block.filled == BLOCK {
            self.flush()?;
        }
        let block = self.block();
        Ok(&mut block.bytes[block.filled..])
    }

    pub(super) fn filled(&mut self, count: usize) {
        self.block().filled += count;
        self.length += count as u64;
    }

    pub(super) fn finish(mut self) -> io::Result<Sent<W>> {
        let content = self.block.content();
        self.blake3.update(content);
        self.sink.write_all(content)?;
        let sha256 = match self.sha256 {
            Hashing::Here => Sha256::of(content),
            Hashing::Beside { blocks, thread } => {
                // A failed send means that the thread panicked; joining it passes that on.
                let _ = blocks.send(self.block);
                drop(blocks);
                thread.join().expect("BUG: hashing does not panic")
            }
        };
        let blake3 = Digest::from_bytes(*self.blake3.finalize().as_bytes());
        Ok(Sent { sink: self.sink, length: self.length, sha256, blake3 })
    }

    fn block(&mut self) -> &mut Block {
        Arc::get_mut(&mut self.block).expect("BUG: a block is lent only when it is full")
    }

    /// Hashes and writes the full block, and starts another one.
    fn flush(&mut self) -> io::Result<()> {
        if matches!(self.sha256, Hashing::Here) {
            self.sha256 = Hashing::begin();
        }
        if let Hashing::Beside { blocks, .. } = &self.sha256 {
            blocks.send(Arc::clone(&self.block)).expect("BUG: the thread lasts as long as this");
        }
        self.blake3.update(self.block.content());
        self.sink.write_all(self.block.content())?;
        let next = self.reusable().unwrap_or_else(|| Arc::new(Block::new()));
        self.lent.push_back(mem::replace(&mut self.block, next));
        Ok(())
    }

    /// Returns the oldest lent block, emptied, if the hashing thread is done with it.
    fn reusable(&mut self) -> Option<Arc<Block>> {
        Arc::get_mut(self.lent.front_mut()?)?.filled = 0;
        self.lent.pop_front()
    }
}

impl Hashing {
    fn begin() -> Self {
        let (blocks, received) = sync_channel::<Arc<Block>>(WAITING);
        let thread = thread::spawn(move || {
            let mut hasher = Sha256::new();
            for block in received {
                hasher.update(block.content());
            }
            hasher.finish()
        });
        Self::Beside { blocks, thread }
    }
}

impl Block {
    fn new() -> Self {
        Self { bytes: vec![0; BLOCK].into_boxed_slice(), filled: 0 }
    }

    fn content(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tempfile::NamedTempFile;

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn digests_are_those_of_the_written_bytes_however_they_came() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK + 77] {
            let content = content(length);
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
            assert_eq!(sent.sha256, Sha256::of(&content));
            assert_eq!(sent.blake3, Digest::of(&content));
        }
    }

    /// A sink without room beyond the first blocks.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_fails_fails_the_stream() {
        for length in [3 * BLOCK + 1, 20 * BLOCK] {
            let mut stream = Stream::new(Full(3 * BLOCK));
            let written = stream.write(&content(length)).and_then(|()| stream.finish().map(drop));
            assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn an_abandoned_stream_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = NamedTempFile::new_in(folder.path()).unwrap();
        let mut stream = Stream::new(file);
        stream.write(&content(6 * BLOCK)).unwrap();
        drop(stream);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
