//! AWS Lambda and S3: the client with its settings and guards, and the steps of a deploy. The only
//! crate with the SDK. Knows nothing of targets or Buildfiles.

pub mod aws;
pub mod deploy;
