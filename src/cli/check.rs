//! `zipwright check FILE|TARGET`: checks whether a bundle will run in Lambda, without building
//! anything.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::args::{Check, Common};
use super::session::Session;
use super::{FAULTY, Failure, SUCCESS, print, print_json, tell};
use crate::base::{fs, words};
use crate::check::{self, Arch, Finding, Location, Python, RULES, Severity, Subject};
use crate::diagnostic::Spanned;
use crate::project::Project;
use crate::target::Target;
use crate::targets;
use crate::targets::zip::Zip;
use crate::ui::github::Annotation;

pub(super) fn run(common: &Common, asked: &Check, name: &str) -> Result<u8, Failure> {
    let (path, mut layers, mut subject) = subject(common, name)?;
    layers.extend(asked.layer.iter().cloned());
    if let Some(name) = &asked.runtime {
        subject.python = Some(Python::parse(name).with_context(|| unknown_runtime(name))?);
    }
    if let Some(name) = &asked.arch {
        let unknown = || format!("unknown architecture `{name}`; Lambda has arm64 and x86_64");
        subject.arch = Some(Arch::parse(name).with_context(unknown)?);
    }
    for rule in &asked.silence {
        if !check::is_rule(rule) {
            return Err(anyhow!("unknown rule `{rule}`{}", near(rule, RULES)).into());
        }
    }
    subject.handler = asked.handler.clone().or(subject.handler);
    subject.silence.extend(asked.silence.iter().cloned());
    if subject.python.is_none() || subject.arch.is_none() {
        return Err(anyhow!(
            "give the runtime of `{path}`: --runtime python3.13 --arch arm64, for example"
        )
        .into());
    }
    let file = fs::open(Path::new(&path))?;
    let layers = layers.iter().map(|path| fs::open(Path::new(path))).collect::<Result<_>>()?;
    let findings = check::check(file, layers, &subject)
        .with_context(|| format!("could not check `{path}`"))?;
    show(common, &path, &findings)?;
    annotate(common, &findings)?;
    let is_faulty = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if is_faulty { FAULTY } else { SUCCESS })
}

/// Returns the zip, the zips of its layers, and the Buildfile's settings of the function.
fn subject(common: &Common, name: &str) -> Result<(String, Vec<String>, Subject), Failure> {
    if Path::new(name).is_file() {
        return Ok((name.to_owned(), Vec::new(), Subject::default()));
    }
    let (session, id) = Session::open_for(common, name)?;
    let target = &session.model.targets[id.index()];
    let mut subject = Subject::default();
    let mut layers: &[Spanned<String>] = &[];
    let mut zip = Some(target);
    if let Some(check) = target.kind.get::<targets::check::Check>() {
        subject.python = Some(check.runtime);
        subject.arch = Some(check.arch);
        subject.handler = check.handler.clone();
        subject.silence = check.silence.clone();
        layers = &check.layers;
        zip = session.model.target(&check.zip.value);
    }
    let built = |target: Option<&Target>| {
        let Some(zip) = target.and_then(|target| target.kind.get::<Zip>()) else {
            let kind = target.map_or("missing", |target| target.kind.name());
            return Err(anyhow!("`{name}` is a {kind}; only a zip can be checked"));
        };
        let path = &zip.output.value;
        if !session.project.place(path).is_file() {
            return Err(anyhow!("`{path}` does not exist yet; run `zipwright {path}` first"));
        }
        Ok(path.to_string())
    };
    let path = built(zip)?;
    let layers = layers.iter().map(|layer| built(session.model.target(&layer.value)));
    Ok((path, layers.collect::<Result<_>>()?, subject))
}

fn unknown_runtime(name: &str) -> String {
    let known: Vec<String> = Python::known().map(|python| python.to_string()).collect();
    format!("unknown runtime `{name}`{}", near(name, known.iter().map(String::as_str)))
}

fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match words::nearest(name, known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; docs/CHECK.md lists the rules".into(),
    }
}

fn show(common: &Common, path: &str, findings: &[Finding]) -> Result<()> {
    let count = |wanted| findings.iter().filter(|finding| finding.severity == wanted).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if common.json {
        let findings: Vec<Value> = findings.iter().map(as_json).collect();
        let report =
            json!({ "path": path, "errors": errors, "warnings": warnings, "findings": findings });
        return print_json(&report);
    }
    for finding in findings {
        print(finding.to_string())?;
    }
    let (errors, warnings) = (words::count(errors, "error"), words::count(warnings, "warning"));
    print(format!("`{path}`: {errors}, {warnings}"))
}

/// Writes annotations for GitHub, of members that are files of the project at the same path.
fn annotate(common: &Common, findings: &[Finding]) -> Result<()> {
    let project = Project::here()?;
    let Some(runner) = super::github(common, &project) else { return Ok(()) };
    let mut annotations = Vec::new();
    for finding in findings.iter().filter(|finding| finding.origin.is_none()) {
        let is_here = |location: &&Location| project.root.join(&location.member).is_file();
        let locations = finding.locations.iter().filter(is_here);
        annotations.extend(locations.map(|location| Annotation {
            is_error: finding.severity == Severity::Error,
            file: location.member.clone(),
            line: location.line,
            column: None,
            title: finding.rule.into(),
            text: format!("{}\nhint: {}", finding.text, finding.hint),
        }));
    }
    let lines = runner.lines(&annotations);
    if !lines.as_str().is_empty() {
        tell(lines.as_str().trim_end());
    }
    Ok(())
}

fn as_json(finding: &Finding) -> Value {
    let Finding { rule, severity, locations, origin, text, hint } = finding;
    let members: Vec<&String> = locations.iter().map(|location| &location.member).collect();
    let lines: Vec<Option<usize>> = locations.iter().map(|location| location.line).collect();
    json!({
        "rule": rule,
        "severity": severity.name(),
        "members": members,
        "lines": lines,
        "origin": origin,
        "text": text,
        "hint": hint,
    })
}
