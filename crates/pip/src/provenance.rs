//! Provenance of the wheels in this user's cache: a wheel that was built here has an entry with the
//! inputs of its build.

use serde::{Deserialize, Serialize};
use zipwright_store::{Bucket, Cache};

use super::wheels::{Wheel, key};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    Built(BuildInputs),
    Downloaded,
    /// The cache has no wheel with this hash.
    Unknown,
}

/// The inputs of a build from source besides the source and the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInputs {
    /// The wheels that were installed for the build.
    pub requires: Vec<Wheel>,
    /// Compilers and similar tools: name, and the version that each reported.
    pub tools: Vec<(String, String)>,
    /// Path of the source during the build.
    pub path: String,
}

/// Returns the provenance of the wheel with this SHA-256 in lowercase hex.
pub fn provenance(cache: &Cache, sha256: &str) -> Provenance {
    match cache.get(Bucket::Provenance, &key(sha256)) {
        Some(build_inputs) => Provenance::Built(build_inputs),
        None if cache.place(Bucket::Wheels, sha256).is_dir() => Provenance::Downloaded,
        None => Provenance::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_with_an_entry_was_built_and_any_other_in_the_cache_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let wheel = |name: &str| {
            let place = folder.path().join(name);
            std::fs::write(&place, name).unwrap();
            Wheel::put(&cache, &place).unwrap()
        };
        let (built, needed) = (wheel("built.whl"), wheel("needed.whl"));
        let requires = vec![needed.clone()];
        let build_inputs = BuildInputs { requires, ..BuildInputs::default() };
        cache.put(Bucket::Provenance, &built.key(), &build_inputs).unwrap();
        assert_eq!(provenance(&cache, &built.sha256), Provenance::Built(build_inputs));
        assert_eq!(provenance(&cache, &needed.sha256), Provenance::Downloaded);
        assert_eq!(provenance(&cache, "aaaa"), Provenance::Unknown);
    }
}
