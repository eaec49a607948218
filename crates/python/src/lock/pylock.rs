//! `pylock.toml` (PEP 751), version 1.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    File, Location, Locked, LockedSet, Source, Wanted, best_wheel, check_commit, check_file_name,
    check_python, check_url, describe, known_names, no_file, sha256,
};
use crate::marker::Marker;
use crate::name::normalise;
use crate::target::Target;

/// A `pylock.toml` that was read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pylock {
    lock_version: String,
    #[serde(default)]
    environments: Vec<String>,
    requires_python: Option<String>,
    #[serde(default)]
    extras: Vec<String>,
    #[serde(default)]
    dependency_groups: Vec<String>,
    #[serde(default)]
    default_groups: Vec<String>,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    requires_python: Option<String>,
    vcs: Option<Vcs>,
    directory: Option<Directory>,
    archive: Option<Item>,
    sdist: Option<Item>,
    #[serde(default)]
    wheels: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    path: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Directory {
    path: String,
    subdirectory: Option<String>,
}

/// A file: a wheel, a source distribution or another archive.
#[derive(Debug, Deserialize)]
struct Item {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    hashes: BTreeMap<String, String>,
    subdirectory: Option<String>,
}

/// Returns whether a file name is that of a `pylock.toml` or `pylock.NAME.toml`.
pub fn is_pylock(file_name: &str) -> bool {
    let Some(rest) = file_name.strip_prefix("pylock.") else { return false };
    rest == "toml"
        || rest.strip_suffix(".toml").is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

impl Pylock {
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        if lock.lock_version.split('.').next() != Some("1") {
            bail!("its `lock-version` is {}, and version 1 can be read", lock.lock_version);
        }
        for package in &lock.packages {
            package.check()?;
        }
        Ok(lock)
    }

    /// Returns the packages for a target, by the rules of PEP 751 for installers.
    pub fn select(&self, target: &Target, wanted: &Wanted) -> Result<LockedSet> {
        let (extras, groups) = self.names(wanted)?;
        let extras: Vec<&str> = extras.iter().map(String::as_str).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        check_python(self.requires_python.as_deref(), target, "the lockfile")?;
        self.check_environment(target)?;
        let mut selected: Vec<&Package> = Vec::new();
        for package in &self.packages {
            let described = package.describe();
            if let Some(marker) = &package.marker {
                let unreadable = || format!("the marker of {described} is not readable");
                let marker = Marker::parse(marker).with_context(unreadable)?;
                if !marker.eval_locked(&target.environment, &extras, &groups)? {
                    continue;
                }
            }
            check_python(package.requires_python.as_deref(), target, &described)?;
            let name = normalise(&package.name);
            if let Some(other) = selected.iter().find(|other| normalise(&other.name) == name) {
                bail!(
                    "the lockfile has both {} and {described} for {}: lock it again",
                    other.describe(),
                    target.name
                );
            }
            selected.push(package);
        }
        let mut packages = selected
            .into_iter()
            .map(|package| package.locked(target))
            .collect::<Result<Vec<_>>>()?;
        packages.sort();
        Ok(LockedSet { packages })
    }

    /// Returns the selected extras and groups.
    fn names(&self, wanted: &Wanted) -> Result<(Vec<String>, Vec<String>)> {
        if let Some(package) = wanted.package {
            bail!("it has no members, so `package = \"{package}\"` selects nothing: leave it out");
        }
        let extras = known_names(wanted.extras, &self.extras, ("extra", "the lockfile"))?;
        let groups: Vec<String> =
            self.dependency_groups.iter().chain(&self.default_groups).cloned().collect();
        let groups = match wanted.groups {
            Some(names) => known_names(names, &groups, ("dependency group", "the lockfile"))?,
            None => self.default_groups.clone(),
        };
        Ok((extras, groups))
    }

    fn check_environment(&self, target: &Target) -> Result<()> {
        // pipenv writes an empty list for a lockfile without limits, and pip reads it so.
        if self.environments.is_empty() {
            return Ok(());
        }
        for marker in &self.environments {
            if Marker::parse(marker)?.eval(&target.environment, &[])? {
                return Ok(());
            }
        }
        let list: Vec<String> =
            self.environments.iter().map(|marker| format!("`{marker}`")).collect();
        bail!(
            "the lockfile is for {}, and none of these holds for {}\nbuild for another platform, or lock \
             for this one",
            list.join(", "),
            target.name
        )
    }
}

impl Package {
    fn describe(&self) -> String {
        describe(&normalise(&self.name), self.version.as_deref())
    }

