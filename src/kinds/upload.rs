//! The `upload` kind: gives a Lambda function the code of a bundle, and is done only when the
//! function runs it. Knows the order of the steps; the requests are [`crate::aws`]'s.

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Done, Job, check};
use crate::aws::{self, Function, Lambda, Problem, Update};
use crate::base::digest::FieldHasher;
use crate::base::{Digest, RelPath, fs, words};
use crate::buildfile::model::{Kind, Upload};
use crate::bundle;
use crate::key::{Key, Value};

/// How often an update that came between is waited for before this one gives up.
const MOST_ATTEMPTS: usize = 3;

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
    let path = zip_path(upload, job)?;
    let zip = read_bundle(path, job)?;
    // Of the bytes that are sent, not of the file as it may be a moment later.
    let code_sha256 = bundle::code_sha256(&Sha256::digest(&zip).into());
    let name = &upload.function.value;

    job.messages.status(&format!("looking at function `{name}`"));
    let lambda = Lambda::connect(job.project)?;
    let sent = bring_up_to_date(&lambda, upload, &zip, &code_sha256, job)?;
    if !sent {
        job.messages.status(&format!("function `{name}` has this code already: nothing sent"));
    }
    Ok(Done {
        result: Some(result(upload, &code_sha256, job)),
        outputs: Vec::new(),
        facts: vec![
            ("function".into(), Json::from(name.as_str())),
            ("code_sha256".into(), Json::from(code_sha256)),
            ("sent".into(), Json::from(sent)),
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

/// Whether the code had to be sent. Afterwards the function has it, and no update is in progress.
fn bring_up_to_date(
    lambda: &Lambda,
    upload: &Upload,
    zip: &[u8],
    code_sha256: &str,
    job: &Job,
) -> Result<bool> {
    let name = &upload.function.value;
    let wait = |what: &str| {
        let what = what.to_owned();
        move |seconds: u32| job.messages.status(&format!("{what} ({seconds} s)"))
    };
    let before = wait(&format!("waiting for another update of function `{name}`"));
    let mut attempts = 0;
    loop {
        let function = lambda.wait(name, &before).map_err(|error| with_way_out(error, name))?;
        refuse_image(&function, lambda)?;
        // After a failed update the digest says nothing certain about the code that runs.
        if function.code_sha256 == code_sha256 && function.update == Update::Successful {
            return Ok(attempts > 0);
        }
        if attempts == 0 {
            check::before_upload(upload, &function, zip, job)?;
        }
        attempts += 1;
        job.messages
            .status(&format!("uploading {} to function `{name}`", words::size(zip.len() as u64)));
        match lambda.update_code(&function, zip.to_vec()) {
            Ok(received) if received == code_sha256 => break,
            Ok(received) => bail!(
                "Lambda received something else than was sent for function `{name}` {}: its \
                 CodeSha256 is {} instead of {code_sha256}; run again",
                lambda.place(),
                or_none(&received),
            ),
            // Somebody else's update, or our own whose answer was lost: the digest will tell.
            Err(error) if error.problem == Problem::Busy && attempts < MOST_ATTEMPTS => {}
            Err(error) if error.problem == Problem::Changed => {
                let now = lambda.wait(name, &before)?;
                if now.code_sha256 != code_sha256 {
                    bail!(
                        "function `{name}` was changed by somebody else in the middle of this \
                         upload, and nothing was sent; look at what changed, then run again"
                    );
                }
                return Ok(true);
            }
            Err(error) => return Err(with_way_out(error, name)),
        }
    }
    let after = wait(&format!("waiting for Lambda to take over the code of `{name}`"));
    let function = lambda.wait(name, &after)?;
    if let Update::Failed { reason } = &function.update {
        bail!(
            "Lambda took the code for function `{name}` {} but could not use it: {reason}; the \
             code from before is still live",
            lambda.place()
        );
    }
    if function.code_sha256 != code_sha256 {
        bail!(
            "function `{name}` {} has CodeSha256 {} after {code_sha256} was uploaded: another \
             deployment came after this one; run again to upload over it",
            lambda.place(),
            or_none(&function.code_sha256),
        );
    }
    Ok(true)
}

fn or_none(digest: &str) -> &str {
    if digest.is_empty() { "missing" } else { digest }
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

/// Says how to come to a function, where there is none.
fn with_way_out(error: aws::Error, name: &str) -> anyhow::Error {
    if error.problem != Problem::NotFound {
        return error.into();
    }
    anyhow::anyhow!(
        "{error}; zipwright updates functions and does not create them: correct the name, the \
         region or the profile, or create it once with `aws lambda create-function \
         --function-name {name} --runtime … --role … --handler … --zip-file fileb://…`"
    )
}
