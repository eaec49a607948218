//! The `upload` kind: gives a Lambda function the code of a bundle. Reads the bundle and says in
//! which form its code is sent; the steps are [`crate::deploy`]'s.

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Done, Job, check};
use crate::aws::{self, Code, Lambda};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, RelPath, fs, words};
use crate::buildfile::model::{Kind, Upload};
use crate::bundle;
use crate::deploy::{self, Deployment};
use crate::key::{Key, Value};

/// Reads nothing but the environment: a build that has nothing to upload opens no connection.
pub(super) fn key(upload: &Upload, job: &Job) -> Result<Key> {
    // Checks change nothing about what an upload does, only whether it comes to it.
    let Upload { zip, function, check: _, silence: _ } = upload;
    let mut key = Key::new();
    key.text("function", &function.value);
    key.push("zip", Value::Digest(job.result_of(&zip.value)?));
    for (name, value) in aws::destination(job.project) {
        key.text(name, value);
    }
    Ok(key)
}

pub(super) fn run(upload: &Upload, job: &Job) -> Result<Done> {
    let zip = read_bundle(zip_path(upload, job)?, job)?;
    // Of the bytes that are sent, not of the file as it may be a moment later.
    let code_sha256 = bundle::code_sha256(&Sha256::digest(&zip).into());
    let name = &upload.function.value;

    let lambda = Lambda::connect(job.project)?;
    let deployed = deploy::deploy(
        &lambda,
        &Deployment {
            function: name,
            code_sha256: &code_sha256,
            size: zip.len() as u64,
            check: &|function| check::before_upload(upload, function, &zip, job),
            code: &|| Ok(Code::Direct(&zip)),
            status: &|text| job.messages.status(text),
        },
    )?;
    Ok(Done {
        result: Some(result(upload, &code_sha256, job)),
        outputs: Vec::new(),
        facts: vec![
            ("function".into(), Json::from(name.as_str())),
            ("code_sha256".into(), Json::from(code_sha256)),
            ("sent".into(), Json::from(deployed.sent)),
        ],
    })
}

/// Stands for the code that is live where it was uploaded to.
fn result(upload: &Upload, code_sha256: &str, job: &Job) -> Digest {
    let mut hasher = FieldHasher::new();
    hasher.field(&upload.function.value).field(code_sha256);
    for (name, value) in aws::destination(job.project) {
        hasher.field(name).field(value);
    }
    hasher.finish()
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
