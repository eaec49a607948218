//! Bundles: the canonical zip, its `CodeSha256`, Lambda's limits, and the manifest that a bundle is
//! made from. Beside them, the build record, and `check` and `diff` of bundles.
//!
//! Knows nothing of targets, Buildfiles or pip.

mod archive;
pub mod check;
pub mod diff;
pub mod elf;
mod manifest;
mod pack;
pub mod pyc;
pub mod record;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use zipwright_store::Sha256;

pub use archive::{Archive, EntryKind, Listed, inside};
pub use manifest::{Entry, Manifest, Origin, WheelId};
pub use pack::{Packed, Packing, pack};
pub use writer::{BundleWriter, Item, Method, Time, Written};

/// Most bytes that Lambda unzips: 250 MiB.
pub const UNZIPPED_LIMIT: u64 = 262_144_000;

/// Most bytes of a request to Lambda. A bundle that is sent directly travels inside one, in base64.
pub const REQUEST_LIMIT: u64 = 69_905_067;

/// Bytes of a request besides the bundle: JSON and a function's name or ARN.
const REQUEST_FRAME: u64 = 1024;

/// Returns whether a bundle of this size can be sent to Lambda directly, without S3.
pub fn fits_in_a_request(size: u64) -> bool {
    size.div_ceil(3) * 4 + REQUEST_FRAME < REQUEST_LIMIT
}

/// Returns Lambda's `CodeSha256` for a SHA-256.
pub fn code_sha256(sha256: &[u8; 32]) -> String {
    STANDARD.encode(sha256)
}

/// Returns the `CodeSha256` of a file, read as a stream.
pub fn code_sha256_of(place: &Path) -> Result<String> {
    Ok(code_sha256(&Sha256::of_file(place)?))
}

/// Reads a `CodeSha256` in Lambda's form or in that of `sha256sum`. Returns `None` for other text.
pub fn parse_digest(text: &str) -> Option<String> {
    if STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32) {
        return Some(text.to_owned());
    }
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map_while(byte).collect();
    let bytes: [u8; 32] = bytes.try_into().ok().filter(|_| text.len() == 64)?;
    Some(code_sha256(&bytes))
}

/// Fails if a zip does not have the wanted `CodeSha256`.
pub fn refuse_another(zip: &str, found: &str, wanted: &str) -> Result<()> {
    if found != wanted {
        bail!(
            "`{zip}` is not the zip that was asked for: its CodeSha256 is {found}, not {wanted}; \
             nothing was sent"
        );
    }
    Ok(())
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
    fn a_digest_is_read_as_lambda_and_as_sha256sum_write_it() {
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(parse_digest(base64).as_deref(), Some(base64));
        assert_eq!(parse_digest(hex).as_deref(), Some(base64));
        assert_eq!(parse_digest(&hex.to_uppercase()).as_deref(), Some(base64));
        for bad in ["", "abc", &hex[2..], &hex.replace('e', "é"), &base64[1..], "\u{20ac}"] {
            assert_eq!(parse_digest(bad), None, "{bad}");
        }
    }

    #[test]
    fn fifty_mebibytes_just_do_not_fit_in_a_request() {
        assert!(!fits_in_a_request(50 << 20));
        assert!(fits_in_a_request((50 << 20) - 1024));
    }
}
