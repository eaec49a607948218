//! A bundle on its way to Lambda: in the request if it fits, otherwise through S3.

use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::aws::{Bucket, Code, Lambda, Stored};
use zipwright_bundle as bundle;
use zipwright_store::Sha256;

pub struct Artifact<'a> {
    pub bytes: Vec<u8>,
    /// CodeSha256 of the bytes that are sent, because the file may change meanwhile.
    pub code_sha256: String,
    bucket: Option<Bucket<'a>>,
    /// Locked while it is sent to the bucket, so that it is sent once.
    stored: Mutex<Option<Stored>>,
}

impl<'a> Artifact<'a> {
    /// Creates it. The bucket is used only if the bundle does not fit in a request, or if Lambda is
    /// to refer to it.
    pub fn new(bytes: Vec<u8>, bucket: Option<Bucket<'a>>) -> Self {
        let code_sha256 = bundle::code_sha256(&Sha256::of(&bytes));
        let bucket = bucket
            .filter(|bucket| bucket.reference || !bundle::fits_in_a_request(bytes.len() as u64));
        Self { bytes, code_sha256, bucket, stored: Mutex::new(None) }
    }

    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns the code in a form that Lambda accepts, after storing it in S3 if necessary.
    pub fn code(&self, lambda: &Lambda, status: &(dyn Fn(&str) + Sync)) -> Result<Code<'_>> {
        let Some(bucket) = &self.bucket else { return Ok(Code::Direct(&self.bytes)) };
        let mut stored = self.stored.lock().expect(LOCK);
        let Stored { key, version, .. } = match &*stored {
            Some(stored) => stored.clone(),
            None => stored.insert(lambda.store(bucket, &self.bytes, status)?).clone(),
        };
        let Bucket { name, reference, .. } = *bucket;
        if reference && version.is_none() {
            bail!(
                "bucket `{name}` has no versioning, and Lambda refers only to a version of an \
                 object: enable versioning of the bucket, or leave out `storage`; the code was not \
                 sent to Lambda"
            );
        }
        Ok(Code::S3 { bucket: name.to_owned(), key, version, reference })
    }

    /// Returns the bucket if Lambda is to refer to the zip there.
    pub fn reference(&self) -> Option<Bucket<'a>> {
        self.bucket.filter(|bucket| bucket.reference)
    }

    /// Returns `s3://bucket/key`; `None` if S3 was not used.
    pub fn stored(&self) -> Option<String> {
        let stored = self.stored.lock().expect(LOCK);
        let (bucket, stored) = (self.bucket.as_ref()?, stored.as_ref()?);
        Some(format!("s3://{}/{}", bucket.name, stored.key))
    }
}

const LOCK: &str = "BUG: no holder of this lock panics";
