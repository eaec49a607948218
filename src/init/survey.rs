//! The files of a project that `init` reads: those that a build could take, without tests, virtual
//! environments and folders of tools. Nothing outside of the folder is read, and no link to a folder
//! followed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::check::{self, Outline};

/// Largest number of files that are read; a folder with more is not one project.
const MOST: usize = 50_000;

/// Longer texts are not read.
const LONGEST: u64 = 4 << 20;

/// Folders that tools make, besides those whose names start with `.`.
const LEFT_OUT: [&str; 7] =
    ["__pycache__", "__pypackages__", "build", "cdk.out", "dist", "node_modules", "site-packages"];

/// Folders that staging passes over by itself.
const PASSED_OVER: [&str; 3] = [".git", ".zipwright", "__pycache__"];

/// Folders whose files are no part of a function.
const TESTS: [&str; 5] = ["tests", "test", "testing", "docs", "examples"];

pub(super) struct Survey {
    root: PathBuf,
    /// By path relative to the root, with `/`.
    files: BTreeMap<String, PathBuf>,
    /// Folders that were not looked into, and links that are not followed, which a source could take
    /// along.
    left_out: Vec<String>,
    /// Paths that a Buildfile could only name with escapes, and links that `init` does not follow.
    pub(super) passed_over: Vec<PathBuf>,
    /// Whether there were more files than are looked at.
    pub(super) is_cut: bool,
}

impl Survey {
    pub(super) fn of(root: &Path) -> Self {
        let (mut files, mut left_out, mut is_cut) = (BTreeMap::new(), Vec::new(), false);
        let (mut links, mut passed_over) = (Vec::new(), Vec::new());
        let real_root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        // A link to a file of the project stands for it, as in a staging tree.
        let is_linked_file = |place: &Path| {
            fs::canonicalize(place).is_ok_and(|real| real.starts_with(&real_root) && real.is_file())
        };
        // Such paths would have to be escaped in a Buildfile, and are not those of modules.
        let relative = |entry: &DirEntry| {
            let path = entry.path().strip_prefix(root).ok()?.to_str()?;
            (!path.contains(is_special)).then(|| path.to_owned())
        };
        let entries = WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(|entry| {
            let is_in = entry.depth() == 0 || is_looked_into(entry);
            if !is_in && !PASSED_OVER.iter().any(|name| entry.file_name() == *name) {
                left_out.extend(relative(entry));
            }
            is_in
        });
        for entry in entries {
            let Ok(entry) = entry else { continue };
            let (kind, place) = (entry.file_type(), entry.path());
            let is_other_link = kind.is_symlink() && !is_linked_file(place);
            if kind.is_dir() || !kind.is_file() && !kind.is_symlink() {
                continue;
            }
            if files.len() == MOST {
                is_cut = true;
                break;
            }
            match relative(&entry).filter(|_| !is_other_link) {
                Some(path) => {
                    files.insert(path, entry.into_path());
                }
                None if is_other_link || is_python(place) => {
                    // As a source, it would be an error.
                    links.extend(relative(&entry).filter(|_| is_other_link));
                    passed_over.push(place.strip_prefix(root).unwrap_or(place).to_owned());
                }
                None => {}
            }
        }
        left_out.append(&mut links);
        Self { root: root.to_owned(), files, left_out, passed_over, is_cut }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Returns all files below a folder, sorted; `""` is the root.
    pub(super) fn below(&self, folder: &str) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(move |path| is_below(path, folder))
    }

    /// Returns folders and links below this folder that a bundle is to leave out.
    pub(super) fn left_out(&self, folder: &str) -> impl Iterator<Item = &str> {
        self.left_out.iter().map(String::as_str).filter(move |path| is_below(path, folder))
    }

    /// Returns the text of a file. `None` if it is missing, too long, or not UTF-8.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.bytes(path)?).ok()
    }

    pub(super) fn outline(&self, path: &str) -> Option<Outline> {
        check::outline(&self.bytes(path)?)
    }

    /// Returns the reason for which a file cannot be opened.
    pub(super) fn error(&self, path: &str) -> Option<io::Error> {
        File::open(self.files.get(path)?).err()
    }

    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let place = self.files.get(path)?;
        let is_short = fs::metadata(place).is_ok_and(|meta| meta.len() <= LONGEST);
        is_short.then(|| fs::read(place).ok())?
    }
}

pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns whether a path is that of a test, of a file about tests, or of documentation.
pub(super) fn is_test(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    folders.split('/').any(|folder| TESTS.contains(&folder))
        || name.starts_with("test_")
        || name.ends_with("_test.py")
        || name == "conftest.py"
}

fn is_python(place: &Path) -> bool {
    place.extension().is_some_and(|extension| extension == "py")
}

fn is_special(c: char) -> bool {
    "*?[]{}\\\"".contains(c) || c.is_control()
}

fn is_looked_into(entry: &DirEntry) -> bool {
    let Some(name) = entry.file_name().to_str() else { return false };
    if !entry.file_type().is_dir() {
        return true;
    }
    let is_environment =
        || ["pyvenv.cfg", "conda-meta"].iter().any(|mark| entry.path().join(mark).exists());
    !name.starts_with('.')
        && !LEFT_OUT.contains(&name)
        && !name.ends_with(".egg-info")
        && !is_environment()
}
