//! GitHub Actions: annotations of errors and findings, the summary of a job, and the outputs of a step.
//!
//! Wraps another report and collects facts of its events; all is written at the end of a build. The
//! formats are those of the runner: workflow commands in the log, and files that the variables
//! `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT` name. `docs/CI.md` describes the results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Writers;
use crate::base::{Digest, Printable, words};
use crate::diagnostic::Diagnostic;
use crate::event::{Event, Finished, Located, Outcome, Report};
use crate::process::Stream;
use crate::project::Project;

/// Most annotations of a kind: the runner drops all further ones of a step.
const MOST: usize = 10;

/// Most rows of the summary, which may have 1 MiB at most.
const ROWS: usize = 500;

/// The runner that this process was started by.
#[derive(Clone, Debug)]
pub struct Runner {
    root: PathBuf,
    /// Paths of annotations are relative to this folder.
    workspace: Option<PathBuf>,
    summary: Option<PathBuf>,
    output: Option<PathBuf>,
}

/// A remark on a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub is_error: bool,
    pub file: String,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub title: String,
    pub text: String,
}

/// The Buildfile, the places of its targets there, and the sizes of its zips before the build.
#[derive(Clone, Debug, Default)]
pub struct Before {
    pub buildfile: String,
    pub places: BTreeMap<String, (usize, usize)>,
    pub sizes: BTreeMap<String, u64>,
}

impl Runner {
    /// Returns the runner if this process was started by one.
    pub fn of(project: &Project) -> Option<Self> {
        if project.var("GITHUB_ACTIONS") != Some("true") {
            return None;
        }
        let path = |name: &str| project.var(name).map(PathBuf::from);
        Some(Self {
            root: project.root.clone(),
            workspace: path("GITHUB_WORKSPACE"),
            summary: path("GITHUB_STEP_SUMMARY"),
            output: path("GITHUB_OUTPUT"),
        })
    }

    /// Returns the annotations of the mistakes of a Buildfile.
    pub fn mistakes(&self, file: &str, text: &str, mistakes: &[Diagnostic]) -> Printable {
        let annotations = mistakes.iter().filter_map(|mistake| {
            let (line, column) = mistake.line_and_column(text)?;
            let hints: String =
                mistake.hints().iter().map(|hint| format!("\nhint: {hint}")).collect();
            Some(Annotation {
                is_error: true,
                file: file.to_owned(),
                line: Some(line),
                column: Some(column),
                title: "Buildfile".into(),
                text: format!("{}{hints}", mistake.message()),
            })
        });
        self.lines(&annotations.collect::<Vec<_>>())
    }

    /// Returns the workflow commands of annotations, errors first.
    pub fn lines(&self, annotations: &[Annotation]) -> Printable {
        let mut lines = String::new();
        for is_error in [true, false] {
            let same = annotations.iter().filter(|annotation| annotation.is_error == is_error);
            for annotation in same.take(MOST) {
                lines += &self.line(annotation);
            }
        }
        lines.into()
    }

    fn line(&self, annotation: &Annotation) -> String {
        let Annotation { is_error, file, line, column, title, text } = annotation;
        let place = self.root.join(file);
        let file = match self.workspace.as_deref().and_then(|root| place.strip_prefix(root).ok()) {
            Some(inside) => inside.display().to_string(),
            None => file.clone(),
        };
        let mut properties = format!("file={}", property(&file));
        for (name, number) in [("line", line), ("col", column)] {
            if let Some(number) = number {
                let _ = write!(properties, ",{name}={number}");
            }
        }
        let _ = write!(properties, ",title={}", property(title));
        let level = if *is_error { "error" } else { "warning" };
        format!("::{level} {properties}::{}\n", data(text))
    }
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A report for people or programs that also writes for GitHub.
pub struct Github {
    runner: Runner,
    before: Before,
    report: Box<dyn Report>,
    writers: Writers,
    dry_run: bool,
    annotations: Vec<Annotation>,
    finished: Vec<Finished>,
}

impl Github {
    pub fn new(
        (runner, before): (Runner, Before),
        report: Box<dyn Report>,
        writers: Writers,
        dry_run: bool,
    ) -> Self {
        let (annotations, finished) = (Vec::new(), Vec::new());
        Self { runner, before, report, writers, dry_run, annotations, finished }
    }

    fn annotate(&mut self, target: &str, is_error: bool, text: &str) {
        let Some((line, column)) = self.before.places.get(target) else { return };
        self.annotations.push(Annotation {
            is_error,
            file: self.before.buildfile.clone(),
            line: Some(*line),
            column: Some(*column),
            title: format!("target {target}"),
            text: text.to_owned(),
        });
    }

