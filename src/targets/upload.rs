//! The `upload` kind: updates a Lambda function to the code of a bundle. Reads the bundle and
//! chooses the form in which its code is sent; the steps are in [`crate::deploy`].

mod preflight;
mod keys;

use std::iter;

use anyhow::Result;
use serde_json::Value as Json;

use super::{artifact, check, layer};
use crate::aws;
use crate::aws::{Function, Lambda, Storage};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, RelPath};
use crate::bundle;
use crate::deploy::{self, Artifact, Deployed, Deployment, Publish};
use crate::diagnostic::Spanned;
use crate::key::{Key, Value};
use crate::process::Stream;
use crate::record::Record;
use crate::target::{Done, Facts, Findings, Fingerprint, Job, Kind, Preflight, Reference};
use crate::targets::layer::S3;
use crate::targets::zip::Zip;

pub(super) use keys::{function, read};
pub use keys::{is_alias, is_function, is_kms_key, is_qualifier};

#[derive(Clone, Debug)]
pub struct Upload {
    /// Name of a zip target.
    pub zip: Spanned<String>,
    /// Names or ARNs; never empty, each once.
    pub functions: Vec<Spanned<String>>,
    /// Names of layer targets whose versions the functions are to have.
    pub layers: Vec<Spanned<String>>,
    pub s3: Option<S3>,
    /// Whether the bundle is checked against the function before it is sent.
    pub check: bool,
    /// Rules of the check that report nothing.
    pub silence: Vec<String>,
    /// What is published of the code.
    pub publish: Option<Publish>,
    /// Leads to the version that is published.
    pub alias: Option<String>,
    /// The ARN of the KMS key that encrypts the zip in Lambda.
    pub kms_key: Option<String>,
    /// `CodeSha256` that the zip must have; of the command line only.
    pub digest: Option<String>,
}

/// The fact that invokes read: the function can be called only with a qualifier.
const DURABLE: &str = "durable";

/// Reads only the environment, so that a build without uploads opens no connection.
fn key(upload: &Upload, job: &Job) -> Result<Key> {
    // Checks do not change the upload, only whether it happens; and a bucket does not change the
    // resulting code, unless Lambda refers to it.
    let Upload { zip, functions, layers, publish, alias, kms_key, digest, s3, .. } = upload;
    if let Some(digest) = digest {
        refuse_another(&job.of_kind::<Zip>("zip", &zip.value)?.output.value, digest, job)?;
    }
    let mut key = Key::new();
    match functions.as_slice() {
        [function] => key.text("function", &function.value),
        several => {
            several.iter().for_each(|name| key.text(format!("function {}", name.value), "yes"));
        }
    }
    key.push("zip", Value::Digest(job.result_of(&zip.value)?));
    for layer in layers {
        key.push(format!("layer {}", layer.value), Value::Digest(job.result_of(&layer.value)?));
    }
    match publish {
        None => {}
        Some(Publish::Version) => key.text("publish", "yes"),
        Some(Publish::Latest) => key.text("publish", "latest-published"),
    }
    if let Some(alias) = alias {
        key.text("alias", alias);
    }
    if let Some(kms_key) = kms_key {
        key.text("kms-key", kms_key);
    }
    if let Some(S3 { bucket, prefix, reference: true }) = s3 {
        key.text("refers to", format!("s3://{bucket}/{prefix}"));
    }
    for (name, value) in destination(job) {
        key.text(name, value);
    }
    Ok(key)
}

fn run(upload: &Upload, job: &Job) -> Result<Done> {
    let zip = job.of_kind::<Zip>("zip", &upload.zip.value)?;
    let artifact = artifact::take_up(zip, upload.s3.as_ref(), job)?;
    let code_sha256 = artifact.code_sha256.as_str();
    let layers = upload.layers.iter().map(|name| layer::version_of(&name.value, job));
    let layers: Vec<String> = layers.collect::<Result<_>>()?;
    if let Some(digest) = &upload.digest {
        bundle::refuse_another(zip.output.value.as_str(), code_sha256, digest)?;
    }
    let say = |text: &str| job.messages.warn(text);
    let lambda = Lambda::connect(job.project, None, &say)?;
    let check = |function: &Function| check::before_upload(upload, function, &artifact.bytes, job);
    let status = |text: &str| job.messages.status(text);
    let code = || artifact.code(&lambda, &status);
    let note = |text: &str| job.messages.line(Stream::Stderr, text.into());
    let record =
        upload.publish.and_then(|_| Record::of(&job.project.place(&zip.output.value)).ok());
    let deployment = |function| Deployment {
        function,
        code_sha256,
        size: artifact.size(),
        layers: &layers,
        publish: upload.publish,
        storage: Storage { kms_key: upload.kms_key.as_deref(), reference: artifact.reference() },
        commit: record.as_ref().and_then(Record::commit),
        alias: upload.alias.as_deref(),
        check: &check,
        code: &code,
        status: &status,
        note: &note,
    };
    let deployments: Vec<Deployment> = names(upload).map(deployment).collect();
    let deployed = deploy::deploy_all(&lambda, &deployments)?;
    Ok(Done {
        result: Some(result(upload, code_sha256, &deployed, job)),
        facts: facts(upload, &artifact, &layers, &deployed),
        ..Done::default()
    })
}

