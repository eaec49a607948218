//! Downloads of files whose SHA-256 is known, without pip.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use tempfile::NamedTempFile;
use zipwright_fetch::{Download, Failure, Progress, Settings, Sink, fetch};
use zipwright_python::wheel::Arriving;
use zipwright_store::{Bucket, Cache};

use super::resolve::{Origin, Pick};
use super::secrets::redact;
use super::wheels::Wheel;
use zipwright_engine::event::{Downloads, Reporter};
use zipwright_engine::signals;
use zipwright_store::fs::persist;
use zipwright_store::words::count;
use zipwright_store::{Digest, Sha256, private, sha256};

/// Where a downloaded file goes.
enum Destination<'a> {
    Cache(&'a Cache),
    /// A source archive, into this folder.
    Folder(&'a Path),
}

/// A file that arrives, and the digests of its bytes so far.
struct Arrival {
    file: NamedTempFile,
    sha256: Sha256,
    blake3: blake3::Hasher,
    bytes: u64,
    /// `None` for a source archive.
    wheel: Option<Arriving>,
}

impl Arrival {
    fn new(file: NamedTempFile, is_wheel: bool) -> io::Result<Self> {
        let (sha256, blake3) = (Sha256::new(), blake3::Hasher::new());
        let mut arrival = Self { file, sha256, blake3, bytes: 0, wheel: None };
        if is_wheel {
            arrival.wheel = Some(Arriving::new(arrival.file.as_file().try_clone()?));
        }
        Ok(arrival)
    }
}

impl Sink for Arrival {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        self.file.as_file_mut().write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        if let Some(wheel) = &mut self.wheel {
            wheel.advance(self.bytes);
        }
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        (self.sha256, self.blake3, self.bytes) = (Sha256::new(), blake3::Hasher::new(), 0);
        let file: &mut File = self.file.as_file_mut();
        file.set_len(0)?;
        if self.wheel.is_some() {
            self.wheel = Some(Arriving::new(file.try_clone()?));
        }
        file.rewind()
    }
}

/// What became of one pick.
pub(super) enum Outcome {
    Wheel(Wheel),
    Archive(PathBuf),
    /// Only pip may be able to get it, for this reason.
    ForPip(String),
}

pub(super) struct Fetcher<'a> {
    pub cache: &'a Cache,
    pub settings: &'a Settings,
    pub reporter: &'a dyn Reporter,
    /// Whether the picks are of a lockfile: pip did not see their URLs, so it does not know better.
    pub is_locked: bool,
}

impl Fetcher<'_> {
    /// Returns whether a pick can be downloaded without pip: its URL is of HTTP, and its digest known.
    pub(super) fn can(pick: &Pick) -> bool {
        let is_http = ["http://", "https://"].iter().any(|scheme| pick.url.starts_with(scheme));
        is_http && digest_of(pick).is_some()
    }

    /// Downloads wheels into the cache, and source archives into `folder`. Every pick must be one of
    /// [`Fetcher::can`].
    pub(super) fn get(&self, picks: &[&Pick], folder: &Path) -> Result<Vec<Outcome>> {
        let mut files = Vec::new();
        for pick in picks {
            let is_wheel = matches!(pick.origin, Origin::Wheel { .. });
            let arrival = Arrival::new(self.cache.temporary_file(Bucket::Wheels)?, is_wheel)?;
            files.push((Download { url: &pick.url, size: pick.size, accept: None }, arrival));
        }
        let last = Mutex::new(Downloads::default());
        let show = |progress: &Progress| {
            let now = state(progress, picks);
            let mut last = last.lock().expect("BUG: no holder of this lock panics");
            if *last != now {
                self.reporter.downloading(now.clone());
                *last = now;
            }
            !signals::is_ending()
        };
        self.reporter.status(&format!("fetching {}", count(picks.len(), "file")));
        let results = fetch(&mut files, self.settings, &show);
        let (mut outcomes, mut first_error) = (Vec::new(), None);
        let arrivals: Vec<Arrival> = files.into_iter().map(|(_, arrival)| arrival).collect();
        let ended = arrivals.into_par_iter().zip(results).enumerate();
        let ended = ended.map(|(at, (arrival, result))| {
            self.outcome((picks[at], arrival), result, &folder.join(at.to_string()))
        });
        for outcome in ended.collect::<Vec<_>>() {
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                // The files after it are stored all the same: they are not fetched again.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(outcomes), Err)
    }

    /// Stores a file that arrived. `folder` is for a source archive, whose name another may have too.
    fn outcome(
        &self,
        (pick, arrival): (&Pick, Arrival),
        result: Result<(), Failure>,
        folder: &Path,
    ) -> Result<Outcome> {
        match result {
            Ok(()) => {
                let destination = match pick.origin {
                    Origin::Wheel { .. } => Destination::Cache(self.cache),
                    _ => Destination::Folder(folder),
                };
                finish(pick, arrival, &destination, self.is_locked)
            }
            Err(Failure::Unsupported(text) | Failure::Unauthorized(text)) => {
                Ok(Outcome::ForPip(text))
            }
            Err(failure) if !self.is_locked && !signals::is_ending() => {
                Ok(Outcome::ForPip(failure.to_string()))
            }
            Err(failure) => {
                let way_out = if signals::is_ending() { "" } else { way_out(&failure) };
                bail!("could not fetch {}: {failure}{way_out}", pick.describe())
            }
        }
    }
}

