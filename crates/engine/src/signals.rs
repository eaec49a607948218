//! SIGINT, SIGTERM and SIGHUP: all running programs receive the signal, the build starts no new
//! ones and unwinds, and finally zipwright dies of that signal, as make does.
//!
//! Programs that do not end are killed after a grace time, or at once after a second signal.
//! Anything else that delays the build, such as a connection, is not waited for.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::process;

/// The first received signal; 0 for none. Global because signals are.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Time for programs to end, and then for the build to unwind.
const GRACE: Duration = Duration::from_secs(5);

/// Time within which several signals count as one: a terminal and an outer make may both send one,
/// and `timeout` signals the process and its group.
const ONE_INTENTION: Duration = Duration::from_millis(500);

/// Makes the three signals end the build instead of the process. A signal that was ignored at the
/// start stays ignored, which `nohup` relies on.
pub fn install() -> io::Result<()> {
    let ignored = ignored();
    let heeded = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !ignored.contains(signal));
    let mut signals = Signals::new(heeded)?;
    thread::spawn(move || {
        let (mut count, mut last) = (0, Instant::now());
        for signal in signals.forever() {
            if count > 0 && last.elapsed() < ONE_INTENTION {
                continue;
            }
            (count, last) = (count + 1, Instant::now());
            match count {
                1 => first(signal),
                2 => process::signal_all(SIGKILL),
                _ => die_of(signal),
            }
        }
    });
    Ok(())
}

fn first(signal: i32) {
    RECEIVED.store(signal, Ordering::Relaxed);
    process::signal_all(SIGTERM);
    thread::spawn(move || {
        thread::sleep(GRACE);
        process::signal_all(SIGKILL);
        thread::sleep(GRACE);
        die_of(signal);
    });
}

/// Returns the signals that were ignored at the start of this process, if the system reports them.
fn ignored() -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
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
