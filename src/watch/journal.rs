//! The programs that outlast the builds of a watch: one file for each watch, locked by its process.
//! A file that is not locked is that of a killed watch, whose programs the next build ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::base::fs::open_own;
use crate::base::platform;
use crate::process;
use crate::project::Project;

/// Below the state folder.
const FOLDER: &str = "watch";

/// The journal of this process. Dropping it removes the file.
pub struct Journal {
    place: PathBuf,
    _locked: File,
}

impl Journal {
    pub fn open(project: &Project) -> Result<Self> {
        let place = project.state_folder(FOLDER)?.join(std::process::id().to_string());
        let failed = || format!("could not write `{}`", place.display());
        let mut file = open_own(&place, true).with_context(failed)?;
        file.try_lock().with_context(failed)?;
        file.set_len(0).with_context(failed)?;
        writeln!(file, "{}", platform::process_namespace()).with_context(failed)?;
        process::keep_lasting_journal(Some(file.try_clone().with_context(failed)?));
        Ok(Self { place, _locked: file })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        process::keep_lasting_journal(None);
        // At worst, the next build searches for its programs in vain.
        let _ = fs::remove_file(&self.place);
    }
}

/// Ends the programs that killed watches of the project left running.
pub fn end_orphans(project: &Project) {
    let Ok(entries) = fs::read_dir(project.state().join(FOLDER)) else { return };
    entries.flatten().for_each(|entry| end_those_in(&entry.path()));
}

fn end_those_in(place: &Path) {
    let Ok(mut file) = open_own(place, true) else { return };
    if file.try_lock().is_err() {
        return;
    }
    let mut bytes = Vec::new();
    if file.read_to_end(&mut bytes).is_err() {
        return;
    }
    let text = String::from_utf8_lossy(&bytes);
    if let Some((space, programs)) = text.split_once('\n')
        && space == platform::process_namespace()
    {
        process::end_orphans(programs);
    }
    let _ = fs::remove_file(place);
}
