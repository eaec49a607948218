//! Reads `run` and `shell`, and the keys `require` and `until` that every target has.

use std::time::Duration;

use toml::de::DeValue;

use super::table::{Item, Reader, Table, entries, members, text};
use super::{mistakes, value};
use crate::target::{Action, Guards, Require, Until};

/// Defaults in seconds.
const REQUIRE_TIMEOUT: u64 = 30;
const UNTIL_EVERY: u64 = 1;
const UNTIL_TIMEOUT: u64 = 120;

/// Reads `run` or `shell`, of which exactly one must be given.
pub fn action(table: &mut Table, reader: &mut Reader) -> Option<Action> {
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

/// Reads `require` and `until`; `None` if neither is given.
pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Box<Guards>> {
    let target = table.owner().to_owned();
    let require = table.many("require", reader, |item, reader| require(item, &target, reader));
    let until = table.optional("until", reader, |item, reader| until(item, &target, reader));
    if require.is_empty() && until.is_none() {
        return None;
    }
    Some(Box::new(Guards { require: require.into(), until }))
}

fn require(item: Item, target: &str, reader: &mut Reader) -> Option<Require> {
    let mut table = guard(item, target, reader)?;
    let action = action(&mut table, reader);
    let message = message(&mut table, reader);
    let timeout = table.optional("timeout", reader, value::duration);
    table.done(reader);
    let timeout = timeout.unwrap_or(Duration::from_secs(REQUIRE_TIMEOUT));
    Some(Require { action: action?, message, timeout })
}

fn until(item: Item, target: &str, reader: &mut Reader) -> Option<Until> {
    let mut table = guard(item, target, reader)?;
    let action = action(&mut table, reader);
    let message = message(&mut table, reader);
    let every_item = table.take("every");
    let every = every_item.and_then(|item| value::duration(item, reader));
    let every = every.unwrap_or(Duration::from_secs(UNTIL_EVERY));
    let timeout_item = table.take("timeout");
    let given = timeout_item.and_then(|item| value::duration(item, reader));
    let timeout = given.unwrap_or(Duration::from_secs(UNTIL_TIMEOUT));
    table.done(reader);
    let is_sound = timeout_item.is_none() || given.is_some();
    if let Some(item) = every_item.filter(|_| is_sound && every >= timeout) {
        reader.report(mistakes::too_rare(&item.span()));
    }
    Some(Until { action: action?, every, timeout, message })
}

fn message(table: &mut Table, reader: &mut Reader) -> Option<Box<str>> {
    let hint = "say why the build stops, or leave it out";
    let read = |item: Item, reader: &mut Reader| value::filled(item, reader, hint);
    table.optional("message", reader, read).map(|message| message.value.into())
}

/// Returns the table of one guard.
fn guard<'a>(item: Item<'a>, target: &str, reader: &mut Reader) -> Option<Table<'a>> {
    if let DeValue::String(_) = item.value {
        let written = &reader.text[item.span()];
        reader.report(mistakes::guard_as_string(&item.span(), item.key, written));
        return None;
    }
    let owner = format!("`{}` of {target}", item.key);
    Some(Table::new(entries(item, reader)?, owner, item.span()))
}
