//! Since which tag the version of a package is locked: the lockfile, or the requirements files, as they
//! were at each tag.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::Result;
use toml::Table;
use zipwright_python::normalise;

use super::git::Repository;

/// Versions by normalised name. A lockfile may have several of one name.
type Versions = BTreeMap<String, BTreeSet<String>>;

/// The locked versions at each tag, the oldest first, at an earlier revision, and now.
pub struct Locks {
    tags: Vec<(String, Versions)>,
    before: Versions,
    now: Versions,
}

/// When a version was locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The first tag that locks the package; `None` if no tag does.
    pub added: Option<String>,
    /// The first tag from which on this version is locked; `None` if no tag locks it.
    pub changed: Option<String>,
}

impl Locks {
    /// Reads the lockfiles and requirements files at `paths`, at each of `tags`, at `since` and at
    /// `HEAD`.
    pub fn read(
        repository: &Repository,
        tags: &[String],
        since: Option<&str>,
        paths: &[String],
    ) -> Result<Self> {
        let since = since.map(|name| repository.commit_of(name)).transpose()?.flatten();
        let of_tags = tags.iter().map(|tag| format!("refs/tags/{tag}"));
        let revisions: Vec<String> = of_tags.chain(["HEAD".into()]).chain(since).collect();
        let of = |revision| paths.iter().map(move |path| (revision, path));
        let contents = repository.contents(revisions.iter().flat_map(of))?;
        let mut all: Vec<Versions> = Vec::with_capacity(revisions.len());
        let mut last: &[Option<Rc<str>>] = &[];
        for contents in contents.chunks(paths.len().max(1)) {
            // Most tags have the files of the tag before.
            match all.last().filter(|_| last == contents) {
                Some(versions) => all.push(versions.clone()),
                None => all.push(versions(paths, contents)),
            }
            last = contents;
        }
        let mut all = all.into_iter();
        let mut next = || all.next().unwrap_or_default();
        let tags = tags.iter().map(|tag| (tag.clone(), next())).collect();
        Ok(Self { tags, now: next(), before: next() })
    }

    /// Returns since when `version` of a package is locked; `None` if it is not locked now.
    pub fn pin(&self, name: &str, version: &str) -> Option<Pin> {
        let has = |versions: &Versions| versions.get(name).is_some_and(|all| all.contains(version));
        if !has(&self.now) {
            return None;
        }
        let since = self.tags.iter().rev().take_while(|(_, versions)| has(versions)).last();
        let first = self.tags.iter().find(|(_, versions)| versions.contains_key(name));
        Some(Pin {
            added: first.map(|(tag, _)| tag.clone()),
            changed: since.map(|(tag, _)| tag.clone()),
        })
    }

    /// Returns the versions of a package that were locked at `since`.
    pub fn before(&self, name: &str) -> Vec<String> {
        self.before.get(name).into_iter().flatten().cloned().collect()
    }
}

/// Returns the versions that these files lock together.
fn versions(paths: &[String], contents: &[Option<Rc<str>>]) -> Versions {
    let mut versions = Versions::new();
    for (path, content) in paths.iter().zip(contents) {
        if let Some(text) = content {
            add(&mut versions, path, text);
        }
    }
    versions
}

/// Adds the versions that a file locks: a lockfile has tables `package` or `packages`; every other file
/// has lines `NAME==VERSION`.
fn add(versions: &mut Versions, path: &str, text: &str) {
    let mut insert = |name: &str, version: &str| {
        let name = normalise(name);
        versions.entry(name).or_default().insert(version.to_owned());
    };
    if !(path.ends_with(".toml") || path.ends_with(".lock")) {
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let Some((name, version)) = line.split_once("==") else { continue };
            let name = name.split('[').next().unwrap_or_default().trim();
            let version = version.trim_start_matches('=').trim();
            let version = version.split([' ', '\\', ',']).next().unwrap_or_default();
            if !name.is_empty() && !version.is_empty() {
                insert(name, version);
            }
        }
        return;
    }
    let Ok(table) = text.parse::<Table>() else { return };
    let packages = ["package", "packages"].into_iter().filter_map(|key| table.get(key)?.as_array());
    for package in packages.flatten() {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        if let (Some(name), Some(version)) = (text("name"), text("version")) {
            insert(name, version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(path: &str, text: &str) -> Vec<(String, Vec<String>)> {
        let mut versions = Versions::new();
        add(&mut versions, path, text);
        versions.into_iter().map(|(name, all)| (name, all.into_iter().collect())).collect()
    }

    #[test]
    fn lockfiles_and_requirements_have_their_versions() {
        let found = |name: &str, version: &str| vec![(name.to_owned(), vec![version.to_owned()])];
        let requirements =
            "# idna==1\nIdna_X[a] == 3.10 ; python_version > '3' \\\n  --hash=x\nb>=2\n";
        assert_eq!(versions("requirements.txt", requirements), found("idna-x", "3.10"));
        let lock = "version = 1\n[[package]]\nname = \"idna\"\nversion = \"3.11\"\n";
        assert_eq!(versions("uv.lock", lock), found("idna", "3.11"));
        let lock =
            "[[packages]]\nname = \"idna\"\nversion = \"3.11\"\n[[packages]]\nname = \"b\"\n";
        assert_eq!(versions("pylock.toml", lock), found("idna", "3.11"));
        assert_eq!(versions("uv.lock", "no TOML ["), []);
    }

    #[test]
    fn a_version_is_locked_since_the_last_change_to_it() {
        let at = |version: &str| {
            let mut versions = Versions::new();
            add(&mut versions, "r.txt", &format!("idna=={version}\n"));
            versions
        };
        let tags = ["1", "2", "3", "4"].map(str::to_owned).into_iter();
        let tags = tags.zip([Versions::new(), at("3.9"), at("3.10"), at("3.10")]).collect();
        let locks = Locks { tags, before: at("3.9"), now: at("3.10") };
        let pin = Pin { added: Some("2".into()), changed: Some("3".into()) };
        assert_eq!(locks.pin("idna", "3.10"), Some(pin));
        assert_eq!(locks.pin("idna", "3.9"), None);
        assert_eq!(locks.before("idna"), ["3.9"]);
    }
}
