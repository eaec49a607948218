//! What a killed build leaves behind: files and folders being written beside the place of an
//! output. They do no harm, globs pass over them, but they take space and are nobody's. Knows
//! where outputs are; call it only under the project's lock, and before anything is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::base::fs::{TEMP_PREFIX, remove};
use crate::buildfile::model::{Model, Target};
use crate::project::Project;

/// Removes them, as far as they can be removed. What lies inside of a staging tree goes when the
/// tree is written again, as it will be: its target was running.
pub fn sweep(project: &Project, model: &Model) {
    let state = project.state();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::from([state.join("manifests"), state]);
    for output in model.targets.iter().flat_map(Target::outputs) {
        folders.insert(project.place(&output.path().parent()));
    }
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX) {
                // One that stays is in nobody's way.
                let _ = remove(&entry.path());
            }
        }
    }
}
