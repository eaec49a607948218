//! Which names a Python module defines, found by reading it, not by running it: the statements at
//! its top level, those in `if`, `try` and the like included, those in functions and classes not.
//!
//! Enough of Python's grammar for that and no more. What it cannot follow it says it cannot.

/// What is known of a name after the whole module has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Defined,
    NotDefined,
    /// Names may come from elsewhere: a star import, `globals()`, code that cannot be followed.
    Unsure,
}

/// Statements that open a block in which names are the block's own.
const SCOPES: [&str; 2] = ["def", "class"];
/// Words at the beginning of a line that opens a block of the module's own level.
const BLOCKS: [&str; 9] =
    ["if", "elif", "else", "try", "except", "finally", "for", "while", "with"];
/// Ways to define a name that leave no trace of it in the text.
const DYNAMIC: [&str; 5] = ["globals", "exec", "__getattr__", "setattr", "modules"];

pub(super) fn defines(text: &str, name: &str) -> Answer {
    let Some(lines) = logical_lines(text) else { return Answer::Unsure };
    let mut answer = Answer::NotDefined;
    // The indentation of the function or class that the current line is in.
    let mut scope: Option<usize> = None;
    for line in &lines {
        if scope.is_some_and(|indent| line.indent > indent) {
            continue;
        }
        scope = None;
        for statement in statements(&line.tokens) {
            if binds(statement, name) {
                return Answer::Defined;
            }
            let is_star = statement.first() == Some(&"from") && statement.last() == Some(&"*");
            let is_dynamic = statement.iter().any(|token| DYNAMIC.contains(token));
            if is_star || is_dynamic {
                answer = Answer::Unsure;
            }
        }
        let mut words = line.tokens.iter().filter(|token| **token != "async");
        if words.next().is_some_and(|word| SCOPES.contains(word)) {
            scope = Some(line.indent);
        }
    }
    answer
}

/// A line as Python's grammar has it: brackets, quotes and backslashes join several into one.
struct Line<'a> {
    indent: usize,
    /// Names, single characters of punctuation, and [`TEXT`] for each string.
    tokens: Vec<&'a str>,
}

const TEXT: &str = "\"\"";

/// `None` when the text ends in the middle of something.
fn logical_lines(text: &str) -> Option<Vec<Line<'_>>> {
    let mut lines = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = Line { indent: 0, tokens: Vec::new() };
    let (mut depth, mut at_start) = (0_usize, true);
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match c {
            '\n' => {
                if depth == 0 {
                    if !line.tokens.is_empty() {
                        lines.push(line);
                    }
                    line = Line { indent: 0, tokens: Vec::new() };
                    at_start = true;
                }
            }
            '\\' if rest[1..].starts_with('\n') => length = 2,
            '\\' if rest[1..].starts_with("\r\n") => length = 3,
            ' ' | '\t' if at_start => line.indent += 1,
            c if c.is_whitespace() => {}
            '#' => length = rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                // Its prefix, if any, was taken for a name, which does no harm.
                length = string_length(rest)?;
                line.tokens.push(TEXT);
                at_start = false;
            }
            c if c.is_alphanumeric() || c == '_' => {
                length =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                line.tokens.push(&rest[..length]);
                at_start = false;
            }
            _ => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                length = operator_length(rest).unwrap_or(length);
                line.tokens.push(&rest[..length]);
                at_start = false;
            }
        }
        rest = &rest[length..];
    }
    if !line.tokens.is_empty() {
        lines.push(line);
    }
    (depth == 0).then_some(lines)
}

/// Operators with a `=` that is no assignment of a name.
fn operator_length(rest: &str) -> Option<usize> {
    ["==", "!=", "<=", ">=", ":=", "->"].iter().find(|op| rest.starts_with(**op)).map(|op| op.len())
}

/// The length of the string that `rest` begins with. `None` when it does not end.
fn string_length(rest: &str) -> Option<usize> {
    let quote = &rest[..1];
    let triple = quote.repeat(3);
    let end = if rest.starts_with(&triple) { triple.as_str() } else { quote };
    let mut at = end.len();
    loop {
        let left = rest.get(at..)?;
        if left.starts_with(end) {
            return Some(at + end.len());
        }
        let c = left.chars().next()?;
        at += c.len_utf8();
        match c {
            // Also in a raw string a backslash keeps the quote behind it from ending it.
            '\\' => at += left[1..].chars().next()?.len_utf8(),
            '\n' if end.len() == 1 => return None,
            _ => {}
        }
    }
}

/// The simple statements of a line: parts between `;`, and what stands behind the `:` of a block.
fn statements<'l, 'a>(tokens: &'l [&'a str]) -> Vec<&'l [&'a str]> {
    let mut found = Vec::new();
    for part in split(tokens, ";") {
        let opens_block = part.first().is_some_and(|word| BLOCKS.contains(word));
        if opens_block && let Some(colon) = position(part, ":") {
            found.push(&part[..colon]);
            found.push(&part[colon + 1..]);
        } else {
            found.push(part);
        }
    }
    found
}

