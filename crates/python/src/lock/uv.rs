//! `uv.lock`, version 1: a graph of packages, walked from one member of the workspace.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{
    File, Location, Locked, LockedSet, Source, Wanted, best_wheel, check_commit, check_file_name,
    check_python, check_url, describe, join, known_names, no_file, sha256,
};
use crate::marker::Marker;
use crate::name::normalise;
use crate::target::Target;

/// A `uv.lock` that was read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UvLock {
    version: u32,
    pub(super) requires_python: Option<String>,
    #[serde(default)]
    pub(super) supported_markers: Vec<String>,
    #[serde(default)]
    pub(super) manifest: Manifest,
    #[serde(default, rename = "package")]
    pub(super) packages: Vec<Package>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Manifest {
    #[serde(default)]
    pub(super) members: Vec<String>,
    // Requirements, read by `stale`: a form that is not known there is no error.
    #[serde(default)]
    pub(super) overrides: Vec<toml::Value>,
    #[serde(default)]
    pub(super) constraints: Vec<toml::Value>,
    #[serde(default)]
    pub(super) build_constraints: Vec<toml::Value>,
    #[serde(default)]
    pub(super) excludes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Package {
    pub(super) name: String,
    version: Option<String>,
    source: Origin,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<Dependency>>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, Vec<Dependency>>,
    sdist: Option<Item>,
    #[serde(default)]
    wheels: Vec<Item>,
    pub(super) metadata: Option<Metadata>,
}

/// The requirements of a member, as the lockfile has them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) requires_dist: Vec<Required>,
    #[serde(default)]
    pub(super) provides_extras: Vec<String>,
    #[serde(default)]
    pub(super) requires_dev: BTreeMap<String, Vec<Required>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Required {
    pub(super) name: String,
    #[serde(default)]
    pub(super) extras: Vec<String>,
    pub(super) specifier: Option<String>,
    /// The other keys: the marker, and the source.
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, toml::Value>,
}

/// Where a package comes from; exactly one of the first seven is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Origin {
    registry: Option<String>,
    git: Option<String>,
    url: Option<String>,
    path: Option<String>,
    directory: Option<String>,
    editable: Option<String>,
    r#virtual: Option<String>,
    subdirectory: Option<String>,
}

/// An edge of the graph.
#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    version: Option<String>,
    source: Option<Origin>,
    #[serde(default)]
    extra: Vec<String>,
    marker: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
}

impl UvLock {
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        if lock.version != 1 {
            bail!("its version is {}, and version 1 can be read", lock.version);
        }
        Ok(lock)
    }

    /// Returns the packages that a member needs on a target, the member itself included if it is built.
    pub fn select(&self, target: &Target, wanted: &Wanted) -> Result<LockedSet> {
        check_python(self.requires_python.as_deref(), target, "the lockfile")?;
        self.check_environment(target)?;
        let root = self.root(wanted.package)?;
        let mut walk = Walk::new(self, target);
        walk.start(root, wanted)?;
        let mut packages = walk.packages()?;
        packages.sort();
        for pair in packages.windows(2) {
            if pair[0].name == pair[1].name {
                let (first, second) = (pair[0].describe(), pair[1].describe());
                bail!(
                    "the lockfile selects both {first} and {second} for {}: their extras or groups \
                     exclude each other",
                    target.name
                );
            }
        }
        Ok(LockedSet { packages })
    }

    /// Returns the folders of all members that the selection reads the metadata of: the member itself
    /// and the members that it needs.
    pub(super) fn members(&self, target: &Target, wanted: &Wanted) -> Result<Vec<String>> {
        let mut walk = Walk::new(self, target);
        walk.start(self.root(wanted.package)?, wanted)?;
        let folders = walk.reached().filter_map(|package| package.member_folder());
        Ok(folders.map(str::to_owned).collect())
    }

    fn check_environment(&self, target: &Target) -> Result<()> {
        if self.supported_markers.is_empty() {
            return Ok(());
        }
        for marker in &self.supported_markers {
            if Marker::parse(marker)?.eval(&target.environment, &[])? {
                return Ok(());
            }
        }
        bail!(
            "the lockfile is for `{}` alone, and {} is none of these\nbuild for another platform, or lock \
             for this one",
            self.supported_markers.join("`, `"),
            target.name
        )
    }

    /// Returns the member to begin with: `name`, or the project in the folder of the lockfile.
    fn root(&self, name: Option<&str>) -> Result<&Package> {
        let members = || self.packages.iter().filter(|package| package.member_folder().is_some());
        let is_member = |package: &&Package| {
            self.manifest.members.is_empty() || self.manifest.members.contains(&package.name)
        };
        let names: Vec<String> =
            members().filter(is_member).map(|package| format!("`{}`", package.name)).collect();
        match name {
            Some(name) => {
                let normal = normalise(name);
                let found = members().filter(is_member).find(|member| member.name == normal);
                found.with_context(|| {
                    format!("the lockfile has no member `{name}`: it has {}", names.join(", "))
                })
            }
            None => {
                let found = members().find(|member| member.member_folder() == Some("."));
                found.with_context(|| {
                    format!(
                        "the lockfile has no project in its own folder: choose a member by `package`: {}",
                        names.join(", ")
                    )
                })
            }
        }
    }

    fn find(&self, dependency: &Dependency) -> Result<usize> {
        let is_meant = |package: &Package| {
            package.name == dependency.name
                && dependency.version.as_ref().is_none_or(|_| package.version == dependency.version)
                && dependency.source.as_ref().is_none_or(|source| package.source == *source)
        };
        let mut found = self.packages.iter().enumerate().filter(|(_, package)| is_meant(package));
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => bail!("the lockfile names `{}`, and has no such package", dependency.name),
            _ => bail!("the lockfile does not say which `{}` is meant", dependency.name),
        }
    }
}

