//! The files of a local project that a build may see, and a clean copy of them to build in.
//!
//! Version control, caches, virtual environments and leftovers of earlier builds are left out by
//! name, and so are the paths that the caller names, above all the outputs of targets. The copy
//! contains nothing else, so a file that is left out cannot get into a wheel. [`super::watch`]
//! reports which files of the copy a build opened.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use filetime::FileTime;

use zipwright_engine::files::{Content, View};
use zipwright_store::digest::FieldHasher;
use zipwright_store::fs::{EXECUTABLE_MODE, FILE_MODE, create_dir_all, read};
use zipwright_store::platform::OpenedFiles;
use zipwright_store::project::{Project, STATE_FOLDER};
use zipwright_store::{Digest, RelPath};

/// 1980-02-01T00:00:00Z, the time of every file in a copy: the zip format has no time before 1980,
/// in any time zone.
pub(super) const EPOCH: i64 = 318_211_200;

/// Folders that a build should not see, at any depth.
const LEFT_OUT: [&str; 14] = [
    STATE_FOLDER,
    ".git",
    ".hg",
    ".svn",
    ".bzr",
    "__pycache__",
    ".eggs",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    "node_modules",
];

/// Folders that builds write to, at the top of a project only: deeper, they are ordinary names.
const BUILD_FOLDERS: [&str; 2] = ["build", "dist"];

/// The current files of a project.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    folder: RelPath,
    /// Digest of the content, with ` x` if executable; by path below the project's folder.
    pub files: BTreeMap<RelPath, String>,
    /// Links to folders of the project, and broken links.
    links: BTreeMap<RelPath, String>,
}

impl Tree {
    pub(super) fn look(
        project: &Project,
        files: &View,
        folder: &RelPath,
        left_out: &[RelPath],
    ) -> Result<Self> {
        let paths = list(project, folder, left_out)?;
        let facts = files.facts(&paths)?;
        let mut tree =
            Self { folder: folder.clone(), files: BTreeMap::new(), links: BTreeMap::new() };
        for (path, fact) in paths.into_iter().zip(facts) {
            let below = path.below(folder).expect("BUG: listed below this folder");
            match (fact.content, fact.link) {
                (Content::File { digest, executable, .. }, _) => {
                    tree.files.insert(below, entry(digest, executable));
                }
                (Content::Folder, Some(link)) => {
                    let target = fs::canonicalize(project.place(&path)).ok();
                    let root = fs::canonicalize(project.place(folder)).ok();
                    if !target.zip(root).is_some_and(|(target, root)| target.starts_with(root)) {
                        bail!(
                            "`{path}` is a link to a folder outside the local project `{folder}`: \
                             copy the folder in, or remove the link"
                        );
                    }
                    tree.links.insert(below, link);
                }
                (Content::Missing, Some(link)) => {
                    tree.links.insert(below, link);
                }
                // A socket, or removed since it was listed: nothing to build from.
                _ => {}
            }
        }
        Ok(tree)
    }

    /// Returns the digest of everything that a build can observe without opening a file, except
    /// sizes: names, modes and links.
    pub(super) fn names(&self) -> Digest {
        let mut hasher = FieldHasher::new();
        for (path, entry) in &self.files {
            let kind = if entry.ends_with(" x") { "x" } else { "f" };
            hasher.field(kind).field(path.as_str());
        }
        for (path, link) in &self.links {
            hasher.field("l").field(path.as_str()).field(link);
        }
        hasher.finish()
    }

    /// Fills `to`, an empty folder. Returns the tree as it was copied: a file may have changed
    /// since it was read.
    pub(super) fn copy(&self, project: &Project, to: &Path) -> Result<Self> {
        let mut copied = self.clone();
        for (path, entry_now) in &mut copied.files {
            let from = project.place(&self.folder.join(path));
            let bytes = read(&from)?;
            let executable = fs::metadata(&from).is_ok_and(|meta| meta.mode() & 0o100 != 0);
            *entry_now = entry(Digest::of(&bytes), executable);
            let place = path.under(to);
            create_dir_all(place.parent().unwrap_or(to))?;
            let mode = if executable { EXECUTABLE_MODE } else { FILE_MODE };
            write_old(&place, &bytes, mode)
                .with_context(|| format!("could not write `{}`", place.display()))?;
        }
        for (path, link) in &self.links {
            let place = path.under(to);
            create_dir_all(place.parent().unwrap_or(to))?;
            std::os::unix::fs::symlink(link, &place)
                .with_context(|| format!("could not link `{}`", place.display()))?;
        }
        Ok(copied)
    }

    /// Watches the files of a finished copy. Returns `None` if the system's limit is reached.
    pub(super) fn watch(&self, copy: &Path) -> Option<OpenedFiles> {
        let paths = self.files.keys().map(|path| (path.clone(), path.under(copy)));
        OpenedFiles::watch(paths)
    }
}

fn entry(digest: Digest, executable: bool) -> String {
    if executable { format!("{digest} x") } else { digest.to_string() }
}

/// Parses the text that [`entry`] returns.
pub(super) fn parse_entry(text: &str) -> Option<(Digest, bool)> {
    let hex = text.trim_end_matches(" x");
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some((Digest::from_bytes(bytes), hex != text))
}

