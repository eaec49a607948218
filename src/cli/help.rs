//! `zipwright help`: the overview, the options and examples of a command, the page of a kind.

use anyhow::anyhow;
use clap::Command;

use super::args::{self, Help, Man};
use super::{Failure, SUCCESS, print};
use crate::base::{Printable, words};
use crate::json_schema::manual;
use crate::targets::KINDS;

pub(super) fn run(help: &Help) -> Result<u8, Failure> {
    let Some(topic) = &help.topic else {
        print(Printable::as_is(args::OVERVIEW.trim_end()))?;
        return Ok(SUCCESS);
    };
    let command = find(topic).map(|mut command| command.render_long_help().to_string());
    let page =
        section(topic).map(|text| format!("The kind `{topic}`, from docs/BUILDFILE.md:\n\n{text}"));
    if command.is_none() && page.is_none() {
        return Err(unknown(topic).into());
    }
    let parts: Vec<String> = [command, page].into_iter().flatten().collect();
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    print(Printable::as_is(parts.join("\n\n")))?;
    Ok(SUCCESS)
}

/// `zipwright man [COMMAND]`: a manual page, in roff.
pub(super) fn man(man: &Man) -> Result<u8, Failure> {
    let command = match &man.command {
        None => args::command(),
        Some(name) => find(name).ok_or_else(|| no_manual(name))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| anyhow!("could not write the page: {error}"))?;
    print(Printable::as_is(String::from_utf8_lossy(&page).trim_end()))?;
    Ok(SUCCESS)
}

/// A command, called as it is typed.
fn find(name: &str) -> Option<Command> {
    let mut root = args::command();
    root.build();
    let command = root.find_subcommand(name)?.clone();
    Some(command.display_name(format!("zipwright-{name}")).bin_name(format!("zipwright {name}")))
}

/// The section of a kind, without its heading.
fn section(kind: &str) -> Option<&'static str> {
    kinds().find(|known| *known == kind).and_then(manual::section)
}

fn unknown(topic: &str) -> anyhow::Error {
    let known = super::COMMANDS.iter().copied().chain(kinds());
    match words::nearest(topic, known) {
        Some(near) => anyhow!("there is no help on `{topic}`; did you mean `{near}`?"),
        None => anyhow!(
            "there is no help on `{topic}`; it is on commands (`zipwright help`) and kinds of targets \
             ({})",
            words::list(&kinds().collect::<Vec<_>>())
        ),
    }
}

/// The error for a manual page: there is one for each command.
fn no_manual(name: &str) -> anyhow::Error {
    let absent = format!("there is no manual page of `{name}`");
    if kinds().any(|kind| kind == name) {
        return anyhow!(
            "{absent}, which is a kind of target: `zipwright help {name}` prints its page"
        );
    }
    match words::nearest(name, super::COMMANDS.iter().copied()) {
        Some(near) => anyhow!("{absent}; did you mean `{near}`?"),
        None => anyhow!("{absent}; `zipwright help` lists the commands"),
    }
}

/// Returns the names of all kinds of targets.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|keys| keys.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_page_with_an_example() {
        for kind in kinds() {
            let page = section(kind).unwrap_or_else(|| panic!("no section `{kind}`"));
            assert!(page.contains("```toml\n"), "{kind}");
            assert!(!page.starts_with('#'), "{kind}");
        }
    }

    #[test]
    fn every_command_has_a_help_with_an_example() {
        for name in super::super::COMMANDS {
            let help = find(name).unwrap().render_long_help().to_string();
            assert!(help.contains(&format!("zipwright {name}")), "{help}");
            let commands = args::OVERVIEW.lines().filter_map(|line| line.strip_prefix("  "));
            let mut heads = commands.filter_map(|line| line.split("  ").next());
            assert!(heads.any(|head| head.split(", ").any(|word| word == *name)), "{name}");
        }
        assert!(args::OVERVIEW.lines().count() <= 50);
        assert!(args::OVERVIEW.lines().all(|line| line.chars().count() <= 80));
    }
}
