//! The unpacked bundle, or its layers: a folder with exactly the files of the zips. A file is written
//! again if its member changed, or if it has another content, mode or time than was unpacked.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;
use zipwright_store::Format;

use crate::base::{Digest, fs as base_fs, private};
use crate::bundle::{self, EntryKind};

/// Format of the file beside the folder: all unpacked files, sorted by path.
const FORMAT: Format = Format::new("unpacked files", 2);

/// The time of every unpacked file.
const TIME: Duration = Duration::from_secs(315_619_200);

type Archive<'a> = bundle::Archive<Cursor<&'a [u8]>>;

/// Zips unpacked into one folder.
pub struct Tree {
    pub folder: PathBuf,
    files: Vec<Entry>,
}

/// A file of a zip.
struct Entry {
    zip: usize,
    index: usize,
    path: PathBuf,
    size: u64,
    mode: u32,
}

/// An unpacked file, to tell whether it is the one that a zip has.
#[derive(PartialEq, Serialize, Deserialize)]
struct Unpacked {
    path: PathBuf,
    /// Digest of the member's bytes as they are in the zip.
    stored: Digest,
    /// Digest of the content.
    content: Digest,
}

impl Tree {
    /// Makes the folder `place` hold exactly the files of `zips`. Files that it has already stay. If two
    /// have the same path, the later one's file wins, as with Lambda's layers.
    pub fn unpack(zips: &[Vec<u8>], place: &Path) -> Result<Self> {
        let archives: Vec<Archive> = zips
            .iter()
            .map(|zip| Archive::open(Cursor::new(zip.as_slice())))
            .collect::<Result<_>>()?;
        let files = entries(&archives)?;
        let tree = Self { folder: place.to_path_buf(), files };
        let mark = place.with_extension("digest");
        let before = fs::read(&mark).ok().and_then(|bytes| FORMAT.open::<Vec<Unpacked>>(&bytes));
        if place.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            base_fs::remove(place)?;
        }
        private::create_dir_all(place)?;
        tree.sweep()?;
        let now = tree.fill(&archives, &before.unwrap_or_default())?;
        base_fs::write_if_changed(&mark, &FORMAT.seal(&now)?, private::FILE_MODE)?;
        Ok(tree)
    }

    /// Removes everything from the folder that is not a file of the zips in its place, or a folder of one.
    /// No link is left that a file could be written through.
    fn sweep(&self) -> Result<()> {
        let mut walk = WalkDir::new(&self.folder).min_depth(1).into_iter();
        while let Some(found) = walk.next() {
            let found = found.context("could not list the unpacked bundle")?;
            let path = found.path().strip_prefix(&self.folder).unwrap_or(found.path());
            let at = self.files.partition_point(|entry| entry.path.as_path() < path);
            let next = self.files.get(at).map(|entry| entry.path.as_path());
            let is_folder = found.file_type().is_dir();
            let stays = match is_folder {
                true => next.is_some_and(|next| next != path && next.starts_with(path)),
                false => found.file_type().is_file() && next == Some(path),
            };
            if !stays {
                base_fs::remove(found.path())?;
                if is_folder {
                    walk.skip_current_dir();
                }
            }
        }
        Ok(())
    }

    /// Unpacks the files that the folder does not have. A file may have been edited with its time
    /// restored, so those that are there are compared by content.
    fn fill(&self, archives: &[Archive], before: &[Unpacked]) -> Result<Vec<Unpacked>> {
        let mut folders: Vec<&Path> =
            self.files.iter().filter_map(|entry| entry.path.parent()).collect();
        folders.dedup();
        for folder in folders {
            base_fs::create_dir_all(&self.folder.join(folder))?;
        }
        let fill = |archives: &mut Vec<Archive>, entry: &Entry| {
            let place = self.folder.join(&entry.path);
            let failed = || format!("could not unpack `{}`", entry.path.display());
            let archive = &mut archives[entry.zip];
            let stored = archive.stored_digest(entry.index).with_context(failed)?;
            let path = entry.path.clone();
            let at = before.binary_search_by(|unpacked| unpacked.path.cmp(&path));
            let content = at.ok().map(|at| &before[at]).filter(|was| was.stored == stored);
            if let Some(content) = content.map(|was| was.content)
                && entry.is_at(&place)
                && Digest::of_file(&place).is_ok_and(|now| now == content)
            {
                return Ok(Unpacked { path, stored, content });
            }
            base_fs::remove(&place)?;
            let mut member = archive.content(entry.index).with_context(failed)?;
            let file = File::create_new(&place).with_context(failed)?;
            let mut copy = Hashed { file, hasher: blake3::Hasher::new() };
            io::copy(&mut member, &mut copy).with_context(failed)?;
            let Hashed { file, hasher } = copy;
            file.set_permissions(Permissions::from_mode(entry.mode)).with_context(failed)?;
            file.set_modified(SystemTime::UNIX_EPOCH + TIME).with_context(failed)?;
            let content = Digest::from_bytes(*hasher.finalize().as_bytes());
            Ok(Unpacked { path, stored, content })
        };
        self.files.par_iter().map_init(|| archives.to_vec(), fill).collect()
    }

    /// Returns a path in the folder that differs from the zip by name or stat data: added, changed,
    /// or removed.
    pub fn foreign(&self) -> Result<Option<PathBuf>> {
        for entry in &self.files {
            if !entry.is_at(&self.folder.join(&entry.path)) {
                return Ok(Some(entry.path.clone()));
            }
        }
        for found in WalkDir::new(&self.folder).sort_by_file_name() {
            let found = found.context("could not list the unpacked bundle")?;
            let path = found.path().strip_prefix(&self.folder).unwrap_or(found.path());
            let ours = found.file_type().is_dir()
                || self.files.binary_search_by(|entry| entry.path.as_path().cmp(path)).is_ok();
            if !ours {
                return Ok(Some(path.to_path_buf()));
            }
        }
        Ok(None)
    }
}