fn names(upload: &Upload) -> impl Iterator<Item = &str> {
    upload.functions.iter().map(|name| name.value.as_str())
}

/// Returns the facts of a single function; of several, each under its name too.
fn facts(upload: &Upload, artifact: &Artifact, layers: &[String], deployed: &[Deployed]) -> Facts {
    let code_sha256 = artifact.code_sha256.as_str();
    let of = |(name, deployed): (&str, &Deployed)| {
        let mut facts = vec![("function".to_owned(), Json::from(name))];
        facts.push(("code_sha256".into(), Json::from(code_sha256)));
        facts.push(("sent".into(), Json::from(deployed.sent)));
        if !layers.is_empty() {
            facts.push(("layers".into(), Json::from(layers)));
            facts.push(("attached".into(), Json::from(deployed.attached)));
        }
        facts.extend(artifact.stored().map(|name| ("s3".into(), Json::from(name))));
        if let Some(version) = &deployed.version {
            facts.push(("version".into(), Json::from(version.as_str())));
        }
        if deployed.durable {
            facts.push((DURABLE.into(), Json::from(true)));
        }
        facts.extend(upload.alias.iter().map(|alias| ("alias".into(), Json::from(alias.as_str()))));
        facts
    };
    let mut all: Vec<Facts> = names(upload).zip(deployed).map(of).collect();
    if all.len() == 1 {
        return all.remove(0);
    }
    let object = |facts: Facts| Json::Object(facts.into_iter().collect());
    vec![
        ("code_sha256".into(), Json::from(code_sha256)),
        ("sent".into(), Json::from(deployed.iter().any(|deployed| deployed.sent))),
        ("functions".into(), all.into_iter().map(object).collect()),
    ]
}

/// Returns the version of a function that an upload published.
pub(super) fn version_of<'a>(facts: &'a Facts, function: &str) -> Option<&'a str> {
    fact(facts, function, "version")?.as_str()
}

/// Returns `true` if an upload found that a function is durable.
pub(super) fn is_durable(facts: &Facts, function: &str) -> bool {
    fact(facts, function, DURABLE).and_then(Json::as_bool).unwrap_or(false)
}

fn fact<'a>(facts: &'a Facts, function: &str, name: &str) -> Option<&'a Json> {
    let find = |name: &str| facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value);
    if let Some(fact) = find(name) {
        return Some(fact);
    }
    let several = find("functions")?.as_array()?;
    several.iter().find(|facts| facts["function"] == function)?.get(name)
}

/// Returns the digest of the deployed code and its destination.
fn result(upload: &Upload, code_sha256: &str, deployed: &[Deployed], job: &Job) -> Digest {
    let mut hasher = FieldHasher::new();
    for (function, deployed) in names(upload).zip(deployed) {
        hasher.field(function);
        hasher.field(deployed.version.as_deref().unwrap_or_default());
    }
    hasher.field(code_sha256);
    for (name, value) in destination(job) {
        hasher.field(name).field(value);
    }
    hasher.finish()
}

/// Fails if the zip on disk does not have the digest in the Buildfile.
fn refuse_another(path: &RelPath, digest: &str, job: &Job) -> Result<()> {
    let found = bundle::code_sha256_of(&job.project.place(path))?;
    bundle::refuse_another(path.as_str(), &found, digest)
}

impl Kind for Upload {
    fn name(&self) -> &'static str {
        "upload"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        let layers = self.layers.iter().map(|name| Reference::to("layer", name));
        iter::once(Reference::to("zip", &self.zip)).chain(layers).collect()
    }

    fn preflight_time(&self) -> Option<Preflight<'_>> {
        Some(Preflight::BeforeNeeds)
    }

    fn preflight(&self, job: &Job) -> Result<()> {
        preflight::preflight(self, job)
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}

/// Returns the settings that decide where an upload goes, as components.
pub(super) fn destination(job: &Job) -> Vec<(&'static str, String)> {
    aws::destination(|name| job.files.var(name))
}
