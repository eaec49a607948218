//! `zipwright unpack ZIP|TARGET DIR`: the files of a bundle in a folder, for tools that take one.

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;

use super::args::{Common, Unpack};
use super::session::Session;
use super::{FAILURE, Failure, SUCCESS, build, print_json, tell};
use crate::base::words;
use crate::graph::TargetId;
use crate::targets::zip::Zip;
use crate::unpack::{self, Unpacked};

pub(super) fn run(common: &Common, options: &Unpack) -> Result<u8, Failure> {
    let Unpack { subject, folder, force } = options;
    let zip = match Path::new(subject).is_file() {
        true => subject.clone(),
        false => match built(common, subject)? {
            Some(zip) => zip,
            None => return Ok(FAILURE),
        },
    };
    let Unpacked { files, size } = unpack::unpack(Path::new(&zip), folder, *force)?;
    if common.json {
        print_json(&json!({ "zip": zip, "folder": folder, "files": files, "size": size }))?;
    } else {
        let files = words::count(files, "file");
        let folder = folder.display();
        tell(format!("unpacked `{zip}` into `{folder}`: {files}, {}", words::size(size)));
    }
    Ok(SUCCESS)
}

/// Brings a zip target up to date, and returns the path of its output; `None` if that failed.
fn built(common: &Common, name: &str) -> Result<Option<String>, Failure> {
    let (session, id) = Session::open_for(common, name)?;
    let zip = build_zip(common, &session, id)?;
    Ok(zip.map(|zip| zip.output.value.to_string()))
}

/// Brings a target up to date that must be a zip; `None` if that failed.
pub(super) fn build_zip<'a>(
    common: &Common,
    session: &'a Session,
    id: TargetId,
) -> Result<Option<&'a Zip>, Failure> {
    let target = &session.model.targets[id.index()];
    let (name, kind) = (&target.name.value, target.kind.name());
    let zip = target.kind.get::<Zip>();
    let zip = zip.ok_or_else(|| anyhow!("`{name}` is of kind `{kind}`; name a zip target"))?;
    let summary = build::for_command(common, &[], session, vec![id])?;
    Ok((summary.failed == 0).then_some(zip))
}
