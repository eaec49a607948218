//! Finding files: folders are listed in parallel, once a run.
//!
//! A name that is not UTF-8, or has control characters, fits no [`RelPath`]. Such files are found
//! like all others, and are an error only where they are selected.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use foldhash::fast::RandomState;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::{Content, Fact, Files, Looked, Pieces, Scanned, lock};
use crate::glob::Glob;
use crate::observation::{Now, Observation, Stat};
use zipwright_store::RelPath;
use zipwright_store::fs::{TEMP_PREFIX, is_missing};
use zipwright_store::project::STATE_FOLDER;

/// Members of one folder, each sorted.
#[derive(Default, PartialEq)]
pub struct Members {
    pub files: Vec<RelPath>,
    pub folders: Vec<RelPath>,
    /// Files whose names fit no [`RelPath`], and all files below folders with such names.
    pub unnamed: Vec<PathBuf>,
    /// How many half-made files there were besides.
    pub half_made: u64,
}

impl Members {
    fn count(&self) -> u64 {
        (self.files.len() + self.folders.len() + self.unnamed.len()) as u64 + self.half_made
    }
}

/// Files and links, as paths from the project's root.
#[derive(Default)]
pub struct Selection {
    /// Sorted.
    pub files: Vec<RelPath>,
    /// Those whose names fit no [`RelPath`]; sorted.
    pub unnamed: Vec<PathBuf>,
}

impl Selection {
    /// Returns the files; fails if a selected name fits no [`RelPath`].
    pub fn named(self) -> Result<Vec<RelPath>> {
        match self.unnamed.first() {
            None => Ok(self.files),
            // Its debug form escapes all that a terminal would take for something else.
            Some(path) => bail!(
                "the name {path:?} is not UTF-8 or has control characters: rename the file, or \
                 let no pattern select it"
            ),
        }
    }
}

/// A folder that was listed.
#[derive(Clone)]
pub(super) struct Listing {
    /// `None` if stat data would not show a change.
    observation: Option<Observation>,
    members: Arc<Members>,
    /// Number of the look; see [`Files::look_anew`].
    look: u32,
}

impl Files {
    /// Returns all files and links below `folder`; none if there is no such folder.
    pub fn list(&self, folder: &RelPath) -> Result<Selection> {
        self.list_into(folder, &mut Vec::new())
    }

    /// Like [`Files::list`], and adds the observations to `log`.
    pub(super) fn list_into(&self, folder: &RelPath, log: &mut Vec<Looked>) -> Result<Selection> {
        self.walk(folder, |_| true, log)
    }

    /// Returns the files that a glob selects, and adds the observations to `log`.
    ///
    /// Without a wildcard: the path itself, existing or not, or all files below it if it is a
    /// folder. With one: the files that match, hidden ones included, without the state folder, `.git`,
    /// and the outputs given as hidden unless the pattern spells them out.
    pub(super) fn select_into(&self, glob: &Glob, log: &mut Vec<Looked>) -> Result<Selection> {
        if !glob.has_wildcard() {
            let seen = self.see(&glob.base)?;
            let is_folder = Fact::from(&seen.observation).content == Content::Folder;
            log.push(Looked::new(glob.base.clone(), seen));
            if !is_folder {
                return Ok(Selection { files: vec![glob.base.clone()], unnamed: Vec::new() });
            }
            let hidden = self.hidden_from(&glob.base);
            return self.walk(&glob.base, |path| !is_hidden(path, &hidden), log);
        }
        let matcher =
            glob.matcher().with_context(|| format!("`{}` is too large", glob.pattern()))?;
        let hidden = self.hidden_from(&glob.base);
        let Selection { files, mut unnamed } =
            self.walk(&glob.base, |path| !is_hidden(path, &hidden), log)?;
        let files = files.into_par_iter().with_min_len(1024);
        unnamed.retain(|path| matcher.is_match(path));
        let files = files.filter(|path| matcher.is_match(path.as_str())).collect();
        Ok(Selection { files, unnamed })
    }

    /// Returns the files and links below `folder` for which, and for whose parent folders, `enter`
    /// returns `true`.
    fn walk(
        &self,
        folder: &RelPath,
        enter: impl Fn(&RelPath) -> bool + Sync,
        log: &mut Vec<Looked>,
    ) -> Result<Selection> {
        let mut found = Selection::default();
        let mut folders = vec![folder.clone()];
        while !folders.is_empty() {
            let listed: Vec<Result<Listing>> =
                folders.par_iter().map(|folder| self.listing(folder)).collect();
            let mut below = Vec::new();
            for (folder, listing) in folders.into_iter().zip(listed) {
                let Listing { observation, members, .. } = listing?;
                found.files.extend(members.files.iter().filter(|path| enter(path)).cloned());
                found.unnamed.extend_from_slice(&members.unnamed);
                below.extend(members.folders.iter().filter(|path| enter(path)).cloned());
                log.push(Looked::listing(folder, observation));
            }
            folders = below;
        }
        found.files.sort();
        found.unnamed.sort();
        Ok(found)
    }

