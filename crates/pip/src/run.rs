//! One run of pip: its environment, its output on the way to the user, and its errors. Secrets are
//! removed from every line, and paths of copies are replaced by those of the user's files.

use std::ffi::OsString;
use std::sync::Mutex;

use anyhow::Result;

use super::interpreter::Interpreter;
use super::launch::{Launch, Reading};
use super::secrets::Redactor;
use super::tree::EPOCH;
use zipwright_engine::event::Reporter;
use zipwright_engine::process::{Invocation, Stream, describe};
use zipwright_store::project::Project;

/// Number of lines of pip's output that an error repeats.
const REPEATED_LINES: usize = 8;

/// Largest number of lines kept to choose them from.
const KEPT_LINES: usize = 1000;

/// pip of one interpreter, ready to run.
pub(super) struct Pip<'a> {
    pub project: &'a Project,
    pub interpreter: &'a Interpreter,
    pub secrets: &'a Redactor,
    pub reporter: &'a dyn Reporter,
}

/// A run of pip that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The reason in pip's output, without secrets: its error lines, or the last lines.
    pub said: Vec<String>,
    pub status: String,
}

impl Failure {
    pub(super) fn error(&self, doing: &str) -> anyhow::Error {
        let Self { said, status } = self;
        anyhow::anyhow!("pip could not {doing} ({status}):\n{}", said.join("\n"))
    }
}

impl Pip<'_> {
    /// Runs pip to the end. `names` are pairs of a text in pip's output and the text to show
    /// instead.
    pub(super) fn run(
        &self,
        args: impl IntoIterator<Item = OsString>,
        names: &[(String, String)],
    ) -> Result<Result<(), Failure>> {
        self.run_with(&Reading::default(), args, names)
    }

    /// Runs pip to the end with metadata read according to `reading`.
    pub(super) fn run_with(
        &self,
        reading: &Reading,
        args: impl IntoIterator<Item = OsString>,
        names: &[(String, String)],
    ) -> Result<Result<(), Failure>> {
        let kept = Mutex::new(Vec::new());
        let launch = Launch::new(self.project)?;
        let invocation = launch.prepare(self.project, reading, self.invocation(args));
        let status = invocation.stream(&|stream, line| {
            let mut line = self.secrets.redact(line.trim_end());
            for (theirs, ours) in names {
                line = line.replace(theirs, ours);
            }
            // Standard output is for data: `zipwright invoke | jq` must read only the response.
            if !(reading.is_tentative && line.starts_with(ERROR)) {
                self.reporter.line(Stream::Stderr, line.as_str().into());
            }
            if stream == Stream::Stderr && !line.is_empty() {
                let mut kept = kept.lock().expect("BUG: no holder of this lock panics");
                kept.push(line);
                if kept.len() > KEPT_LINES {
                    *kept = essence(std::mem::take(&mut kept));
                }
            }
        })?;
        if status.success() {
            return Ok(Ok(()));
        }
        let lines = kept.into_inner().expect("BUG: as above");
        Ok(Err(Failure { said: essence(lines), status: describe(status) }))
    }

    fn invocation(&self, args: impl IntoIterator<Item = OsString>) -> Invocation {
        let mut invocation = Invocation::new(&self.interpreter.program, &self.project.root)
            .args(["-m", "pip"])
            .args(args);
        let fixed = [
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_NO_COLOR", "1"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_PROGRESS_BAR", "off"),
            // Nothing is installed, so these settings could only cause failures.
            ("PIP_REQUIRE_VIRTUALENV", "0"),
            ("PIP_USER", "0"),
            ("PYTHONHASHSEED", "0"),
            ("PYTHONIOENCODING", "utf-8"),
            ("PYTHONUNBUFFERED", "1"),
        ];
        for (name, value) in fixed {
            invocation = invocation.env(name, value);
        }
        // Python closes the descriptors of make's jobserver.
        invocation.env_remove.extend(["MAKEFLAGS".into(), "MFLAGS".into(), "MAKELEVEL".into()]);
        // Without it, build back ends write the times of files into wheels.
        if self.project.var("SOURCE_DATE_EPOCH").is_none() {
            invocation = invocation.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        }
        invocation
    }
}

/// Prefix of pip's error lines.
const ERROR: &str = "ERROR: ";

/// Returns pip's error lines, which begin with `ERROR:`; if there are none, the last lines.
fn essence(lines: Vec<String>) -> Vec<String> {
    let marked: Vec<String> =
        lines.iter().filter(|line| line.starts_with(ERROR)).cloned().collect();
    let chosen = if marked.is_empty() { lines } else { marked };
    let skip = chosen.len().saturating_sub(REPEATED_LINES);
    chosen.into_iter().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_what_pip_marks_as_one() {
        let lines = ["WARNING: x", "ERROR: a", "noise", "ERROR: b"].map(String::from);
        assert_eq!(essence(lines.into()), ["ERROR: a", "ERROR: b"]);
        let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(essence(many)[0], "12");
    }
}
