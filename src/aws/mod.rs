//! AWS Lambda, as far as a build talks to it: a function's state, its code, an invocation.
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
mod error;
mod http;
mod settings;

pub use client::{Answer, Code, Function, Invocation, Lambda, Update, Way};
pub use error::{Error, Problem};
pub use settings::destination;
