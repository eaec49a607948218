//! Findings of a check: the names of the rules, merging of findings with the same text, and their
//! form.

use std::fmt;

use anyhow::{Result, bail};

use zipwright_store::words;

/// Every rule, in the order in which findings are shown. The names are stable: Buildfiles silence
/// rules by name.
pub const RULES: [&str; 32] = [
    "machine",
    "glibc",
    "libstdcxx",
    "library",
    "library-path",
    "extension",
    "object",
    "pyc-python",
    "wheel-tags",
    "wheel-glibc",
    "requires",
    "handler-module",
    "handler-function",
    "handler-call",
    "handler-unsure",
    "syntax",
    "import",
    "relative-import",
    "shadow",
    "unzipped-size",
    "zipped-size",
    "mode",
    "name",
    "double",
    "link",
    "private-key",
    "access-key",
    "secret-file",
    "case",
    "pyc-unused",
    "pyc-stale",
    "new-runtime",
];

pub fn is_rule(name: &str) -> bool {
    RULES.contains(&name)
}

/// Number of members that a finding lists; of more, only the count is shown.
const SHOWN: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The function would not run, or Lambda would reject it.
    Error,
    Warning,
}

/// A problem, with all members that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub severity: Severity,
    /// Sorted. Empty if the finding is about the bundle as a whole.
    pub locations: Vec<Location>,
    /// The wheel of the members.
    pub origin: Option<String>,
    pub text: String,
    pub hint: String,
}

/// A member with a problem, and the line of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub member: String,
    /// From 1. `None` if the member has no lines, or the finding is about all of it.
    pub line: Option<usize>,
}

/// Passes each warning to `warn`, and returns the number of warnings. Fails if there is an error.
/// `what` names the checked bundle.
pub fn conclude(findings: &[Finding], what: &str, warn: &dyn Fn(&str)) -> Result<usize> {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.severity == Severity::Error);
    for warning in &warnings {
        warn(&warning.described());
    }
    if !errors.is_empty() {
        let shown: Vec<String> = errors.iter().map(|error| error.described()).collect();
        let count = words::count(errors.len(), "reason");
        bail!("{what} will not run in Lambda, for {count}:\n{}", shown.join("\n"));
    }
    Ok(warnings.len())
}

#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Finding {
    pub(super) fn new(
        rule: &'static str,
        severity: Severity,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        assert!(is_rule(rule), "BUG: unknown rule `{rule}`");
        let (text, hint) = (text.into(), hint.into());
        Self { rule, severity, locations: Vec::new(), origin: None, text, hint }
    }

    /// Adds this member to the finding.
    pub(super) fn of(mut self, member: &str, origin: Option<&String>) -> Self {
        self.locations.push(Location { member: member.to_owned(), line: None });
        self.origin = origin.cloned();
        self
    }

    /// Adds this line of a member of the project to the finding. `line` is 0 if it is unknown.
    pub(super) fn at(mut self, member: &str, line: usize) -> Self {
        let line = Some(line).filter(|line| *line > 0);
        self.locations.push(Location { member: member.to_owned(), line });
        self
    }

    /// Returns the text without its severity, for output that shows the severity in another way.
    pub fn described(&self) -> String {
        let mut text = format!("[{}] {}", self.rule, self.text);
        if let Some(origin) = &self.origin {
            text += &format!(" (from {origin})");
        }
        for location in self.locations.iter().take(SHOWN) {
            text += &format!("\n    {location}");
        }
        if let Some(more) = self.locations.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            text += &format!("\n    and {}", words::count(more, "more place"));
        }
        text + &format!("\n  hint: {}", self.hint)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, line } = self;
        match line {
            Some(line) => write!(f, "{member}:{line}"),
            None => f.write_str(member),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.severity.name(), self.described())
    }
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        let same = self.0.iter_mut().find(|other| {
            let Finding { rule, severity, locations: _, origin, text, hint } = &finding;
            (other.rule, other.severity) == (*rule, *severity)
                && (&other.origin, &other.text, &other.hint) == (origin, text, hint)
        });
        match same {
            Some(other) => other.locations.extend(finding.locations),
            None => self.0.push(finding),
        }
    }

    /// Returns all findings that are not silenced, sorted.
    pub(super) fn finish(self, silence: &[String]) -> Vec<Finding> {
        let mut findings = self.0;
        findings.retain(|finding| !silence.iter().any(|rule| rule == finding.rule));
        for finding in &mut findings {
            finding.locations.sort();
            finding.locations.dedup();
        }
        let place = |finding: &Finding| RULES.iter().position(|rule| *rule == finding.rule);
        findings.sort_by(|a, b| {
            let of = |finding: &Finding| (finding.severity, place(finding));
            of(a).cmp(&of(b)).then_with(|| a.locations.cmp(&b.locations))
        });
        findings
    }
}