impl Entry {
    /// Returns whether a file is there that has the stat data of the unpacked one.
    fn is_at(&self, place: &Path) -> bool {
        fs::symlink_metadata(place).is_ok_and(|meta| {
            meta.is_file()
                && meta.len() == self.size
                && meta.permissions().mode() & 0o777 == self.mode
                && meta.modified().is_ok_and(|time| time == SystemTime::UNIX_EPOCH + TIME)
        })
    }
}

/// A file being written, and the digest of its content so far.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns the files of the zips, sorted by path. Folders exist only for their files.
fn entries(archives: &[Archive]) -> Result<Vec<Entry>> {
    let mut files = BTreeMap::new();
    for (zip, archive) in archives.iter().enumerate() {
        for listed in archive.clone().list()? {
            if listed.kind == EntryKind::Folder {
                continue;
            }
            let Some(path) = listed.path() else {
                bail!("a member's name leads out of the bundle");
            };
            let mode = listed.mode.unwrap_or(base_fs::FILE_MODE) & 0o777;
            let entry = Entry { zip, index: listed.index, path, size: listed.size, mode };
            files.insert(entry.path.clone(), entry);
        }
    }
    Ok(files.into_values().collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        for (name, content) in files {
            zip.start_file(*name, options.unix_permissions(0o755)).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_bundle_is_unpacked_once_and_again_after_a_write_in_it() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().join("task");
        let zip = [bundle(&[("app.py", "x = 1"), ("a/b.py", "y")])];
        let tree = Tree::unpack(&zip, &place).unwrap();
        let app = tree.folder.join("app.py");
        assert_eq!(fs::read_to_string(&app).unwrap(), "x = 1");
        assert_eq!(fs::metadata(&app).unwrap().permissions().mode() & 0o777, 0o755);
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&tree.folder);
        assert_eq!(Tree::unpack(&zip, &place).unwrap().foreign().unwrap(), None);
        assert_eq!(inode(&tree.folder), first, "it is there");

        fs::write(&app, "x = 2").unwrap();
        assert_eq!(tree.foreign().unwrap(), Some("app.py".into()));
        let tree = Tree::unpack(&zip, &place).unwrap();
        assert_eq!(fs::read_to_string(&app).unwrap(), "x = 1");
        fs::write(tree.folder.join("a/new"), "").unwrap();
        assert_eq!(tree.foreign().unwrap(), Some("a/new".into()));

        // An edit that keeps the size, and sets the time back.
        let tree = Tree::unpack(&zip, &place).unwrap();
        fs::write(&app, "x = 3").unwrap();
        let time = SystemTime::UNIX_EPOCH + TIME;
        File::options().write(true).open(&app).unwrap().set_modified(time).unwrap();
        assert_eq!(tree.foreign().unwrap(), None);
        let tree = Tree::unpack(&zip, &place).unwrap();
        assert_eq!(fs::read_to_string(&app).unwrap(), "x = 1");
        fs::set_permissions(&app, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(tree.foreign().unwrap(), Some("app.py".into()));
        Tree::unpack(&zip, &place).unwrap();
        let mark = place.with_extension("digest");
        let whole = fs::read(&mark).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&mark, damaged).unwrap();
            Tree::unpack(&zip, &place).unwrap();
            assert_eq!(fs::read(&mark).unwrap(), whole, "byte {at}");
        }

        let tree = Tree::unpack(&[bundle(&[("other.py", "")])], &place).unwrap();
        assert!(!app.exists() && tree.foreign().unwrap().is_none(), "another zip");
    }

    #[test]
    fn only_what_changed_is_unpacked_and_never_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let place = outside.path().join("task");
        let zip = |app: &str| [bundle(&[("app.py", app), ("a/b.py", "y"), ("a/c.py", "z")])];
        let tree = Tree::unpack(&zip("x = 1"), &place).unwrap();
        let inode = |name: &str| {
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(tree.folder.join(name)).unwrap())
        };
        let other = inode("a/b.py");
        // The same size, and another content.
        Tree::unpack(&zip("x = 2"), &place).unwrap();
        assert_eq!(fs::read_to_string(tree.folder.join("app.py")).unwrap(), "x = 2");
        assert_eq!(inode("a/b.py"), other);
        // A handler has put links and folders into the places of files and folders.
        fs::rename(tree.folder.join("a"), outside.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("moved"), tree.folder.join("a")).unwrap();
        fs::remove_file(outside.path().join("moved/c.py")).unwrap();
        fs::remove_file(tree.folder.join("app.py")).unwrap();
        fs::create_dir_all(tree.folder.join("app.py/app.py")).unwrap();
        Tree::unpack(&zip("x = 2"), &place).unwrap();
        assert_eq!(tree.foreign().unwrap(), None);
        assert!(!outside.path().join("moved/c.py").exists());
        assert!(fs::symlink_metadata(tree.folder.join("a")).unwrap().is_dir());
    }

    #[test]
    fn of_two_files_at_one_path_the_later_zips_is_there() {
        let place = tempfile::tempdir().unwrap();
        let first = bundle(&[("pkg/a", "first"), ("pkg/b", "first")]);
        let second = bundle(&[("pkg/b", "second!"), ("pkg/c", "second")]);
        let tree = Tree::unpack(&[first, second], &place.path().join("opt")).unwrap();
        let read = |name: &str| fs::read_to_string(tree.folder.join(name)).unwrap();
        assert_eq!([read("pkg/a"), read("pkg/b"), read("pkg/c")], ["first", "second!", "second"]);
        assert_eq!(tree.foreign().unwrap(), None);
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for zip in [bundle(&[("../x", "")]), b"no zip".to_vec()] {
            assert!(Tree::unpack(&[zip], &place.path().join("task")).is_err());
        }
    }
}
