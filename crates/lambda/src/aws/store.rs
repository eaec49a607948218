//! The place in S3 of a zip that is too large for a request to Lambda: under its own digest, so
//! that an existing object need not be sent again. Module `s3` sends it.

use zipwright_store::sha256;

/// A bucket in the region of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket<'a> {
    pub name: &'a str,
    /// Prefix of keys: a folder without `/` at its ends, or empty.
    pub prefix: &'a str,
    /// Whether every zip is sent there, and Lambda refers to it instead of copying it.
    pub reference: bool,
}

/// A zip in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    /// The version that was found; `None` if the bucket has no versioning.
    pub version: Option<String>,
}

impl Bucket<'_> {
    /// Returns whether an object is one of zipwright's in this bucket, under this prefix.
    pub(super) fn has(&self, bucket: Option<&str>, key: Option<&str>) -> bool {
        let folder = key.and_then(|key| key.rsplit_once('/')).map_or("", |(folder, _)| folder);
        bucket == Some(self.name) && folder == self.prefix
    }

    /// Returns the key of a zip with this SHA-256.
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
