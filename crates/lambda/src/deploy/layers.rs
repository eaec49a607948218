//! The first step of a deployment: the function's layers. Layers of the Buildfile get their new
//! versions; layers attached by others stay before them. Also publishes layer versions.

use anyhow::{Result, anyhow, bail};

use super::update::{or_none, waiting, with_way_out};
use super::{Deployment, refuse};
use crate::aws::{Code, Function, Lambda, LayerVersion, NewLayer, Problem, Update};
use zipwright_store::words;

/// Largest number of attempts if other changes interfere.
const MOST_ATTEMPTS: usize = 3;
/// Lambda's limit of layers per function.
const MOST_LAYERS: usize = 5;

/// Returns the layer version with the wanted content: the latest, or a new one; and whether it is
/// new. `code` is called only if it must be sent.
pub fn publish_layer<'a>(
    lambda: &Lambda,
    wanted: &NewLayer,
    code: &dyn Fn() -> Result<Code<'a>>,
) -> Result<(LayerVersion, bool)> {
    let name = wanted.name;
    let (mut attempt, mut sent) = (1, None);
    loop {
        // Check after a lost response, too: the version may have been published.
        if let Some(latest) = lambda.latest_layer(name)?.filter(|latest| wanted.is(latest)) {
            return Ok((latest, attempt > 1));
        }
        let code = match &sent {
            Some(code) => code,
            None => sent.insert(code()?),
        };
        match lambda.publish_layer(wanted, code) {
            Ok(version) if version.code_sha256 == wanted.code_sha256 => return Ok((version, true)),
            Ok(version) => bail!(
                "Lambda received other data than was sent for layer `{name}` {}: the \
                 CodeSha256 of version {} is {} instead of {}; no function has it; run again",
                lambda.place(),
                version.version,
                or_none(&version.code_sha256),
                wanted.code_sha256,
            ),
            Err(error) if lambda.pause(&error, attempt) => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Attaches the layers, and returns whether that was necessary. On return, no update is in
/// progress.
pub(super) fn attach(lambda: &Lambda, deployment: &Deployment) -> Result<bool> {
    let Deployment { function: name, layers, check, status, .. } = *deployment;
    if layers.is_empty() {
        return Ok(false);
    }
    refuse_two_of_one(layers)?;
    let before = waiting(status, format!("waiting for another update of function `{name}`"));
    let mut attempts = 0;
    loop {
        let function = lambda.wait(name, &before).map_err(|error| with_way_out(error, name))?;
        refuse(&function, lambda)?;
        let wanted = with_ours(&function.layers, layers);
        if function.layers == wanted {
            return Ok(attempts > 0);
        }
        if attempts == 0 {
            refuse_too_many(&function, &wanted)?;
            check(&function)?;
        }
        attempts += 1;
        status(&format!("attaching {} to `{name}`", words::count(layers.len(), "layer")));
        match lambda.set_layers(&function, &wanted) {
            Ok(()) => {
                let what = format!("waiting for Lambda to apply the layers of `{name}`");
                let after = waiting(status, what);
                let function = lambda.wait(name, &after).map_err(|error| {
                    anyhow!("{error}; the layers were attached, and its code was not sent")
                })?;
                refuse_other_layers(&function, &wanted, lambda)?;
                return Ok(true);
            }
            // Read the current layers again, and compute the new ones from them.
            Err(error)
                if matches!(error.problem, Problem::Busy | Problem::Changed)
                    && attempts < MOST_ATTEMPTS => {}
            Err(error) if error.leaves_open() => {
                bail!("{error}; the layers may have been attached: run again, which checks first")
            }
            Err(error) => bail!("{error}; the function is unchanged"),
        }
    }
}

/// Returns the new layers of a function: those of others in their order, then ours. A later layer
/// wins if two have the same path, so ours win.
fn with_ours(attached: &[String], ours: &[String]) -> Vec<String> {
    let is_ours = |arn: &str| ours.iter().any(|own| layer_of(own) == layer_of(arn));
    let others = attached.iter().filter(|arn| !is_ours(arn)).cloned();
    others.chain(ours.iter().cloned()).collect()
}

/// Returns the ARN of a version's layer.
pub(super) fn layer_of(version: &str) -> &str {
    version.rsplit_once(':').map_or(version, |(layer, _)| layer)
}

/// Fails if two targets publish the same layer, which can have only one newest version.
fn refuse_two_of_one(layers: &[String]) -> Result<()> {
    let mut names: Vec<&str> = layers.iter().map(|arn| layer_of(arn)).collect();
    names.sort_unstable();
    if let Some(two) = names.windows(2).find(|two| two[0] == two[1]) {
        bail!("two of the targets in `layers` publish the same layer: `{}`", two[0]);
    }
    Ok(())
}

fn refuse_too_many(function: &Function, wanted: &[String]) -> Result<()> {
    if wanted.len() > MOST_LAYERS {
        bail!(
            "function `{}` would have {} layers, and Lambda's limit is {MOST_LAYERS}: {}; nothing \
             was \
             sent; detach one, or put two into one",
            function.name,
            wanted.len(),
            words::list(wanted)
        );
    }
    Ok(())
}

fn refuse_other_layers(function: &Function, wanted: &[String], lambda: &Lambda) -> Result<()> {
    let name = &function.name;
    let place = lambda.place();
    if let Update::Failed { reason, .. } = &function.update {
        bail!(
            "Lambda accepted the layers for function `{name}` {place} but could not use them: \
             {reason}; its code was not sent"
        );
    }
    if function.layers != wanted {
        bail!(
            "function `{name}` {place} has other layers than were attached: another client \
             deployed after this upload; its code was not sent; run again"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arns(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("arn:aws:lambda:r:1:layer:{name}")).collect()
    }

    #[test]
    fn a_layer_is_attached_once() {
        assert!(refuse_two_of_one(&arns(&["a:1", "ab:1"])).is_ok());
        let error = refuse_two_of_one(&arns(&["a:1", "b:1", "a:2"])).unwrap_err();
        assert!(error.to_string().ends_with("`arn:aws:lambda:r:1:layer:a`"), "{error}");
    }

    #[test]
    fn other_layers_stay_in_front_of_ours() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&[], &["a:1"], &["a:1"]),
            (&["a:1", "x:7"], &["a:2"], &["x:7", "a:2"]),
            (&["x:7", "a:2", "b:1"], &["b:1", "a:2"], &["x:7", "b:1", "a:2"]),
            (&["x:7", "ab:1"], &["a:1"], &["x:7", "ab:1", "a:1"]),
        ];
        for (attached, ours, expected) in cases {
            assert_eq!(with_ours(&arns(attached), &arns(ours)), arns(expected));
        }
    }
}
