//! The thread pool for data-parallel work: its size, and its start. Jobs of a build have threads of
//! their own.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Returns the number of cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Limits the number of threads, which never exceeds that of cores. Has no effect once they are
/// started.
pub fn limit(threads: usize) {
    LIMIT.store(threads, Ordering::Relaxed);
}

/// Starts the threads unless they run already. Call it before the first parallel work; otherwise
/// there are as many threads as cores, without regard to the limit.
pub fn start() {
    let threads = LIMIT.load(Ordering::Relaxed).min(cores());
    // Only the first call in a process has an effect, as intended.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}
