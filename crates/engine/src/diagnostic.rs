//! One mistake in a Buildfile: its text, its place, related places and a hint; and how it is shown.
//! `mistakes` has the texts of all mistakes.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str as plain,
};

use zipwright_store::Printable;

/// Byte range in the Buildfile's text.
pub type Span = Range<usize>;

/// A value and its place. Equality compares only the value, so reformatting changes nothing.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    message: String,
    /// `None` when the mistake is not in the file but on the command line.
    place: Option<Note>,
    related: Vec<Note>,
    hints: Vec<String>,
    rests: Rests,
    rule: Option<Rule>,
}

/// The rule of the format that a mistake breaks, for the schema of Buildfiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The value is of another type.
    Type,
    /// The table has only these keys.
    Keys(Vec<String>),
    /// The table has one of these keys.
    AnyOf(Vec<String>),
    /// The table has one of these keys at most.
    NotBoth([String; 2]),
    /// The first key needs the second.
    With(String, String),
    /// The text is one of these words.
    Words(Vec<String>),
    /// The text is one of these words, or has another form.
    Known(Vec<String>),
    /// The whole text matches this regular expression.
    Pattern(&'static str),
    NotEmpty,
    /// The number is from the first to the second.
    Range(u16, u16),
    /// A target of this kind has no stamp.
    NoStamp,
}

/// What of the text a mistake rests on, and so whether it still counts where that could not be
/// read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rests {
    /// The place it points to.
    Note,
    /// Which table a key is in: on every header so far.
    Headers,
    /// Something not being there: on the whole text.
    Whole,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    span: Span,
    label: String,
}

impl Diagnostic {
    /// Creates a mistake at `span`. `message` is a fragment: lower case, no final period.
    pub fn at(span: &Span, message: impl Into<String>) -> Self {
        let place = Note { span: span.clone(), label: String::new() };
        Self { place: Some(place), ..Self::nowhere(message) }
    }

    /// A mistake that stands nowhere in the file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            related: Vec::new(),
            hints: Vec::new(),
            rests: Rests::Note,
            rule: None,
        }
    }

    /// Sets the rule that the mistake breaks.
    pub fn breaks(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Returns the rule that the mistake breaks, if it is one that a schema can have.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }

    /// A few words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(place) = &mut self.place {
            place.label = label.into();
        }
        self
    }

    /// Another place that the mistake is about.
    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.related.push(Note { span: span.clone(), label: label.into() });
        self
    }

    /// Passes all its words through `change`.
    pub fn rephrase(&mut self, change: impl Fn(&str) -> String) {
        let places = self.place.iter_mut().chain(&mut self.related).map(|place| &mut place.label);
        for text in places.chain(&mut self.hints).chain([&mut self.message]) {
            *text = change(text);
        }
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Marks a mistake that consists in something not being there.
    pub fn absence(mut self) -> Self {
        self.rests = Rests::Whole;
        self
    }

    /// Marks a mistake that consists in something being in the wrong table.
    pub fn misplaced(mut self) -> Self {
        self.rests = Rests::Headers;
        self
    }

    /// Returns whether this is certainly a mistake although the text is not valid TOML at `errors`.
    pub fn is_sure(&self, errors: &[Span]) -> bool {
        let Some(place) = &self.place else { return false };
        let before = errors.iter().all(|error| place.span.end <= error.start);
        match self.rests {
            Rests::Note => errors
                .iter()
                .all(|error| place.span.end <= error.start || error.end <= place.span.start),
            Rests::Headers => before,
            Rests::Whole => false,
        }
    }

    /// The order in which mistakes are shown: that of the file, the command line's first.
    pub fn position(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.span.start)
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Returns the line and the column of the mistake in the Buildfile `text`, both from 1, the column
    /// in characters. `None` for a mistake of the command line.
    pub fn line_and_column(&self, text: &str) -> Option<(usize, usize)> {
        Some(line_and_column(&text[..self.place.as_ref()?.span.start]))
    }

    /// The mistake as text: message, `file:line:column`, the source line with carets, hints.
    /// `text` is the Buildfile that it was found in.
    pub fn render(&self, file: &str, text: &str, color: bool) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(&self.message));
        if let Some(place) = &self.place {
            group = group.element(self.snippet(place, file, text));
        }
        for hint in &self.hints {
            group = group.element(Level::HELP.with_name("hint").message(plain(hint)));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // The renderer replaces most that hides in source lines, escape characters among it.
        Printable::already_styled(&renderer.render(&[group])).to_string()
    }

    /// Returns the lines from the first to the last place: the renderer processes its whole input,
    /// and a generated Buildfile can be long.
    fn snippet<'a>(
        &'a self,
        place: &'a Note,
        file: &'a str,
        text: &'a str,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let places = || std::iter::once(place).chain(&self.related);
        let first = places().map(|place| place.span.start).min().unwrap_or(0);
        let last = places().map(|place| place.span.end).max().unwrap_or(0);
        let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
        let annotate = |kind: AnnotationKind, place: &'a Note| {
            let annotation = kind.span(place.span.start - start..place.span.end - start);
            match place.label.as_str() {
                "" => annotation,
                label => annotation.label(label),
            }
        };
        Snippet::source(&text[start..end])
            .path(file)
            .line_start(text[..start].matches('\n').count() + 1)
            .annotation(annotate(AnnotationKind::Primary, place))
            .annotations(self.related.iter().map(|place| annotate(AnnotationKind::Context, place)))
    }
}

/// Returns the line and the column after the text `before`, both from 1, the column in characters.
pub fn line_and_column(before: &str) -> (usize, usize) {
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_shows_its_line_and_what_to_do() {
        let text = "a = 1\nbad = 2\nc = 3\n";
        let shown = Diagnostic::at(&(6..9), "unknown key `bad`").hint("say `bed`");
        assert_eq!(
            shown.render("Buildfile", text, false),
            "error: unknown key `bad`\n \
             --> Buildfile:2:1\n  \
             |\n\
             2 | bad = 2\n  \
             | ^^^\n  \
             |\n  \
             = hint: say `bed`"
        );
    }

    #[test]
    fn a_place_at_the_very_end_can_be_shown() {
        for text in ["", "\n", "a = ", "a = \"ü"] {
            let end = text.len();
            let shown = Diagnostic::at(&(end..end), "unexpected end").render("B", text, true);
            assert!(shown.contains("unexpected end"), "{shown}");
        }
    }

    #[test]
    fn no_word_of_a_buildfile_steers_the_terminal() {
        let text = "a = 1 # \u{1b}[2J \u{202e} \u{9b}1m \u{7f}\n";
        let shown = Diagnostic::at(&(0..5), "unknown key `a`").render("Buildfile", text, false);
        let hidden = |c: char| c != '\n' && zipwright_store::printable::is_hidden(c);
        assert!(!shown.contains(hidden), "{shown:?}");
    }

    #[test]
    fn a_mistake_of_the_command_line_needs_no_place() {
        let shown = Diagnostic::nowhere("no variable `a`").hint("declare it");
        assert_eq!(
            shown.render("Buildfile", "", false),
            "error: no variable `a`\n |\n = hint: declare it"
        );
    }
}
