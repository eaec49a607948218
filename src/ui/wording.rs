//! Every sentence a person reads during a build, in one place, so that a terminal and a log say
//! the same. Each function returns whole lines, their last line break included.
//!
//! Owns words and colours; knows nothing of when a sentence is due, nor of streams.

use std::time::Duration;

use anstyle::{AnsiColor, Effects, Style};
use serde_json::Value;

use crate::base::words;
use crate::event::{Finished, Outcome, Summary};
use crate::key::Reason;

/// More names than this are counted instead.
const NAMES_SHOWN: usize = 8;

/// A reason longer than this is cut where only the first is shown. All of it is in `--trace`.
const REASON_SHOWN: usize = 120;

/// How much is said of why a target runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reasons {
    First,
    All,
}

/// Words, coloured by meaning or not at all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wording {
    error: Style,
    warning: Style,
    target: Style,
    dim: Style,
}

impl Wording {
    pub(super) fn plain() -> Self {
        Self::default()
    }

    pub(super) fn coloured() -> Self {
        Self {
            error: AnsiColor::Red.on_default() | Effects::BOLD,
            warning: AnsiColor::Yellow.on_default() | Effects::BOLD,
            target: Style::new() | Effects::BOLD,
            dim: Style::new() | Effects::DIMMED,
        }
    }

    /// `wheels` in its colour.
    pub(super) fn target(&self, name: &str) -> String {
        paint(self.target, name)
    }

    /// `wheels: running (file requirements.txt: 1a2b… -> 3c4d…)`.
    pub(super) fn running(&self, target: &str, reasons: &[Reason], shown: Reasons) -> String {
        self.because(target, "running", reasons, shown)
    }

    /// `wheels: would run (not built before)`.
    pub(super) fn would_run(&self, target: &str, reasons: &[Reason], shown: Reasons) -> String {
        self.because(target, "would run", reasons, shown)
    }

    /// `wheels: ran, 1.20 s (not built before)`.
    pub(super) fn ran(&self, finished: &Finished, reasons: &[Reason], shown: Reasons) -> String {
        let what = format!("ran, {}", time(finished.seconds));
        self.because(&finished.target, &what, reasons, shown)
    }

    pub(super) fn up_to_date(&self, target: &str) -> String {
        let dim = self.dim;
        format!("{}\n", paint(dim, &format!("{target}: up to date")))
    }

    /// Stands above lines of `target` when something else was written since its last ones.
    pub(super) fn heading(&self, target: &str) -> String {
        format!("{}: output\n", self.target(target))
    }

    pub(super) fn warning(&self, target: Option<&str>, text: &str) -> String {
        self.problem(&paint(self.warning, "warning:"), target, text)
    }

    pub(super) fn failed(&self, target: &str, error: Option<&str>) -> String {
        self.problem(&paint(self.error, "error:"), Some(target), error.unwrap_or("failed"))
    }

    /// `how` says what became of `cause`: `failed`, `was skipped`.
    pub(super) fn skipped(&self, target: &str, cause: Option<&str>, how: &str) -> String {
        let target = self.target(target);
        match cause {
            Some(cause) => format!("{target}: skipped, because {cause} {how}\n"),
            None => format!("{target}: skipped\n"),
        }
    }

    /// The last line of a build.
    pub(super) fn summary(&self, summary: &Summary, tally: &Tally) -> String {
        let mut parts = Vec::new();
        if summary.failed > 0 {
            parts.push(format!("{} {}", paint(self.error, "failed:"), names(&tally.failed)));
        }
        if summary.skipped > 0 {
            parts.push(format!("skipped: {}", names(&tally.skipped)));
        }
        parts.push(format!("{}, {}", self.counts(summary, tally), time(summary.seconds)));
        parts.extend(tally.zips.iter().map(Zip::describe));
        format!("{}\n", parts.join("; "))
    }

    fn counts(&self, summary: &Summary, tally: &Tally) -> String {
        let Summary { ran, up_to_date, would_run, failed, skipped, .. } = *summary;
        if ran + would_run + failed + skipped == 0 {
            let text = match up_to_date {
                0 => "nothing to do".to_owned(),
                _ => format!("up to date: {}", words::count(up_to_date, "target")),
            };
            return paint(self.dim, &text);
        }
        let mut parts = Vec::new();
        match ran {
            // In a dry run, `0 ran` is not worth saying.
            0 if would_run > 0 => {}
            0 => parts.push("0 ran".to_owned()),
            _ => parts.push(format!("{ran} ran ({})", names(&tally.ran))),
        }
        if would_run > 0 {
            parts.push(format!("{would_run} would run ({})", names(&tally.would_run)));
        }
        if up_to_date > 0 {
            parts.push(format!("{up_to_date} up to date"));
        }
        parts.join(", ")
    }

