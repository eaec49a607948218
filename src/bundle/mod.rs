//! Bundles: the canonical zip that Lambda is given, its `CodeSha256`, the limits it must keep,
//! and the manifest it is made from. Knows nothing of wheels, targets, or where bytes come from.

mod manifest;
mod pack;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::base::fs;

pub use manifest::{Entry, Manifest, Origin, WheelId};
pub use pack::{Packed, Packing, pack};
pub use writer::{BundleWriter, Item, Method, Time, Written};

/// Most bytes that Lambda unzips: 250 MiB.
pub const UNZIPPED_LIMIT: u64 = 262_144_000;

/// Most bytes of a request to Lambda. A bundle that is sent directly travels inside one, in base64.
pub const REQUEST_LIMIT: u64 = 69_905_067;

/// What a request holds besides the bundle: JSON and a function's name or ARN.
const REQUEST_FRAME: u64 = 1024;

/// Whether a bundle of this size can be sent to Lambda directly, without S3 in between.
pub fn fits_in_a_request(size: u64) -> bool {
    size.div_ceil(3) * 4 + REQUEST_FRAME < REQUEST_LIMIT
}

/// What Lambda calls `CodeSha256`, of a SHA-256.
pub fn code_sha256(sha256: &[u8; 32]) -> String {
    STANDARD.encode(sha256)
}

/// `CodeSha256` of a file, read as a stream.
pub fn code_sha256_of(place: &Path) -> Result<String> {
    let mut file = fs::open(place)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(error).with_context(|| format!("could not read `{}`", place.display()));
            }
        }
    }
    Ok(code_sha256(&hasher.finalize().into()))
}

#[cfg(test)]
mod limits {
    use super::*;

    #[test]
    fn code_sha256_is_what_lambda_shows() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("empty");
        std::fs::write(&place, b"").unwrap();
        let expected = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(code_sha256_of(&place).unwrap(), expected);
    }

    #[test]
    fn fifty_mebibytes_just_do_not_fit_in_a_request() {
        assert!(!fits_in_a_request(50 << 20));
        assert!(fits_in_a_request((50 << 20) - 1024));
    }
}
