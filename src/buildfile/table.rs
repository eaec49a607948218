//! Reading a TOML table by hand: every key is taken or reported, and every wrong value is reported at
//! its span. Knows nothing of the meaning of keys.

use std::collections::{BTreeMap, HashSet};

use toml::de::{DeArray, DeTable, DeValue};

use super::{KindKeys, mistakes, vars};
use crate::base::RelPath;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::{Span, Spanned};

/// Shared by all reading: the text, the variables, and the errors found so far.
pub struct Reader<'a> {
    pub text: &'a str,
    pub vars: BTreeMap<String, String>,
    pub kinds: &'static [KindKeys],
    pub mistakes: Vec<Diagnostic>,
    /// Paths that were read, each once, so that all targets share one text for a path.
    paths: HashSet<RelPath>,
}

/// A parsed table.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    pub table: &'a DeTable<'a>,
    /// Offset in the Buildfile of the text that it was parsed from.
    pub origin: usize,
}

/// A value with its span.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    pub value: &'a DeValue<'a>,
    pub start: usize,
    pub end: usize,
    /// Its key; for a member of an array, that of the array.
    pub key: &'a str,
    is_member: bool,
    /// Like the origin of [`Entries`].
    origin: usize,
}

/// A table being read. It collects the keys that are read: those are the valid ones.
pub struct Table<'a> {
    entries: Entries<'a>,
    asked: Vec<&'static str>,
    /// Its name in messages.
    owner: String,
    /// Place of messages about a missing key.
    span: Span,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, vars: BTreeMap<String, String>, kinds: &'static [KindKeys]) -> Self {
        Self { text, vars, kinds, mistakes: Vec::new(), paths: HashSet::new() }
    }

    /// Returns `path`, or an equal path that was read before.
    pub fn known(&mut self, path: RelPath) -> RelPath {
        match self.paths.get(&path) {
            Some(known) => known.clone(),
            None => {
                self.paths.insert(path.clone());
                path
            }
        }
    }

    pub fn report(&mut self, mistake: Diagnostic) {
        self.mistakes.push(mistake);
    }

    /// Fills in the variables of a string at `span`.
    fn expand(&mut self, text: &str, span: &Span) -> String {
        let Self { text: source, vars, mistakes, .. } = self;
        vars::expand(text, |name| {
            let value = vars.get(name).cloned();
            if value.is_none() {
                let known: Vec<&str> = vars.keys().map(String::as_str).collect();
                let place = reference(source, span, name);
                mistakes.push(mistakes::unknown_variable(&place, name, &known));
            }
            value
        })
    }
}

/// Returns the span of the reference `{name}` in the string at `span`; that of the whole string if it
/// is written with escapes.
pub fn reference(source: &str, span: &Span, name: &str) -> Span {
    let written = &source[span.clone()];
    let needle = format!("{{{name}}}");
    written
        .match_indices(&needle)
        .find(|(at, _)| !written[..*at].ends_with(['$', '{']))
        .map_or_else(|| span.clone(), |(at, found)| span.start + at..span.start + at + found.len())
}

impl<'a> Item<'a> {
    pub fn span(&self) -> Span {
        self.start..self.end
    }

    /// Reports that `expected` was expected here.
    pub fn wrong(&self, expected: &str, reader: &mut Reader) {
        let what = match self.is_member {
            true => format!("a member of `{}`", self.key),
            false => format!("`{}`", self.key),
        };
        let mut mistake =
            mistakes::wrong_type(&self.span(), &what, expected, type_name(self.value));
        let written = &reader.text[self.span()];
        if expected.starts_with("a string") && is_scalar(self.value) {
            mistake = mistake.hint(format!("put it in quotes: `\"{written}\"`"));
        } else if expected.starts_with("an array") && matches!(self.value, DeValue::String(_)) {
            mistake = mistake.hint(format!("put it in brackets: `[{written}]`"));
        }
        reader.report(mistake);
    }

    pub fn members(&self, array: &'a DeArray<'a>) -> impl Iterator<Item = Item<'a>> {
        let Self { key, origin, .. } = *self;
        array.iter().map(move |member| Item { is_member: true, ..Item::of(key, member, origin) })
    }

    fn of(key: &'a str, value: &'a toml::Spanned<DeValue<'a>>, origin: usize) -> Self {
        let Span { start, end } = moved(value.span(), origin);
        Self { value: value.get_ref(), start, end, key, is_member: false, origin }
    }
}

