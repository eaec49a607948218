//! Gets the wheels that pip chose: from the cache, from this disk, or by one further run of pip for
//! the ready wheels and one for the sources of those that are built.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use zipwright_python::{Version, normalise};
use zipwright_store::{Bucket, Cache};

use super::download::{Fetcher, OTHER_FILE, Outcome};
use super::lockfile::{LockedInputs, check_file};
use super::network::Network;
use super::origins::Origins;
use super::parallel_map::parallel_map;
use super::requirements::inside;
use super::resolve::{Origin, Pick, local_file};
use super::run::Pip;
use super::sdist::{Basis, Made, SdistBuilder, unpack};
use super::secrets::{fingerprint, percent_decode};
use super::settings::{Pairs, to_json};
use super::wheel_command::{Build, wheels_in};
use super::wheels::{Wheel, sha256_of};
use zipwright_engine::make::Pool;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;
use zipwright_store::words::count;
use zipwright_store::{Digest, RelPath};

pub(super) struct Fetch<'a> {
    pub pip: &'a Pip<'a>,
    pub cache: &'a Cache,
    pub build: &'a Build<'a>,
    pub builder: &'a SdistBuilder<'a>,
    /// Digest of everything that a build depends on besides its source.
    pub context: Digest,
    pub pool: Option<&'a Pool>,
    pub network: &'a Network,
    /// The lockfile that the picks are of.
    pub locked: Option<&'a LockedInputs>,
    /// Gets the origin of each wheel.
    pub origins: &'a Origins,
}

