//! Names of projects (PEP 503).

/// Returns a project's name as indexes compare it: lower case, each run of `-`, `_` and `.` as one
/// `-`.
pub fn normalise(name: &str) -> String {
    let mut normalised = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normalised.ends_with('-') => {}
            '-' | '_' | '.' => normalised.push('-'),
            c => normalised.extend(c.to_lowercase()),
        }
    }
    normalised
}

/// Returns whether a text can be the name of a project: ASCII letters, digits, `-`, `_` and `.`, with
/// a letter or digit at both ends.
pub fn is_name(text: &str) -> bool {
    let is_separator = |c: char| matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || is_separator(c))
        && !text.starts_with(is_separator)
        && !text.ends_with(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        assert_eq!(normalise("Zope._.Interface"), "zope-interface");
        assert_eq!(normalise("ruamel_yaml"), "ruamel-yaml");
        assert_eq!(normalise("Foo__Bar.-baz"), "foo-bar-baz");
    }

    #[test]
    fn names_begin_and_end_with_a_letter_or_digit() {
        assert!(is_name("boto3") && is_name("a.b-c_d"));
        for bad in ["", "-a", "a_", "a b", "a/b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
