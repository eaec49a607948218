//! Every sentence of a build report, in one place, so that a terminal and a log have the same
//! texts. Each function returns whole lines with their last line break.
//!
//! Owns texts and colours; knows nothing of the time or stream of a text.

use std::time::Duration;

use anstyle::{AnsiColor, Effects, Style};
use serde_json::Value;

use crate::base::printable::printable;
use crate::base::{Printable, words};
use crate::event::{Finished, Outcome, Round, RoundEnd, Summary};
use crate::key::Reason;

/// Largest number of listed names; of more, only the count is shown.
const NAMES_SHOWN: usize = 8;

/// Largest length of a reason where only the first is shown. `--trace` shows all of it.
const REASON_SHOWN: usize = 120;

/// How many reasons are shown for a running target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reasons {
    First,
    All,
}

/// Texts, coloured by meaning or not at all.
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
    pub(super) fn target(&self, name: &str) -> Printable {
        Printable::styled(self.target, name)
    }

    /// `wheels: running (file requirements.txt: 1a2b… -> 3c4d…)`.
    pub(super) fn running(&self, target: &str, reasons: &[Reason], shown: Reasons) -> Printable {
        self.because(target, "running", reasons, shown)
    }

    /// `wheels: would run (not built before)`.
    pub(super) fn would_run(&self, target: &str, reasons: &[Reason], shown: Reasons) -> Printable {
        self.because(target, "would run", reasons, shown)
    }

    /// Returns a line for each guard in the facts of a target that would run.
    pub(super) fn guards(&self, facts: &[(String, Value)]) -> Printable {
        let mut lines = Printable::default();
        for (name, fact) in facts {
            let texts = match fact {
                Value::Array(texts) => texts.as_slice(),
                text => std::slice::from_ref(text),
            };
            for text in texts.iter().filter_map(Value::as_str) {
                lines.push(printable!["  ", name.as_str(), ": ", Printable::line(text), "\n"]);
            }
        }
        lines
    }

    /// `renamed: guard passed, 0.70 s (python3 restore_window.py)`.
    pub(super) fn guard_passed(&self, target: &str, guard: &str, seconds: f64) -> Printable {
        let guard = Printable::line(guard);
        printable![self.target(target), ": guard passed, ", time(seconds), " (", guard, ")\n"]
    }

    /// `elb-gone: waits until aws … succeeds`.
    pub(super) fn waiting(&self, target: &str, until: &str) -> Printable {
        printable![self.target(target), ": waits until ", Printable::line(until), " succeeds\n"]
    }

    /// `wheels: ran, 1.20 s (not built before)`.
    pub(super) fn ran(&self, finished: &Finished, reasons: &[Reason], shown: Reasons) -> Printable {
        let what = format!("ran, {}", time(finished.seconds));
        self.because(&finished.target, &what, reasons, shown)
    }

    pub(super) fn up_to_date(&self, target: &str) -> Printable {
        printable![Printable::styled(self.dim, &format!("{target}: up to date")), "\n"]
    }

    /// Returns the heading above lines of `target`, if other lines were written since its last
    /// ones.
    pub(super) fn heading(&self, target: &str) -> Printable {
        printable![self.target(target), ": output\n"]
    }

    pub(super) fn warning(&self, target: Option<&str>, text: &str) -> Printable {
        self.problem((self.warning, "warning:"), target, text)
    }

    pub(super) fn failed(&self, target: &str, error: Option<&str>) -> Printable {
        self.problem((self.error, "error:"), Some(target), error.unwrap_or("failed"))
    }

    /// `how` describes the result of `cause`: `failed`, `was skipped`.
    pub(super) fn skipped(&self, target: &str, cause: Option<&str>, how: &str) -> Printable {
        let target = self.target(target);
        match cause {
            Some(cause) => printable![target, ": skipped, because ", cause, " ", how, "\n"],
            None => printable![target, ": skipped\n"],
        }
    }

    /// Returns the beginning of the last line of a round: `round 2 (app.py changed): `.
    pub(super) fn round(&self, round: &Round) -> Printable {
        let head = format!("round {}", round.number);
        let mut text = Printable::styled(self.target, &head);
        if !round.changed.is_empty() {
            text.push(format!(" ({} changed)", names(&round.changed)));
        }
        text.push(": ");
        text
    }

    /// Returns the end of the line of a round in which not all targets had their turn.
    pub(super) fn end(&self, round: &Round) -> Printable {
        let time = time(round.seconds);
        match &round.end {
            RoundEnd::Interrupted(again) => {
                format!("interrupted after {time}, {} changed\n", names(again)).into()
            }
            _ => printable![Printable::styled(self.error, "failed"), format!(", {time}\n")],
        }
    }

    /// Returns the last line of a build.
    pub(super) fn summary(&self, summary: &Summary, tally: &Tally) -> Printable {
        let mut line = Printable::default();
        if summary.failed > 0 {
            line.push(Printable::styled(self.error, "failed:"));
            line.push(format!(" {}; ", names(&tally.failed)));
        }
        if summary.skipped > 0 {
            line.push(format!("skipped: {}; ", names(&tally.skipped)));
        }
        line.push(self.counts(summary, tally));
        line.push(format!(", {}", time(summary.seconds)));
        for zip in &tally.zips {
            line.push(format!("; {}", zip.describe()));
        }
        line.push("\n");
        line
    }

    fn counts(&self, summary: &Summary, tally: &Tally) -> Printable {
        let Summary { ran, up_to_date, would_run, failed, skipped, .. } = *summary;
        if ran + would_run + failed + skipped == 0 {
            let text = match up_to_date {
                0 => "nothing to do".to_owned(),
                _ => format!("up to date: {}", words::count(up_to_date, "target")),
            };
            return Printable::styled(self.dim, &text);
        }
        let mut parts = Vec::new();
        match ran {
            // In a dry run, omit `0 ran`.
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
        parts.join(", ").into()
    }

    fn because(&self, target: &str, what: &str, reasons: &[Reason], shown: Reasons) -> Printable {
        let mut text = printable![self.target(target), ": ", what];
        match (shown, reasons) {
            (_, []) => {}
            (Reasons::First, [first, rest @ ..]) => {
                let first = Printable::line(&first.to_string());
                let more = match rest.len() {
                    0 => String::new(),
                    more => format!("; {more} more"),
                };
                text.push(format!(" ({}{more})", cut(first.as_str(), REASON_SHOWN)));
            }
            (Reasons::All, reasons) => {
                for reason in reasons {
                    text.push("\n  ");
                    text.push(Printable::line(&reason.to_string()));
                }
            }
        }
        text.push("\n");
        text
    }

    /// Returns `error: staging: …`, with further lines indented.
    fn problem(&self, (style, label): (Style, &str), whose: Option<&str>, text: &str) -> Printable {
        let mut all = printable![Printable::styled(style, label), " "];
        if let Some(name) = whose {
            all.push(self.target(name));
            all.push(": ");
        }
        for (at, line) in text.trim_end().split('\n').enumerate() {
            if at > 0 && !line.is_empty() {
                all.push("  ");
            }
            all.push(line.strip_suffix('\r').unwrap_or(line));
            all.push("\n");
        }
        all
    }
}

/// Counts of finished targets, for the last line.
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

/// A zip that exists at the end of the build.
#[derive(Debug)]
struct Zip {
    name: String,
    code_sha256: String,
    size: u64,
    unzipped_size: Option<u64>,
}

impl Zip {
    /// Recognises a zip by its facts: an upload has a `code_sha256` too, but no size.
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
        assert_eq!(line.as_str(), format!("gen: running ({shown}…)\n"));
        let line = Wording::plain().running("gen", &[reason], Reasons::All);
        assert_eq!(line.as_str().lines().count(), 2);
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
            wording.failed("zip", Some("disk full")).as_str(),
            "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m \u{1b}[1mzip\u{1b}[0m: disk full\n",
        );
        assert_eq!(
            wording.warning(None, "old").as_str(),
            "\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m old\n",
        );
        assert_eq!(wording.up_to_date("zip").as_str(), "\u{1b}[2mzip: up to date\u{1b}[0m\n");
    }

    #[test]
    fn an_error_of_many_lines_is_indented() {
        assert_eq!(
            Wording::plain().failed("wheels", Some("pip failed\n\nno such package\n")).as_str(),
            "error: wheels: pip failed\n\n  no such package\n",
        );
    }
}
