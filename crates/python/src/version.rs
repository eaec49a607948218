//! Versions and version specifiers as PEP 440 defines them.

use std::cmp::Ordering;
use std::fmt;

use anyhow::{Result, bail};

/// A version. Equal versions may be written differently: `1.0` and `1`, `1.0-rc.1` and `1.0rc1`.
#[derive(Clone, Debug)]
pub struct Version {
    epoch: u64,
    release: Vec<u64>,
    pre: Option<(Phase, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<Label>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Alpha,
    Beta,
    Candidate,
}

/// One part of a local version. Numbers come after words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Word(String),
    Number(u64),
}

const PHASES: [(&str, Phase); 8] = [
    ("alpha", Phase::Alpha),
    ("beta", Phase::Beta),
    ("preview", Phase::Candidate),
    ("pre", Phase::Candidate),
    ("rc", Phase::Candidate),
    ("a", Phase::Alpha),
    ("b", Phase::Beta),
    ("c", Phase::Candidate),
];

const POSTS: [&str; 3] = ["post", "rev", "r"];

impl Version {
    pub fn parse(text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let mut rest = Rest(lower.strip_prefix('v').unwrap_or(&lower));
        match rest.version() {
            Some(version) if rest.0.is_empty() => Ok(version),
            _ => bail!("`{text}` is not a version"),
        }
    }

    /// Returns the version without its local part.
    #[must_use]
    pub fn public(&self) -> Self {
        Self { local: Vec::new(), ..self.clone() }
    }

    /// Returns the release without zeros at its end.
    fn trimmed(&self) -> &[u64] {
        let zeros = self.release.iter().rev().take_while(|number| **number == 0).count();
        &self.release[..self.release.len() - zeros]
    }

    /// Returns a value that orders the part after the release: `.dev` before `a`, `b`, `rc`, the
    /// release itself, `.post`.
    fn suffix(&self) -> (u8, Option<(Phase, u64)>, Option<u64>, u64) {
        let rank = match (self.pre, self.post, self.dev) {
            (None, None, Some(_)) => 0,
            (Some(_), ..) => 1,
            (None, ..) => 2,
        };
        (rank, self.pre, self.post, self.dev.unwrap_or(u64::MAX))
    }

    fn starts_with(&self, prefix: &Self) -> bool {
        let padded = self.release.iter().copied().chain(std::iter::repeat(0));
        self.epoch == prefix.epoch
            && prefix.release.iter().copied().eq(padded.take(prefix.release.len()))
    }

    fn is_same_release(&self, other: &Self) -> bool {
        self.epoch == other.epoch && self.trimmed() == other.trimmed()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.epoch > 0 {
            write!(f, "{}!", self.epoch)?;
        }
        let release: Vec<String> = self.release.iter().map(u64::to_string).collect();
        // The release 0 without zeros at its end has no part.
        f.write_str(if release.is_empty() { "0" } else { "" })?;
        f.write_str(&release.join("."))?;
        if let Some((phase, number)) = self.pre {
            let name = match phase {
                Phase::Alpha => "a",
                Phase::Beta => "b",
                Phase::Candidate => "rc",
            };
            write!(f, "{name}{number}")?;
        }
        if let Some(number) = self.post {
            write!(f, ".post{number}")?;
        }
        if let Some(number) = self.dev {
            write!(f, ".dev{number}")?;
        }
        for (at, label) in self.local.iter().enumerate() {
            f.write_str(if at == 0 { "+" } else { "." })?;
            match label {
                Label::Word(word) => f.write_str(word)?,
                Label::Number(number) => write!(f, "{number}")?,
            }
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.epoch.cmp(&other.epoch);
        let order = order.then_with(|| self.trimmed().cmp(other.trimmed()));
        let order = order.then_with(|| self.suffix().cmp(&other.suffix()));
        order.then_with(|| self.local.cmp(&other.local))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// The unread part of a version's text, in lower case.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn version(&mut self) -> Option<Version> {
        let mut first = self.number()?;
        let epoch = if self.take("!") { std::mem::replace(&mut first, self.number()?) } else { 0 };
        let mut release = vec![first];
        while let Some(next) = self.attempt(|rest| rest.take(".").then(|| rest.number()).flatten())
        {
            release.push(next);
        }
        let pre = self.attempt(|rest| {
            rest.separator();
            let (_, phase) = *PHASES.iter().find(|(name, _)| rest.take(name))?;
            Some((phase, rest.trailing_number()))
        });
        let post = self.attempt(Self::post);
        let dev = self.attempt(|rest| {
            rest.separator();
            rest.take("dev").then(|| rest.trailing_number())
        });
        let local = if self.take("+") { self.local()? } else { Vec::new() };
        Some(Version { epoch, release, pre, post, dev, local })
    }

    fn post(&mut self) -> Option<u64> {
        if let Some(number) = self.attempt(|rest| rest.take("-").then(|| rest.number()).flatten()) {
            return Some(number);
        }
        self.separator();
        POSTS.iter().any(|name| self.take(name)).then(|| self.trailing_number())
    }

    fn local(&mut self) -> Option<Vec<Label>> {
        let mut labels = Vec::new();
        loop {
            let end = self.0.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.0.len());
            let (label, rest) = self.0.split_at(end);
            if label.is_empty() {
                return None;
            }
            self.0 = rest;
            let is_number = label.bytes().all(|byte| byte.is_ascii_digit());
            labels.push(if is_number {
                Label::Number(number(label))
            } else {
                Label::Word(label.into())
            });
            if !self.separator() {
                return Some(labels);
            }
        }
    }

