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

pub use client::{Answer, Function, Lambda, Update};
pub use error::{Error, Problem};
pub use settings::destination;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// Size that the body of a request must stay below.
/// <https://github.com/serverless/serverless/issues/10179>
const REQUEST_LIMIT: u64 = 69_905_067;

/// More than the body of an update holds next to the code: names, revision, architecture.
const REQUEST_FRAME: u64 = 1_024;

/// What Lambda calls `CodeSha256`: base64 of SHA-256 of a bundle's bytes.
pub fn code_sha256(zip: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(zip))
}

/// Whether a bundle of `size` bytes fits into a request, where base64 makes four bytes of three.
pub fn fits_a_request(size: u64) -> bool {
    size.div_ceil(3) * 4 + REQUEST_FRAME < REQUEST_LIMIT
}

/// The largest bundle that fits into a request.
pub fn direct_limit() -> u64 {
    (REQUEST_LIMIT - 1 - REQUEST_FRAME) / 4 * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_sha256_is_padded_base64() {
        assert_eq!(code_sha256(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn the_direct_limit_counts_the_growth_by_base64() {
        assert!(fits_a_request(direct_limit()));
        assert!(!fits_a_request(direct_limit() + 1));
        // 50 MiB to the byte does not fit: its base64 alone is over the limit.
        assert!(!fits_a_request(50 << 20));
        assert!(fits_a_request(49 << 20));
    }
}
