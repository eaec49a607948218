//! `zipwright init`: a first Buildfile for the project in the current folder.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::args::{Common, Init};
use super::{Failure, SUCCESS, note, print, print_json, schema, tell};
use crate::base::{fs as base_fs, words};
use crate::check::{Arch, Python};
use crate::import;
use crate::init::{self, Given, Proposal, Taken};
use crate::project::Project;
use crate::targets::{self, upload};

pub(super) const BUILDFILE: &str = "Buildfile";

/// Lines for `.gitignore`, and other spellings of each.
const IGNORED: [&str; 2] = ["build/", ".zipwright/"];

pub(super) fn run(common: &Common, options: &Init) -> Result<u8, Failure> {
    let project = Project::here()?;
    let root = project.root.clone();
    let file = common.file.clone().unwrap_or_else(|| PathBuf::from(BUILDFILE));
    let place = root.join(&file);
    if !options.print && place.symlink_metadata().is_ok() {
        return Err(exists(&file, "init").into());
    }
    let mut proposal = init::propose(&root, &given(options)?)?;
    proposal.buildfile = with_schema(&file, &proposal.buildfile);
    let loaded = targets::load(&proposal.buildfile, &std::collections::BTreeMap::new());
    assert!(loaded.diagnostics.is_empty(), "BUG: init makes a Buildfile with mistakes");
    if options.print {
        show_reasons(&proposal).into_iter().for_each(tell);
        proposal.notes.iter().for_each(|text| note(text));
        print(proposal.buildfile.trim_end())?;
        return Ok(SUCCESS);
    }
    write_new(&place, &file, &proposal.buildfile, "init")?;
    let (schema, ignored) = write_beside(&project, &file, &mut proposal.notes);
    if let Some(value) = schema {
        proposal.taken.push(Taken { what: "schema", value, from: "for editors".into() });
    }
    if !ignored.is_empty() {
        let value = ignored.join(", ");
        proposal.taken.push(Taken { what: "ignored", value, from: "`.gitignore`".into() });
    }
    proposal.notes.iter().for_each(|text| note(text));
    if common.json {
        print_json(&as_json(&file, &proposal, common))?;
        return Ok(SUCCESS);
    }
    print(format!("wrote `{}`", file.display()))?;
    for line in show_reasons(&proposal) {
        print(line)?;
    }
    for (at, (arguments, effect)) in proposal.next.iter().enumerate() {
        let label = if at == 0 { "next" } else { "then" };
        print(format!("{label}: {}   # {effect}", command(common, arguments)))?;
    }
    Ok(SUCCESS)
}

fn given(options: &Init) -> Result<Given> {
    let Init { handler, function, runtime, arch, .. } = options;
    if let Some(name) = runtime
        && Python::parse(name).is_none()
    {
        let known: Vec<String> = Python::known().map(|python| python.to_string()).collect();
        bail!("unknown runtime `{name}`; Lambda has {}", words::list(&known));
    }
    if let Some(name) = arch
        && Arch::parse(name).is_none()
    {
        bail!("unknown architecture `{name}`; Lambda has arm64 and x86_64");
    }
    if let Some(name) = function
        && !upload::is_function(name)
    {
        bail!("`{name}` is not the name of a function, nor its ARN");
    }
    Ok(Given {
        handler: handler.clone(),
        function: function.clone(),
        runtime: runtime.clone(),
        arch: arch.clone(),
    })
}

pub(super) fn exists(file: &Path, command: &str) -> anyhow::Error {
    anyhow!(
        "there is a `{}` already, and {command} overwrites nothing; `zipwright {command} --print` shows \
         what it would write",
        file.display()
    )
}

/// The error of a command that needs a Buildfile: names the commands that write one.
pub(super) fn missing(root: &Path, file: &Path) -> anyhow::Error {
    let absent = format!("there is no `{}` in `{}`", file.display(), root.display());
    if file != Path::new(BUILDFILE) {
        return anyhow!("{absent}; name the file to read with -f, and its folder with -C");
    }
    let import = match import::NAMES.iter().find(|name| root.join(name).is_file()) {
        Some(name) => format!(", `zipwright import` one from `{name}`"),
        None => String::new(),
    };
    let above = root.ancestors().skip(1).position(|folder| folder.join(file).is_file());
    let above = above.map_or(String::new(), |steps| {
        let folders = vec![".."; steps + 1].join("/");
        format!("\n`zipwright -C {folders}` reads the one of the project around this folder")
    });
    anyhow!(
        "{absent}{above}\n\
         `zipwright init` writes one from the files of a project{import}; -C names another folder, -f \
         another file"
    )
}

