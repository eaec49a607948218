//! Since which tag the version of a package is locked: the lockfile, or the requirements files, as they
//! were at each tag.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::Result;
use toml::Table;
use zipwright_python::{Requirement, Specifier, normalise};

use super::git::Repository;
use crate::base::RelPath;

/// Versions by normalised name. A lockfile may have several of one name.
type Versions = BTreeMap<String, BTreeSet<String>>;

/// The files of a revision by path; `None` if it does not have the file.
type Files = BTreeMap<String, Option<Rc<str>>>;

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
    /// Reads the lockfiles and requirements files at `paths`, and the files that these include, at each
    /// of `tags`, at `since` and at `HEAD`.
    pub fn read(
        repository: &Repository,
        tags: &[String],
        since: Option<&str>,
        paths: &[String],
    ) -> Result<Self> {
        let since = since.map(|name| repository.commit_of(name)).transpose()?.flatten();
        let of_tags = tags.iter().map(|tag| format!("refs/tags/{tag}"));
        let revisions: Vec<String> = of_tags.chain(["HEAD".into()]).chain(since).collect();
        let mut all: Vec<Versions> = Vec::with_capacity(revisions.len());
        let mut last = None;
        let read = files(repository, &revisions, paths)?;
        for files in &read {
            // Most tags have the files of the tag before.
            match all.last().filter(|_| last == Some(files)) {
                Some(versions) => all.push(versions.clone()),
                None => all.push(versions(files)),
            }
            last = Some(files);
        }
        let mut all = all.into_iter();
        let mut next = || all.next().unwrap_or_default();
        let tags = tags.iter().map(|tag| (tag.clone(), next())).collect();
        Ok(Self { tags, now: next(), before: next() })
    }

    /// Returns since when `version` of a package is locked; `None` if it is not locked now.
    pub fn pin(&self, name: &str, version: &str) -> Option<Pin> {
        let has = |versions: &Versions| has(versions, name, version);
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

    /// Returns whether `version` of a package was locked at `since`.
    pub fn had(&self, name: &str, version: &str) -> bool {
        has(&self.before, name, version)
    }

    /// Returns the versions of a package that were locked at `since`.
    pub fn before(&self, name: &str) -> Vec<String> {
        self.before.get(name).into_iter().flatten().cloned().collect()
    }
}

fn has(versions: &Versions, name: &str, version: &str) -> bool {
    versions.get(name).is_some_and(|all| all.iter().any(|locked| locks(locked, version)))
}

/// Returns whether `NAME==LOCKED` allows `version`: 1.17 is 1.17.0, and also 1.17.0+local.
fn locks(locked: &str, version: &str) -> bool {
    let specifier = Specifier::parse(&format!("=={locked}"));
    locked == version || specifier.is_ok_and(|specifier| specifier.allows(version))
}

/// Reads the files at `paths`, and those that they include, at each revision.
fn files(repository: &Repository, revisions: &[String], paths: &[String]) -> Result<Vec<Files>> {
    let mut read = vec![Files::new(); revisions.len()];
    let each = (0..revisions.len()).flat_map(|at| paths.iter().map(move |path| (at, path.clone())));
    let mut waiting: BTreeSet<(usize, String)> = each.collect();
    while !waiting.is_empty() {
        let names = waiting.iter().map(|(at, path)| (&revisions[*at], path));
        let contents = repository.contents(names)?;
        let mut found = BTreeSet::new();
        for ((at, path), content) in waiting.into_iter().zip(contents) {
            let included = content.iter().flat_map(|text| included(&path, text));
            found.extend(included.map(|path| (at, path)));
            read[at].insert(path, content);
        }
        found.retain(|(at, path)| !read[*at].contains_key(path));
        waiting = found;
    }
    Ok(read)
}

fn is_lockfile(path: &str) -> bool {
    path.ends_with(".toml") || path.ends_with(".lock")
}

/// Returns the lines of a requirements file without comments; a continued line is one.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace('\r', "").replace("\\\n", " ");
    let line = |line: &str| line.split(" #").next().unwrap_or_default().trim().to_owned();
    text.lines().map(line).filter(|line| !line.starts_with('#')).collect()
}

/// Returns the paths of the project that a requirements file includes with `-r` or `-c`.
fn included(path: &str, text: &str) -> Vec<String> {
    if is_lockfile(path) {
        return Vec::new();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let place = |line: &String| {
        let options = ["--requirement", "--constraint", "-r", "-c"];
        let rest = options.iter().find_map(|option| line.strip_prefix(option))?;
        let named = rest.trim_start_matches([' ', '\t', '=']).trim_matches(['"', '\'']);
        let place = RelPath::parse(&format!("./{folder}/{named}")).ok()?;
        // A URL, or a file outside of the project, has no history here.
        (!named.starts_with('/') && !named.contains("://")).then(|| place.to_string())
    };
    lines(text).iter().filter_map(place).collect()
}

/// Returns the versions that these files lock together.
fn versions(files: &Files) -> Versions {
    let mut versions = Versions::new();
    for (path, content) in files {
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
    if !is_lockfile(path) {
        for line in lines(text) {
            let requirement = line.split(" --").next().unwrap_or_default();
            let Ok(requirement) = Requirement::parse(requirement) else { continue };
            let exact = requirement.specifiers.iter().filter_map(Specifier::exact);
            exact.for_each(|version| insert(&requirement.name, version));
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
    fn included_files_are_named_relative_to_the_file() {
        let text = "-r base.txt\n-c ../c.txt # x\n --requirement=more/x.txt\n-r https://x/y.txt\n\
                    -r /etc/x\n-r ../../out.txt\n# -r no.txt\n-chere.txt\n";
        let found = ["req/base.txt", "c.txt", "req/more/x.txt", "req/here.txt"];
        assert_eq!(included("req/dev.txt", text), found);
        assert_eq!(included("uv.lock", text), [""; 0]);
    }

    #[test]
    fn versions_are_compared_as_versions() {
        assert!(locks("1.17", "1.17.0") && locks("2.0", "2.0+cpu") && locks("x", "x"));
        assert!(!locks("1.17", "1.17.1") && !locks("2.0+cpu", "2.0"));
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
