//! Errors of the TOML parser as diagnostics.

use toml::de::Error;

use super::mistakes;
use super::unclosed::{self, Unclosed};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Span;

/// Returns the diagnostics, and the spans of text that could not be understood.
pub(super) fn mistakes(errors: &[Error], text: &str) -> (Vec<Diagnostic>, Vec<Span>) {
    // An error without a span is about the end of the text.
    let place = |error: &Error| error.span().unwrap_or(text.len()..text.len());
    let mut errors: Vec<(Span, &str)> =
        errors.iter().map(|error| (place(error), error.message())).collect();
    let unclosed = if errors.iter().any(|(_, message)| is_about_an_end(message)) {
        unclosed::find(text)
    } else {
        None
    };
    if let Some(Unclosed { span, .. }) = &unclosed {
        errors.retain(|(place, _)| place.start < span.start);
    }
    let mut places: Vec<Span> = errors.iter().map(|(place, _)| place.clone()).collect();
    // If several errors are at one place, the last is the most specific.
    let last: Vec<&(Span, &str)> = errors
        .chunk_by(|(a, _), (b, _)| a.start == b.start)
        .filter_map(|same| same.last())
        .collect();
    let mut mistakes = told(&last, text);
    if let Some(Unclosed { span, what, closing }) = unclosed {
        mistakes.push(mistakes::unclosed(&span, what, closing));
        places.push(span.start..text.len());
    }
    (mistakes, places)
}

/// Returns whether an error means that the text ended too early, or may have.
fn is_about_an_end(message: &str) -> bool {
    ["unclosed array", "unclosed inline table", "invalid multi-line"]
        .iter()
        .any(|start| message.starts_with(start))
}

fn told(errors: &[&(Span, &str)], text: &str) -> Vec<Diagnostic> {
    let mut mistakes = Vec::new();
    // Keys before this place are repeated only because their whole table is.
    let mut repeated = 0;
    for (span, message) in errors {
        if *message != "duplicate key" {
            mistakes.push(mistakes::syntax(span, message));
        } else if span.start >= repeated {
            let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
            if text[start..].trim_start().starts_with('[') {
                let rest = &text[span.end..];
                repeated = span.end + rest.find("\n[").unwrap_or(rest.len());
            }
            let first = first_given(text, span, start);
            mistakes.push(mistakes::given_twice(span, &text[span.clone()], first.as_ref()));
        }
    }
    mistakes
}

/// Returns the first definition of the key at `span`, in the line that starts at `start`: the nearest
/// earlier line that begins in the same way, if it is a key within the same table.
fn first_given(text: &str, span: &Span, start: usize) -> Option<Span> {
    let beginning = text[start..span.end].trim_start();
    let is_header = beginning.starts_with('[');
    let mut end = start;
    while end > 0 {
        let start = text[..end - 1].rfind('\n').map_or(0, |newline| newline + 1);
        let line = &text[start..end];
        let indent = line.len() - line.trim_start().len();
        let rest = line.trim_start().strip_prefix(beginning);
        if rest.is_some_and(|rest| rest.trim_start().starts_with(['=', ']'])) {
            let end = start + indent + beginning.len();
            return Some(end - span.len()..end);
        }
        if !is_header && line.trim_start().starts_with('[') {
            return None;
        }
        end = start;
    }
    None
}
