//! The `command` kind: runs a program, or a shell script, over declared inputs and outputs.
//!
//! A declared output that was not made is an error. If the command fails, the outputs that it
//! changed are removed; if it writes the same bytes as before, an output keeps its mtime.

mod outputs;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use self::outputs::Outputs;
pub use self::service::Service;
use crate::base::{Printable, RelPath};
use crate::buildfile::table::{Item, Reader, Table, boolean, entries, in_order, text};
use crate::buildfile::{guards, mistakes, value};
use crate::diagnostic::Spanned;
use crate::files::Content;
use crate::glob::Glob;
use crate::key::{Key, Reason, Value};
use crate::process::{self, Invocation, TooLong};
use crate::target::{Action, Declared, Done, Findings, Fingerprint, Input, Job, Kind};

#[derive(Clone, Debug)]
pub struct Command {
    pub action: Action,
    pub inputs: Box<[Spanned<Glob>]>,
    pub outputs: Box<[Spanned<RelPath>]>,
    pub env: BTreeMap<String, String>,
    pub directory: RelPath,
    /// Always runs.
    pub phony: bool,
    /// Runs alone, with the terminal as its own where there is one.
    pub terminal: bool,
    /// It is ended after this time.
    pub timeout: Option<Duration>,
    /// `None` for a command that runs to its end.
    pub service: Option<Service>,
}

pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Command> {
    let action = guards::action(table, reader);
    let inputs = table.many("inputs", reader, value::glob);
    let outputs = table.many("outputs", reader, value::output);
    let env = table.optional("env", reader, env).unwrap_or_default();
    let directory = table.optional("directory", reader, value::path);
    let phony = table.optional("phony", reader, boolean).unwrap_or(false);
    let terminal = table.optional("terminal", reader, boolean).unwrap_or(false);
    let timeout = table.optional("timeout", reader, value::duration);
    let service = service::read(table, reader);
    Some(Command {
        action: action?,
        inputs: inputs.into(),
        outputs: outputs.into(),
        env,
        directory: directory.map_or_else(RelPath::root, |path| path.value),
        phony,
        terminal,
        timeout,
        service,
    })
}

pub(super) fn env(item: Item, reader: &mut Reader) -> Option<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    for (span, name, item) in in_order(entries(item, reader)?) {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control()) {
            reader.report(mistakes::bad_environment_name(&span, name));
        }
        if let Some(value) = text(item, reader) {
            env.insert(name.to_owned(), value);
        }
    }
    Some(env)
}

fn key(command: &Command, job: &Job) -> Result<Key> {
    let Command { action, inputs, outputs, env, directory, phony, .. } = command;
    let mut key = Key::new();
    match action {
        Action::Run(words) => key.text("run", words),
        Action::Shell(script) => key.text("shell", script),
    }
    key.text("directory", directory);
    // A program that is built in this build counts as an input only if it is declared as one.
    if let Ok(program) = action.program(directory, job.project, job.files)
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
            add_stamp(&mut key, &path, job);
        }
    }
    Ok(key)
}

fn run(command: &Command, job: &Job) -> Result<Done> {
    let places = Outputs::clear(command, job)?;
    let result = execute(command, job).and_then(|()| places.check());
    places.look_anew();
    if let Err(error) = result.and_then(|()| places.keep()) {
        places.take_back()?;
        job.owned.writes(&BTreeSet::new())?;
        return Err(error);
    }
    Ok(Done::default())
}

fn execute(command: &Command, job: &Job) -> Result<()> {
    let mut invocation = invocation(command, job)?;
    invocation.limit = command.timeout;
    let status = if command.terminal && job.surroundings.terminal {
        invocation.on_terminal()
    } else {
        invocation.stream(&|stream, line| job.messages.line(stream, Printable::as_is(line)))
    };
    let status = status.map_err(|error| match error.downcast::<TooLong>() {
        Ok(too_long) => anyhow!("`{}` {too_long}", command.action),
        Err(error) => error,
    })?;
    if !status.success() {
        bail!("`{}` ended with {}", command.action, process::describe(status));
    }
    Ok(())
}

/// Returns the program to run, with its environment.
fn invocation(command: &Command, job: &Job) -> Result<Invocation> {
    let mut invocation = command.action.invocation(&command.directory, job.project, job.files)?;
    let env = job.surroundings.env.iter().map(|(name, value)| (name, value));
    for (name, value) in env.chain(&command.env) {
        invocation = invocation.env(name, value);
    }
    Ok(invocation)
}

/// Adds the digest of the work that an empty stamp among the inputs stands for.
fn add_stamp(key: &mut Key, path: &RelPath, job: &Job) {
    for (name, result) in job.results {
        let target = job.model.target(name);
        let stamp = target.and_then(|target| target.stamp.as_ref());
        if stamp.is_some_and(|stamp| stamp.value == *path) {
            key.push(format!("stamp of {name}"), Value::Digest(*result));
        }
    }
}

impl Kind for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        self.inputs.iter().map(Input::Glob).collect()
    }

    fn outputs(&self) -> Vec<Declared<'_>> {
        self.outputs.iter().map(Declared::file).collect()
    }

    fn no_stamp(&self) -> Option<&'static str> {
        if self.service.is_some() {
            Some("a service runs under `watch` only")
        } else if self.phony {
            Some("with `phony = true` it always runs as a goal or a need")
        } else if self.outputs.len() == 1 {
            Some("depend on its one output instead")
        } else {
            None
        }
    }

    fn is_phony(&self) -> bool {
        self.phony
    }

    fn runs_program(&self) -> bool {
        true
    }

    fn environment(&self) -> Option<(&RelPath, &BTreeMap<String, String>)> {
        Some((&self.directory, &self.env))
    }

    fn takes_terminal(&self) -> bool {
        self.terminal
    }

    fn is_service(&self) -> bool {
        self.service.is_some()
    }

    fn restarts(&self, job: &Job, key: &Key) -> Option<Vec<Reason>> {
        service::restarts(self.service.as_ref()?, job, key)
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        match &self.service {
            Some(service) => service::run(service, self, job),
            None => run(self, job),
        }
    }
}
