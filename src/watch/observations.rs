//! The tracker, shared by the threads of a watch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Tracker;
use crate::files::Observed;

/// A tracker, and the observations that it has not taken over yet. A comparison runs on the pool for
/// data-parallel work, and the threads of that pool add observations: they must not wait for it.
pub struct Observations {
    tracker: Mutex<Tracker>,
    added: Mutex<Vec<Observed>>,
}

impl Observations {
    pub fn new(tracker: Tracker) -> Self {
        Self { tracker: Mutex::new(tracker), added: Mutex::default() }
    }

    /// Adds observations of the round, without waiting for a comparison.
    pub fn add(&self, observed: Observed) {
        self.added().push(observed);
    }

    /// Returns the tracker, with all observations. Threads of the pool must not call this.
    pub fn tracker(&self) -> MutexGuard<'_, Tracker> {
        let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
        let added = std::mem::take(&mut *self.added());
        added.iter().for_each(|observed| tracker.add(observed));
        tracker
    }

    fn added(&self) -> MutexGuard<'_, Vec<Observed>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