/// Returns what a user can do about a file of a lock that was not fetched.
fn way_out(failure: &Failure) -> &'static str {
    match failure {
        // Files of an index are removed, but never replaced.
        Failure::Missing(_) => "\nif the index no longer has this file, lock again",
        Failure::OtherSize(_) => OTHER_FILE,
        Failure::Passing(_) => "\nbuild again later: the files that arrived are kept",
        Failure::Refused(_) => "\nif another index has this file, lock again with that one",
        // Only pip may be able to get it, or the text has the way out.
        Failure::Unsupported(_) | Failure::Unauthorized(_) | Failure::Other(_) => "",
    }
}

/// The way out if a file is not the one that was locked.
pub(super) const OTHER_FILE: &str =
    "\nthis is not the file that was locked: find out why before you lock again";

/// Compares the digest, and puts the file where it belongs.
fn finish(
    pick: &Pick,
    arrival: Arrival,
    destination: &Destination,
    is_locked: bool,
) -> Result<Outcome> {
    let Arrival { file, sha256, blake3, wheel: arriving, .. } = arrival;
    let (found, wanted) = (sha256::hex(&sha256.finish()), digest_of(pick).unwrap_or_default());
    let name = pick.file_name();
    if found != wanted {
        bail!(
            "`{name}` from {} has SHA-256 {found}, and not {wanted} as it should{}",
            redact(&pick.url),
            if is_locked { OTHER_FILE } else { "" }
        );
    }
    match destination {
        Destination::Cache(cache) => {
            let wheel = Wheel { name, sha256: found };
            let digest = Digest::from_bytes(*blake3.finalize().as_bytes());
            wheel.adopt(cache, file, &digest)?;
            if let Some(arriving) = arriving {
                arriving.keep(&wheel.name, &digest, &wheel.sha256, cache)?;
            }
            Ok(Outcome::Wheel(wheel))
        }
        Destination::Folder(folder) => {
            zipwright_store::fs::create_dir_all(folder)?;
            let place = folder.join(&name);
            persist(file, &place, private::FILE_MODE)
                .with_context(|| format!("could not keep the source of {}", pick.describe()))?;
            Ok(Outcome::Archive(place))
        }
    }
}

fn digest_of(pick: &Pick) -> Option<&str> {
    match &pick.origin {
        Origin::Wheel { sha256, .. } | Origin::Archive { sha256 } => sha256.as_deref(),
        Origin::Repository { .. } => None,
    }
}

fn state(progress: &Progress, picks: &[&Pick]) -> Downloads {
    let Progress { files, done, bytes, size, slowest } = *progress;
    let slowest = slowest.map(|at| picks[at].project.clone());
    Downloads { files, done, bytes, size, slowest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_names_the_slowest_file() {
        let pick = Pick {
            project: "numpy".into(),
            version: "2".into(),
            url: "https://h/numpy-2-py3-none-any.whl".into(),
            origin: Origin::Wheel { name: "numpy-2-py3-none-any.whl".into(), sha256: None },
            subdirectory: None,
            size: None,
            fetched: None,
        };
        assert!(!Fetcher::can(&pick));
        let progress = Progress { files: 2, done: 1, bytes: 1, size: Some(3), slowest: Some(0) };
        let expected =
            Downloads { files: 2, done: 1, bytes: 1, size: Some(3), slowest: Some("numpy".into()) };
        assert_eq!(state(&progress, &[&pick]), expected);
    }
}
