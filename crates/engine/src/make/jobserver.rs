//! Job slots shared with other programs: with the make that started this process, or with the
//! programs that it starts.
//!
//! Every process has one slot of its own; each further job takes a byte out of the shared pipe and
//! puts the same byte back at its end. A [`Pool`] counts jobs and moves bytes.
//!
//! Slots are returned when a [`Token`] is dropped, which covers errors and panics, and by
//! [`Pool::close`], for a process that is about to die by a signal. After `kill -9` the slots are
//! lost: the outer build continues with fewer, as with any client, and GNU make reports it at its
//! end.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use super::flags::Auth;
use super::wire::{self, Wire};

/// The job slots that this process draws from.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    /// Started by the first request.
    waiter: Mutex<Option<JoinHandle<()>>>,
}

/// Permission to run one job. Dropping it frees the slot.
#[must_use]
#[derive(Debug)]
pub struct Token {
    shared: Arc<Shared>,
}

type Deliver = Box<dyn FnOnce(Token) + Send>;

#[derive(Debug)]
struct Shared {
    source: Source,
    state: Mutex<State>,
    /// A byte written to one end wakes the waiter at the other.
    waker: UnixStream,
    woken: UnixStream,
}

#[derive(Debug)]
enum Source {
    /// Not shared.
    Limit(usize),
    Wire(Wire),
}

/// Invariant: the number of bytes held is that of jobs beyond the first, until the pool is closed.
#[derive(Default)]
struct State {
    running: usize,
    bytes: Vec<u8>,
    requests: VecDeque<Deliver>,
    /// No more slots are handed out.
    closed: bool,
    /// The pipe failed: only this process's own slot is left.
    broken: bool,
}

impl Pool {
    /// Takes slots of the outer make. Call it before this process opens pipes of its own.
    pub fn client(auth: &Auth) -> Result<Self> {
        Self::new(Source::Wire(Wire::connect(auth)?))
    }

    /// Returns slots for `jobs` jobs, of this process and the programs it starts together. They go
    /// through an inherited pipe, which every make understands; makes before 4.4 stop at the name of
    /// a named pipe.
    pub fn server(jobs: usize) -> Result<Self> {
        Self::new(Source::Wire(Wire::pipe(jobs.saturating_sub(1))?))
    }

    /// Like [`Pool::server`], by a named pipe that is created at `path`, which must not exist: for
    /// children that close inherited descriptors, as Python does, or support no other form, as
    /// ninja.
    pub fn fifo_server(path: &Path, jobs: usize) -> Result<Self> {
        Self::new(Source::Wire(Wire::fifo(path, jobs.saturating_sub(1))?))
    }

    /// Returns slots for `jobs` jobs of this process only; `usize::MAX` means no limit.
    pub fn private(jobs: usize) -> Result<Self> {
        Self::new(Source::Limit(jobs))
    }

    fn new(source: Source) -> Result<Self> {
        let what = "could not create the sockets that job slots are waited for with";
        let (waker, woken) = UnixStream::pair().context(what)?;
        waker.set_nonblocking(true).context(what)?;
        woken.set_nonblocking(true).context(what)?;
        let shared = Shared { source, state: Mutex::default(), waker, woken };
        Ok(Self { shared: Arc::new(shared), waiter: Mutex::default() })
    }

    /// Returns the words by which children share these slots; `None` if they cannot.
    pub fn auth(&self) -> Option<&Auth> {
        match &self.shared.source {
            Source::Limit(_) => None,
            Source::Wire(wire) => Some(wire.auth()),
        }
    }

    /// Returns a slot if one is free now. If no job runs, one always is.
    pub fn try_acquire(&self) -> Option<Token> {
        Shared::try_acquire(&self.shared)
    }

    /// Calls `deliver` from another thread as soon as a slot is free, or never if the pool is closed or
    /// dropped before. Requests are served in order.
    pub fn request(&self, deliver: impl FnOnce(Token) + Send + 'static) -> Result<()> {
        let mut waiter = self.waiter.lock().expect("BUG: no holder of this lock panics");
        if waiter.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("job slots".into());
            let started = thread.spawn(move || shared.serve());
            *waiter = Some(started.context("could not start a thread to wait for job slots")?);
        }
        let mut state = self.shared.lock();
        if !state.closed {
            state.requests.push_back(Box::new(deliver));
        }
        drop(state);
        self.shared.wake();
        Ok(())
    }

    /// Gives every slot back now, including those of live tokens, and hands out no more: for the moment
    /// before this process ends by a signal, when its jobs have been ended.
    pub fn close(&self) {
        self.shared.refuse();
        for byte in mem::take(&mut self.shared.lock().bytes) {
            self.shared.give(byte);
        }
    }
}

