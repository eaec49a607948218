//! How wheels came to this user's store: what was built here has left a record that names its
//! SHA-256. Records are searched as text, so that this holds whatever else stands in them.

use std::fs;
use std::path::Path;

/// Folders of the records of builds.
const BUILDS: [&str; 2] = ["built", "projects"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obtained {
    Built,
    Downloaded,
    /// The store does not know the wheel.
    Unknown,
}

/// For each SHA-256 in hex, in their order.
pub fn obtained(cache: &Path, hashes: &[&str]) -> Vec<Obtained> {
    let records: Vec<String> = BUILDS
        .iter()
        .filter_map(|folder| fs::read_dir(cache.join(folder)).ok())
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .collect();
    let way = |hash: &&str| {
        if records.iter().any(|record| record.contains(*hash)) {
            Obtained::Built
        } else if cache.join("wheels").join(hash).is_dir() {
            Obtained::Downloaded
        } else {
            Obtained::Unknown
        }
    };
    hashes.iter().map(way).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_names_was_built() {
        let cache = tempfile::tempdir().unwrap();
        fs::create_dir_all(cache.path().join("built")).unwrap();
        fs::write(cache.path().join("built/x"), "{\"sha256\":\"aaaa\"}").unwrap();
        for wheel in ["aaaa", "bbbb"] {
            fs::create_dir_all(cache.path().join("wheels").join(wheel)).unwrap();
        }
        let expected = [Obtained::Built, Obtained::Downloaded, Obtained::Unknown];
        assert_eq!(obtained(cache.path(), &["aaaa", "bbbb", "cccc"]), expected);
    }
}
