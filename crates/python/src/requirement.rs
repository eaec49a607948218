//! Parser of markers and requirements (PEP 508).

use anyhow::{Result, bail};

use crate::marker::{Environment, Marker};
use crate::version::{OPERATORS, Specifier};

/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 200;

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    One(Comparison),
}

#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) left: Operand,
    pub(super) operator: String,
    pub(super) right: Operand,
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Variable(String),
    Text(String),
}

/// Variables that are not values of an [`Environment`].
const SELECTIONS: [&str; 3] = ["extra", "extras", "dependency_groups"];

/// Older spellings of variables.
const ALIASES: [(&str, &str); 6] = [
    ("os.name", "os_name"),
    ("sys.platform", "sys_platform"),
    ("platform.version", "platform_version"),
    ("platform.machine", "platform_machine"),
    ("platform.python_implementation", "platform_python_implementation"),
    ("python_implementation", "platform_python_implementation"),
];

/// A requirement: `NAME[EXTRAS] >=1,<2; MARKER` or `NAME[EXTRAS] @ URL ; MARKER`.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// The name as written.
    pub name: String,
    pub extras: Vec<String>,
    pub specifiers: Vec<Specifier>,
    pub url: Option<String>,
    pub marker: Option<Marker>,
}

impl Requirement {
    pub fn parse(text: &str) -> Result<Self> {
        let mut rest = Rest { text, at: 0 };
        rest.space();
        let name = rest.identifier()?;
        let extras = if rest.take("[") { rest.extras()? } else { Vec::new() };
        let mut found = Self { name, extras, specifiers: Vec::new(), url: None, marker: None };
        rest.space();
        let (specifiers, marker) = if rest.take("@") {
            rest.space();
            let (url, rest) = rest
                .left()
                .split_at(rest.left().find(char::is_whitespace).unwrap_or(rest.left().len()));
            found.url = Some(url.to_string());
            let marker = rest.trim_start();
            match marker.strip_prefix(';') {
                _ if url.is_empty() => bail!("`{text}` has no URL after `@`"),
                None if !marker.is_empty() => bail!("`{text}` has more than a URL after `@`"),
                marker => ("", marker),
            }
        } else {
            let left = rest.left();
            match left.split_once(';') {
                Some((specifiers, marker)) => (specifiers, Some(marker)),
                None => (left, None),
            }
        };
        found.marker = marker.map(Marker::parse).transpose()?;
        let specifiers = specifiers.trim();
        let inner = specifiers.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
        let specifiers = inner.unwrap_or(specifiers).split(',').map(str::trim);
        let specifiers = specifiers.filter(|specifier| !specifier.is_empty());
        found.specifiers = specifiers.map(Specifier::parse).collect::<Result<_>>()?;
        Ok(found)
    }

    /// Returns whether a version is allowed, pre-releases included.
    pub fn allows(&self, version: &str) -> bool {
        self.specifiers.iter().all(|specifier| specifier.allows(version))
    }

    /// Returns whether the requirement applies in an environment, for a package that is required
    /// with `extras`.
    pub fn applies(&self, environment: &Environment, extras: &[&str]) -> Result<bool> {
        self.marker.as_ref().map_or(Ok(true), |marker| marker.eval(environment, extras))
    }
}

pub(super) fn marker(text: &str) -> Result<Expression> {
    let mut rest = Rest { text, at: 0 };
    let expression = rest.any(0)?;
    if !rest.left().is_empty() {
        bail!("the marker `{}` has more than a condition: `{}`", text.trim(), rest.left());
    }
    Ok(expression)
}

