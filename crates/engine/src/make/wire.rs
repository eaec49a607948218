//! The pipe, or named pipe, that holds job slots as bytes: opens it, takes a byte, returns one,
//! waits for one.
//!
//! Reads and writes use descriptions of their own, reopened through `/proc/self/fd`. They never
//! block, without setting `O_NONBLOCK` on the description that every process of the build shares,
//! where it would break processes that expect a read to wait.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags, fcntl_setfd, read, retry_on_intr, write};

use super::flags::Auth;
use zipwright_store::platform;

/// The byte that make uses for each slot. Other servers use others, so the byte given back is the
/// byte that was taken.
const SLOT: u8 = b'+';

/// A pipe holds at least one page on every system, and a build that could run this many jobs needs
/// no limit at all.
const MOST_SLOTS: usize = 4096;

#[derive(Debug)]
pub(super) struct Wire {
    slots: File,
    returns: File,
    auth: Auth,
    origin: Origin,
}

/// Keeps the slots alive.
#[derive(Debug)]
enum Origin {
    /// Another process made them.
    Outer,
    /// Descriptors that children inherit.
    Pipe { _read: OwnedFd, _write: OwnedFd },
    /// A file that is removed with this.
    Fifo(PathBuf),
}

impl Wire {
    pub(super) fn connect(auth: &Auth) -> Result<Self> {
        let (read, write) = match auth {
            Auth::Pipe { read, write } => inherited(*read, *write)?,
            Auth::Fifo(path) => (PathBuf::from(path), PathBuf::from(path)),
            Auth::Unknown(text) => {
                bail!("the jobserver `{text}` of the outer make has an unknown form")
            }
        };
        let (slots, returns) = open(&read, &write)
            .with_context(|| format!("could not open the jobserver of the outer make, `{auth}`"))?;
        Ok(Self { slots, returns, auth: auth.clone(), origin: Origin::Outer })
    }

    /// Creates a pipe whose two descriptors every child inherits.
    pub(super) fn pipe(slots: usize) -> Result<Self> {
        let what = "could not create a pipe for job slots";
        if !platform::has_descriptors() {
            return Self::unnamed_fifo(slots).context(what);
        }
        let (reader, writer) = io::pipe().context(what)?;
        fcntl_setfd(&reader, FdFlags::empty()).context(what)?;
        fcntl_setfd(&writer, FdFlags::empty()).context(what)?;
        let auth = Auth::Pipe { read: reader.as_raw_fd(), write: writer.as_raw_fd() };
        let mut wire = Self::connect(&auth)?;
        wire.origin = Origin::Pipe { _read: reader.into(), _write: writer.into() };
        wire.fill(slots)
    }

    /// Creates a pipe as [`Self::pipe`] does, where a descriptor cannot be opened again: this process
    /// needs ends of its own, which do not block.
    fn unnamed_fifo(slots: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("slots");
        platform::make_fifo(&path)?;
        let (own_slots, own_returns) = open(&path, &path)?;
        let reader = OpenOptions::new().read(true).open(&path)?;
        let writer = OpenOptions::new().write(true).open(&path)?;
        fcntl_setfd(&reader, FdFlags::empty())?;
        fcntl_setfd(&writer, FdFlags::empty())?;
        let auth = Auth::Pipe { read: reader.as_raw_fd(), write: writer.as_raw_fd() };
        let origin = Origin::Pipe { _read: reader.into(), _write: writer.into() };
        Self { slots: own_slots, returns: own_returns, auth, origin }.fill(slots)
    }

    /// Creates a named pipe at `path`, where no file may exist.
    pub(super) fn fifo(path: &Path, slots: usize) -> Result<Self> {
        let what = || format!("could not create `{}` for job slots", path.display());
        let path = std::path::absolute(path).with_context(what)?;
        let text = path.to_str().with_context(what)?.to_owned();
        platform::make_fifo(&path).with_context(what)?;
        let origin = Origin::Fifo(path.clone());
        let connected = Self::connect(&Auth::Fifo(text));
        if connected.is_err() {
            let _ = fs::remove_file(&path);
        }
        let mut wire = connected?;
        wire.origin = origin;
        wire.fill(slots)
    }

