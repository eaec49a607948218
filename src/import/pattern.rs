//! Patterns of the shell, of `find -name` and of `zip -x` as globs of a Buildfile, which must match the
//! same paths. A pattern without such a glob has none. Does not read the disk.

use crate::glob::Glob;

/// Characters with a meaning in globs.
pub(super) const SPECIAL: [char; 6] = ['*', '?', '[', '{', '}', '\\'];

/// Names without a stem that are files.
const HIDDEN_FILES: [&str; 5] = [".env", ".DS_Store", ".gitignore", ".gitkeep", ".dockerignore"];

/// Ends of names of folders that have a dot.
const FOLDERS: [&str; 4] = ["libs", "data", "egg", "d"];

/// Returns the glob for exactly this text.
pub(super) fn literal(text: &str) -> String {
    let mut glob = String::new();
    for c in text.chars() {
        if SPECIAL.contains(&c) {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

/// Returns the text of a glob without wildcards.
pub(super) fn plain(glob: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next()?),
            c if SPECIAL.contains(&c) => return None,
            c => text.push(c),
        }
    }
    Some(text)
}

/// Returns the glob for a word of the shell, whose wildcards match no dot at the start of a name.
pub(super) fn of_shell(word: &str) -> Option<String> {
    let parts: Option<Vec<String>> = word.split('/').map(without_hidden).collect();
    Some(parts?.join("/"))
}

fn without_hidden(part: &str) -> Option<String> {
    checked(part)?;
    let Some(rest) = part.strip_prefix('*') else {
        return match part.strip_prefix('?') {
            Some(rest) => Some(format!("[!.]{rest}")),
            // Only a dot that is spelled out matches one at the start.
            None if part.starts_with("[!") || part.starts_with("[.") => None,
            None => Some(part.to_owned()),
        };
    };
    let rest = rest.trim_start_matches('*');
    let longer = format!("[!.]*{rest}");
    match rest.is_empty() || rest.starts_with('.') {
        true => Some(longer),
        false => Some(format!("{{{},{longer}}}", without_hidden(rest)?)),
    }
}

/// Returns the glob for the name of `find -name`, at any depth.
pub(super) fn of_find(name: &str, ignores_case: bool) -> Option<String> {
    if name.contains(['/', '\\', '{', '}']) {
        return None;
    }
    checked(name)?;
    if !ignores_case {
        return Some(format!("**/{name}"));
    }
    let is_plain = |c: char| c.is_ascii() && c != '[';
    let both = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
        false => c.to_string(),
    };
    name.chars().all(is_plain).then(|| format!("**/{}", name.chars().map(both).collect::<String>()))
}

/// Fails for classes of characters beyond letters, digits and ranges.
fn checked(part: &str) -> Option<()> {
    let mut rest = part;
    while let Some((_, class)) = rest.split_once('[').filter(|(before, _)| !before.ends_with('\\'))
    {
        let (class, after) = class.split_once(']')?;
        let class = class.strip_prefix('!').unwrap_or(class);
        let is_simple = class.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        (is_simple && !class.is_empty()).then_some(())?;
        rest = after;
    }
    Some(())
}

/// Returns the glob for a pattern of `zip -x`, whose `*` matches `/` too and which matches files, never
/// a folder with its content. `is_file` is whether a path without wildcards is a file.
pub(super) fn of_zip(pattern: &str, is_file: impl Fn(&str) -> bool) -> Option<String> {
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    let (is_open, core) = (pattern.starts_with('*'), pattern.trim_start_matches('*'));
    let (is_closed, core) = (core.ends_with('*'), core.trim_end_matches('*'));
    if core.is_empty() || core.contains(SPECIAL) || !is_open && core.starts_with('/') {
        return None;
    }
    if !is_closed && !is_file_name(pattern) && (is_open || !is_file(core)) {
        return None;
    }
    let (head, core) = match core.strip_prefix('/') {
        Some(core) => ("*/**/", core),
        None if is_open => ("**/*", core),
        None => ("", core),
    };
    Some(format!("{head}{core}{}", if is_closed { "*" } else { "" }))
}

