//! Handlers of local functions that stay warm between the rounds of a watch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::base::Digest;
use crate::local::Function;

/// The warm functions by the names of their targets, each with a digest of everything that it was
/// started from.
#[derive(Default)]
pub struct Handlers(Mutex<BTreeMap<String, (Digest, Function)>>);

impl Handlers {
    /// Takes the function of a target if it was started from the same; it ends with the build again.
    /// Another one is ended.
    pub fn take(&self, target: &str, origin: Digest) -> Option<Function> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
        let (_, function) = kept.filter(|(kept, _)| *kept == origin)?;
        function.set_lasting(false);
        Some(function)
    }

    /// Keeps the function of a target, which outlasts the build from now on.
    pub fn keep(&self, target: &str, origin: Digest, function: Function) {
        function.set_lasting(true);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(target.to_owned(), (origin, function));
    }
}
