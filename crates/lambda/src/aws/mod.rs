//! AWS Lambda, as far as a build needs it: a function's state, its code, its layers, invocations;
//! and S3, for code that is too large for a request to Lambda.
//!
//! The only module that knows the AWS SDK and tokio. Its functions block. The runtime is created
//! with a client, so a build without uploads starts none. The SDK determines region, profile,
//! endpoint and credentials: from the environment, then the config files, as every AWS tool. Knows
//! nothing of targets, bundles or state.
//!
//! With `ZIPWRIGHT_REQUIRE_LOOPBACK=1` in the environment, no request leaves this machine: a
//! request to any address but an `http` one on loopback is an error before a connection is opened,
//! from any configuration, for Lambda and for credentials. The tests always set it.

mod client;
mod download;
mod error;
mod function;
mod http;
mod invoke;
mod layers;
mod retry;
mod s3;
mod settings;
mod store;
mod trust;
mod versions;

pub use client::Lambda;
pub use error::{Error, Problem};
pub use function::{Code, Function, Storage, Update};
pub use invoke::{Answer, Invocation, Way};
pub use layers::{LayerVersion, NewLayer};
pub use settings::destination;
pub use store::{Bucket, Stored};
pub use versions::{Alias, LATEST, LATEST_PUBLISHED, Version};

/// Returns the text if it is present and not empty.
fn word(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}
