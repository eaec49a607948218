//! `zipwright schema`: the JSON Schema of Buildfiles, on standard output or where `init` refers to it.

use anyhow::Result;

use super::args::{Common, Schema};
use super::{Failure, SUCCESS, note, print};
use crate::base::{Printable, fs as base_fs, private};
use crate::json_schema;
use crate::project::{Project, STATE_FOLDER};

/// The file that a Buildfile of `init` names, in the state folder.
const FILE: &str = "buildfile.schema.json";

pub(super) fn run(_common: &Common, options: &Schema) -> Result<u8, Failure> {
    if options.write {
        let path = write(&Project::here()?)?;
        note(&format!("wrote `{path}`; a Buildfile refers to it by the line `{}`", line()));
    } else {
        print(Printable::json(&format!("{:#}", json_schema::schema())))?;
    }
    Ok(SUCCESS)
}

/// Returns the comment by which editors find the schema of a Buildfile.
pub(super) fn line() -> String {
    format!("#:schema {STATE_FOLDER}/{FILE}")
}

/// Writes the schema into the state folder, and returns its path.
pub(super) fn write(project: &Project) -> Result<String> {
    let folder = project.state_folder(".")?;
    project.claim_state()?;
    let text = format!("{:#}\n", json_schema::schema());
    base_fs::write_if_changed(&folder.join(".gitignore"), b"*\n", private::FILE_MODE)?;
    base_fs::write_if_changed(&folder.join(FILE), text.as_bytes(), private::FILE_MODE)?;
    Ok(format!("{STATE_FOLDER}/{FILE}"))
}
