//! Compares the inputs of two builds. A package index may offer other files a second later; then a
//! difference does not show how a wheel is built.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{Build, Record};

/// An input that differed between two builds: the project of the wheel it belongs to, and both values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtherInput {
    pub project: String,
    pub a: String,
    pub b: String,
}

/// Returns the differing inputs, sorted by project.
pub(super) fn others(a: &Record, b: &Record) -> Vec<OtherInput> {
    let (wheels_a, wheels_b) = (by_project(a), by_project(b));
    let mut found = Vec::new();
    for (project, of_a) in &wheels_a {
        let Some(of_b) = wheels_b.get(project) else { continue };
        let mut add = |a: &str, b: &str| {
            found.push(OtherInput { project: project.clone(), a: a.into(), b: b.into() });
        };
        match (&of_a.build, &of_b.build) {
            (Some(build_a), Some(build_b)) => {
                for (a, b) in differing(&basis(build_a), &basis(build_b)) {
                    add(&a, &b);
                }
            }
            _ if of_a.sha256 != of_b.sha256 => add(of_a.file, of_b.file),
            _ => {}
        }
    }
    found
}

struct Used<'a> {
    file: &'a str,
    sha256: &'a str,
    build: Option<&'a Build>,
}

fn by_project(record: &Record) -> BTreeMap<String, Used<'_>> {
    let builds = &record.body.informative.builds;
    let used = record.body.wheels.iter().map(|wheel| {
        let build = builds.iter().find(|build| build.wheel == wheel.file);
        (wheel.project.clone(), Used { file: &wheel.file, sha256: &wheel.sha256, build })
    });
    used.collect()
}

/// Returns the inputs of a build as text: wheels by their name without the version, and tools.
fn basis(build: &Build) -> BTreeMap<String, String> {
    let project = |file: &str| file.split('-').next().unwrap_or_default().to_owned();
    let wheels = build.requires.iter().map(|wheel| {
        let digest = wheel.sha256.get(..12).unwrap_or_default();
        (project(&wheel.file), format!("{} ({digest})", wheel.file))
    });
    wheels.chain(build.tools.iter().cloned()).collect()
}

fn differing(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let value = |side: &BTreeMap<String, String>, name: &String| {
        side.get(name).cloned().unwrap_or_else(|| format!("no {name}"))
    };
    let both = names.into_iter().map(|name| (value(a, name), value(b, name)));
    both.filter(|(a, b)| a != b).collect()
}
