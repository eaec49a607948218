//! How far the clocks of file systems may be apart.

use std::sync::atomic::{AtomicI64, Ordering};

/// Nanoseconds. Global because clocks are; changed only by tests.
static MARGIN: AtomicI64 = AtomicI64::new(3_000_000_000);

/// Returns how much older than now, in nanoseconds, the times of a file outside the project must be
/// before its stat data is relied on: its file system's clock may differ from ours, and tick only
/// every two seconds (FAT).
pub fn margin() -> i64 {
    MARGIN.load(Ordering::Relaxed)
}

/// Sets the margin, for tests on one file system that would otherwise wait for it.
pub fn set_margin(nanoseconds: i64) {
    MARGIN.store(nanoseconds, Ordering::Relaxed);
}