/// A walk along the edges whose markers hold.
struct Walk<'a> {
    lock: &'a UvLock,
    target: &'a Target,
    /// Packages and their extras that were reached, by index.
    reached: BTreeSet<(usize, Option<String>)>,
    /// The names by which markers test for extras and groups, as uv writes them.
    active: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    fn new(lock: &'a UvLock, target: &'a Target) -> Self {
        Self { lock, target, reached: BTreeSet::new(), active: BTreeSet::new() }
    }

    fn start(&mut self, root: &'a Package, wanted: &Wanted) -> Result<()> {
        let owner = format!("`{}`", root.name);
        let provided = root.metadata.as_ref().map(|metadata| &metadata.provides_extras);
        let extras: Vec<String> = root
            .optional_dependencies
            .keys()
            .chain(provided.into_iter().flatten())
            .cloned()
            .collect();
        let extras = known_names(wanted.extras, &extras, ("extra", &owner))?;
        let required = root.metadata.as_ref().map(|metadata| metadata.requires_dev.keys());
        let groups: Vec<String> =
            root.dev_dependencies.keys().chain(required.into_iter().flatten()).cloned().collect();
        let groups =
            known_names(wanted.groups.unwrap_or_default(), &groups, ("dependency group", &owner))?;
        for (kind, names) in [("extra", &extras), ("group", &groups)] {
            let names = names.iter().map(|name| active_name(kind, &root.name, name));
            self.active.extend(names);
        }
        // An extra that an edge adds may make the marker of another edge true.
        loop {
            let before = self.active.len();
            self.reached.clear();
            self.walk(root, &extras, &groups)?;
            if self.active.len() == before {
                return Ok(());
            }
        }
    }

    fn walk(&mut self, root: &'a Package, extras: &[String], groups: &[String]) -> Result<()> {
        let mut queue = VecDeque::new();
        let at = self.lock.packages.iter().position(|package| std::ptr::eq(package, root));
        let at = at.expect("BUG: the root is one of the packages");
        queue.push_back((at, None));
        queue.extend(extras.iter().map(|extra| (at, Some(extra.clone()))));
        let of_groups =
            groups.iter().filter_map(|group| find_list(&root.dev_dependencies, group)).flatten();
        for dependency in of_groups {
            self.follow(dependency, &mut queue)?;
        }
        while let Some(next) = queue.pop_front() {
            if !self.reached.insert(next.clone()) {
                continue;
            }
            let package = &self.lock.packages[next.0];
            let edges = match &next.1 {
                None => Some(&package.dependencies),
                Some(extra) => find_list(&package.optional_dependencies, extra),
            };
            for dependency in edges.into_iter().flatten() {
                self.follow(dependency, &mut queue)?;
            }
        }
        Ok(())
    }

    fn follow(
        &mut self,
        dependency: &'a Dependency,
        queue: &mut VecDeque<(usize, Option<String>)>,
    ) -> Result<()> {
        if let Some(marker) = &dependency.marker {
            let unreadable = || format!("the marker of `{}` is not readable", dependency.name);
            let marker = Marker::parse(marker).with_context(unreadable)?;
            if !marker.eval_with_set(&self.target.environment, &self.active)? {
                return Ok(());
            }
        }
        let at = self.lock.find(dependency)?;
        queue.push_back((at, None));
        for extra in &dependency.extra {
            self.active.insert(active_name("extra", &dependency.name, extra));
            queue.push_back((at, Some(normalise(extra))));
        }
        Ok(())
    }

    fn reached(&self) -> impl Iterator<Item = &'a Package> {
        let indexes: BTreeSet<usize> = self.reached.iter().map(|(at, _)| *at).collect();
        let lock = self.lock;
        indexes.into_iter().map(move |at| &lock.packages[at])
    }

    fn packages(&self) -> Result<Vec<Locked>> {
        let mut packages = Vec::new();
        for package in self.reached() {
            if let Some(source) = package.source(self.target)? {
                let (name, version) = (package.name.clone(), package.version.clone());
                packages.push(Locked { name, version, source });
            }
        }
        Ok(packages)
    }
}

