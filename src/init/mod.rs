//! A first Buildfile for a project that has none: from its requirement files, its Python sources, and
//! from files of deployment tools that describe its functions.
//!
//! Reads only; knows nothing of targets beyond their text, and runs no program. The rules are in
//! `docs/INIT.md`.

mod bundle;
mod code;
mod described;
mod packaging;
mod sam;
mod serverless;
mod survey;
mod terraform;
mod text;
mod yaml;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use bundle::Resolved;
use described::{Described, Function};
use survey::Survey;

use crate::base::words;
use crate::targets::invoke;

/// Facts from the command line, which win over those of files.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub handler: Option<String>,
    pub function: Option<String>,
    /// Lambda's name of it: `python3.13`.
    pub runtime: Option<String>,
    pub arch: Option<String>,
}

/// A Buildfile, and the reasons for it.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub buildfile: String,
    pub taken: Vec<Taken>,
    /// Remarks on parts of the project that were not taken over.
    pub notes: Vec<String>,
    /// Goals and options of the next commands, in order, each with its effect.
    pub next: Vec<(String, String)>,
}

/// A fact, and the file that it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub what: &'static str,
    pub value: String,
    pub from: String,
}

/// Reads a project and returns a Buildfile for it. Fails if no handler is found, or if a handler of
/// the command line is not there.
pub fn propose(root: &Path, given: &Given) -> Result<Proposal> {
    let survey = Survey::of(root);
    let mut notes = Vec::new();
    if survey.is_cut {
        notes.push("the folder has too many files; only the first were looked at".into());
    }
    if let [first, ..] = survey.passed_over.as_slice() {
        notes.push(format!(
            "{} not looked at, as with `{}`: links to folders and out of the project, and names with \
             quotes, brackets, braces, `*`, `?` or `\\`",
            words::count(survey.passed_over.len(), "path"),
            first.display()
        ));
    }
    let functions = functions(&survey, given, &mut notes)?;
    let bundles = bundle::group(&survey, functions, given, &mut notes)?;
    // Several bundles of one folder give the same notes.
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    Ok(text::proposal(&bundles, notes))
}

/// The functions of the first source that has any: the command line, a deployment tool, the sources.
fn functions(survey: &Survey, given: &Given, notes: &mut Vec<String>) -> Result<Vec<Resolved>> {
    let described = described(survey, notes);
    let found = code::handlers(survey);
    if let Some(handler) = &given.handler {
        return Ok(vec![given_handler(survey, handler, &described, &found)?]);
    }
    let mut functions = Vec::new();
    for function in described {
        let Some(handler) = function.handler.clone() else {
            let Function { name, origin, .. } = function;
            notes.push(format!(
                "{origin}: the function `{name}` was not taken over: its handler is not in the file"
            ));
            continue;
        };
        if !is_handler(&handler) {
            let Function { name, origin, .. } = function;
            notes.push(format!(
                "{origin}: the function `{name}` was not taken over: `{handler}` is not a handler, as \
                 `app.handler` is"
            ));
            continue;
        }
        match locate(survey, &function.folder, &handler) {
            Some((folder, file)) => {
                functions.push(Resolved::described(Function { folder, ..function }, handler, file));
            }
            None => notes.push(format!(
                "{}: the function `{}` was not taken over: `{}` has no module for `{handler}`",
                function.origin,
                function.name,
                if function.folder.is_empty() { "the project" } else { &function.folder },
            )),
        }
    }
    if functions.is_empty() {
        let (fit, unfit): (Vec<&code::Found>, Vec<&code::Found>) =
            found.iter().partition(|found| is_handler(&found.handler));
        functions = fit.into_iter().map(|found| Resolved::found(survey, found)).collect();
        notes.extend(unfit.into_iter().map(|found| {
            format!(
                "`{}`, line {}: `{}` was left out, as it is not a handler; rename the file",
                found.file, found.line, found.handler
            )
        }));
    }
    if functions.is_empty() {
        notes.extend(code::unread(survey));
        let why: String = notes.iter().map(|note| format!("\nnote: {note}")).collect();
        bail!(
            "no handler in `{}`: no Python file has a function `(event, context)`, and no SAM template, \
             `serverless.yml` or Terraform file names one\n\
             name it: `zipwright init --handler lambda_handler.handler`{why}",
            survey.root().display()
        );
    }
    Ok(functions)
}

/// The functions of the first tool that describes any.
fn described(survey: &Survey, notes: &mut Vec<String>) -> Vec<Function> {
    let mut first = Described::default();
    let mut unused = Vec::new();
    for read in [sam::read, serverless::read, terraform::read] {
        let described = read(survey);
        if first.functions.is_empty() {
            first.functions = described.functions;
            first.notes.extend(described.notes);
        } else {
            unused.extend(described.functions.first().map(|function| function.origin.clone()));
        }
    }
    notes.extend(first.notes);
    if let Some(used) = first.functions.first() {
        notes.extend(
            unused.iter().map(|origin| format!("{origin}: not used, as {} counts", used.origin)),
        );
    }
    first.functions
}

/// The folder of a bundle and the file of a handler. Where a project has its packages in `src`, the
/// handler is looked for there too.
fn locate(survey: &Survey, folder: &str, handler: &str) -> Option<(String, String)> {
    [folder.to_owned(), described::join(folder, "src")]
        .into_iter()
        .find_map(|folder| Some((folder.clone(), code::file_of(survey, &folder, handler)?)))
}

/// Returns whether a Buildfile takes a text for a handler, as it is.
fn is_handler(text: &str) -> bool {
    invoke::is_handler(text)
        && !text.contains(['{', '}', '"', '\\'])
        && !text.contains(char::is_control)
}

fn given_handler(
    survey: &Survey,
    handler: &str,
    described: &[Function],
    found: &[code::Found],
) -> Result<Resolved> {
    if !is_handler(handler) {
        bail!("`{handler}` is not a handler; write module and function, as in `app.handler`");
    }
    let same = |function: &&Function| function.handler.as_deref() == Some(handler);
    if let Some(function) = described.iter().find(same)
        && let Some((folder, file)) = locate(survey, &function.folder, handler)
    {
        let function = Function { folder, ..function.clone() };
        return Ok(Resolved::described(function, handler.to_owned(), file));
    }
    if let Some(found) = found.iter().find(|found| found.handler == handler) {
        return Ok(Resolved::found(survey, found));
    }
    if let Some((folder, file)) = locate(survey, "", handler) {
        return Ok(Resolved::given(survey, handler, &folder, &file));
    }
    let module = handler.rsplit_once('.').map_or(handler, |(module, _)| module);
    let known = found.iter().map(|found| found.handler.as_str());
    let hint = words::nearest(handler, known)
        .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    bail!("there is no module `{module}` for the handler `{handler}`{hint}");
}
