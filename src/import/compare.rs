//! Builds a project by its Makefile and by the translation, each in a copy, and compares the zips.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use super::Translation;
use crate::base::words;
use crate::diff::{self, Comparison, Verdict, What};
use crate::process::{self, Invocation};
use crate::project::{Project, STATE_FOLDER};

/// The zips of one output.
#[derive(Clone, Debug)]
pub struct Compared {
    pub output: String,
    pub verdict: Verdict,
    /// What differs, in the words of `zipwright diff`.
    pub lines: Vec<String>,
}

/// Files in a `*.dist-info` that pip writes when it installs a wheel.
const INSTALLED: [&str; 4] = ["INSTALLER", "REQUESTED", "RECORD", "direct_url.json"];

/// Lines of output that are shown of a build that fails.
const SHOWN: usize = 20;

/// Builds every zip of a translation twice. `zipwright` is this program.
pub fn compare(
    project: &Project,
    file: &Path,
    translation: &Translation,
    zipwright: &Path,
) -> Result<Vec<Compared>> {
    let folder = tempfile::Builder::new().prefix("zipwright-import-").tempdir();
    let folder = folder.context("could not make a temporary folder")?;
    let (by_make, by_us) = (folder.path().join("make"), folder.path().join("zipwright"));
    for place in [&by_make, &by_us] {
        copy(&project.root, place, &translation.outputs)?;
    }
    fs::write(by_us.join("Buildfile"), &translation.buildfile)
        .context("could not write the copy")?;
    let make = project.find_program("make").context("there is no `make` on PATH")?;
    let mut compared = Vec::new();
    for (output, goal) in &translation.zips {
        let goal = goal.replace(&*project.root.to_string_lossy(), &by_make.to_string_lossy());
        let mut build =
            Invocation::new(&make, &by_make).arg("-f").arg(file).arg(goal).env("MAKEFLAGS", "");
        if let Some(git) = git_folder(project) {
            build = build.env("GIT_DIR", git);
        }
        run(&build, "make")?;
        let ours =
            Invocation::new(zipwright, &by_us).args(["-f", "Buildfile", "build", output.as_str()]);
        run(&ours.env("MAKEFLAGS", ""), "zipwright")?;
        let mut comparison = diff::compare(&by_make.join(output), &by_us.join(output))?;
        let traces = without_traces(&mut comparison);
        let result = match comparison.verdict {
            Verdict::Identical => "identical",
            Verdict::SameFiles => "the same files with the same content",
            Verdict::Differs => "different files",
        };
        let mut lines = vec![format!("`{output}` of make and of zipwright: {result}")];
        let details = diff::lines(&comparison, "make", "zipwright").into_iter();
        lines.extend(details.filter(|line| line.starts_with("  ")));
        if traces > 0 {
            let files = words::count(traces, "file");
            lines.push(format!(
                "not compared: {files} that pip writes when it installs ({}), or Python when it runs \
                 (`__pycache__`)",
                words::list(&INSTALLED)
            ));
        }
        compared.push(Compared { output: output.clone(), verdict: comparison.verdict, lines });
    }
    Ok(compared)
}

/// Leaves differences of files, not of their container, and not those of an installation. Returns the
/// number of files of an installation that differ.
fn without_traces(comparison: &mut Comparison) -> usize {
    let is_trace = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        path.split('/').any(|part| part == "__pycache__")
            || folder.ends_with(".dist-info") && INSTALLED.contains(&name)
    };
    let mut traces = BTreeSet::new();
    comparison.changes.retain(|change| {
        let is_of_file = matches!(
            change.what,
            What::OnlyIn(_) | What::Kind(..) | What::Content(_) | What::Mode(..)
        );
        if is_of_file && is_trace(change.path.trim_end_matches('/')) {
            traces.insert(change.path.clone());
            return false;
        }
        is_of_file
    });
    if comparison.verdict == Verdict::Differs && comparison.changes.is_empty() {
        comparison.verdict = Verdict::SameFiles;
    }
    traces.iter().filter(|path| !path.ends_with('/')).count()
}

fn run(build: &Invocation, name: &str) -> Result<()> {
    let captured = build.capture().with_context(|| format!("could not run {name}"))?;
    if captured.status.success() {
        return Ok(());
    }
    let output = format!("{}{}", captured.stdout, captured.stderr);
    let lines: Vec<&str> = output.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    bail!(
        "the copy that {name} builds failed: {}\n{}",
        process::describe(captured.status),
        last.join("\n")
    )
}

/// The repository of the project: a copy has none, and Makefiles ask for the last commit.
fn git_folder(project: &Project) -> Option<PathBuf> {
    let git = project.find_program("git")?;
    let words = ["rev-parse", "--absolute-git-dir"];
    let captured = Invocation::new(git, &project.root).args(words).capture().ok()?;
    captured.status.success().then(|| PathBuf::from(captured.stdout.trim_end()))
}

/// Copies a project without the outputs of builds.
fn copy(from: &Path, to: &Path, outputs: &[String]) -> Result<()> {
    // Programs of a virtual environment have its path in them, and would change the original.
    let is_left_out = |path: &Path| {
        [".git", STATE_FOLDER].iter().any(|name| path.starts_with(name))
            || outputs.iter().any(|output| path.starts_with(output))
            || from.join(path).join("pyvenv.cfg").exists()
    };
    let below = |path: &Path| path.strip_prefix(from).unwrap_or(path).to_owned();
    let entries =
        WalkDir::new(from).into_iter().filter_entry(|entry| !is_left_out(&below(entry.path())));
    for entry in entries {
        let entry = entry.context("could not list the project")?;
        let place = to.join(below(entry.path()));
        let failed = || format!("could not copy `{}`", entry.path().display());
        let kind = entry.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&place).with_context(failed)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).with_context(failed)?;
            symlink(target, &place).with_context(failed)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &place).with_context(failed)?;
        }
    }
    Ok(())
}
