//! One run of the program of a guard or of a wait: its end, and the last lines that it printed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;

use super::World;
use crate::files::View;
use crate::process::{self, TooLong};
use crate::target::{Action, Surroundings, Target};
use zipwright_store::RelPath;

/// Most lines of a program that an error shows, and most characters of one.
const LINES: usize = 20;
const CHARACTERS: usize = 500;

/// A program that ended.
pub(super) struct Attempt {
    /// How it failed; `None` if it succeeded.
    pub(super) failure: Option<String>,
    /// Whether it ended by itself.
    pub(super) in_time: bool,
    /// Its last lines, from both streams.
    pub(super) words: VecDeque<String>,
}

impl Attempt {
    /// Runs `action` of `target`, and ends it after `limit`. Fails if it cannot be started.
    pub(super) fn run(
        world: World,
        target: &Target,
        action: &Action,
        limit: Duration,
        surroundings: &Surroundings,
    ) -> Result<Self> {
        let view = View::unlogged(world.files, world.project);
        let (root, none) = (RelPath::root(), BTreeMap::new());
        let (directory, own) = target.kind.environment().unwrap_or((&root, &none));
        let mut invocation = action.invocation(directory, world.project, &view)?;
        let env = surroundings.env.iter().map(|(name, value)| (name, value));
        for (name, value) in env.chain(own) {
            invocation = invocation.env(name, value);
        }
        invocation.limit = Some(limit);
        let words = Mutex::new(VecDeque::new());
        let status = invocation.stream(&|_, line| {
            let mut words = words.lock().expect("BUG: no holder of this lock panics");
            if words.len() == LINES {
                words.pop_front();
            }
            words.push_back(line.chars().take(CHARACTERS).collect());
        });
        let words = words.into_inner().expect("BUG: as above");
        let mut in_time = true;
        let failure = match status {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("`{action}` ended with {}", process::describe(status))),
            Err(error) => match error.downcast::<TooLong>() {
                Ok(too_long) => {
                    in_time = false;
                    Some(format!("`{action}` {too_long}"))
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self { failure, in_time, words })
    }

    /// Returns the text of an error: `first`, then the last lines.
    pub(super) fn with_words(&self, first: &str) -> String {
        self.words.iter().fold(first.to_owned(), |text, line| format!("{text}\n{line}"))
    }
}
