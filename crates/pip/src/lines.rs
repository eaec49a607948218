//! The lines of a requirements file as pip reads them: continuation lines, comments, variables,
//! options, and the requirement of each line. Knows no project; a closure returns whether a path
//! exists.

use super::options::{self, Name, Opt};
use super::secrets::percent_decode;
use super::text::{is_space, split_lines};

/// A line after joining, without its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of its first line, counted from 1.
    pub number: usize,
    /// Number of lines of the file.
    pub height: usize,
    /// The text as written: variables not filled in. Empty for a blank line or a comment.
    pub text: String,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Include {
        path: String,
        constraint: bool,
    },
    /// Options for the whole of pip's run.
    Options(Vec<Word>),
    Requirement(Requirement),
    /// A blank line.
    Nothing,
    /// A line that pip refuses. pip reports it better than a second error would.
    Invalid,
}

/// One option of an options line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    FindLinks(String),
    RequireHashes,
    /// Any other option, with its value, quoted for `shlex`.
    Other(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requirement {
    /// The words before the options, or the value of `-e`.
    pub words: String,
    /// The options after them, as written.
    pub options: String,
    pub editable: bool,
    /// The path that it names, if any.
    pub path: Option<String>,
    /// `subdirectory=` of a URL's fragment.
    pub subdirectory: Option<String>,
    /// The project's name, if the line has it.
    pub name: Option<String>,
    /// `[a,b]` or empty.
    pub extras: String,
    /// `python_version < "3"`, or empty.
    pub marker: String,
    pub hashed: bool,
    /// `(key, value)` of each `--config-settings`.
    pub settings: Vec<(String, String)>,
    /// Whether it has options for `setup.py`, which are not passed to builds.
    pub has_setup_options: bool,
}

/// The kind of a path, for [`meaning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathKind {
    Folder,
    File,
    Missing,
}

type Look<'a> = &'a dyn Fn(&str) -> PathKind;

/// Splits a file into lines, joined at `\` and without comments: a comment ends a continued line
/// and is itself never continued.
pub(super) fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut last = 0;
    for (number, physical) in (1..).zip(split_lines(text)) {
        last = number;
        let is_comment = physical.trim_start_matches(is_space).starts_with('#');
        if !is_comment && physical.ends_with('\\') {
            let (_, joined) = open.get_or_insert((number, String::new()));
            joined.push_str(physical.trim_matches('\\'));
            continue;
        }
        let (start, mut joined) = open.take().unwrap_or((number, String::new()));
        if is_comment {
            joined.push(' ');
        }
        joined.push_str(physical);
        lines.push(line(start, number, &joined));
    }
    if let Some((start, joined)) = open {
        lines.push(line(start, last, &joined));
    }
    lines
}

fn line(start: usize, end: usize, joined: &str) -> Line {
    let text = strip_comment(joined).trim_matches(is_space).to_string();
    Line { number: start, height: end - start + 1, text }
}

/// Cuts off a comment: it starts at a `#` at the start of the line or after white space.
fn strip_comment(text: &str) -> &str {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c == '#' && is_space(before) {
            return &text[..at];
        }
        before = c;
    }
    text
}

/// Fills in `${NAME}` of capital letters, digits and `_`, one name after the other over the whole
/// line, as pip does. An unset or empty variable stays as written.
pub(super) fn expand<'a>(text: &str, var: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = text.to_string();
    for reference in references(text) {
        if let Some(value) = var(&reference[2..reference.len() - 1]) {
            expanded = expanded.replace(reference, value);
        }
    }
    expanded
}

/// Returns all `${NAME}` of a text, in order.
fn references(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|offset| at + offset) {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let rest = &text[start + 2..];
        let length = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
        at = start + 2 + length;
        if length > 0 && rest[length..].starts_with('}') {
            at += 1;
            found.push(&text[start..at]);
        }
    }
    found
}

