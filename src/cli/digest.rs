//! `zipwright digest FILE|TARGET`: the `CodeSha256` that Lambda reports for a zip.

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;

use super::args::{Common, Digest};
use super::session::Session;
use super::{Failure, SUCCESS, print, print_json};
use crate::bundle;
use crate::targets::zip::Zip;

pub(super) fn run(common: &Common, digest: &Digest) -> Result<u8, Failure> {
    let subject = &digest.subject;
    let path = match Path::new(subject).is_file() {
        true => subject.clone(),
        false => zip_of(common, subject)?,
    };
    let code_sha256 = bundle::code_sha256_of(Path::new(&path))?;
    if common.json {
        print_json(&json!({ "path": path, "code_sha256": code_sha256 }))?;
    } else {
        print(code_sha256)?;
    }
    Ok(SUCCESS)
}

/// Returns the existing output of a zip target.
pub(super) fn zip_of(common: &Common, name: &str) -> Result<String, Failure> {
    let (session, id) = Session::open_for(common, name)?;
    let target = &session.model.targets[id.index()];
    let Some(zip) = target.kind.get::<Zip>() else {
        let kind = target.kind.name();
        return Err(anyhow!("`{name}` is of kind `{kind}`; only a zip has a CodeSha256").into());
    };
    let path = &zip.output.value;
    if !session.project.place(path).is_file() {
        return Err(anyhow!("`{path}` does not exist yet; run `zipwright {name}` first").into());
    }
    Ok(path.to_string())
}
