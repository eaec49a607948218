//! The threads that work on data side by side: how many, and when they start. What they do is
//! everybody's own; the jobs of a build are not theirs.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// How many cores this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Says how many threads there may be; more than cores there never are. It counts until they are
/// started.
pub fn limit(threads: usize) {
    LIMIT.store(threads, Ordering::Relaxed);
}

/// Starts the threads, unless they were started before. Call it ahead of the first work in a
/// process that may be shared: else there are as many as cores, whatever the limit.
pub fn start() {
    let threads = LIMIT.load(Ordering::Relaxed).min(cores());
    // Only the first call in a process counts, and that is how it should be.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}
