//! The words of `MAKEFLAGS`: how make puts blanks, backslashes and dollars into one line of text
//! and gets them out again. Knows nothing of what the words mean.

/// A variable set on a command line and handed down to every make below.
///
/// Holds the text of its definition, not its value: `$$` in it is a dollar sign, and `$(NAME)`
/// is for a make to expand, so that what comes from above goes down unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    definition: String,
}

impl Variable {
    /// A variable whose value is `value` to the letter.
    pub fn literal(name: &str, value: &str) -> Self {
        Self { name: name.into(), definition: value.replace('$', "$$") }
    }

    /// Its value. A reference to another variable stays as it is written; make hands the
    /// expanded value down as an environment variable of the same name.
    pub fn value(&self) -> String {
        self.definition.replace("$$", "$")
    }

    /// From a word like `NAME=VALUE`. `None` when it is no definition, or one that would have
    /// to run a program (`!=`).
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

/// The words of `text`, with dollars and backslashes undone.
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

/// `word` such that [`split`], and make, give it back.
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