    /// Fails if the entry has no source, or several that exclude each other.
    fn check(&self) -> Result<()> {
        let has_files = self.sdist.is_some() || !self.wheels.is_empty();
        let direct = [self.vcs.is_some(), self.directory.is_some(), self.archive.is_some()];
        match (direct.into_iter().filter(|given| *given).count(), has_files) {
            (1, false) | (0, true) => Ok(()),
            (0, false) => bail!("{} has no file, folder or repository", self.describe()),
            _ => bail!("{} has sources that exclude each other", self.describe()),
        }
    }

    fn locked(&self, target: &Target) -> Result<Locked> {
        let name = normalise(&self.name);
        let locked = |source| Locked { name: name.clone(), version: self.version.clone(), source };
        let described = self.describe();
        if let Some(vcs) = &self.vcs {
            return Ok(locked(vcs.source(&described)?));
        }
        if let Some(Directory { path, subdirectory }) = &self.directory {
            let folder = subdirectory.as_ref().map_or(path.clone(), |sub| super::join(path, sub));
            return Ok(locked(Source::Folder(folder)));
        }
        if let Some(archive) = &self.archive {
            let file = archive.file(&name, &described)?;
            let is_wheel = file.name.ends_with(".whl");
            return Ok(locked(if is_wheel { Source::Wheel(file) } else { Source::Sdist(file) }));
        }
        if let Some(wheel) = best_wheel(&self.wheels, target, Item::file_name)? {
            return Ok(locked(Source::Wheel(wheel.file(&name, &described)?)));
        }
        if let Some(sdist) = &self.sdist {
            return Ok(locked(Source::Sdist(sdist.file(&name, &described)?)));
        }
        let names: Vec<String> = self.wheels.iter().map(Item::file_name).collect::<Result<_>>()?;
        Err(no_file(&described, target, &names))
    }
}

impl Vcs {
    fn source(&self, package: &str) -> Result<Source> {
        let Some(url) = &self.url else {
            bail!(
                "{package} is a commit of a repository at the path `{}`, which no other checkout \
                 has: lock it with a URL",
                self.path.as_deref().unwrap_or_default()
            );
        };
        if self.kind == "git" {
            check_commit(url, &self.commit_id, package)?;
        }
        Ok(Source::Repository {
            vcs: self.kind.clone(),
            url: url.clone(),
            commit: self.commit_id.clone(),
            subdirectory: self.subdirectory.clone(),
        })
    }
}

impl Item {
    fn place(&self) -> Result<Location> {
        match (&self.path, &self.url) {
            (_, Some(url)) => Ok(Location::Url(url.clone())),
            (Some(path), None) => Ok(Location::Path(path.clone())),
            (None, None) => bail!("a file has neither `url` nor `path`"),
        }
    }

    fn file_name(&self) -> Result<String> {
        self.name.clone().map_or_else(|| Ok(self.place()?.file_name()), Ok)
    }

