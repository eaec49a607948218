//! `zipwright import [MAKEFILE]`: a Buildfile from a Makefile.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::args::{Common, Import};
use super::{DIFFERENT, Failure, SUCCESS, color, init, note, print, print_json, tell};
use crate::base::Printable;
use crate::diagnostic::Diagnostic;
use crate::diff::Verdict;
use crate::graph::Graph;
use crate::import::{self, Row, Translation};
use crate::project::Project;
use crate::targets;

/// Longer commands are cut in the table.
const COMMAND: usize = 60;

pub(super) fn run(common: &Common, options: &Import) -> Result<u8, Failure> {
    let project = Project::here()?;
    let makefile = makefile(&project.root, options)?;
    let file = common.file.clone().unwrap_or_else(|| PathBuf::from(init::BUILDFILE));
    let writes = !options.print && !options.compare;
    if writes && project.root.join(&file).symlink_metadata().is_ok() {
        return Err(init::exists(&file, "import").into());
    }
    let mut translation = import::translate(&project, &makefile, &file)?;
    check(common, &translation.buildfile)?;
    if options.compare {
        return compare(common, &project, &makefile, &translation);
    }
    translation.buildfile = init::with_schema(&file, &translation.buildfile);
    if options.print {
        table(&translation.rows).into_iter().for_each(tell);
        translation.notes.iter().for_each(|text| note(text));
        print(translation.buildfile.trim_end())?;
        return Ok(SUCCESS);
    }
    init::write_new(&project.root.join(&file), &file, &translation.buildfile, "import")?;
    let (_, ignored) = init::write_beside(&project, &file, &mut translation.notes);
    translation.notes.iter().for_each(|text| note(text));
    if !ignored.is_empty() {
        note(&format!("added {} to `.gitignore`", ignored.join(" and ")));
    }
    let next = next(common, &project, &translation);
    if common.json {
        print_json(&json!({
            "path": file.display().to_string(),
            "rows": translation.rows.iter().map(as_json).collect::<Vec<Value>>(),
            "notes": translation.notes,
            "next": next.iter().map(|(command, _)| command).collect::<Vec<_>>(),
        }))?;
        return Ok(SUCCESS);
    }
    print(format!("wrote `{}`", file.display()))?;
    for line in table(&translation.rows) {
        print(line)?;
    }
    for (at, (command, effect)) in next.iter().enumerate() {
        let label = if at == 0 { "next" } else { "then" };
        print(format!("{label}: {command}   # {effect}"))?;
    }
    Ok(SUCCESS)
}

fn makefile(root: &Path, options: &Import) -> anyhow::Result<PathBuf> {
    let given = options.makefile.clone().into_iter();
    let mut files = given.chain(import::NAMES.iter().map(PathBuf::from));
    let is_given = options.makefile.is_some();
    let file = match is_given {
        true => files.next(),
        false => files.find(|file| root.join(file).is_file()),
    };
    match file {
        Some(file) if root.join(&file).is_file() => {
            // make would say that there is no rule to make it.
            File::open(root.join(&file))
                .with_context(|| format!("could not read `{}`", file.display()))?;
            Ok(file)
        }
        Some(file) => Err(anyhow!("there is no file `{}`", file.display())),
        None => Err(anyhow!(
            "there is no Makefile in `{}`; name one, as in `zipwright import lambda.mk`",
            root.display()
        )),
    }
}

/// Fails if the translation has mistakes, as with a path that leaves the project.
fn check(common: &Common, text: &str) -> Result<(), Failure> {
    let loaded = targets::load(text, &BTreeMap::new());
    let (_, problems) = Graph::new(&loaded.model);
    let mistakes: Vec<Diagnostic> = loaded.diagnostics.into_iter().chain(problems).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        mistakes.iter().map(|mistake| mistake.render("translation", text, color(common))).collect();
    let end = "\n\nerror: the translation is not a sound Buildfile, so it was not written; \
               `zipwright help` and docs/IMPORT.md say how to write one";
    Err(Failure::Told(Printable::as_is(format!("{}{end}", shown.join("\n\n")))))
}

fn compare(
    common: &Common,
    project: &Project,
    makefile: &Path,
    translation: &Translation,
) -> Result<u8, Failure> {
    let program = std::env::current_exe().context("could not find the program itself")?;
    let compared = import::compare(project, makefile, translation, &program)?;
    let is_same = compared.iter().all(|zip| zip.verdict != Verdict::Differs);
    for zip in &compared {
        if common.json {
            print_json(
                &json!({ "output": zip.output, "verdict": zip.verdict.word(), "lines": zip.lines }),
            )?;
        } else {
            print(zip.lines.join("\n"))?;
        }
    }
    Ok(if is_same { SUCCESS } else { DIFFERENT })
}

/// The commands that come next. Outputs of make would be in the way of those of zipwright.
fn next(common: &Common, project: &Project, translation: &Translation) -> Vec<(String, String)> {
    let mut next = Vec::new();
    let is_made = translation.zips.iter().any(|(output, _)| project.root.join(output).exists());
    if is_made && translation.has_clean {
        next.push(("make clean".into(), "removes the files of make, which are in the way".into()));
    }
    let outputs: Vec<&str> = translation.zips.iter().map(|(output, _)| output.as_str()).collect();
    next.push((init::command(common, ""), format!("makes {}", outputs.join(", "))));
    next
}

/// The rows in columns.
fn table(rows: &[Row]) -> Vec<String> {
    let cells: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            let place =
                if row.line == 0 { String::new() } else { format!("{}:{}", row.file, row.line) };
            let text =
                if row.text.is_empty() { format!("{}:", row.rule) } else { row.text.clone() };
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let text = match text.chars().count() {
                0..=COMMAND => text,
                _ => text.chars().take(COMMAND - 1).chain(['…']).collect(),
            };
            [place, text, row.became.clone()]
        })
        .collect();
    let width = |at: usize| cells.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
    let (place, text) = (width(0), width(1));
    cells
        .iter()
        .map(|[a, b, c]| format!("  {a:place$}  {b:text$}  {c}").trim_end().to_owned())
        .collect()
}

fn as_json(row: &Row) -> Value {
    let Row { file, line, rule, text, became } = row;
    json!({ "file": file, "line": line, "rule": rule, "text": text, "became": became })
}