/// Where a token stands outside of all brackets.
fn position(tokens: &[&str], wanted: &str) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.iter().position(|token| {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == wanted
    })
}

fn split<'l, 'a>(mut tokens: &'l [&'a str], at: &str) -> Vec<&'l [&'a str]> {
    let mut parts = Vec::new();
    while let Some(end) = position(tokens, at) {
        parts.push(&tokens[..end]);
        tokens = &tokens[end + 1..];
    }
    parts.push(tokens);
    parts
}

fn binds(statement: &[&str], name: &str) -> bool {
    match statement {
        ["async", "def", defined, ..] | ["def" | "class", defined, ..] => *defined == name,
        ["import", modules @ ..] => split(modules, ",").iter().any(|module| match module {
            [.., "as", alias] => *alias == name,
            [first, ..] => *first == name,
            [] => false,
        }),
        ["from", rest @ ..] => {
            let names =
                rest.iter().position(|token| *token == "import").map_or(rest.len(), |at| at + 1);
            let names = rest[names..].iter().copied().filter(|token| !"()".contains(token));
            let names: Vec<&str> = names.collect();
            split(&names, ",").iter().any(|name_of| name_of.last() == Some(&name))
        }
        ["for" | "async", ..] => targets(statement, name),
        statement => {
            let has_alias = statement.windows(2).any(|pair| pair == ["as", name]);
            let has_walrus = statement.windows(2).any(|pair| pair == [name, ":="]);
            let parts = split(statement, "=");
            let assigned = parts[..parts.len() - 1].iter().any(|part| targets(part, name));
            // `handler: Callable` alone defines nothing, and with a value it has a `=`.
            has_alias || has_walrus || assigned
        }
    }
}

/// Whether `name` is among the names that are assigned to: not an attribute, an item, an argument.
fn targets(part: &[&str], name: &str) -> bool {
    let part = match position(part, ":") {
        Some(annotation) => &part[..annotation],
        None => part,
    };
    part.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).map_or("", |at| part[at]);
        let after = part.get(at + 1).copied().unwrap_or_default();
        *token == name && before != "." && !matches!(after, "." | "[" | "(")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Answer, texts: &[&str]) {
        for text in texts {
            assert_eq!(defines(text, "handler"), expected, "in:\n{text}");
        }
    }

    #[test]
    fn every_way_to_define_a_name_counts() {
        check(
            Answer::Defined,
            &[
                "def handler(event, context):\n    return 1\n",
                "async def handler(e, c): pass",
                "@decorated(\n  'x',\n)\ndef handler(e, c): ...",
                "class handler: pass",
                "handler = app.handler",
                "handler: Callable = make()",
                "other = handler = make()",
                "(other, handler) = make()",
                "other, handler = make()",
                "import app as handler",
                "import handler.sub",
                "import os, handler",
                "from app import handler",
                "from app import other as handler, more",
                "from app import (\n    other,  # the other one\n    handler,\n)",
                "try:\n    from fast import handler\nexcept ImportError:\n    pass",
                "if True: handler = 1",
                "if x:\n\tdef handler(e, c):\n\t\tpass",
                "x = 1; handler = 2",
                "\u{feff}def handler(): pass",
                "x = '''\ndef f(\n'''\ndef handler(): pass",
                "x = \\\n  1\r\nhandler = 2",
                "with make() as handler:\n    pass",
                "for handler in handlers: pass",
                "if (handler := make()): pass",
                "x = f\"{y['a']}\"\nhandler = 1",
                "x = r'\\''\nhandler = 1",
                "x = 'a\\\nb'\nhandler = 1",
            ],
        );
    }

    #[test]
    fn what_is_not_at_the_top_level_does_not_count() {
        check(
            Answer::NotDefined,
            &[
                "",
                "# def handler(): pass",
                "'''\ndef handler(): pass\n'''",
                "class App:\n    def handler(self): pass\n",
                "def make():\n    handler = 1\n    return handler\n",
                "async def make():\n    def handler(): pass\nx = 1",
                "def handler_of(x): pass",
                "app.handler = 1",
                "handlers['x'] = handler()",
                "x = call(handler=1)",
                "x == handler",
                "print(handler)",
                "handler: Callable",
                "from handler import other",
                "import app.handler",
                "x = {\n  'handler': 1,\n}",
                "if x:\n    pass\nclass A:\n  if y:\n    handler = 1",
            ],
        );
    }

    #[test]
    fn what_cannot_be_followed_is_unsure() {
        check(
            Answer::Unsure,
            &[
                "from app import *",
                "globals()['handler'] = 1",
                "def __getattr__(name): ...",
                "exec(code)",
                "setattr(sys.modules[__name__], 'handler', 1)",
                "x = (",
                "x = '''",
                "x = 'a\n",
                ")",
            ],
        );
        check(Answer::Defined, &["from app import *\ndef handler(): pass"]);
    }
}