/// Picks, by how they were got.
#[derive(Default)]
struct Downloaded<'p> {
    wheels: Vec<(&'p Pick, Wheel)>,
    archives: Vec<(&'p Pick, PathBuf)>,
    /// Those that only pip can get.
    rest: Vec<&'p Pick>,
    /// Why the last of them was not downloaded, if that was tried.
    reason: Option<String>,
}

/// A wheel built from a source distribution.
#[derive(Serialize, Deserialize)]
struct Built {
    wheel: Wheel,
    basis: Basis,
}

impl Fetch<'_> {
    /// Returns the wheels of all picks, after storing each in the cache.
    pub(super) fn all(&self, picks: &[Pick]) -> Result<Vec<Wheel>> {
        let mut wheels: Vec<Option<Wheel>> =
            picks.iter().map(|pick| self.at_hand(pick)).collect::<Result<_>>()?;
        let missing: Vec<&Pick> = picks
            .iter()
            .zip(&wheels)
            .filter(|(_, wheel)| wheel.is_none())
            .map(|(pick, _)| pick)
            .collect();
        let (downloads, fetched) = (self.cache.temporary_folder()?, self.cache.temporary_folder()?);
        let Downloaded { wheels: mut gotten, mut archives, rest, reason } =
            self.download(missing, downloads.path())?;
        let with_reason = |error: anyhow::Error| match &reason {
            Some(reason) => anyhow!("{error:#}\nthe download without pip failed before: {reason}"),
            None => error,
        };
        let (ready, sources): (Vec<&Pick>, Vec<&Pick>) =
            rest.into_iter().partition(|pick| matches!(pick.origin, Origin::Wheel { .. }));
        if !ready.is_empty() {
            let workshop = self.cache.temporary_folder()?;
            let got = self.run(&ready, workshop.path()).map_err(with_reason)?;
            for pick in ready {
                gotten.push((pick, self.take(pick, &got)?));
            }
        }
        if !sources.is_empty() {
            archives.extend(self.archives(&sources, fetched.path()).map_err(with_reason)?);
        }
        // Start the longest build first; the size of the archive is the best estimate.
        let size = |archive: &Path| std::fs::metadata(archive).map_or(0, |meta| meta.len());
        archives.sort_by_key(|(_, archive)| std::cmp::Reverse(size(archive)));
        let built =
            parallel_map(self.pool, &archives, |(pick, archive)| self.build_source(pick, archive))?;
        gotten.extend(archives.iter().map(|(pick, _)| *pick).zip(built));
        for (pick, wheel) in picks.iter().zip(&mut wheels) {
            if wheel.is_none() {
                let found = gotten.iter().find(|(gotten, _)| *gotten == pick);
                *wheel = found.map(|(_, wheel)| wheel.clone());
            }
        }
        let all = wheels.into_iter().map(|wheel| wheel.expect("BUG: every pick was fetched"));
        let all: Vec<Wheel> = all.collect();
        for (pick, wheel) in picks.iter().zip(&all) {
            self.origins.add((self.pip.project, self.cache), pick, wheel);
        }
        Ok(all)
    }

    /// Downloads the picks that need no pip; source archives go below `folder`.
    fn download<'p>(&self, picks: Vec<&'p Pick>, folder: &Path) -> Result<Downloaded<'p>> {
        let is_own =
            |pick: &&Pick| Fetcher::can(pick) && self.network.only_pip(&pick.url).is_none();
        let (own, rest): (Vec<&Pick>, Vec<&Pick>) = picks.into_iter().partition(is_own);
        let mut downloaded = Downloaded { rest, ..Downloaded::default() };
        if own.is_empty() {
            return Ok(downloaded);
        }
        let indexes = self.locked.map_or(&[][..], |locked| &locked.indexes);
        let settings = self.network.settings(self.pip.project, indexes);
        let downloads = Fetcher {
            cache: self.cache,
            settings: &settings,
            reporter: self.pip.reporter,
            is_locked: self.locked.is_some(),
        };
        let mut left = 0;
        for (pick, outcome) in own.iter().copied().zip(downloads.get(&own, folder)?) {
            match outcome {
                Outcome::Wheel(wheel) => downloaded.wheels.push((pick, wheel)),
                Outcome::Archive(place) => downloaded.archives.push((pick, place)),
                Outcome::ForPip(why) => {
                    downloaded.rest.push(pick);
                    (left, downloaded.reason) = (left + 1, Some(why));
                }
            }
        }
        if let Some(reason) = &downloaded.reason {
            let files = count(left, "file");
            self.pip.reporter.warn(&format!("pip fetches {files}: {reason}"));
        }
        Ok(downloaded)
    }

    /// Returns the wheels of source archives inside this project. They are built before pip
    /// resolves the rest.
    pub(super) fn local_sources(
        &self,
        project: &Project,
        archives: BTreeSet<RelPath>,
    ) -> Result<Vec<(RelPath, Wheel)>> {
        let picks: Vec<(RelPath, Pick)> = archives
            .into_iter()
            .filter_map(|path| {
                let pick = Pick::local(path.file_name(), &project.place(&path))?;
                Some((path, pick))
            })
            .collect();
        let only: Vec<Pick> = picks.iter().map(|(_, pick)| pick.clone()).collect();
        let wheels = self.all(&only)?;
        Ok(picks.into_iter().map(|(path, _)| path).zip(wheels).collect())
    }

    fn at_hand(&self, pick: &Pick) -> Result<Option<Wheel>> {
        match &pick.origin {
            Origin::Wheel { name, sha256: Some(sha256) } => {
                let wheel = Wheel { name: name.clone(), sha256: sha256.clone() };
                if wheel.is_cached(self.cache)? {
                    return Ok(Some(wheel));
                }
            }
            Origin::Wheel { .. } => {}
            Origin::Archive { .. } | Origin::Repository { .. } => {
                let Some(key) = self.source_key(pick)? else { return Ok(None) };
                let built: Option<Built> = self.cache.get(Bucket::SdistBuilds, &key);
                return match built {
                    Some(Built { wheel, basis })
                        if wheel.is_cached(self.cache)?
                            && self.builder.holds(&basis, &pick.describe()) =>
                    {
                        self.check_platform(pick, &wheel)?;
                        self.builder.warn(&basis);
                        Ok(Some(wheel))
                    }
                    _ => Ok(None),
                };
            }
        }
        match local_file(&pick.url).or_else(|| pick.fetched.clone()) {
            Some(place) => Ok(Some(self.checked(pick, &place)?)),
            None => Ok(None),
        }
    }

    fn settings(&self, pick: &Pick) -> Pairs {
        let place = local_file(&pick.url);
        let path = place.and_then(|place| inside(self.pip.project, &place));
        self.build.settings.of(Some(&pick.project), path.as_ref())
    }

    /// Returns the cache key of a build from this source; `None` if its bytes have no hash yet.
    fn source_key(&self, pick: &Pick) -> Result<Option<Digest>> {
        let source = match &pick.origin {
            Origin::Archive { sha256: Some(sha256) } => sha256.clone(),
            Origin::Archive { sha256: None } => match local_file(&pick.url) {
                Some(place) => sha256_of(&place)?,
                None => return Ok(None),
            },
            Origin::Repository { vcs, commit } => {
                format!("{vcs} {} {commit}", fingerprint(&pick.url))
            }
            Origin::Wheel { .. } => return Ok(None),
        };
        let mut hasher = FieldHasher::new();
        hasher.field(self.context.as_bytes()).field(source);
        hasher.field(pick.subdirectory.as_deref().unwrap_or_default());
        hasher.field(to_json(&self.settings(pick)).to_string());
        Ok(Some(hasher.finish()))
    }

    /// Fetches ready wheels into `workshop` by one run of pip, and returns their paths.
    fn run(&self, picks: &[&Pick], workshop: &Path) -> Result<Vec<PathBuf>> {
        let doing = format!("fetch {}", count(picks.len(), "wheel"));
        let out = workshop.join("out");
        // Only `pip download` chooses wheels for another platform, and it is needed only for that.
        let foreign = self.build.runtime.is_some();
        self.pip_command(picks, &doing, workshop, (foreign, foreign))?;
        Ok(wheels_in(&out))
    }

    /// Returns the archives of sources: those on this disk, and the others fetched by one run of
    /// pip.
    fn archives<'p>(
        &self,
        picks: &[&'p Pick],
        workshop: &Path,
    ) -> Result<Vec<(&'p Pick, PathBuf)>> {
        let is_local = |pick: &Pick| {
            matches!(pick.origin, Origin::Archive { .. }) && local_file(&pick.url).is_some()
        };
        let far: Vec<&Pick> = picks.iter().copied().filter(|pick| !is_local(pick)).collect();
        if !far.is_empty() {
            let doing = format!("fetch {}", count(far.len(), "source distribution"));
            self.pip_command(&far, &doing, workshop, (true, false))?;
        }
        let out = workshop.join("out");
        picks
            .iter()
            .map(|pick| {
                let archive =
                    if is_local(pick) { local_file(&pick.url) } else { fetched(pick, &out) };
                let archive = archive.with_context(|| {
                    format!("pip fetched no source of {}, which it had chosen", pick.describe())
                })?;
                check_file(&archive, &pick.describe(), self.locked.is_some())?;
                if let Origin::Archive { sha256: Some(sha256) } = &pick.origin {
                    let found = sha256_of(&archive)?;
                    if found != *sha256 {
                        bail!(
                            "the source of {} has SHA-256 {found}, and not {sha256} as pip \
                             resolved it",
                            pick.describe()
                        );
                    }
                }
                Ok((*pick, archive))
            })
            .collect()
    }

    /// Builds one source distribution and stores the wheel in the cache.
    fn build_source(&self, pick: &Pick, archive: &Path) -> Result<Wheel> {
        let what = pick.describe();
        self.pip.reporter.status(&format!("building {what} from source"));
        let building = self.builder.begin(what)?;
        let (top, epoch) = unpack(archive, &building.source())?;
        let folder = match &pick.origin {
            // The archive that pip makes of a repository has only this folder.
            Origin::Repository { .. } => top,
            _ => top.join(pick.subdirectory.as_deref().unwrap_or_default()),
        };
        let Made { wheel: file, basis } =
            self.builder.make(&building, &folder, (epoch, &self.settings(pick)))?;
        self.builder.warn(&basis);
        let wheel = Wheel::put(self.cache, &file)?;
        self.cache.put(Bucket::Provenance, &wheel.key(), &basis.build_inputs())?;
        if let Some(key) = self.source_key(pick)? {
            self.cache.put(Bucket::SdistBuilds, &key, &Built { wheel: wheel.clone(), basis })?;
        }
        self.check_platform(pick, &wheel)?;
        Ok(wheel)
    }

    /// Runs pip to put the distributions of the picks into `out` in the workshop: by `download`,
    /// which may choose `foreign` wheels, or by `wheel`.
    fn pip_command(
        &self,
        picks: &[&Pick],
        doing: &str,
        workshop: &Path,
        (download, foreign): (bool, bool),
    ) -> Result<()> {
        // A lockfile alone needs no pip.
        self.pip.interpreter.fit().with_context(|| format!("only pip can {doing}"))?;
        self.pip.reporter.status(&format!("asking pip to {doing}"));
        let out = workshop.join("out");
        let file = workshop.join("picks.txt");
        let text: String = picks.iter().map(|pick| format!("{}\n", line(pick))).collect();
        zipwright_store::fs::write_if_changed(&file, text.as_bytes(), 0o600)?;
        let file_name = file.display().to_string();
        let targets: [OsString; 2] = ["-r".into(), file.into()];
        let mut command = self.build.wheel_command(workshop, &out, targets)?;
        if download {
            command[0] = "download".into();
            command[2] = "--dest".into();
        }
        if foreign {
            command.push("--only-binary=:all:".into());
            let runtime = self.build.runtime.iter().flat_map(|runtime| runtime.options());
            command.extend(runtime.map(OsString::from));
        } else if self.build.runtime.is_some() {
            // pip compared it with the runtime when it chose the distributions.
            command.push("--ignore-requires-python".into());
        }
        let names = [
            (file_name, "the resolved requirements".to_string()),
            (format!("{}/", out.display()), String::new()),
        ];
        match self.pip.run(command, &names)? {
            Ok(()) => Ok(()),
            Err(failure) => Err(failure.error(doing)),
        }
    }

    /// Stores the ready wheel of a pick in the cache.
    fn take(&self, pick: &Pick, got: &[PathBuf]) -> Result<Wheel> {
        let found = got.iter().find(|place| {
            let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            matches!(&pick.origin, Origin::Wheel { name: own, .. } if name == own)
        });
        let found = found.with_context(|| {
            format!("pip fetched no wheel of {}, which it had chosen", pick.describe())
        })?;
        self.checked(pick, found)
    }

    /// Stores a wheel in the cache if its name, version and hash match pip's report.
    fn checked(&self, pick: &Pick, place: &Path) -> Result<Wheel> {
        check_file(place, &pick.describe(), self.locked.is_some())?;
        let wheel = Wheel::put(self.cache, place)?;
        if let Origin::Wheel { sha256: Some(sha256), .. } = &pick.origin
            && *sha256 != wheel.sha256
        {
            let (name, found) = (&wheel.name, &wheel.sha256);
            if self.locked.is_some() {
                bail!("`{name}` has SHA-256 {found}, and not {sha256} as it should{OTHER_FILE}");
            }
            bail!("`{name}` has SHA-256 {found}, and not {sha256} as pip resolved it");
        }
        Ok(wheel)
    }

    fn check_platform(&self, pick: &Pick, wheel: &Wheel) -> Result<()> {
        match self.build.runtime {
            Some(runtime) if !runtime.takes_portable(&wheel.name) => bail!(
                "{} is built from source here, as `{}`, which does not fit {}: choose a version \
                 that has a ready wheel, or build one for that system and name its folder by \
                 --find-links",
                pick.describe(),
                wheel.name,
                runtime.describe()
            ),
            _ => Ok(()),
        }
    }
}

