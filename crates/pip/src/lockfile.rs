//! Lockfiles in place of requirements: which packages one selects, and where each comes from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use zipwright_python::lock::{
    Behind, Checkout, File, Location, Locked, LockedSet, Pylock, Source, UvLock, Wanted,
};
use zipwright_python::{Runtime, Target};

use super::interpreter::LazyInterpreter;
use super::requirements::inside;
use super::resolve::{Origin, Pick, file_url};
use super::wheels::sha256_of;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// A lockfile, and what of it is wanted.
#[derive(Clone, Copy)]
pub struct LockRequest<'a> {
    pub path: &'a RelPath,
    pub wanted: Wanted<'a>,
}

/// The packages that a lockfile selects.
#[derive(Clone, Debug)]
pub struct LockedInputs {
    set: LockedSet,
    /// The folder of the lockfile.
    folder: RelPath,
    /// Folders of the packages that are projects.
    pub(super) projects: Vec<RelPath>,
    /// Files of the project whose hashes the lockfile does not have.
    pub(super) offered: Vec<RelPath>,
    /// Names and URLs of the indexes that the project of a `uv.lock` names.
    pub(super) indexes: Vec<(String, String)>,
}

impl LockedInputs {
    pub(super) fn read(
        project: &Project,
        request: LockRequest,
        (interpreter, runtime): (&LazyInterpreter, Option<Runtime>),
    ) -> Result<Self> {
        let LockRequest { path, wanted } = request;
        let target = target(interpreter, runtime)?;
        let text = read(&project.place(path), path)?;
        let folder = path.parent();
        let unusable = || format!("`{path}` cannot be used");
        let mut set = match path.file_name() {
            "uv.lock" => {
                let lock = UvLock::parse(&text).map_err(|error| broken(path, &error))?;
                check_current((project, path), &lock, (&target, &wanted))?;
                lock.select(&target, &wanted).with_context(unusable)?
            }
            _ => {
                let lock = Pylock::parse(&text).map_err(|error| broken(path, &error))?;
                lock.select(&target, &wanted).with_context(unusable)?
            }
        };
        let projects = set.packages.iter().filter_map(|package| match &package.source {
            Source::Folder(path) => Some(folder_of(&folder, path, package)),
            _ => None,
        });
        let projects = projects.collect::<Result<_>>()?;
        let offered = add_hashes(&mut set, project, &folder)?;
        let indexes = indexes(&project.place(&folder).join("pyproject.toml"));
        Ok(Self { set, folder, projects, offered, indexes })
    }

    /// Returns name and version of each package, in the order of names; the projects are left out,
    /// as their files count.
    pub fn versions(&self) -> impl Iterator<Item = (&str, String)> {
        self.set.packages.iter().filter_map(|package| {
            let version = match (&package.version, &package.source) {
                (_, Source::Folder(_)) => return None,
                (_, Source::Repository { commit, .. }) => format!("commit {commit}"),
                (Some(version), _) => version.clone(),
                (None, Source::Wheel(file) | Source::Sdist(file)) => file.name.clone(),
            };
            Some((package.name.as_str(), version))
        })
    }

    /// Returns the digest of all files: their names and contents, and not where they are.
    pub fn files(&self) -> Digest {
        let mut hasher = FieldHasher::new();
        for package in &self.set.packages {
            match &package.source {
                Source::Folder(_) => {}
                Source::Wheel(file) | Source::Sdist(file) => {
                    hasher.field(&file.name).field(&file.sha256);
                    hasher.field(file.subdirectory.as_deref().unwrap_or_default());
                }
                Source::Repository { vcs, url, commit, subdirectory } => {
                    hasher.field(vcs).field(super::secrets::fingerprint(url)).field(commit);
                    hasher.field(subdirectory.as_deref().unwrap_or_default());
                }
            }
        }
        hasher.finish()
    }

    /// Returns whether a package is built from source.
    pub fn has_sources(&self) -> bool {
        self.set.packages.iter().any(|package| !matches!(package.source, Source::Wheel(_)))
    }

    /// Returns whether a package of this name comes from elsewhere than from a folder.
    pub(super) fn has(&self, project: &str) -> bool {
        let mut packages = self.set.packages.iter();
        packages.any(|it| it.name == project && !matches!(it.source, Source::Folder(_)))
    }

    pub(super) fn picks(&self, project: &Project) -> Vec<Pick> {
        picks(&self.set, &project.place(&self.folder))
    }
}

/// Adds the hashes of files that the lockfile has none of, and returns their paths in the project.
fn add_hashes(set: &mut LockedSet, project: &Project, folder: &RelPath) -> Result<Vec<RelPath>> {
    let mut found = Vec::new();
    for package in &mut set.packages {
        let described = package.describe();
        let (Source::Wheel(file) | Source::Sdist(file)) = &mut package.source else { continue };
        let Location::Path(path) = &file.place else { continue };
        if !file.sha256.is_empty() {
            continue;
        }
        let place = project.place(folder).join(path);
        let local = inside(project, &place).with_context(|| {
            format!(
                "`{path}`, the file of {described}, has no hash in the lockfile, and is outside the \
                 project\nname it in `tool.uv.sources`, and run `uv lock`, which writes the hash then: \
                 `{} = {{ path = \"{path}\" }}`",
                package.name
            )
        })?;
        check_file(&place, &described, true)?;
        file.sha256 = sha256_of(&place)?;
        found.push(local);
    }
    Ok(found)
}

