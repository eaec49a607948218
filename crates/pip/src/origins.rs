//! Where the wheels in the cache come from, and the lockfile of a folder of wheels.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use zipwright_python::lock::{File, Location, Locked, LockedSet, Source};
use zipwright_python::{Runtime, normalise};
use zipwright_store::{Bucket, Cache};

use super::interpreter::Interpreter;
use super::lockfile;
use super::requirements::inside;
use super::resolve::{Origin, Pick, local_file};
use super::wheels::{Wheel, sha256_of};
use zipwright_store::RelPath;
use zipwright_store::project::Project;

/// The `created-by` of lockfiles that are written here.
const CREATED_BY: &str = "zipwright";

/// Where a wheel comes from, by its SHA-256.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum WheelOrigin {
    /// A file or commit that a resolver chose.
    Pick(Pick),
    /// A local project.
    Folder(String),
}

/// Remembers the pick that gave a wheel.
pub(super) fn remember(cache: &Cache, pick: &Pick, wheel: &Wheel) -> Result<()> {
    // pip also chooses wheels that were built before and are in the cache.
    if local_file(&pick.url).is_some_and(|place| place == wheel.place_in(cache)) {
        return Ok(());
    }
    put(cache, wheel, &WheelOrigin::Pick(Pick { fetched: None, ..pick.clone() }))
}

/// Remembers the local project that gave a wheel.
pub(super) fn remember_folder(cache: &Cache, folder: &RelPath, wheel: &Wheel) -> Result<()> {
    put(cache, wheel, &WheelOrigin::Folder(folder.to_string()))
}

fn put(cache: &Cache, wheel: &Wheel, origin: &WheelOrigin) -> Result<()> {
    match cache.get::<WheelOrigin>(Bucket::WheelOrigins, &wheel.key()) {
        Some(known) if known == *origin => Ok(()),
        _ => cache.put(Bucket::WheelOrigins, &wheel.key(), origin),
    }
}

/// Returns whether the text is a lockfile that [`pylock`] returned.
pub fn is_own_lock(text: &str) -> bool {
    let table: toml::Table = text.parse().unwrap_or_default();
    table.get("created-by").and_then(toml::Value::as_str) == Some(CREATED_BY)
}

/// Returns the text of a `pylock.toml` in the project's folder for the wheels of a wheelhouse, and
/// their number. Fails if the cache does not have the origin of each.
pub fn pylock(
    project: &Project,
    folder: &RelPath,
    (python, runtime): (&str, Option<Runtime>),
) -> Result<(String, usize)> {
    let interpreter = Interpreter::find_any(project, python)?;
    let target = lockfile::target(&interpreter, runtime)?;
    let place = project.place(folder);
    let failed = || format!("could not list `{folder}`");
    let mut set = LockedSet::default();
    for entry in std::fs::read_dir(&place).with_context(failed)? {
        let place = entry.with_context(failed)?.path();
        let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".whl") {
            let wheel = Wheel { name: name.into(), sha256: sha256_of(&place)? };
            set.packages.push(locked(project, &wheel, &place)?);
        }
    }
    set.packages.sort();
    let count = set.packages.len();
    Ok((set.to_pylock(&target, CREATED_BY)?, count))
}

fn locked(project: &Project, wheel: &Wheel, place: &Path) -> Result<Locked> {
    let pick = match project.cache()?.get(Bucket::WheelOrigins, &wheel.key()) {
        Some(WheelOrigin::Pick(pick)) => pick,
        Some(WheelOrigin::Folder(folder)) => {
            let (name, source) = (wheel.project(), Source::Folder(folder));
            return Ok(Locked { name, version: None, source });
        }
        None => bail!(
            "the cache does not have the origin of `{}`: resolve the requirements again with `-B`",
            wheel.name
        ),
    };
    let name = pick.file_name();
    let file = |sha256: String, size: Option<u64>| {
        let local = local_file(&pick.url).and_then(|place| inside(project, &place));
        let place = match local {
            Some(path) => Location::Path(path.to_string()),
            None => Location::Url(pick.url.clone()),
        };
        File { name, place, sha256, size, subdirectory: pick.subdirectory.clone() }
    };
    let source = match &pick.origin {
        Origin::Wheel { .. } => {
            let size = place.metadata().ok().map(|meta| meta.len());
            Source::Wheel(file(wheel.sha256.clone(), size))
        }
        Origin::Archive { sha256 } => {
            let sha256 = match (sha256, local_file(&pick.url)) {
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
