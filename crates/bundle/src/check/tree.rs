//! Rules for the bundle as a whole: sizes, modes, and names that are the same on some file systems.

use std::collections::BTreeMap;

use super::archive::{Contents, Fault, FaultKind, Kind, Member};
use super::findings::{Finding, Findings, Severity};
use super::layer::{Layer, below_modules};
use zipwright_store::words;

/// Number of packages that are listed with their size.
const SHOWN: usize = 5;

pub(super) fn check<R>(
    members: &[Member],
    contents: &Contents<R>,
    origins: &BTreeMap<String, String>,
    layers: &[Layer<R>],
    findings: &mut Findings,
) {
    unzipped(members, origins, layers, findings);
    zipped(members, contents.zipped, origins, findings);
    modes(members, origins, findings);
    letters(members, origins, findings);
    if contents.has_doubles {
        findings.add(double());
    }
}

fn double() -> Finding {
    Finding::new(
        "double",
        Severity::Error,
        "the zip has two members of this name, and either may be used in Lambda",
        "make a new zip, not on top of the old one",
    )
}

/// Reports names that are not unpacked as intended, and broken links.
pub(super) fn names(faults: &[Fault], findings: &mut Findings) {
    for fault in faults {
        let error = |text: &str, hint: &str| Finding::new("name", Severity::Error, text, hint);
        let finding = match &fault.kind {
            FaultKind::Backslash => error(
                "a backslash in the name: Lambda unpacks it as one file of that name, not into a \
                 folder",
                "make the zip with `/` between folders, as the format has it",
            ),
            FaultKind::Outside => error(
                "the name leads out of the bundle: it is absolute or has `..`",
                "make the zip from within the folder, so that all names are relative to it",
            ),
            FaultKind::Double => double(),
            FaultKind::FileAndFolder => error(
                "the name is that of a file and of a folder, and only one of them can be unpacked",
                "rename one of the two, and make a new zip",
            ),
            FaultKind::Dangling(target) => Finding::new(
                "link",
                Severity::Warning,
                format!("a link to `{target}`, which the bundle does not have"),
                "put the file itself into the bundle, or leave the link out",
            ),
        };
        findings.add(finding.of(&fault.member, None));
    }
}

/// Checks the size that Lambda unzips for the function: the bundle and its layers together.
fn unzipped<R>(
    members: &[Member],
    origins: &BTreeMap<String, String>,
    layers: &[Layer<R>],
    findings: &mut Findings,
) {
    let size = |members: &[Member]| {
        members.iter().fold(0_u64, |sum, member| sum.saturating_add(member.size))
    };
    let own = size(members);
    let of_layers =
        layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(size(&layer.members)));
    if own.saturating_add(of_layers) <= crate::UNZIPPED_LIMIT {
        return;
    }
    let mut sizes = Sizes::default();
    sizes.add(members, origins);
    for layer in layers {
        sizes.add(&layer.members, &layer.origins);
    }
    let with_layers = match layers {
        [] => String::new(),
        layers => {
            format!(", its {} {}", words::count(layers.len(), "layer"), words::size(of_layers))
        }
    };
    findings.add(Finding::new(
        "unzipped-size",
        Severity::Error,
        format!(
            "the bundle has {} unzipped{with_layers}, and Lambda takes {} with all layers; the \
             largest parts are {}",
            words::size(own),
            words::size(crate::UNZIPPED_LIMIT),
            sizes.largest(),
        ),
        "leave something out with `exclude`",
    ));
}

fn zipped(
    members: &[Member],
    zipped: u64,
    origins: &BTreeMap<String, String>,
    findings: &mut Findings,
) {
    if !crate::fits_in_a_request(zipped) {
        let mut sizes = Sizes::default();
        sizes.add(members, origins);
        findings.add(Finding::new(
            "zipped-size",
            Severity::Warning,
            format!(
                "the zip has {}, which is more than one request to Lambda holds (slightly less \
                 than 50 MiB); unzipped, the largest parts are {}",
                words::size(zipped),
                sizes.largest(),
            ),
            "a larger zip must be uploaded through S3",
        ));
    }
}

/// The size of each package in bytes.
#[derive(Default)]
struct Sizes<'a>(BTreeMap<&'a str, u64>);

impl<'a> Sizes<'a> {
    fn add(&mut self, members: &'a [Member], origins: &'a BTreeMap<String, String>) {
        for member in members {
            let top = below_modules(&member.name).split('/').next().unwrap_or_default();
            let package = origins.get(&member.name).map_or(top, String::as_str);
            *self.0.entry(package).or_default() += member.size;
        }
    }

    /// Returns the packages with the most bytes, each with its size.
    fn largest(self) -> String {
        let mut sizes: Vec<(&str, u64)> = self.0.into_iter().collect();
        sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let shown: Vec<String> = sizes
            .iter()
            .take(SHOWN)
            .map(|(package, size)| format!("{package} ({})", words::size(*size)))
            .collect();
        shown.join(", ")
    }
}

/// Reports modes that deny access: Lambda runs the function as another user than the owner of the
/// files.
fn modes(members: &[Member], origins: &BTreeMap<String, String>, findings: &mut Findings) {
    for member in members {
        let wanted = match member.kind {
            Kind::File => 0o004,
            Kind::Folder => 0o005,
            // The mode of the link's target counts.
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

/// Reports paths, with their folders, that differ only in upper and lower case.
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
            // Paths below it differ for the same reason.
            break;
        }
    }
}
