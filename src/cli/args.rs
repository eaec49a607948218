//! Command-line arguments. Only this file and [`super::main`] name the argument parser.

mod cache;
mod history;
mod misplaced;
mod setup;
mod spelling;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use words::EXAMPLES;

pub(super) use cache::{Cache, CacheAction};
pub(super) use history::History;
pub(super) use misplaced::misplaced;
pub(super) use setup::{Completions, Help, Import, Init, Lint, Lock, Man, Schema, Unpack};
pub(super) use spelling::as_make_reads;
pub(super) use words::OVERVIEW;

use crate::buildfile::value;

#[derive(Parser, Debug)]
#[command(
    name = "zipwright",
    version,
    disable_version_flag = true,
    args_override_self = true,
    about = "Builds AWS Lambda bundles for Python: the same lambda.zip, bit for bit, everywhere",
    override_usage = "zipwright [OPTIONS] [GOAL | NAME=VALUE]...\n       zipwright [OPTIONS] <COMMAND>",
    override_help = OVERVIEW,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,

    #[command(flatten)]
    pub(super) build: Build,

    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    pub(super) version: Option<bool>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options that every command takes.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// Read FILE instead of `Buildfile`; paths in it stay relative to the current folder
    #[arg(short = 'f', long = "file", value_name = "FILE", global = true)]
    pub(super) file: Option<PathBuf>,

    /// Change to DIR first; given again, relative to the one before
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(super) directory: Vec<PathBuf>,

    /// Print JSON on standard output, one object per line, and no other text (docs/JSON.md)
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Write no annotations, summary and outputs for GitHub Actions (docs/CI.md)
    #[arg(long, global = true)]
    pub(super) no_github: bool,

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

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Build {
    /// Targets, or paths of their outputs; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "GOAL | NAME=VALUE")]
    pub(super) words: Vec<String>,

    /// Run up to N targets at once; no limit without N [default: number of cores]
    #[arg(
        short = 'j',
        long = "jobs",
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = UNLIMITED,
        value_parser = parse_jobs
    )]
    pub(super) jobs: Option<usize>,

    /// Print what would run, without running it
    #[arg(short = 'n', long = "dry-run", visible_alias = "just-print", alias = "recon")]
    pub(super) dry_run: bool,

    /// Run and print nothing; exit 1 if something is out of date
    #[arg(short = 'q', long = "question")]
    pub(super) question: bool,

    /// Mark targets as up to date: touch their outputs instead of running them
    #[arg(short = 't', long = "touch")]
    pub(super) touch: bool,

    /// Run every target, even if it is up to date
    #[arg(short = 'B', long = "always-make")]
    pub(super) always_make: bool,

    /// Run the targets that depend on FILE as if FILE had just changed
    #[arg(
        short = 'W',
        long = "what-if",
        value_name = "FILE",
        visible_alias = "assume-new",
        alias = "new-file"
    )]
    pub(super) what_if: Vec<String>,

    /// Do not build FILE, and ignore changes of it
    #[arg(short = 'o', long = "old-file", value_name = "FILE", visible_alias = "assume-old")]
    pub(super) old_file: Vec<String>,

    /// After a failure, build everything that does not depend on the failed target
    #[arg(short = 'k', long = "keep-going", overrides_with = "stop")]
    pub(super) keep_going: bool,

    /// Start no further target after a failure (the default; overrides -k)
    #[arg(
        short = 'S',
        long = "no-keep-going",
        id = "stop",
        visible_alias = "stop",
        overrides_with = "keep_going"
    )]
    pub(super) no_keep_going: bool,

    /// Ignore failures of targets, as if they had succeeded
    #[arg(short = 'i', long = "ignore-errors")]
    pub(super) ignore_errors: bool,

    /// Start no further target while the load average is LOAD or more; no limit without LOAD
    #[arg(
        short = 'l',
        long = "load-average",
        value_name = "LOAD",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "inf",
        alias = "max-load"
    )]
    pub(super) load_average: Option<f64>,

    /// Start ready targets in another order: random, by SEED, `reverse`, or `none`
    #[arg(
        long,
        value_name = "SEED",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "random"
    )]
    pub(super) shuffle: Option<String>,

    /// How to separate the output of targets that run at once [default: target]
    #[arg(
        short = 'O',
        long = "output-sync",
        value_name = "TYPE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "target"
    )]
    pub(super) output_sync: Option<OutputSync>,

    /// Variables of the environment override those of [vars]
    #[arg(short = 'e', long = "environment-overrides")]
    pub(super) environment_overrides: bool,

    /// Print only the output of targets, errors and warnings
    #[arg(short = 's', long = "silent", visible_alias = "quiet", overrides_with = "no_silent")]
    pub(super) silent: bool,

    /// Override -s
    #[arg(long, overrides_with = "silent")]
    pub(super) no_silent: bool,

    /// Remove files in the way of outputs that zipwright did not make, or that were changed since
    #[arg(long)]
    pub(super) force: bool,

    /// Fail instead of waiting if another build is running in this project
    #[arg(long)]
    pub(super) no_wait: bool,

    /// Print for every target why it runs, or that it is up to date
    #[arg(long, short = 'd')]
    pub(super) trace: bool,

    /// Same as --trace, for compatibility with make; FLAGS are ignored
    #[arg(
        long,
        value_name = "FLAGS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "basic",
        overrides_with = "debug"
    )]
    pub(super) debug: Option<String>,

    /// Write the timings of the build, as a page and a trace, to FILE.html and FILE.json [default:
    /// .zipwright/timings]
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".zipwright/timings"
    )]
    pub(super) timings: Option<PathBuf>,

    /// Print the folder on entering and leaving it (the default with -C and below another make)
    #[arg(short = 'w', long = "print-directory", overrides_with = "no_print_directory")]
    pub(super) print_directory: bool,

    /// Override -w and its default
    #[arg(long, overrides_with = "print_directory")]
    pub(super) no_print_directory: bool,

    /// No effect: zipwright has no built-in rules and variables, and ignores make's -b and -m
    #[arg(short = 'r', short_aliases = ['R', 'b', 'm'], alias = "no-builtin-rules", hide = true)]
    pub(super) no_meaning: bool,

    #[command(flatten)]
    pub(super) uploading: Uploading,

    #[command(flatten)]
    pub(super) invoking: Invoking,
}

