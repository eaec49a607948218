//! One build at a time in a project. The lock is the kernel's, on a file below the state folder:
//! it dies with its holder, however that ends, and no child inherits it. The file's text says
//! who holds it; it means nothing while nobody does.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};

const FILE_NAME: &str = "lock";

/// Held for as long as it lives.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. When another build has it, `waiting` gets who that is, and then this one
    /// waits.
    pub fn take(folder: &Path, waiting: impl FnOnce(&str)) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = || format!("could not lock `{}`", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .with_context(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting(&holder(&mut file));
                file.lock().with_context(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let words: Vec<String> = std::env::args().collect();
        file.set_len(0).with_context(failed)?;
        file.rewind().with_context(failed)?;
        write!(file, "process {}, `{}`", std::process::id(), words.join(" "))
            .with_context(failed)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(length) if length > 0 => text,
        _ => "another build".into(),
    }
}