fn moved(span: Span, by: usize) -> Span {
    span.start + by..span.end + by
}

/// Returns the entries of a table in the order of the file, each with the span of its key.
pub fn in_order(entries: Entries<'_>) -> Vec<(Span, &str, Item<'_>)> {
    let Entries { table, origin } = entries;
    let mut ordered: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let item = Item::of(key.get_ref(), value, origin);
            (moved(key.span(), origin), item.key, item)
        })
        .collect();
    ordered.sort_by_key(|(span, ..)| span.start);
    ordered
}

impl<'a> Table<'a> {
    pub fn new(entries: Entries<'a>, owner: String, span: Span) -> Self {
        Self { entries, asked: Vec::new(), owner, span }
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Sets the name in messages, after more of the table was read.
    pub fn call(&mut self, owner: String) {
        self.owner = owner;
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Returns the value of a key as it is.
    pub fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let Entries { table, origin } = self.entries;
        table.get(key).map(|value| Item::of(key, value, origin))
    }

    /// Returns whether the key is given, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.entries.table.contains_key(key)
    }

    /// Reads an optional value. Returns `None` also if it is wrong, which is reported.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        reader: &mut Reader,
        read: impl FnOnce(Item<'a>, &mut Reader) -> Option<T>,
    ) -> Option<T> {
        self.take(key).and_then(|item| read(item, reader))
    }

    /// Reads a required value. `example` shows how to write it.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        reader: &mut Reader,
        read: impl FnOnce(Item<'a>, &mut Reader) -> Option<T>,
    ) -> Option<T> {
        let Some(item) = self.take(key) else {
            reader.report(mistakes::missing_key(&self.span, key, &self.owner, example));
            return None;
        };
        read(item, reader)
    }

    /// Reads an array; wrong members are reported and left out.
    pub fn many<T>(
        &mut self,
        key: &'static str,
        reader: &mut Reader,
        read: impl FnMut(Item<'a>, &mut Reader) -> Option<T>,
    ) -> Vec<T> {
        self.optional(key, reader, |item, reader| members(item, reader, read)).unwrap_or_default()
    }

    /// Reports every key that was not read.
    pub fn finish(
        self,
        reader: &mut Reader,
        mut unknown: impl FnMut(&Span, Item<'a>, &str, &[&str]) -> Diagnostic,
    ) {
        for (span, key, item) in in_order(self.entries) {
            if !self.asked.contains(&key) {
                reader.report(unknown(&span, item, &self.owner, &self.asked));
            }
        }
    }

    /// Like [`Table::finish`], for a table in which an unknown key has no further consequence.
    pub fn done(self, reader: &mut Reader) {
        self.finish(reader, |span, item, owner, valid| {
            mistakes::unknown_key(span, item.key, owner, valid)
        });
    }
}

pub fn members<'a, T>(
    item: Item<'a>,
    reader: &mut Reader,
    mut read: impl FnMut(Item<'a>, &mut Reader) -> Option<T>,
) -> Option<Vec<T>> {
    let DeValue::Array(array) = item.value else {
        item.wrong("an array", reader);
        return None;
    };
    // Exactly as many as there are, because there can be a million.
    let mut found = Vec::with_capacity(array.len());
    found.extend(item.members(array).filter_map(|member| read(member, reader)));
    Some(found)
}

/// Reads a string and fills in its variables.
pub fn string(item: Item, reader: &mut Reader) -> Option<Spanned<String>> {
    let DeValue::String(text) = item.value else {
        item.wrong("a string", reader);
        return None;
    };
    Some(Spanned { value: reader.expand(text, &item.span()), span: item.span() })
}

/// Like [`string`], for values to which no later message points.
pub fn text(item: Item, reader: &mut Reader) -> Option<String> {
    string(item, reader).map(|string| string.value)
}

pub fn boolean(item: Item, reader: &mut Reader) -> Option<bool> {
    let DeValue::Boolean(value) = item.value else {
        item.wrong("`true` or `false`", reader);
        return None;
    };
    Some(*value)
}

pub fn entries<'a>(item: Item<'a>, reader: &mut Reader) -> Option<Entries<'a>> {
    let DeValue::Table(table) = item.value else {
        item.wrong("a table", reader);
        return None;
    };
    Some(Entries { table, origin: item.origin })
}

pub fn type_name(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn is_scalar(value: &DeValue) -> bool {
    !matches!(value, DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_))
}
