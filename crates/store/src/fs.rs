//! File operations whose errors name the path and the operation, and atomic writing: to a file
//! beside the place, then renamed into it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use filetime::FileTime;
use rustix::fs::OFlags;
use tempfile::{NamedTempFile, TempDir};

use super::{platform, private};

/// Mode of the files and folders that zipwright writes, independent of the umask.
pub const FILE_MODE: u32 = 0o644;
pub const EXECUTABLE_MODE: u32 = 0o755;

/// Prefix of everything half-made, so that leftovers of a killed run are recognised. Globs pass over
/// all such names.
pub const TEMP_PREFIX: &str = ".zipwright-tmp-";

/// Prefix of the name that a user's file has while a command runs that has its place for an output.
pub const ASIDE_PREFIX: &str = ".zipwright-tmp-aside-";

/// Number of random letters and digits that [`tempfile`] adds to the prefix.
const TEMP_SUFFIX: usize = 6;

/// Returns whether this is the name of a temporary file or folder of zipwright.
pub fn is_temp_name(name: &OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(TEMP_PREFIX)).is_some_and(|rest| {
        rest.len() == TEMP_SUFFIX && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Flags of `open` by which a symbolic link is an error, and a pipe is not waited for.
const NO_LINK: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("could not read `{}`", path.display()))
}

pub fn read_to_string(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))
}

pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| private::could_not_create(path))
}

pub fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("could not open `{}`", path.display()))
}

/// Opens a file for reading unless it is a symbolic link.
pub fn open_itself(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(NO_LINK).open(path)
}

/// Opens one of zipwright's own files for reading and writing in place, and creates it if it does
/// not exist. Fails if it is a symbolic link, or has a second name: it may then be a user's file.
pub fn open_own(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).append(append).truncate(false);
    options.mode(private::FILE_MODE);
    let file = options.custom_flags(NO_LINK).open(path).map_err(|error| {
        match path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            true => io::Error::other("it is a symbolic link; remove it"),
            false => error,
        }
    })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a file; remove it"));
    }
    if meta.nlink() > 1 {
        return Err(io::Error::other("it is a hard link to another file; remove it"));
    }
    Ok(file)
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .with_context(|| format!("could not rename `{}` to `{}`", from.display(), to.display()))
}

/// The name that a user's file has while a command runs that has its place for an output.
pub fn aside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{ASIDE_PREFIX}{name}"))
}

/// Renames a file to a name that nothing has.
pub fn rename_to_free(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("could not rename `{}` to `{}`", from.display(), to.display());
    match platform::rename_to_free(from, to) {
        Some(renamed) => renamed.with_context(failed),
        None if to.symlink_metadata().is_err() => rename(from, to),
        None => Err(io::Error::from(ErrorKind::AlreadyExists)).with_context(failed),
    }
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

/// Exchanges a file with the one at `place`, atomically like a rename. Returns `false` if there is
/// none, or the file system has no such operation. A rename onto a file makes ext4 write all of the
/// new one to the disk first, which takes as long as half of writing it.
fn trade_places(file: &Path, place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) && platform::exchange(file, place)
}

/// [`write`], unless the file already has these bytes: then it is left as it is, mtime included.
/// Whether anything was written.
pub fn write_if_changed(place: &Path, bytes: &[u8], mode: u32) -> Result<bool> {
    let has_as_many = fs::symlink_metadata(place)
        .is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64);
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

/// Overwrites the file at `place` with `bytes`, without a new file: freeing the blocks of an old
/// one may take longer than writing all its content. Only for files with a checksum of their own.
pub fn write_over(place: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = place.parent() {
        create_dir_all(folder)?;
    }
    let write = |mut file: File| {
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)
    };
    open_own(place, false)
        .and_then(write)
        .with_context(|| format!("could not write `{}`", place.display()))
}

/// Sets a file's mtime to now, a link's own if it is one; a file that is not there is made, empty.
pub fn touch(place: &Path) -> Result<()> {
    let failed = || format!("could not touch `{}`", place.display());
    if place.symlink_metadata().is_err() {
        if let Some(folder) = place.parent() {
            create_dir_all(folder)?;
        }
        File::create_new(place).with_context(failed)?;
    }
    let now = FileTime::now();
    filetime::set_symlink_file_times(place, now, now).with_context(failed)
}

/// Permission bits of a file, links followed.
fn mode_of(path: &Path) -> Result<u32> {
    let meta =
        fs::metadata(path).with_context(|| format!("could not read `{}`", path.display()))?;
    Ok(meta.permissions().mode() & 0o7777)
}

/// Returns whether an error means that the file does not exist.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Bytes of a file, read by position, so that many threads can share it. Fails if the file is
/// shorter than expected.
pub struct Range<F> {
    file: F,
    offset: u64,
    left: u64,
}

impl<F> Range<F> {
    /// The bytes `offset..offset + length`.
    pub fn new(file: F, offset: u64, length: u64) -> Self {
        Self { file, offset, left: length }
    }

    /// Returns the number of unread bytes.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<F: Deref<Target = File>> Read for Range<F> {
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

    #[test]
    fn names_of_temporary_files_are_known_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let temp = temp_beside(&folder.path().join("x")).unwrap();
        assert!(is_temp_name(temp.path().file_name().unwrap()));
        for other in [".zipwright-tmp-", ".zipwright-tmp-notes.txt", ".zipwright-tmp-aside-x", "x"]
        {
            assert!(!is_temp_name(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn a_file_of_our_own_has_one_name_and_is_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("theirs"), "theirs").unwrap();
        fs::hard_link(at("theirs"), at("second")).unwrap();
        std::os::unix::fs::symlink("theirs", at("link")).unwrap();
        for (name, why) in [("second", "hard link"), ("link", "symbolic link")] {
            let error = write_over(&at(name), b"ours").unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
        touch(&at("link")).unwrap();
        assert_eq!(fs::read(at("theirs")).unwrap(), b"theirs");
        write_over(&at("own"), b"ours").unwrap();
        write_over(&at("own"), b"own").unwrap();
        assert_eq!(fs::read(at("own")).unwrap(), b"own");
        assert!(open_itself(&at("own")).is_ok() && open_itself(&at("link")).is_err());
    }

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
