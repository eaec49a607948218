//! One requirements file as pip reads it, line by line: continuation lines, comments, variables,
//! options, and what each line refers to. Pure: touches no disk, knows no project.

/// A line after joining, without its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it starts, counted from 1.
    pub number: usize,
    /// How many lines of the file it takes.
    pub height: usize,
    /// As written: variables not filled in. Empty for a blank line or a comment.
    pub text: String,
}

/// What a line says, as far as it leads to something on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Include {
        path: String,
        constraint: bool,
    },
    /// Options for the whole of pip's run.
    Options(Vec<Word>),
    Requirement(Requirement),
    Nothing,
}

/// One option of an options line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    FindLinks(String),
    RequireHashes,
    /// Anything else, option and value as they came.
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    /// What it names when that may be a local path: without extras, marker and fragment.
    pub path: Option<String>,
    /// `[a,b]` or empty.
    pub extras: String,
    /// `; python_version < "3"` or empty.
    pub marker: String,
    pub editable: bool,
    pub hashed: bool,
    /// The requirement's own words, without `-e`.
    pub words: String,
}

/// Splits a file into lines, joined at `\` and freed of comments, as pip does: a comment ends a
/// continued line and is never itself continued.
pub(super) fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, physical) in (1..).zip(text.lines()) {
        let comment = physical.trim_start().starts_with('#');
        let (start, mut joined) = open.take().unwrap_or((number, String::new()));
        if !comment && let Some(more) = physical.strip_suffix('\\') {
            joined.push_str(more);
            open = Some((start, joined));
            continue;
        }
        if comment {
            joined.push(' ');
        }
        joined.push_str(physical);
        lines.push(line(start, number, &joined));
    }
    if let Some((start, joined)) = open {
        lines.push(line(start, text.lines().count(), &joined));
    }
    lines
}

fn line(start: usize, end: usize, joined: &str) -> Line {
    Line { number: start, height: end - start + 1, text: strip_comment(joined).trim().to_string() }
}

/// A comment starts at a `#` at the start of the line or after white space.
fn strip_comment(text: &str) -> &str {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &text[..at];
        }
        before = c;
    }
    text
}

/// Fills in `${NAME}` of capital letters, digits and `_`; an unset or empty variable stays as
/// written, as in pip.
pub(super) fn expand<'a>(text: &str, var: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let name = rest[at + 2..].split('}').next().unwrap_or_default();
        let valid = !name.is_empty()
            && rest[at + 2 + name.len()..].starts_with('}')
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let length = if valid { name.len() + 3 } else { 2 };
        expanded.push_str(&rest[..at]);
        match valid.then(|| var(name)).flatten() {
            Some(value) => expanded.push_str(value),
            None => expanded.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length..];
    }
    expanded.push_str(rest);
    expanded
}

/// Reads a joined line whose variables are filled in.
pub(super) fn meaning(text: &str) -> Meaning {
    if text.is_empty() {
        return Meaning::Nothing;
    }
    if !text.starts_with('-') {
        return Meaning::Requirement(requirement(text, false));
    }
    arguments(words(text))
}

/// Reads options that are words already.
pub(super) fn arguments(words: Vec<String>) -> Meaning {
    let mut words = words.into_iter().peekable();
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        let (name, mut value) = option(&word);
        if value.is_none() && words.peek().is_some_and(|next| !next.starts_with('-')) {
            value = words.next();
        }
        match (name, value) {
            ("-r" | "--requirement", Some(path)) => {
                return Meaning::Include { path, constraint: false };
            }
            ("-c" | "--constraint", Some(path)) => {
                return Meaning::Include { path, constraint: true };
            }
            ("-e" | "--editable", Some(what)) => {
                return Meaning::Requirement(requirement(&what, true));
            }
            ("-f" | "--find-links", Some(place)) => options.push(Word::FindLinks(place)),
            ("--require-hashes", _) => options.push(Word::RequireHashes),
            (_, value) => {
                // A name with its value attached is one word already.
                let detached = value.filter(|value| !word.ends_with(value.as_str()));
                options.push(Word::Other(match detached {
                    Some(value) => format!("{word} {value}"),
                    None => word.clone(),
                }));
            }
        }
    }
    Meaning::Options(options)
}

/// Splits `--name=value` and `-xvalue`.
fn option(word: &str) -> (&str, Option<String>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((name, value)) => (name, Some(value.into())),
            None => (word, None),
        };
    }
    match word.char_indices().nth(2) {
        Some((at, _)) => (&word[..at], Some(word[at..].trim_start_matches('=').into())),
        None => (word, None),
    }
}

fn requirement(text: &str, editable: bool) -> Requirement {
    // Options of a single requirement come after it, each with a space before its dash.
    let own = text.find(" -").map_or(text, |at| &text[..at]).trim();
    let hashed = text.contains("--hash") || own.contains("#sha256=");
    let is_url = own.contains("://") || own.starts_with("file:");
    let (named, marker) = match own.split_once(if is_url { "; " } else { ";" }) {
        Some((named, marker)) => (named.trim(), format!("; {}", marker.trim())),
        None => (own, String::new()),
    };
    let (target, mut extras) = match named.split_once('@') {
        // `name[extra] @ file:…`; a `@` inside a path or a URL follows no plain name.
        Some((name, url)) if is_name(name.trim()) && !is_name(url.trim()) => {
            let (_, extras) = split_extras(name.trim());
            (url.trim(), extras.to_string())
        }
        _ => (named, String::new()),
    };
    let (target, fragment) = match target.split_once('#') {
        Some((target, fragment)) if is_url => (target, fragment),
        _ => (target, ""),
    };
    let (target, own_extras) = split_extras(target);
    if extras.is_empty() {
        extras = own_extras.into();
    }
    if extras.is_empty()
        && let Some((_, egg)) = fragment.split_once("egg=")
    {
        extras = split_extras(egg.split('&').next().unwrap_or(egg)).1.into();
    }
    Requirement {
        path: local_path(target),
        extras,
        marker,
        editable,
        hashed,
        words: text.to_string(),
    }
}

