//! A scenario: rules, and the steps in the project, with the result that each must have.

use super::rules::{Rules, words};

pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) folders: Vec<(String, Rules)>,
    pub(super) steps: Vec<Step>,
}

pub(super) enum Step {
    Run(Invocation),
    Write {
        path: String,
        text: String,
    },
    Remove(String),
    Touch(String),
    /// A new text, and a time before that of everything else.
    Backdate {
        path: String,
        text: String,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    Rename {
        from: String,
        to: String,
    },
    /// Other rules from here on.
    Rewrite(Rules),
}

pub(super) struct Invocation {
    /// Flags, goals and variables, as typed. `%file%` is `Makefile` or `Buildfile`.
    pub(super) words: Vec<String>,
    /// A variable of the environment.
    pub(super) env: Option<(String, String)>,
    /// Sent once a file named `started` exists.
    pub(super) signal: Option<i32>,
    pub(super) expected: Expected,
}

pub(super) enum Expected {
    /// The same as make, with any result.
    Same,
    /// The same as make, with this result.
    Both(Seen),
    /// Intentionally different from make.
    Differs { because: &'static str, make: Seen, zipwright: Seen },
}

/// The expected result of an invocation. `None` accepts any value.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Exit status; negative for a signal.
    pub(super) end: i32,
    /// Targets whose command ran, or with `-n` would run.
    pub(super) ran: Option<Vec<String>>,
    /// Content of files afterwards; `None` for files that must not exist.
    pub(super) files: Vec<(String, Option<String>)>,
    /// All output, of both streams.
    pub(super) says: Option<String>,
}

/// Expects success with these commands.
pub(super) fn ran(names: &str) -> Seen {
    ends(0).ran(names)
}

pub(super) fn ends(end: i32) -> Seen {
    Seen { end, ..Seen::default() }
}

impl Seen {
    pub(super) fn ran(mut self, names: &str) -> Self {
        self.ran = Some(words(names));
        self
    }

    pub(super) fn leaves(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.into(), Some(text.into())));
        self
    }

    pub(super) fn lacks(mut self, path: &str) -> Self {
        self.files.push((path.into(), None));
        self
    }

    pub(super) fn says(mut self, text: &str) -> Self {
        self.says = Some(text.into());
        self
    }
}

pub(super) fn scenario(name: impl Into<String>, rules: &Rules) -> Scenario {
    let folders = vec![(String::new(), rules.clone())];
    Scenario { name: name.into(), folders, steps: Vec::new() }
}

impl Scenario {
    /// Adds rules in a folder below; a name that does not end in `/` is a prefix of the file's
    /// name.
    pub(super) fn folder(mut self, folder: &str, rules: &Rules) -> Self {
        self.folders.push((folder.into(), rules.clone()));
        self
    }

    pub(super) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Writes a new or changed file.
    pub(super) fn write(self, path: &str, text: &str) -> Self {
        self.step(Step::Write { path: path.into(), text: text.into() })
    }

    /// Writes several files, each with its own path as its text.
    pub(super) fn sources(self, paths: &str) -> Self {
        words(paths).iter().fold(self, |scenario, path| scenario.write(path, path))
    }

    pub(super) fn remove(self, path: &str) -> Self {
        self.step(Step::Remove(path.into()))
    }

    pub(super) fn touch(self, path: &str) -> Self {
        self.step(Step::Touch(path.into()))
    }

    pub(super) fn backdate(self, path: &str, text: &str) -> Self {
        self.step(Step::Backdate { path: path.into(), text: text.into() })
    }

    pub(super) fn chmod(self, path: &str, mode: u32) -> Self {
        self.step(Step::Chmod { path: path.into(), mode })
    }

    pub(super) fn rename(self, from: &str, to: &str) -> Self {
        self.step(Step::Rename { from: from.into(), to: to.into() })
    }

    pub(super) fn rewrite(self, rules: &Rules) -> Self {
        self.step(Step::Rewrite(rules.clone()))
    }

    /// Expects the same from both tools.
    pub(super) fn same(self, words: &str) -> Self {
        self.invoke(words, Expected::Same)
    }

    /// Expects this from both tools.
    pub(super) fn run(self, words: &str, seen: Seen) -> Self {
        self.invoke(words, Expected::Both(seen))
    }

    pub(super) fn differs(
        self,
        words: &str,
        because: &'static str,
        make: Seen,
        zipwright: Seen,
    ) -> Self {
        self.invoke(words, Expected::Differs { because, make, zipwright })
    }

    fn invoke(self, line: &str, expected: Expected) -> Self {
        self.step(Step::Run(Invocation { words: words(line), env: None, signal: None, expected }))
    }

    /// Sets a variable of the environment for the previous invocation.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.last().env = Some((name.into(), value.into()));
        self
    }

    /// Sends a signal during the previous invocation, as soon as a recipe has made `started`.
    pub(super) fn signal(mut self, signal: i32) -> Self {
        self.last().signal = Some(signal);
        self
    }

    fn last(&mut self) -> &mut Invocation {
        match self.steps.last_mut() {
            Some(Step::Run(invocation)) => invocation,
            _ => panic!("`{}`: there is no invocation before", self.name),
        }
    }
}
