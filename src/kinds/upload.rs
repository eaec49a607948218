//! The `upload` kind: gives a Lambda function the code of a bundle. Reads the bundle and says in
//! which form its code is sent; the steps are [`crate::deploy`]'s.

mod ahead;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Done, Facts, Job, check};
use crate::aws::{self, Code, Function, Lambda};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, RelPath, fs, words};
use crate::buildfile::model::{Kind, Upload};
use crate::bundle;
use crate::deploy::{self, Deployed, Deployment};
use crate::key::{Key, Value};
use crate::process::Stream;

pub(super) use ahead::look_ahead;

/// Reads nothing but the environment: a build that has nothing to upload opens no connection.
pub(super) fn key(upload: &Upload, job: &Job) -> Result<Key> {
    // Checks change nothing about what an upload does, only whether it comes to it.
    let Upload { zip, functions, check: _, silence: _, publish, alias, digest } = upload;
    if let Some(digest) = digest {
        refuse_another(zip_path(upload, job)?, digest, job)?;
    }
    let mut key = Key::new();
    match functions.as_slice() {
        [function] => key.text("function", &function.value),
        several => {
            several.iter().for_each(|name| key.text(format!("function {}", name.value), "yes"));
        }
    }
    key.push("zip", Value::Digest(job.result_of(&zip.value)?));
    if *publish {
        key.text("publish", "yes");
    }
    if let Some(alias) = alias {
        key.text("alias", alias);
    }
    for (name, value) in aws::destination(job.project) {
        key.text(name, value);
    }
    Ok(key)
}

pub(super) fn run(upload: &Upload, job: &Job) -> Result<Done> {
    let path = zip_path(upload, job)?;
    let zip = read_bundle(path, job)?;
    // Of the bytes that are sent, not of the file as it may be a moment later.
    let code_sha256 = bundle::code_sha256(&Sha256::digest(&zip).into());
    if let Some(digest) = &upload.digest {
        bundle::refuse_another(path.as_str(), &code_sha256, digest)?;
    }
    let say = |text: &str| job.messages.warn(text);
    let lambda = Lambda::connect(job.project, None, &say)?;
    let check = |function: &Function| check::before_upload(upload, function, &zip, job);
    let code = || Ok(Code::Direct(&zip));
    let status = |text: &str| job.messages.status(text);
    let note = |text: &str| job.messages.line(Stream::Stderr, text);
    let deployment = |function| Deployment {
        function,
        code_sha256: &code_sha256,
        size: zip.len() as u64,
        publish: upload.publish,
        alias: upload.alias.as_deref(),
        check: &check,
        code: &code,
        status: &status,
        note: &note,
    };
    let deployments: Vec<Deployment> = names(upload).map(deployment).collect();
    let deployed = deploy::all_of(&deployments, deploy::deploy_all(&lambda, &deployments))?;
    Ok(Done {
        result: Some(result(upload, &code_sha256, &deployed, job)),
        outputs: Vec::new(),
        facts: facts(upload, &code_sha256, &deployed),
    })
}

fn names(upload: &Upload) -> impl Iterator<Item = &str> {
    upload.functions.iter().map(|name| name.value.as_str())
}

/// Of one function as such; of several, each under its name too.
fn facts(upload: &Upload, code_sha256: &str, deployed: &[Deployed]) -> Facts {
    let of = |(name, deployed): (&str, &Deployed)| {
        let mut facts = vec![("function".to_owned(), Json::from(name))];
        facts.push(("code_sha256".into(), Json::from(code_sha256)));
        facts.push(("sent".into(), Json::from(deployed.sent)));
        if let Some(version) = &deployed.version {
            facts.push(("version".into(), Json::from(version.as_str())));
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

/// The version of a function that an upload has published.
pub(super) fn version_of<'a>(facts: &'a Facts, function: &str) -> Option<&'a str> {
    let find = |name: &str| facts.iter().find(|(fact, _)| fact == name).map(|(_, value)| value);
    if let Some(version) = find("version") {
        return version.as_str();
    }
    let several = find("functions")?.as_array()?;
    several.iter().find(|facts| facts["function"] == function)?["version"].as_str()
}

/// Stands for the code that is live where it was uploaded to.
fn result(upload: &Upload, code_sha256: &str, deployed: &[Deployed], job: &Job) -> Digest {
    let mut hasher = FieldHasher::new();
    for (function, deployed) in names(upload).zip(deployed) {
        hasher.field(function);
        hasher.field(deployed.version.as_deref().unwrap_or_default());
    }
    hasher.field(code_sha256);
    for (name, value) in aws::destination(job.project) {
        hasher.field(name).field(value);
    }
    hasher.finish()
}

/// Refuses a zip on disk that is not the one that was named by its digest.
fn refuse_another(path: &RelPath, digest: &str, job: &Job) -> Result<()> {
    let found = bundle::code_sha256_of(&job.project.place(path))?;
    bundle::refuse_another(path.as_str(), &found, digest)
}

fn zip_path<'a>(upload: &Upload, job: &'a Job) -> Result<&'a RelPath> {
    match &job.named(&upload.zip.value)?.kind {
        Kind::Zip(zip) => Ok(&zip.output.value),
        other => bail!("`{}` is a {}, and an upload needs a zip", upload.zip.value, other.name()),
    }
}

/// The bundle's bytes. One that no request can hold is refused before it is read.
fn read_bundle(path: &RelPath, job: &Job) -> Result<Vec<u8>> {
    let place = job.project.place(path);
    let size =
        fs::open(&place)?.metadata().with_context(|| format!("could not read `{path}`"))?.len();
    if !bundle::fits_in_a_request(size) {
        bail!(
            "`{path}` is too large to upload directly: it has {}, and a request to Lambda holds \
             a little less than 50 MiB; larger bundles need S3, which zipwright cannot do yet",
            words::size(size),
        );
    }
    fs::read(&place)
}
