//! The last step: the alias that callers use leads to the version.

use anyhow::{Result, bail};

use super::Deployment;
use crate::aws::{Alias, Lambda, Problem};
use crate::base::words;

/// The alias, if there is one. One that several versions share is somebody's gradual deployment,
/// and is not touched.
pub(super) fn read(lambda: &Lambda, function: &str, name: &str) -> Result<Option<Alias>> {
    let alias = lambda.alias(function, name)?;
    if let Some(alias) = &alias
        && !alias.shared_with.is_empty()
    {
        bail!(
            "alias `{name}` of function `{function}` {} sends a part of its calls to version {} \
             and the rest to {}: somebody deploys step by step; wait for the end of it, or end it, \
             then run again",
            lambda.place(),
            words::list(&alias.shared_with),
            alias.version,
        );
    }
    Ok(alias)
}

/// Where an alias leads, as a part of a message.
pub(super) fn leads(name: &str, alias: Option<&Alias>) -> String {
    match alias {
        Some(alias) => format!("alias `{name}` leads to version {}, as before", alias.version),
        None => format!("there is no alias `{name}` yet"),
    }
}

/// Leads the alias to `version`, from where it led when it was read.
pub(super) fn lead(
    lambda: &Lambda,
    deployment: &Deployment,
    (name, before): (&str, Option<&Alias>),
    version: &str,
) -> Result<()> {
    let function = deployment.function;
    let moved = match before {
        Some(alias) if alias.version == version => return Ok(()),
        Some(alias) => {
            (deployment.status)(&format!("moving alias `{name}` of function `{function}`"));
            lambda.move_alias(function, alias, version)
        }
        None => lambda.create_alias(function, name, version),
    };
    match moved {
        Ok(()) if before.is_none() => {
            (deployment.note)(&format!(
                "function `{function}` had no alias `{name}`: it was made, and leads to version \
                 {version}"
            ));
            Ok(())
        }
        Ok(()) => Ok(()),
        // Ours, when the answer was lost; else somebody else's, who knows why.
        Err(error) if matches!(error.problem, Problem::Changed | Problem::Busy) => {
            match lambda.alias(function, name)? {
                Some(now) if now.version == version => Ok(()),
                Some(now) if before.is_none_or(|before| before.version != now.version) => bail!(
                    "alias `{name}` of function `{function}` {} was moved to version {} by \
                     somebody else in the middle of this upload, and was left there; look at what \
                     changed, then run again",
                    lambda.place(),
                    now.version,
                ),
                _ => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}
