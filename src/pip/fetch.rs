//! Gets the wheels that pip chose: from the store, from this disk, or by one further run of pip
//! that fetches the ready ones and builds the others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::build::{Build, wheels_in};
use super::resolve::{Origin, Pick};
use super::run::Pip;
use super::secrets::{percent_decode, redact};
use super::store::{Store, Wheel, normal_name, sha256_of};
use crate::base::Digest;
use crate::base::digest::FieldHasher;
use crate::base::words::count;

/// Kind of the records of what was built from which source.
const BUILT: &str = "built";

pub(super) struct Fetch<'a> {
    pub pip: &'a Pip<'a>,
    pub store: &'a Store,
    pub build: &'a Build<'a>,
    /// Everything that a build depends on besides its source.
    pub context: Digest,
}

impl Fetch<'_> {
    /// The wheels of all picks, every one in the store.
    pub(super) fn all(&self, picks: &[Pick]) -> Result<Vec<Wheel>> {
        let mut wheels: Vec<Option<Wheel>> =
            picks.iter().map(|pick| self.at_hand(pick)).collect::<Result<_>>()?;
        let missing: Vec<&Pick> = picks
            .iter()
            .zip(&wheels)
            .filter(|(_, wheel)| wheel.is_none())
            .map(|(pick, _)| pick)
            .collect();
        let (ready, sources): (Vec<&Pick>, Vec<&Pick>) =
            missing.into_iter().partition(|pick| matches!(pick.origin, Origin::Wheel { .. }));
        // For the host, one command does both; for another system, wheels are fetched by the only
        // command that chooses for another system, and that one does not build.
        let runs = if self.build.runtime.is_some() {
            vec![(ready, true), (sources, false)]
        } else {
            vec![([ready, sources].concat(), false)]
        };
        for (picks_of_run, download) in runs {
            if picks_of_run.is_empty() {
                continue;
            }
            let workshop = self.store.workshop()?;
            let got = self.run(&picks_of_run, download, workshop.path())?;
            for (pick, wheel) in picks.iter().zip(&mut wheels) {
                if wheel.is_none() && picks_of_run.contains(&pick) {
                    *wheel = Some(self.take(pick, &got)?);
                }
            }
        }
        Ok(wheels.into_iter().map(|wheel| wheel.expect("BUG: every pick was fetched")).collect())
    }

    fn at_hand(&self, pick: &Pick) -> Result<Option<Wheel>> {
        match &pick.origin {
            Origin::Wheel { name, sha256: Some(sha256) } => {
                let wheel = Wheel { name: name.clone(), sha256: sha256.clone() };
                if self.store.has(&wheel)? {
                    return Ok(Some(wheel));
                }
            }
            Origin::Wheel { .. } => {}
            Origin::Archive { .. } | Origin::Repository { .. } => {
                let Some(key) = self.source_key(pick)? else { return Ok(None) };
                let built: Option<Wheel> = self.store.recall(BUILT, &key);
                return match built {
                    Some(wheel) if self.store.has(&wheel)? => {
                        self.check_platform(pick, &wheel)?;
                        Ok(Some(wheel))
                    }
                    _ => Ok(None),
                };
            }
        }
        match local_file(&pick.url) {
            Some(place) => Ok(Some(self.checked(pick, &place)?)),
            None => Ok(None),
        }
    }

    /// What a build from this source is kept under; `None` when its bytes are not known.
    fn source_key(&self, pick: &Pick) -> Result<Option<Digest>> {
        let source = match &pick.origin {
            Origin::Archive { sha256: Some(sha256) } => sha256.clone(),
            Origin::Archive { sha256: None } => match local_file(&pick.url) {
                Some(place) => sha256_of(&place)?,
                None => return Ok(None),
            },
            Origin::Repository { vcs, commit } => format!("{vcs} {} {commit}", redact(&pick.url)),
            Origin::Wheel { .. } => return Ok(None),
        };
        let mut hasher = FieldHasher::new();
        hasher.field(self.context.as_bytes()).field(source);
        hasher.field(pick.subdirectory.as_deref().unwrap_or_default());
        Ok(Some(hasher.finish()))
    }

    /// One run of pip in `workshop`; the wheels that it left there.
    fn run(&self, picks: &[&Pick], download: bool, workshop: &Path) -> Result<Vec<PathBuf>> {
        let building =
            picks.iter().filter(|pick| !matches!(pick.origin, Origin::Wheel { .. })).count();
        let doing = match (picks.len() - building, building) {
            (fetched, 0) => format!("fetch {}", count(fetched, "wheel")),
            (0, built) => format!("build {}", count(built, "source distribution")),
            (fetched, built) => {
                let (fetched, built) =
                    (count(fetched, "wheel"), count(built, "source distribution"));
                format!("fetch {fetched} and build {built}")
            }
        };
        (self.pip.talk.status)(&format!("asking pip to {doing}"));
        let out = workshop.join("out");
        let file = workshop.join("picks.txt");
        let text: String = picks.iter().map(|pick| format!("{}\n", line(pick))).collect();
        crate::base::fs::write_if_changed(&file, text.as_bytes(), 0o600)?;
        let file_name = file.display().to_string();
        let targets: [OsString; 2] = ["-r".into(), file.into()];
        let mut command = self.build.wheel_command(workshop, &out, targets)?;
        if download {
            command[0] = "download".into();
            command[2] = "--dest".into();
            let runtime = self.build.runtime.iter().flat_map(|runtime| runtime.options());
            command.extend(runtime.map(OsString::from));
        }
        let names = [
            (file_name, "the resolved requirements".to_string()),
            (format!("{}/", out.display()), String::new()),
        ];
        match self.pip.run(command, &names)? {
            Ok(()) => Ok(wheels_in(&out)),
            Err(failure) => Err(failure.error(&doing)),
        }
    }

    /// Puts a pick's wheel into the store.
    fn take(&self, pick: &Pick, got: &[PathBuf]) -> Result<Wheel> {
        let wanted = normal_name(&pick.project);
        let found = got.iter().find(|place| {
            let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match &pick.origin {
                Origin::Wheel { name: own, .. } => name == own,
                _ => normal_name(name.split('-').next().unwrap_or_default()) == wanted,
            }
        });
        let found = found.with_context(|| {
            format!("pip left no wheel of `{} {}`, which it had chosen", pick.project, pick.version)
        })?;
        let wheel = self.checked(pick, found)?;
        if let Some(key) = self.source_key(pick)? {
            self.check_platform(pick, &wheel)?;
            self.store.remember(BUILT, &key, &wheel)?;
        }
        Ok(wheel)
    }

    /// Takes a wheel into the store, if it is what pip's report says.
    fn checked(&self, pick: &Pick, place: &Path) -> Result<Wheel> {
        let wheel = self.store.put(place)?;
        if let Origin::Wheel { sha256: Some(sha256), .. } = &pick.origin
            && *sha256 != wheel.sha256
        {
            bail!(
                "`{}` has SHA-256 {}, and not {sha256} as pip resolved it",
                wheel.name,
                wheel.sha256
            );
        }
        Ok(wheel)
    }

    fn check_platform(&self, pick: &Pick, wheel: &Wheel) -> Result<()> {
        match self.build.runtime {
            Some(runtime) if !wheel.is_portable() => bail!(
                "`{} {}` is built from source here, as `{}`, which does not fit {}: name a ready \
                 wheel instead",
                pick.project,
                pick.version,
                wheel.name,
                runtime.describe()
            ),
            _ => Ok(()),
        }
    }
}

/// The requirement that means exactly this pick. A bare URL: older pips take not every URL after a
/// name and `@`.
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

fn local_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://")?.split(['?', '#']).next()?;
    Some(PathBuf::from(percent_decode(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pick_is_asked_for_by_url_and_digest() {
        let mut pick = Pick {
            project: "a".into(),
            version: "1".into(),
            url: "https://h/a-1.tar.gz".into(),
            origin: Origin::Archive { sha256: Some("00".into()) },
            subdirectory: Some("s".into()),
        };
        assert_eq!(line(&pick), "https://h/a-1.tar.gz#sha256=00&subdirectory=s");
        pick.origin = Origin::Repository { vcs: "git".into(), commit: "c0".into() };
        assert_eq!(line(&pick), "git+https://h/a-1.tar.gz@c0#subdirectory=s");
    }
}