    /// Restores the position if `read` returns `None`.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.0;
        let found = read(self);
        if found.is_none() {
            self.0 = before;
        }
        found
    }

    fn take(&mut self, start: &str) -> bool {
        let rest = self.0.strip_prefix(start);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn separator(&mut self) -> bool {
        self.take(".") || self.take("_") || self.take("-")
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (!digits.is_empty()).then(|| number(digits))
    }

    /// Returns the number after a word such as `rc`, with or without a separator; 0 if there is
    /// none.
    fn trailing_number(&mut self) -> u64 {
        let number = self.attempt(|rest| {
            rest.separator();
            rest.number()
        });
        if number.is_none() {
            self.separator();
        }
        number.unwrap_or(0)
    }
}

/// Parses digits; numbers beyond 64 bits become the largest.
fn number(digits: &str) -> u64 {
    digits.parse().unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Arbitrary,
    Compatible,
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Less,
    Greater,
}

/// All operators; an operator comes before its prefixes.
pub(super) const OPERATORS: [(&str, Operator); 8] = [
    ("===", Operator::Arbitrary),
    ("~=", Operator::Compatible),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// One comparison with a version: `>=1.2`, `==3.*`.
#[derive(Clone, Debug)]
pub struct Specifier {
    operator: Operator,
    /// The text as written, for `===`.
    text: String,
    /// `None` only for `===`.
    version: Option<Version>,
    is_prefix: bool,
}

impl Specifier {
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let found = OPERATORS
            .iter()
            .find_map(|(name, operator)| Some((operator, text.strip_prefix(name)?)));
        let Some((operator, rest)) = found else {
            bail!("`{text}` does not begin with a comparison such as `>=`");
        };
        let (operator, rest) = (*operator, rest.trim_start());
        if operator == Operator::Arbitrary {
            if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c == ';' || c == ')')
            {
                bail!("`{text}` does not compare with one version");
            }
            return Ok(Self { operator, text: rest.into(), version: None, is_prefix: false });
        }
        let prefix = rest.strip_suffix(".*");
        let version = Version::parse(prefix.unwrap_or(rest))?;
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let is_release = version.pre.is_none()
            && version.post.is_none()
            && version.dev.is_none()
            && version.local.is_empty();
        let is_wrong = (prefix.is_some() && !(is_equality && is_release))
            || (!version.local.is_empty() && !is_equality)
            || (operator == Operator::Compatible && version.release.len() < 2);
        if is_wrong {
            bail!("`{text}` is not a valid comparison with a version");
        }
        Ok(Self {
            operator,
            text: rest.into(),
            version: Some(version),
            is_prefix: prefix.is_some(),
        })
    }

    /// Returns whether all comparisons of a list, such as `>=3.8,<4`, allow a version.
    pub fn all_allow(list: &str, version: &str) -> Result<bool> {
        Ok(Self::parse_list(list)?.iter().all(|specifier| specifier.allows(version)))
    }

    /// Reads a list of comparisons, such as `>=3.8,<4`. An empty list has none.
    pub fn parse_list(list: &str) -> Result<Vec<Self>> {
        let texts = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(Self::parse).collect()
    }

    /// Returns the version of `==VERSION`; `None` for any other comparison.
    pub fn exact(&self) -> Option<&str> {
        (self.operator == Operator::Equal && !self.is_prefix).then_some(&self.text)
    }

    /// Returns whether the version in this text is allowed, pre-releases included. A text that is
    /// not a version is allowed only by `===`.
    pub fn allows(&self, text: &str) -> bool {
        let Some(wanted) = &self.version else { return self.text.eq_ignore_ascii_case(text) };
        let Ok(version) = Version::parse(text) else { return false };
        let public = version.public();
        match self.operator {
            Operator::Equal => self.equals(&version, wanted),
            Operator::NotEqual => !self.equals(&version, wanted),
            Operator::AtMost => public <= *wanted,
            Operator::AtLeast => public >= *wanted,
            Operator::Compatible => {
                let release = wanted.release[..wanted.release.len() - 1].to_vec();
                let (pre, post, dev, local) = (None, None, None, Vec::new());
                let series = Version { epoch: wanted.epoch, release, pre, post, dev, local };
                public >= *wanted && public.starts_with(&series)
            }
            // Pre-releases of 2 are not below 2; they are below 2.post1.
            Operator::Less if wanted.pre.is_some() || wanted.dev.is_some() => public < *wanted,
            Operator::Less => public < Version { dev: Some(0), ..wanted.clone() },
            // Post-releases of 2 are not above 2.
            Operator::Greater if wanted.post.is_some() || wanted.dev.is_some() => public > *wanted,
            Operator::Greater => {
                public > *wanted && !(public.is_same_release(wanted) && public.pre == wanted.pre)
            }
            Operator::Arbitrary => false,
        }
    }

    /// Returns the text that all specifiers with this meaning have: `==1` for `== v1.0`.
    pub(crate) fn canonical(&self) -> String {
        let Some(version) = &self.version else { return self.to_string() };
        let name = OPERATORS.iter().find(|(_, operator)| *operator == self.operator);
        let name = name.map_or("", |(name, _)| name);
        // A compatible release counts the parts of the version: `~=1.0` is not `~=1`.
        let counts = self.operator == Operator::Compatible || self.is_prefix;
        let release = if counts { version.release.clone() } else { version.trimmed().to_vec() };
        let star = if self.is_prefix { ".*" } else { "" };
        format!("{name}{}{star}", Version { release, ..version.clone() })
    }

    fn equals(&self, version: &Version, wanted: &Version) -> bool {
        match (self.is_prefix, wanted.local.is_empty()) {
            (true, _) => version.starts_with(wanted),
            (false, true) => version.public() == *wanted,
            (false, false) => version == wanted,
        }
    }
}

