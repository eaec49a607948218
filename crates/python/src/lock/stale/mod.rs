//! Whether a `uv.lock` was made from the `pyproject.toml` of its members as they are now.
//!
//! The lockfile has the requirements of each member as uv read them. Compared are names, extras,
//! versions and sources, each in all environments that the lockfile is for, so the form in which a
//! marker is written does not matter. A false alarm would block a build that is right, so a part that
//! cannot be compared counts as equal.

mod cases;
mod place;
mod pyproject;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use self::cases::Cases;
use self::pyproject::{Pyproject, Sources};
use self::wish::{Entry, Wish, compare};
use super::Wanted;
use super::uv::{Metadata, Package, Required, UvLock};
use crate::marker::Marker;
use crate::name::normalise;
use crate::target::Target;
use crate::version::Specifier;

/// Keys of a requirement in a `uv.lock` whose value is a path.
const PATHS: [&str; 4] = ["directory", "editable", "path", "virtual"];

/// Keys that a comparison need not look at, or looks at elsewhere.
const OTHERS: [&str; 3] = ["conflict", "marker", "subdirectory"];

/// The projects that a lockfile was made from, as they are now.
pub struct Checkout<'a> {
    /// The absolute path of the folder of the lockfile.
    pub folder: &'a str,
    /// Returns the `pyproject.toml` in a folder, relative to that of the lockfile; `None` if there is
    /// none.
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

/// A difference between a project and the lockfile.
#[derive(Debug, PartialEq, Eq)]
pub struct Behind {
    /// The path from the folder of the lockfile.
    pub pyproject: String,
    /// Such as "requires `idna>=3`".
    pub difference: String,
}

/// A lockfile and the projects it is compared with.
struct Comparison<'a> {
    lock: &'a UvLock,
    target: &'a Target,
    checkout: &'a Checkout<'a>,
    root: Option<Pyproject>,
    /// Folders of the packages in the lockfile; `None` if a name has several.
    folders: BTreeMap<String, Option<String>>,
    pythons: Vec<Specifier>,
    supported: Vec<Marker>,
}

impl UvLock {
    /// Returns the first difference between the lockfile and the members that are needed; `None` if
    /// there is none. Members without a `pyproject.toml` are left out: a lockfile may be given without
    /// the projects that it was made from.
    pub fn behind(
        &self,
        target: &Target,
        wanted: &Wanted,
        checkout: &Checkout,
    ) -> Result<Option<Behind>> {
        let supported = self.supported_markers.iter().map(|marker| Marker::parse(marker));
        let mut comparison = Comparison {
            lock: self,
            target,
            checkout,
            root: None,
            folders: folders(self, checkout.folder),
            pythons: Specifier::parse_list(self.requires_python.as_deref().unwrap_or_default())?,
            supported: supported.collect::<Result<_>>()?,
        };
        comparison.root = comparison.read(".")?;
        let behind = |folder: &str, difference| {
            let pyproject = match folder {
                "." => "pyproject.toml".into(),
                folder => format!("{folder}/pyproject.toml"),
            };
            Behind { pyproject, difference }
        };
        if let Some(difference) = comparison.manifest()? {
            return Ok(Some(behind(".", difference)));
        }
        for folder in self.members(target, wanted)? {
            let Some(pyproject) = comparison.read(&folder)? else { continue };
            if let Some(difference) = comparison.member(&folder, &pyproject)? {
                return Ok(Some(behind(&folder, difference)));
            }
        }
        Ok(None)
    }
}

