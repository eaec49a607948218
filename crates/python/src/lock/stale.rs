//! Whether a `uv.lock` was made from the `pyproject.toml` as it is now.
//!
//! The lockfile has the requirements of each member as uv read them. Compared are names, extras and
//! versions; markers are not, as uv writes them in another form.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::uv::{Metadata, Package, Required, UvLock};
use crate::name::normalise;
use crate::requirement::Requirement;
use crate::version::Specifier;

/// Keys of a requirement with a source of its own, from `tool.uv.sources` or a URL.
const DIRECT: [&str; 6] = ["directory", "editable", "git", "path", "url", "virtual"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pyproject {
    project: Option<Project>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Entry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    dynamic: Vec<String>,
}

/// An entry of a dependency group (PEP 735).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    Requirement(String),
    Include {
        #[serde(rename = "include-group")]
        group: String,
    },
}

/// Name, extras and versions of a requirement.
type Wish = (String, BTreeSet<String>, BTreeSet<String>);

impl UvLock {
    /// Returns a difference between the `pyproject.toml` of the member in `folder` and the lockfile,
    /// such as "requires `idna>=3`"; `None` if there is none.
    pub fn difference(&self, folder: &str, pyproject: &str) -> Result<Option<String>> {
        let package = self.packages.iter().find(|package| package.member_folder() == Some(folder));
        package.map_or(Ok(None), |package| difference(package, pyproject))
    }
}

/// Returns the first difference: `requires `idna>=3``; `None` if there is none.
fn difference(package: &Package, text: &str) -> Result<Option<String>> {
    let unreadable = || format!("the `pyproject.toml` of `{}` is not readable", package.name);
    let pyproject: Pyproject = toml::from_str(text).with_context(unreadable)?;
    let none = Metadata::default();
    let locked = package.metadata.as_ref().unwrap_or(&none);
    let project = pyproject.project.unwrap_or_default();
    if !project.dynamic.iter().any(|field| field.ends_with("dependencies")) {
        let optional = project.optional_dependencies.values().flatten();
        let now = wishes(project.dependencies.iter().chain(optional)).with_context(unreadable)?;
        if let Some(difference) = compare(now, &locked.requires_dist)? {
            return Ok(Some(difference));
        }
    }
    for (name, locked) in &locked.requires_dev {
        let now = group(&pyproject.dependency_groups, name, 0).with_context(unreadable)?;
        let Some(now) = now else {
            // `tool.uv.dev-dependencies`, the older form of the group `dev`.
            if normalise(name) == "dev" {
                continue;
            }
            return Ok(Some(format!("no longer has the dependency group `{name}`")));
        };
        if let Some(difference) = compare(now, locked)? {
            return Ok(Some(difference));
        }
    }
    let is_locked =
        |name: &str| locked.requires_dev.keys().any(|own| normalise(own) == normalise(name));
    for (name, entries) in &pyproject.dependency_groups {
        if !entries.is_empty() && !is_locked(name) {
            return Ok(Some(format!("has the new dependency group `{name}`")));
        }
    }
    Ok(None)
}

fn compare(now: BTreeSet<Wish>, locked: &[Required]) -> Result<Option<String>> {
    let is_direct = |name: &str| {
        let has_source = |required: &&Required| {
            required.name == name && DIRECT.iter().any(|key| required.rest.contains_key(*key))
        };
        locked.iter().any(|required| has_source(&required))
    };
    let without_versions = |(name, extras, versions): Wish| match is_direct(&name) {
        true => (name, extras, BTreeSet::new()),
        false => (name, extras, versions),
    };
    let now: BTreeSet<Wish> = now.into_iter().map(without_versions).collect();
    let locked: BTreeSet<Wish> = locked_wishes(locked)?.into_iter().map(without_versions).collect();
    if let Some(new) = now.difference(&locked).next() {
        return Ok(Some(format!("requires `{}`", written(new))));
    }
    let old = locked.difference(&now).next();
    Ok(old.map(|old| format!("no longer requires `{}`", written(old))))
}

fn written((name, extras, versions): &Wish) -> String {
    let list = |texts: &BTreeSet<String>| texts.iter().cloned().collect::<Vec<_>>().join(",");
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", list(extras)) };
    format!("{name}{extras}{}", list(versions))
}

