//! Options of the commands that set a project up.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Args, Debug)]
pub(in crate::cli) struct Init {
    /// Print the Buildfile on standard output, and write nothing
    #[arg(long)]
    pub(in crate::cli) print: bool,

    /// The function's handler, such as lambda_handler.handler
    #[arg(long, value_name = "MODULE.FUNCTION")]
    pub(in crate::cli) handler: Option<String>,

    /// The function's name in Lambda
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) function: Option<String>,

    /// Lambda's name of the runtime, such as python3.13
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) runtime: Option<String>,

    /// arm64 or x86_64
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) arch: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// The Makefile [default: the one that make reads]
    #[arg(value_name = "MAKEFILE")]
    pub(in crate::cli) makefile: Option<PathBuf>,

    /// Print the Buildfile on standard output, and write nothing
    #[arg(long, conflicts_with = "compare")]
    pub(in crate::cli) print: bool,

    /// Build each zip in two copies of the project, by make and by zipwright, and print differences;
    /// exit 1 if there are any
    #[arg(long)]
    pub(in crate::cli) compare: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Lock {
    /// A wheelhouse [default: the only one with requirements]; NAME=VALUE sets a variable of [vars]
    #[arg(value_name = "WHEELHOUSE | NAME=VALUE")]
    pub(in crate::cli) words: Vec<String>,

    /// The file: pylock.toml or pylock.NAME.toml
    #[arg(short, long, value_name = "FILE", default_value = "pylock.toml")]
    pub(in crate::cli) output: PathBuf,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Lint {
    /// Buildfiles [default: the one of this folder]
    #[arg(value_name = "FILE")]
    pub(in crate::cli) files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Schema {
    /// Write it to .zipwright/buildfile.schema.json, where a Buildfile of `init` refers to it
    #[arg(long)]
    pub(in crate::cli) write: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Unpack {
    /// A zip file, or a zip target, which is built first
    #[arg(value_name = "ZIP | TARGET")]
    pub(in crate::cli) subject: String,

    /// The folder; created if it does not exist
    #[arg(value_name = "DIR")]
    pub(in crate::cli) folder: PathBuf,

    /// Replace files that have other content
    #[arg(long)]
    pub(in crate::cli) force: bool,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(in crate::cli) shell: Shell,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Man {
    /// A command [default: the page of zipwright itself]
    #[arg(value_name = "COMMAND")]
    pub(in crate::cli) command: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Help {
    /// A command, or a kind of target
    #[arg(value_name = "COMMAND | KIND")]
    pub(in crate::cli) topic: Option<String>,
}
