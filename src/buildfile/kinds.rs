//! The keys of each kind of target. A reader takes all of its kind's keys, so that every mistake
//! among them is found, and gives `None` when one that the kind cannot do without is missing.

use std::collections::BTreeMap;

use super::model::{
    Action, Check, Clamp, Command, Compression, Conflict, Destination, Group, Kind, Lock, Platform,
    Source, Spanned, Staging, Wheelhouse, Zip,
};
use super::schema::default_path;
use super::table::{Item, Reader, Table, boolean, entries, in_order, members, string, text};
use super::{invoke, layer, mistakes, upload, value};
use crate::base::RelPath;
use toml::de::DeValue;

pub const NAMES: [&str; 10] = [
    "wheelhouse",
    "staging",
    "clamp",
    "zip",
    "check",
    "layer",
    "upload",
    "invoke",
    "command",
    "group",
];

/// Reads the keys of a target of the kind `name`. `stem` is the stem of its default paths.
pub(super) fn read(name: &str, stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Kind> {
    match name {
        "wheelhouse" => wheelhouse(stem, table, reader).map(Box::new).map(Kind::Wheelhouse),
        "staging" => Some(Kind::Staging(Box::new(staging(stem, table, reader)))),
        "clamp" => clamp(table, reader).map(Kind::Clamp),
        "zip" => zip(stem, table, reader).map(Box::new).map(Kind::Zip),
        "check" => check(table, reader).map(Box::new).map(Kind::Check),
        "layer" => layer::read(table, reader).map(Box::new).map(Kind::Layer),
        "upload" => upload::read(table, reader).map(Box::new).map(Kind::Upload),
        "invoke" => invoke::read(table, reader).map(Box::new).map(Kind::Invoke),
        "command" => command(table, reader).map(Kind::Command),
        "group" => group(table, reader).map(Kind::Group),
        name => unreachable!("BUG: `{name}` is not among the names of kinds"),
    }
}

fn wheelhouse(stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Wheelhouse> {
    let keys = ["requirements", "lock", "projects"];
    let given = keys.iter().any(|key| table.has(key));
    let lock = lock(table, reader);
    let requirements = table.many("requirements", reader, value::path);
    let constraints = table.many("constraints", reader, value::path);
    let projects = table.many("projects", reader, value::path);
    let python = table.optional("python", reader, |item, reader| {
        value::filled(item, reader, "a program such as `python3.13`, or a path to one")
    });
    let platform = table.optional("platform", reader, platform);
    let pip_args = table.many("pip-args", reader, text);
    let build_env = table.optional("build-env", reader, build_env).unwrap_or_default();
    let output = table.optional("output", reader, value::output);
    if !given {
        reader.report(mistakes::missing_all(table.span(), &keys, table.owner()));
        return None;
    }
    let span = table.span();
    Some(Wheelhouse {
        requirements,
        lock,
        constraints,
        projects,
        python: python.unwrap_or_else(|| Spanned { value: "python3".into(), span: span.clone() }),
        platform,
        pip_args,
        build_env,
        output: output.unwrap_or_else(|| default_path(stem, "", span)),
    })
}

/// Reads the lockfile of a wheelhouse, and reports keys that do not go with one, or without one.
fn lock(table: &mut Table, reader: &mut Reader) -> Option<Lock> {
    let given = table.take("lock");
    for key in ["requirements", "constraints"] {
        if let (Some(lock), Some(other)) = (given, table.take(key)) {
            let (first, second) =
                if lock.start < other.start { (lock, other) } else { (other, lock) };
            let (first, second) = (first.span(), second.span());
            reader.report(mistakes::only_one_of(&second, &first, ["lock", key], table.owner()));
        }
    }
    for key in ["package", "extras", "groups"] {
        if let (None, Some(item)) = (given, table.take(key)) {
            reader.report(mistakes::only_with(&item.span(), key, "lock"));
        }
    }
    let package = table.optional("package", reader, |item, reader| {
        value::filled(item, reader, "a member of the workspace")
    });
    let extras = table.many("extras", reader, text);
    let groups = table.optional("groups", reader, |item, reader| members(item, reader, text));
    let path = value::path(given?, reader)?;
    if let Some(mistake) = mistakes::not_a_lockfile(&path.span, path.value.file_name()) {
        reader.report(mistake);
        return None;
    }
    Some(Lock { path, package: package.map(|package| package.value), extras, groups })
}

/// Variables that builds from source have from zipwright alone, and beginnings of such.
const OWN_VARIABLES: [&str; 11] = [
    "HOME",
    "LC_ALL",
    "PATH",
    "PIP_",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "ZIPWRIGHT_",
];

fn build_env(item: Item, reader: &mut Reader) -> Option<BTreeMap<String, String>> {
    let variables = env(item, reader)?;
    for (span, name, _) in entries(item, reader).map(in_order).unwrap_or_default() {
        let is_own = |own: &str| name == own || own.ends_with('_') && name.starts_with(own);
        if OWN_VARIABLES.into_iter().any(is_own) {
            reader.report(mistakes::own_build_variable(&span, name));
        }
    }
    Some(variables)
}

fn platform(item: Item, reader: &mut Reader) -> Option<Platform> {
    let span = item.span();
    let mut table = Table::new(entries(item, reader)?, "`platform`".into(), span.clone());
    let python = table.required("python", "\"3.13\"", reader, value::version);
    let arch = table.required("arch", "\"arm64\"", reader, value::arch);
    table.done(reader);
    Some(Platform { span, python: python?, arch: arch? })
}

fn staging(stem: &str, table: &mut Table, reader: &mut Reader) -> Staging {
    Staging {
        wheels: table.many("wheels", reader, string),
        sources: table.many("sources", reader, source),
        exclude: table.many("exclude", reader, value::glob),
        conflicts: table.many("conflicts", reader, conflict),
        clamp: table.optional("clamp", reader, value::instant),
        write: table.optional("write", reader, boolean).unwrap_or(false),
        bytecode: table.optional("bytecode", reader, boolean).unwrap_or(false),
        output: table
            .optional("output", reader, value::output)
            .unwrap_or_else(|| default_path(stem, "", table.span())),
    }
}

fn source(item: Item, reader: &mut Reader) -> Option<Source> {
    match item.value {
        DeValue::String(_) => Some(Source { from: value::glob(item, reader)?, to: None }),
        DeValue::Table(_) => {
            let entries = entries(item, reader)?;
            let mut table = Table::new(entries, "the source".into(), item.span());
            let from = table.required("from", "\"…\"", reader, value::glob);
            let to = table.optional("to", reader, destination);
            table.done(reader);
            let from = from?;
            if let Some(Spanned { value: Destination::Exactly(path), span }) = &to
                && from.value.has_wildcard()
            {
                let path = path.as_str();
                reader.report(mistakes::wildcards_to_one_path(span, &from.span, path));
            }
            Some(Source { from, to })
        }
        _ => {
            item.wrong("a string, or a table with `from` and `to`", reader);
            None
        }
    }
}

fn destination(item: Item, reader: &mut Reader) -> Option<Spanned<Destination>> {
    let Spanned { value: text, span } = string(item, reader)?;
    match RelPath::parse(&text) {
        Ok(path) if path.is_root() || text.ends_with('/') => {
            Some(Spanned { value: Destination::Folder(path), span })
        }
        Ok(path) => Some(Spanned { value: Destination::Exactly(path), span }),
        Err(problem) => {
            reader.report(mistakes::bad_path(&span, &text, problem));
            None
        }
    }
}

fn conflict(item: Item, reader: &mut Reader) -> Option<Conflict> {
    let mut table = Table::new(entries(item, reader)?, "the rule".into(), item.span());
    let path = table.required("path", "\"…\"", reader, value::glob);
    let keep = table.required("keep", "\"sources\"", reader, value::winner);
    table.done(reader);
    Some(Conflict { path: path?, keep: keep? })
}

fn clamp(table: &mut Table, reader: &mut Reader) -> Option<Clamp> {
    let directory = table.required("directory", "\"build/…\"", reader, value::path);
    let instant = table.required("instant", "\"git\"", reader, value::instant);
    Some(Clamp { directory: directory?, instant: instant? })
}

fn zip(stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Zip> {
    let words = [
        ("keep", Compression::Keep),
        ("smallest", Compression::Smallest),
        ("store", Compression::Store),
    ];
    let staging = table.required("staging", "\"…\"", reader, string);
    let below = table.optional("below", reader, value::path);
    let output = table.optional("output", reader, value::output);
    let compression = table.optional("compression", reader, |item, reader| {
        value::word(item, reader, "compression", &words)
    });
    let clamp = table.optional("clamp", reader, value::zip_instant);
    let limits = table.optional("limits", reader, boolean);
    Some(Zip {
        staging: staging?,
        below: below.filter(|path| !path.value.is_root()),
        output: output.unwrap_or_else(|| default_path(stem, ".zip", table.span())),
        compression: compression.unwrap_or(Compression::Keep),
        clamp,
        limits: limits.unwrap_or(true),
    })
}

fn check(table: &mut Table, reader: &mut Reader) -> Option<Check> {
    let zip = table.required("zip", "\"…\"", reader, string);
    let layers = table.many("layers", reader, string);
    let runtime = table.required("runtime", "\"python3.13\"", reader, value::runtime);
    let arch = table.required("arch", "\"arm64\"", reader, value::arch);
    let handler = table.optional("handler", reader, |item, reader| {
        value::filled(item, reader, "a handler such as `lambda_handler.handler`")
    });
    let silence = table.many("silence", reader, value::rule);
    let handler = handler.map(|handler| handler.value);
    Some(Check { zip: zip?, layers, runtime: runtime?, arch: arch?, handler, silence })
}

fn command(table: &mut Table, reader: &mut Reader) -> Option<Command> {
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

fn group(table: &mut Table, reader: &mut Reader) -> Option<Group> {
    let targets = table
        .required("targets", "[\"…\"]", reader, |item, reader| members(item, reader, string));
    Some(Group { targets: targets? })
}
