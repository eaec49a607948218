//! The command line: from arguments to a build, and from its result to an exit status.

mod args;
mod bug;
mod build;
mod cache;
mod cache_key;
mod check;
mod clean;
mod complete;
mod deployed;
mod diff;
mod digest;
mod discreet;
mod explain;
mod graph;
mod help;
mod history;
mod import;
mod init;
mod invoking;
mod lint;
mod list;
mod lock;
mod documents;
mod promote;
mod reproduce;
mod schema;
mod session;
mod makeflags;
mod terraform;
mod unpack;
mod uploading;
mod verify;
mod watch;

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::FromArgMatches;
use clap::error::ErrorKind as ClapError;
use serde_json::Value;
use signal_hook::consts::SIGPIPE;

use args::{Build, Cli, Color, Command, Common};

use crate::base::Printable;
use crate::project::Project;
use crate::ui::github::Runner;
use crate::{record, signals, ui};

/// Everything is up to date.
const SUCCESS: u8 = 0;
/// `-q`: something is out of date.
const OUT_OF_DATE: u8 = 1;
/// `check`: the bundle will not run.
const FAULTY: u8 = 1;
/// `diff`, `import --compare`, `reproduce`, `verify`: not identical.
const DIFFERENT: u8 = 1;
/// Any error.
const FAILURE: u8 = 2;

/// Names of the commands, for hints.
const COMMANDS: &[&str] = &[
    "build",
    "watch",
    "list",
    "explain",
    "graph",
    "clean",
    "digest",
    "check",
    "diff",
    "verify",
    "promote",
    "lock",
    "sbom",
    "provenance",
    "reproduce",
    "history",
    "lint",
    "init",
    "import",
    "completions",
    "man",
    "help",
    "cache",
    "cache-key",
    "schema",
    "unpack",
    "terraform",
];

/// The reason why a command ended early.
#[derive(Debug)]
enum Failure {
    Error(anyhow::Error),
    /// A complete text for standard error.
    Told(Printable),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    bug::end_at_a_panic();
    if let Some(code) = complete::serve() {
        return ExitCode::from(code);
    }
    let mut command = args::command();
    let parsed = command.try_get_matches_from_mut(args::as_make_reads(std::env::args_os()));
    let parsed = parsed.and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((args::misplaced(&matches, &cli), cli))
    });
    let cli = match parsed.map_err(|error| error.format(&mut command)) {
        Ok((None, cli)) => cli,
        Ok((Some(error), _)) => return ExitCode::from(failed(&anyhow!(error))),
        Err(error) => return usage(&error),
    };
    let code = match run(&cli) {
        Ok(code) => code,
        Err(Failure::Told(text)) => {
            tell(text);
            FAILURE
        }
        Err(Failure::Error(error)) => failed(&error),
    };
    let code = if ui::output_lost() { FAILURE } else { code };
    if let Some(signal) = signals::received() {
        signals::die_of(signal);
    }
    ExitCode::from(code)
}

/// Reports an error. If the reader of standard output is gone, this process dies by SIGPIPE
/// instead, as other programs do.
fn failed(error: &anyhow::Error) -> u8 {
    if error.is::<ReaderGone>() {
        signals::die_of(SIGPIPE);
    } else {
        tell(format!("error: {error:#}"));
    }
    FAILURE
}

fn run(cli: &Cli) -> Result<u8, Failure> {
    let common = &cli.common;
    for directory in &common.directory {
        std::env::set_current_dir(directory)
            .with_context(|| format!("could not change to `{}`", directory.display()))?;
    }
    match &cli.command {
        None => build::run(common, &cli.build),
        Some(Command::Build(build)) => build::run(common, build),
        Some(Command::Watch(options)) => watch::run(common, options),
        Some(Command::List(words)) => list::run(common, words),
        Some(Command::Explain(explain)) => explain::run(common, explain),
        Some(Command::Graph(graph)) => graph::run(common, graph),
        Some(Command::Clean(words)) => clean::run(common, words),
        Some(Command::Digest(digest)) => digest::run(common, digest),
        Some(Command::Check(check)) => match &check.subject {
            Some(subject) => check::run(common, check, subject),
            // Many projects have a goal of this name, and users of make type it.
            None => build::run(common, &Build { words: vec!["check".into()], ..cli.build.clone() }),
        },
        Some(Command::Diff(diff)) => diff::run(common, diff),
        Some(Command::Verify(verify)) => verify::run(common, verify),
        Some(Command::Promote(promote)) => promote::run(common, promote),
        Some(Command::Sbom(paper)) => documents::run(common, paper, record::sbom),
        Some(Command::Provenance(paper)) => documents::run(common, paper, record::provenance),
        Some(Command::History(history)) => history::run(common, history),
        Some(Command::Reproduce(words)) => reproduce::run(common, words),
        Some(Command::Lock(lock)) => lock::run(common, lock),
        Some(Command::Lint(lint)) => lint::run(common, lint),
        Some(Command::Init(init)) => init::run(common, init),
        Some(Command::Import(import)) => import::run(common, import),
        Some(Command::Completions(completions)) => complete::run(completions),
        Some(Command::Man(man)) => help::man(man),
        Some(Command::Help(help)) => help::run(help),
        Some(Command::Cache(cache)) => cache::run(common, cache),
        Some(Command::CacheKey(words)) => cache_key::run(common, words),
        Some(Command::Schema(schema)) => schema::run(common, schema),
        Some(Command::Unpack(unpack)) => unpack::run(common, unpack),
        Some(Command::Terraform) => terraform::run(common),
    }
}

/// Prints help, the version, or the error for an unknown argument; returns the exit status.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    ExitCode::from(match error.kind() {
        ClapError::DisplayHelp | ClapError::DisplayVersion => match printed {
            Ok(()) => SUCCESS,
            Err(error) => failed(&unwritten(error)),
        },
        _ => FAILURE,
    })
}

/// Returns whether text on standard error may be coloured.
fn color(common: &Common) -> bool {
    match common.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
                && io::stderr().is_terminal()
        }
    }
}

/// Returns the runner of GitHub Actions if this process was started by one and may write for it.
fn github(common: &Common, project: &Project) -> Option<Runner> {
    Runner::of(project).filter(|_| !common.no_github)
}

fn warn(text: &str) {
    tell(format!("warning: {text}"));
}

fn note(text: &str) {
    tell(format!("note: {text}"));
}

/// Prints a text on standard error. If that fails, there is no reader.
fn tell(text: impl Into<Printable>) {
    let _ = writeln!(io::stderr(), "{}", text.into());
}

/// Writes the result of a command to standard output. A JSON text is made printable by
/// [`Printable::json`], so that it stays one.
fn print(text: impl Into<Printable>) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", text.into()).and_then(|()| stdout.flush()).map_err(unwritten)
}

/// Writes a JSON value in one line.
fn print_json(value: &Value) -> anyhow::Result<()> {
    print(Printable::json(&value.to_string()))
}

fn unwritten(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("could not write to standard output"),
    }
}

/// The reader of standard output is gone.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reader of standard output is gone")
    }
}

impl std::error::Error for ReaderGone {}