/// Options for the uploads that goals depend on.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Options for upload targets")]
pub(super) struct Uploading {
    /// Refuse to upload any zip but the one with this CodeSha256, or SHA-256 in hexadecimal
    #[arg(long, value_name = "DIGEST")]
    pub(super) digest: Option<String>,
}

/// Options for goals that are invoke targets.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Options for invoke targets")]
pub(super) struct Invoking {
    /// Run the handler on this machine from the bundle, and upload nothing
    #[arg(long)]
    pub(super) local: bool,

    /// Call the function with this payload: a file, JSON, or `-` for standard input; may be
    /// repeated
    #[arg(long, value_name = "FILE | JSON | -")]
    pub(super) payload: Vec<String>,

    /// Make the calls N times; a local function stays warm between them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) repeat: Option<u32>,

    /// Call this version or alias
    #[arg(long, value_name = "VERSION | ALIAS", conflicts_with = "local")]
    pub(super) qualifier: Option<String>,

    /// Set a variable for a local handler; without VALUE, to its value in this environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputSync {
    /// Lines as they arrive
    None,
    /// Whole lines; same as `none`, which never splits lines
    Line,
    /// The lines of a target together
    Target,
    /// Same as `target`
    Recurse,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Bring goals up to date, like `zipwright [GOAL]...`, for goals of any name
    #[command(args_override_self = true)]
    Build(Box<Build>),
    /// Bring goals up to date, and again whenever something changes that they observed; run services
    #[command(args_override_self = true)]
    Watch(Box<Watch>),
    /// List the targets
    List(Words),
    /// Print the fingerprint components that make a target out of date
    Explain(Explain),
    /// Draw the graph of targets, of the goals or of all
    Graph(Graph),
    /// Remove outputs and stamps, of all targets or the given ones
    Clean(Clean),
    /// Print the CodeSha256 of a zip file, or of a zip target's output
    Digest(Digest),
    /// Check whether a bundle will run in Lambda: exit 0, 1 if not, 2 if it cannot be checked
    Check(Check),
    /// Explain why two bundles, wheels or folders differ; exit 1 if they do
    Diff(Diff),
    /// Compare the deployed code with this project's build; exit 1 if it differs
    Verify(Verify),
    /// Deploy an existing zip, identified by digest, without building
    Promote(Promote),
    /// Print the bill of materials of a zip from its build record: CycloneDX 1.6
    Sbom(Paper),
    /// Print the provenance of a zip from its build record: in-toto statement, SLSA, unsigned
    Provenance(Paper),
    /// Write a pylock.toml with exactly the wheels of a wheelhouse
    Lock(Lock),
    /// Print in which release each file was added and last changed
    History(History),
    /// Build zips twice from nothing under different conditions, and explain differences
    Reproduce(Words),
    /// Show the per-user cache: its folder and size; remove entries from it
    Cache(Cache),
    /// Print a line that changes when the wheels of goals would, for the cache of a CI service
    CacheKey(Words),
    /// Print the JSON Schema of Buildfiles, for editors
    Schema(Schema),
    /// Unpack a zip, or the zip of a target that is built first, into a folder
    Unpack(Unpack),
    /// Build a zip for Terraform: the program of a `data "external"`
    Terraform,
    /// Report every mistake of Buildfiles, without building
    Lint(Lint),
    /// Write a Buildfile for this project
    Init(Init),
    /// Write a Buildfile from a Makefile
    Import(Import),
    /// Print completions for a shell
    Completions(Completions),
    /// Print a manual page
    Man(Man),
    /// Print the help of a command, or the page of a kind of target
    Help(Help),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Watch {
    /// Start a round once nothing has changed for this time
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration)]
    pub(super) settle: Duration,

    /// Compare all observed paths in this interval, for file systems without events such as network
    /// and container mounts [default: 1s]
    #[arg(
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        value_parser = parse_duration
    )]
    pub(super) poll: Option<Duration>,

    #[command(flatten)]
    pub(super) build: Build,
}

