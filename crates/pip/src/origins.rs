//! Where the wheels of a wheelhouse come from, and its lockfile.
//!
//! Origins are in the project's state, because another project may have the same wheels from
//! elsewhere. URLs have no credentials there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use zipwright_python::lock::{File, Location, Locked, LockedSet, Source};
use zipwright_python::{Runtime, normalise};
use zipwright_store::fs::write_if_changed;
use zipwright_store::project::Project;
use zipwright_store::{Cache, Digest, Format, RelPath, private};

use super::interpreter::LazyInterpreter;
use super::lockfile;
use super::requirements::{inside, normal};
use super::resolve::{Origin, Pick, file_url, local_file};
use super::secrets::{is_redacted, redact};
use super::wheels::{Wheel, sha256_of};

/// The `created-by` of lockfiles that are written here.
const CREATED_BY: &str = "zipwright";

/// Folder of the project's state, with a file for each wheelhouse.
const FOLDER: &str = "origins";
/// Format of these files.
const FORMAT: Format = Format::new("origins", 1);

/// Where a wheel comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum WheelOrigin {
    /// A file or commit that a resolver chose. The URL of a file in the project is that of its path
    /// from the root of the project.
    Pick { pick: Pick, path: Option<RelPath> },
    /// A local project.
    Folder(RelPath),
}

impl WheelOrigin {
    fn of_pick(project: &Project, pick: &Pick) -> Self {
        let is_file = !matches!(pick.origin, Origin::Repository { .. });
        let place = local_file(&pick.url).filter(|_| is_file);
        let path = place.as_ref().and_then(|place| inside(project, place));
        let url = match (&path, &place) {
            (Some(path), _) => file_url(&Path::new("/").join(path.as_str())),
            (None, Some(place)) => file_url(&normal(place)),
            (None, None) => redact(&pick.url),
        };
        Self::Pick { pick: Pick { url, fetched: None, ..pick.clone() }, path }
    }

    /// Returns whether the wheel was built from a file or commit that a resolver chose.
    fn is_source(&self) -> bool {
        matches!(self, Self::Pick { pick, .. } if pick.is_source())
    }

    /// Returns whether it is a file of this machine outside the project.
    pub(super) fn is_outside(&self) -> bool {
        matches!(self, Self::Pick { pick, path: None } if local_file(&pick.url).is_some())
    }
}

/// Where wheels come from, by their SHA-256.
#[derive(Debug, Default)]
pub struct Origins(Mutex<BTreeMap<String, WheelOrigin>>);

impl Origins {
    /// Adds the pick that gave a wheel.
    pub(super) fn add(&self, (project, cache): (&Project, &Cache), pick: &Pick, wheel: &Wheel) {
        // pip also chooses wheels that were built before and are in the cache.
        if local_file(&pick.url).is_none_or(|place| place != wheel.place_in(cache)) {
            self.put(wheel, WheelOrigin::of_pick(project, pick));
        }
    }

    /// Adds the local project that gave a wheel.
    pub(super) fn add_folder(&self, folder: &RelPath, wheel: &Wheel) {
        self.put(wheel, WheelOrigin::Folder(folder.clone()));
    }

    pub(super) fn put(&self, wheel: &Wheel, origin: WheelOrigin) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        origins.insert(wheel.sha256.clone(), origin);
    }

    pub(super) fn get(&self, wheel: &Wheel) -> Option<WheelOrigin> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&wheel.sha256).cloned()
    }

    /// Writes the origins of the wheels in a folder of the project.
    pub fn write(&self, project: &Project, folder: &RelPath) -> Result<()> {
        project.state_folder(FOLDER)?;
        let bytes = FORMAT.seal(&*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        write_if_changed(&place(project, folder), &bytes, private::FILE_MODE)?;
        Ok(())
    }

    /// Reads the origins of the wheels in a folder of the project; there are none if the file is
    /// absent or damaged.
    fn read(project: &Project, folder: &RelPath) -> Self {
        let place = place(project, folder);
        let is_file = place.symlink_metadata().is_ok_and(|meta| meta.is_file());
        let bytes = if is_file { std::fs::read(place).unwrap_or_default() } else { Vec::new() };
        Self(Mutex::new(FORMAT.open(&bytes).unwrap_or_default()))
    }
}

