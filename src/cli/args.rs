//! What was typed. Only this file names the argument parser; [`super::options`] says what the
//! words mean.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser, Debug)]
#[command(
    name = "zipwright",
    version,
    about = "Builds AWS Lambda bundles for Python: the same lambda.zip, bit for bit, everywhere",
    override_usage = "zipwright [OPTIONS] [GOAL | NAME=VALUE]...\n       zipwright [OPTIONS] <COMMAND>",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,

    #[command(flatten)]
    pub(super) build: Build,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  zipwright                        bring the default goals up to date
  zipwright upload                 build what changed, then deploy it
  zipwright invoke function=Other  with the variable `function` set to `Other`
  zipwright -j4 -k package tests   four targets at a time, go on after a failure
  zipwright -n --trace upload      what would run, and why
  zipwright build/lambda.zip       a goal may be a path that a target makes
  zipwright explain staging        why `staging` is out of date, or that it is not
  zipwright digest package         the CodeSha256 that Lambda will report

Exit status: 0 when all is up to date; 1 with -q when something is not; 2 after any error.
The Buildfile's keys are described in docs/BUILDFILE.md.";

/// Options that every command takes.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// Read FILE instead of `Buildfile`; paths in it stay relative to the current folder
    #[arg(short = 'f', long = "file", value_name = "FILE", global = true)]
    pub(super) file: Option<PathBuf>,

    /// Change to DIR first; given again, relative to the one before
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(super) directory: Vec<PathBuf>,

    /// Print one JSON object a line on standard output, and nothing else there (docs/JSON.md)
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// When to use colour
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub(super) color: Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Args, Debug)]
pub(super) struct Build {
    /// Targets, or paths that targets make; and NAME=VALUE to set a variable of [vars]
    #[arg(value_name = "GOAL | NAME=VALUE")]
    pub(super) words: Vec<String>,

    /// Run up to N targets at once [default: the number of cores]
    #[arg(short = 'j', long = "jobs", value_name = "N")]
    pub(super) jobs: Option<usize>,

    /// Say what would run, and run nothing
    #[arg(short = 'n', long = "dry-run")]
    pub(super) dry_run: bool,

    /// Run every target, up to date or not
    #[arg(short = 'B', long = "always-make")]
    pub(super) always_make: bool,

    /// After a failure, build everything that does not need what failed
    #[arg(short = 'k', long = "keep-going")]
    pub(super) keep_going: bool,

    /// Run nothing and print nothing; exit 1 when something is out of date
    #[arg(short = 'q', long = "question")]
    pub(super) question: bool,

    /// Print nothing of zipwright's own but errors and warnings
    #[arg(short = 's', long = "silent", visible_alias = "quiet")]
    pub(super) silent: bool,

    /// Say for every target why it runs, or that it is up to date
    #[arg(long)]
    pub(super) trace: bool,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Bring goals up to date: the long form of `zipwright [GOAL]...`, for any name of a goal
    Build(Build),
    /// List the targets
    List(Words),
    /// Say which components of its key make a target out of date, or that none does
    Explain(Explain),
    /// Remove what targets made, all of them or those named, and their stamps
    Clean(Words),
    /// Print the CodeSha256 of a zip file, or of what a zip target made
    Digest(Digest),
}

#[derive(Args, Debug)]
pub(super) struct Words {
    /// Targets; and NAME=VALUE to set a variable of [vars]
    #[arg(value_name = "TARGET | NAME=VALUE")]
    pub(super) words: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Targets; and NAME=VALUE to set a variable of [vars]
    #[arg(value_name = "TARGET | NAME=VALUE", required = true)]
    pub(super) words: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Digest {
    /// A zip file, or a zip target
    #[arg(value_name = "FILE | TARGET")]
    pub(super) subject: String,
}