    fn file(&self, project: &str, package: &str) -> Result<File> {
        let Some(digest) = self.hashes.get("sha256") else {
            bail!("a file of {package} has no `sha256` among its `hashes`\nlock it again");
        };
        let name = self.file_name()?;
        check_file_name(&name, project, package)?;
        check_url(&self.place()?, package)?;
        Ok(File {
            name,
            place: self.place().with_context(|| format!("{package} cannot be fetched"))?,
            sha256: sha256(digest, package)?,
            size: self.size,
            subdirectory: self.subdirectory.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::runtime::Runtime;

    const HASH: &str = "hashes = { sha256 = \
        \"0000000000000000000000000000000000000000000000000000000000000000\" }";

    fn target() -> Target {
        Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 })
    }

    fn select(packages: &str, wanted: &Wanted) -> Result<Vec<Locked>> {
        let head = "lock-version = '1.0'\ncreated-by = 'x'\nextras = ['e']\n\
             dependency-groups = ['g', 'd']\ndefault-groups = ['d']\n";
        let packages = packages.replace("HASH", HASH);
        Ok(Pylock::parse(&format!("{head}{packages}"))?.select(&target(), wanted)?.packages)
    }

    fn names(packages: &str, wanted: &Wanted) -> Vec<String> {
        select(packages, wanted).unwrap().into_iter().map(|locked| locked.name).collect()
    }

    #[test]
    fn file_names_are_those_of_the_standard() {
        for name in ["pylock.toml", "pylock.dev.toml"] {
            assert!(is_pylock(name), "{name}");
        }
        for name in ["pylock..toml", "pylock.a.b.toml", "uv.lock", "pylock.tomlx"] {
            assert!(!is_pylock(name), "{name}");
        }
    }

    #[test]
    fn the_wheel_that_fits_best_is_selected() {
        let found = select(
            "[[packages]]\nname = 'A_b'\nversion = '1'\n\
             sdist = { url = 'https://h/a-1.tar.gz', HASH }\n\
             wheels = [{ url = 'https://h/a_b-1-py3-none-any.whl', HASH },\n\
             { url = 'https://h/a_b-1-cp313-cp313-manylinux_2_17_x86_64.whl', HASH },\n\
             { url = 'https://h/a%5Fb-1-cp313-cp313-manylinux_2_17_aarch64.whl?x#y', HASH }]\n",
            &Wanted::default(),
        )
        .unwrap();
        let [Locked { name, source: Source::Wheel(file), .. }] = &found[..] else { panic!() };
        assert_eq!(name, "a-b");
        assert_eq!(file.name, "a_b-1-cp313-cp313-manylinux_2_17_aarch64.whl");
    }

    #[test]
    fn an_empty_list_of_environments_is_no_limit() {
        let lock = Pylock::parse("lock-version = '1.0'\nenvironments = []\npackages = []").unwrap();
        assert!(lock.select(&target(), &Wanted::default()).is_ok());
    }

    #[test]
    fn markers_select_by_environment_extras_and_groups() {
        let package = |name: &str, marker: &str| {
            format!(
                "[[packages]]\nname = '{name}'\nmarker = \"{marker}\"\n\
                 directory = {{ path = '{name}' }}\n"
            )
        };
        let packages = [
            package("a", "platform_machine == 'aarch64'"),
            package("b", "sys_platform == 'win32'"),
            package("c", "'e' in extras"),
            package("d", "'d' in dependency_groups"),
            package("g", "'g' in dependency_groups"),
        ]
        .concat();
        assert_eq!(names(&packages, &Wanted::default()), ["a", "d"]);
        let (extras, groups) = (["E".to_string()], ["g".to_string()]);
        let wanted = Wanted { extras: &extras, groups: Some(&groups), package: None };
        assert_eq!(names(&packages, &wanted), ["a", "c", "g"]);
        assert_eq!(names(&packages, &Wanted { groups: Some(&[]), ..wanted }), ["a", "c"]);
    }

    #[test]
    fn each_fault_is_named() {
        let error =
            |packages: &str| format!("{:#}", select(packages, &Wanted::default()).unwrap_err());
        for (packages, expected) in [
            ("[[packages]]\nname = 'a'\n", "`a` has no file, folder or repository"),
            (
                "[[packages]]\nname = 'a'\ndirectory = { path = 'x' }\nsdist = { path = 'y', HASH }",
                "`a` has sources that exclude each other",
            ),
            (
                "[[packages]]\nname = 'a'\nversion = '1'\nwheels = [{ path = 'a-1-py2-none-any.whl', HASH }]",
                "no wheel of `a 1` in the lockfile fits python3.13 on arm64",
            ),
            (
                "[[packages]]\nname = 'a'\nrequires-python = '<3.13'\ndirectory = { path = 'x' }",
                "`a` requires Python <3.13, and the target is python3.13 on arm64",
            ),
            (
                "[[packages]]\nname = 'a'\nversion = '1'\ndirectory = { path = 'x' }\n\
                 [[packages]]\nname = 'A'\nversion = '2'\ndirectory = { path = 'y' }",
                "both `a 1` and `a 2`",
            ),
            (
                "[[packages]]\nname = 'a'\nsdist = { path = 'y', hashes = { md5 = '0' } }",
                "a file of `a` has no `sha256`",
            ),
            (
                "[[packages]]\nname = 'a'\nvcs = { type = 'git', path = '../r', commit-id = '0' }",
                "which no other checkout has",
            ),
        ] {
            assert!(error(packages).contains(expected), "{expected}: {}", error(packages));
        }
        let unknown = ["x".to_string()];
        let wanted = Wanted { extras: &unknown, ..Wanted::default() };
        let error = select("packages = []", &wanted).unwrap_err().to_string();
        assert_eq!(error, "the lockfile has no extra `x`: it has `e`");
        let later = Pylock::parse("lock-version = '2.0'\npackages = []").unwrap_err().to_string();
        assert!(later.contains("`lock-version` is 2.0"), "{later}");
    }
}
