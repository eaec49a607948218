//! The errors of a zipwright built without S3.

use super::client::Lambda;
use super::error::{Error, Problem};
use super::store::{Bucket, Stored};
use zipwright_store::Sha256;

impl Lambda<'_> {
    pub fn store(
        &self,
        bucket: &Bucket,
        zip: &[u8],
        _status: &(dyn Fn(&str) + Sync),
    ) -> Result<Stored, Error> {
        let text = format!(
            "this zipwright was built without S3, and the bundle would have to go to s3://{}/{}: \
             install one with its default features",
            bucket.name,
            bucket.key(&Sha256::of(zip))
        );
        Err(Error::new(Problem::Other, text))
    }
}
