//! The `command` kind: runs a program, or a shell script, over declared inputs and outputs.
//!
//! A declared output that was not made is an error. If the command fails, the outputs that it
//! changed are removed; if it writes the same bytes as before, an output keeps its mtime.

mod outputs;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::outputs::Outputs;
use super::{Done, Job};
use crate::base::{Printable, RelPath};
use crate::buildfile::model::{Action, Command, Output, Words};
use crate::files::Content;
use crate::key::{Key, Value};
use crate::process::{self, Invocation};

pub(super) fn key(command: &Command, job: &Job) -> Result<Key> {
    let Command { action, inputs, outputs, env, directory, phony, terminal: _ } = command;
    let mut key = Key::new();
    match action {
        Action::Run(words) => key.text("run", quote(words)),
        Action::Shell(script) => key.text("shell", script),
    }
    key.text("directory", directory);
    // A program that is built in this build counts as an input only if it is declared as one.
    if let Ok(program) = program(command, job)
        && !program.starts_with(&job.project.root)
    {
        key.push("program", Value::Digest(job.files.external(&program)?));
    }
    for (name, value) in env {
        key.text(format!("env {name}"), value);
    }
    for output in outputs {
        key.text(format!("output {}", output.value), "declared");
    }
    key.text("phony", phony);
    let own = job.target.outputs();
    let mut seen = std::collections::HashSet::new();
    for input in inputs {
        for path in job.files.matches(&input.value)? {
            if own.iter().any(|output| *output.path() == path) || !seen.insert(path.clone()) {
                continue;
            }
            if job.files.fact(&path)?.content == Content::Missing {
                bail!(
                    "input `{path}` does not exist and no target makes it: create it, or remove \
                     it from `inputs`"
                );
            }
            job.add_file(&mut key, &path)?;
            job.add_stamp(&mut key, &path);
        }
    }
    Ok(key)
}

pub(super) fn run(command: &Command, job: &Job) -> Result<Done> {
    let places = Outputs::clear(command, job)?;
    let result = execute(command, job).and_then(|()| places.check());
    for path in command.outputs.iter().map(|path| &path.value) {
        job.files.forget(path);
    }
    if let Err(error) = result.and_then(|()| places.keep()) {
        places.take_back()?;
        return Err(error);
    }
    let outputs = command.outputs.iter().map(|path| Output::File(path.value.clone())).collect();
    Ok(Done { outputs, ..Done::default() })
}

fn execute(command: &Command, job: &Job) -> Result<()> {
    let directory = job.project.place(&command.directory);
    let mut invocation = Invocation::new(program(command, job)?, directory);
    invocation = match &command.action {
        Action::Run(words) => invocation.args(words.iter().skip(1)),
        Action::Shell(script) => invocation.args(["-c", script]),
    };
    let env = job.surroundings.env.iter().map(|(name, value)| (name, value));
    for (name, value) in env.chain(&command.env) {
        invocation = invocation.env(name, value);
    }
    let status = if command.terminal && job.surroundings.terminal {
        invocation.on_terminal()?
    } else {
        invocation.stream(&|stream, line| job.messages.line(stream, Printable::as_is(line)))?
    };
    if !status.success() {
        let shown = match &command.action {
            Action::Run(words) => quote(words),
            Action::Shell(script) => script.trim().to_owned(),
        };
        bail!("`{shown}` ended with {}", process::describe(status));
    }
    Ok(())
}

/// Returns the program to run. One with a `/` is relative to the command's folder, as after `cd`.
fn program(command: &Command, job: &Job) -> Result<PathBuf> {
    let word = match &command.action {
        Action::Run(words) => words.iter().next().context("`run` is empty")?,
        Action::Shell(_) => "/bin/sh",
    };
    let word = match word.contains('/') {
        true => job.project.place(&command.directory).join(word).to_string_lossy().into_owned(),
        false => word.to_owned(),
    };
    job.files.program(&word).with_context(|| {
        format!("there is no program `{word}`; is it installed, executable and on PATH?")
    })
}

/// Returns the command line as typed in a shell.
fn quote(words: &Words) -> String {
    let plain = |word: &str| {
        !word.is_empty()
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c))
    };
    let quoted: Vec<String> = words
        .iter()
        .map(|word| {
            if plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
        })
        .collect();
    quoted.join(" ")
}

impl Job<'_> {
    /// Adds the digest of the work that an empty stamp among the inputs stands for.
    fn add_stamp(&self, key: &mut Key, path: &RelPath) {
        for (name, result) in self.results {
            let target = self.model.target(name);
            let stamp = target.and_then(|target| target.stamp.as_ref());
            if stamp.is_some_and(|stamp| stamp.value == *path) {
                key.push(format!("stamp of {name}"), Value::Digest(*result));
            }
        }
    }
}