impl Comparison<'_> {
    fn read(&self, folder: &str) -> Result<Option<Pyproject>> {
        let Some(text) = (self.checkout.read)(folder) else { return Ok(None) };
        let absolute = place::absolute(folder, self.checkout.folder);
        let pyproject = Pyproject::parse(&text, absolute).with_context(|| unreadable(folder))?;
        Ok(Some(pyproject))
    }

    /// Compares the settings of the workspace that change what is locked.
    fn manifest(&self) -> Result<Option<String>> {
        let Some(root) = &self.root else { return Ok(None) };
        let sources = self.sources(root, true);
        let manifest = &self.lock.manifest;
        for (key, locked) in [
            ("override-dependencies", &manifest.overrides),
            ("constraint-dependencies", &manifest.constraints),
            ("build-constraint-dependencies", &manifest.build_constraints),
        ] {
            let now = root.list(key, &sources).with_context(|| unreadable("."))?;
            let locked: Option<Vec<Required>> =
                locked.iter().map(|value| value.clone().try_into().ok()).collect();
            let (Some(now), Some(locked)) = (now, locked) else { continue };
            if let Some(difference) = self.compare(now, &locked, &BTreeSet::new())? {
                return Ok(Some(format!("{difference} in `{key}`")));
            }
        }
        let key = "exclude-dependencies";
        let locked = manifest.excludes.iter().map(|name| normalise(name)).collect();
        if root.names(key).is_some_and(|names| names != locked) {
            return Ok(Some(format!("has other `{key}`")));
        }
        Ok(None)
    }

    /// Compares one member.
    fn member(&self, folder: &str, pyproject: &Pyproject) -> Result<Option<String>> {
        let mut packages = self.lock.packages.iter();
        let package = packages.find(|package| package.member_folder() == Some(folder));
        let Some(package) = package else { return Ok(None) };
        let unreadable = || unreadable(folder);
        if let Some(name) = pyproject.name()
            && name != package.name
        {
            return Ok(Some(format!("is named `{name}`, and was `{}`", package.name)));
        }
        let is_member = folder == "." || self.lock.manifest.members.contains(&package.name);
        if is_member && let Some(difference) = self.python(pyproject).with_context(unreadable)? {
            return Ok(Some(difference));
        }
        let none = Metadata::default();
        let locked = package.metadata.as_ref().unwrap_or(&none);
        let sources = self.sources(pyproject, is_member);
        if pyproject.is_static()
            && let Some((now, extras)) =
                pyproject.requirements(&sources).with_context(unreadable)?
            && let Some(difference) = self.requirements(package, locked, now, extras)?
        {
            return Ok(Some(difference));
        }
        self.groups(pyproject, locked, &sources).with_context(unreadable)
    }

    fn requirements(
        &self,
        package: &Package,
        locked: &Metadata,
        now: Vec<Entry>,
        extras: BTreeSet<String>,
    ) -> Result<Option<String>> {
        let of_lock: BTreeSet<String> =
            locked.provides_extras.iter().map(|extra| normalise(extra)).collect();
        // Earlier releases of uv did not write the names.
        if !of_lock.is_empty() {
            if let Some(new) = extras.difference(&of_lock).next() {
                return Ok(Some(format!("has the new extra `{new}`")));
            }
            if let Some(old) = of_lock.difference(&extras).next() {
                return Ok(Some(format!("no longer has the extra `{old}`")));
            }
        }
        // Earlier releases of uv replaced `app[all]` among the requirements of `app` by what it is.
        let is_own = |name: &str| name == package.name;
        let was_replaced = now.iter().any(|entry| is_own(&entry.wish.name))
            && !locked.requires_dist.iter().any(|required| is_own(&required.name));
        let extras = if was_replaced { BTreeSet::new() } else { extras };
        self.compare(now, &locked.requires_dist, &extras)
    }

    fn groups(
        &self,
        pyproject: &Pyproject,
        locked: &Metadata,
        sources: &Sources,
    ) -> Result<Option<String>> {
        let names = pyproject.groups();
        let of_lock = |name: &str| {
            locked.requires_dev.iter().find(|(own, _)| normalise(own) == name).map(|(_, list)| list)
        };
        for name in locked.requires_dev.keys().map(|name| normalise(name)) {
            if !names.contains(&name) {
                return Ok(Some(format!("no longer has the dependency group `{name}`")));
            }
        }
        for name in &names {
            let Some(now) = pyproject.group(name, sources)? else { continue };
            match of_lock(name) {
                None if now.is_empty() => {}
                None => return Ok(Some(format!("has the new dependency group `{name}`"))),
                Some(locked) => {
                    if let Some(difference) = self.compare(now, locked, &BTreeSet::new())? {
                        return Ok(Some(format!("{difference} in the dependency group `{name}`")));
                    }
                }
            }
        }
        Ok(None)
    }

    fn compare(
        &self,
        now: Vec<Entry>,
        locked: &[Required],
        extras: &BTreeSet<String>,
    ) -> Result<Option<String>> {
        let entries = locked.iter().map(|required| entry(required, self.checkout.folder));
        let locked: Vec<Entry> = entries.collect::<Result<_>>()?;
        let markers = now.iter().chain(&locked);
        let markers = markers.flat_map(|entry| entry.when.iter().chain(&entry.unless));
        let limits = (self.pythons.as_slice(), self.supported.as_slice());
        let cases = Cases::new(self.target, markers, limits).with_extras(extras);
        Ok(compare(now, locked, &cases))
    }

    /// Compares the Python versions of the lockfile, which are those that all members allow.
    fn python(&self, pyproject: &Pyproject) -> Result<Option<String>> {
        let Some(own) = pyproject.requires_python() else { return Ok(None) };
        if pyproject.is_dynamic("requires-python") {
            return Ok(None);
        }
        let mut wanted = Specifier::parse_list(own)?;
        let canonical = |list: &[Specifier]| -> BTreeSet<String> {
            list.iter().map(Specifier::canonical).collect()
        };
        if canonical(&wanted) == canonical(&self.pythons) {
            return Ok(None);
        }
        let difference = || Ok(Some(format!("requires Python `{own}`")));
        let locked = bounds(&self.pythons);
        let mut now = bounds(&wanted);
        if now.0 > locked.0 || now.1 < locked.1 {
            return difference();
        }
        for name in &self.lock.manifest.members {
            if now == locked {
                return Ok(None);
            }
            let package = self.lock.packages.iter().find(|package| package.name == *name);
            let folder = package.and_then(Package::member_folder);
            let other = folder.map_or(Ok(None), |folder| self.read(folder))?;
            let Some(other) = other else { return Ok(None) };
            if other.is_dynamic("requires-python") {
                return Ok(None);
            }
            wanted.extend(Specifier::parse_list(other.requires_python().unwrap_or_default())?);
            now = bounds(&wanted);
        }
        if now == locked { Ok(None) } else { difference() }
    }

    fn sources<'a>(&'a self, pyproject: &'a Pyproject, is_member: bool) -> Sources<'a> {
        let root = self.root.as_ref().filter(|_| is_member);
        let layers = std::iter::once(pyproject).chain(root).collect();
        Sources { layers, is_complete: is_member, folders: &self.folders }
    }
}

