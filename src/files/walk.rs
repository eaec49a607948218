//! Finding files: folders are listed side by side, and what is listed is kept for the receipt.
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

use super::{Content, Files, Now, Pieces, Recalled, Sight, lock, stat_of};
use crate::base::RelPath;
use crate::base::fs::{TEMP_PREFIX, is_missing};
use crate::buildfile::model::Glob;
use crate::project::STATE_FOLDER;

/// Members of one folder, each sorted.
#[derive(Default)]
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
pub(super) struct Listing {
    /// `None` where stat data would not show a change.
    pub(super) sight: Option<Sight>,
    members: Arc<Members>,
    /// Of [`Files::looks`]: they are listed again once that is another.
    of: u32,
}

impl Files {
    /// Returns all files and links below `folder`; none if there is no such folder.
    pub fn list(&self, folder: &RelPath) -> Result<Selection> {
        self.walk(folder, |_| true)
    }

    /// Returns the files that a glob selects, sorted by bytes; fails if it selects a name that fits
    /// no [`RelPath`].
    pub fn matches(&self, glob: &Glob) -> Result<Vec<RelPath>> {
        self.select(glob)?.named()
    }

    /// Returns the files that a glob selects.
    ///
    /// Without a wildcard: the path itself, existing or not, or all files below it if it is a
    /// folder. With one: the files that match, hidden ones included, passing over the state
    /// folder, `.git`, and the outputs given as hidden unless the pattern spells them out.
    pub fn select(&self, glob: &Glob) -> Result<Selection> {
        if !glob.has_wildcard() {
            return match self.fact(&glob.base)?.content {
                Content::Folder => {
                    let hidden = self.hidden_from(&glob.base);
                    self.walk(&glob.base, |path| !is_hidden(path, &hidden))
                }
                _ => Ok(Selection { files: vec![glob.base.clone()], unnamed: Vec::new() }),
            };
        }
        let matcher =
            glob.matcher().with_context(|| format!("`{}` is too large", glob.pattern()))?;
        let hidden = self.hidden_from(&glob.base);
        let Selection { files, mut unnamed } =
            self.walk(&glob.base, |path| !is_hidden(path, &hidden))?;
        let files = files.into_par_iter().with_min_len(1024);
        unnamed.retain(|path| matcher.is_match(path));
        let files = files.filter(|path| matcher.is_match(path.as_str())).collect();
        Ok(Selection { files, unnamed })
    }

    /// The files and links below `folder` that `enter` lets in, by themselves and by the folders that
    /// they lie in.
    fn walk(&self, folder: &RelPath, enter: impl Fn(&RelPath) -> bool + Sync) -> Result<Selection> {
        let mut found = Selection::default();
        let mut folders = vec![folder.clone()];
        while !folders.is_empty() {
            let listed: Vec<Result<Arc<Members>>> =
                folders.par_iter().map(|folder| self.members(folder)).collect();
            folders.clear();
            for members in listed {
                let members = members?;
                found.files.extend(members.files.iter().filter(|path| enter(path)).cloned());
                found.unnamed.extend_from_slice(&members.unnamed);
                folders.extend(members.folders.iter().filter(|path| enter(path)).cloned());
            }
        }
        found.files.sort();
        found.unnamed.sort();
        Ok(found)
    }

    /// Takes folders for listed that an earlier build listed, if they are as they were then, and all
    /// their members were looked at as well. `recalled` is sorted by path.
    pub(super) fn recall_listings(&self, recalled: &Pieces) {
        let mut members = members_of(recalled.iter().flatten());
        let of = self.looks.load(Ordering::Relaxed);
        let mut listed = lock(&self.listed);
        for Recalled { path, sight, now } in recalled.iter().flatten() {
            // As many names as it has, all of something that is there, are all that it has.
            if let (Sight::Listed(_, count), Now::Same) = (sight, now)
                && let Some(members) = members.remove(path.as_str())
                && members.count() == *count
            {
                let members = Arc::new(members);
                listed.insert(path.clone(), Listing { sight: Some(sight.clone()), members, of });
            }
        }
    }

