//! The words of `MAKEFLAGS`: how make encodes blanks, backslashes and dollars in one line of text,
//! and decodes them. Knows nothing of the meaning of the words.

/// A variable set on a command line and passed down to every make below.
///
/// Has the text of its definition, not its value: `$$` in it is a dollar sign, and `$(NAME)` is
/// expanded by a make, so that the text is passed down unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    definition: String,
}

impl Variable {
    /// Returns a variable whose value is exactly `value`.
    pub fn literal(name: &str, value: &str) -> Self {
        Self { name: name.into(), definition: value.replace('$', "$$") }
    }

    /// Returns its value. A reference to another variable stays as it is written; make hands the expanded
    /// value down as an environment variable of the same name.
    pub fn value(&self) -> String {
        self.definition.replace("$$", "$")
    }

    /// Parses a word like `NAME=VALUE`. Returns `None` if it is not a definition, or is one that would
    /// have to run a program (`!=`).
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (left, right) = word.split_once('=')?;
        let name = left.trim_end_matches([':', '?', '+']);
        if name.is_empty() || name.ends_with('!') || name.contains(blank) {
            return None;
        }
        if left.ends_with(':') {
            // Make has expanded the right side of `:=` already, and does not double the dollars
            // that it wrote into the value.
            return Some(Self::literal(name, right));
        }
        Some(Self { name: name.into(), definition: right.into() })
    }

    pub(super) fn word(&self) -> String {
        format!("{}={}", self.name, self.definition)
    }
}

/// Make's blanks. A line break is not one: it may stand inside a word.
fn blank(letter: char) -> bool {
    letter == ' ' || letter == '\t'
}

/// Splits `text` into words and decodes dollars and backslashes.
pub(super) fn split(text: &str) -> Vec<String> {
    let text = text.replace("$$", "$");
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if blank(letter) {
            words.extend(word.take());
            continue;
        }
        // A backslash at the very end stands for itself.
        let letter = if letter == '\\' { letters.next().unwrap_or('\\') } else { letter };
        word.get_or_insert_default().push(letter);
    }
    words.extend(word);
    words
}

/// Encodes `word` so that [`split`], and make, return it.
pub(super) fn quote(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len());
    for letter in word.chars() {
        match letter {
            '$' => quoted.push('$'),
            '\\' => quoted.push('\\'),
            _ if blank(letter) => quoted.push('\\'),
            _ => {}
        }
        quoted.push(letter);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_undone_by_splitting() {
        for word in ["a", "a b", "a\tb", "\\", "a\\ b", "$", "$$(x)", "a#b%é", "two\nlines"] {
            assert_eq!(split(&format!("  x {} \t y", quote(word))), ["x", word, "y"]);
        }
        assert_eq!(split("end\\"), ["end\\"]);
        assert_eq!(split(" \t "), [""; 0]);
    }

    #[test]
    fn a_definition_is_read_in_every_spelling() {
        let value = |word| Variable::parse(word).map(|variable| variable.value());
        for word in ["A=q r", "A:=q r", "A::=q r", "A:::=q r", "A?=q r", "A+=q r"] {
            assert_eq!(Variable::parse(word).unwrap().name, "A");
            assert_eq!(value(word).as_deref(), Some("q r"));
        }
        assert_eq!(value("A=b=c").as_deref(), Some("b=c"));
        assert_eq!(value("A=").as_deref(), Some(""));
        assert_eq!(value("A=x$$y").as_deref(), Some("x$y"));
        for word in ["goal", "=x", "A!=ls", "two words=x"] {
            assert_eq!(value(word), None);
        }
    }
}
