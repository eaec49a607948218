//! The margin for differences between the clocks of file systems.

use std::sync::atomic::{AtomicI64, Ordering};

/// Nanoseconds. Global because clocks are; changed only by tests.
static MARGIN: AtomicI64 = AtomicI64::new(3_000_000_000);

/// Returns the least age, in nanoseconds, of the times of a file outside the project before its
/// stat data is trusted: its file system's clock may differ from ours, and tick only every two
/// seconds (FAT).
pub fn margin() -> i64 {
    MARGIN.load(Ordering::Relaxed)
}

/// Sets the margin, for tests on one file system that would otherwise wait for it.
pub fn set_margin(nanoseconds: i64) {
    MARGIN.store(nanoseconds, Ordering::Relaxed);
}
