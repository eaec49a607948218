//! One run of pip: its environment, its output on the way to the user, and its errors. Secrets are
//! removed from every line, and paths of copies are replaced by those of the user's files.

use std::ffi::OsString;
use std::sync::Mutex;

use anyhow::Result;

use super::interpreter::LazyInterpreter;
use super::launch::{Launch, Reading};
use super::secrets::Redactor;
use super::tree::EPOCH;
use zipwright_engine::event::Reporter;
use zipwright_engine::process::{Invocation, Stream, describe};
use zipwright_store::project::Project;

/// Number of errors of pip's output that an error repeats, and of the lines of each; without any, of
/// lines.
const REPEATED: usize = 8;

/// Largest number of lines kept to choose them from.
const KEPT_LINES: usize = 1000;

/// pip of one interpreter, ready to run.
pub(super) struct Pip<'a> {
    pub project: &'a Project,
    pub interpreter: &'a LazyInterpreter,
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
        let kept = Mutex::new(Kept::default());
        let launch = Launch::new(self.project)?;
        let invocation = launch.prepare(self.project, reading, self.invocation(args)?);
        let status = invocation.stream(&|stream, line| {
            let mut line = self.secrets.redact(line.trim_end());
            for (theirs, ours) in names {
                line = line.replace(theirs, ours);
            }
            // Standard output is for data: `zipwright invoke | jq` must read only the response.
            if !(reading.is_tentative && line.starts_with(ERROR)) {
                self.reporter.line(Stream::Stderr, line.as_str().into());
            }
            kept.lock().expect("BUG: no holder of this lock panics").push(stream, line);
        })?;
        if status.success() {
            return Ok(Ok(()));
        }
        let kept = kept.into_inner().expect("BUG: as above");
        Ok(Err(Failure { said: essence(&kept.lines), status: describe(status) }))
    }

    fn invocation(&self, args: impl IntoIterator<Item = OsString>) -> Result<Invocation> {
        let mut invocation = Invocation::new(&self.interpreter.get()?.program, &self.project.root)
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
        Ok(invocation)
    }
}

/// Prefix of pip's error lines.
const ERROR: &str = "ERROR: ";

/// The line before a traceback.
const EXCEPTION: &str = "ERROR: Exception:";

/// The line before the requirements that exclude each other. pip prints these to standard output.
const CONFLICT: &str = "The conflict is caused by:";

/// The line after the output of a failed subprocess.
const END_OF_OUTPUT: &str = "[end of output]";

/// The lines of pip's output that may have the reason of a failure.
#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    /// Whether the last line of standard output was about a conflict.
    is_in_conflict: bool,
}

impl Kept {
    fn push(&mut self, stream: Stream, line: String) {
        if stream == Stream::Stdout {
            self.is_in_conflict = line == CONFLICT || self.is_in_conflict && is_indented(&line);
        }
        if line.is_empty() || stream == Stream::Stdout && !self.is_in_conflict {
            return;
        }
        self.lines.push(line);
        if self.lines.len() > KEPT_LINES {
            self.lines = essence(&self.lines);
        }
    }
}

/// Returns pip's errors, each with the lines that have its reason; if there are none, the last lines.
fn essence(lines: &[String]) -> Vec<String> {
    let errors: Vec<Vec<String>> = (0..lines.len()).filter_map(|at| error_at(lines, at)).collect();
    if errors.is_empty() {
        return lines[lines.len().saturating_sub(REPEATED)..].to_vec();
    }
    errors[errors.len().saturating_sub(REPEATED)..].concat()
}

/// Returns the error that this line is the mark of.
fn error_at(lines: &[String], at: usize) -> Option<Vec<String>> {
    let (line, rest) = (&lines[at], &lines[at + 1..]);
    let mut error = vec![line.clone()];
    if line == EXCEPTION {
        let traceback = rest.iter().take_while(|line| !line.starts_with(ERROR));
        error.extend(traceback.filter(|line| !is_indented(line)).last().cloned());
    } else if line.starts_with(ERROR) || line == CONFLICT {
        let reason: Vec<&String> = rest.iter().take_while(|line| is_indented(line)).collect();
        error.extend(reason.iter().take(REPEATED).copied().cloned());
        error.extend(reason.get(REPEATED).map(|_| "    …".into()));
    } else if line.trim() == END_OF_OUTPUT {
        // pip's own lines after it only point at the output.
        error = lines[at.saturating_sub(REPEATED)..=at].to_vec();
    } else {
        return None;
    }
    Some(error)
}

fn is_indented(line: &str) -> bool {
    line.starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn essence_of(text: &str) -> String {
        let lines: Vec<String> = text.lines().map(String::from).collect();
        essence(&lines).join("\n")
    }

    #[test]
    fn an_error_repeats_what_pip_marks_as_one() {
        assert_eq!(essence_of("WARNING: x\nERROR: a\nnoise\nERROR: b"), "ERROR: a\nERROR: b");
        let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(essence(&many)[0], "12");
    }

    #[test]
    fn an_error_has_the_reason_below_it() {
        let text = "ERROR: THESE PACKAGES DO NOT MATCH:\n    a==1:\n        Expected 0\n             \
                    Got 1";
        assert_eq!(essence_of(&format!("{text}\nWARNING: x")), text);
        let list: String = (0..20).map(|number| format!("\n    {number}")).collect();
        let found = essence_of(&format!("ERROR: these:{list}"));
        assert!(found.starts_with("ERROR: these:\n    0\n"), "{found}");
        assert!(found.ends_with("\n    7\n    …"), "{found}");
        assert_eq!(essence_of(&found), found);
    }

    #[test]
    fn of_a_traceback_and_of_a_subprocess_the_end_is_repeated() {
        let text = "ERROR: Exception:\nTraceback (most recent call last):\n  File \"x\"\n    y\n\
                    ValueError: bad\nERROR: b";
        assert_eq!(essence_of(text), "ERROR: Exception:\nValueError: bad\nERROR: b");
        let text = "  error: subprocess-exited-with-error\n      E: no compiler\n      [end of output]\n\
                    note: x\nERROR: Failed to build";
        let found = essence_of(text);
        assert!(found.contains("no compiler\n      [end of output]\nERROR: Failed"), "{found}");
    }

    #[test]
    fn a_conflict_on_standard_output_is_kept() {
        let mut kept = Kept::default();
        for line in [
            "Collecting a",
            "  Using cached a",
            "",
            CONFLICT,
            "    a 1 depends on b",
            "",
            "To fix this",
            "    c",
        ] {
            kept.push(Stream::Stdout, line.into());
        }
        kept.push(Stream::Stderr, "ERROR: ResolutionImpossible".into());
        let found = essence(&kept.lines).join("\n");
        assert_eq!(found, format!("{CONFLICT}\n    a 1 depends on b\nERROR: ResolutionImpossible"));
    }
}
