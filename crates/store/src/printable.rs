//! Text that may be shown: names and words of wheels, source distributions, bundles and AWS come from
//! strangers, and must neither steer a terminal nor turn a line around.
//!
//! Everything that writes for a person takes a [`Printable`], so escaping cannot be forgotten.

use std::fmt::{self, Display};

use anstyle::Style;

/// Text in which nothing is hidden. What would be is shown by its code, as in `\u{202e}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Printable(String);

impl Printable {
    /// As it is, for the output of the user's own commands: they may colour and draw.
    pub fn as_is(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A text in which every escape character is of a style of our own.
    pub fn already_styled(text: &str) -> Self {
        Self(escape(text, |c| is_hidden(c) && c != '\u{1b}', rust_code))
    }

    /// In one line: line breaks and tabs are shown by their codes too.
    pub fn line(text: &str) -> Self {
        Self(escape(text, |c| is_hidden(c) || matches!(c, '\n' | '\t'), rust_code))
    }

    /// With a style of our own.
    pub fn styled(style: Style, text: &str) -> Self {
        Self(format!("{style}{}{style:#}", Self::from(text)))
    }

    /// A JSON text, which stays one of the same meaning: only its strings can have such characters.
    pub fn json(text: &str) -> Self {
        Self(escape(text, is_hidden, json_code))
    }

    pub fn push(&mut self, text: impl Into<Self>) {
        self.0 += &text.into().0;
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Printable {
    fn from(text: &str) -> Self {
        Self(escape(text, is_hidden, rust_code))
    }
}

impl From<&String> for Printable {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<String> for Printable {
    fn from(text: String) -> Self {
        if text.contains(is_hidden) { text.as_str().into() } else { Self(text) }
    }
}

impl From<&Self> for Printable {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

/// Puts texts together, each escaped unless it is a [`Printable`].
#[macro_export]
macro_rules! printable {
    ($($part:expr),* $(,)?) => {{
        let mut text = $crate::Printable::default();
        $(text.push($part);)*
        text
    }};
}
pub use printable;

/// Returns whether a character is invisible: control characters except line breaks and tabs, those
/// that set the direction of text, and those without a width.
pub fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Soft hyphen; marks of direction.
        '\u{ad}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => true,
        // Embeddings and overrides; isolates.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Separators of lines and paragraphs, which end a line in some programs.
        '\u{2028}' | '\u{2029}' => true,
        // Of no width, but for the joiners, which scripts and emoji need.
        '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool, code: fn(char, &mut String)) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) { code(c, &mut shown) } else { shown.push(c) }
    }
    shown
}

fn rust_code(c: char, shown: &mut String) {
    shown.extend(c.escape_default());
}

fn json_code(c: char, shown: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        *shown += &format!("\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    #[test]
    fn what_hides_is_shown_by_its_code_and_all_else_stays() {
        let check = |text: &str, shown: &str| assert_eq!(Printable::from(text).as_str(), shown);
        check("a\u{1b}[2J\r\u{9b}1m\u{7f}\0", r"a\u{1b}[2J\r\u{9b}1m\u{7f}\u{0}");
        check("exe\u{202e}fdp.\u{2066}x\u{200b}", r"exe\u{202e}fdp.\u{2066}x\u{200b}");
        check("\u{e0041}\u{feff}\u{2028}", r"\u{e0041}\u{feff}\u{2028}");
        let seen = "Grüße, नमस्\u{200d}ते, 👩\u{200d}💻\n\tשלום";
        check(seen, seen);
        let twice = Printable::from(Printable::from("\u{1b}").as_str());
        assert_eq!(twice.as_str(), r"\u{1b}");
        assert_eq!(Printable::line("a\nb").as_str(), r"a\nb");
    }

    #[test]
    fn only_our_own_styles_steer_the_terminal() {
        let red = AnsiColor::Red.on_default();
        let text = printable![Printable::styled(red, "x\u{1b}[0m"), ": ", "\u{1b}[31m", "é"];
        assert_eq!(text.as_str(), "\u{1b}[31mx\\u{1b}[0m\u{1b}[0m: \\u{1b}[31mé");
    }

    #[test]
    fn json_stays_json_of_the_same_meaning() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}\u{7f}\u{e0041}\u{1b}\n" });
        let shown = Printable::json(&value.to_string());
        assert!(!shown.as_str().contains(|c: char| is_hidden(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(shown.as_str()).unwrap(), value);
    }
}
