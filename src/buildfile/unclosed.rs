//! Constructs that begin and never end. A TOML parser reads everything after an array without its `]`
//! as part of it, and reports an error in each line; the one real error is where the array begins.
//! Knows only as much of TOML as is needed to skip headers, strings and comments.

use crate::diagnostic::Span;

/// An array, inline table or multi-line string that is not closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    /// Span of its opening.
    pub(super) span: Span,
    pub(super) what: &'static str,
    pub(super) closing: &'static str,
}

impl Unclosed {
    fn bracket(text: &str, at: usize) -> Self {
        let (what, closing) =
            if text[at..].starts_with('[') { ("array", "]") } else { ("inline table", "}") };
        Self { span: at..at + 1, what, closing }
    }
}

/// Returns the first one; if several begin on one line, the innermost.
pub(super) fn find(text: &str) -> Option<Unclosed> {
    let mut open: Vec<usize> = Vec::new();
    let (mut at, mut open_before, mut is_line_start) = (0, 0, true);
    while let Some(byte) = text.as_bytes().get(at) {
        let is_header = is_line_start && open.is_empty() && *byte == b'[';
        is_line_start &= byte.is_ascii_whitespace();
        match byte {
            b'\n' => (open_before, is_line_start) = (open.len(), true),
            b'#' => at = end_of_line(text, at) - 1,
            _ if is_header => at = end_of_line(text, at) - 1,
            b'[' | b'{' => open.push(at),
            b']' | b'}' => match open.pop().map(|start| Unclosed::bracket(text, start)) {
                Some(other) if other.closing.as_bytes() != [*byte] => return Some(other),
                _ => {}
            },
            b'"' | b'\'' => match end_of_string(text, at) {
                End::At(end) => at = end - 1,
                // A quote is missing on this line, so its brackets cannot be counted.
                End::Line(end) => {
                    open.truncate(open_before);
                    at = end - 1;
                }
                End::Never(closing) => {
                    return Some(Unclosed { span: at..at + 3, what: "string", closing });
                }
            },
            _ => {}
        }
        at += 1;
    }
    let end = end_of_line(text, *open.first()?);
    open.retain(|start| *start < end);
    Some(Unclosed::bracket(text, *open.last()?))
}

fn end_of_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |length| at + length)
}

enum End {
    /// Behind its last quote.
    At(usize),
    /// Its line ends first.
    Line(usize),
    /// The text ends first, and these quotes would have closed it.
    Never(&'static str),
}

/// Returns where the string with its first quote at `at` ends.
fn end_of_string(text: &str, at: usize) -> End {
    let rest = &text[at..];
    let long = ["\"\"\"", "'''"].into_iter().find(|quotes| rest.starts_with(quotes));
    let quotes = long.unwrap_or(&rest[..1]);
    let mut end = at + quotes.len();
    while end < text.len() {
        let rest = &text.as_bytes()[end..];
        if rest.starts_with(quotes.as_bytes()) {
            return End::At(end + quotes.len());
        }
        match rest[0] {
            b'\n' if long.is_none() => return End::Line(end),
            b'\\' if quotes.starts_with('"') => end += 2,
            _ => end += 1,
        }
    }
    long.map_or(End::Line(text.len()), End::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_nothing_closes_is_found() {
        for (text, expected) in [
            ("a = [1, 2]\n[t]\nb = { c = [] }\n", None),
            ("a = \"[\" # [\nb = '{'\n[t]\n[[u]]\n", None),
            ("a = \"\\\"[\"\nb = '\\'\nc = \"\"\"\n[ \\\"\"\" \"\n\"\"\"\n", None),
            ("a = [\"x\"\n\n[t]\nb = [1]\n", Some((4, "array", "]"))),
            ("a = [\n  { b = 1,\n]\n", Some((8, "inline table", "}"))),
            ("a = [{ b = \"x\"\nc = [\n", Some((5, "inline table", "}"))),
            ("a = [\"x, \"y\"]\nb = [1\n", Some((18, "array", "]"))),
            ("a = \"\"\"\nx\n[t]\n", Some((4, "string", "\"\"\""))),
            ("a = '''\\'''\nb = [", Some((16, "array", "]"))),
            ("a = \"x", None),
            ("[t\na = [1]\n", None),
        ] {
            let found = find(text).map(|found| (found.span.start, found.what, found.closing));
            assert_eq!(found, expected, "{text}");
        }
    }
}