/// Returns the requirement that matches exactly this pick. It is a bare URL, because older pips do
/// not accept every URL after a name and `@`.
fn line(pick: &Pick) -> String {
    let mut fragment = Vec::new();
    let url = match &pick.origin {
        Origin::Repository { vcs, commit } => format!("{vcs}+{}@{commit}", pick.url),
        Origin::Wheel { sha256, .. } | Origin::Archive { sha256 } => {
            fragment.extend(sha256.iter().map(|sha256| format!("sha256={sha256}")));
            pick.url.clone()
        }
    };
    fragment.extend(pick.subdirectory.iter().map(|folder| format!("subdirectory={folder}")));
    let mark = if fragment.is_empty() { "" } else { "#" };
    format!("{url}{mark}{}", fragment.join("&"))
}

/// Returns the file that pip fetched for the source of a pick. A repository is fetched as a zip.
fn fetched(pick: &Pick, out: &Path) -> Option<PathBuf> {
    let wanted = match &pick.origin {
        Origin::Repository { .. } => None,
        _ => Some(percent_decode(pick.url.split(['?', '#']).next()?.rsplit('/').next()?)),
    };
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find(|place| {
        let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match &wanted {
            Some(wanted) => wanted == name,
            None => is_of_project(name, pick),
        }
    })
}

