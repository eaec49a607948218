//! The function's handler: the file of its module, and its definition in that file.

use std::io::{Read, Seek};

use anyhow::Result;

use super::Subject;
use super::archive::Member;
use super::findings::{Finding, Findings, Severity};
use super::layer::{self, Layer};
use super::modules;
use super::python::{self, Source};
use super::reach::{Sources, misfit};
use zipwright_store::words;

/// Checks the handler, and returns its module if the bundle has the source of it.
pub(super) fn check<R: Read + Seek>(
    view: &[Member],
    sources: &mut Sources<R>,
    layers: &mut [Layer<R>],
    subject: &Subject,
    findings: &mut Findings,
) -> Result<Option<String>> {
    let Some(handler) = &subject.handler else { return Ok(None) };
    let Some((module, function)) = handler.rsplit_once('.') else {
        let text = format!("the handler `{handler}` is not of the form `module.function`");
        let hint = "write it as in `lambda_handler.handler`";
        findings.add(Finding::new("handler-module", Severity::Error, text, hint));
        return Ok(None);
    };
    // Lambda accepts both forms for a module in a package.
    let path = module.replace('.', "/");
    if let Some(file) = modules::find(view, &path) {
        let source = match file.is_source {
            true => Some(sources.get(file.member)?),
            false => None,
        };
        report(source.as_deref(), handler, function, file.member, findings);
        return Ok(file.is_source.then_some(path));
    }
    // Layers come after the bundle in the search path.
    let folders = layer::search_path(subject.python);
    for layer in layers.iter_mut() {
        let find = |folder: &String| modules::find(&layer.members, &format!("{folder}{path}"));
        let Some(file) = folders.iter().find_map(find) else { continue };
        let source = match file.is_source {
            true => {
                let bytes = layer.contents.start(file.member, python::LONGEST + 1)?;
                Some(python::read(&bytes, sources.python, file.is_init)?)
            }
            false => None,
        };
        report(source.as_ref(), handler, function, file.member, findings);
        return Ok(None);
    }
    findings.add(missing(handler, module, &path, view, subject, !layers.is_empty()));
    Ok(None)
}

fn missing(
    handler: &str,
    module: &str,
    path: &str,
    members: &[Member],
    subject: &Subject,
    has_known_layers: bool,
) -> Finding {
    if subject.has_layers {
        let text = format!("the bundle has no module `{module}` of the handler `{handler}`");
        let hint = "that is right if a layer has it";
        return Finding::new("handler-unsure", Severity::Warning, text, hint);
    }
    let nobody_has = match has_known_layers {
        true => "neither the bundle nor its layers have a",
        false => "the bundle has no",
    };
    let text = format!(
        "{nobody_has} module `{module}` of the handler `{handler}`: neither `{path}.py` nor \
         `{path}/__init__.py`"
    );
    Finding::new("handler-module", Severity::Error, text, nearby(members, path))
}

/// Reports a handler that is not found or not callable. `source` is `None` for a compiled module.
fn report(
    source: Option<&Source>,
    handler: &str,
    function: &str,
    member: &Member,
    findings: &mut Findings,
) {
    // Rule `syntax` reports a file that Python does not compile.
    if source.is_some_and(|source| !source.faults.is_empty()) {
        return;
    }
    let definition = source.and_then(|source| source.names.get(function));
    let is_open = source.is_none_or(|source| source.unread || source.names.is_open);
    let line = definition.map_or(0, |(_, line)| *line);
    let finding = match definition {
        Some((defined, _)) => match misfit(defined) {
            Some(misfit) => Finding::new(
                "handler-call",
                Severity::Error,
                format!("the handler `{handler}` {misfit}"),
                "define it as in `def handler(event, context):`",
            ),
            None => return,
        },
        None if is_open => Finding::new(
            "handler-unsure",
            Severity::Warning,
            format!(
                "whether `{function}` of the handler `{handler}` exists shows only when it runs"
            ),
            "a definition that can be read, such as `from package import name`, would be certain",
        ),
        None => Finding::new(
            "handler-function",
            Severity::Error,
            format!("`{function}` of the handler `{handler}` is not defined at the top level"),
            "define it there, or correct the function's handler",
        ),
    };
    findings.add(finding.at(&member.name, line));
}

/// Returns where a module of this name is instead, if anywhere.
fn nearby(members: &[Member], path: &str) -> String {
    let modules: Vec<&str> =
        members.iter().filter_map(|member| member.name.strip_suffix(".py")).collect();
    let name = path.rsplit('/').next().unwrap_or_default();
    let elsewhere = modules.iter().find(|module| module.rsplit('/').next() == Some(name));
    let near = elsewhere.copied().or_else(|| words::nearest(path, modules.iter().copied()));
    match near {
        Some(near) => format!("there is `{near}.py`"),
        None => "put it into the bundle with `sources`, or correct the function's handler".into(),
    }
}
