//! References to variables inside strings: `{name}` is one, `{{name}}` is the text `{name}`,
//! and every other brace means itself, so that JSON, shell and globs need no escapes.

/// Replaces every reference in `text` by its `value`; if that is `None`, the reference stays.
pub(super) fn expand(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, braces) = rest.split_at(at);
        expanded.push_str(before);
        let taken = if expanded.ends_with('$') {
            // The shell's `${name}`, and other braces after a `$`.
            let taken = braces.len() - braces.trim_start_matches('{').len();
            expanded.push_str(&braces[..taken]);
            taken
        } else if let Some(name) = enclosed(braces, "{{", "}}") {
            expanded.extend(["{", name, "}"]);
            name.len() + 4
        } else if let Some(name) = enclosed(braces, "{", "}") {
            match value(name) {
                Some(value) => expanded.push_str(&value),
                None => expanded.extend(["{", name, "}"]),
            }
            name.len() + 2
        } else {
            expanded.push('{');
            1
        };
        rest = &braces[taken..];
    }
    expanded.push_str(rest);
    expanded
}

/// Returns whether `name` is a valid name of a variable.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Returns the name between `open` and `close` at the start of `text`.
fn enclosed<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let inner = text.strip_prefix(open)?;
    let name = &inner[..inner.find('}')?];
    (is_name(name) && inner[name.len()..].starts_with(close)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let expanded = expand(text, |name| (name == "a-1").then(|| "VALUE".into()));
        assert_eq!(expanded, expected, "{text}");
    }

    #[test]
    fn references_are_replaced() {
        check("{a-1}", "VALUE");
        check("x{a-1}y{a-1}", "xVALUEyVALUE");
        check("{unknown}", "{unknown}");
    }

    #[test]
    fn doubled_braces_are_the_text_of_a_reference() {
        check("{{a-1}}", "{a-1}");
        check("{{{a-1}}}", "{{a-1}}");
    }

    #[test]
    fn every_other_brace_means_itself() {
        for text in [
            "src/{a-1,b}/*.py",
            r#"{"a": {"b": {}}}"#,
            "${a-1} ${a-1:-x} ${{a-1}}",
            "awk '{ print $1 }'",
            "{",
            "{{",
            "}{",
            "{1a}",
            "{ a-1 }",
            "{{a-1}",
        ] {
            match text {
                "{{a-1}" => check(text, "{VALUE"),
                _ => check(text, text),
            }
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expand("{a}", |_| Some("{a}".into())), "{a}");
    }
}
