//! The `layer` kind: publishes a bundle as the newest version of a layer, unless that version has
//! the same content. The version is among its facts, for the uploads that attach it.

mod keys;

use anyhow::{Context, Result};
use serde_json::Value as Json;
use zipwright_python::Arch;

use super::{artifact, check};
use crate::aws::{Lambda, NewLayer};
use crate::base::digest::FieldHasher;
use crate::base::words;
use crate::check::Python;
use crate::deploy;
use crate::diagnostic::Spanned;
use crate::key::{Key, Value};
use crate::target::{Done, Facts, Findings, Fingerprint, Job, Kind, Reference};
use crate::targets::upload;
use crate::targets::zip::Zip;

/// A layer of Lambda's, which has a bundle for its content.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// What Lambda calls the layer.
    pub name: Spanned<String>,
    /// The declared runtimes; empty if not declared.
    pub runtimes: Vec<Python>,
    pub archs: Vec<Arch>,
    pub s3: Option<S3>,
    /// Whether the bundle is checked against the runtimes and architectures before it is sent.
    pub check: bool,
    /// Rules of the check that report nothing.
    pub silence: Vec<String>,
}

/// The bucket for bundles that exceed Lambda's request limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    pub bucket: String,
    /// What the keys of objects begin with: a folder, without `/` at its ends; empty for none.
    pub prefix: String,
    /// Whether every bundle is sent there, and Lambda refers to it instead of copying it.
    pub reference: bool,
}

pub use keys::is_bucket;
/// The fact that uploads read.
pub(super) use keys::{read, s3};

const ARN: &str = "arn";

/// The folder of a layer in which Python looks for modules.
const MODULES: &str = "python/";

/// Reads only the environment.
fn key(layer: &Layer, job: &Job) -> Result<Key> {
    // The checks and the path of the upload do not change the published layer.
    let Layer { zip, name, runtimes: _, archs: _, s3: _, check: _, silence: _ } = layer;
    let mut key = Key::new();
    key.text("name", &name.value);
    key.push("zip", Value::Digest(job.result_of(&zip.value)?));
    key.text("runtimes", runtimes(layer).join(" "));
    key.text("architectures", architectures(layer).join(" "));
    for (name, value) in upload::destination(job) {
        key.text(name, value);
    }
    Ok(key)
}

fn run(layer: &Layer, job: &Job) -> Result<Done> {
    let name = &layer.name.value;
    let zip = job.of_kind::<Zip>("zip", &layer.zip.value)?;
    let artifact = artifact::take_up(zip, layer.s3.as_ref(), job)?;
    let (runtimes, architectures) = (runtimes(layer), architectures(layer));
    let wanted = NewLayer {
        name,
        code_sha256: &artifact.code_sha256,
        runtimes: &runtimes,
        architectures: &architectures,
    };
    job.messages.status(&format!("looking at layer `{name}`"));
    let say = |text: &str| job.messages.warn(text);
    let lambda = Lambda::connect(job.project, None, &say)?;
    let (version, published) = deploy::publish_layer(&lambda, &wanted, &|| {
        warn_of_modules(zip, job)?;
        check::before_publishing(layer, zip, &artifact.bytes, job)?;
        let code = artifact.code(&lambda, &|text| job.messages.status(text))?;
        let size = words::size(artifact.size());
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
    facts.extend(artifact.stored().map(|name| ("s3".into(), Json::from(name))));
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
    job.of_kind("layer", name)
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

impl Kind for Layer {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        vec![Reference::to("zip", &self.zip)]
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}
