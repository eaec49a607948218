//! Leftovers of a killed build: files and folders being written beside an output. They are
//! harmless, and globs ignore them, but they take space. Knows the places of outputs; call it only
//! under the project's lock, and before anything is written.

use std::collections::BTreeSet;
use std::fs;

use crate::files::place;
use crate::target::{Model, Output, Target};
use zipwright_store::RelPath;
use zipwright_store::fs::{aside, is_temp_name, remove, rename_to_free};
use zipwright_store::project::{Project, STATE_FOLDER};

/// Removes leftovers, as far as possible. Those inside of a staging tree are removed when the tree
/// is written again, because its target was running.
pub fn sweep(project: &Project, model: &Model) {
    let in_state = |name: &str| format!("{STATE_FOLDER}/{name}");
    let own = [".", "manifests", "left", "origins"].map(|name| RelPath::parse(&in_state(name)));
    let own = own.map(|path| path.expect("BUG: a plain name is part of a path"));
    let mut folders: BTreeSet<RelPath> = BTreeSet::from(own);
    folders.extend(model.targets.iter().flat_map(Target::outputs).map(|out| out.path().parent()));
    for output in model.targets.iter().flat_map(Target::outputs) {
        let Output::File(path) = output else { continue };
        let Ok(place) = place::file(project, &path) else { continue };
        if aside(&place).symlink_metadata().is_ok() && place.symlink_metadata().is_err() {
            // A user's file, set aside for a command: a run of it tries again.
            let _ = rename_to_free(&aside(&place), &place);
        }
    }
    for folder in folders {
        let Ok(place) = place::folder(project, &folder) else { continue };
        let Ok(entries) = fs::read_dir(place) else { continue };
        for entry in entries.flatten() {
            if is_temp_name(&entry.file_name()) {
                // A leftover that stays is harmless.
                let _ = remove(&entry.path());
            }
        }
    }
}
