//! Lines of recipes as lists of simple commands. A line with more of the shell's language than words,
//! quotes, `&&`, `;`, `|`, redirections and `( … )` is not split.

use std::iter::Peekable;
use std::str::Chars;

use super::pattern;

/// A simple command, and how it is joined to the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) words: Vec<Word>,
    pub(super) joint: Joint,
    /// Whether its output goes elsewhere than to the terminal.
    pub(super) is_redirected: bool,
    /// The file of its output, if that is all that is redirected.
    pub(super) output: Option<Word>,
    /// `(` or `)` instead of a command: the bounds of a shell of its own.
    pub(super) bound: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Joint {
    #[default]
    Start,
    And,
    Then,
    Or,
    Pipe,
}

/// A word without its quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// The text with a `\` before characters that mean themselves and something else in a glob.
    pub(super) glob: String,
    /// Whether the shell would expand it: a `*`, `?` or `[` outside of quotes.
    pub(super) is_pattern: bool,
}

impl Simple {
    /// The command as text, without its redirections.
    pub(super) fn script(&self) -> String {
        let quoted = |word: &Word| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
            match word.text.chars().all(is_plain) && !word.text.is_empty() {
                true => word.text.clone(),
                false => format!("'{}'", word.text.replace('\'', r"'\''")),
            }
        };
        self.words.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// Words at the start of a command that make it something else than a simple one.
const KEYWORDS: [&str; 12] =
    ["if", "for", "while", "until", "case", "function", "!", "{", "[[", "select", "time", "exec"];

/// Returns the lines of a recipe, continued ones joined: make starts a shell for each.
pub(super) fn lines(recipe: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut is_open = false;
    for line in recipe.lines() {
        match lines.last_mut().filter(|_| is_open) {
            Some(last) => {
                last.pop();
                last.push_str(line.strip_prefix('\t').unwrap_or(line));
            }
            None => lines.push(line.to_owned()),
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        is_open = backslashes % 2 == 1;
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// Splits a line. Returns `None` if it has anything else than simple commands in it, or a variable.
pub(super) fn split(line: &str) -> Option<Vec<Simple>> {
    let mut reader = Reader { done: Vec::new(), simple: Simple::default(), word: None, depth: 0 };
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => reader.push(chars.next()?),
            '\'' => {
                reader.word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => reader.push(c),
                    }
                }
            }
            '"' => {
                reader.word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '$' | '`' => return None,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => reader.push(c),
                            c => {
                                reader.push('\\');
                                reader.push(c);
                            }
                        },
                        c => reader.push(c),
                    }
                }
            }
            '(' => reader.open()?,
            ')' => reader.close()?,
            '$' | '`' | '<' => return None,
            '#' if reader.word.is_none() => break,
            ' ' | '\t' => reader.end_word(),
            ';' => reader.end_simple(Joint::Then)?,
            '&' => match chars.next()? {
                '&' => reader.end_simple(Joint::And)?,
                _ => return None,
            },
            '|' => match chars.next_if_eq(&'|') {
                Some(_) => reader.end_simple(Joint::Or)?,
                None => reader.end_simple(Joint::Pipe)?,
            },
            '>' => reader.redirect(&mut chars),
            '*' | '?' | '[' => reader.push_wildcard(c),
            '{' if is_expanded(chars.clone()) => return None,
            c => reader.push(c),
        }
    }
    reader.finish()
}

/// Whether the shell would make several words of what follows a `{`, as of `{a,b}`.
fn is_expanded(rest: Peekable<Chars>) -> bool {
    let word: String = rest.take_while(|c| !c.is_whitespace()).collect();
    word.split_once('}').is_some_and(|(inner, _)| inner.contains(',') || inner.contains(".."))
}

struct Reader {
    done: Vec<Simple>,
    simple: Simple,
    word: Option<Word>,
    /// Number of open `(`.
    depth: usize,
}

impl Reader {
    /// `(` where a command could begin.
    fn open(&mut self) -> Option<()> {
        if self.word.is_some() || !self.simple.words.is_empty() || self.is_after_group() {
            return None;
        }
        self.depth += 1;
        let simple = std::mem::take(&mut self.simple);
        self.done.push(Simple { bound: Some(Bound::Open), ..simple });
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        self.end_word();
        if !self.simple.words.is_empty() {
            self.end_simple(Joint::Start)?;
        }
        self.done.push(Simple { bound: Some(Bound::Close), ..Simple::default() });
        Some(())
    }

