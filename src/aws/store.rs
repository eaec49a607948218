//! Where in S3 a zip lies that is too large for a request to Lambda: under its own digest, so that
//! what lies there need not be sent again. How it gets there is `s3`'s.

use crate::base::sha256;

/// A bucket of the region that Lambda is asked in.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    pub name: &'a str,
    /// What keys begin with: a folder without `/` at its ends, or empty.
    pub prefix: &'a str,
    /// Every zip goes there, and Lambda refers to it instead of copying it.
    pub reference: bool,
}

/// A zip that lies in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    /// Where the bucket keeps versions: the one that was looked at.
    pub version: Option<String>,
}

impl Bucket<'_> {
    /// Where a zip with this SHA-256 lies.
    pub(super) fn key(&self, sha256: &[u8; 32]) -> String {
        let hex = sha256::hex(sha256);
        match self.prefix {
            "" => format!("{hex}.zip"),
            prefix => format!("{prefix}/{hex}.zip"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_digest_in_the_folder() {
        let key = |prefix| Bucket { name: "b", prefix, reference: false }.key(&[0xab; 32]);
        let name = "ab".repeat(32) + ".zip";
        assert_eq!([key(""), key("a/b")], [name.clone(), format!("a/b/{name}")]);
    }
}
