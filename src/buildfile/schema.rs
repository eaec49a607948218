//! The frame of a Buildfile: its top level, the variables, and the keys that every target has.
//! The keys of each kind are in its module of `src/targets`.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::table::{
    Entries, Item, Reader, Table, entries, in_order, members, reference, string, text,
};
use super::{Given, KindKeys, guards, mistakes, value, vars};
use crate::base::RelPath;
use crate::diagnostic::{Diagnostic, Span, Spanned};
use crate::target::{Model, Target, Typed};

/// A document that is being read: first all that is not a target, then targets, then the end.
pub(crate) struct Reading<'a> {
    reader: Reader<'a>,
    model: Model,
    /// The value of `default`.
    given: Option<Item<'a>>,
}

/// Targets, and the mistakes in them.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) targets: Vec<Target>,
    pub(crate) broken: Vec<String>,
    mistakes: Vec<Diagnostic>,
}

impl<'a> Reading<'a> {
    /// Reads the top level of `document`, the targets there included. `text` is the whole
    /// Buildfile.
    pub(crate) fn start(document: Entries<'a>, text: &'a str, (overrides, kinds): Given) -> Self {
        let mut reader = Reader::new(text, BTreeMap::new(), kinds);
        let mut top = Table::new(document, "the Buildfile".into(), 0..0);
        let declared = top.take("vars").and_then(|item| entries(item, &mut reader));
        let mut typed = Typed::default();
        reader.vars = variables(declared, overrides, &mut typed, &mut reader);
        let model = Model { vars: reader.vars.clone(), typed, ..Model::default() };
        let given = top.take("default");
        let own = top.take("target");
        top.finish(&mut reader, |span, item, owner, valid| match item.value {
            DeValue::Table(_) => mistakes::unknown_table(span, item.key, owner, valid),
            _ => mistakes::unknown_key(span, item.key, owner, valid),
        });
        let mut reading = Self { reader, model, given };
        if let Some(table) = own {
            let part = reading.part(table);
            reading.add(part);
        }
        reading
    }

    /// Reads the targets of the table `target`, or of a part of it.
    pub(crate) fn part(&self, table: Item) -> Part {
        let Reader { text, vars, kinds, .. } = &self.reader;
        let mut reader = Reader::new(text, vars.clone(), kinds);
        let mut part = Part::default();
        if let Some(entries) = entries(table, &mut reader) {
            targets(entries, &mut part, &mut reader);
        }
        Part { mistakes: reader.mistakes, ..part }
    }

    /// Takes in the next of the parts, which come in the order of the file.
    pub(crate) fn add(&mut self, part: Part) {
        self.model.targets.extend(part.targets);
        self.model.broken.extend(part.broken);
        self.reader.mistakes.extend(part.mistakes);
    }

    /// Returns the model and the mistakes, in no particular order.
    pub(crate) fn finish(mut self) -> (Model, Vec<Diagnostic>) {
        self.model.default = goals(self.given, &self.model, &mut self.reader);
        (self.model, self.reader.mistakes)
    }
}

fn variables(
    declared: Option<Entries>,
    overrides: &BTreeMap<String, String>,
    typed: &mut Typed,
    reader: &mut Reader,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (span, name, item) in declared.map(in_order).unwrap_or_default() {
        if !vars::is_name(name) {
            reader.report(mistakes::bad_variable_name(&span, name));
        }
        let DeValue::String(text) = item.value else {
            item.wrong("a string", reader);
            // Declared it is: uses of it are not wrong as well.
            values.insert(name.to_owned(), String::new());
            continue;
        };
        let value = vars::expand(text, |other| {
            let place = reference(reader.text, &item.span(), other);
            reader.mistakes.push(mistakes::reference_in_variable(&place, other));
            None
        });
        values.insert(name.to_owned(), value);
    }
    for (name, value) in overrides {
        if let Some(declared) = values.get_mut(name) {
            if declared != value {
                typed.add(name, value);
                declared.clone_from(value);
            }
        } else {
            let known: Vec<&str> = values.keys().map(String::as_str).collect();
            reader.report(mistakes::undeclared_override(name, &known));
        }
    }
    values
}

