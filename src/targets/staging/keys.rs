//! The keys of a `staging` target.

use toml::de::DeValue;
use zipwright_python::{is_name, normalise};

use super::{Conflict, Destination, Source, Staging, Winner};
use crate::base::RelPath;
use crate::buildfile::table::{Item, Reader, Table, boolean, entries, string};
use crate::buildfile::{default_path, mistakes, value};
use crate::diagnostic::Spanned;

pub(in crate::targets) fn read(stem: &str, table: &mut Table, reader: &mut Reader) -> Staging {
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
    let keep = table.required("keep", "\"sources\"", reader, winner);
    table.done(reader);
    Some(Conflict { path: path?, keep: keep? })
}

fn winner(item: Item, reader: &mut Reader) -> Option<Spanned<Winner>> {
    let Spanned { value: text, span } = string(item, reader)?;
    let value = match text.as_str() {
        "sources" => Winner::Sources,
        name if is_name(name) => Winner::Wheel(normalise(name)),
        name => {
            reader.report(mistakes::bad_project_name(&span, name));
            return None;
        }
    };
    Some(Spanned { value, span })
}
