//! `zipwright terraform`: the program of a Terraform `data "external"`. It reads a query from standard
//! input, builds a zip, and writes its path and digests to standard output, all as strings.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::args::Common;
use super::session::{Session, Words};
use super::{FAILURE, Failure, SUCCESS, print_json, unpack};
use crate::base::Sha256;
use crate::base::{fs as base_fs, sha256};
use crate::bundle;
use crate::graph::TargetId;
use crate::targets::zip::Zip;

/// Keys of the query that are not variables.
const TARGET: &str = "target";
const DIRECTORY: &str = "directory";

pub(super) fn run(common: &Common) -> Result<u8, Failure> {
    let mut query = query(io::stdin().lock())?;
    let target = query.remove(TARGET).filter(|name| !name.is_empty());
    let directory = query.remove(DIRECTORY).filter(|folder| !folder.is_empty());
    // Relative to the folder in which Terraform has started this program.
    let mut folder: PathBuf = common.directory.iter().collect();
    if let Some(directory) = &directory {
        std::env::set_current_dir(directory)
            .with_context(|| format!("could not change to `{directory}`"))?;
        folder.push(directory);
    }
    let given = query.into_iter().map(|(name, value)| format!("{name}={value}"));
    let words: Vec<String> = given.chain(target).collect();
    let session = Session::open(common, Words::new(&words))?;
    let id = zip_target(&session)?;
    let Some(zip) = unpack::build_zip(common, &session, id)? else { return Ok(FAILURE) };
    let place = session.project.place(&zip.output.value);
    let digest = Sha256::of_file(&place)?;
    let size = base_fs::open(&place)?.metadata().context("could not read the zip's size")?.len();
    let path = folder.join(zip.output.value.as_str());
    print_json(&json!({
        "path": path,
        "code_sha256": bundle::code_sha256(&digest),
        "sha256": sha256::hex(&digest),
        "size": size.to_string(),
    }))?;
    Ok(SUCCESS)
}

/// Reads the query: an object of strings.
fn query(mut input: impl Read) -> Result<BTreeMap<String, String>> {
    let mut text = String::new();
    input.read_to_string(&mut text).context("could not read the query from standard input")?;
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(&text).context(
        "the query on standard input is not a JSON object of strings, as Terraform's `external` sends it",
    )
}

/// Returns the target of the query, or the only zip target.
fn zip_target(session: &Session) -> Result<TargetId> {
    if let Some(name) = session.words.goals.first() {
        return session.find(name);
    }
    let is_zip = |id: &TargetId| session.model.targets[id.index()].kind.get::<Zip>().is_some();
    let zips: Vec<TargetId> = session.graph.ids().filter(is_zip).collect();
    let names: Vec<&str> =
        zips.iter().map(|id| session.model.targets[id.index()].name.value.as_str()).collect();
    match zips.as_slice() {
        [id] => Ok(*id),
        [] => Err(anyhow!("the Buildfile has no zip target")),
        _ => Err(anyhow!("the query has no `target`; name one of the zips: {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_an_object_of_strings_or_nothing() {
        let read = |text: &str| query(text.as_bytes());
        assert!(read("").unwrap().is_empty() && read("{}\n").unwrap().is_empty());
        assert_eq!(read(r#"{"target":"a"}"#).unwrap()["target"], "a");
        for bad in ["[]", "{\"a\":1}", "x"] {
            assert!(read(bad).unwrap_err().to_string().contains("JSON object of strings"), "{bad}");
        }
    }
}