/// A text and the position of the parser.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn left(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let left = self.left();
        self.at += left.len() - left.trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, start: &str) -> bool {
        let is_next = self.left().starts_with(start);
        self.at += if is_next { start.len() } else { 0 };
        is_next
    }

    /// Takes a word, unless it is the prefix of a longer one.
    fn take_word(&mut self, word: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let goes_on = |rest: &str| rest.starts_with(is_part);
        self.left().strip_prefix(word).is_some_and(|rest| !goes_on(rest)) && self.take(word)
    }

    fn any(&mut self, depth: usize) -> Result<Expression> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self, depth: usize) -> Result<Expression> {
        let mut parts = vec![self.atom(depth)?];
        while self.take_word("and") {
            parts.push(self.atom(depth)?);
        }
        Ok(Expression::All(parts))
    }

    fn atom(&mut self, depth: usize) -> Result<Expression> {
        self.space();
        let expression = if self.take("(") {
            if depth == DEPTH_MAX {
                bail!("the marker has more than {DEPTH_MAX} parentheses within each other");
            }
            let inner = self.any(depth + 1)?;
            if !self.take(")") {
                return Err(self.unexpected("`)`"));
            }
            inner
        } else {
            let left = self.operand()?;
            let operator = self.operator()?;
            let right = self.operand()?;
            if let (Operand::Text(_), Operand::Text(_)) = (&left, &right) {
                bail!("the marker `{}` compares two texts", self.text.trim());
            }
            Expression::One(Comparison { left, operator, right })
        };
        self.space();
        Ok(expression)
    }

    fn operand(&mut self) -> Result<Operand> {
        self.space();
        for quote in ["\"", "'"] {
            if !self.take(quote) {
                continue;
            }
            let Some((text, _)) = self.left().split_once(quote) else {
                return Err(self.unexpected("the closing quote"));
            };
            self.at += text.len() + quote.len();
            return Ok(Operand::Text(text.into()));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let left = self.left();
        let name = &left[..left.find(|c| !is_name(c)).unwrap_or(left.len())];
        let own = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, own)| own);
        let environment = Environment::of_runtime((3, 0), "");
        let mut names = environment.values().map(|(name, _)| name).chain(SELECTIONS);
        if !names.any(|name| name == own) {
            return Err(self.unexpected("a variable such as `python_version`, or a quoted text"));
        }
        self.at += name.len();
        Ok(Operand::Variable(own.into()))
    }

    fn operator(&mut self) -> Result<String> {
        self.space();
        if self.take_word("in") {
            return Ok("in".into());
        }
        if self.take_word("not") {
            self.space();
            if self.take_word("in") {
                return Ok("not in".into());
            }
            return Err(self.unexpected("`in` after `not`"));
        }
        match OPERATORS.iter().find(|(name, _)| self.take(name)) {
            Some((name, _)) => Ok((*name).into()),
            None => Err(self.unexpected("a comparison such as `<`, `==` or `in`")),
        }
    }

    fn identifier(&mut self) -> Result<String> {
        let left = self.left();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let word = &left[..left.find(|c| !is_part(c)).unwrap_or(left.len())];
        let word = word.trim_end_matches(['.', '_', '-']);
        if !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(self.unexpected("a name"));
        }
        self.at += word.len();
        self.space();
        Ok(word.into())
    }

    /// Parses the part after `[`, up to the `]`.
    fn extras(&mut self) -> Result<Vec<String>> {
        let mut extras = Vec::new();
        self.space();
        if self.take("]") {
            return Ok(extras);
        }
        loop {
            extras.push(self.identifier()?);
            if self.take("]") {
                return Ok(extras);
            }
            if !self.take(",") {
                return Err(self.unexpected("`,` or `]`"));
            }
            self.space();
        }
    }

    fn unexpected(&self, wanted: &str) -> anyhow::Error {
        let left: String = self.left().chars().take(40).collect();
        let there = if left.is_empty() { "its end".into() } else { format!("`{left}`") };
        anyhow::anyhow!(
            "`{}` is not readable: {wanted} is missing before {there}",
            self.text.trim()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read() {
        let found =
            Requirement::parse("Foo.Bar[a, b-c] (>=1.0, !=1.5.*) ; python_version < '3'").unwrap();
        assert_eq!((found.name.as_str(), found.extras.join("+")), ("Foo.Bar", "a+b-c".into()));
        assert!(found.allows("1.4") && !found.allows("1.5.2"));
        assert!(!found.applies(&Environment::of_runtime((3, 13), "x86_64"), &[]).unwrap());
        let found = Requirement::parse("a@https://h/a;b.whl ; os_name == 'posix'").unwrap();
        assert_eq!(found.url.as_deref(), Some("https://h/a;b.whl"));
        assert!(found.marker.is_some());
        assert!(Requirement::parse("a>=1,").unwrap().allows("2"));
        assert!(Requirement::parse("a[]").unwrap().extras.is_empty());
        for wrong in ["", "-a", "a[", "a[b c]", "a b", "a @ ", "a @ u v", "a >=x", "a; x"] {
            assert!(Requirement::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn markers_that_are_not_readable_are_errors() {
        let deep = format!("{}os_name == 'a'{}", "(".repeat(201), ")".repeat(201));
        let wrong = [
            "",
            "os_name",
            "os_name ==",
            "os_name = 'a'",
            "os_name == 'a",
            "os_name == 'a' and",
            "(os_name == 'a'",
            "os_names == 'a'",
            "'a' == 'b'",
            "os_name notin 'a'",
            "os_name == 'a' os_name == 'b'",
            &deep,
        ];
        for text in wrong {
            assert!(marker(text).is_err(), "{text}");
        }
        assert!(marker("os_name in'a'or(os_name=='b')").is_ok());
    }
}