impl Drop for Pool {
    /// Ends the waiting; live tokens stay valid.
    fn drop(&mut self) {
        self.shared.refuse();
        let waiter = self.waiter.get_mut().ok().and_then(Option::take);
        // The request that last owned the pool is dropped on the waiter itself.
        if let Some(waiter) = waiter.filter(|waiter| waiter.thread().id() != thread::current().id())
        {
            // The waiter panics only if a `deliver` did, which has been reported.
            let _ = waiter.join();
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running -= 1;
        // Bytes are interchangeable; the process's own slot is freed last.
        if let Some(byte) = state.bytes.pop() {
            self.shared.give(byte);
        }
        let wanted = !state.requests.is_empty();
        drop(state);
        if wanted {
            self.shared.wake();
        }
    }
}

impl Shared {
    fn try_acquire(shared: &Arc<Self>) -> Option<Token> {
        let mut state = shared.lock();
        if state.closed {
            return None;
        }
        if state.running > 0 {
            match &shared.source {
                Source::Limit(jobs) if state.running < *jobs => {}
                Source::Limit(_) => return None,
                Source::Wire(_) if state.broken => return None,
                Source::Wire(wire) => match wire.take() {
                    Ok(byte) => state.bytes.push(byte?),
                    Err(_) => {
                        state.broken = true;
                        return None;
                    }
                },
            }
        }
        state.running += 1;
        Some(Token { shared: Arc::clone(shared) })
    }

    /// The loop of the waiter.
    fn serve(self: Arc<Self>) {
        loop {
            self.forget_wakes();
            let state = self.lock();
            if state.closed {
                return;
            }
            let (wanted, broken) = (!state.requests.is_empty(), state.broken);
            drop(state);
            if wanted && let Some(token) = Self::try_acquire(&self) {
                let request = self.lock().requests.pop_front();
                if let Some(deliver) = request {
                    deliver(token);
                }
                continue;
            }
            match &self.source {
                Source::Wire(wire) if wanted && !broken => {
                    wire::wait(&[self.woken.as_fd(), wire.slots()]);
                }
                _ => wire::wait(&[self.woken.as_fd()]),
            }
        }
    }

    /// Hands out no more slots.
    fn refuse(&self) {
        let mut state = self.lock();
        state.closed = true;
        let unserved = mem::take(&mut state.requests);
        drop(state);
        // Without the lock: a request may hold a token.
        drop(unserved);
        self.wake();
    }

    fn give(&self, byte: u8) {
        if let Source::Wire(wire) = &self.source {
            // A pipe that takes no byte is full of slots, or has no readers any more.
            let _ = wire.give(byte);
        }
    }

    fn wake(&self) {
        // If the socket is full, the waiter has been woken often enough.
        let _ = (&self.waker).write(&[0]);
    }

    fn forget_wakes(&self) {
        let mut bytes = [0; 64];
        while (&self.woken).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BUG: no holder of this lock panics")
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("running", &self.running).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, PipeWriter};
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::io::{FdFlags, fcntl_setfd};

    /// The pipe of an outer make, with distinguishable slots.
    struct Outer {
        read: PipeReader,
        write: PipeWriter,
    }

    impl Outer {
        fn new(slots: &[u8]) -> Self {
            let (read, mut write) = std::io::pipe().unwrap();
            fcntl_setfd(&read, FdFlags::empty()).unwrap();
            fcntl_setfd(&write, FdFlags::empty()).unwrap();
            write.write_all(slots).unwrap();
            Self { read, write }
        }

        fn auth(&self) -> Auth {
            Auth::Pipe { read: self.read.as_raw_fd(), write: self.write.as_raw_fd() }
        }

        fn pool(&self) -> Pool {
            Pool::client(&self.auth()).unwrap()
        }

        /// Empties the pipe. Returns its bytes, sorted.
        fn slots(self) -> Vec<u8> {
            let Self { mut read, write } = self;
            drop(write);
            let mut slots = Vec::new();
            read.read_to_end(&mut slots).unwrap();
            slots.sort_unstable();
            slots
        }
    }

    fn acquire_all(pool: &Pool) -> Vec<Token> {
        std::iter::from_fn(|| pool.try_acquire()).collect()
    }

    const SOON: Duration = Duration::from_secs(20);
    const NEVER: Duration = Duration::from_millis(50);

    #[test]
    fn one_slot_is_our_own_and_the_same_bytes_go_back() {
        let outer = Outer::new(b"abc");
        let pool = outer.pool();
        let tokens = acquire_all(&pool);
        assert_eq!(tokens.len(), 4);
        drop(tokens);
        drop(pool);
        assert_eq!(outer.slots(), b"abc");
    }

    #[test]
    fn the_slot_of_our_own_is_the_last_to_be_free() {
        let outer = Outer::new(b"a");
        let pool = outer.pool();
        let first = pool.try_acquire().unwrap();
        let second = pool.try_acquire().unwrap();
        drop(first);
        let others = outer.pool();
        assert_eq!(acquire_all(&others).len(), 2, "the shared slot is free for others");
        drop((second, others, pool));
        assert_eq!(outer.slots(), b"a");
    }

    #[test]
    fn an_error_or_a_panic_gives_its_slot_back() {
        let outer = Outer::new(b"ab");
        let pool = Arc::new(outer.pool());
        let (one, two) = (pool.try_acquire(), pool.try_acquire());
        let panicking = thread::spawn(move || {
            let _held = (one, two);
            panic!("a job that fails on purpose");
        });
        assert!(panicking.join().is_err());
        assert_eq!(acquire_all(&pool).len(), 3);
        drop(pool);
        assert_eq!(outer.slots(), b"ab");
    }

