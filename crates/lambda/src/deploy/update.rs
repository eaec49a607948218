//! The second step of a deployment: the function's code. Compares it, sends it if it differs, waits
//! for the update, and compares again.

use anyhow::{Result, anyhow, bail};

use super::{Deployment, refuse};
use crate::aws::{self, Function, Lambda, Problem, Update};
use zipwright_store::words;

/// Largest number of attempts if other updates interfere.
const MOST_ATTEMPTS: usize = 3;

pub(super) struct Updated {
    /// Whether the code had to be sent.
    pub(super) sent: bool,
    /// The function now: it has the code, and no update is in progress.
    pub(super) function: Function,
}

pub(super) fn bring_up_to_date(lambda: &Lambda, deployment: &Deployment) -> Result<Updated> {
    let Deployment { function: name, code_sha256, size, check, code, status, ref storage, .. } =
        *deployment;
    let before = waiting(status, format!("waiting for another update of function `{name}`"));
    let mut attempts = 0;
    loop {
        let function = lambda.wait(name, &before).map_err(|error| with_way_out(error, name))?;
        refuse(&function, lambda)?;
        // After a failed update, the digest may not be that of the running code.
        if function.code_sha256 == code_sha256
            && function.update == Update::Successful
            && lambda.is_stored(name, storage)?
        {
            return Ok(Updated { sent: attempts > 0, function });
        }
        if attempts == 0 {
            check(&function)?;
            warn_of_unpublished(&function, deployment, lambda);
        }
        attempts += 1;
        let code = code()?;
        status(&format!("uploading {} to function `{name}`", words::size(size)));
        match lambda.update_code(&function, &code, storage.kms_key) {
            Ok(received) if received == code_sha256 => break,
            Ok(received) => bail!(
                "Lambda received other data than was sent for function `{name}` {}: its \
                 CodeSha256 is {} instead of {code_sha256}; run again",
                lambda.place(),
                or_none(&received),
            ),
            // Another client's update, or our own with a lost response: the digest shows which.
            Err(error) if error.problem == Problem::Busy && attempts < MOST_ATTEMPTS => {
                lambda.say(&format!("{error}; waiting for it, then checking again"));
            }
            Err(error) if error.problem == Problem::Changed => {
                let function = lambda.wait(name, &before)?;
                if function.code_sha256 != code_sha256 {
                    bail!(
                        "function `{name}` was changed by another client during this upload, and \
                         nothing was sent: check that change, then run again"
                    );
                }
                refuse_other_code(&function, deployment, lambda)?;
                return Ok(Updated { sent: true, function });
            }
            Err(error) => return Err(with_what_is_live(error, &function)),
        }
    }
    let after = waiting(status, format!("waiting for Lambda to apply the code of `{name}`"));
    let function = lambda.wait(name, &after).map_err(|error| {
        anyhow!("{error}; the code was sent: run again, which checks whether it is live")
    })?;
    refuse_other_code(&function, deployment, lambda)?;
    Ok(Updated { sent: true, function })
}

/// Warns of functions for which updating only `$LATEST` is probably a mistake.
fn warn_of_unpublished(function: &Function, deployment: &Deployment, lambda: &Lambda) {
    if deployment.publish.is_some() {
        return;
    }
    let name = &function.name;
    if function.is_on_instances {
        lambda.say(&format!(
            "function `{name}` runs on Managed Instances, where only published code is called: \
             callers get none of this before it is published (`publish = \"latest-published\"`, \
             or `publish = true`)"
        ));
    } else if function.is_durable {
        lambda.say(&format!(
            "function `{name}` is durable: executions that are in progress under `$LATEST` \
             continue with the new code; with `publish = true` or an `alias` each keeps its version"
        ));
    }
}

/// Fails if the function's code after the update is not the code that was sent.
fn refuse_other_code(function: &Function, deployment: &Deployment, lambda: &Lambda) -> Result<()> {
    let Deployment { function: name, code_sha256, .. } = deployment;
    if let Update::Failed { reason, keeps_old } = &function.update {
        let live = match keeps_old {
            true => "the code from before is still live",
            false => "the function cannot be called",
        };
        bail!(
            "Lambda accepted the code for function `{name}` {} but could not use it: {reason}; \
             {live}",
            lambda.place()
        );
    }
    if function.code_sha256 != *code_sha256 {
        bail!(
            "function `{name}` {} has CodeSha256 {} after {code_sha256} was uploaded: another \
             client deployed after this upload; run again to overwrite it",
            lambda.place(),
            or_none(&function.code_sha256),
        );
    }
    Ok(())
}

/// Returns a callback that shows the reason of a wait, and its seconds so far.
pub(super) fn waiting(status: &(dyn Fn(&str) + Sync), what: String) -> impl Fn(u32) {
    move |seconds| status(&format!("{what} ({seconds} s)"))
}

pub(super) fn or_none(digest: &str) -> &str {
    if digest.is_empty() { "missing" } else { digest }
}

/// Adds the live code to the error of a failed update.
fn with_what_is_live(error: aws::Error, before: &Function) -> anyhow::Error {
    let Function { name, code_sha256, .. } = before;
    if error.problem == Problem::NotFound {
        return with_way_out(error, name);
    }
    if error.leaves_open() {
        return anyhow!("{error}; the code may have arrived: run again, which checks first");
    }
    let digest = or_none(code_sha256);
    anyhow!("{error}; function `{name}` still has the code with CodeSha256 {digest}")
}

/// Adds a hint on creating the function, if it does not exist.
pub(super) fn with_way_out(error: aws::Error, name: &str) -> anyhow::Error {
    if error.problem != Problem::NotFound {
        return error.into();
    }
    anyhow!(
        "{error}; zipwright updates functions and does not create them: correct the name, the \
         region or the profile, or create it once with `aws lambda create-function \
         --function-name {name} --runtime … --role … --handler … --zip-file fileb://…`"
    )
}
