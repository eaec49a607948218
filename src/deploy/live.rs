//! What callers of a function get, as Lambda says it now.

use anyhow::{Result, bail};

use super::Publish;
use super::update::{waiting, with_way_out};
use crate::aws::{LATEST_PUBLISHED, Lambda, Update};
use crate::base::words;

/// The code that is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub code_sha256: String,
    /// Bytes of the zip; 0 where a service does not say.
    pub code_size: u64,
    pub version: Option<String>,
    /// The ARNs of the versions of layers beside it.
    pub layers: Vec<String>,
    /// Why callers may get something else all the same.
    pub doubt: Option<String>,
}

/// Returns the code that callers of a function get: of its alias, or of what was published. An
/// update in progress is waited for.
pub fn live(
    lambda: &Lambda,
    name: &str,
    (alias, publish): (Option<&str>, Option<Publish>),
    status: &(dyn Fn(&str) + Sync),
) -> Result<Live> {
    let mut doubt = None;
    if let Some(alias) = alias {
        match lambda.alias(name, alias)? {
            None => bail!("function `{name}` {} has no alias `{alias}`", lambda.place()),
            Some(found) if !found.shared_with.is_empty() => {
                let others = words::list(&found.shared_with);
                doubt = Some(format!("`{alias}` sends a part of its calls to version {others}"));
            }
            Some(_) => {}
        }
    }
    let wait = waiting(status, format!("waiting for an update of function `{name}`"));
    let latest = Some(LATEST_PUBLISHED).filter(|_| publish == Some(Publish::Latest));
    let function =
        lambda.wait_at(name, alias.or(latest), &wait).map_err(|error| with_way_out(error, name))?;
    if let Update::Failed { reason } = function.update {
        doubt = Some(format!("its last update failed: {reason}"));
    }
    Ok(Live {
        code_sha256: function.code_sha256,
        code_size: function.code_size,
        version: function.version,
        layers: function.layers,
        doubt,
    })
}

/// The digest of the version of a layer that is among these; `None` when there is none of it.
pub fn live_layer(lambda: &Lambda, attached: &[String], name: &str) -> Result<Option<String>> {
    // `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION`
    let parts = |arn: &str| {
        let mut parts = arn.split(':').skip(6);
        Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?))
    };
    let found = attached.iter().filter_map(|arn| parts(arn)).find(|(found, _)| found == name);
    let Some((_, version)) = found else { return Ok(None) };
    Ok(lambda.layer_version(name, version)?.map(|version| version.code_sha256))
}