    #[test]
    fn a_request_waits_for_a_slot() {
        let outer = Outer::new(b"");
        let pool = outer.pool();
        let (sender, receiver) = mpsc::channel();
        let ask = || {
            let sender = sender.clone();
            pool.request(move |token| drop(sender.send(token))).unwrap();
        };
        ask();
        let own = receiver.recv_timeout(SOON).unwrap();
        ask();
        assert!(receiver.recv_timeout(NEVER).is_err());
        (&outer.write).write_all(b"x").unwrap();
        let shared = receiver.recv_timeout(SOON).expect("a slot that another process gave back");
        ask();
        assert!(receiver.recv_timeout(NEVER).is_err());
        drop(own);
        drop(receiver.recv_timeout(SOON).expect("a slot that a job of ours gave back"));
        drop((shared, pool));
        assert_eq!(outer.slots(), b"x");
    }

    #[test]
    fn a_dropped_pool_serves_no_request_and_loses_no_slot() {
        let outer = Outer::new(b"");
        let pool = outer.pool();
        let own = pool.try_acquire();
        let (sender, receiver) = mpsc::channel();
        for _ in 0..3 {
            let sender = sender.clone();
            pool.request(move |token| drop(sender.send(token))).unwrap();
        }
        drop((pool, sender));
        (&outer.write).write_all(b"x").unwrap();
        assert!(receiver.recv().is_err(), "the requests are gone, and their senders");
        drop(own);
        assert_eq!(outer.slots(), b"x");
    }

    #[test]
    fn a_token_in_a_channel_that_nobody_reads_goes_back() {
        let outer = Outer::new(b"x");
        let pool = outer.pool();
        let own = pool.try_acquire();
        let (sender, receiver) = mpsc::channel();
        let (delivered, seen) = mpsc::channel();
        pool.request(move |token| {
            sender.send(token).unwrap();
            delivered.send(()).unwrap();
        })
        .unwrap();
        seen.recv_timeout(SOON).unwrap();
        drop((receiver, own, pool));
        assert_eq!(outer.slots(), b"x");
    }

    #[test]
    fn a_closed_pool_has_given_everything_back_once() {
        let outer = Outer::new(b"abc");
        let pool = outer.pool();
        let tokens = acquire_all(&pool);
        pool.close();
        assert!(pool.try_acquire().is_none());
        pool.request(|_| panic!("BUG: served after the close")).unwrap();
        drop((tokens, pool));
        assert_eq!(outer.slots(), b"abc");
    }

    #[test]
    fn the_shared_pipe_still_blocks_those_who_want_it_to() {
        let outer = Outer::new(b"a");
        let _pool = outer.pool();
        for flags in [rustix::fs::fcntl_getfl(&outer.read), rustix::fs::fcntl_getfl(&outer.write)] {
            assert!(!flags.unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        }
    }

    #[test]
    fn a_named_pipe_serves_as_well_and_goes_with_its_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job slots");
        let server = Pool::fifo_server(&path, 3).unwrap();
        let client = Pool::client(server.auth().unwrap()).unwrap();
        let (ours, theirs) = (server.try_acquire(), acquire_all(&client));
        assert_eq!(theirs.len(), 3, "two shared slots and its own");
        assert!(server.try_acquire().is_none());
        drop(theirs);
        assert_eq!(acquire_all(&server).len(), 2);
        drop(ours);
        assert!(Pool::fifo_server(&path, 3).is_err(), "the path is taken");
        drop(server);
        assert!(!path.exists());
        assert!(Pool::client(&Auth::Fifo(path.to_str().unwrap().into())).is_err());
        std::fs::write(&path, "").unwrap();
        assert!(Pool::client(&Auth::Fifo(path.to_str().unwrap().into())).is_err());
    }

    #[test]
    fn a_private_pool_counts() {
        let pool = Pool::private(2).unwrap();
        assert_eq!(pool.auth(), None);
        let tokens = acquire_all(&pool);
        assert_eq!(tokens.len(), 2);
        let (sender, receiver) = mpsc::channel();
        pool.request(move |token| drop(sender.send(token))).unwrap();
        assert!(receiver.recv_timeout(NEVER).is_err());
        drop(tokens);
        drop(receiver.recv_timeout(SOON).unwrap());
        assert_eq!(acquire_all(&Pool::private(0).unwrap()).len(), 1);
    }

    #[test]
    fn many_who_want_the_same_slots_lose_none() {
        let outer = Outer::new(b"abcde");
        thread::scope(|scope| {
            for _ in 0..4 {
                let pool = outer.pool();
                scope.spawn(move || {
                    let (sender, receiver) = mpsc::channel();
                    for _ in 0..200 {
                        let sender = sender.clone();
                        pool.request(move |token| drop(sender.send(token))).unwrap();
                    }
                    receiver.iter().take(200).for_each(drop);
                });
            }
        });
        assert_eq!(outer.slots(), b"abcde");
    }
}