fn wishes<'a>(texts: impl Iterator<Item = &'a String>) -> Result<BTreeSet<Wish>> {
    let mut wishes = BTreeSet::new();
    for text in texts {
        let requirement = Requirement::parse(text)?;
        let specifiers = requirement.specifiers.iter().map(Specifier::canonical);
        let extras = requirement.extras.iter().map(|extra| normalise(extra));
        wishes.insert((normalise(&requirement.name), extras.collect(), specifiers.collect()));
    }
    Ok(wishes)
}

fn locked_wishes(locked: &[Required]) -> Result<BTreeSet<Wish>> {
    let mut wishes = BTreeSet::new();
    for Required { name, extras, specifier, rest: _ } in locked {
        let texts = specifier.iter().flat_map(|text| text.split(','));
        let specifiers = texts.map(|text| Ok(Specifier::parse(text)?.canonical()));
        let extras = extras.iter().map(|extra| normalise(extra)).collect();
        wishes.insert((normalise(name), extras, specifiers.collect::<Result<_>>()?));
    }
    Ok(wishes)
}

/// How deep groups may include each other.
const DEPTH_MAX: usize = 50;

/// Returns the requirements of a dependency group; `None` if there is no such group.
fn group(
    groups: &BTreeMap<String, Vec<Entry>>,
    name: &str,
    depth: usize,
) -> Result<Option<BTreeSet<Wish>>> {
    let found = groups.iter().find(|(own, _)| normalise(own) == normalise(name));
    let Some((_, entries)) = found else { return Ok(None) };
    if depth > DEPTH_MAX {
        bail!("the dependency group `{name}` includes itself");
    }
    let mut all = BTreeSet::new();
    for entry in entries {
        match entry {
            Entry::Requirement(text) => all.extend(wishes([text].into_iter())?),
            Entry::Include { group: included } => {
                all.extend(group(groups, included, depth + 1)?.unwrap_or_default());
            }
        }
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use crate::lock::UvLock;

    const LOCK: &str = r#"
version = 1
[[package]]
name = "app"
version = "1"
source = { virtual = "." }
[package.metadata]
requires-dist = [
    { name = "idna", specifier = ">=3.0,!=3.5" },
    { name = "httpx", extras = ["http2", "socks"] },
    { name = "lib-x", editable = "libs/x" },
    { name = "pytest", marker = "extra == 'test'", specifier = "==8" },
]
provides-extras = ["test"]
[package.metadata.requires-dev]
dev = [{ name = "ruff" }, { name = "six" }]
"#;

    const PROJECT: &str = r#"
[project]
name = "app"
dependencies = ["idna != 3.5, >= 3", "HTTPX[socks,http2]", "lib.x>=7; python_version > '3'"]
[project.optional-dependencies]
test = ["pytest==8.0"]
[dependency-groups]
dev = ["ruff", { include-group = "more" }]
more = ["six"]
"#;

    fn difference(change: (&str, &str)) -> Option<String> {
        assert!(PROJECT.contains(change.0));
        // Groups that are only included are not in the lockfile of this test.
        let lock = LOCK.replace("dev = [{", "more = [{ name = \"six\" }]\ndev = [{");
        let lock = UvLock::parse(&lock).unwrap();
        lock.difference(".", &PROJECT.replace(change.0, change.1)).unwrap()
    }

    #[test]
    fn other_spellings_are_no_difference() {
        assert_eq!(difference(("", "")), None);
        assert_eq!(difference(("lib.x>=7", "lib_x")), None);
        let dynamic = ("name = \"app\"", "name = \"app\"\ndynamic = [\"dependencies\"]");
        assert_eq!(difference(dynamic), None);
    }

    #[test]
    fn each_difference_is_named() {
        for (change, expected) in [
            ((">= 3\"", ">= 3.1\""), "requires `idna!=3.5,>=3.1`"),
            (("\"HTTPX[socks,http2]\",", ""), "no longer requires `httpx[http2,socks]`"),
            (("HTTPX[socks,http2]", "httpx[socks]"), "requires `httpx[socks]`"),
            (("==8.0", "==8.1"), "requires `pytest==8.1`"),
            (("\"ruff\"", "\"ruff>=1\""), "requires `ruff>=1`"),
            (("more = ", "new = [\"x\"]\nmore = "), "has the new dependency group `new`"),
        ] {
            assert_eq!(difference(change).as_deref(), Some(expected), "{change:?}");
        }
    }
}
