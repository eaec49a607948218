//! Builds a project's zips twice from nothing, the second time in a deliberately different
//! environment, and compares them. For each difference it finds the file and the cause.
//!
//! Each build is a process of its own in a fresh copy of the project. A cause is found by building
//! again with one thing varied. Knows targets only by their names and zips.

mod builds;
mod cause;
mod copy;
mod inputs;
mod vary;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::base::{RelPath, fs, private};
use crate::bundle;
use crate::diff::{self, Change, Comparison};
use crate::project::{Project, STATE_FOLDER};
use crate::record::{self, Origin, Record};

use builds::Builds;
pub use cause::Cause;
pub use inputs::OtherInput;
pub use vary::{Offer, Variation};
pub use wording::lines;

pub struct Request<'a> {
    pub project: &'a Project,
    /// The zipwright to run.
    pub program: PathBuf,
    /// Its arguments before the goals: the Buildfile, variables.
    pub words: Vec<String>,
    /// The zip targets with the paths of their zips.
    pub zips: Vec<(String, RelPath)>,
    /// Outputs of targets, which are not copied.
    pub outputs: Vec<RelPath>,
    pub say: &'a dyn Fn(&str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Identical,
    SameFiles,
    CauseKnown,
    CauseUnknown,
}

impl Verdict {
    /// Returns the word used in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::SameFiles => "same-files",
            Self::CauseKnown => "differs-cause-known",
            Self::CauseUnknown => "differs-cause-unknown",
        }
    }
}

/// The result of a comparison.
pub struct Report {
    pub verdict: Verdict,
    pub offers: Vec<Offer>,
    pub zips: Vec<ZipReport>,
    pub builds: usize,
}

pub struct ZipReport {
    pub target: String,
    /// Of the first build.
    pub code_sha256: String,
    pub comparison: Comparison,
    /// Inputs that differed between the builds without being varied.
    pub inputs: Vec<OtherInput>,
    pub findings: Vec<Finding>,
    /// The paths of both zips, if they differ.
    pub kept: Option<(String, String)>,
}

/// A file that differs.
pub struct Finding {
    pub path: String,
    /// The wheel or source that it comes from.
    pub origin: Option<Origin>,
    pub changes: Vec<Change>,
    pub cause: Cause,
}

/// How builds differ in time, in words.
const LATER: &str = "at least two seconds later";

/// A file of one of the zips.
type ZipFile = (usize, String);

pub fn run(request: &Request) -> Result<Report> {
    let mut builds = Builds::new(request)?;
    (request.say)("build 1: as it is here");
    let plain = builds.run(&[])?;
    let offers = vary::offers(request.project);
    (request.say)("build 2: with everything varied");
    let hostile = builds.run(&varied(&offers))?;
    let offers = builds.corrected(offers);
    let comparisons = compare(request, &plain, &hostile)?;
    let causes = causes(&mut builds, &plain, &comparisons, &varied(&offers))?;
    let mut zips = Vec::new();
    for (at, ((target, path), comparison)) in request.zips.iter().zip(comparisons).enumerate() {
        let zip = builds::zip(&plain, path);
        let other = builds::zip(&hostile, path);
        let kept = match comparison.verdict {
            diff::Verdict::Identical => None,
            _ => Some(keep(request, target, &zip, &other)?),
        };
        let record = Record::of(&zip).ok();
        let inputs = match (&record, Record::of(&other)) {
            (Some(record), Ok(other)) => inputs::others(record, &other),
            _ => Vec::new(),
        };
        let code_sha256 = bundle::code_sha256_of(&zip)?;
        let findings = findings(at, &comparison, &causes, record.as_ref());
        let target = target.clone();
        zips.push(ZipReport { target, code_sha256, comparison, inputs, findings, kept });
    }
    let verdict = zips.iter().map(verdict_of).max().unwrap_or(Verdict::Identical);
    Ok(Report { verdict, offers, zips, builds: builds.count() })
}

fn varied(offers: &[Offer]) -> Vec<Variation> {
    offers.iter().filter(|offer| offer.varied).map(|offer| offer.variation).collect()
}

fn compare(request: &Request, a: &Path, b: &Path) -> Result<Vec<Comparison>> {
    let zips = request.zips.iter();
    zips.map(|(_, path)| diff::compare(&builds::zip(a, path), &builds::zip(b, path))).collect()
}

fn differing(comparisons: &[Comparison]) -> BTreeSet<ZipFile> {
    let mut places = BTreeSet::new();
    for (at, comparison) in comparisons.iter().enumerate() {
        let changes = comparison.changes.iter().filter(|change| !change.is_of_container());
        places.extend(changes.map(|change| (at, change.path.clone())));
    }
    places
}

