//! The conditions around the run of a target: `require` before it, `until` after it. The engine
//! checks them; kinds do not know them.

use std::time::Duration;

use serde_json::Value;

use super::{Action, Facts, Target};

#[derive(Clone, Debug, Default)]
pub struct Guards {
    pub require: Box<[Require]>,
    pub until: Option<Until>,
}

/// A command that must succeed before the target runs.
#[derive(Clone, Debug)]
pub struct Require {
    pub action: Action,
    /// Shown if it fails.
    pub message: Option<Box<str>>,
    pub timeout: Duration,
}

/// A command that is repeated after the run until it succeeds.
#[derive(Clone, Debug)]
pub struct Until {
    pub action: Action,
    /// Time between two attempts.
    pub every: Duration,
    /// Time for all attempts.
    pub timeout: Duration,
    /// Shown if it never succeeds.
    pub message: Option<Box<str>>,
}

impl Target {
    pub fn require(&self) -> &[Require] {
        self.guards.as_deref().map_or(&[], |guards| &guards.require)
    }

    /// Returns the commands of its guards as facts of a target that would run: `require`, an array of
    /// texts, unless only its wait is resumed, and `until`, a text.
    pub fn guards_in_words(&self, is_resumed: bool) -> Facts {
        let text = |action: &Action| Value::from(action.to_string());
        let require = self.require().iter().filter(|_| !is_resumed);
        let require: Vec<Value> = require.map(|require| text(&require.action)).collect();
        let require = (!require.is_empty()).then(|| ("require".to_owned(), require.into()));
        let until = self.until().map(|until| ("until".to_owned(), text(&until.action)));
        require.into_iter().chain(until).collect()
    }

    pub fn until(&self) -> Option<&Until> {
        self.guards.as_deref()?.until.as_ref()
    }
}
