//! How wheels came to this user's store: what was built here has left a record that names it, and
//! what its build depended on.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::recipe::Basis;
use super::store::{Store, Wheel};

/// Kinds of the records of builds.
const BUILDS: [&str; 2] = ["built", "projects"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obtained {
    Built(Circumstances),
    Downloaded,
    /// The store does not know the wheel.
    Unknown,
}

/// What a build from source depended on besides its source and the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The wheels that its environment was made of.
    pub requires: Vec<Wheel>,
    /// Compilers and their like that were there: name, and what each said of its version.
    pub tools: Vec<(String, String)>,
    /// Where it was built, as the build saw it.
    pub path: String,
}

/// The part of a record of a build that counts here.
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

/// For each SHA-256 in hex, in their order.
pub fn obtained(cache: &Path, hashes: &[&str]) -> Vec<Obtained> {
    let asked: HashSet<&str> = hashes.iter().copied().collect();
    let store = Store::new(cache);
    let traces: Vec<Trace> = BUILDS
        .iter()
        .flat_map(|kind| store.all(kind))
        .filter_map(|record| String::from_utf8(record).ok())
        // Records are many, and few are about one of these.
        .filter(|record| hashes_in(record).any(|hash| asked.contains(hash)))
        .filter_map(|record| serde_json::from_str(&record).ok())
        .flat_map(|traces| match traces {
            Traces::One(trace) => vec![trace],
            Traces::Several(traces) => traces,
        })
        .collect();
    let way = |hash: &&str| match traces.iter().find(|trace| trace.wheel.sha256 == **hash) {
        Some(trace) => Obtained::Built(trace.basis.circumstances()),
        None if cache.join("wheels").join(hash).is_dir() => Obtained::Downloaded,
        None => Obtained::Unknown,
    };
    hashes.iter().map(way).collect()
}

/// Every hash that a record names, of whatever it is.
fn hashes_in(record: &str) -> impl Iterator<Item = &str> {
    // Behind the key come a quote, a colon with what space there is, and the value in quotes.
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
            Obtained::Built(Circumstances { requires: vec![wheel("bbbb")], ..Default::default() })
        };
        let expected = [built(), Obtained::Downloaded, Obtained::Unknown, built()];
        assert_eq!(obtained(cache.path(), &["aaaa", "bbbb", "cccc", "dddd"]), expected);
    }
}
