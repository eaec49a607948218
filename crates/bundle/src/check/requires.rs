//! The declared requirements of the packages in a bundle (`Requires-Dist`, `Requires-Python`),
//! evaluated for the runtime: whether the bundle, its layers or the runtime satisfy them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};

use anyhow::Result;
use zipwright_python::{Environment, Metadata, Requirement, Specifier, normalise};

use super::Subject;
use super::archive::{Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::layer::{self, Layer};
use super::runtime::Python;
use super::stdlib;

/// An installed distribution.
struct Distribution {
    /// Its `METADATA`.
    member: String,
    metadata: Metadata,
}

/// Distributions whose modules the runtime provides under another name.
const OF_RUNTIME: [(&str, &str); 2] =
    [("python-dateutil", "dateutil"), ("snapshot-restore-py", "snapshot_restore_py")];

pub(super) fn check<R: Read + Seek>(
    members: &[Member],
    contents: &mut Contents<R>,
    layers: &mut [Layer<R>],
    origins: &BTreeMap<String, String>,
    subject: &Subject,
    findings: &mut Findings,
) -> Result<()> {
    let (Some(python), Some(arch)) = (subject.python, subject.arch) else { return Ok(()) };
    // A layer that cannot be read may have any distribution.
    if subject.has_layers {
        return Ok(());
    }
    let own = read(members, contents, &[String::new()])?;
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for layer in layers {
        let folders = layer::search_path(Some(python));
        for distribution in read(&layer.members, &mut layer.contents, &folders)? {
            versions.insert(distribution.metadata.name, distribution.metadata.version);
        }
    }
    let of_own = own.iter().map(|it| (it.metadata.name.clone(), it.metadata.version.clone()));
    versions.extend(of_own);
    let environment = Environment::of_runtime((3, python.minor), arch.machine());
    let extras = extras(&own, &environment);
    for Distribution { member, metadata } in &own {
        let mut unmet = Vec::new();
        let none = BTreeSet::new();
        let extras = extras.get(&metadata.name).unwrap_or(&none);
        let extras: Vec<&str> = extras.iter().map(String::as_str).collect();
        for need in &metadata.requires {
            if need.applies(&environment, &extras).unwrap_or(false) {
                unmet.extend(lack(need, &versions, python));
            }
        }
        unmet.extend(wrong_python(metadata, python));
        for lack in unmet {
            let text = format!("`{}` {lack}", metadata.name);
            let hint = "build the bundle for the runtime (`platform` on the wheelhouse, and pip's \
                        resolution as it is); if it is left out on purpose, silence this rule";
            let finding = Finding::new("requires", Severity::Warning, text, hint);
            findings.add(finding.of(member, origins.get(member)));
        }
    }
    Ok(())
}

/// Returns the extras of each distribution that others require.
fn extras(own: &[Distribution], environment: &Environment) -> BTreeMap<String, BTreeSet<String>> {
    let mut extras: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // An extra may require another one; chains are short.
    for _ in 0..4 {
        for Distribution { metadata, .. } in own {
            let mine = extras.get(&metadata.name).cloned().unwrap_or_default();
            let mine: Vec<&str> = mine.iter().map(String::as_str).collect();
            for need in metadata.requires.iter().filter(|need| !need.extras.is_empty()) {
                if need.applies(environment, &mine).unwrap_or(false) {
                    let wanted = extras.entry(normalise(&need.name)).or_default();
                    wanted.extend(need.extras.iter().map(|extra| normalise(extra)));
                }
            }
        }
    }
    extras
}

/// Returns the problem with a requirement; `None` if it is satisfied.
fn lack(need: &Requirement, versions: &BTreeMap<String, String>, python: Python) -> Option<String> {
    let name = normalise(&need.name);
    match versions.get(&name) {
        Some(version) if need.url.is_some() || need.allows(version) => None,
        Some(version) => {
            Some(format!("needs another `{name}` than {version}, which is in the bundle"))
        }
        None if is_of_runtime(&name, python) => None,
        None => Some(format!("needs `{name}` on {python}, which is not in the bundle")),
    }
}

fn is_of_runtime(name: &str, python: Python) -> bool {
    let module =
        OF_RUNTIME.iter().find(|(known, _)| *known == name).map_or(name, |(_, module)| *module);
    stdlib::is_of_runtime(module, python)
}

fn wrong_python(metadata: &Metadata, python: Python) -> Option<String> {
    let text = metadata.requires_python.as_deref()?;
    // The patch release of Lambda's Python is unknown.
    let mut releases = [0, 99].iter().map(|patch| format!("3.{}.{patch}", python.minor));
    let fits = releases.any(|release| Specifier::all_allow(text, &release).unwrap_or(true));
    (!fits).then(|| format!("needs Python {text}, and the runtime is {python}"))
}

/// Returns the distributions whose `.dist-info` is in one of `folders`, each with its `/` or empty.
fn read<R: Read + Seek>(
    members: &[Member],
    contents: &mut Contents<R>,
    folders: &[String],
) -> Result<Vec<Distribution>> {
    let mut found = Vec::new();
    for member in members.iter().filter(|member| member.is_file()) {
        let Some(parent) = member.name.strip_suffix(".dist-info/METADATA") else { continue };
        let is_there = folders.iter().any(|folder| {
            parent.strip_prefix(folder.as_str()).is_some_and(|name| !name.contains('/'))
        });
        if is_there {
            let text = String::from_utf8_lossy(&contents.whole(member)?).into_owned();
            let metadata = Metadata::parse(&text).ok();
            found.extend(
                metadata.map(|metadata| Distribution { member: member.name.clone(), metadata }),
            );
        }
    }
    Ok(found)
}