/// Writes a file whole, or not at all if there is one of this name by now.
pub(super) fn write_new(place: &Path, file: &Path, text: &str, command: &str) -> Result<()> {
    let failed = || format!("could not write `{}`", file.display());
    let mut temporary = base_fs::temp_beside(place)?;
    temporary.write_all(text.as_bytes()).with_context(failed)?;
    temporary.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(failed)?;
    match temporary.persist_noclobber(place) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(file, command)),
        Err(error) => Err(error.error).with_context(failed),
    }
}

fn has_schema(file: &Path) -> bool {
    file.parent().is_none_or(|folder| folder.as_os_str().is_empty())
}

/// Returns the text of a Buildfile after the line that names its schema, which is beside it.
pub(super) fn with_schema(file: &Path, text: &str) -> String {
    if has_schema(file) { format!("{}\n{text}", schema::line()) } else { text.to_owned() }
}

/// Writes the schema and the lines of `.gitignore` for a Buildfile that was just written. Returns the
/// schema's path and the new lines; `notes` says why something is missing.
pub(super) fn write_beside(
    project: &Project,
    file: &Path,
    notes: &mut Vec<String>,
) -> (Option<String>, Vec<&'static str>) {
    let schema = has_schema(file).then(|| schema::write(project)).transpose();
    let schema = schema.unwrap_or_else(|error| {
        notes.push(format!("the schema for editors is missing: {error:#}"));
        None
    });
    let ignored = ignore(&project.root).unwrap_or_else(|error| {
        notes.push(format!("add {} to `.gitignore`: {error:#}", IGNORED.join(" and ")));
        Vec::new()
    });
    (schema, ignored)
}

/// Adds the folders that builds make to `.gitignore`, if there is one, and returns the new lines.
fn ignore(root: &Path) -> Result<Vec<&'static str>> {
    let place = root.join(".gitignore");
    let Ok(text) = fs::read(&place) else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text).into_owned();
    let has = |line: &str| {
        let plain = |line: &str| line.trim().trim_matches('/').to_owned();
        text.lines().any(|other| plain(other) == plain(line))
    };
    let new: Vec<&str> = IGNORED.into_iter().filter(|line| !has(line)).collect();
    if new.is_empty() {
        return Ok(new);
    }
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let lines = format!("{separator}{}\n", new.join("\n"));
    let mut file =
        OpenOptions::new().append(true).open(&place).context("could not open `.gitignore`")?;
    file.write_all(lines.as_bytes()).context("could not write `.gitignore`")?;
    Ok(new)
}

/// The facts in columns.
fn show_reasons(proposal: &Proposal) -> Vec<String> {
    let width = |text: fn(&Taken) -> &str| {
        proposal.taken.iter().map(|taken| text(taken).chars().count()).max().unwrap_or(0)
    };
    let (what, value) = (width(|taken| taken.what), width(|taken| &taken.value));
    let line = |taken: &Taken| {
        format!("  {:what$}  {:value$}  {}", taken.what, taken.value, taken.from)
            .trim_end()
            .to_owned()
    };
    proposal.taken.iter().map(line).collect()
}

/// A command of zipwright in the folder in which this one was started.
pub(super) fn command(common: &Common, arguments: &str) -> String {
    let mut command = String::from("zipwright");
    for folder in &common.directory {
        command += &format!(" -C {}", folder.display());
    }
    if let Some(file) = &common.file {
        command += &format!(" -f {}", file.display());
    }
    if !arguments.is_empty() {
        command += &format!(" {arguments}");
    }
    command
}

fn as_json(file: &Path, proposal: &Proposal, common: &Common) -> Value {
    let taken: Vec<Value> = proposal
        .taken
        .iter()
        .map(|Taken { what, value, from }| json!({ "what": what, "value": value, "from": from }))
        .collect();
    let next: Vec<String> =
        proposal.next.iter().map(|(arguments, _)| command(common, arguments)).collect();
    json!({ "path": file.display().to_string(), "taken": taken, "notes": proposal.notes, "next": next })
}
