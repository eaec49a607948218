//! `--digest`: restricts the uploads that the goals depend on to one zip, before planning.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::args::Uploading;
use super::session::Session;
use crate::base::words;
use crate::bundle;
use crate::targets::upload::Upload;

pub(super) fn apply(given: &Uploading, session: &mut Session) -> Result<()> {
    let Some(digest) = &given.digest else { return Ok(()) };
    let digest = parse(digest)?;
    let mut zips = BTreeSet::new();
    for id in session.graph.closure(&session.goal_ids()?) {
        let kind = &mut session.model.targets[id.index()].kind;
        if let Some(upload) = kind.get::<Upload>() {
            zips.insert(upload.zip.value.clone());
            *kind = Arc::new(Upload { digest: Some(digest.clone()), ..upload.clone() });
        }
    }
    match zips.len() {
        0 => bail!("--digest is for uploads, and no goal needs one"),
        1 => Ok(()),
        _ => {
            let zips: Vec<String> = zips.into_iter().collect();
            bail!("--digest names one zip, and the goals upload {}", words::list(&zips))
        }
    }
}

/// Reads a digest of the command line.
pub(super) fn parse(text: &str) -> Result<String> {
    bundle::parse_digest(text).with_context(|| {
        format!(
            "`{text}` is not a digest: give a CodeSha256, as `zipwright digest` prints it, or a \
             SHA-256 of 64 hexadecimal digits"
        )
    })
}
