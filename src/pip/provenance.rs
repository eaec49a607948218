//! Provenance of the wheels in this user's cache: the build of a wheel leaves a record that names
//! the wheel and the inputs of the build.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::sdist::Basis;
use super::store::{Store, Wheel};

/// Buckets with the records of builds.
const BUILDS: [&str; 2] = ["built", "projects"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    Built(BuildInputs),
    Downloaded,
    /// The cache has no wheel with this hash.
    Unknown,
}

/// The inputs of a build from source besides the source and the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInputs {
    /// The wheels of its build environment.
    pub requires: Vec<Wheel>,
    /// Compilers and similar tools: name, and the version that each reported.
    pub tools: Vec<(String, String)>,
    /// Path of the source during the build.
    pub path: String,
}

/// The part of a build's record that is read here.
#[derive(Deserialize)]
struct Trace {
    wheel: Wheel,
    basis: Basis,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Traces {
    One(Trace),
    Several(Vec<Trace>),
}

/// Returns the provenance for each SHA-256 in hex, in order.
pub fn provenance(cache: &Path, hashes: &[&str]) -> Vec<Provenance> {
    let asked: HashSet<&str> = hashes.iter().copied().collect();
    let store = Store::new(cache);
    let traces: Vec<Trace> = BUILDS
        .iter()
        .flat_map(|kind| store.all(kind))
        .filter_map(|record| String::from_utf8(record).ok())
        // Most records are about none of these wheels: skip them before parsing.
        .filter(|record| hashes_in(record).any(|hash| asked.contains(hash)))
        .filter_map(|record| serde_json::from_str(&record).ok())
        .flat_map(|traces| match traces {
            Traces::One(trace) => vec![trace],
            Traces::Several(traces) => traces,
        })
        .collect();
    let way = |hash: &&str| match traces.iter().find(|trace| trace.wheel.sha256 == **hash) {
        Some(trace) => Provenance::Built(trace.basis.build_inputs()),
        None if cache.join("wheels").join(hash).is_dir() => Provenance::Downloaded,
        None => Provenance::Unknown,
    };
    hashes.iter().map(way).collect()
}

/// Returns every hash in the text of a record.
fn hashes_in(record: &str) -> impl Iterator<Item = &str> {
    // After the key come a quote, a colon with optional space, and the value in quotes.
    record.split("\"sha256").skip(1).filter_map(|rest| rest.split('"').nth(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;

    #[test]
    fn what_a_record_is_about_was_built_and_what_it_needed_was_not() {
        let cache = tempfile::tempdir().unwrap();
        let wheel = |sha256: &str| Wheel { name: format!("{sha256}.whl"), sha256: sha256.into() };
        let record = |built: &str| {
            let mut basis = serde_json::to_value(Basis::default()).unwrap();
            basis["lock"] = serde_json::json!([wheel("bbbb")]);
            serde_json::json!({ "wheel": wheel(built), "basis": basis, "more": 1 })
        };
        let store = Store::new(cache.path());
        for (kind, record) in [
            ("built", record("aaaa")),
            ("projects", serde_json::json!([record("eeee"), record("dddd")])),
            ("projects", serde_json::json!("bbbb: no record")),
        ] {
            let key = Digest::of(record.to_string().as_bytes());
            store.remember(kind, &key, &record).unwrap();
        }
        for wheel in ["aaaa", "bbbb"] {
            std::fs::create_dir_all(cache.path().join("wheels").join(wheel)).unwrap();
        }
        let built = || {
            Provenance::Built(BuildInputs { requires: vec![wheel("bbbb")], ..Default::default() })
        };
        let expected = [built(), Provenance::Downloaded, Provenance::Unknown, built()];
        assert_eq!(provenance(cache.path(), &["aaaa", "bbbb", "cccc", "dddd"]), expected);
    }
}
