//! Places that targets write to. There is no other way to get one, so a write is never missed by
//! the observations.

use std::fs::Metadata;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Result;
use zipwright_store::project::Project;
use zipwright_store::{RelPath, beneath};

use super::{Files, View};

/// The absolute path of a file or folder that a target writes or removes. All observations of it are
/// dropped with it, so the next read sees what was written.
pub struct Place<'a> {
    files: &'a Files,
    path: RelPath,
    place: PathBuf,
    /// Whether anything below it may be written, too.
    with_members: bool,
}

impl<'a> View<'a> {
    /// Returns the place of a file to write or to remove. Fails if a parent is a link or not a folder:
    /// nothing outside of the project is written, and no file under a second path.
    pub fn to_write(&self, path: &RelPath) -> Result<Place<'a>> {
        let place = file(self.project, path)?;
        Ok(Place { files: self.files, path: path.clone(), place, with_members: false })
    }

    /// Returns the place of a folder to fill in any way. Also fails if it exists and is a link.
    pub fn folder_to_write(&self, path: &RelPath) -> Result<Place<'a>> {
        let place = folder(self.project, path)?;
        Ok(Place { files: self.files, path: path.clone(), place, with_members: true })
    }
}

impl Place<'_> {
    /// Returns the path in the project.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    /// Returns the place of `below` in this folder, whose parents in it are folders.
    pub fn member(&self, below: &RelPath) -> Self {
        let (path, place) = (self.path.join(below), below.under(&self.place));
        Self { files: self.files, path, place, with_members: false }
    }

    /// Drops the observations now: the next read sees what was written so far.
    pub fn look_anew(&self) {
        if self.with_members {
            self.files.forget_folder(&self.path);
        }
        self.files.replaced(&self.path);
    }

    /// Drops the observations of everything below it as well.
    pub fn look_anew_below(&self) {
        self.files.forget_folder(&self.path);
        self.files.replaced(&self.path);
    }

    /// Returns the metadata of the path itself, links not followed.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.place.symlink_metadata()
    }
}

impl Deref for Place<'_> {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.place
    }
}

impl AsRef<Path> for Place<'_> {
    fn as_ref(&self) -> &Path {
        &self.place
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.look_anew();
    }
}

/// As [`View::to_write`], where nothing is observed yet.
pub(crate) fn file(project: &Project, path: &RelPath) -> Result<PathBuf> {
    beneath::check_parents(&project.root, path)?;
    Ok(project.place(path))
}

/// As [`View::folder_to_write`], where nothing is observed yet.
pub(crate) fn folder(project: &Project, path: &RelPath) -> Result<PathBuf> {
    beneath::check_folder(&project.root, path)?;
    Ok(project.place(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::{Content, Memory};

    #[test]
    fn a_write_is_seen_by_the_next_read() {
        let root = tempfile::tempdir().unwrap();
        let project = Project::new(root.path().to_path_buf(), Default::default());
        let files = Files::new(root.path(), Vec::new(), Memory::default());
        let view = View::unlogged(&files, &project);
        let path = RelPath::parse("d/a").unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        let content = || view.fact(&path).unwrap().content;
        let listed = || view.list(&path.parent()).unwrap().files.len();
        assert_eq!((content(), listed()), (Content::Missing, 0));
        fs::write(view.to_write(&path).unwrap(), "one").unwrap();
        assert!(matches!(content(), Content::File { .. }));
        assert_eq!(listed(), 1);
        let folder = view.folder_to_write(&path.parent()).unwrap();
        fs::remove_file(folder.member(&RelPath::parse("a").unwrap())).unwrap();
        assert_eq!((content(), listed()), (Content::Missing, 0));
        std::os::unix::fs::symlink("d", root.path().join("link")).unwrap();
        assert!(view.to_write(&RelPath::parse("link/a").unwrap()).is_err());
        assert!(view.folder_to_write(&RelPath::parse("link").unwrap()).is_err());
    }
}