    fn fill(self, slots: usize) -> Result<Self> {
        for _ in 0..slots.min(MOST_SLOTS) {
            self.give(SLOT).context("could not put the job slots into their pipe")?;
        }
        Ok(self)
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Takes a slot if one is free now.
    pub(super) fn take(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match retry_on_intr(|| read(&self.slots, &mut byte)) {
            Ok(1) => Ok(Some(byte[0])),
            // This process holds the other end open, so this end has no end of file.
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn give(&self, byte: u8) -> io::Result<()> {
        retry_on_intr(|| write(&self.returns, &[byte])).map(|_| ()).map_err(Into::into)
    }

    /// Returns the end to wait at. Another process may take the slot first.
    pub(super) fn slots(&self) -> BorrowedFd<'_> {
        self.slots.as_fd()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Origin::Fifo(path) = &self.origin {
            // The file is gone if the state folder was emptied.
            let _ = fs::remove_file(path);
        }
    }
}

/// Sleeps until one of `ends` can be read.
pub(super) fn wait(ends: &[BorrowedFd<'_>]) {
    let mut polled: Vec<PollFd<'_>> =
        ends.iter().map(|end| PollFd::from_borrowed_fd(*end, PollFlags::IN)).collect();
    // An error wakes the caller like a slot does; taking a slot then returns the error.
    let _ = poll(&mut polled, None);
}

/// Returns the paths of the inherited descriptors. Fails unless they are the two ends of one pipe,
/// and not files that this process opened under the same numbers.
fn inherited(read: i32, write: i32) -> Result<(PathBuf, PathBuf)> {
    let closed = "the outer make does not share its job slots with this command: \
                  put `+` in front of its recipe line";
    ensure!(read >= 0 && write >= 0, closed);
    ensure!(
        platform::has_descriptors(),
        "the outer make shares its job slots by descriptor, which needs /proc"
    );
    let mut pipes = Vec::new();
    for (number, wrong_access) in [(read, OFlags::WRONLY), (write, OFlags::RDONLY)] {
        let Some((path, flags)) = platform::descriptor(number) else { bail!(closed) };
        let Ok(metadata) = fs::metadata(&path) else { bail!(closed) };
        let ours = flags.contains(OFlags::CLOEXEC);
        let access = flags & OFlags::RWMODE;
        ensure!(metadata.file_type().is_fifo() && !ours && access != wrong_access, closed);
        pipes.push((path, metadata.dev(), metadata.ino()));
    }
    let [(read, device, inode), (write, other_device, other_inode)] =
        pipes.try_into().expect("BUG: two");
    ensure!((device, inode) == (other_device, other_inode), closed);
    Ok((read, write))
}

/// Opens both ends without blocking. The reading end comes first: a named pipe without a reader
/// cannot be opened for writing.
fn open(read: &Path, write: &Path) -> Result<(File, File)> {
    ensure!(fs::metadata(read)?.file_type().is_fifo(), "it is not a pipe");
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let slots = OpenOptions::new().read(true).custom_flags(flags).open(read)?;
    let returns = OpenOptions::new().write(true).custom_flags(flags).open(write)?;
    Ok((slots, returns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(read: i32, write: i32) {
        let error = Wire::connect(&Auth::Pipe { read, write }).unwrap_err();
        assert!(error.to_string().contains("put `+` in front"), "{error:#}");
    }

    #[test]
    fn descriptors_that_are_closed_or_not_a_pipe_are_refused() {
        refused(-2, -2);
        refused(9_999_998, 9_999_999);
        let file = tempfile::tempfile().unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        refused(file.as_raw_fd(), file.as_raw_fd());
    }

    #[test]
    fn only_the_two_ends_of_one_inherited_pipe_are_taken() {
        let (one, other) = (io::pipe().unwrap(), io::pipe().unwrap());
        let (read, write) = (one.0.as_raw_fd(), one.1.as_raw_fd());
        // Opened by this very process, as the flag shows.
        refused(read, write);
        for end in [one.0.as_fd(), one.1.as_fd(), other.1.as_fd()] {
            fcntl_setfd(end, FdFlags::empty()).unwrap();
        }
        refused(write, read);
        refused(read, other.1.as_raw_fd());
        Wire::connect(&Auth::Pipe { read, write }).unwrap();
    }

    #[test]
    fn an_unknown_form_is_named() {
        let error = Wire::connect(&Auth::Unknown("later".into())).unwrap_err();
        assert!(error.to_string().contains("`later`"), "{error:#}");
    }
}