    /// Reads the rest of a redirection of output.
    fn redirect(&mut self, chars: &mut Peekable<Chars>) {
        // The number in front is that of a stream.
        let stream = self.word.take_if(|word| ["1", "2"].contains(&word.text.as_str()));
        self.end_word();
        let is_plain = stream.is_none_or(|stream| stream.text == "1")
            && chars.next_if_eq(&'>').is_none()
            && chars.next_if_eq(&'&').is_none();
        while chars.next_if(|c| ">& ".contains(*c)).is_some() {}
        let mut text = String::new();
        text.extend(std::iter::from_fn(|| chars.next_if(|c| !" ;&|)".contains(*c))));
        let is_literal = !text.contains(['$', '\'', '"', '*', '?', '`', '(']);
        let word = Word { glob: pattern::literal(&text), text, is_pattern: false };
        self.simple.output =
            Some(word).filter(|_| is_plain && is_literal && !self.simple.is_redirected);
        self.simple.is_redirected = true;
    }

    /// Whether a group has just ended, so that only a joint may follow.
    fn is_after_group(&self) -> bool {
        self.simple.joint == Joint::Start
            && self.done.last().is_some_and(|last| last.bound == Some(Bound::Close))
    }

    fn push(&mut self, c: char) {
        let word = self.word.get_or_insert_default();
        word.text.push(c);
        if pattern::SPECIAL.contains(&c) {
            word.glob.push('\\');
        }
        word.glob.push(c);
    }

    fn push_wildcard(&mut self, c: char) {
        let word = self.word.get_or_insert_default();
        word.text.push(c);
        word.glob.push(c);
        word.is_pattern = true;
    }

    fn end_word(&mut self) {
        self.simple.words.extend(self.word.take());
    }

    fn end_simple(&mut self, joint: Joint) -> Option<()> {
        self.end_word();
        let is_after_group = self.is_after_group();
        let simple = std::mem::replace(&mut self.simple, Simple { joint, ..Simple::default() });
        if is_after_group {
            let is_empty = simple.words.is_empty() && !simple.is_redirected;
            return is_empty.then_some(());
        }
        let first = simple.words.first()?;
        let is_assignment = first.text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        if KEYWORDS.contains(&first.text.as_str()) || is_assignment {
            return None;
        }
        self.done.push(simple);
        Some(())
    }

    fn finish(mut self) -> Option<Vec<Simple>> {
        self.end_word();
        if self.depth > 0 || self.is_after_group() && self.simple.is_redirected {
            return None;
        }
        if self.simple.words.is_empty() {
            // `a;` is fine, `a &&` is not.
            let is_ended = self.simple.joint == Joint::Then || self.is_after_group();
            return (is_ended || self.done.is_empty()).then_some(self.done);
        }
        self.end_simple(Joint::Start)?;
        Some(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<String>>> {
        let words = |simple: Simple| simple.words.into_iter().map(|word| word.text).collect();
        split(line).map(|simples| simples.into_iter().map(words).collect())
    }

    #[test]
    fn lines_are_joined_and_split_as_the_shell_does() {
        assert_eq!(lines("a \\\n   b\n\nc\n"), ["a    b", "c"]);
        let found =
            words("cd x && zip -r '../a b.zip' * ; echo \"x;\\\"y\" 2>/dev/null # end").unwrap();
        assert_eq!(
            found,
            [vec!["cd", "x"], vec!["zip", "-r", "../a b.zip", "*"], vec!["echo", "x;\"y"]]
        );
        assert_eq!(
            words("(cd x; y > /dev/null) && z;(a)").unwrap(),
            [vec![], vec!["cd", "x"], vec!["y"], vec![], vec!["z"], vec![], vec!["a"], vec![]]
                as [Vec<&str>; 8]
        );
        let found = split("a *.py '*.py' | b").unwrap();
        assert_eq!([&found[0].words[1].glob, &found[0].words[2].glob], ["*.py", r"\*.py"]);
        assert!(found[0].words[1].is_pattern && !found[0].words[2].is_pattern);
        assert_eq!(found[1].joint, Joint::Pipe);
    }

    #[test]
    fn what_is_more_than_words_is_not_split() {
        for line in [
            "echo $HOME",
            "if a; then b; fi",
            "(cd x; y) > z",
            "(cd x; y",
            "x (y)",
            "(a) b",
            "(a) (b)",
            "(a))",
            "a `b`",
            "A=1 b",
            "a &",
            "cp {a,b} c",
            "cat < x",
            "a &&",
            "'a",
        ] {
            assert_eq!(words(line), None, "{line}");
        }
    }
}
