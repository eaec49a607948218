//! `zipwright lint [FILE]...`: every mistake of Buildfiles, without building anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::json;

use super::args::{Common, Lint};
use super::{FAILURE, Failure, SUCCESS, color, print_json, session, tell};
use crate::base::{Printable, words};
use crate::diagnostic::Diagnostic;
use crate::graph::Graph;
use crate::project::Project;
use crate::targets;

pub(super) fn run(common: &Common, lint: &Lint) -> Result<u8, Failure> {
    let project = Project::here()?;
    let usual = || vec![common.file.clone().unwrap_or_else(|| PathBuf::from("Buildfile"))];
    let files = if lint.files.is_empty() { usual() } else { lint.files.clone() };
    let mut count = 0;
    for file in &files {
        if !lint.files.is_empty() && !project.root.join(file).exists() {
            return Err(anyhow!("there is no file `{}`", file.display()).into());
        }
        let text = session::read_buildfile(&project, file)?;
        let diagnostics = diagnostics(&text);
        count += diagnostics.len();
        for diagnostic in &diagnostics {
            show(common, diagnostic, file, &text)?;
        }
        if let Some(runner) = super::github(common, &project).filter(|_| !diagnostics.is_empty()) {
            let lines = runner.mistakes(&file.display().to_string(), &text, &diagnostics);
            tell(lines.as_str().trim_end());
        }
    }
    if count == 0 {
        return Ok(SUCCESS);
    }
    if !common.json {
        let shown: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        tell(format!("error: {} in {}", words::count(count, "mistake"), words::list(&shown)));
    }
    Ok(FAILURE)
}

/// The mistakes of a Buildfile and of the graph of its targets, in the order of the file.
fn diagnostics(text: &str) -> Vec<Diagnostic> {
    let loaded = targets::load(text, &BTreeMap::new());
    let (_, problems) = Graph::new(&loaded.model);
    let mut diagnostics = loaded.diagnostics;
    diagnostics.extend(problems);
    diagnostics.sort_by_key(Diagnostic::position);
    diagnostics
}

fn show(common: &Common, diagnostic: &Diagnostic, file: &Path, text: &str) -> Result<(), Failure> {
    let file = file.display().to_string();
    if !common.json {
        let shown = diagnostic.render(&file, text, color(common));
        tell(Printable::as_is(format!("{shown}\n")));
        return Ok(());
    }
    let place = diagnostic.line_and_column(text);
    print_json(&json!({
        "file": file,
        "line": place.map(|(line, _)| line),
        "column": place.map(|(_, column)| column),
        "message": diagnostic.message(),
        "hints": diagnostic.hints(),
    }))?;
    Ok(())
}