    /// Returns the members of a folder if it was listed.
    pub fn known_members(&self, folder: &RelPath) -> Option<Arc<Members>> {
        self.known_listing(folder).map(|listing| listing.members)
    }

    fn known_listing(&self, folder: &RelPath) -> Option<Listing> {
        let look = self.look.load(Ordering::Relaxed);
        lock(&self.listed).get(folder).filter(|listing| listing.look == look).cloned()
    }

    /// Returns the members of a folder, listed once until something else may be there.
    fn listing(&self, folder: &RelPath) -> Result<Listing> {
        if let Some(known) = self.known_listing(folder) {
            return Ok(known);
        }
        let look = self.look.load(Ordering::Relaxed);
        let listing = Listing { look, ..self.list_now(folder)? };
        lock(&self.listed).insert(folder.clone(), listing.clone());
        Ok(listing)
    }

    fn list_now(&self, folder: &RelPath) -> Result<Listing> {
        let place = folder.under(&self.root);
        let observation = self.observe_folder(fs::symlink_metadata(&place));
        let (members, is_whole) = list(folder, &place)?;
        let members = Arc::new(members);
        // Stat data of this folder does not show a change in a folder that it lists with it.
        let observation = observation.filter(|_| is_whole);
        let observation = observation.map(|observation| match observation {
            Observation::Listed(stat, _) => Observation::Listed(stat, members.count()),
            observation => observation,
        });
        Ok(Listing { observation, members, look: 0 })
    }

    /// Lists a folder again that was written so shortly before it was listed that stat data would not
    /// show another change. Returns its observation if it has the same members and stat data shows any
    /// later change.
    pub fn settled_listing(&self, folder: &RelPath) -> Option<Observation> {
        let before = lock(&self.listed).get(folder)?.members.clone();
        let now = self.list_now(folder).ok()?;
        now.observation.filter(|_| *now.members == *before)
    }

    /// Returns the observation of a folder that is about to be listed.
    fn observe_folder(&self, meta: io::Result<Metadata>) -> Option<Observation> {
        match meta {
            Ok(meta) if meta.is_dir() => {
                let (stat, past) = (Stat::from(&meta), self.past(meta.dev()));
                stat.is_before(past).then_some(Observation::Listed(stat, 0))
            }
            Err(error) if is_missing(&error) => Some(Observation::Missing),
            _ => None,
        }
    }

    /// Drops the observation of `path`, and the listing of its folder: this build put something else
    /// there.
    pub(super) fn replaced(&self, path: &RelPath) {
        self.forget(path);
        lock(&self.listed).remove(&path.parent());
    }

    /// Returns the paths that a walk from `base` skips: none that `base` itself is in.
    fn hidden_from(&self, base: &RelPath) -> Vec<RelPath> {
        self.hidden.iter().filter(|path| !base.is_within(path)).cloned().collect()
    }
}

/// Returns the listings of folders that are unchanged since an earlier run, if all their members were
/// observed as well. `scanned` is sorted by path.
pub(super) fn scanned_listings(scanned: &Pieces) -> HashMap<RelPath, Listing> {
    let mut members = members_of(scanned.iter().flatten());
    let mut listed = HashMap::new();
    for Scanned { path, observation, now } in scanned.iter().flatten() {
        // If there are as many observed members as the folder has, they are all its members.
        if let (Observation::Listed(_, count), Now::Same) = (observation, now)
            && let Some(members) = members.remove(path.as_str())
            && members.count() == *count
        {
            let (observation, members) = (Some(observation.clone()), Arc::new(members));
            listed.insert(path.clone(), Listing { observation, members, look: 0 });
        }
    }
    listed
}

/// Returns for each folder the observed paths in it that still exist.
fn members_of<'a>(
    scanned: impl Iterator<Item = &'a Scanned>,
) -> HashMap<&'a str, Members, RandomState> {
    let mut all: HashMap<&str, Members, RandomState> = HashMap::default();
    let mut before = None;
    // Sorted by path, most are in the same folder as the one before.
    let (mut parent, mut members) = (".", Members::default());
    for Scanned { path, observation, now } in scanned {
        // A folder comes twice: as a path, and as a listing.
        let is_gone = matches!(now, Now::Another | Now::Unchecked);
        if is_gone || before.replace(path) == Some(path) || path.is_root() {
            continue;
        }
        let own = path.as_str().rsplit_once('/').map_or(".", |(parent, _)| parent);
        if own != parent {
            all.insert(parent, members);
            members = all.remove(own).unwrap_or_default();
            parent = own;
        }
        match observation {
            Observation::Missing | Observation::Other => {}
            Observation::Folder | Observation::Listed(..) => members.folders.push(path.clone()),
            Observation::File(_) | Observation::Link(_) => members.files.push(path.clone()),
        }
    }
    all.insert(parent, members);
    all
}