/// The path of a `file:` URL, or of what looks like a path or an archive; pip looks no further.
fn local_path(target: &str) -> Option<String> {
    if let Some(path) = file_url_path(target) {
        return Some(path);
    }
    let looks_local = target.contains('/') || target.starts_with('.') || is_archive(target);
    (!target.contains("://") && looks_local).then(|| target.to_string())
}

/// The path of a `file:` URL.
pub(super) fn file_url_path(url: &str) -> Option<String> {
    let rest = url.strip_prefix("file:")?;
    let path = rest.strip_prefix("//localhost/").map(|path| format!("/{path}"));
    let path = path.unwrap_or_else(|| rest.strip_prefix("//").unwrap_or(rest).into());
    Some(super::secrets::percent_decode(&path))
}

pub(super) fn is_archive(name: &str) -> bool {
    [".whl", ".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz"]
        .iter()
        .any(|suffix| name.to_ascii_lowercase().ends_with(suffix))
}

fn split_extras(text: &str) -> (&str, &str) {
    match text.rfind('[') {
        Some(at) if text.ends_with(']') => (text[..at].trim_end(), &text[at..]),
        _ => (text, ""),
    }
}

/// Whether this can be a project's name, extras included.
fn is_name(text: &str) -> bool {
    let (name, _) = split_extras(text);
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !name.starts_with('.')
}

/// Splits an options line as a shell would: quotes and backslashes, nothing more.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<(usize, usize, String)> {
        split(text).into_iter().map(|line| (line.number, line.height, line.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_dropped_as_pip_does() {
        assert_eq!(
            joined("a==1 \\\n  --hash=x\n# c \\\nb # why\nc#frag\n\\\n"),
            [
                (1, 2, "a==1   --hash=x".into()),
                (3, 1, String::new()),
                (4, 1, "b".into()),
                (5, 1, "c#frag".into()),
                (6, 1, String::new()),
            ]
        );
        assert_eq!(joined("a \\\n# end\nb"), [(1, 2, "a".into()), (3, 1, "b".into())]);
    }

    #[test]
    fn variables_are_filled_in_where_they_are_set() {
        let var = |name: &str| (name == "TOKEN_1").then_some("t");
        assert_eq!(
            expand("https://${TOKEN_1}@h ${unset} ${OTHER} $TOKEN_1 ${", var),
            "https://t@h ${unset} ${OTHER} $TOKEN_1 ${"
        );
    }

    #[test]
    fn includes_are_seen_in_every_spelling() {
        for text in ["-r a.txt", "-ra.txt", "--requirement a.txt", "--requirement=a.txt"] {
            let expected = Meaning::Include { path: "a.txt".into(), constraint: false };
            assert_eq!(meaning(text), expected, "{text}");
        }
        let expected = Meaning::Include { path: "a b".into(), constraint: true };
        assert_eq!(meaning("-c 'a b'"), expected);
    }

    #[test]
    fn options_keep_their_values() {
        assert_eq!(
            meaning("--pre -f wheels --index-url https://h/s --no-binary=:all: --require-hashes"),
            Meaning::Options(vec![
                Word::Other("--pre".into()),
                Word::FindLinks("wheels".into()),
                Word::Other("--index-url https://h/s".into()),
                Word::Other("--no-binary=:all:".into()),
                Word::RequireHashes,
            ])
        );
    }

    #[test]
    fn local_paths_are_told_from_names_and_urls() {
        let parsed = |text: &str| match meaning(text) {
            Meaning::Requirement(found) => (found.path, found.extras, found.marker),
            other => panic!("{text}: {other:?}"),
        };
        let local = |path: &str, extras: &str, marker: &str| {
            (Some(path.to_string()), extras.to_string(), marker.to_string())
        };
        assert_eq!(parsed("."), local(".", "", ""));
        assert_eq!(parsed("./lib[a,b] ; x < '3'"), local("./lib", "[a,b]", "; x < '3'"));
        assert_eq!(parsed("-e ."), local(".", "", ""));
        assert_eq!(
            parsed("x-1-py3-none-any.whl --hash=sha256:0").0.as_deref(),
            Some("x-1-py3-none-any.whl")
        );
        assert_eq!(parsed("name[z] @ file:///a%20b/c#sha256=0"), local("/a b/c", "[z]", ""));
        assert_eq!(parsed("file:lib#egg=n[q]"), local("lib", "[q]", ""));
        for text in [
            "idna",
            "idna==3; python_version > '3'",
            "n @ https://h/n.whl",
            "-e git+https://h/r@v#egg=n",
        ] {
            assert_eq!(parsed(text).0, None, "{text}");
        }
    }
}