/// Returns whether a wheel in a folder of the project was built from a file or commit that a resolver
/// chose; `false` if the project's state does not say.
pub fn has_source(project: &Project, folder: &RelPath) -> bool {
    let Origins(origins) = Origins::read(project, folder);
    let origins = origins.into_inner().unwrap_or_else(PoisonError::into_inner);
    origins.values().any(WheelOrigin::is_source)
}

fn place(project: &Project, folder: &RelPath) -> PathBuf {
    let name = Digest::of(folder.as_str().as_bytes()).to_string();
    project.state().join(FOLDER).join(name)
}

/// Returns whether the text is a lockfile that [`pylock`] returned.
pub fn is_own_lock(text: &str) -> bool {
    let table: toml::Table = text.parse().unwrap_or_default();
    table.get("created-by").and_then(toml::Value::as_str) == Some(CREATED_BY)
}

/// Returns the text of a `pylock.toml` in the project's folder for the wheels of a wheelhouse, and
/// their number. Fails if the project's state does not have the origin of each.
pub fn pylock(
    project: &Project,
    folder: &RelPath,
    (python, runtime): (&str, Option<Runtime>),
) -> Result<(String, usize)> {
    let interpreter = LazyInterpreter::new(project, python);
    let target = lockfile::target(&interpreter, runtime)?;
    let place = project.place(folder);
    let failed = || format!("could not list `{folder}`");
    let origins = Origins::read(project, folder);
    let mut set = LockedSet::default();
    for entry in std::fs::read_dir(&place).with_context(failed)? {
        let place = entry.with_context(failed)?.path();
        let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".whl") {
            let wheel = Wheel { name: name.into(), sha256: sha256_of(&place)? };
            set.packages.push(locked((project, &origins), &wheel, &place)?);
        }
    }
    set.packages.sort();
    let count = set.packages.len();
    Ok((set.to_pylock(&target, CREATED_BY)?, count))
}

fn locked((project, origins): (&Project, &Origins), wheel: &Wheel, place: &Path) -> Result<Locked> {
    let (pick, path) = match origins.get(wheel) {
        Some(WheelOrigin::Pick { pick, path }) => (pick, path),
        Some(WheelOrigin::Folder(folder)) => {
            let (name, source) = (wheel.project(), Source::Folder(folder.to_string()));
            return Ok(Locked { name, version: None, source });
        }
        None => bail!(
            "there is no record of the origin of `{}`: resolve the requirements again with `-B`",
            wheel.name
        ),
    };
    if is_redacted(&pick.url) {
        bail!(
            "the URL of {} has a secret, which everyone who reads the lockfile would have: `{}`\n\
             name it by a URL without that, and give the credentials of its host by `~/.netrc`",
            pick.describe(),
            pick.url
        );
    }
    let file = |sha256: String, size: Option<u64>| {
        let place = match &path {
            Some(path) => Location::Path(path.to_string()),
            None => Location::Url(pick.url.clone()),
        };
        let (name, subdirectory) = (pick.file_name(), pick.subdirectory.clone());
        File { name, place, sha256, size, subdirectory }
    };
    let source = match &pick.origin {
        Origin::Wheel { .. } => {
            let size = place.metadata().ok().map(|meta| meta.len());
            Source::Wheel(file(wheel.sha256.clone(), size))
        }
        Origin::Archive { sha256 } => {
            let place = path.as_ref().map(|path| project.place(path));
            let sha256 = match (sha256, place.or_else(|| local_file(&pick.url))) {
                (Some(sha256), _) => sha256.clone(),
                (None, Some(place)) => sha256_of(&place)?,
                (None, None) => bail!(
                    "{} is built from `{}`, of which its index has no SHA-256: pin it by its hash \
                     in the requirements",
                    pick.describe(),
                    pick.file_name()
                ),
            };
            Source::Sdist(file(sha256, pick.size))
        }
        Origin::Repository { vcs, commit } => Source::Repository {
            vcs: vcs.clone(),
            url: pick.url.clone(),
            commit: commit.clone(),
            subdirectory: pick.subdirectory.clone(),
        },
    };
    let version = Some(pick.version.clone()).filter(|version| !version.is_empty());
    Ok(Locked { name: normalise(&pick.project), version, source })
}
