//! From requirements to wheels: the files of pinned ones, else those that pip or uv chooses.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zipwright_python::Runtime;
use zipwright_store::{Bucket, Cache};

use super::{Inputs, Request, applies};
use crate::fetch::Fetch;
use crate::launch::Reading;
use crate::lockfile;
use crate::origins::WheelOrigin;
use crate::pinned::{Pinned, Search};
use crate::resolve::{Pick, file_url, resolve};
use crate::run::Pip;
use crate::sdist::SdistBuilder;
use crate::uv::{self, Uv};
use crate::wheels::Wheel;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// A cached resolution.
#[derive(Serialize, Deserialize)]
struct Resolution {
    /// The project that was resolved, by the name of its folder.
    root: Digest,
    /// Each wheel, and where it comes from. Without the identity of an interpreter, there is none if
    /// one of them is built from source.
    wheels: Vec<(Wheel, Option<WheelOrigin>)>,
}

/// What is known of requirements without running pip.
enum Known {
    Wheels(Vec<Wheel>),
    /// All are pinned, and this one is built from source, by an interpreter whose identity is not one
    /// of the inputs.
    FromSource(Pick),
    /// Only pip can resolve them, or show what is wrong: for this reason, if all are pinned.
    Nothing(Option<String>),
}

impl Inputs {
    /// Returns the wheels of the requirements, resolved by pip unless that is cached; the reason if an
    /// interpreter is needed for that, and its identity is not one of the inputs.
    pub(super) fn resolved(
        &self,
        request: &Request,
        fetch: &Fetch,
        mut built: BTreeMap<RelPath, Wheel>,
    ) -> Result<Result<Vec<Wheel>, String>> {
        let cache = fetch.cache;
        let is_fixed = self.requirements.hashed && !self.is_remote();
        let pinned = is_fixed.then(|| self.meaning_key(request, &built));
        if let Some(wheels) = pinned.map(|key| cached(fetch, &key)).transpose()?.flatten() {
            let is_usable = self.identity.is_some() || !wheels.is_empty();
            return Ok(is_usable.then_some(wheels).ok_or("a package is built from source".into()));
        }
        if !self.requirements.hashed && request.runtime.is_none() {
            // pip would build each of them, in its own way, only to read its requirements.
            built.extend(fetch.local_sources(request.project, self.requirements.plain_sources())?);
        }
        let wheels = match self.pinned(request, fetch, &built)? {
            Known::Wheels(wheels) => Ok(wheels),
            Known::FromSource(pick) => Err(format!("{} is built from source", pick.describe())),
            Known::Nothing(failure) if self.identity.is_none() => {
                let failure = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
                return Ok(Err(format!("only pip can resolve these requirements{failure}")));
            }
            Known::Nothing(_) => Ok(self.resolved_by_program(request, fetch, &built)?),
        };
        if let Some(key) = pinned {
            let wheels = wheels.iter().flatten();
            let wheels = wheels.map(|wheel| (wheel.clone(), fetch.origins.get(wheel)));
            let resolution = Resolution { root: root(request.project), wheels: wheels.collect() };
            cache.put(Bucket::Resolutions, &key, &resolution)?;
        }
        Ok(wheels)
    }

    /// Returns the wheels of requirements that are all pinned by version and hash, without running
    /// pip.
    fn pinned(
        &self,
        request: &Request,
        fetch: &Fetch,
        built: &BTreeMap<RelPath, Wheel>,
    ) -> Result<Known> {
        let Ok(target) = lockfile::target(&self.interpreter, request.runtime) else {
            return Ok(Known::Nothing(None));
        };
        let failure = OnceCell::new();
        let search = Search {
            project: request.project,
            requirements: &self.requirements,
            config: &self.config,
            arguments: &self.plain_args,
            target,
            applies: &|marker| applies(marker, &self.interpreter, request.runtime),
            reporter: fetch.pip.reporter,
            failure: &failure,
        };
        let found = if self.requirements.hashed { Pinned::find(search)? } else { None };
        let Some(found) = found else { return Ok(Known::Nothing(failure.into_inner())) };
        let source = found.picks.iter().find(|pick| self.identity.is_none() && pick.is_source());
        if let Some(pick) = source {
            return Ok(Known::FromSource(pick.clone()));
        }
        let mut wheels = fetch.all(&found.picks)?;
        wheels.extend(built.values().cloned());
        wheels.sort();
        Ok(match found.lack(fetch.cache, &wheels) {
            None => Known::Wheels(wheels),
            lack => Known::Nothing(lack),
        })
    }