/// Fails if the file of a package, on this disk, cannot be read. Reading a pipe would wait for its
/// other end.
pub(super) fn check_file(place: &Path, package: &str, is_locked: bool) -> Result<()> {
    let fault = match fs::metadata(place) {
        Ok(meta) if meta.is_file() => return Ok(()),
        Ok(_) => "is not a file",
        Err(_) => "does not exist",
    };
    let way_out = if is_locked { "\nput it there, or lock again" } else { "" };
    bail!("`{}`, the file of {package}, {fault}{way_out}", place.display())
}

/// Returns the packages of a set that are not folders. `base` is the folder of the lockfile.
pub(super) fn picks(set: &LockedSet, base: &Path) -> Vec<Pick> {
    let url = |file: &File| match &file.place {
        Location::Url(url) => url.clone(),
        Location::Path(path) => file_url(&base.join(path)),
    };
    let pick = |package: &Locked| {
        let (url, origin) = match &package.source {
            Source::Folder(_) => return None,
            Source::Wheel(file) => {
                let (name, sha256) = (file.name.clone(), Some(file.sha256.clone()));
                (url(file), Origin::Wheel { name, sha256 })
            }
            Source::Sdist(file) => {
                let sha256 = Some(file.sha256.clone());
                (url(file), Origin::Archive { sha256 })
            }
            Source::Repository { vcs, url, commit, .. } => {
                let (vcs, commit) = (vcs.clone(), commit.clone());
                (url.clone(), Origin::Repository { vcs, commit })
            }
        };
        let (subdirectory, size) = match &package.source {
            Source::Sdist(file) => (file.subdirectory.clone(), file.size),
            Source::Wheel(file) => (None, file.size),
            Source::Repository { subdirectory, .. } => (subdirectory.clone(), None),
            Source::Folder(_) => (None, None),
        };
        let (project, version) = (package.name.clone(), package.version.clone());
        let version = version.unwrap_or_default();
        Some(Pick { project, version, url, origin, subdirectory, size, fetched: None })
    };
    set.packages.iter().filter_map(pick).collect()
}

/// Returns the environment that wheels are selected for.
pub(super) fn target(interpreter: &LazyInterpreter, runtime: Option<Runtime>) -> Result<Target> {
    if let Some(runtime) = runtime {
        return Ok(Target::of_runtime(runtime));
    }
    let identity = &interpreter.get()?.identity;
    Target::of_interpreter(&identity.python, identity.minor)
}

fn read(place: &Path, path: &RelPath) -> Result<String> {
    let way_out = way_out(path);
    match fs::metadata(place) {
        Err(error) if zipwright_store::fs::is_missing(&error) => {
            bail!("there is no file `{path}`\n{way_out}")
        }
        // Reading a pipe would wait for its other end.
        Ok(meta) if !meta.is_file() => bail!("`{path}` is not a file\n{way_out}"),
        _ => {}
    }
    fs::read_to_string(place)
        .map_err(|error| anyhow!("could not read `{path}`: {error}\n{way_out}"))
}

/// Number of characters shown of a line of an error.
const SHOWN: usize = 160;

/// The error for a text that is not a lockfile.
fn broken(path: &RelPath, error: &anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let short = |line: &str| match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    };
    let lines: Vec<String> = text.trim_end().lines().map(short).collect();
    anyhow!("`{path}` cannot be used: {}\n{}", lines.join("\n"), way_out(path))
}

fn way_out(path: &RelPath) -> &'static str {
    match path.file_name() {
        "uv.lock" => "restore it, or write it again: `uv lock`",
        _ => "restore it, or write it again with the tool that locks this project",
    }
}

/// Returns the names and URLs of `tool.uv.index` in a `pyproject.toml`, as far as it has them.
fn indexes(pyproject: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(pyproject).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let list = table.get("tool").and_then(|tool| tool.get("uv")?.get("index")?.as_array());
    let entry = |index: &toml::Value| {
        let text = |key: &str| Some(index.get(key)?.as_str()?.to_owned());
        Some((text("name")?, text("url")?))
    };
    list.into_iter().flatten().filter_map(entry).collect()
}

/// Fails if a member that is needed requires other than the lockfile has of it.
fn check_current(
    (project, path): (&Project, &RelPath),
    lock: &UvLock,
    (target, wanted): (&Target, &Wanted),
) -> Result<()> {
    let folder = project.place(&path.parent());
    let read = |member: &str| fs::read_to_string(folder.join(member).join("pyproject.toml")).ok();
    let checkout = Checkout { folder: &folder.to_string_lossy(), read: &read };
    let behind = lock.behind(target, wanted, &checkout);
    let Some(behind) = behind.with_context(|| format!("`{path}` cannot be used"))? else {
        return Ok(());
    };
    let Behind { pyproject, difference } = behind;
    bail!("`{path}` is behind `{pyproject}`, which {difference}: run `uv lock`");
}

fn folder_of(base: &RelPath, path: &str, package: &Locked) -> Result<RelPath> {
    let joined = if path.starts_with('/') { path.into() } else { format!("{base}/{path}") };
    RelPath::parse(&joined).ok().with_context(|| {
        format!(
            "{} is in the folder `{path}`, which is not in this project: move the Buildfile into a \
             folder above both",
            package.describe()
        )
    })
}
