//! Completions: the script for a shell, and the answers that it gets from this program while a user
//! types. Targets and variables come from the Buildfile of the command line so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Command;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCompleter, CompleteEnv};

use super::args::{self, Completions};
use super::{FAILURE, Failure, SUCCESS, help, print, tell};
use crate::base::Printable;
use crate::check::Python;
use crate::target::Model;
use crate::targets::{self, zip::Zip};

/// The shell for whose completions this program is started. The script of `completions` sets it.
const VARIABLE: &str = "ZIPWRIGHT_COMPLETE";

/// Arguments that take targets and `NAME=VALUE`, and those that take a zip file or a zip target.
const GOALS: [&str; 1] = ["words"];
const ZIPS: [&str; 2] = ["subject", "zip"];

/// `zipwright completions SHELL`
pub(super) fn run(completions: &Completions) -> Result<u8, Failure> {
    let shells = Shells::builtins();
    let shell = completions.shell.to_string();
    let completer =
        shells.completer(&shell).with_context(|| format!("no completions for {shell}"))?;
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "zipwright", "zipwright", "zipwright", &mut script)
        .context("could not write the script")?;
    let script = String::from_utf8(script).map_err(|_| anyhow!("BUG: a script is not UTF-8"))?;
    print(Printable::as_is(script.trim_end()))?;
    Ok(SUCCESS)
}

/// Answers a shell, if one asks. Returns the exit status, or `None` if this is an ordinary start.
pub(super) fn serve() -> Option<u8> {
    std::env::var_os(VARIABLE)?;
    let folder = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), folder.as_deref());
    match answered {
        Ok(true) => Some(SUCCESS),
        Ok(false) => None,
        Err(error) => {
            tell(error.to_string());
            Some(FAILURE)
        }
    }
}

/// The parser, with values for its arguments.
fn command() -> Command {
    let mut command = with_values(args::command());
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, with_values);
    }
    command
}

fn with_values(command: Command) -> Command {
    // `mut_arg` would move the argument behind the others.
    command.mut_args(|argument| match argument.get_id().as_str() {
        id if GOALS.contains(&id) => argument.add(ArgValueCompleter::new(goals)),
        id if ZIPS.contains(&id) => argument.add(ArgValueCompleter::new(zips)),
        "topic" => argument.add(ArgValueCompleter::new(topics)),
        "command" => argument.add(ArgValueCompleter::new(commands)),
        "runtime" => argument.add(ArgValueCompleter::new(runtimes)),
        "arch" => argument.add(ArgValueCompleter::new(archs)),
        _ => argument,
    })
}

fn commands(current: &OsStr) -> Vec<CompletionCandidate> {
    starting_with(super::COMMANDS.iter().map(CompletionCandidate::new), current)
}

fn topics(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = super::COMMANDS.iter().copied().chain(help::kinds());
    let names: BTreeSet<&str> = names.collect();
    starting_with(names.into_iter().map(CompletionCandidate::new), current)
}

fn runtimes(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = Python::known().map(|python| CompletionCandidate::new(python.to_string()));
    starting_with(names, current)
}

fn archs(current: &OsStr) -> Vec<CompletionCandidate> {
    starting_with(["arm64", "x86_64"].into_iter().map(CompletionCandidate::new), current)
}

fn goals(current: &OsStr) -> Vec<CompletionCandidate> {
    let model = model();
    let targets = model.targets.iter().map(|target| {
        let help = target.description.as_deref().unwrap_or(target.kind.name());
        CompletionCandidate::new(&target.name.value).help(Some(help.to_owned().into()))
    });
    let variables = model.vars.iter().map(|(name, value)| {
        CompletionCandidate::new(format!("{name}=")).help(Some(format!("now `{value}`").into()))
    });
    starting_with(targets.chain(variables), current)
}

fn zips(current: &OsStr) -> Vec<CompletionCandidate> {
    let model = model();
    let zips = model.targets.iter().filter(|target| target.kind.get::<Zip>().is_some());
    let zips = zips.map(|target| CompletionCandidate::new(&target.name.value));
    let mut candidates = starting_with(zips, current);
    candidates.extend(PathCompleter::file().complete(current));
    candidates
}

fn starting_with(
    candidates: impl Iterator<Item = CompletionCandidate>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    candidates
        .filter(|candidate| candidate.get_value().to_string_lossy().starts_with(&*current))
        .collect()
}

/// The Buildfile that the words of the command line name; an empty model if it cannot be read.
fn model() -> Model {
    let words: Vec<OsString> =
        std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let mut place = PathBuf::new();
    for folder in values(&words, "-C", "--directory") {
        place.push(folder);
    }
    place.push(values(&words, "-f", "--file").pop().unwrap_or_else(|| "Buildfile".into()));
    let text = std::fs::read_to_string(place).unwrap_or_default();
    targets::load(&text, &BTreeMap::new()).model
}

/// The values of an option, in all its spellings.
fn values(words: &[OsString], short: &str, long: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == short || word == long {
            values.extend(words.next().map(String::from));
        } else if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='))
        {
            values.push(value.to_owned());
        } else if let Some(value) = word.strip_prefix(short).filter(|_| !word.starts_with("--")) {
            values.push(value.to_owned());
        }
    }
    values
}
