//! SIGINT, SIGTERM and SIGHUP: all running programs receive the signal, the build starts no new
//! ones and unwinds, and finally zipwright dies of that signal, as make does.
//!
//! Programs that do not end are killed after a grace time, or at once after a second signal.
//! Anything else that delays the build, such as a connection, is not waited for.
//!
//! `watch` interrupts a build in the same way without a signal, and then goes on: see [`interrupt`].

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::process::{self, Reach};
use zipwright_store::platform;

/// The first received signal; 0 for none. Global because signals are.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Whether the current build is to end, and this process is not.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Number of the build that [`interrupt`] ends.
static BUILD: AtomicU64 = AtomicU64::new(0);

/// Milliseconds that programs have to end if that is more than [`GRACE`].
static LONGEST_GRACE: AtomicU64 = AtomicU64::new(0);

/// Called when a signal is received.
static ON_RECEIPT: Mutex<Option<Box<dyn Fn() + Send>>> = Mutex::new(None);

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Time for programs to end, and then for the build to unwind.
const GRACE: Duration = Duration::from_secs(5);

const LOCK: &str = "BUG: no holder of this lock panics";

/// Time within which several signals count as one: a terminal and an outer make may both send one,
/// and `timeout` signals the process and its group.
const ONE_INTENTION: Duration = Duration::from_millis(500);

/// Makes the three signals end the build instead of the process. A signal that was ignored at the
/// start stays ignored, which `nohup` relies on. Further calls have no effect.
pub fn install() -> io::Result<()> {
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let ignored = platform::ignored_signals();
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
                2 => process::signal_all(SIGKILL, Reach::All),
                _ => die_of(signal),
            }
        }
    });
    Ok(())
}

fn first(signal: i32) {
    RECEIVED.store(signal, Ordering::Relaxed);
    process::signal_all(SIGTERM, Reach::Build);
    if let Some(on_receipt) = &*ON_RECEIPT.lock().expect(LOCK) {
        on_receipt();
    }
    thread::spawn(move || {
        let longest = Duration::from_millis(LONGEST_GRACE.load(Ordering::Relaxed));
        thread::sleep(GRACE.max(longest));
        process::signal_all(SIGKILL, Reach::All);
        thread::sleep(GRACE);
        die_of(signal);
    });
}

/// Calls `on_receipt` when a signal is received.
pub fn on_receipt(on_receipt: impl Fn() + Send + 'static) {
    *ON_RECEIPT.lock().expect(LOCK) = Some(Box::new(on_receipt));
}

/// Gives programs at least this time to end after a signal.
pub fn grant(grace: Duration) {
    let milliseconds = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    LONGEST_GRACE.fetch_max(milliseconds, Ordering::Relaxed);
}

/// Ends the current build as a signal does, until [`resume`] is called.
pub fn interrupt() {
    let build = BUILD.load(Ordering::Relaxed);
    INTERRUPTED.store(true, Ordering::Relaxed);
    process::signal_all(SIGTERM, Reach::Build);
    thread::spawn(move || {
        thread::sleep(GRACE);
        if is_interrupted() && BUILD.load(Ordering::Relaxed) == build {
            process::signal_all(SIGKILL, Reach::Build);
        }
    });
}

/// Lets the next build start after [`interrupt`], unless a signal was received.
pub fn resume() {
    BUILD.fetch_add(1, Ordering::Relaxed);
    INTERRUPTED.store(false, Ordering::Relaxed);
    process::resume(|| received().is_none());
}

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Returns whether the current build is to end.
pub fn is_ending() -> bool {
    received().is_some() || is_interrupted()
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
