//! Gives a function the code of a bundle, step by step, and is done only when the function runs
//! it: the one way for everybody who uploads. Knows the order of the steps and what is live when
//! one of them fails; the requests are [`crate::aws`]'s. Knows nothing of targets.

mod update;

use anyhow::{Result, bail};

use crate::aws::{Code, Function, Lambda};

/// What one function is to run, and what is asked of others on the way.
pub struct Deployment<'a> {
    /// Name or ARN.
    pub function: &'a str,
    /// Of the bytes that are sent.
    pub code_sha256: &'a str,
    /// Of the bundle.
    pub size: u64,
    /// Whether the bundle will run in this function. Asked before anything is sent.
    pub check: &'a (dyn Fn(&Function) -> Result<()> + Sync),
    /// The code in the form in which it is sent. Asked only when it must be sent.
    pub code: &'a (dyn Fn() -> Result<Code<'a>> + Sync),
    /// Takes what is being done right now.
    pub status: &'a (dyn Fn(&str) + Sync),
}

/// What it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Whether the code had to be sent.
    pub sent: bool,
}

/// Takes all the steps that are not done yet.
pub fn deploy(lambda: &Lambda, deployment: &Deployment) -> Result<Deployed> {
    let name = deployment.function;
    (deployment.status)(&format!("looking at function `{name}`"));
    let sent = update::bring_up_to_date(lambda, deployment)?;
    if !sent {
        (deployment.status)(&format!("function `{name}` has this code already: nothing sent"));
    }
    Ok(Deployed { sent })
}

fn refuse_image(function: &Function, lambda: &Lambda) -> Result<()> {
    if function.is_image {
        bail!(
            "function `{}` {} is made of a container image and takes no zip",
            function.name,
            lambda.place()
        );
    }
    Ok(())
}
