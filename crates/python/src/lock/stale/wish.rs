//! Requirements in one form, from a `pyproject.toml` and from a `uv.lock`, and their comparison.

use std::collections::{BTreeMap, BTreeSet};

use super::cases::{Cases, is_usual};
use crate::marker::Marker;
use crate::name::normalise;
use crate::version::Specifier;

/// A requirement without its marker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) extras: BTreeSet<String>,
    /// Empty if the requirement names a place: then its versions do not count.
    pub(super) versions: BTreeSet<String>,
    /// Empty for the indexes that all packages come from; `None` if it cannot be compared.
    pub(super) source: Option<String>,
}

/// A requirement that holds if all markers in `when` are true, and none in `unless`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) wish: Wish,
    pub(super) when: Vec<Marker>,
    pub(super) unless: Vec<Marker>,
}

impl Wish {
    pub(super) fn new<'a>(
        name: &str,
        extras: impl Iterator<Item = &'a String>,
        versions: impl Iterator<Item = Specifier>,
    ) -> Self {
        Self {
            name: normalise(name),
            extras: extras.map(|extra| normalise(extra)).collect(),
            versions: versions.map(|specifier| specifier.canonical()).collect(),
            source: Some(String::new()),
        }
    }

    /// Takes a source; the versions that are required do not count beside a place.
    pub(super) fn with_source(mut self, source: Option<String>) -> Self {
        self.source = source;
        if self.is_place() {
            self.versions.clear();
        }
        self
    }

    /// Returns whether the source is a place, and not an index.
    fn is_place(&self) -> bool {
        let is_index = |source: &str| source.is_empty() || source.starts_with("index ");
        self.source.as_deref().is_some_and(|source| !is_index(source))
    }

    fn is_same_but_source(&self, other: &Self) -> bool {
        (&self.name, &self.extras) == (&other.name, &other.extras)
            && self.source != other.source
            && (self.versions == other.versions
                || self.versions.is_empty()
                || other.versions.is_empty())
    }

    fn written(&self) -> String {
        let list = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>().join(",");
        let extras = match self.extras.is_empty() {
            true => String::new(),
            false => format!("[{}]", list(&self.extras)),
        };
        format!("{}{extras}{}", self.name, list(&self.versions))
    }
}

/// Returns the source that an index is.
pub(super) fn index(place: &str) -> String {
    format!("index {place}")
}

/// Returns the first difference between the requirements of now and those of the lockfile, in any of
/// the cases: `requires `idna>=3``; `None` if there is none.
pub(super) fn compare(
    mut now: Vec<Entry>,
    mut locked: Vec<Entry>,
    cases: &Cases,
) -> Option<String> {
    let names = |is_meant: &dyn Fn(&Entry) -> bool| -> BTreeSet<String> {
        let entries = now.iter().chain(&locked).filter(|entry| is_meant(entry));
        entries.map(|entry| entry.wish.name.clone()).collect()
    };
    let unusual = names(&|entry| !entry.when.iter().chain(&entry.unless).all(is_usual));
    let unknown = names(&|entry| entry.wish.source.is_none());
    let places = names(&|entry| entry.wish.is_place());
    for entries in [&mut now, &mut locked] {
        entries.retain(|entry| !unusual.contains(&entry.wish.name));
        for Entry { wish, .. } in entries {
            if unknown.contains(&wish.name) {
                wish.source = None;
                if places.contains(&wish.name) {
                    wish.versions.clear();
                }
            }
        }
    }
    let (now, locked) = (truth(&now, cases), truth(&locked, cases));
    let is_missing = |wish: &Wish, truth: &Vec<bool>, other: &BTreeMap<Wish, Vec<bool>>| {
        let other = other.get(wish);
        truth.iter().enumerate().any(|(at, is_true)| *is_true && other.is_none_or(|it| !it[at]))
    };
    for (wish, truth) in &now {
        if is_missing(wish, truth, &locked) {
            return Some(describe(wish, &locked, true));
        }
    }
    for (wish, truth) in &locked {
        if is_missing(wish, truth, &now) {
            return Some(describe(wish, &now, false));
        }
    }
    None
}

/// Returns how a requirement differs from those of the other side. URLs may have credentials, so no
/// source is written.
fn describe(wish: &Wish, other: &BTreeMap<Wish, Vec<bool>>, is_new: bool) -> String {
    let written = wish.written();
    if other.contains_key(wish) {
        return format!("requires `{written}` under another marker");
    }
    if other.keys().any(|other| other.is_same_but_source(wish)) {
        return format!("takes `{}` from another source", wish.name);
    }
    match is_new {
        true => format!("requires `{written}`"),
        false => format!("no longer requires `{written}`"),
    }
}

/// Returns for each requirement in which cases it holds. Those that never do are left out: uv
/// may leave them out, too.
fn truth(entries: &[Entry], cases: &Cases) -> BTreeMap<Wish, Vec<bool>> {
    let mut all: BTreeMap<Wish, Vec<bool>> = BTreeMap::new();
    for entry in entries {
        let own = cases.truth(&entry.when, &entry.unless);
        if !own.contains(&true) {
            continue;
        }
        let merged = all.entry(entry.wish.clone()).or_insert_with(|| vec![false; own.len()]);
        for (merged, own) in merged.iter_mut().zip(own) {
            *merged |= own;
        }
    }
    all
}
