//! The `command` kind: runs a program, or a shell script, over declared inputs and outputs.
//!
//! A declared output that was not made is an error. If the command fails, the outputs that it
//! changed are removed; if it writes the same bytes as before, an output keeps its mtime.

mod outputs;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::outputs::Outputs;
use crate::base::{Printable, RelPath};
use crate::buildfile::table::{Item, Reader, Table, boolean, entries, in_order, members, text};
use crate::buildfile::{mistakes, value};
use crate::diagnostic::Spanned;
use crate::files::Content;
use crate::glob::Glob;
use crate::key::{Key, Value};
use crate::process::{self, Invocation};
use crate::target::{Declared, Done, Findings, Fingerprint, Input, Job, Kind};

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
}

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

pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Command> {
    let action = action(table, reader);
    let inputs = table.many("inputs", reader, value::glob);
    let outputs = table.many("outputs", reader, value::output);
    let env = table.optional("env", reader, env).unwrap_or_default();
    let directory = table.optional("directory", reader, value::path);
    let phony = table.optional("phony", reader, boolean).unwrap_or(false);
    let terminal = table.optional("terminal", reader, boolean).unwrap_or(false);
    Some(Command {
        action: action?,
        inputs: inputs.into(),
        outputs: outputs.into(),
        env,
        directory: directory.map_or_else(RelPath::root, |path| path.value),
        phony,
        terminal,
    })
}

fn action(table: &mut Table, reader: &mut Reader) -> Option<Action> {
    let run = table.take("run");
    let shell = table.take("shell");
    if let (Some(run), Some(shell)) = (run, shell) {
        let (first, second) = if run.start < shell.start { (run, shell) } else { (shell, run) };
        let keys = ["run", "shell"];
        let (second, first) = (second.span(), first.span());
        reader.report(mistakes::only_one_of(&second, &first, keys, table.owner()));
    }
    if run.is_none() && shell.is_none() {
        reader.report(mistakes::missing_either(table.span(), ["run", "shell"], table.owner()));
    }
    let run = run.and_then(|item| {
        let arguments = members(item, reader, text)?;
        if arguments.first().is_none_or(String::is_empty) {
            let hint = "give a program and its arguments, as in `[\"make\", \"-j4\"]`";
            reader.report(mistakes::empty(&item.span(), "`run`", hint));
            return None;
        }
        Some(Action::Run(arguments.iter().collect()))
    });
    let shell = shell.and_then(|item| {
        let script = value::filled(item, reader, "give a script for `/bin/sh -c`")?;
        Some(Action::Shell(script.value))
    });
    run.or(shell)
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
        return Err(error);
    }
    Ok(Done::default())
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
        if self.phony {
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

    fn takes_terminal(&self) -> bool {
        self.terminal
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}
