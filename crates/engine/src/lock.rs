//! One build at a time in a project. The lock is the kernel's, on a file below the state folder: it
//! ends with its holder, in whichever way that ends, and no child inherits it.
//!
//! The file's text identifies the holder and the programs that it started. A holder that ends in
//! order empties the file, so a text in an unlocked file is that of a killed one.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{process, signals};
use zipwright_store::fs::open_own;
use zipwright_store::platform;
use zipwright_store::private;

const FILE_NAME: &str = "lock";

/// What to do when another build has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    Wait,
    /// That is an error.
    None,
}

/// Held for as long as it lives.
pub struct Lock {
    file: File,
    /// Whether an earlier holder may have left half-written files: it was killed, or the lock file
    /// was deleted.
    pub after_a_kill: bool,
}

impl Lock {
    /// Takes the lock in `folder`, which is created if it does not exist. If another build has it,
    /// calls `waiting` with a description of that build, and waits. Ends the programs that a killed
    /// holder left running.
    pub fn take(folder: &Path, patience: Patience, mut waiting: impl FnMut(&str)) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = || format!("could not lock `{}`", path.display());
        let (mut file, is_new) = loop {
            private::create_dir_all(folder)?;
            let Some((mut file, is_new)) = open(&path).with_context(failed)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if patience == Patience::None {
                        bail!("another build is running in this project: {holder}");
                    }
                    waiting(&holder);
                    wait_for(&file).with_context(failed)?;
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
            }
            // The file may have been deleted since it was opened, alone or with its folder. Another
            // build then locks the new file, so the lock on this one excludes nothing.
            if is_at(&file, &path).with_context(failed)? {
                break (file, is_new);
            }
        };
        let left = text_of(&mut file);
        let space = platform::process_namespace();
        let mut lines = left.lines();
        if lines.nth(1) == Some(&space) {
            process::end_orphans(&lines.collect::<Vec<_>>().join("\n"));
        }
        let words = shown(std::env::args()).replace(char::is_control, " ");
        let text = format!("process {}, `{words}`\n{space}\n", std::process::id());
        file.rewind().with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)?;
        // Cut only now: were it empty in between, a kill in this moment would look like order.
        file.set_len(text.len() as u64).with_context(failed)?;
        process::keep_journal(Some(file.try_clone().with_context(failed)?));
        Ok(Self { file, after_a_kill: is_new || !left.is_empty() })
    }
}

/// Interval in which a wait for the lock is repeated, so that it can be interrupted.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until the file is locked. Fails if this build is to end.
fn wait_for(file: &File) -> io::Result<()> {
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if signals::is_ending() => {
                return Err(ErrorKind::Interrupted.into());
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
}

/// Opens the lock file, and returns whether it was created now. Returns `None` if its folder was
/// deleted meanwhile.
fn open(path: &Path) -> io::Result<Option<(File, bool)>> {
    let is_new = path.symlink_metadata().is_err();
    match open_own(path, false) {
        Ok(file) => Ok(Some((file, is_new))),
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether `path` is still the name of this open file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        process::keep_journal(None);
        // At worst, the next holder searches for leftovers in vain.
        let _ = self.file.set_len(0);
    }
}

/// The words of a command line without the values that are given there.
fn shown(words: impl Iterator<Item = String>) -> String {
    let mut hides_next = false;
    let shown = words.map(|word| {
        let is_value = std::mem::replace(&mut hides_next, word == "--payload" || word == "--env");
        match word.split_once('=') {
            _ if is_value => "…".into(),
            Some((name, _)) => format!("{name}=…"),
            None => word,
        }
    });
    shown.collect::<Vec<String>>().join(" ")
}

fn text_of(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn holder(file: &mut File) -> String {
    match text_of(file).lines().next() {
        Some(line) if !line.is_empty() => line.into(),
        _ => "another build".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_command_line_are_not_shown() {
        let words =
            "zipwright -j 4 a TOKEN=s3cret --payload {\"a\":1} --env=X=s3cret --env X=s3cret b";
        let shown = shown(words.split(' ').map(String::from));
        assert_eq!(shown, "zipwright -j 4 a TOKEN=… --payload … --env=… --env … b");
    }
}
