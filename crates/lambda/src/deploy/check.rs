//! Checks whether a bundle will run in a function, by Lambda's configuration of that function.

use std::collections::BTreeMap;
use std::io::Cursor;

use anyhow::{Context, Result};

use super::layers::layer_of;
use crate::aws::Function;
use zipwright_bundle::check::{self, Arch, Python, Subject};

/// The content of a layer that the function has or will have.
pub struct Layer {
    /// The ARN of its version.
    pub arn: String,
    pub zip: Vec<u8>,
}

/// Checks the bytes that are about to be sent, with these layers and any other layers of the
/// function. `origins` are as in [`Subject`].
pub fn check(
    function: &Function,
    zip: &[u8],
    layers: &[Layer],
    silence: &[String],
    origins: BTreeMap<String, String>,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let at_hand = |arn: &String| layers.iter().any(|layer| layer_of(&layer.arn) == layer_of(arn));
    let subject = Subject {
        python: function.runtime.as_deref().and_then(Python::parse),
        arch: function.architectures.first().and_then(|name| Arch::parse(name)),
        handler: handler_of(function),
        has_layers: !function.layers.iter().all(at_hand),
        silence: silence.to_vec(),
        origins,
    };
    let layers = layers.iter().map(|layer| Cursor::new(layer.zip.as_slice())).collect();
    let findings =
        check::check(Cursor::new(zip), layers, &subject).context("could not check the bundle")?;
    let bundle = format!("the bundle for function `{}`", function.name);
    check::conclude(&findings, &bundle, warn).map(drop)
}

/// Returns the handler of a Python function: in other runtimes it is not `module.function`.
fn handler_of(function: &Function) -> Option<String> {
    let is_python = function.runtime.as_ref().is_some_and(|name| name.starts_with("python"));
    function.handler.clone().filter(|_| is_python)
}
