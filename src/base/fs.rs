//! File operations whose errors name the path and what was being done, and writing that is
//! all or nothing: beside the place, then renamed into it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::{NamedTempFile, TempDir};

use super::private;

/// Mode of the files and folders that zipwright writes, whatever the umask.
pub const FILE_MODE: u32 = 0o644;
pub const EXECUTABLE_MODE: u32 = 0o755;

/// Prefix of everything half-made, so that leftovers of a killed run are recognised.
pub const TEMP_PREFIX: &str = ".zipwright-tmp-";

pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}

pub fn read_to_string(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))
}

pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| {
        let failed = format!("could not create folder `{}`", path.display());
        match path.ancestors().find(|above| above.symlink_metadata().is_ok()) {
            Some(file) if !file.is_dir() => {
                format!("{failed}; `{}` is no folder: move it away", file.display())
            }
            _ => failed,
        }
    })
}

pub fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("could not open `{}`", path.display()))
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("could not rename `{}` to `{}`", from.display(), to.display()))
}

/// Removes a file, link or whole folder; whether there was one.
pub fn remove(path: &Path) -> Result<bool> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).with_context(|| format!("could not remove `{}`", path.display())),
    }
}

/// A file being written beside its place. Dropped without [`persist`], it leaves nothing.
pub fn temp_beside(place: &Path) -> Result<NamedTempFile> {
    let folder = place.parent().unwrap_or(Path::new("."));
    create_dir_all(folder)?;
    tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .tempfile_in(folder)
        .with_context(|| format!("could not write in `{}`", folder.display()))
}

/// A folder being filled beside its place. Dropped, it is removed.
pub fn temp_dir_beside(place: &Path) -> Result<TempDir> {
    let folder = place.parent().unwrap_or(Path::new("."));
    create_dir_all(folder)?;
    tempfile::Builder::new()
        .prefix(TEMP_PREFIX)
        .tempdir_in(folder)
        .with_context(|| format!("could not write in `{}`", folder.display()))
}

/// Gives a finished temporary file its mode and its place. What was there is gone.
pub fn persist(file: NamedTempFile, place: &Path, mode: u32) -> Result<()> {
    let failed = || match place.is_dir() {
        true => format!("could not write `{}`, a folder: move it away", place.display()),
        false => format!("could not write `{}`", place.display()),
    };
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(failed)?;
    if trade_places(file.path(), place) {
        // Dropped, the temporary file takes the old one, which now has its name, with it.
        return Ok(());
    }
    file.persist(place).map_err(|error| error.error).with_context(failed)?;
    Ok(())
}

/// Exchanges a file with the one at `place`, at once like a rename; `false` when there is none, or
/// the file system has no such operation. A rename onto a file makes ext4 hand all of the new one
/// to the disk first, which takes as long as half of writing it.
fn trade_places(file: &Path, place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|meta| !meta.is_dir())
        && renameat_with(CWD, file, CWD, place, RenameFlags::EXCHANGE).is_ok()
}

/// [`write`], unless the file already has these bytes: then it is left as it is, mtime included.
/// Whether anything was written.
pub fn write_if_changed(place: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let has_as_many = fs::metadata(place).is_ok_and(|meta| meta.len() == bytes.len() as u64);
    let unchanged = has_as_many
        && fs::read(place).is_ok_and(|existing| existing == bytes)
        && mode_of(place)? == mode;
    if unchanged {
        return Ok(false);
    }
    write(place, bytes, mode)?;
    Ok(true)
}

/// Writes `bytes` to `place` by way of a temporary file. Missing folders above a file that only its
/// owner may read are made for the owner alone too.
pub fn write(place: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    if let (private::FILE_MODE, Some(folder)) = (mode, place.parent()) {
        private::create_dir_all(folder)?;
    }
    let mut file = temp_beside(place)?;
    file.write_all(bytes).with_context(|| format!("could not write `{}`", place.display()))?;
    persist(file, place, mode)
}

/// Writes `bytes` over what is at `place`, without a new file: to free the blocks of an old one may
/// take longer than to make all that is in it. Only for what tells by itself that it is not whole.
pub fn write_over(place: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = place.parent() {
        create_dir_all(folder)?;
    }
    let options = OpenOptions::new().create(true).write(true).truncate(false).open(place);
    options
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        })
        .with_context(|| format!("could not write `{}`", place.display()))
}

/// Sets a file's mtime to now; one that is not there is made, empty.
pub fn touch(place: &Path) -> Result<()> {
    let failed = || format!("could not touch `{}`", place.display());
    if let Some(folder) = place.parent() {
        create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).open(place).with_context(failed)?;
    file.set_modified(SystemTime::now()).with_context(failed)
}

/// Permission bits of a file, links followed.
fn mode_of(path: &Path) -> Result<u32> {
    let meta =
        fs::metadata(path).with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(meta.permissions().mode() & 0o7777)
}

/// Whether an error says that the thing is not there.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Bytes of a file, read by position, so that many threads can share it. An error when the file is
/// shorter than it was said to be.
pub struct Range<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl<'a> Range<'a> {
    /// The bytes `offset..offset + length`.
    pub fn new(file: &'a File, offset: u64, length: u64) -> Self {
        Self { file, offset, left: length }
    }

    /// How many have not been read yet.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        if count == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file ends too early"));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(place: &Path, bytes: &[u8]) {
        let mut file = temp_beside(place).unwrap();
        file.write_all(bytes).unwrap();
        persist(file, place, FILE_MODE).unwrap();
    }

    #[test]
    fn what_takes_the_place_of_a_file_leaves_other_names_of_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        put(&at("place"), b"old");
        fs::hard_link(at("place"), at("linked")).unwrap();
        put(&at("place"), b"new");
        assert_eq!(fs::read(at("place")).unwrap(), b"new");
        assert_eq!(fs::read(at("linked")).unwrap(), b"old");
        assert_eq!(mode_of(&at("place")).unwrap(), FILE_MODE);
        std::os::unix::fs::symlink("linked", at("link")).unwrap();
        put(&at("link"), b"newer");
        assert!(!at("link").symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(at("linked")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "something is left over");
    }

    #[test]
    fn a_folder_in_the_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        fs::create_dir(&place).unwrap();
        let error = persist(temp_beside(&place).unwrap(), &place, FILE_MODE).unwrap_err();
        assert!(error.to_string().contains("a folder: move it away"), "{error:#}");
        assert!(place.is_dir());
    }
}
