//! The code that callers of a function get at present.

use anyhow::{Result, bail};

use super::Publish;
use super::update::{waiting, with_way_out};
use crate::aws::{LATEST_PUBLISHED, Lambda, Update};
use zipwright_store::words;

/// The live code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub code_sha256: String,
    /// Size of the zip in bytes; 0 if the service does not return it.
    pub code_size: u64,
    pub version: Option<String>,
    /// The ARNs of its layer versions.
    pub layers: Vec<String>,
    /// The reason why callers may get other code, if any.
    pub doubt: Option<String>,
}

/// Returns the code that callers of a function get: that of its alias, or of `$LATEST`. Waits for
/// an update in progress.
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
    match &function.update {
        Update::Failed { reason, keeps_old: true } => {
            doubt = Some(format!("its last update failed: {reason}"));
        }
        Update::Failed { reason, keeps_old: false } => {
            doubt = Some(format!("it cannot be called: {reason}"));
        }
        _ if function.is_being_deleted => doubt = Some("it is being deleted".into()),
        _ if function.is_image => doubt = Some("it is made of a container image".into()),
        _ => {}
    }
    Ok(Live {
        code_sha256: function.code_sha256,
        code_size: function.code_size,
        version: function.version,
        layers: function.layers,
        doubt,
    })
}

/// Returns the digest of the attached version of a layer; `None` if the layer is not attached. A
/// layer of the same name in another account or region is another layer: its ARN differs from that
/// which Lambda returns for the name.
pub fn live_layer(lambda: &Lambda, attached: &[String], name: &str) -> Result<Option<String>> {
    for arn in attached {
        if let Some(version) = version_of(arn, name)
            && let Some(found) = lambda.layer_version(name, version)?
            && found.arn == *arn
        {
            return Ok(Some(found.code_sha256));
        }
    }
    Ok(None)
}

/// Returns the version in the ARN `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION` of this layer.
fn version_of(arn: &str, name: &str) -> Option<i64> {
    let mut parts = arn.split(':').skip(6);
    parts.next().filter(|found| *found == name)?;
    parts.next()?.parse().ok()
}
