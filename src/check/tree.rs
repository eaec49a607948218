//! The bundle as a whole: sizes, modes, and names that are one to some file systems.

use std::collections::BTreeMap;

use super::archive::{Contents, Kind, Member};
use super::findings::{Finding, Findings, Severity};
use crate::base::words;
use crate::bundle;

/// How many packages a size is divided into before the rest is left out.
const SHOWN: usize = 5;

pub(super) fn check<R>(
    members: &[Member],
    contents: &Contents<R>,
    origins: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    sizes(members, contents.zipped, origins, findings);
    modes(members, origins, findings);
    letters(members, origins, findings);
    if contents.has_doubles {
        findings.add(Finding::new(
            "double",
            Severity::Error,
            "the zip has a name twice, and which of them Lambda takes is not known",
            "make the zip anew, not on top of the old one",
        ));
    }
}

fn sizes(
    members: &[Member],
    zipped: u64,
    origins: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    let unzipped: u64 = members.iter().fold(0, |sum, member| sum.saturating_add(member.size));
    if unzipped > bundle::UNZIPPED_LIMIT {
        findings.add(Finding::new(
            "unzipped-size",
            Severity::Error,
            format!(
                "the bundle has {} unzipped, and Lambda takes {} with all layers; the largest \
                 parts are {}",
                words::size(unzipped),
                words::size(bundle::UNZIPPED_LIMIT),
                largest(members, origins),
            ),
            "leave something out with `exclude`",
        ));
    }
    if !bundle::fits_in_a_request(zipped) {
        findings.add(Finding::new(
            "zipped-size",
            Severity::Warning,
            format!(
                "the zip has {}, which is more than one request to Lambda holds (a little less \
                 than 50 MiB); unzipped, the largest parts are {}",
                words::size(zipped),
                largest(members, origins),
            ),
            "a larger zip reaches Lambda by way of S3 only",
        ));
    }
}

/// The packages with the most bytes, each with its size.
fn largest(members: &[Member], origins: &BTreeMap<String, String>) -> String {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for member in members {
        let top = member.name.split('/').next().unwrap_or_default();
        let package = origins.get(&member.name).map_or(top, String::as_str);
        *sizes.entry(package).or_default() += member.size;
    }
    let mut sizes: Vec<(&str, u64)> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let shown: Vec<String> = sizes
        .iter()
        .take(SHOWN)
        .map(|(package, size)| format!("{package} ({})", words::size(*size)))
        .collect();
    shown.join(", ")
}

/// Lambda's function is another user than the one the files belong to.
fn modes(members: &[Member], origins: &BTreeMap<String, String>, findings: &mut Findings) {
    for member in members {
        let wanted = match member.kind {
            Kind::File => 0o004,
            Kind::Folder => 0o005,
            // What counts is the mode of what it leads to.
            Kind::Link => continue,
        };
        let Some(mode) = member.mode.filter(|mode| mode & wanted != wanted) else { continue };
        let text = format!("the mode {:03o} keeps Lambda from reading it", mode & 0o777);
        let hint =
            "make files 644 and folders 755 before they are zipped, or let a `zip` target do it";
        let finding = Finding::new("mode", Severity::Error, text, hint);
        findings.add(finding.of(&member.name, origins.get(&member.name)));
    }
}

/// Paths, folders on the way included, that differ in upper and lower case alone.
fn letters(members: &[Member], origins: &BTreeMap<String, String>, findings: &mut Findings) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for member in members {
        let ends = member.name.match_indices('/').map(|(at, _)| at).chain([member.name.len()]);
        for end in ends {
            let path = &member.name[..end];
            let first = *seen.entry(path.to_lowercase()).or_insert(path);
            if first == path {
                continue;
            }
            let text = format!("differs from `{first}` in upper and lower case alone");
            let hint = "Lambda keeps them apart; macOS and Windows do not, so rename one";
            let finding = Finding::new("case", Severity::Warning, text, hint);
            findings.add(finding.of(path, origins.get(path)));
            // What lies below differs for the same reason.
            break;
        }
    }
}
