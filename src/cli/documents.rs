//! `zipwright sbom` and `zipwright provenance`: documents made from the build record of a zip.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::Value;

use super::args::{Common, Paper};
use super::session::{Session, Words};
use super::{Failure, SUCCESS, print};
use crate::base::Printable;
use crate::record::Record;
use crate::targets::zip::Zip;

pub(super) fn run(
    common: &Common,
    paper: &Paper,
    make: fn(&Record) -> Value,
) -> Result<u8, Failure> {
    let zip = match &paper.subject {
        Some(subject) if Path::new(subject).is_file() => PathBuf::from(subject),
        Some(subject) => super::digest::zip_of(common, subject)?.into(),
        None => only_zip(common)?,
    };
    let document = make(&Record::of(&zip)?);
    let text = if common.json { document.to_string() } else { format!("{document:#}") };
    print(Printable::json(&text))?;
    Ok(SUCCESS)
}

/// Returns the output of the only zip target.
fn only_zip(common: &Common) -> Result<PathBuf, Failure> {
    let session = Session::open(common, Words::new(&[]))?;
    let zips = session.model.targets.iter().filter(|target| target.kind.get::<Zip>().is_some());
    let names: Vec<&str> = zips.map(|target| target.name.value.as_str()).collect();
    match names.as_slice() {
        [name] => Ok(super::digest::zip_of(common, name)?.into()),
        [] => Err(anyhow!("the Buildfile has no zip target").into()),
        several => Err(anyhow!("name one of the zips: {}", several.join(", ")).into()),
    }
}
