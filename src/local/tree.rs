//! The unpacked bundle: a folder with exactly what the zip holds, filled again only when the zip
//! is another one, or when somebody wrote in it.

use std::fs::{self, File, Permissions};
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use zip::ZipArchive;

use crate::base::{Digest, fs as base_fs};

/// The time of every unpacked file. Another one shows that somebody wrote in it.
const TIME: Duration = Duration::from_secs(315_619_200);

/// A bundle, unpacked.
pub struct Tree {
    pub folder: PathBuf,
    files: Vec<Entry>,
}

/// A file of the zip.
struct Entry {
    index: usize,
    path: PathBuf,
    size: u64,
    mode: u32,
}

impl Tree {
    /// Unpacks `zip` below `place`, unless it is there.
    pub fn unpack(zip: &[u8], place: &Path) -> Result<Self> {
        let archive = ZipArchive::new(Cursor::new(zip)).context("it is no whole zip file")?;
        let files = entries(&archive)?;
        let tree = Self { folder: place.join("task"), files };
        let digest = Digest::of(zip).to_string();
        let mark = place.join("digest");
        let known = fs::read_to_string(&mark).is_ok_and(|known| known == digest);
        if known && tree.foreign()?.is_none() {
            return Ok(tree);
        }
        base_fs::remove(&mark)?;
        base_fs::remove(&tree.folder)?;
        base_fs::create_dir_all(&tree.folder)?;
        tree.fill(&archive)?;
        base_fs::write_if_changed(&mark, digest.as_bytes(), base_fs::FILE_MODE)?;
        Ok(tree)
    }

    fn fill(&self, archive: &ZipArchive<Cursor<&[u8]>>) -> Result<()> {
        let mut folders: Vec<&Path> =
            self.files.iter().filter_map(|entry| entry.path.parent()).collect();
        folders.dedup();
        for folder in folders {
            base_fs::create_dir_all(&self.folder.join(folder))?;
        }
        self.files.par_iter().try_for_each_init(
            || archive.clone(),
            |archive, entry| {
                let place = self.folder.join(&entry.path);
                let failed = || format!("could not unpack `{}`", entry.path.display());
                let mut member = archive.by_index(entry.index).with_context(failed)?;
                let mut file = File::create_new(&place).with_context(failed)?;
                std::io::copy(&mut member, &mut file).with_context(failed)?;
                file.set_permissions(Permissions::from_mode(entry.mode)).with_context(failed)?;
                file.set_modified(SystemTime::UNIX_EPOCH + TIME).with_context(failed)
            },
        )
    }

    /// A path in the folder that is not as it was unpacked: there and not in the zip, changed,
    /// or gone.
    pub fn foreign(&self) -> Result<Option<PathBuf>> {
        for entry in &self.files {
            let meta = fs::symlink_metadata(self.folder.join(&entry.path));
            let same = meta.is_ok_and(|meta| {
                meta.is_file()
                    && meta.len() == entry.size
                    && meta.modified().is_ok_and(|time| time == SystemTime::UNIX_EPOCH + TIME)
            });
            if !same {
                return Ok(Some(entry.path.clone()));
            }
        }
        for found in walkdir::WalkDir::new(&self.folder).sort_by_file_name() {
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

/// The files of a zip, sorted by path. Folders are there when a file is in them.
fn entries(archive: &ZipArchive<Cursor<&[u8]>>) -> Result<Vec<Entry>> {
    let mut archive = archive.clone();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).context("it is no whole zip file")?;
        if member.is_dir() {
            continue;
        }
        let Some(path) = member.enclosed_name() else {
            bail!("a member's name leads out of the bundle");
        };
        let mode = member.unix_mode().unwrap_or(base_fs::FILE_MODE) & 0o777;
        files.push(Entry { index, path, size: member.size(), mode });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
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
    fn a_bundle_is_unpacked_once_and_again_when_somebody_wrote_in_it() {
        let place = tempfile::tempdir().unwrap();
        let zip = bundle(&[("app.py", "x = 1"), ("a/b.py", "y")]);
        let tree = Tree::unpack(&zip, place.path()).unwrap();
        let app = tree.folder.join("app.py");
        assert_eq!(fs::read_to_string(&app).unwrap(), "x = 1");
        assert_eq!(fs::metadata(&app).unwrap().permissions().mode() & 0o777, 0o755);
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let first = inode(&tree.folder);
        assert_eq!(Tree::unpack(&zip, place.path()).unwrap().foreign().unwrap(), None);
        assert_eq!(inode(&tree.folder), first, "it is there");

        fs::write(&app, "x = 2").unwrap();
        assert_eq!(tree.foreign().unwrap(), Some("app.py".into()));
        let tree = Tree::unpack(&zip, place.path()).unwrap();
        assert_eq!(fs::read_to_string(&app).unwrap(), "x = 1");
        fs::write(tree.folder.join("a/new"), "").unwrap();
        assert_eq!(tree.foreign().unwrap(), Some("a/new".into()));

        let tree = Tree::unpack(&bundle(&[("other.py", "")]), place.path()).unwrap();
        assert!(!app.exists() && tree.foreign().unwrap().is_none(), "another zip");
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for zip in [bundle(&[("../x", "")]), b"no zip".to_vec()] {
            assert!(Tree::unpack(&zip, place.path()).is_err());
        }
    }
}
