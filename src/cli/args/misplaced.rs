//! Options of builds before a command.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use super::{Build, Cli, Command};

/// Returns the error if an option of builds is before a command, where it would have no effect.
pub(in crate::cli) fn misplaced(matches: &ArgMatches, cli: &Cli) -> Option<String> {
    let command = matches.subcommand_name()?;
    if matches!(&cli.command, Some(Command::Check(check)) if check.subject.is_none()) {
        // A goal of this name.
        return None;
    }
    let options = Build::augment_args(clap::Command::new("build"));
    let is_given = |arg: &&clap::Arg| {
        matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let option = options.get_arguments().find(is_given)?;
    let shown = match (option.get_short(), option.get_long()) {
        (Some(short), _) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => return Some(format!("a goal cannot be before the command `{command}`")),
    };
    Some(match cli.command {
        Some(Command::Build(_) | Command::Watch(_)) => {
            format!("write `{shown}` behind `{command}`: before it, it would have no effect")
        }
        _ => format!("`{shown}` is an option of builds, and `{command}` is not one: leave it out"),
    })
}
