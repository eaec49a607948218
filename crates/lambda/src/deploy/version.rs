//! The third step of a deployment: a version of the function. An existing version is used if it is
//! the same.

use anyhow::{Context, Result, bail};

use super::update::waiting;
use super::{Deployment, Publish, commit};
use crate::aws::{Function, Lambda, Problem, Update};

/// Largest number of attempts if the function is busy or changes.
const MOST_ATTEMPTS: u32 = 5;

/// Returns the number of the version with the code of `function`, once it can be called.
pub(super) fn publish(
    lambda: &Lambda,
    deployment: &Deployment,
    mut function: Function,
) -> Result<String> {
    let Deployment { function: name, code_sha256, status, publish, commit, .. } = *deployment;
    let latest = publish == Some(Publish::Latest);
    let mut attempt = 1;
    let number = loop {
        // Check after a lost response, too: the version may exist. `$LATEST.PUBLISHED` may be
        // republished any number of times.
        if !latest {
            let there = lambda.version_with(name, code_sha256);
            let as_latest = || format!("function `{name}` has the code as $LATEST");
            if let Some(number) = there.with_context(as_latest)? {
                break number;
            }
        }
        status(&format!("publishing a version of function `{name}`"));
        let described =
            commit.map(|commit| commit::describe(function.description.as_deref(), commit));
        match lambda.publish(&function, latest, described) {
            Ok(version) if version.code_sha256 == code_sha256 => break version.number,
            Ok(version) => bail!(
                "version {} of function `{name}` {} has CodeSha256 {} instead of {code_sha256}: \
                 another client deployed in between; run again to overwrite it",
                version.number,
                lambda.place(),
                version.code_sha256,
            ),
            Err(error)
                if matches!(error.problem, Problem::Busy | Problem::Changed)
                    && attempt < MOST_ATTEMPTS =>
            {
                let what = format!("waiting for another change of function `{name}`");
                function = lambda.wait(name, &waiting(status, what))?;
                if function.code_sha256 != code_sha256 {
                    bail!(
                        "function `{name}` {} got other code from another client before the \
                         version was published: check that change, then run again",
                        lambda.place(),
                    );
                }
            }
            Err(error) if lambda.pause(&error, attempt) => {}
            Err(error) => bail!("{error}; function `{name}` has the code as $LATEST"),
        }
        attempt += 1;
    };
    let what = format!("waiting for version {number} of function `{name}`");
    let version = lambda.wait_at(name, Some(&number), &waiting(status, what))?;
    if let Update::Failed { reason, .. } = version.update {
        bail!(
            "version {number} of function `{name}` {} cannot be called: {reason}",
            lambda.place()
        );
    }
    Ok(number)
}
