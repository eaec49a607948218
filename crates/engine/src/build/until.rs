//! The wait of a target for the command of its `until`, on the thread of its run.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::World;
use super::attempt::Attempt;
use crate::signals;
use crate::target::{Job, Until};
use zipwright_store::words;

/// Interval in which a wait looks for signals.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Repeats the command of `until` until it succeeds. Fails at its time-out, at a signal, and if the
/// command cannot be started.
pub(super) fn wait(world: World, job: &Job, until: &Until) -> Result<()> {
    let Until { action, every, timeout, message } = until;
    let started = Instant::now();
    let left = || timeout.saturating_sub(started.elapsed());
    job.messages.status(&format!("waits until `{action}` succeeds"));
    let mut last: Option<Attempt> = None;
    while last.is_none() || !left().is_zero() {
        let attempt = Attempt::run(world, job.target, action, left(), job.surroundings);
        if signals::is_ending() {
            bail!(
                "interrupted while it waited until `{action}` succeeds\n\
                 its run succeeded: the next build only goes on waiting"
            );
        }
        let attempt = attempt?;
        if attempt.failure.is_none() {
            return Ok(());
        }
        if let Some(line) = attempt.words.back() {
            job.messages.status(&format!("waits until `{action}` succeeds: {line}"));
        }
        // One that is cut off at the end has less to tell than the one before it.
        if attempt.in_time || last.is_none() {
            last = Some(attempt);
        }
        sleep(left().min(*every));
    }
    let limit = words::duration(*timeout);
    let message = message.as_ref().map_or(String::new(), |message| format!("{message}\n"));
    let last = last.map_or_else(String::new, |last| {
        let failure = last.failure.as_deref().unwrap_or_default();
        last.with_words(&format!("the last attempt: {failure}"))
    });
    bail!(
        "{message}its run succeeded, but `{action}` did not within {limit}; the next build runs it \
         again\n{last}"
    )
}

/// Returns after `time`, or at a signal.
fn sleep(time: Duration) {
    let started = Instant::now();
    while !signals::is_ending() && started.elapsed() < time {
        thread::sleep(LOOK_AGAIN.min(time.saturating_sub(started.elapsed())));
    }
}