/// Reads a joined line whose variables are filled in.
pub(super) fn meaning(text: &str, look: Look) -> Meaning {
    if text.is_empty() {
        return Meaning::Nothing;
    }
    let (words, rest) = break_options(text);
    let Some(options) = options::split(rest).and_then(|words| options::read(words).ok()) else {
        return Meaning::Invalid;
    };
    let first = |name: Name| options.iter().find(|option| option.name == name);
    if words.is_empty() {
        if let Some(editable) = first(Name::Editable) {
            let found = editable_of(&editable.value, look);
            return Meaning::Requirement(with_options(found, rest, &options));
        }
        for (name, constraint) in [(Name::Requirement, false), (Name::Constraint, true)] {
            if let Some(include) = first(name) {
                return Meaning::Include { path: include.value.clone(), constraint };
            }
        }
        return Meaning::Options(whole_run(&options));
    }
    Meaning::Requirement(with_options(requirement(words, look), rest, &options))
}

/// Splits a line before the first word that begins with `-`.
fn break_options(text: &str) -> (&str, &str) {
    if text.starts_with('-') {
        return ("", text);
    }
    match text.find(" -") {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// Returns the options of a line without a requirement, in an order that has the same meaning with
/// one option per line.
fn whole_run(options: &[Opt]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut later = Vec::new();
    for option in options {
        match option.name {
            // pip uses only the first one of a line.
            Name::FindLinks if later.iter().any(|word| matches!(word, Word::FindLinks(_))) => {}
            Name::FindLinks => later.push(Word::FindLinks(option.value.clone())),
            Name::RequireHashes => later.push(Word::RequireHashes),
            // `--index-url` drops the `--extra-index-url` of the lines before.
            Name::Other("--index-url") => {
                words = vec![Word::Other(format!("--index-url {}", options::quote(&option.value)))];
            }
            Name::Other(name) if option.value.is_empty() => later.push(Word::Other(name.into())),
            Name::Other(name) => {
                later.push(Word::Other(format!("{name} {}", options::quote(&option.value))));
            }
            // Has an effect only after a requirement.
            _ => {}
        }
    }
    words.extend(later);
    words
}

fn with_options(mut found: Requirement, rest: &str, options: &[Opt]) -> Requirement {
    for option in options {
        match option.name {
            Name::Hash => found.hashed = !found.editable,
            Name::ConfigSettings => {
                let (key, value) = option.value.split_once('=').unwrap_or((&option.value, ""));
                found.settings.push((key.into(), value.into()));
            }
            Name::SetupOption => found.has_setup_options = true,
            _ => {}
        }
    }
    if !found.editable {
        found.options = rest.into();
    }
    found
}

/// Schemes that make a text a URL for pip. Version control schemes have a `+` after the name.
const SCHEMES: [&str; 4] = ["http", "https", "file", "ftp"];
const REPOSITORIES: [&str; 4] = ["git", "hg", "svn", "bzr"];

fn is_url(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let repository = scheme.split_once('+').map_or(scheme.as_str(), |(program, _)| program);
    SCHEMES.contains(&scheme.as_str()) || REPOSITORIES.contains(&repository)
}

fn requirement(words: &str, look: Look) -> Requirement {
    let separator = if is_url(words) { "; " } else { ";" };
    let (target, marker) = words.split_once(separator).unwrap_or((words, ""));
    let (target, marker) = (target.trim_matches(is_space), marker.trim_matches(is_space));
    let mut found =
        Requirement { words: words.into(), marker: marker.into(), ..Requirement::default() };
    if is_url(target) {
        found.take_url(target);
        return found;
    }
    let (path, extras) = split_extras(target);
    let looks_like_path = target.contains('/') || target.starts_with('.');
    let named = target.split_once('@').filter(|(name, _)| {
        let name = name.trim_matches(is_space);
        !name.contains('/') && !name.starts_with('.')
    });
    let kind = if looks_like_path || is_archive(path) { look(path) } else { PathKind::Missing };
    match (kind, named) {
        (PathKind::Folder, _) if looks_like_path => found.path = Some(path.into()),
        (PathKind::File, _) if is_archive(path) => found.path = Some(path.into()),
        (_, Some((name, url))) => {
            let (name, extras) = split_extras(name.trim_matches(is_space));
            found.take_url(url.trim_matches(is_space));
            found.name = Some(name.into());
            found.extras = extras.into();
            return found;
        }
        // pip reads it as the path of a file, which is missing.
        (_, None) if is_archive(path) || target.starts_with(['.', '/']) => {
            found.path = Some(path.into());
        }
        // A requirement by name; also a name with a slash, which pip refuses.
        _ => {
            let name = target.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
            found.name = name.into_iter().next().filter(|name| !name.is_empty()).map(Into::into);
            return found;
        }
    }
    found.extras = extras.into();
    found
}

/// Reads the value of `-e`: a folder if one exists at this path, else a URL.
fn editable_of(value: &str, look: Look) -> Requirement {
    let mut found = Requirement { words: value.into(), editable: true, ..Requirement::default() };
    let (path, extras) = split_extras(value);
    if look(path) == PathKind::Folder {
        found.path = Some(path.into());
        found.extras = extras.into();
    } else if has_prefix(path, "file:") {
        found.take_url(path);
        if !extras.is_empty() {
            found.extras = extras.into();
        }
    } else if let Some((name, url)) = value.split_once('@')
        && is_name(name.trim_matches(is_space))
        && has_prefix(url.trim_matches(is_space), "file:")
    {
        // pip 25.3 and later also accept `NAME @ URL ; marker` here.
        let direct = requirement(value, look);
        found = Requirement { words: value.into(), editable: true, ..direct };
    } else if !is_url(value) && (value.starts_with(['.', '/']) || !value.contains(':')) {
        // pip accepts nothing else without a scheme, so the folder is missing.
        found.path = Some(path.into());
    }
    found
}

impl Requirement {
    /// Takes path, name, extras and subdirectory from a URL of this disk; only the name from any
    /// other.
    fn take_url(&mut self, url: &str) {
        let (address, fragment) = url.split_once('#').unwrap_or((url, ""));
        let value = |name: &str| {
            let mut parts = fragment.split('&');
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).map(str::to_string)
        };
        if let Some(egg) = value("egg") {
            let (name, extras) = split_extras(&egg);
            self.name = Some(name.into());
            self.extras = extras.into();
        }
        if has_prefix(address, "file:") {
            self.path = url_path(address);
            self.subdirectory = value("subdirectory").filter(|folder| !folder.is_empty());
        }
    }
}

/// Returns the path of a `file:` URL on this host.
pub(super) fn url_path(url: &str) -> Option<String> {
    let rest = url.get("file:".len()..).filter(|_| has_prefix(url, "file:"))?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let start = rest.find('/').unwrap_or(rest.len());
            let is_here = ["", "localhost"].contains(&&rest[..start]);
            is_here.then_some(&rest[start..])?
        }
        None => rest,
    };
    Some(percent_decode(path))
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

pub(super) fn is_archive(name: &str) -> bool {
    let suffixes = [
        ".whl",
        ".zip",
        ".tar.gz",
        ".tgz",
        ".tar",
        ".tar.bz2",
        ".tbz",
        ".tar.xz",
        ".txz",
        ".tlz",
        ".tar.lz",
        ".tar.lzma",
    ];
    let name = name.to_ascii_lowercase();
    suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// Splits `[a,b]` off the end.
fn split_extras(text: &str) -> (&str, &str) {
    match text.rfind('[') {
        Some(at)
            if at > 0 && text[at..].find(']') == Some(text.len() - at - 1).filter(|at| *at > 1) =>
        {
            (text[..at].trim_end_matches(is_space), &text[at..])
        }
        _ => (text, ""),
    }
}

/// Returns whether a text is a valid project name, with or without extras.
fn is_name(text: &str) -> bool {
    let (name, _) = split_extras(text);
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests;