/// Returns all files and links that a build may see, sorted.
fn list(project: &Project, folder: &RelPath, left_out: &[RelPath]) -> Result<Vec<RelPath>> {
    let top = project.place(folder);
    let mut paths = Vec::new();
    let mut walk = walkdir::WalkDir::new(&top).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry =
            entry.with_context(|| format!("could not list the local project `{folder}`"))?;
        let below = entry.path().strip_prefix(&top).unwrap_or(entry.path());
        let is_folder = entry.file_type().is_dir();
        let named = below.to_str().and_then(|below| RelPath::parse(below).ok());
        let path = named.map(|below| folder.join(&below));
        let is_others = path.as_ref().is_some_and(|path| left_out.contains(path));
        if is_others || is_left_out(entry.path(), &below.to_string_lossy(), is_folder) {
            if is_folder {
                walk.skip_current_dir();
            }
        } else if let Some(path) = path {
            paths.extend((!is_folder).then_some(path));
        } else {
            bail!(
                "the name {below:?} in the local project `{folder}` is not UTF-8 or has control \
                 characters: rename it, or move it out of the project"
            );
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_left_out(place: &Path, below: &str, is_folder: bool) -> bool {
    let name = below.rsplit_once('/').map_or(below, |(_, name)| name);
    if name.starts_with(zipwright_store::fs::TEMP_PREFIX) {
        return true;
    }
    if !is_folder {
        // In a linked working tree of git, `.git` is a file.
        return name == ".git" || name.ends_with(".pyc");
    }
    // A package may have such a name: then it has an `__init__.py`.
    let is_build = BUILD_FOLDERS.contains(&below) && !place.join("__init__.py").exists();
    LEFT_OUT.contains(&name)
        || name.ends_with(".egg-info")
        || is_build
        || place.join("pyvenv.cfg").exists()
}

fn write_old(place: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    fs::write(place, bytes)?;
    fs::set_permissions(place, Permissions::from_mode(mode))?;
    let epoch = FileTime::from_unix_time(EPOCH, 0);
    filetime::set_file_times(place, epoch, epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zipwright_engine::files::{Files, Memory};

    fn look(root: &Path, left_out: &[&str]) -> Vec<String> {
        let project = Project::new(root.to_path_buf(), BTreeMap::new());
        let files = Files::new(root, Vec::new(), Memory::default());
        let files = &View::unlogged(&files, &project);
        let left_out: Vec<_> = left_out.iter().map(|path| RelPath::parse(path).unwrap()).collect();
        let tree = Tree::look(&project, files, &RelPath::root(), &left_out).unwrap();
        tree.files.keys().map(ToString::to_string).collect()
    }

    fn write(root: &Path, path: &str) {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, path).unwrap();
    }

    #[test]
    fn what_builds_and_tools_leave_behind_is_not_seen() {
        let temp = tempfile::tempdir().unwrap();
        let kept = ["dist/__init__.py", "lib/build/tool.py", "pyproject.toml", "src/p/__init__.py"];
        let left = [
            "build/lib/old.py",
            "src/p.egg-info/PKG-INFO",
            ".git/HEAD",
            "env/pyvenv.cfg",
            "env/bin/python",
            "src/p/__pycache__/x.pyc",
            ".zipwright/state",
            "out/lambda.zip",
        ];
        for path in kept.iter().chain(&left) {
            write(temp.path(), path);
        }
        assert_eq!(look(temp.path(), &["out/lambda.zip"]), kept);
    }

    #[test]
    fn what_is_opened_in_a_copy_is_known_by_whatever_name_and_the_rest_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("project");
        let opened = ["cloned", "kept-time", "linked", "moved", "read"];
        for path in opened.iter().chain(&["listed", "removed"]) {
            write(&root, path);
        }
        let project = Project::new(root.clone(), BTreeMap::new());
        let files = Files::new(&root, Vec::new(), Memory::default());
        let files = View::unlogged(&files, &project);
        let tree = Tree::look(&project, &files, &RelPath::root(), &[]).unwrap();
        let copy = temp.path().join("work/copy");
        fs::create_dir_all(&copy).unwrap();
        let copied = tree.copy(&project, &copy).unwrap();
        assert_eq!(copied.files, tree.files);
        let watch = copied.watch(&copy).expect("there is room for a few watches");
        let at = |name: &str| copy.join(name);
        fs::read(at("read")).unwrap();
        fs::hard_link(at("linked"), temp.path().join("link")).unwrap();
        fs::read(temp.path().join("link")).unwrap();
        fs::rename(at("moved"), temp.path().join("moved")).unwrap();
        fs::read(temp.path().join("moved")).unwrap();
        // On some file systems, a copy that shares blocks does not update the access time.
        fs::copy(at("cloned"), temp.path().join("clone")).unwrap();
        let quiet = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOATIME;
        rustix::fs::open(at("kept-time"), quiet, rustix::fs::Mode::empty()).unwrap();
        fs::metadata(at("listed")).unwrap();
        fs::remove_file(at("removed")).unwrap();
        let seen = watch.finish(&copy).expect("the system tells");
        assert_eq!(seen.iter().map(RelPath::as_str).collect::<Vec<_>>(), opened);
    }

    #[test]
    fn a_mode_counts_though_no_file_is_opened() {
        let temp = tempfile::tempdir().unwrap();
        write(temp.path(), "tool");
        let names = || {
            let project = Project::new(temp.path().to_path_buf(), BTreeMap::new());
            let files = Files::new(temp.path(), Vec::new(), Memory::default());
            let files = View::unlogged(&files, &project);
            Tree::look(&project, &files, &RelPath::root(), &[]).unwrap().names()
        };
        let before = names();
        write(temp.path(), "tool");
        assert_eq!(names(), before);
        fs::set_permissions(temp.path().join("tool"), Permissions::from_mode(0o755)).unwrap();
        assert_ne!(names(), before);
    }
}
