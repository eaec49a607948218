//! Runs one build after the other, each from nothing in a copy of the project that is removed
//! again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tempfile::TempDir;

use super::vary::{self, Offer, Variation};
use super::{Request, copy};
use crate::base::RelPath;
use crate::diff::{Change, What};
use crate::process::Invocation;
use crate::record;

/// Two seconds are the grain of times in zips.
const APART: Duration = Duration::from_millis(2_100);

/// Number of lines of a failed build's output that are repeated.
const LINES_SHOWN: usize = 30;

pub(super) struct Builds<'a> {
    pub(super) request: &'a Request<'a>,
    files: Vec<RelPath>,
    work: TempDir,
    done: usize,
    /// When the first build started, with which all others are compared.
    first_started: Option<Instant>,
    began: Timestamp,
    /// The order in which the system listed the files of a build that created them in order, and of one
    /// that did not.
    listings: [Option<Vec<String>>; 2],
}

/// The folders of one build.
struct Folders {
    base: PathBuf,
    home: Option<PathBuf>,
    tmp: PathBuf,
}

impl<'a> Builds<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Result<Self> {
        let files = copy::files(request.project, &request.outputs)?;
        let work = tempfile::Builder::new().prefix("zipwright-").tempdir();
        Ok(Self {
            request,
            files,
            work: work.context("could not make a temporary folder")?,
            done: 0,
            first_started: None,
            began: Timestamp::now(),
            listings: [None, None],
        })
    }

    pub(super) fn count(&self) -> usize {
        self.done
    }

    /// Returns the time from before the first build until now, in seconds since 1970.
    pub(super) fn window(&self) -> (i64, i64) {
        (self.began.as_second() - 1, Timestamp::now().as_second() + 1)
    }

    /// Builds from nothing. Returns the folder with the zips.
    pub(super) fn run(&mut self, variations: &[Variation]) -> Result<PathBuf> {
        let variations: BTreeSet<Variation> = variations.iter().copied().collect();
        match self.first_started {
            Some(first) => thread::sleep(APART.saturating_sub(first.elapsed())),
            None => self.first_started = Some(Instant::now()),
        }
        self.done += 1;
        let folders = self.folders(&variations)?;
        let project = folders.base.join("project");
        let umask = if variations.contains(&Variation::Umask) { 0o077 } else { 0o022 };
        let shuffled = variations.contains(&Variation::FileOrder);
        copy::copy(self.request.project, &self.files, &project, umask, shuffled)?;
        self.listings[usize::from(shuffled)].get_or_insert_with(|| copy::listing(&project));
        self.build(&folders, &project, &variations)?;
        let kept = self.work.path().join(format!("zips-{}", self.done));
        for (_, path) in &self.request.zips {
            let (from, to) = (path.under(&project), zip(&kept, path));
            fs::create_dir_all(to.parent().unwrap_or(&kept))
                .and_then(|()| fs::copy(&from, &to))
                .with_context(|| format!("the build did not leave `{path}`"))?;
            let _ = fs::copy(record::place_of(&from), record::place_of(&to));
        }
        crate::base::fs::remove(&folders.base)?;
        Ok(kept)
    }

    fn folders(&self, variations: &BTreeSet<Variation>) -> Result<Folders> {
        let (root, has) = (self.work.path(), |variation| variations.contains(&variation));
        let base = match has(Variation::Path) {
            false => root.join("build"),
            true => root.join("quite/another/place-with-a-longer-name"),
        };
        let tmp = root.join(if has(Variation::Tmp) { "other-temporary-files" } else { "tmp" });
        let home = has(Variation::Home).then(|| root.join("another-home"));
        for folder in [&base, &tmp, &base.join("pip")] {
            crate::base::fs::create_dir_all(folder)?;
        }
        if let (Some(home), Some(own)) = (&home, self.request.project.var("HOME"))
            && !home.exists()
        {
            crate::base::fs::create_dir_all(home)?;
            // Tools keep their settings there; only its path is varied.
            for entry in fs::read_dir(own).into_iter().flatten().flatten() {
                let _ = symlink(entry.path(), home.join(entry.file_name()));
            }
        }
        // Downloads may come from pip's cache; wheels that pip built from source may not.
        let shared = self.pip_cache();
        for part in ["http", "http-v2"] {
            if let Some(from) =
                shared.as_ref().map(|cache| cache.join(part)).filter(|at| at.is_dir())
            {
                let _ = symlink(from, base.join("pip").join(part));
            }
        }
        Ok(Folders { base, home, tmp })
    }

    fn pip_cache(&self) -> Option<PathBuf> {
        let project = self.request.project;
        if let Some(cache) = project.var("PIP_CACHE_DIR") {
            return Some(project.root.join(cache));
        }
        let cache = project.var("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(project.var("HOME")?).join(".cache")));
        Some(cache?.join("pip"))
    }

    fn build(
        &self,
        folders: &Folders,
        project: &Path,
        variations: &BTreeSet<Variation>,
    ) -> Result<()> {
        let setting = vary::setting(variations, self.request.project);
        let mut words = setting.prefix.into_iter();
        let first = words.next().expect("BUG: the umask is always set");
        let mut invocation = Invocation::new(first, project).args(words);
        invocation = invocation.arg(&self.request.program).arg("build").args(&self.request.words);
        invocation = invocation.args(self.request.zips.iter().map(|(target, _)| target));
        let below = |name: &str| folders.base.join(name).display().to_string();
        invocation = invocation
            .env("XDG_CACHE_HOME", below("cache"))
            .env("PIP_CACHE_DIR", below("pip"))
            .env("TMPDIR", &folders.tmp)
            .env("GIT_OPTIONAL_LOCKS", "0")
            // A shell prefers this over the folder that it is started in.
            .env("PWD", project);
        if let Some(home) = &folders.home {
            invocation = invocation.env("HOME", home);
        }
        for (name, value) in setting.env {
            invocation = invocation.env(name, value);
        }
        let of_make = ["MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "MAKELEVEL", "OLDPWD"];
        invocation.env_remove.extend(of_make.map(Into::into));
        let captured = invocation.capture()?;
        if !captured.status.success() {
            let said: Vec<&str> = captured.stderr.lines().collect();
            let said = said[said.len().saturating_sub(LINES_SHOWN)..].join("\n");
            let number = self.done;
            bail!(
                "build {number} failed, in a copy of the project without ignored files and outputs:\
                 \n{said}"
            );
        }
        Ok(())
    }

    /// Corrects the offer of another file order: some file systems sort, so nothing is varied there.
    pub(super) fn corrected(&self, mut offers: Vec<Offer>) -> Vec<Offer> {
        if let [Some(plain), Some(shuffled)] = &self.listings
            && plain == shuffled
        {
            let is_order = |offer: &&mut Offer| offer.variation == Variation::FileOrder;
            for offer in offers.iter_mut().filter(is_order) {
                offer.varied = false;
                offer.how = "this file system lists files in an order of its own".into();
            }
        }
        offers
    }

    /// Sorts the variations whose values appear in the difference to the front.
    pub(super) fn suspects_first(
        &self,
        variations: &[Variation],
        changes: &[Change],
    ) -> Vec<Variation> {
        let shown = |text: &str| {
            changes.iter().any(|change| match &change.what {
                What::Content(content) => content.values.1.iter().any(|value| value.contains(text)),
                _ => false,
            })
        };
        let is_suspect = |variation: &Variation| match variation {
            Variation::Path => shown("place-with-a-longer-name"),
            Variation::Home => shown("another-home"),
            Variation::Tmp => shown("other-temporary-files"),
            Variation::Hostname => shown(vary::HOSTNAME),
            Variation::HashSeed => changes
                .iter()
                .any(|change| matches!(&change.what, What::Content(content) if content.reordered)),
            _ => false,
        };
        let mut ordered = variations.to_vec();
        ordered.sort_by_key(|variation| !is_suspect(variation));
        ordered
    }
}

/// Returns the path at which the zip of a build is kept.
pub(super) fn zip(kept: &Path, path: &RelPath) -> PathBuf {
    path.under(kept)
}