/// Returns whether the last name of a path or pattern can only be that of a file: `x.py`, `*.py[co]`.
pub(super) fn is_file_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((stem, end)) = name.rsplit_once('.') else { return false };
    let is_end = end.chars().all(|c| c.is_ascii_alphanumeric() || "[]".contains(c));
    HIDDEN_FILES.contains(&name)
        || !stem.is_empty() && !end.is_empty() && is_end && !FOLDERS.contains(&end)
}

/// Returns whether a glob matches a single name.
pub(super) fn matches(glob: &str, name: &str) -> bool {
    let set = Glob::parse(glob).ok().and_then(|glob| glob.matcher().ok());
    set.is_none_or(|set| set.is_match(name))
}

/// Returns whether some name may match both parts of patterns.
pub(super) fn may_meet(a: &str, b: &str) -> bool {
    if let Some(name) = plain(a) {
        return matches(b, &name);
    }
    if let Some(name) = plain(b) {
        return matches(a, &name);
    }
    let is_hidden = |part: &str| part.starts_with('.');
    let is_shown = |part: &str| part.starts_with("[!.]");
    let ends = |part: &str| {
        let end = part.rfind(['*', '?', ']', '}']).map_or(0, |at| at + 1);
        part[end..].to_owned()
    };
    let (x, y) = (ends(a), ends(b));
    let is_apart = is_hidden(a) && is_shown(b) || is_hidden(b) && is_shown(a);
    !is_apart && (x.ends_with(&y) || y.ends_with(&x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_of_the_shell_match_no_hidden_name() {
        for (text, expected) in [
            ("a/*", Some("a/[!.]*")),
            ("*.py", Some("[!.]*.py")),
            ("*x*", Some("{x*,[!.]*x*}")),
            ("?x", Some("[!.]x")),
            (".*", Some(".*")),
            ("a*/b.[ch]", Some("a*/b.[ch]")),
            ("[!a]*", None),
            ("x[[:alpha:]]", None),
        ] {
            assert_eq!(of_shell(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn names_of_find_become_globs() {
        assert_eq!(of_find("test_*.py", false).as_deref(), Some("**/test_*.py"));
        assert_eq!(of_find("a1*", true).as_deref(), Some("**/[aA]1*"));
        assert_eq!(of_find("é*", true), None);
        for (name, expected) in [
            ("*.py[co]", true),
            ("README.md", true),
            (".env", true),
            ("test*", false),
            ("*.dist-info", false),
            ("*.so*", false),
            (".venv", false),
            ("numpy.libs", false),
        ] {
            assert_eq!(is_file_name(name), expected, "{name}");
        }
    }

    #[test]
    fn patterns_of_zip_become_globs() {
        for (pattern, expected) in [
            ("*__pycache__*", Some("**/*__pycache__*")),
            ("*/__pycache__/*", Some("*/**/__pycache__/*")),
            ("**/__pycache__/**", Some("*/**/__pycache__/*")),
            ("*.pyc", Some("**/*.pyc")),
            ("*.dist-info", None),
            ("*.dist-info/*", Some("**/*.dist-info/*")),
            ("tests/*", Some("tests/*")),
            ("./tests/*", Some("tests/*")),
            ("tests", None),
            ("Makefile", Some("Makefile")),
            ("test*", Some("test*")),
            ("a/b*", Some("a/b*")),
            ("a/*.py", None),
            ("*a*b*", None),
            ("*", None),
        ] {
            let found = of_zip(pattern, |path| path == "Makefile");
            assert_eq!(found.as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_cannot_meet_are_told_apart() {
        for (a, b, expected) in [
            ("[!.]*.dist-info", "[!.]*.py", false),
            ("[!.]*", "[!.]*.py", true),
            (".*", "[!.]*", false),
            ("app", "[!.]*", true),
            ("tests", "app.py", false),
        ] {
            assert_eq!(may_meet(a, b), expected, "{a} {b}");
        }
    }
}
