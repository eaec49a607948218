//! TOML texts.

use std::fmt::Write;

/// Longer arrays have a line for each value.
const LINE: usize = 90;

pub(super) fn array<S: AsRef<str>>(values: &[S]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value.as_ref())).collect();
    let line = format!("[{}]", quoted.join(", "));
    if line.len() <= LINE {
        return line;
    }
    format!("[\n{}]", quoted.iter().map(|value| format!("  {value},\n")).collect::<String>())
}

/// A TOML string that stands for this text, references to variables being escaped.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in escaped(text).chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A script: in one line, or as it is if it has several and nothing that needs to be escaped.
pub(super) fn script(text: &str) -> String {
    let is_plain =
        !text.contains("'''") && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    match text.contains('\n') && is_plain && !text.ends_with('\'') {
        true => format!("'''\n{}'''", escaped(text)),
        false => quote(text),
    }
}

/// `{name}` is a variable in a Buildfile, and `{{name}}` is this text.
fn escaped(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let inner = &rest[at + 1..];
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)));
        let is_reference = end.is_some_and(|end| {
            inner[end..].starts_with('}')
                && inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && !rest[..at].ends_with('$')
        });
        done.push_str(&rest[..at]);
        match end.filter(|_| is_reference) {
            Some(end) => {
                let _ = write!(done, "{{{{{}}}}}", &inner[..end]);
                rest = &inner[end + 1..];
            }
            None => {
                done.push('{');
                rest = inner;
            }
        }
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_so_that_they_mean_themselves() {
        assert_eq!(quote("a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(quote("${HOME} {print} {a,b} { x }"), "\"${HOME} {{print}} {a,b} { x }\"");
        assert_eq!(script("a\nb"), "'''\na\nb'''");
    }
}