impl fmt::Display for Specifier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = OPERATORS.iter().find(|(_, operator)| *operator == self.operator);
        write!(f, "{}{}", name.map_or("", |(name, _)| name), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn versions_have_the_order_of_pep_440() {
        let sorted = [
            "1.dev0",
            "1.0a1.dev1",
            "1.0a1",
            "1.0a1.post1",
            "1.0b2",
            "1.0rc1",
            "1.0",
            "1.0+abc",
            "1.0+abc.5",
            "1.0+5",
            "1.0.post1.dev1",
            "1.0.post1",
            "1.1",
            "1!0.1",
        ];
        for pair in sorted.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for text in ["1.0rc1", "v1.0.0-RC.1", "1c1", "1.0_preview1", " 1.0.pre.1 "] {
            assert_eq!(version(text), version("1rc1"), "{text}");
        }
        assert_eq!(version("1-2"), version("1.0.r2"));
        assert_eq!(version("1a"), version("1a0"));
        for text in
            ["", "x", "1.", "1..0", "1+", "1+a..b", "1.0-", "6.1.0-18-amd64", "1 0", "1.0+é"]
        {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comparisons_follow_pep_440() {
        let allowed = [
            ("==3.*", "3.11"),
            ("==1.0", "1+local"),
            (">=3.8", "3.10"),
            ("~=1.4.2", "1.4.9"),
            ("<2", "1.9.post1"),
            ("!=1.0+x", "1.0"),
            ("===Foo", "foo"),
            (">1.0a1", "1.0a2"),
        ];
        for (specifier, text) in allowed {
            assert!(Specifier::parse(specifier).unwrap().allows(text), "{specifier} {text}");
        }
        let refused = [
            ("<2", "2rc1"),
            (">1", "1.post1"),
            (">1", "1+local"),
            ("~=1.4.2", "1.5"),
            ("==3.1.*", "3.11"),
            ("==1", "x"),
            ("==1.0+x", "1.0"),
        ];
        for (specifier, text) in refused {
            assert!(!Specifier::parse(specifier).unwrap().allows(text), "{specifier} {text}");
        }
        for wrong in [">=1.*", "~=1", "<1+x", "==1a.*", "1", "=1", "===", "in 1"] {
            assert!(Specifier::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Specifier::parse(">= 1.0").unwrap().to_string(), ">=1.0");
    }

    #[test]
    fn specifiers_with_one_meaning_have_one_canonical_text() {
        for (text, canonical) in [
            ("== v1.0", "==1"),
            (">=0.0", ">=0"),
            ("==1.0.*", "==1.0.*"),
            ("~=1.0", "~=1.0"),
            ("<2.0.0-RC1.dev3", "<2rc1.dev3"),
            ("!=1!2.post1+A_1", "!=1!2.post1+a.1"),
            ("===Foo", "===Foo"),
        ] {
            assert_eq!(Specifier::parse(text).unwrap().canonical(), canonical, "{text}");
        }
    }
}
