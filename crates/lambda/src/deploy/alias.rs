//! The last step of a deployment: the alias of the callers points to the version.

use anyhow::{Result, bail};

use super::Deployment;
use crate::aws::{Alias, Lambda, Problem};
use zipwright_store::words;

/// Returns the alias, if it exists. Fails if it is shared by several versions: that is a gradual
/// deployment, which must not be disturbed.
pub(super) fn read(lambda: &Lambda, function: &str, name: &str) -> Result<Option<Alias>> {
    let alias = lambda.alias(function, name)?;
    if let Some(alias) = &alias
        && !alias.shared_with.is_empty()
    {
        bail!(
            "alias `{name}` of function `{function}` {} sends a part of its calls to version {} \
             and the rest to `{}`, a gradual deployment: wait for its end, or end it, then run again",
            lambda.place(),
            words::list(&alias.shared_with),
            alias.version,
        );
    }
    Ok(alias)
}

/// Returns the current target of an alias, as a part of a message.
pub(super) fn leads(name: &str, alias: Option<&Alias>) -> String {
    match alias {
        Some(alias) => format!("alias `{name}` points to version {}, as before", alias.version),
        None => format!("alias `{name}` does not exist yet"),
    }
}

/// Points the alias to `version`, if it did not change since it was read.
pub(super) fn lead(
    lambda: &Lambda,
    deployment: &Deployment,
    (name, before): (&str, Option<&Alias>),
    version: &str,
) -> Result<()> {
    let function = deployment.function;
    let moved = match before {
        Some(alias) if alias.version == version => {
            return has_version(lambda, function, (name, before), version).map(drop);
        }
        Some(alias) => {
            (deployment.status)(&format!("moving alias `{name}` of function `{function}`"));
            lambda.move_alias(function, alias, version)
        }
        None => lambda.create_alias(function, name, version),
    };
    match moved {
        Ok(()) if before.is_none() => {
            (deployment.note)(&format!(
                "function `{function}` had no alias `{name}`: it was created, and points to \
                 version {version}"
            ));
            Ok(())
        }
        Ok(()) => Ok(()),
        // Our own change, if the response was lost; otherwise a change by another client, which
        // must stay.
        Err(error) if matches!(error.problem, Problem::Changed | Problem::Busy) => {
            match has_version(lambda, function, (name, before), version)? {
                true => Ok(()),
                false => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns whether the alias points to `version`. Fails if another client changed it since it was
/// read.
fn has_version(
    lambda: &Lambda,
    function: &str,
    (name, before): (&str, Option<&Alias>),
    version: &str,
) -> Result<bool> {
    let change = match read(lambda, function, name)? {
        Some(now) if now.version == version => return Ok(true),
        Some(now) if before.is_none_or(|before| before.version != now.version) => {
            format!("moved to version {}", now.version)
        }
        None if before.is_some() => "deleted".to_owned(),
        _ => return Ok(false),
    };
    bail!(
        "alias `{name}` of function `{function}` {} was {change} by another client during this \
         upload, and was not changed: check that change, then run again",
        lambda.place(),
    )
}