fn unreadable(folder: &str) -> String {
    format!("the `pyproject.toml` in `{folder}` is not readable")
}

fn folders(lock: &UvLock, base: &str) -> BTreeMap<String, Option<String>> {
    let mut folders: BTreeMap<String, Option<String>> = BTreeMap::new();
    for package in &lock.packages {
        let Some(folder) = package.member_folder() else { continue };
        let folder = Some(place::absolute(folder, base));
        let kept = folders.entry(package.name.clone()).or_insert_with(|| folder.clone());
        if *kept != folder {
            *kept = None;
        }
    }
    folders
}

/// Returns the positions of the first and the last version of Python that are allowed, among many. uv
/// compares these, and not the versions between them.
fn bounds(specifiers: &[Specifier]) -> (usize, usize) {
    let late = (0..=20).chain([99]);
    let versions = (6..=20).flat_map(|minor| late.clone().map(move |it| format!("3.{minor}.{it}")));
    let versions = ["2.7.18".to_owned()].into_iter().chain(versions).chain(["4.0.0".to_owned()]);
    let mut allowed = versions
        .enumerate()
        .filter(|(_, version)| specifiers.iter().all(|specifier| specifier.allows(version)))
        .map(|(at, _)| at);
    let first = allowed.next().unwrap_or_default();
    (first, allowed.last().unwrap_or(first))
}