/// Finds the cause of every differing file: first by a build in which nothing is varied, then by
/// builds in which one thing is varied, suspects first, until all files are explained.
fn causes(
    builds: &mut Builds,
    plain: &Path,
    comparisons: &[Comparison],
    varied: &[Variation],
) -> Result<BTreeMap<ZipFile, Cause>> {
    let mut causes = BTreeMap::new();
    let mut left = differing(comparisons);
    if left.is_empty() {
        return Ok(causes);
    }
    (builds.request.say)("they differ; building again with nothing varied");
    let again = builds.run(&[])?;
    let control = compare(builds.request, plain, &again)?;
    for place in differing(&control) {
        left.remove(&place);
        let changes = changes_of(&control[place.0], &place.1);
        causes.insert(place, cause::by_itself(&changes, builds.window()));
    }
    // Files that are explained already raise no suspicion.
    let open: Vec<Change> =
        left.iter().flat_map(|(at, path)| changes_of(&comparisons[*at], path)).collect();
    for variation in builds.suspects_first(varied, &open) {
        if left.is_empty() {
            break;
        }
        (builds.request.say)(&format!("building again with another {}", variation.name()));
        let single = builds.run(&[variation])?;
        for place in differing(&compare(builds.request, plain, &single)?) {
            if left.remove(&place) {
                causes.insert(place, Cause::Varied(variation));
            }
        }
    }
    Ok(causes)
}

fn changes_of(comparison: &Comparison, path: &str) -> Vec<Change> {
    comparison.changes.iter().filter(|change| change.path == path).cloned().collect()
}

fn findings(
    at: usize,
    comparison: &Comparison,
    causes: &BTreeMap<ZipFile, Cause>,
    record: Option<&Record>,
) -> Vec<Finding> {
    let paths: BTreeSet<String> =
        differing(std::slice::from_ref(comparison)).into_iter().map(|(_, path)| path).collect();
    let origin = |path: &str| {
        let member = record?.body.members.iter().find(|member| member.path == path)?;
        Some(member.origin.clone())
    };
    let is_record = |path: &str| path.ends_with(".dist-info/RECORD");
    paths
        .iter()
        .map(|path| {
            // A wheel's RECORD lists the hashes of its files.
            let follows = is_record(path)
                && paths.iter().any(|other| !is_record(other) && origin(other) == origin(path));
            let cause = causes.get(&(at, path.clone())).copied().unwrap_or(Cause::Unknown);
            Finding {
                path: path.clone(),
                origin: origin(path),
                changes: changes_of(comparison, path),
                cause: if follows { Cause::Follows } else { cause },
            }
        })
        .collect()
}

fn verdict_of(zip: &ZipReport) -> Verdict {
    match zip.comparison.verdict {
        diff::Verdict::Identical => Verdict::Identical,
        diff::Verdict::SameFiles => Verdict::SameFiles,
        diff::Verdict::Differs => {
            let unknown = zip.findings.iter().any(|finding| finding.cause == Cause::Unknown);
            if unknown { Verdict::CauseUnknown } else { Verdict::CauseKnown }
        }
    }
}

/// Keeps both zips for inspection. Returns their paths in the project.
fn keep(request: &Request, target: &str, a: &Path, b: &Path) -> Result<(String, String)> {
    let folder = request.project.state_folder("reproduce")?;
    request.project.claim_state()?;
    let ignored = request.project.state().join(".gitignore");
    fs::write_if_changed(&ignored, b"*\n", private::FILE_MODE)?;
    let keep = |zip: &Path, number: u8| {
        let name = format!("{target}.{number}.zip");
        // A link in its place would be written through.
        fs::remove(&folder.join(&name))?;
        fs::remove(&record::place_of(&folder.join(&name)))?;
        let copied = std::fs::copy(zip, folder.join(&name));
        copied.with_context(|| format!("could not keep `{name}`"))?;
        let _ = std::fs::copy(record::place_of(zip), record::place_of(&folder.join(&name)));
        anyhow::Ok(format!("{STATE_FOLDER}/reproduce/{name}"))
    };
    Ok((keep(a, 1)?, keep(b, 2)?))
}

impl Report {
    /// Returns the object that `--json` prints (docs/JSON.md).
    pub fn to_json(&self) -> Value {
        let offers = self.offers.iter().map(|offer| {
            json!({
                "name": offer.variation.name(),
                "cause": offer.variation.word(),
                "varied": offer.varied,
                "how": offer.how,
            })
        });
        let time =
            json!({ "name": "time", "cause": Cause::Clock.word(), "varied": true, "how": LATER });
        let zips = self.zips.iter().map(|zip| {
            let findings = zip.findings.iter().map(|finding| {
                json!({
                    "path": finding.path,
                    "origin": finding.origin,
                    "cause": finding.cause.word(),
                    "advice": finding.cause.advice(),
                })
            });
            let inputs = zip
                .inputs
                .iter()
                .map(|input| json!({ "project": input.project, "a": input.a, "b": input.b }));
            json!({
                "target": zip.target,
                "verdict": verdict_of(zip).word(),
                "code_sha256": zip.code_sha256,
                "inputs": inputs.collect::<Vec<_>>(),
                "findings": findings.collect::<Vec<_>>(),
                "difference": zip.comparison.to_json(),
                "kept": zip.kept.as_ref().map(|(a, b)| [a, b]),
            })
        });
        json!({
            "verdict": self.verdict.word(),
            "variations": offers.chain([time]).collect::<Vec<_>>(),
            "zips": zips.collect::<Vec<_>>(),
            "builds": self.builds,
        })
    }
}
