//! Reads a bundle to be sent. Fails before reading if it is too large for Lambda.

use anyhow::{Context, Result, bail};

use crate::aws::Bucket;
use crate::base::{fs, words};
use crate::bundle;
use crate::deploy::Artifact;
use crate::target::Job;
use crate::targets::layer::S3;
use crate::targets::zip::Zip;

pub(super) fn take_up<'a>(zip: &Zip, s3: Option<&'a S3>, job: &Job) -> Result<Artifact<'a>> {
    let path = &zip.output.value;
    let place = job.project.place(path);
    let size =
        fs::open(&place)?.metadata().with_context(|| format!("could not read `{path}`"))?.len();
    if !bundle::fits_in_a_request(size) && s3.is_none() {
        bail!(
            "`{path}` is too large to upload directly: it has {}, and a request to Lambda \
             holds slightly less than 50 MiB; nothing was sent; add `s3 = {{ bucket = \"…\" }}` \
             to {} `{}`, with a bucket of the function's region, or leave something out of \
             the bundle with `exclude`",
            words::size(size),
            job.target.kind.name(),
            job.target.name.value,
        );
    }
    let bucket =
        s3.map(|s3| Bucket { name: &s3.bucket, prefix: &s3.prefix, reference: s3.reference });
    Ok(Artifact::new(fs::read(&place)?, bucket))
}
