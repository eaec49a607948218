//! The `layer` kind: publishes a bundle as the newest version of a layer, unless that version has
//! the same content. The version is among its facts, for the uploads that attach it.

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use super::{Done, Facts, Job, check, sending};
use crate::aws::{Lambda, NewLayer};
use crate::base::digest::FieldHasher;
use crate::base::words;
use crate::buildfile::model::{Kind, Layer, Zip};
use crate::deploy;
use crate::key::{Key, Value};

/// The fact that uploads read.
const ARN: &str = "arn";

/// The folder of a layer in which Python looks for modules.
const MODULES: &str = "python/";

/// Reads only the environment.
pub(super) fn key(layer: &Layer, job: &Job) -> Result<Key> {
    // The checks and the path of the upload do not change the published layer.
    let Layer { zip, name, runtimes: _, archs: _, s3: _, check: _, silence: _ } = layer;
    let mut key = Key::new();
    key.text("name", &name.value);
    key.push("zip", Value::Digest(job.result_of(&zip.value)?));
    key.text("runtimes", runtimes(layer).join(" "));
    key.text("architectures", architectures(layer).join(" "));
    for (name, value) in job.destination() {
        key.text(name, value);
    }
    Ok(key)
}

pub(super) fn run(layer: &Layer, job: &Job) -> Result<Done> {
    let name = &layer.name.value;
    let zip = job.zip(&layer.zip.value)?;
    let sending = sending::take_up(zip, layer.s3.as_ref(), job)?;
    let (runtimes, architectures) = (runtimes(layer), architectures(layer));
    let wanted = NewLayer {
        name,
        code_sha256: &sending.code_sha256,
        runtimes: &runtimes,
        architectures: &architectures,
    };
    job.messages.status(&format!("looking at layer `{name}`"));
    let say = |text: &str| job.messages.warn(text);
    let lambda = Lambda::connect(job.project, None, &say)?;
    let (version, published) = deploy::publish_layer(&lambda, &wanted, &|| {
        warn_of_modules(zip, job)?;
        check::before_publishing(layer, zip, &sending.bytes, job)?;
        let code = sending.code(&lambda, &|text| job.messages.status(text))?;
        let size = words::size(sending.size());
        job.messages.status(&format!("publishing {size} as layer `{name}`"));
        Ok(code)
    })?;
    let mut hasher = FieldHasher::new();
    hasher.field(&version.arn).field(&version.code_sha256);
    let mut facts: Facts = vec![
        ("layer".into(), Json::from(name.as_str())),
        ("code_sha256".into(), Json::from(version.code_sha256)),
        ("version".into(), Json::from(version.version)),
        (ARN.into(), Json::from(version.arn)),
        ("published".into(), Json::from(published)),
    ];
    facts.extend(sending.stored().map(|name| ("s3".into(), Json::from(name))));
    Ok(Done { result: Some(hasher.finish()), facts, ..Done::default() })
}

/// Returns the ARN of the version of an up-to-date layer target.
pub(super) fn version_of(target: &str, job: &Job) -> Result<String> {
    let facts = job.facts.get(target).into_iter().flatten();
    let arn = facts.filter(|(name, _)| name == ARN).find_map(|(_, value)| value.as_str());
    let unknown = || format!("the version of layer `{target}` is unknown: run it with -B");
    arn.map(str::to_owned).with_context(unknown)
}

/// Returns the layer of a layer target.
pub(super) fn named<'a>(name: &str, job: &'a Job) -> Result<&'a Layer> {
    match &job.named(name)?.kind {
        Kind::Layer(layer) => Ok(layer),
        other => bail!("`{name}` is a {}, not a layer", other.name()),
    }
}

/// Returns Lambda's names of the runtimes, sorted.
pub(super) fn runtimes(layer: &Layer) -> Vec<String> {
    let mut names: Vec<String> = layer.runtimes.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    names
}

/// Returns Lambda's names of the architectures, sorted.
pub(super) fn architectures(layer: &Layer) -> Vec<String> {
    let mut names: Vec<String> = layer.archs.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    names
}

/// Warns if a layer has no modules: it may have only libraries or data, but that is usually a
/// mistake.
fn warn_of_modules(zip: &Zip, job: &Job) -> Result<()> {
    let manifest = super::zip::manifest(zip, job)?;
    if !manifest.entries.iter().any(|entry| entry.path.as_str().starts_with(MODULES)) {
        job.messages.warn(&format!(
            "`{}` has nothing below `{MODULES}`, where functions import from a layer: give its \
             zip target `below = \"python\"`",
            zip.output.value
        ));
    }
    Ok(())
}
