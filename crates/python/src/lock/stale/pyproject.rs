//! A `pyproject.toml` with the parts that uv locks: requirements, groups, sources, indexes.
//!
//! A part in a form that is not known here cannot be compared, and is no error: uv has the last word.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use toml::{Table, Value};

use super::place;
use super::wish::{Entry, Wish, index};
use crate::marker::Marker;
use crate::name::normalise;
use crate::requirement::Requirement;
use crate::version::Specifier;

/// How deep groups may include each other.
const DEPTH_MAX: usize = 50;

pub(super) struct Pyproject {
    table: Table,
    /// The absolute path of its folder.
    folder: String,
}

/// Where the packages of a member come from.
pub(super) struct Sources<'a> {
    /// The `pyproject.toml` of the member, then that of the workspace.
    pub(super) layers: Vec<&'a Pyproject>,
    /// Whether `layers` is complete: a project outside of the workspace may be in another one.
    pub(super) is_complete: bool,
    /// Folders of the packages in the lockfile, absolute; `None` if a name has several.
    pub(super) folders: &'a BTreeMap<String, Option<String>>,
}

/// The part of a project that has a requirement.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    Main,
    Extra(&'a str),
    Group(&'a str),
}

impl Pyproject {
    pub(super) fn parse(text: &str, folder: String) -> Result<Self> {
        Ok(Self { table: text.parse()?, folder })
    }

    fn project(&self) -> Option<&Table> {
        self.table.get("project")?.as_table()
    }

    /// Returns a key of `[tool.uv]`.
    fn uv(&self, key: &str) -> Option<&Value> {
        self.table.get("tool")?.get("uv")?.get(key)
    }

    /// Returns the normalised name.
    pub(super) fn name(&self) -> Option<String> {
        self.project()?.get("name")?.as_str().map(normalise)
    }

    pub(super) fn requires_python(&self) -> Option<&str> {
        self.project()?.get("requires-python")?.as_str()
    }

    pub(super) fn is_dynamic(&self, field: &str) -> bool {
        let dynamic = self.project().and_then(|project| project.get("dynamic")?.as_array());
        dynamic.is_some_and(|fields| fields.iter().any(|it| it.as_str() == Some(field)))
    }

    /// Returns whether the requirements are in `[project]`, and not computed by a back end.
    pub(super) fn is_static(&self) -> bool {
        let Some(project) = self.project() else { return false };
        let of_poetry = || self.table.get("tool").is_some_and(|tool| tool.get("poetry").is_some());
        !self.is_dynamic("dependencies")
            && !self.is_dynamic("optional-dependencies")
            && (project.contains_key("dependencies") || !of_poetry())
    }

    /// Returns the requirements, those of each extra included, and the names of the extras; `None` if
    /// they have an unknown form.
    pub(super) fn requirements(
        &self,
        sources: &Sources,
    ) -> Result<Option<(Vec<Entry>, BTreeSet<String>)>> {
        let mut all = Vec::new();
        let mut extras = BTreeSet::new();
        let project = self.project();
        let list = project.and_then(|project| project.get("dependencies"));
        let Some(texts) = list.map_or(Some(Vec::new()), strings) else { return Ok(None) };
        for text in texts {
            all.extend(sources.entries(text, Part::Main)?);
        }
        let optional = project.and_then(|project| project.get("optional-dependencies"));
        for (extra, list) in optional.and_then(Value::as_table).into_iter().flatten() {
            let Some(texts) = strings(list) else { return Ok(None) };
            let extra = normalise(extra);
            for text in texts {
                all.extend(sources.entries(text, Part::Extra(&extra))?);
            }
            extras.insert(extra);
        }
        Ok(Some((all, extras)))
    }

    /// Returns the requirements in a list of `[tool.uv]`; `None` if it has an unknown form.
    pub(super) fn list(&self, key: &str, sources: &Sources) -> Result<Option<Vec<Entry>>> {
        let Some(texts) = self.uv(key).map_or(Some(Vec::new()), strings) else { return Ok(None) };
        let mut all = Vec::new();
        for text in texts {
            all.extend(sources.entries(text, Part::Main)?);
        }
        Ok(Some(all))
    }

    /// Returns the names in a list of `[tool.uv]`, normalised.
    pub(super) fn names(&self, key: &str) -> Option<BTreeSet<String>> {
        let texts = self.uv(key).map_or(Some(Vec::new()), strings)?;
        Some(texts.into_iter().map(normalise).collect())
    }

    /// Returns the normalised names of the dependency groups.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        let groups = self.table.get("dependency-groups").and_then(Value::as_table);
        let mut names: BTreeSet<String> =
            groups.into_iter().flatten().map(|(name, _)| normalise(name)).collect();
        if self.uv("dev-dependencies").is_some() {
            names.insert("dev".into());
        }
        names
    }

    /// Returns the requirements of a group with those that it includes; `None` if they have an unknown
    /// form.
    pub(super) fn group(&self, name: &str, sources: &Sources) -> Result<Option<Vec<Entry>>> {
        self.group_within(name, sources, 0)
    }

    fn group_within(
        &self,
        name: &str,
        sources: &Sources,
        depth: usize,
    ) -> Result<Option<Vec<Entry>>> {
        if depth > DEPTH_MAX {
            bail!("the dependency group `{name}` includes itself");
        }
        let mut all = Vec::new();
        let groups = self.table.get("dependency-groups").and_then(Value::as_table);
        let list = groups.into_iter().flatten().find(|(own, _)| normalise(own) == name);
        let Some(list) = list.map_or(Some(&[][..]), |(_, list)| list.as_array().map(Vec::as_slice))
        else {
            return Ok(None);
        };
        for entry in list {
            let included = entry.get("include-group").and_then(Value::as_str);
            if let Some(text) = entry.as_str() {
                all.extend(sources.entries(text, Part::Group(name))?);
            } else if let Some(included) = included {
                let Some(more) = self.group_within(&normalise(included), sources, depth + 1)?
                else {
                    return Ok(None);
                };
                all.extend(more);
            } else {
                return Ok(None);
            }
        }
        // The older form of the group `dev`.
        let old = self.uv("dev-dependencies").filter(|_| name == "dev");
        let Some(texts) = old.map_or(Some(Vec::new()), strings) else { return Ok(None) };
        for text in texts {
            all.extend(sources.entries(text, Part::Group(name))?);
        }
        let pythons = self.python_of_group(name)?;
        for entry in &mut all {
            entry.when.extend(pythons.iter().cloned());
        }
        Ok(Some(all))
    }

    /// Returns `requires-python` of a group as markers.
    fn python_of_group(&self, name: &str) -> Result<Vec<Marker>> {
        let settings = self.uv("dependency-groups").and_then(Value::as_table);
        let own = settings.into_iter().flatten().find(|(own, _)| normalise(own) == name);
        let text = own.and_then(|(_, own)| own.get("requires-python")?.as_str());
        Specifier::parse_list(text.unwrap_or_default())?
            .iter()
            .map(|specifier| {
                let text = specifier.to_string();
                let at = text.find(|c: char| !"=<>!~".contains(c)).unwrap_or_default();
                Marker::parse(&format!("python_full_version {} '{}'", &text[..at], &text[at..]))
            })
            .collect()
    }

    /// Returns the place of an index of `tool.uv.index`.
    fn index(&self, name: &str) -> Option<String> {
        let list = self.uv("index")?.as_array()?;
        let found = list.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(name));
        Some(place::place(found?.get("url")?.as_str()?, &self.folder))
    }

    /// Returns the sources of a package in `tool.uv.sources`.
    fn sources(&self, project: &str) -> Option<Vec<&Table>> {
        let all = self.uv("sources")?.as_table()?;
        let (_, value) = all.iter().find(|(name, _)| normalise(name) == project)?;
        match value {
            Value::Table(table) => Some(vec![table]),
            Value::Array(list) => list.iter().map(Value::as_table).collect(),
            _ => None,
        }
    }
}

