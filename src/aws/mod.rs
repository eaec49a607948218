//! AWS Lambda, as far as a build talks to it: a function's state, its code, its layers, an
//! invocation; and S3, where code lies that is too large for a request to Lambda.
//!
//! The only module that knows the AWS SDK and tokio. Outwards it blocks; the runtime is made when
//! a client is, so a build that has nothing to upload starts none. Region, profile, endpoint and
//! credentials are the SDK's own business: the environment, then the config files, as for every
//! AWS tool. Knows nothing of targets, bundles or state.
//!
//! With `ZIPWRIGHT_REQUIRE_LOOPBACK=1` in the environment, no request leaves this machine: one to
//! anything but an `http` address on loopback is an error before a connection is opened, whoever
//! configured it, and whether it is for Lambda or for credentials. The tests always set it.

mod client;
mod download;
mod error;
mod function;
mod http;
mod invoke;
mod layers;
mod retry;
#[cfg(feature = "s3")]
mod s3;
#[cfg(not(feature = "s3"))]
#[path = "s3_left_out.rs"]
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

/// A text that is there and says something.
fn word(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}