/// Reads a requirement of the lockfile.
fn entry(required: &Required, base: &str) -> Result<Entry> {
    let Required { name, extras, specifier, rest } = required;
    let text = |key: &str| rest.get(key).and_then(toml::Value::as_str);
    let source = if let Some(git) = text("git") {
        let (url, query) = git.split_once('?').unwrap_or((git, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        Some(place::repository(url, query, base))
    } else if let Some(url) = text("url") {
        Some(place::archive(url, text("subdirectory"), base))
    } else if let Some(path) = PATHS.iter().find_map(|key| text(key)) {
        Some(place::path(path, base))
    } else if let Some(index) = text("index") {
        Some(wish::index(&place::place(index, base)))
    } else {
        let is_known = |key: &String| OTHERS.contains(&key.as_str());
        rest.keys().all(is_known).then(String::new)
    };
    let versions = Specifier::parse_list(specifier.as_deref().unwrap_or_default())?;
    let wish = Wish::new(name, extras.iter(), versions.into_iter()).with_source(source);
    let when = text("marker").map(Marker::parse).transpose()?.into_iter().collect();
    Ok(Entry { wish, when, unless: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::runtime::Runtime;

    const LOCK: &str = r#"
version = 1
requires-python = ">=3.10"
[manifest]
members = ["app"]
overrides = [{ name = "h11", specifier = "==0.14" }]
[[package]]
name = "app"
version = "1"
source = { virtual = "." }
[package.metadata]
requires-dist = [
    { name = "app", extras = ["test"], marker = "extra == 'all'" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "idna", specifier = ">=3.0,!=3.5" },
    { name = "httpx", extras = ["http2", "socks"] },
    { name = "lib-x", marker = "python_full_version >= '3.11'", editable = "libs/x" },
    { name = "pytest", marker = "extra == 'test'", specifier = "==8", index = "https://h/simple" },
]
provides-extras = ["all", "test"]
[package.metadata.requires-dev]
dev = [{ name = "ruff", git = "https://h/ruff?tag=v1" }, { name = "six" }]
more = [{ name = "six" }]
[[package]]
name = "lib-x"
source = { editable = "libs/x" }
"#;

    const PROJECT: &str = r#"
[project]
name = "App"
requires-python = ">=3.10"
dependencies = ["idna != 3.5, >= 3", "HTTPX[socks,http2]", "lib.x>=7; python_version > '3.10'",
    "colorama; platform_system == 'Windows'", "tomli; python_version < '3.10'"]
[project.optional-dependencies]
test = ["pytest==8.0"]
all = ["app[test]"]
[dependency-groups]
dev = ["ruff", { include-group = "more" }]
more = ["six"]
[tool.uv]
override-dependencies = ["h11==0.14.0"]
[tool.uv.sources]
lib_x = { path = "./libs/x" }
ruff = [{ git = "https://me:pw@h/ruff", tag = "v1", group = "dev" }]
pytest = { index = "own" }
[[tool.uv.index]]
name = "own"
url = "https://h/simple/"
"#;

    fn difference_in(lock: &str, project: &str) -> Option<String> {
        let lock = UvLock::parse(lock).unwrap();
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 });
        let read = |folder: &str| (folder == ".").then(|| project.to_owned());
        let checkout = Checkout { folder: "/srv/app", read: &read };
        let behind = lock.behind(&target, &Wanted::default(), &checkout).unwrap();
        behind.map(|behind| behind.difference)
    }

    fn difference(change: (&str, &str)) -> Option<String> {
        assert!(PROJECT.contains(change.0), "{change:?}");
        difference_in(LOCK, &PROJECT.replace(change.0, change.1))
    }

    #[test]
    fn other_spellings_are_no_difference() {
        for change in [
            ("", ""),
            ("lib.x>=7", "lib_x"),
            ("path = \"./libs/x\"", "workspace = true"),
            ("path = \"./libs/x\"", "path = \"/srv/app/libs/x\", editable = true"),
            ("python_version > '3.10'", "python_full_version >= '3.11.0'"),
            ("python_version < '3.10'", "python_version == '3.9.*'"),
            ("requires-python = \">=3.10\"", "requires-python = \">3.9.99,>=3.10.0\""),
            ("[tool.uv]\n", "[tool.uv]\nprerelease = \"allow\"\n"),
            ("[tool.uv]\n", "[tool.uv]\nno-sources = true\n"),
            ("name = \"App\"", "name = \"App\"\ndynamic = [\"dependencies\"]"),
            ("\"App\"", "\"App\"\nversion = \"2\""),
        ] {
            assert_eq!(difference(change), None, "{change:?}");
        }
        let lock = LOCK.replace("overrides", "others").replace("requires-dev", "others");
        assert_eq!(difference_in(&lock, "[build-system]\nrequires = []"), None);
        assert_eq!(
            difference_in(
                LOCK,
                &format!("{PROJECT}[tool.poetry]").replace("\ndependencies =", "\nx =")
            ),
            None
        );
    }

    #[test]
    fn locks_of_earlier_releases_are_read() {
        let flat = LOCK.replace("provides-extras = [\"all\", \"test\"]", "").replace(
            "{ name = \"app\", extras = [\"test\"], marker = \"extra == 'all'\" }",
            "{ name = \"pytest\", marker = \"extra == 'all'\", specifier = \"==8\", index = \"https://h/simple\" }",
        );
        assert_eq!(difference_in(&flat, PROJECT), None);
    }

    #[test]
    fn each_difference_is_named() {
        for (change, expected) in [
            ((">= 3\"", ">= 3.1\""), "requires `idna!=3.5,>=3.1`"),
            (("\"HTTPX[socks,http2]\",", ""), "no longer requires `httpx[http2,socks]`"),
            (("HTTPX[socks,http2]", "httpx[socks]"), "requires `httpx[socks]`"),
            (("==8.0", "==8.1"), "requires `pytest==8.1`"),
            (("pytest==8.0", "pytest"), "requires `pytest`"),
            (("\"ruff\"", "\"x>=1\""), "requires `x>=1` in the dependency group `dev`"),
            (("more = ", "new = [\"x\"]\nmore = "), "has the new dependency group `new`"),
            (("Windows", "Darwin"), "requires `colorama` under another marker"),
            (("> '3.10'", "> '3.11'"), "requires `lib-x` under another marker"),
            (("libs/x", "libs/y"), "takes `lib-x` from another source"),
            (("h/simple", "h/other"), "takes `pytest` from another source"),
            (
                ("tag = ", "branch = "),
                "takes `ruff` from another source in the dependency group `dev`",
            ),
            (("test = ", "tests = "), "has the new extra `tests`"),
            (("all = [\"app[test]\"]", ""), "no longer has the extra `all`"),
            (("python = \">=3.10\"", "python = \">=3.11\""), "requires Python `>=3.11`"),
            (("python = \">=3.10\"", "python = \">=3.9\""), "requires Python `>=3.9`"),
            (("==0.14.0", "==0.15"), "requires `h11==0.15` in `override-dependencies`"),
            (("\"App\"", "\"other\""), "is named `other`, and was `app`"),
            (
                ("[tool.uv]\n", "[tool.uv]\nexclude-dependencies = [\"x\"]\n"),
                "has other `exclude-dependencies`",
            ),
        ] {
            assert_eq!(difference(change).as_deref(), Some(expected), "{change:?}");
        }
    }
}