/// Returns the name by which uv writes an extra or group of a package into markers.
fn active_name(kind: &str, package: &str, name: &str) -> String {
    normalise(&format!("{kind}-{}-{package}-{name}", package.len()))
}

fn find_list<'a>(
    lists: &'a BTreeMap<String, Vec<Dependency>>,
    name: &str,
) -> Option<&'a Vec<Dependency>> {
    lists.iter().find(|(own, _)| normalise(own) == name).map(|(_, list)| list)
}

impl Package {
    /// Returns the folder of a project of this workspace or below it.
    pub(super) fn member_folder(&self) -> Option<&str> {
        let Origin { directory, editable, r#virtual, .. } = &self.source;
        r#virtual.as_ref().or(editable.as_ref()).or(directory.as_ref()).map(String::as_str)
    }

    fn describe(&self) -> String {
        describe(&self.name, self.version.as_deref())
    }

    /// Returns the source for a target; `None` for a virtual member, of which nothing is built.
    fn source(&self, target: &Target) -> Result<Option<Source>> {
        let origin = &self.source;
        if origin.r#virtual.is_some() {
            return Ok(None);
        }
        if let Some(folder) = self.member_folder() {
            return Ok(Some(Source::Folder(folder.into())));
        }
        if let Some(git) = &origin.git {
            return self.repository(git).map(Some);
        }
        let name = |item: &Item| self.place(item).map(|place| item.file_name(&place));
        if let Some(wheel) = best_wheel(&self.wheels, target, name)? {
            return Ok(Some(Source::Wheel(self.file(wheel)?)));
        }
        if let Some(sdist) = &self.sdist {
            return Ok(Some(Source::Sdist(self.file(sdist)?)));
        }
        let names: Vec<String> = self.wheels.iter().map(name).collect::<Result<_>>()?;
        Err(no_file(&self.describe(), target, &names))
    }

    /// Reads `https://host/repository?rev=main&subdirectory=folder#commit`.
    fn repository(&self, text: &str) -> Result<Source> {
        let (address, commit) = text
            .split_once('#')
            .with_context(|| format!("{} has no commit in its `git` source", self.describe()))?;
        let (url, query) = address.split_once('?').unwrap_or((address, ""));
        let subdirectory = query.split('&').find_map(|pair| pair.strip_prefix("subdirectory="));
        check_commit(url, commit, &self.describe())?;
        Ok(Source::Repository {
            vcs: "git".into(),
            url: url.into(),
            commit: commit.into(),
            subdirectory: subdirectory.map(super::percent_decode),
        })
    }

    fn place(&self, item: &Item) -> Result<Location> {
        let Origin { registry, url, path, .. } = &self.source;
        let place = if let Some(url) = &item.url {
            Location::Url(url.clone())
        } else if let Some(path) = &item.path {
            Location::Path(join(registry.as_deref().unwrap_or_default(), path))
        } else if let Some(url) = url {
            Location::Url(url.clone())
        } else if let Some(path) = path {
            Location::Path(path.clone())
        } else {
            bail!("the lockfile does not say where a file of {} is", self.describe());
        };
        Ok(place)
    }

    fn file(&self, item: &Item) -> Result<File> {
        let described = self.describe();
        let place = self.place(item)?;
        let name = item.file_name(&place);
        check_file_name(&name, &self.name, &described)?;
        check_url(&place, &described)?;
        let sha256 = match (&item.hash, &place) {
            (Some(hash), _) => {
                let Some(digest) = hash.strip_prefix("sha256:") else {
                    bail!("`{name}` of {described} has the hash `{hash}`, and a SHA-256 is needed");
                };
                sha256(digest, &described)?
            }
            // uv writes no hash of a file in a folder that is an index.
            (None, Location::Path(_)) => String::new(),
            (None, Location::Url(_)) => bail!(
                "`{name}` of {described} has no hash in the lockfile: its index gives none\nname the \
                 file in `tool.uv.sources`, and run `uv lock`: `{} = {{ url = \"…/{name}\" }}`",
                self.name
            ),
        };
        Ok(File {
            sha256,
            size: item.size,
            subdirectory: self.source.subdirectory.clone(),
            name,
            place,
        })
    }
}

impl Item {
    fn file_name(&self, place: &Location) -> String {
        self.filename.clone().unwrap_or_else(|| place.file_name())
    }
}