    /// Returns the wheels that pip or uv resolves the requirements to.
    fn resolved_by_program(
        &self,
        request: &Request,
        fetch: &Fetch,
        built: &BTreeMap<RelPath, Wheel>,
    ) -> Result<Vec<Wheel>> {
        let cache = fetch.cache;
        let workshop = cache.temporary_folder()?;
        let mut names = self.names(request, workshop.path());
        for wheel in built.values() {
            let kept = wheel.place_in(cache).with_file_name("");
            names.insert(0, (kept.display().to_string(), String::new()));
        }
        let given = self.given(request, cache, built, workshop.path())?;
        let place = (workshop.path(), names.as_slice());
        let mut wheels = match &self.uv {
            Some(uv) => {
                let picks = self.picks_of_uv(uv, request, (fetch.pip, &given), place)?;
                let is_built = |name: &str| built.values().any(|wheel| wheel.project() == name);
                let picks: Vec<Pick> =
                    picks.into_iter().filter(|pick| !is_built(&pick.project)).collect();
                let mut wheels = fetch.all(&picks)?;
                wheels.extend(built.values().cloned());
                wheels
            }
            None => {
                let given = given.into_iter().chain(request.pip_args.iter().map(Into::into));
                let given: Vec<OsString> = given.collect();
                let reading = reading(request, cache, fetch.builder, built);
                fetch.all(&resolve(fetch.pip, &given, &reading, place)?)?
            }
        };
        wheels.sort();
        Ok(wheels)
    }

    /// Resolves the requirements in `given` by uv.
    fn picks_of_uv(
        &self,
        uv: &Uv,
        request: &Request,
        (pip, given): (&Pip, &[OsString]),
        (folder, names): (&Path, &[(String, String)]),
    ) -> Result<Vec<Pick>> {
        if let Some(setting) = self.config.other_setting() {
            bail!(
                "uv is not given `{setting}`: with `resolver = \"uv\"`, remove it, or leave \
                 `resolver` out"
            );
        }
        let question = uv::Question {
            pip,
            network: &self.config.network,
            arguments: &self.plain_args,
            options: &self.requirements.options,
            runtime: request.runtime,
            target: lockfile::target(&self.interpreter, request.runtime)?,
            folder,
            names,
        };
        Ok(lockfile::picks(&uv.resolve(given, &question)?, folder))
    }

    /// Returns whether pip reads a file of another host, whose content may be another one each time.
    fn is_remote(&self) -> bool {
        self.requirements.is_remote || self.config.is_remote
    }

    /// Returns the cache key of a resolution.
    fn meaning_key(&self, request: &Request, built: &BTreeMap<RelPath, Wheel>) -> Digest {
        let mut hasher = FieldHasher::new();
        hasher.field(self.context.as_bytes()).field(self.offer.as_bytes());
        hasher.field(request.runtime.map_or_else(String::new, Runtime::describe));
        hasher.field(request.runtime.map_or_else(String::new, Runtime::markers));
        hasher.field(self.uv.as_ref().map_or("", |uv| &uv.version));
        for file in &self.requirements.files {
            hasher.field(file.path.as_str()).field(&file.text);
        }
        for (line, text) in &self.requirements.expanded {
            hasher.field(line).field(text);
        }
        for (paths, word) in [(request.requirements, "r"), (request.constraints, "c")] {
            for path in paths {
                hasher.field(word).field(path.as_str());
            }
        }
        for folder in request.projects {
            hasher.field(folder.as_str());
        }
        for (folder, wheel) in built {
            hasher.field(folder.as_str()).field(&wheel.sha256);
        }
        hasher.finish()
    }
}

/// Returns the wheels of a cached resolution, and adds their origins; `None` if a wheel is not in the
/// cache, or if another project has it from a place that may not be the same for this one.
fn cached(fetch: &Fetch, key: &Digest) -> Result<Option<Vec<Wheel>>> {
    let cache = fetch.cache;
    let Some(Resolution { root: its_root, wheels }) = cache.get(Bucket::Resolutions, key) else {
        return Ok(None);
    };
    let is_elsewhere = its_root != root(fetch.pip.project);
    let is_usable = |(wheel, origin): &(Wheel, Option<WheelOrigin>)| {
        let is_here = !(is_elsewhere && origin.as_ref().is_none_or(WheelOrigin::is_outside));
        Ok(is_here && wheel.is_cached(cache)?)
    };
    let usable: Vec<bool> = wheels.par_iter().map(is_usable).collect::<Result<_>>()?;
    if usable.contains(&false) {
        return Ok(None);
    }
    let take = |(wheel, origin): (Wheel, Option<WheelOrigin>)| {
        if fetch.origins.get(&wheel).is_none()
            && let Some(origin) = origin
        {
            fetch.origins.put(&wheel, origin);
        }
        wheel
    };
    Ok(Some(wheels.into_iter().map(take).collect()))
}

/// Returns a name of the project's folder.
fn root(project: &Project) -> Digest {
    Digest::of(project.root.as_os_str().as_encoded_bytes())
}

/// Returns how pip reads metadata: for the runtime, and with the folders of local projects in place
/// of their wheels, also where another project depends on one by its path.
fn reading(
    request: &Request,
    cache: &Cache,
    builder: &SdistBuilder,
    built: &BTreeMap<RelPath, Wheel>,
) -> Reading {
    let mut reading = Reading { runtime: request.runtime, ..Reading::default() };
    for (local, wheel) in built {
        let place = request.project.place(local);
        let place = std::fs::canonicalize(&place).unwrap_or(place).display().to_string();
        let kept = wheel.place_in(cache);
        reading.links.insert(place.clone(), file_url(&kept));
        reading.origins.insert(kept.display().to_string(), place);
    }
    if !built.is_empty() {
        reading.sandbox = builder.source_path();
    }
    reading
}
