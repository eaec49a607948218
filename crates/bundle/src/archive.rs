//! Zips of any origin: their members as the directory lists them, and the content of each.
//!
//! Three readers are apart from this one: `wheel` compares both headers of every member, `diff` shows
//! every field, and `pip::sdist` edits times in place.

use std::io::{Read, Seek};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use zip::ZipArchive;
use zipwright_store::Digest;

/// A zip that is open for reading. Clones read independently of each other.
#[derive(Clone)]
pub struct Archive<R> {
    zip: ZipArchive<R>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Folder,
    Link,
}

/// A member of a zip.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name as it is in the zip.
    pub name: String,
    pub kind: EntryKind,
    /// Bytes of the content, according to the directory.
    pub size: u64,
    /// Permissions and kind of file; `None` if the zip was made on a system without them.
    pub mode: Option<u32>,
    /// Seconds since 1970, reading the zip's local time as UTC: the same everywhere.
    pub time: Option<i64>,
    pub index: usize,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory. The reader should be buffered.
    pub fn open(zip: R) -> Result<Self> {
        let zip = ZipArchive::new(zip).context("it is not a complete zip file")?;
        Ok(Self { zip })
    }

    /// Returns all members, in the order of the directory.
    pub fn list(&mut self) -> Result<Vec<Listed>> {
        (0..self.zip.len()).map(|index| self.listed(index)).collect()
    }

    fn listed(&mut self, index: usize) -> Result<Listed> {
        let entry = self.zip.by_index_raw(index).context("it is not a complete zip file")?;
        let name = entry.name().context("a member's name cannot be read")?.into_owned();
        let kind = match (entry.is_dir(), entry.is_symlink()) {
            (true, _) => EntryKind::Folder,
            (false, true) => EntryKind::Link,
            (false, false) => EntryKind::File,
        };
        let time = entry.last_modified().and_then(seconds);
        Ok(Listed { name, kind, size: entry.size(), mode: entry.unix_mode(), time, index })
    }

    /// Returns whether two members have the same name: only one of them can be read.
    pub fn has_duplicate_names(&self) -> bool {
        self.zip.has_duplicate_names()
    }

    /// Returns a digest of the member's bytes as they are in the zip, and of how they are packed. Members
    /// with equal digests have equal content.
    pub fn stored_digest(&mut self, index: usize) -> Result<Digest> {
        let entry = self.zip.by_index_raw(index)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?} {}\n", entry.compression(), entry.size()).as_bytes());
        hasher.update_reader(entry)?;
        Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
    }

    /// Returns the content of the member with this index. Reading to its end checks the CRC.
    pub fn content(&mut self, index: usize) -> Result<impl Read> {
        Ok(self.zip.by_index(index)?)
    }
}

impl Listed {
    /// Returns the path below the folder that the zip is unpacked into; `None` if it leaves it.
    pub fn path(&self) -> Option<PathBuf> {
        inside(Path::new(&self.name))
    }

    pub fn is_executable(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o100 != 0)
    }
}

/// Returns a member's path without `.`; `None` if it leaves the folder that it is unpacked into.
pub fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) if !part.as_encoded_bytes().contains(&0) => clean.push(part),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

fn seconds(time: zip::DateTime) -> Option<i64> {
    let part = |number: u8| i8::try_from(number).ok();
    let year = i16::try_from(time.year()).ok()?;
    let date = jiff::civil::Date::new(year, part(time.month())?, part(time.day())?).ok()?;
    let (hour, minute) = (part(time.hour())?, part(time.minute())?);
    let time = jiff::civil::Time::new(hour, minute, part(time.second())?, 0).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?.as_second())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::write::SimpleFileOptions;

    use super::*;

    #[test]
    fn members_are_listed_with_their_kinds_and_read_by_index() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let time = zip::DateTime::from_date_and_time(2001, 2, 3, 4, 5, 6).unwrap();
        let options = SimpleFileOptions::default().last_modified_time(time);
        zip.add_directory("pkg/", options).unwrap();
        zip.start_file("pkg/run", options.unix_permissions(0o755)).unwrap();
        zip.write_all(b"content").unwrap();
        zip.add_symlink("link", "pkg/run", options).unwrap();
        let mut archive = Archive::open(zip.finish().unwrap()).unwrap();
        let list = archive.list().unwrap();
        let kinds: Vec<_> = list.iter().map(|listed| (&*listed.name, listed.kind)).collect();
        let expected =
            [("pkg/", EntryKind::Folder), ("pkg/run", EntryKind::File), ("link", EntryKind::Link)];
        assert_eq!(kinds, expected);
        assert!(list[1].is_executable() && !archive.has_duplicate_names());
        assert_eq!((list[1].size, list[1].time), (7, Some(981_173_106)));
        let mut content = String::new();
        archive.content(1).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        assert!(Archive::open(Cursor::new(b"no zip")).is_err());
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        assert_eq!(inside(Path::new("./a//b")), Some("a/b".into()));
        for bad in ["../a", "/a", "a/../b", "a\0", ".", ""] {
            assert_eq!(inside(Path::new(bad)), None, "{bad:?}");
        }
    }
}