impl Sources<'_> {
    /// Reads one requirement: an entry for each source that it may come from.
    fn entries(&self, text: &str, part: Part) -> Result<Vec<Entry>> {
        let requirement = Requirement::parse(text)?;
        let (extras, versions) = (requirement.extras.iter(), requirement.specifiers.iter());
        let wish = Wish::new(&requirement.name, extras, versions.cloned());
        let mut when: Vec<Marker> = requirement.marker.into_iter().collect();
        if let Part::Extra(extra) = part {
            when.push(Marker::parse(&format!("extra == '{extra}'"))?);
        }
        let entry = |source, marker: Option<&Marker>, unless| {
            let when = when.iter().chain(marker).cloned().collect();
            Entry { wish: wish.clone().with_source(source), when, unless }
        };
        let layer = self
            .layers
            .iter()
            .find_map(|layer| Some((*layer, layer.sources(&normalise(&requirement.name))?)));
        let (layer, list) = match (&requirement.url, layer) {
            _ if self.layers.iter().any(|layer| layer.uv("no-sources").is_some()) => {
                return Ok(vec![entry(None, None, Vec::new())]);
            }
            (Some(url), None) => {
                let base = self.layers.first().map_or("/", |layer| &layer.folder);
                return Ok(vec![entry(place::direct(url, base), None, Vec::new())]);
            }
            (Some(_), Some(_)) => return Ok(vec![entry(None, None, Vec::new())]),
            (None, None) => {
                let source = self.is_complete.then(String::new);
                return Ok(vec![entry(source, None, Vec::new())]);
            }
            (None, Some(found)) => found,
        };
        let mut all = Vec::new();
        let mut unless = Vec::new();
        let mut is_covered = false;
        for table in list.into_iter().filter(|table| part.has(table)) {
            let marker = table.get("marker").and_then(Value::as_str);
            let marker = marker.map(Marker::parse).transpose()?;
            all.push(entry(self.source(layer, table, &wish.name), marker.as_ref(), Vec::new()));
            is_covered |= marker.is_none();
            unless.extend(marker);
        }
        if !is_covered {
            all.push(entry(Some(String::new()), None, unless));
        }
        Ok(all)
    }

    /// Returns a source of `tool.uv.sources`; `None` if it cannot be compared.
    fn source(&self, layer: &Pyproject, table: &Table, project: &str) -> Option<String> {
        let text = |key: &str| table.get(key).and_then(Value::as_str);
        let base = &layer.folder;
        if let Some(url) = text("git") {
            let named = ["branch", "rev", "tag", "subdirectory"];
            let query = named.iter().filter_map(|key| Some(format!("{key}={}", text(key)?)));
            return Some(place::repository(url, query.collect(), base));
        }
        if let Some(url) = text("url") {
            return Some(place::archive(url, text("subdirectory"), base));
        }
        if let Some(path) = text("path") {
            return Some(place::path(path, base));
        }
        if let Some(name) = text("index") {
            return self.layers.iter().find_map(|layer| layer.index(name)).map(|it| index(&it));
        }
        match table.get("workspace").and_then(Value::as_bool) {
            Some(true) => {
                self.folders.get(project)?.as_ref().map(|folder| place::path(folder, "/"))
            }
            _ => None,
        }
    }
}

impl Part<'_> {
    /// Returns whether a source is for this part.
    fn has(self, source: &Table) -> bool {
        let named = |key: &str| source.get(key).and_then(Value::as_str).map(normalise);
        let (extra, group) = match self {
            Part::Main => (None, None),
            Part::Extra(extra) => (Some(extra), None),
            Part::Group(group) => (None, Some(group)),
        };
        named("extra").is_none_or(|named| Some(named.as_str()) == extra)
            && named("group").is_none_or(|named| Some(named.as_str()) == group)
    }
}

fn strings(list: &Value) -> Option<Vec<&str>> {
    list.as_array()?.iter().map(Value::as_str).collect()
}