/// Options of a build that have no meaning for `watch`, and are an error there.
pub(super) const NOT_WATCHED: [&str; 7] =
    ["dry_run", "question", "touch", "always_make", "what_if", "old_file", "timings"];

/// The parser, with examples for each command.
pub(super) fn command() -> clap::Command {
    let hide = |command: clap::Command, name| command.mut_arg(name, |arg| arg.hide(true));
    // The file of the program may have another name.
    let command = Cli::command().bin_name("zipwright");
    let command =
        command.mut_subcommand("watch", |watch| NOT_WATCHED.into_iter().fold(watch, hide));
    EXAMPLES.into_iter().fold(command, |command, (name, examples)| {
        command.mut_subcommand(name, |command| command.after_help(format!("Examples:\n{examples}")))
    })
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Upload targets [default: all]; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "UPLOAD | NAME=VALUE")]
    pub(super) words: Vec<String>,

    /// Download the deployed code, and print how it differs
    #[arg(long)]
    pub(super) diff: bool,
}

#[derive(Args, Debug)]
pub(super) struct Promote {
    /// A zip file, or a zip target whose existing output is used
    #[arg(value_name = "ZIP")]
    pub(super) zip: String,

    /// The CodeSha256 that the zip must have, or its SHA-256 in hexadecimal
    #[arg(long, value_name = "DIGEST")]
    pub(super) digest: String,