    fn because(&self, target: &str, what: &str, reasons: &[Reason], shown: Reasons) -> String {
        let target = self.target(target);
        match (shown, reasons) {
            (_, []) => format!("{target}: {what}\n"),
            (Reasons::First, [first, rest @ ..]) => {
                let first = cut(&one_line(&first.to_string()), REASON_SHOWN);
                let more = match rest.len() {
                    0 => String::new(),
                    more => format!("; {more} more"),
                };
                format!("{target}: {what} ({first}{more})\n")
            }
            (Reasons::All, reasons) => {
                let mut text = format!("{target}: {what}\n");
                for reason in reasons {
                    text += &format!("  {}\n", one_line(&reason.to_string()));
                }
                text
            }
        }
    }

    /// `error: staging: …`, further lines indented so that they are seen to belong to it.
    fn problem(&self, label: &str, target: Option<&str>, text: &str) -> String {
        let whose = target.map(|name| format!("{}: ", self.target(name))).unwrap_or_default();
        let mut lines = text.trim_end().lines();
        let mut all = format!("{label} {whose}{}\n", lines.next().unwrap_or_default());
        for line in lines {
            if line.is_empty() {
                all.push('\n');
            } else {
                all += &format!("  {line}\n");
            }
        }
        all
    }
}

/// What the last line needs of every target that ended.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ran: Vec<String>,
    would_run: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
    zips: Vec<Zip>,
}

impl Tally {
    pub(super) fn add(&mut self, finished: &Finished) {
        let names = match finished.outcome {
            Outcome::Ran => &mut self.ran,
            Outcome::WouldRun => &mut self.would_run,
            Outcome::Failed => &mut self.failed,
            Outcome::Skipped => &mut self.skipped,
            Outcome::UpToDate => {
                self.zips.extend(Zip::of(finished));
                return;
            }
        };
        names.push(finished.target.clone());
        if finished.outcome == Outcome::Ran {
            self.zips.extend(Zip::of(finished));
        }
    }

    pub(super) fn is_skipped(&self, target: &str) -> bool {
        self.skipped.iter().any(|skipped| skipped == target)
    }
}

/// A zip that is there at the end of the build.
#[derive(Debug)]
struct Zip {
    name: String,
    code_sha256: String,
    size: u64,
    unzipped_size: Option<u64>,
}

impl Zip {
    /// A zip is known by its facts: an upload has a `code_sha256` too, but no size.
    fn of(finished: &Finished) -> Option<Self> {
        let fact = |name: &str| finished.facts.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        Some(Self {
            name: finished.outputs.first().unwrap_or(&finished.target).clone(),
            code_sha256: fact("code_sha256")?.as_str()?.to_owned(),
            size: fact("size")?.as_u64()?,
            unzipped_size: fact("unzipped_size").and_then(Value::as_u64),
        })
    }

    /// `build/lambda.zip 1.2 MB (3.4 MB unzipped), CodeSha256 …`.
    fn describe(&self) -> String {
        let Self { name, code_sha256, size, unzipped_size } = self;
        let unzipped = match unzipped_size {
            Some(size) => format!(" ({} unzipped)", words::size(*size)),
            None => String::new(),
        };
        format!("{name} {}{unzipped}, CodeSha256 {code_sha256}", words::size(*size))
    }
}

/// Control characters made visible: a Buildfile's own words must not break a line or steer the
/// terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn names(names: &[String]) -> String {
    match names.get(..NAMES_SHOWN) {
        Some(shown) if names.len() > NAMES_SHOWN => {
            format!("{} and {} more", shown.join(", "), names.len() - NAMES_SHOWN)
        }
        _ => names.join(", "),
    }
}

fn time(seconds: f64) -> String {
    words::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_and_its_line_breaks_are_shown() {
        let reason = Reason::Changed {
            component: "shell".into(),
            old: "a\nb\u{1b}[2J".into(),
            new: "x".repeat(200),
        };
        let line = Wording::plain().running("gen", std::slice::from_ref(&reason), Reasons::First);
        let shown = format!("shell: a\\nb\\u{{1b}}[2J -> {}", "x".repeat(96));
        assert_eq!(line, format!("gen: running ({shown}…)\n"));
        let line = Wording::plain().running("gen", &[reason], Reasons::All);
        assert_eq!(line.lines().count(), 2);
    }

    #[test]
    fn many_names_are_counted() {
        let all: Vec<String> = (1..=10).map(|n| format!("t{n}")).collect();
        assert_eq!(names(&all), "t1, t2, t3, t4, t5, t6, t7, t8 and 2 more");
        assert_eq!(names(&all[..8]), "t1, t2, t3, t4, t5, t6, t7, t8");
    }

    #[test]
    fn colours_follow_the_meaning() {
        let wording = Wording::coloured();
        assert_eq!(
            wording.failed("zip", Some("disk full")),
            "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m \u{1b}[1mzip\u{1b}[0m: disk full\n",
        );
        assert_eq!(wording.warning(None, "old"), "\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m old\n",);
        assert_eq!(wording.up_to_date("zip"), "\u{1b}[2mzip: up to date\u{1b}[0m\n");
    }

    #[test]
    fn an_error_of_many_lines_is_indented() {
        assert_eq!(
            Wording::plain().failed("wheels", Some("pip failed\n\nno such package\n")),
            "error: wheels: pip failed\n\n  no such package\n",
        );
    }
}