    /// The members of a folder, if they are known.
    pub fn known_members(&self, folder: &RelPath) -> Option<Arc<Members>> {
        let of = self.looks.load(Ordering::Relaxed);
        let listed = lock(&self.listed);
        listed.get(folder).filter(|known| known.of == of).map(|known| Arc::clone(&known.members))
    }

    /// The members of a folder, listed once until something else may be there.
    fn members(&self, folder: &RelPath) -> Result<Arc<Members>> {
        if let Some(known) = self.known_members(folder) {
            return Ok(known);
        }
        let of = self.looks.load(Ordering::Relaxed);
        let place = folder.under(&self.root);
        let sight = self.sight_of_folder(fs::symlink_metadata(&place));
        let (members, is_whole) = list(folder, &place)?;
        let members = Arc::new(members);
        // Stat data of this folder does not show what changes in a folder that it lists with it.
        let sight = sight.filter(|_| is_whole);
        let sight = sight.map(|sight| match sight {
            Sight::Listed(stat, _) => Sight::Listed(stat, members.count()),
            sight => sight,
        });
        let mut listed = lock(&self.listed);
        // Two listings that saw different members are no ground for anything.
        let sight = match listed.get(folder) {
            Some(before) if before.sight != sight => None,
            _ => sight,
        };
        listed.insert(folder.clone(), Listing { sight, members: Arc::clone(&members), of });
        Ok(members)
    }

    /// What is to be kept of a folder that is about to be listed.
    fn sight_of_folder(&self, meta: io::Result<Metadata>) -> Option<Sight> {
        match meta {
            Ok(meta) if meta.is_dir() => {
                let (stat, past) = (stat_of(&meta), self.past(meta.dev()));
                (stat.mtime < past && stat.ctime < past).then_some(Sight::Listed(stat, 0))
            }
            Err(error) if is_missing(&error) => Some(Sight::Nothing),
            _ => None,
        }
    }

    /// This build itself put something else at `path`, and will list the folder that it lies in
    /// before it leaves a receipt.
    pub fn replaced(&self, path: &RelPath) {
        self.forget(path);
        lock(&self.listed).remove(&path.parent());
    }

    /// What a walk from `base` passes over: nothing that `base` itself lies in.
    fn hidden_from(&self, base: &RelPath) -> Vec<RelPath> {
        self.hidden.iter().filter(|path| !base.is_within(path)).cloned().collect()
    }
}

/// Of each folder, what lies in it of that which was looked at and is still there.
fn members_of<'a>(
    recalled: impl Iterator<Item = &'a Recalled>,
) -> HashMap<&'a str, Members, RandomState> {
    let mut all: HashMap<&str, Members, RandomState> = HashMap::default();
    let mut before = None;
    // Sorted by path, most lie in the same folder as the one before.
    let (mut parent, mut members) = (".", Members::default());
    for Recalled { path, sight, now } in recalled {
        // A folder is there twice: looked at, and listed.
        if *now == Now::Another || before.replace(path) == Some(path) || path.is_root() {
            continue;
        }
        let own = path.as_str().rsplit_once('/').map_or(".", |(parent, _)| parent);
        if own != parent {
            all.insert(parent, members);
            members = all.remove(own).unwrap_or_default();
            parent = own;
        }
        match sight {
            Sight::Nothing => {}
            Sight::Folder | Sight::Listed(..) => members.folders.push(path.clone()),
            Sight::File(_) | Sight::Link(..) => members.files.push(path.clone()),
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

    #[test]
    fn a_folder_is_taken_for_listed_only_when_all_its_members_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = |text: &str| RelPath::parse(text).unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        for name in ["d/a", "d/c"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let stat = stat_of(&fs::metadata(folder.path().join("d")).unwrap());
        let known = |listed: Now, others: &[(&str, Now)]| {
            let mut files = Files::new(folder.path(), Vec::new(), Memory::default());
            let recalled = |text: &str, sight, now| Recalled { path: path(text), sight, now };
            let mut all = vec![
                recalled("d", Sight::Folder, Now::Same),
                recalled("d", Sight::Listed(stat, 2), listed),
            ];
            for (text, now) in others {
                let target = Box::new(Sight::Nothing);
                all.push(recalled(text, Sight::Link(String::new(), target), *now));
            }
            files.recall(vec![all]);
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
            let found = files.matches(&Glob::parse(glob).unwrap());
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
