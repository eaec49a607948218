//! The function's handler: the file of its module, and its name in that file.

use std::io::{Read, Seek};

use anyhow::Result;

use super::Subject;
use super::archive::{self, Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::layer::{self, Layer};
use super::source::{self, Answer};
use crate::base::words;

pub(super) fn check<R: Read + Seek>(
    members: &[Member],
    contents: &mut Contents<R>,
    layers: &mut [Layer<R>],
    subject: &Subject,
    findings: &mut Findings,
) -> Result<()> {
    let Some(handler) = &subject.handler else { return Ok(()) };
    let Some((module, function)) = handler.rsplit_once('.') else {
        let text = format!("the handler `{handler}` is not of the form `module.function`");
        let hint = "write it as in `lambda_handler.handler`";
        findings.add(Finding::new("handler-module", Severity::Error, text, hint));
        return Ok(());
    };
    // Lambda takes both forms for a module in a package.
    let path = module.replace('.', "/");
    if let Some(module) = find(members, &path) {
        let answer = module.answer(contents, function)?;
        report(answer, handler, module.member(), findings);
        return Ok(());
    }
    // Layers come after the bundle in the search.
    let folders = layer::search_path(subject.python);
    for layer in layers.iter_mut() {
        let found =
            folders.iter().find_map(|folder| find(&layer.members, &format!("{folder}{path}")));
        if let Some(module) = found {
            let answer = module.answer(&mut layer.contents, function)?;
            report(answer, handler, module.member(), findings);
            return Ok(());
        }
    }
    findings.add(missing(handler, module, &path, members, subject, !layers.is_empty()));
    Ok(())
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
        let hint = "that is right when a layer has it";
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

enum Module<'a> {
    Source(&'a Member),
    Compiled(&'a Member),
}

impl Module<'_> {
    fn member(&self) -> &Member {
        match self {
            Self::Source(member) | Self::Compiled(member) => member,
        }
    }

    fn answer<R: Read + Seek>(&self, contents: &mut Contents<R>, function: &str) -> Result<Answer> {
        match self {
            Self::Source(member) => {
                let text = String::from_utf8_lossy(&contents.whole(member)?).into_owned();
                Ok(source::defines(&text, function))
            }
            Self::Compiled(_) => Ok(Answer::Unsure),
        }
    }
}

/// The file that an import would take, in Python's order.
fn find<'a>(members: &'a [Member], path: &str) -> Option<Module<'a>> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let extension = members.iter().find(|member| {
        let rest = member.file_name().strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        member.folder() == folder && rest.is_some_and(|rest| rest.ends_with("so"))
    });
    let file = |name: String| archive::find(members, &name);
    file(format!("{path}/__init__.py"))
        .map(Module::Source)
        .or_else(|| file(format!("{path}/__init__.pyc")).map(Module::Compiled))
        .or_else(|| extension.map(Module::Compiled))
        .or_else(|| file(format!("{path}.py")).map(Module::Source))
        .or_else(|| file(format!("{path}.pyc")).map(Module::Compiled))
}

fn report(answer: Answer, handler: &str, member: &Member, findings: &mut Findings) {
    let function = handler.rsplit('.').next().unwrap_or_default();
    let finding = match answer {
        Answer::Defined => return,
        Answer::NotDefined => Finding::new(
            "handler-function",
            Severity::Error,
            format!("there is no `{function}` at the top level, and the handler is `{handler}`"),
            "define it there, or correct the function's handler",
        ),
        Answer::Unsure => Finding::new(
            "handler-unsure",
            Severity::Warning,
            format!(
                "whether there is a `{function}`, for the handler `{handler}`, shows only when it runs"
            ),
            "a definition that can be read, such as `from package import name`, would be certain",
        ),
    };
    findings.add(finding.of(&member.name, None));
}

/// Where a module of this name is instead, if anywhere.
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