/// The goals of a bare `zipwright`: the given ones, else the first target, as in make.
fn goals(given: Option<Item>, model: &Model, reader: &mut Reader) -> Vec<Spanned<String>> {
    let Some(item) = given else {
        return model.targets.iter().take(1).map(|target| target.name.clone()).collect();
    };
    let names = members(item, reader, string);
    if let DeValue::Array(array) = item.value
        && array.is_empty()
    {
        let hint = "leave it out to build the first target";
        reader.report(mistakes::empty(&item.span(), "`default`", hint));
    }
    names.unwrap_or_default()
}

fn targets(table: Entries, part: &mut Part, reader: &mut Reader) {
    for (span, name, item) in in_order(table) {
        let sound = is_target_name(name);
        if !sound {
            reader.report(mistakes::bad_target_name(&span, name));
        }
        // The default paths are made of the name; those of a broken target are never used.
        let name = Spanned { value: name.to_owned(), span };
        let stem = if sound { name.value.as_str() } else { "_" };
        match target(&name, stem, item, reader).filter(|_| sound) {
            Some(target) => part.targets.push(target),
            None => part.broken.push(name.value),
        }
    }
}

fn is_target_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['-', '.'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn target(name: &Spanned<String>, stem: &str, item: Item, reader: &mut Reader) -> Option<Target> {
    let owner = format!("target `{}`", name.value);
    let mut table = Table::new(entries(item, reader)?, owner, name.span.clone());
    let keys = match table.take("kind") {
        Some(item) => keys_of(item, reader),
        None => {
            reader.report(mistakes::missing_kind(&name.span, &name.value, &names(reader.kinds)));
            None
        }
    };
    let description = table.optional("description", reader, text);
    let needs = table.many("needs", reader, string);
    let after = table.many("after", reader, string);
    let stamp_item = table.take("stamp");
    let stamp = stamp_item.and_then(|item| value::output(item, reader));
    let guards = guards::read(&mut table, reader);

    // Which of the other keys are right depends on the kind.
    let keys = keys?;
    let owner = format!("{} `{}`", keys.name, name.value);
    table.call(owner.clone());
    let kind = (keys.read)(stem, &mut table, reader);
    table.finish(reader, |span, item, owner, valid| match item.value {
        DeValue::Table(_) if item.start < span.start => {
            mistakes::dotted_name(span, &name.value, item.key)
        }
        _ => mistakes::unknown_key(span, item.key, owner, valid),
    });
    let kind = kind?;

    let stamp = match (kind.no_stamp(), stamp_item) {
        (None, _) => stamp.or_else(|| Some(default_path(stem, ".stamp", &name.span))),
        (Some(why), Some(item)) => {
            reader.report(mistakes::no_stamp(&item.span(), &owner, why));
            None
        }
        (Some(_), None) => None,
    };
    Some(Target {
        name: name.clone(),
        description: description.map(String::into_boxed_str),
        needs: needs.into(),
        after: after.into(),
        stamp,
        guards,
        kind,
    })
}

fn keys_of(item: Item, reader: &mut Reader) -> Option<&'static KindKeys> {
    let given = string(item, reader)?;
    let known = reader.kinds.iter().find(|keys| keys.name == given.value);
    if known.is_none() {
        let names = names(reader.kinds);
        reader.report(mistakes::unknown_kind(&given.span, &given.value, &names));
    }
    known
}

fn names(kinds: &'static [KindKeys]) -> Vec<&'static str> {
    kinds.iter().map(|keys| keys.name).collect()
}

/// Returns the default path of a target's output or stamp.
pub fn default_path(stem: &str, suffix: &str, span: &Span) -> Spanned<RelPath> {
    let path = RelPath::parse(&format!("build/{stem}{suffix}"));
    let value = path.expect("BUG: a target's name can be part of a path");
    Spanned { value, span: span.clone() }
}