/// Returns whether pip gives the archive of a pick's repository this name. The version in it is as
/// the project has it, and a lockfile may have it normalised, or not at all.
fn is_of_project(name: &str, pick: &Pick) -> bool {
    let Some(stem) = name.strip_suffix(".zip") else { return false };
    let is_version = |text: &str| text == pick.version || Version::parse(text).is_ok();
    let mut dashes = stem.match_indices('-');
    dashes.any(|(at, _)| {
        normalise(&stem[..at]) == normalise(&pick.project) && is_version(&stem[at + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_of_a_repository_is_found_by_project() {
        let mut pick = Pick {
            project: "a-b".into(),
            version: String::new(),
            url: "https://h/r".into(),
            origin: Origin::Repository { vcs: "git".into(), commit: "c0".into() },
            subdirectory: None,
            size: None,
            fetched: None,
        };
        for name in ["A.b-1.0.zip", "a_b-01.0-1.zip", "a-b-1.0+local.1.zip"] {
            assert!(is_of_project(name, &pick), "{name}");
        }
        for name in ["a-1.0.zip", "a-b-c-1.0.zip", "a-b-1.0.tar.gz", "a-b-odd version.zip"] {
            assert!(!is_of_project(name, &pick), "{name}");
        }
        pick.version = "odd version".into();
        assert!(is_of_project("a-b-odd version.zip", &pick));
    }

    #[test]
    fn a_pick_is_asked_for_by_url_and_digest() {
        let mut pick = Pick {
            project: "a".into(),
            version: "1".into(),
            url: "https://h/a-1.tar.gz".into(),
            origin: Origin::Archive { sha256: Some("00".into()) },
            subdirectory: Some("s".into()),
            size: None,
            fetched: None,
        };
        assert_eq!(line(&pick), "https://h/a-1.tar.gz#sha256=00&subdirectory=s");
        pick.origin = Origin::Repository { vcs: "git".into(), commit: "c0".into() };
        assert_eq!(line(&pick), "git+https://h/a-1.tar.gz@c0#subdirectory=s");
    }
}