/// Returns the members of the folder at `place`, and whether all of them are its own: those below a
/// folder whose name fits no [`RelPath`] are listed with it.
fn list(folder: &RelPath, place: &Path) -> Result<(Members, bool)> {
    let failed = || format!("could not list `{folder}`");
    let mut members = Members::default();
    let mut is_whole = true;
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        // A folder that is not there, or that went away meanwhile, has no files.
        Err(error) if is_missing(&error) => return Ok((members, is_whole)),
        Err(error) => return Err(error).with_context(failed),
    };
    for entry in entries {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name();
        let Some(path) = name.to_str().and_then(|name| folder.member(name)) else {
            is_whole &= !entry.file_type().with_context(failed)?.is_dir();
            let path =
                if folder.is_root() { name.into() } else { folder.under("".as_ref()).join(name) };
            members.unnamed.extend(below(&entry.path(), &path).with_context(failed)?);
            continue;
        };
        if path.file_name().starts_with(TEMP_PREFIX) {
            members.half_made += 1;
            continue;
        }
        match entry.file_type().with_context(failed)?.is_dir() {
            true => members.folders.push(path),
            false => members.files.push(path),
        }
    }
    members.files.sort();
    members.folders.sort();
    Ok((members, is_whole))
}

/// Returns the file at `place` as `path`, or all files below it if it is a folder.
fn below(place: &Path, path: &Path) -> io::Result<Vec<PathBuf>> {
    let skipped = |name: &std::ffi::OsStr| name == STATE_FOLDER || name == ".git";
    let walk = WalkDir::new(place).into_iter().filter_entry(|entry| !skipped(entry.file_name()));
    let mut found = Vec::new();
    for entry in walk {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            let below = entry.path().strip_prefix(place).unwrap_or(entry.path());
            found.push(path.iter().chain(below.iter()).collect());
        }
    }
    Ok(found)
}

fn is_hidden(path: &RelPath, hidden: &[RelPath]) -> bool {
    let name = path.file_name();
    name == STATE_FOLDER || name == ".git" || hidden.iter().any(|output| path == output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Memory;
    use crate::observation::Link;

    #[test]
    fn a_folder_is_taken_for_listed_only_when_all_its_members_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = |text: &str| RelPath::parse(text).unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["d/a", "d/c"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let stat = Stat::from(&fs::metadata(folder.path().join("d")).unwrap());
        let known = |listed: Now, others: &[(&str, Now)]| {
            let scanned =
                |text: &str, observation, now| Scanned { path: path(text), observation, now };
            let mut all = vec![
                scanned("d", Observation::Folder, Now::Same),
                scanned("d", Observation::Listed(stat, 2), listed),
            ];
            for (text, now) in others {
                let link = Link { text: String::new(), target: Observation::Missing };
                all.push(scanned(text, Observation::Link(Box::new(link)), *now));
            }
            let memory = Memory { paths: vec![all], external: Vec::new() };
            let files = Files::new(folder.path(), Vec::new(), memory);
            let known = files.known_members(&path("d")).is_some();
            assert_eq!(files.list(&path("d")).unwrap().files, [path("d/a"), path("d/c")]);
            known
        };
        assert!(known(Now::Same, &[("d/a", Now::Same), ("d/c", Now::Same)]));
        assert!(known(Now::Same, &[("d/a", Now::Same), ("d/c", Now::Changed)]));
        // The folder is another, a member was never looked at, or went and came.
        assert!(!known(Now::Changed, &[("d/a", Now::Same), ("d/c", Now::Same)]));
        assert!(!known(Now::Same, &[("d/a", Now::Same)]));
        assert!(!known(Now::Same, &[("d/a", Now::Same), ("d/b", Now::Another)]));
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_an_error_only_where_it_is_selected() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().unwrap();
        let place = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        for name in [&b"d"[..], b"d/\xffd", b"d/\xffd/.git"] {
            fs::create_dir(place(name)).unwrap();
        }
        for name in
            [&b"d/a.py"[..], b"d/\xff.txt", b"d/\xffd/b.csv", b"d/\xffd/.git/c.py", b"n\nl.md"]
        {
            fs::write(place(name), "").unwrap();
        }
        let files = Files::new(folder.path(), Vec::new(), Memory::default());
        let matches = |glob: &str| {
            let found = files.select_into(&Glob::parse(glob).unwrap(), &mut Vec::new());
            let found = found.and_then(Selection::named);
            found.map(|files| files.len()).map_err(|error| error.to_string())
        };
        for glob in ["d/**/*.py", "**/*.py", "*/a.*"] {
            assert_eq!(matches(glob), Ok(1), "{glob}");
        }
        let selecting = [
            ("d", r#""d/\xFF.txt""#),
            ("d/*", r#""d/\xFF.txt""#),
            ("d/**/*.csv", r#""d/\xFFd/b.csv""#),
            ("*.md", r#""n\nl.md""#),
        ];
        for (glob, name) in selecting {
            let error = matches(glob).unwrap_err();
            assert!(error.starts_with(&format!("the name {name} is not UTF-8")), "{error}");
        }
    }
}
