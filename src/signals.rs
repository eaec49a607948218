//! SIGINT, SIGTERM and SIGHUP: every running program is told to end, the build stops starting
//! new ones and unwinds, and at the very end zipwright dies of that signal, as make does.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::process;

/// The first signal that came; 0 for none. Global because signals are.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// From now on the three signals end the build instead of the process.
pub fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = RECEIVED.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
            process::signal_all(SIGTERM);
        }
    });
    Ok(())
}

pub fn received() -> Option<i32> {
    match RECEIVED.load(Ordering::Relaxed) {
        0 => None,
        signal => Some(signal),
    }
}

/// Ends this process by `signal`. Returns only if the system refuses.
pub fn die_of(signal: i32) {
    let _ = low_level::emulate_default_handler(signal);
}
