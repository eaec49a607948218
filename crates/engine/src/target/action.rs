//! The program of a command, a guard or a wait: a list of words, or a script for the shell.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::files::View;
use crate::process::Invocation;
use zipwright_store::RelPath;
use zipwright_store::project::Project;

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A program and its arguments; never empty.
    Run(Words),
    /// Given to `/bin/sh -c`.
    Shell(String),
}

/// A list of words in one piece of memory, each with its length in front (as netstrings are): a
/// Buildfile may have fifty thousand such lists.
#[derive(Clone, PartialEq)]
pub struct Words(Box<str>);

impl Words {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, words) = rest.split_once(':')?;
            let (word, after) = words.split_at(length.parse().ok()?);
            rest = after;
            Some(word)
        })
    }
}

impl<W: AsRef<str>> FromIterator<W> for Words {
    fn from_iter<T: IntoIterator<Item = W>>(words: T) -> Self {
        let mut text = String::new();
        for word in words {
            let word = word.as_ref();
            text.push_str(&word.len().to_string());
            text.push(':');
            text.push_str(word);
        }
        Self(text.into())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Writes the command line as typed in a shell.
impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |word: &str| {
            !word.is_empty()
                && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c))
        };
        for (at, word) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            match plain(word) {
                true => write!(f, "{space}{word}")?,
                false => write!(f, "{space}'{}'", word.replace('\'', r"'\''"))?,
            }
        }
        Ok(())
    }
}

/// Writes the command line, or the script without the space around it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(words) => words.fmt(f),
            Self::Shell(script) => f.write_str(script.trim()),
        }
    }
}

impl Action {
    /// Returns the program to run. One with a `/` is relative to `directory`, as after `cd`.
    pub fn program(&self, directory: &RelPath, project: &Project, files: &View) -> Result<PathBuf> {
        let word = match self {
            Self::Run(words) => words.iter().next().context("`run` is empty")?,
            Self::Shell(_) => "/bin/sh",
        };
        let word = match word.contains('/') {
            true => project.place(directory).join(word).to_string_lossy().into_owned(),
            false => word.to_owned(),
        };
        files.program(&word).with_context(|| {
            format!("there is no program `{word}`; is it installed, executable and on PATH?")
        })
    }

    /// Returns the invocation of the program in `directory`. Fails if there is no such program.
    pub fn invocation(
        &self,
        directory: &RelPath,
        project: &Project,
        files: &View,
    ) -> Result<Invocation> {
        let program = self.program(directory, project, files)?;
        let invocation = Invocation::new(program, project.place(directory));
        Ok(match self {
            Self::Run(words) => invocation.args(words.iter().skip(1)),
            Self::Shell(script) => invocation.args(["-c", script]),
        })
    }
}
