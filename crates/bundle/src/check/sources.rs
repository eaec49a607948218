//! The project's own Python files: whether they compile, the modules that the handler reaches from
//! them, and whether they have names of the standard library.

use std::io::{Read, Seek};

use anyhow::Result;

use super::Subject;
use super::archive::{Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::layer::Layer;
use super::missing;
use super::modules;
use super::python::{Fault, Source};
use super::reach::{Reach, Sources};
use super::runtime::Python;
use super::wheels::Wheels;
use super::{handler, stdlib};

/// Runs the rules that need the sources. `view` has the members by path, links included.
pub(super) fn check<R: Read + Seek>(
    view: &[Member],
    contents: &mut Contents<R>,
    layers: &mut [Layer<R>],
    wheels: &Wheels,
    subject: &Subject,
    findings: &mut Findings,
) -> Result<()> {
    let known = subject.python.filter(|python| python.has_facts());
    let mut sources = Sources::new(contents, wheels, known.unwrap_or_else(Python::newest));
    let handler = handler::check(view, &mut sources, layers, subject, findings)?;
    let Some(python) = known else { return Ok(()) };
    shadows(view, wheels, python, findings);
    let roots = modules::search_path(view, sources.contents, layers, python)?;
    let mut reach = Reach::new(&mut sources, &roots, subject);
    if let Some(module) = handler {
        reach.follow(&module)?;
    }
    missing::report(&reach, view, subject, findings);
    let is_own = |member: &&Member| member.is_file() && !wheels.origins.contains_key(&member.name);
    for member in view.iter().filter(is_own).filter(|member| member.name.ends_with(".py")) {
        let source = reach.sources.get(member)?;
        findings_of(&source, member, reach.has_reached(member), python, findings);
    }
    Ok(())
}

/// Returns whether an `import` can name a file. Files of tests do not count: they may import
/// anything.
fn is_importable(path: &str) -> bool {
    let stem = path.strip_suffix(".py").unwrap_or(path);
    let is_name = |part: &str| {
        let starts = part.starts_with(|c: char| c.is_alphabetic() || c == '_');
        starts && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    stem.split('/').all(|part| is_name(part) && !matches!(part, "test" | "tests"))
}

fn findings_of(
    source: &Source,
    member: &Member,
    is_reached: bool,
    python: Python,
    findings: &mut Findings,
) {
    let (finding, line) = match source.faults.first() {
        Some(Fault { line, text }) => {
            let is_error = is_reached || is_importable(&member.name);
            let severity = if is_error { Severity::Error } else { Severity::Warning };
            let finding = Finding::new(
                "syntax",
                severity,
                format!("{python} does not compile it: {text}"),
                "correct it, leave the file out, or use a runtime whose Python has this syntax",
            );
            (finding, *line)
        }
        None if source.unread && is_reached => {
            let finding = Finding::new(
                "syntax",
                Severity::Warning,
                "was not read: it is too long or too deeply nested, or its encoding is not supported",
                "`python -m py_compile FILE` shows whether Python compiles it",
            );
            (finding, 0)
        }
        None => return,
    };
    findings.add(finding.at(&member.name, line));
}

/// Reports modules at the root with the name of a module in the standard library.
fn shadows(view: &[Member], wheels: &Wheels, python: Python, findings: &mut Findings) {
    for member in view {
        let mut parts = member.name.split('/');
        let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let module = match (second, third) {
            (None, _) => first.split('.').next().unwrap_or_default(),
            (Some(file), None) if file.starts_with("__init__.") => first,
            _ => continue,
        };
        let is_found = modules::find(view, module).is_some_and(|it| it.member.name == member.name);
        if !is_found || !stdlib::is_standard(module, python) {
            continue;
        }
        let text = format!(
            "has the name of the module `{module}` of the standard library: it is imported \
             instead, by packages too, or never"
        );
        let hint = match wheels.origins.contains_key(&member.name) {
            true => format!("leave the package out: {python} has its own `{module}`"),
            false => "rename it, or put it into a package".into(),
        };
        let finding = Finding::new("shadow", Severity::Warning, text, hint);
        findings.add(finding.of(&member.name, wheels.origins.get(&member.name)));
    }
}