    /// Name or ARN of a function; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    pub(super) function: Vec<String>,

    /// Take credentials and region from this profile of ~/.aws/config
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,

    /// Upload through this S3 bucket if the zip exceeds Lambda's request limit
    #[arg(long, value_name = "BUCKET[/PREFIX]")]
    pub(super) s3: Option<String>,

    /// Whether Lambda copies the object in the bucket, or refers to it
    #[arg(long, value_name = "WAY", value_enum, requires = "s3", default_value_t = S3Storage::Copy)]
    pub(super) s3_storage: S3Storage,

    /// Encrypt the zip in Lambda with this KMS key
    #[arg(long, value_name = "ARN")]
    pub(super) kms_key: Option<String>,

    /// Publish a version
    #[arg(long)]
    pub(super) publish: bool,

    /// Publish a version and point this alias at it
    #[arg(long, value_name = "NAME")]
    pub(super) alias: Option<String>,

    /// Ignore this rule of the check (docs/CHECK.md); may be repeated
    #[arg(long, value_name = "RULE")]
    pub(super) silence: Vec<String>,
}

/// The use of an object in a bucket by Lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum S3Storage {
    Copy,
    Reference,
}

#[derive(Args, Debug)]
pub(super) struct Paper {
    /// A zip file, or a zip target [default: the only one]
    #[arg(value_name = "FILE | TARGET")]
    pub(super) subject: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Diff {
    /// A zip, a wheel, a folder, or any file
    pub(super) a: PathBuf,

    /// The other zip, wheel, folder or file
    pub(super) b: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Words {
    /// Targets; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "TARGET | NAME=VALUE")]
    pub(super) words: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Clean {
    /// Targets; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "TARGET | NAME=VALUE")]
    pub(super) words: Vec<String>,

    /// Also remove files that zipwright did not make, or that were changed since
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Targets; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "TARGET | NAME=VALUE", required = true)]
    pub(super) words: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Graph {
    /// Targets; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "GOAL | NAME=VALUE")]
    pub(super) words: Vec<String>,

    /// Output for Graphviz, for Markdown, or for programs
    #[arg(long, value_name = "FORMAT", default_value = "dot")]
    pub(super) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    Dot,
    Mermaid,
    Json,
}

#[derive(Args, Debug)]
pub(super) struct Digest {
    /// A zip file, or a zip target
    #[arg(value_name = "FILE | TARGET")]
    pub(super) subject: String,
}

#[derive(Args, Debug)]
pub(super) struct Check {
    /// A zip file, a zip target, or a check target, which has the other settings itself; without
    /// it, the goal named `check`, as with make
    #[arg(value_name = "FILE | TARGET")]
    pub(super) subject: Option<String>,

    /// Lambda's name of the runtime, such as python3.13
    #[arg(long, value_name = "NAME")]
    pub(super) runtime: Option<String>,

    /// arm64 or x86_64
    #[arg(long, value_name = "NAME")]
    pub(super) arch: Option<String>,

    /// A layer of the function, as a zip; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) layer: Vec<String>,

    /// The function's handler, such as lambda_handler.handler
    #[arg(long, value_name = "MODULE.FUNCTION")]
    pub(super) handler: Option<String>,

    /// Ignore this rule (docs/CHECK.md); may be repeated
    #[arg(long, value_name = "RULE")]
    pub(super) silence: Vec<String>,
}

/// The value of `-j` without a number.
const UNLIMITED: &str = "unlimited";

/// Parses a number of jobs; 0 is an error because it would mean no limit.
fn parse_jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        _ if text == UNLIMITED => Ok(0),
        Ok(jobs @ 1..) => Ok(jobs),
        _ => Err("it takes a number from 1 up".into()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = "it takes a number and a unit, as in 50ms or 2s";
    value::parse_duration(text).filter(|time| !time.is_zero()).ok_or_else(|| hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_has_no_contradictions() {
        command().debug_assert();
    }
}
