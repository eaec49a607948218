//! A bundle on its way to Lambda: read once, in a request when one can hold it, else by way of S3.

use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use super::Job;
use crate::aws::{Bucket, Code, Lambda, Stored};
use crate::base::{fs, words};
use crate::buildfile::model::{S3, Zip};
use crate::bundle;

pub(super) struct Sending<'a> {
    pub(super) bytes: Vec<u8>,
    /// Of the bytes that are sent, not of the file as it may be a moment later.
    pub(super) code_sha256: String,
    s3: Option<&'a S3>,
    /// Held while it is on its way to the bucket, so that it goes there once.
    stored: Mutex<Option<Stored>>,
}

impl<'a> Sending<'a> {
    /// Reads the bundle. One that has no way to Lambda is refused before that.
    pub(super) fn read(zip: &Zip, s3: Option<&'a S3>, job: &Job) -> Result<Self> {
        let path = &zip.output.value;
        let place = job.project.place(path);
        let size =
            fs::open(&place)?.metadata().with_context(|| format!("could not read `{path}`"))?.len();
        if !bundle::fits_in_a_request(size) && s3.is_none() {
            bail!(
                "`{path}` is too large to upload directly: it has {}, and a request to Lambda \
                 holds a little less than 50 MiB; nothing was sent; add `s3 = {{ bucket = \"…\" }}` \
                 to {} `{}`, with a bucket of the function's region, or leave something out of \
                 the bundle with `exclude`",
                words::size(size),
                job.target.kind.name(),
                job.target.name.value,
            );
        }
        let bytes = fs::read(&place)?;
        let code_sha256 = bundle::code_sha256(&Sha256::digest(&bytes).into());
        Ok(Self { bytes, code_sha256, s3, stored: Mutex::new(None) })
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The code in the form in which Lambda takes it; what must go through S3 is there then.
    pub(super) fn code(&self, lambda: &Lambda, job: &Job) -> Result<Code<'_>> {
        let Some(s3) = self.s3.filter(|_| !bundle::fits_in_a_request(self.size())) else {
            return Ok(Code::Direct(&self.bytes));
        };
        let mut stored = self.stored.lock().expect("BUG: no holder of this lock panics");
        let Stored { key, version, .. } = match &*stored {
            Some(stored) => stored.clone(),
            None => {
                let bucket = Bucket { name: &s3.bucket, prefix: &s3.prefix };
                let status = |text: &str| job.messages.status(text);
                stored.insert(lambda.store(&bucket, &self.bytes, &status)?).clone()
            }
        };
        Ok(Code::S3 { bucket: s3.bucket.clone(), key, version })
    }

    /// `s3://bucket/key`; `None` when it went no such way.
    pub(super) fn stored(&self) -> Option<String> {
        let stored = self.stored.lock().expect("BUG: no holder of this lock panics");
        let (s3, stored) = (self.s3?, stored.as_ref()?);
        Some(format!("s3://{}/{}", s3.bucket, stored.key))
    }
}
