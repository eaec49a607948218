//! A report as text for people.

use super::{Cause, Finding, LATER, OtherInput, Report, Verdict, ZipReport};
use crate::base::words;
use crate::diff::{Change, What};
use crate::record::Origin;

/// Number of differing values that are shown for one file.
const VALUES_MAX: usize = 2;

pub fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![match report.verdict {
        Verdict::Identical => {
            "identical: two builds from nothing, the second under other circumstances".to_owned()
        }
        Verdict::SameFiles => "same files in another container".to_owned(),
        Verdict::CauseKnown => "differs, cause known".to_owned(),
        Verdict::CauseUnknown => "differs, cause unknown".to_owned(),
    }];
    for zip in &report.zips {
        lines.extend(of_zip(zip));
    }
    let listed = |varied: bool| {
        let offers = report.offers.iter().filter(move |offer| offer.varied == varied);
        offers.map(|offer| format!("  {}: {}", offer.variation.name(), offer.how))
    };
    lines.push(format!("varied, in {}:", words::count(report.builds, "build")));
    lines.extend(listed(true));
    lines.push(format!("  time: {LATER}"));
    if listed(false).next().is_some() {
        lines.push("not varied:".into());
        lines.extend(listed(false));
    }
    lines
}

fn of_zip(zip: &ZipReport) -> Vec<String> {
    let mut lines = Vec::new();
    if zip.comparison.changes.is_empty() {
        lines.push(format!("{}: CodeSha256 {}", zip.target, zip.code_sha256));
    }
    for OtherInput { project, a, b } in &zip.inputs {
        lines.push(format!(
            "{}: the builds of `{project}` did not have the same inputs, which may be all there is to \
             it: {a} / {b}",
            zip.target
        ));
    }
    for finding in &zip.findings {
        lines.extend(of_finding(&zip.target, finding));
    }
    if zip.findings.is_empty() && !zip.comparison.changes.is_empty() {
        let told = crate::diff::lines(&zip.comparison, "build 1", "build 2");
        lines.extend(told.into_iter().skip(1));
    }
    if let Some((a, b)) = &zip.kept {
        lines.push(format!("{}: diffoscope '{a}' '{b}'", zip.target));
    }
    lines
}

fn of_finding(target: &str, finding: &Finding) -> Vec<String> {
    let Finding { path, origin, changes, cause } = finding;
    let from = match origin {
        Some(Origin::Wheel(file)) => format!(" (from {file})"),
        Some(Origin::Source(source)) if source != path => format!(" (from {source})"),
        _ => String::new(),
    };
    let mut lines = vec![format!("{target}: `{path}`{from}")];
    if *cause != Cause::Follows {
        lines.extend(changes.iter().flat_map(values).map(|line| format!("  {line}")));
    }
    lines.push(format!("  cause: {}", cause.describe()));
    lines.extend(cause.advice().map(|advice| format!("  advice: {advice}")));
    lines
}

/// Returns both values of a difference.
fn values(change: &Change) -> Vec<String> {
    match &change.what {
        What::Content(content) => {
            let (a, b) = &content.values;
            if a.is_empty() && b.is_empty() {
                return content.details.iter().take(2 * VALUES_MAX + 2).cloned().collect();
            }
            let build = |number: u8, values: &[String]| {
                let shown = values.iter().take(VALUES_MAX);
                shown.map(|value| format!("build {number}: {value}")).collect::<Vec<_>>()
            };
            [build(1, a), build(2, b)].concat()
        }
        What::Mode(a, b) => vec![format!("mode {a:o} / {b:o}")],
        What::OnlyIn(side) => {
            let number = if *side == crate::diff::Side::A { 1 } else { 2 };
            vec![format!("only in build {number}")]
        }
        What::Kind(a, b) => vec![format!("{a} / {b}")],
        What::Time(..) | What::Order(..) | What::Compression(..) | What::Metadata { .. } => {
            Vec::new()
        }
    }
}