    fn found(&mut self, target: &str, found: &Located) {
        let Located { is_error, file, line, title, text } = found;
        self.annotations.push(Annotation {
            is_error: *is_error,
            file: file.clone(),
            line: *line,
            column: None,
            title: format!("{title} ({target})"),
            text: text.clone(),
        });
    }

    /// Writes everything, at the end of the build.
    fn write(&mut self) {
        let lines = self.runner.lines(&self.annotations);
        self.writers.write(Stream::Stderr, &lines);
        if self.dry_run {
            return;
        }
        let written = [
            (&self.runner.summary, "GITHUB_STEP_SUMMARY", self.summary()),
            (&self.runner.output, "GITHUB_OUTPUT", self.outputs()),
        ]
        .map(|(path, variable, text)| append(path.as_deref(), variable, &text));
        for error in written.into_iter().filter_map(Result::err) {
            let text = format!("{error:#}");
            self.report.event(&Event::Warning { target: None, text });
        }
    }

    fn summary(&self) -> String {
        let mut text = String::from(
            "### zipwright\n\n| target | outcome | seconds | size | change | CodeSha256 | version |\n\
             |---|---|---:|---:|---:|---|---|\n",
        );
        for finished in self.finished.iter().take(ROWS) {
            let zip = ZipFacts::of(finished);
            let size = zip.as_ref().map(|zip| words::size(zip.size)).unwrap_or_default();
            let change = zip.as_ref().map(|zip| self.change(zip)).unwrap_or_default();
            let digest = fact(finished, "code_sha256").unwrap_or_default();
            let cells = [
                cell(&finished.target),
                finished.outcome.word().to_owned(),
                format!("{:.2}", finished.seconds),
                size,
                change,
                if digest.is_empty() { digest } else { format!("`{digest}`") },
                fact(finished, "version").map(|text| cell(&text)).unwrap_or_default(),
            ];
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        if let Some(more @ 1..) = self.finished.len().checked_sub(ROWS) {
            let _ = writeln!(text, "\n… and {}", words::count(more, "more target"));
        }
        text.push('\n');
        text
    }

    /// Returns the change of a zip's size; nothing if there was no zip before.
    fn change(&self, zip: &ZipFacts) -> String {
        let Some(before) = self.before.sizes.get(&zip.path) else { return String::new() };
        match zip.size.cmp(before) {
            std::cmp::Ordering::Equal => "0".into(),
            std::cmp::Ordering::Greater => format!("+{}", words::size(zip.size - before)),
            std::cmp::Ordering::Less => format!("-{}", words::size(before - zip.size)),
        }
    }

    /// Returns the outputs of the step: those of each zip under its target's name, those of an only zip
    /// without it as well.
    fn outputs(&self) -> String {
        let zips: Vec<(&Finished, ZipFacts)> = self
            .finished
            .iter()
            .filter_map(|finished| Some((finished, ZipFacts::of(finished)?)))
            .collect();
        let mut text = String::new();
        for (finished, zip) in &zips {
            let name = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            let prefix: String = finished.target.chars().map(name).collect();
            let prefixes = [Some(format!("{prefix}-")), (zips.len() == 1).then(String::new)];
            for prefix in prefixes.into_iter().flatten() {
                text += &output(&format!("{prefix}code-sha256"), &zip.code_sha256);
                text += &output(&format!("{prefix}size"), &zip.size.to_string());
                text += &output(&format!("{prefix}path"), &zip.path);
            }
        }
        text
    }
}

impl Report for Github {
    fn event(&mut self, event: &Event) {
        self.report.event(event);
        match event {
            Event::Warning { target: Some(target), text } => self.annotate(target, false, text),
            Event::Found { target, found } => self.found(target, found),
            Event::Finished(finished) => {
                if finished.outcome == Outcome::Failed {
                    let error = finished.error.as_deref().unwrap_or("failed");
                    self.annotate(&finished.target, true, error);
                }
                self.finished.push(finished.clone());
            }
            Event::Summary(_) => self.write(),
            _ => {}
        }
    }
}

/// The facts of a zip that exists at the end of the build.
struct ZipFacts {
    path: String,
    code_sha256: String,
    size: u64,
}

impl ZipFacts {
    fn of(finished: &Finished) -> Option<Self> {
        let is_there = matches!(finished.outcome, Outcome::Ran | Outcome::UpToDate);
        if finished.kind != "zip" || !is_there {
            return None;
        }
        Some(Self {
            path: finished.outputs.first()?.clone(),
            code_sha256: fact(finished, "code_sha256")?,
            size: fact(finished, "size")?.parse().ok()?,
        })
    }
}

fn fact(finished: &Finished, name: &str) -> Option<String> {
    let (_, value) = finished.facts.iter().find(|(other, _)| other == name)?;
    Some(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Returns a text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in Printable::line(text).as_str().chars() {
        if "\\`*_{}[]<>#|&~".contains(c) {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

/// Returns an output in the form for any value: the line that ends it cannot be in the value.
fn output(name: &str, value: &str) -> String {
    let end = format!("end-{:.32}", Digest::of(value.as_bytes()));
    format!("{name}<<{end}\n{value}\n{end}\n")
}

/// Adds a text to a file of the runner, if there is one.
fn append(path: Option<&Path>, variable: &str, text: &str) -> Result<()> {
    let Some(path) = path.filter(|_| !text.is_empty()) else { return Ok(()) };
    let failed = || format!("could not write to `{}`, the file of {variable}", path.display());
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).open(path).with_context(failed)?;
    // The last line of another program may have no end.
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last).with_context(failed)?;
    }
    let separator = if last == *b"\n" { "" } else { "\n" };
    file.write_all(format!("{separator}{text}").as_bytes()).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{Transcript, ended, stopped, summary, zip};

    fn runner(folder: &Path) -> Runner {
        Runner {
            root: folder.join("work/sub"),
            workspace: Some(folder.join("work")),
            summary: Some(folder.join("summary.md")),
            output: Some(folder.join("output")),
        }
    }

    #[test]
    fn commands_are_escaped_and_relative_to_the_workspace() {
        let annotation = Annotation {
            is_error: true,
            file: "a,b:c.py".into(),
            line: Some(3),
            column: Some(7),
            title: "100%: x".into(),
            text: "50%, a\r\nb: c".into(),
        };
        let line = runner(Path::new("/")).lines(&[annotation]);
        assert_eq!(
            line.as_str(),
            "::error file=sub/a%2Cb%3Ac.py,line=3,col=7,title=100%25%3A x::50%25, a%0D%0Ab: c\n"
        );
    }

    #[test]
    fn errors_come_first_and_ten_of_a_kind_are_enough() {
        let annotation = |is_error: bool| Annotation {
            is_error,
            file: "f".into(),
            line: None,
            column: None,
            title: "t".into(),
            text: "x".into(),
        };
        let all: Vec<Annotation> =
            (0..24).map(|number: u32| annotation(!number.is_multiple_of(2))).collect();
        let lines = runner(Path::new("/")).lines(&all);
        let lines: Vec<&str> = lines.as_str().lines().collect();
        assert_eq!(lines.len(), 20);
        assert!(lines[..10].iter().all(|line| *line == "::error file=sub/f,title=t::x"));
        assert!(lines[10..].iter().all(|line| line.starts_with("::warning ")));
    }

    #[test]
    fn a_build_leaves_a_table_outputs_and_annotations() {
        let folder = tempfile::tempdir().unwrap();
        let transcript = Transcript::default();
        let before = Before {
            buildfile: "Buildfile".into(),
            places: [("wheels".to_owned(), (12, 9))].into(),
            sizes: [("build/lambda.zip".to_owned(), 1_234_000)].into(),
        };
        let report = crate::ui::json(Transcript::default().writers());
        let runner = runner(folder.path());
        let mut github = Github::new((runner, before), report, transcript.writers(), false);
        for event in [
            Event::Warning { target: Some("wheels".into()), text: "old pip".into() },
            Event::Finished(zip(Outcome::Ran)),
            ended("a|b", Outcome::UpToDate),
            stopped("wheels", Outcome::Failed, "no network\nat all"),
            summary(&[Outcome::Ran, Outcome::UpToDate, Outcome::Failed]),
        ] {
            github.event(&event);
        }
        assert_eq!(
            transcript.text(),
            "err ::error file=sub/Buildfile,line=12,col=9,title=target wheels::no network%0Aat all\n\
             err ::warning file=sub/Buildfile,line=12,col=9,title=target wheels::old pip\n"
        );
        let summary = std::fs::read_to_string(folder.path().join("summary.md")).unwrap();
        let rows: Vec<&str> = summary.lines().skip(4).collect();
        assert_eq!(rows[0], "| package | ran | 0.25 | 1.2 MB | +567 B | `q83v=` |  |");
        assert_eq!(rows[1], "| a\\|b | up-to-date | 0.25 |  |  |  |  |");
        let outputs = std::fs::read_to_string(folder.path().join("output")).unwrap();
        let lines: Vec<&str> = outputs.lines().collect();
        assert_eq!(lines.len(), 18);
        let (name, end) = lines[0].split_once("<<").unwrap();
        assert_eq!((name, lines[1], lines[2]), ("package-code-sha256", "q83v=", end));
        assert!(lines[9].starts_with("code-sha256<<") && lines[16] == "build/lambda.zip");
    }

    #[test]
    fn no_value_ends_its_own_output() {
        let written = output("path", "a\nend-0\nb");
        let (head, rest) = written.split_once('\n').unwrap();
        let end = head.strip_prefix("path<<").unwrap();
        assert_eq!(rest.lines().filter(|line| *line == end).count(), 1);
    }
}
