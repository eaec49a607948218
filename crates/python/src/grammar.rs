//! The parser of markers and of the parts of requirements (PEP 508).

use anyhow::{Result, bail};

use crate::environment::Environment;
use crate::version::OPERATORS;

/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 200;

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    One(Comparison),
}

#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) left: Operand,
    pub(crate) operator: String,
    pub(crate) right: Operand,
}

#[derive(Clone, Debug)]
pub(crate) enum Operand {
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

pub(crate) fn marker(text: &str) -> Result<Expression> {
    let mut rest = Rest { text, at: 0 };
    let expression = rest.any(0)?;
    if !rest.left().is_empty() {
        bail!("the marker `{}` has more than a condition: `{}`", text.trim(), rest.left());
    }
    Ok(expression)
}

/// A text and the position of the parser.
pub(crate) struct Rest<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Rest<'a> {
    pub(crate) fn left(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn space(&mut self) {
        let left = self.left();
        self.at += left.len() - left.trim_start_matches([' ', '\t']).len();
    }

    pub(crate) fn take(&mut self, start: &str) -> bool {
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

    pub(crate) fn identifier(&mut self) -> Result<String> {
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
    pub(crate) fn extras(&mut self) -> Result<Vec<String>> {
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

    pub(crate) fn unexpected(&self, wanted: &str) -> anyhow::Error {
        let left: String = self.left().chars().take(40).collect();
        let there = if left.is_empty() { "its end".into() } else { format!("`{left}`") };
        anyhow::anyhow!(
            "`{}` is not readable: {wanted} is missing before {there}",
            self.text.trim()
        )
    }
}
