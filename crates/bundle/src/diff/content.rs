//! Differences in the content of two files: text as a diff, ELF by section, `.pyc` and gzip by
//! header, zips by member, everything else by its first differing bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use similar::TextDiff;

use super::{Comparison, archive, compare_nested};
use crate::elf::{self, Section};

/// Longer texts are compared as bytes.
const TEXT_MAX: usize = 4 << 20;
const LINES_MAX: usize = 40;
const LINE_MAX: usize = 200;
/// Number of bytes shown around the first difference.
const SHOWN: usize = 24;
/// Shorter runs of text in binary files are chance.
const WORD_MIN: usize = 6;
const WORDS_MAX: usize = 8;
const TIME_FOR_A_DIFF: Duration = Duration::from_millis(500);

/// A difference of two contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub form: Form,
    pub sizes: (usize, usize),
    /// Lines of a diff, names of sections, or bytes.
    pub details: Vec<String>,
    /// Values that only one of them has: lines, or text in binary files.
    pub values: (Vec<String>, Vec<String>),
    /// Whether both have the same lines in another order.
    pub reordered: bool,
    pub nested: Option<Box<Comparison>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Elf,
    Pyc,
    Gzip,
    Archive,
    Binary,
}

impl Form {
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Elf => "elf",
            Self::Pyc => "pyc",
            Self::Gzip => "gzip",
            Self::Archive => "archive",
            Self::Binary => "binary",
        }
    }
}

impl Content {
    pub(super) fn to_json(&self) -> Value {
        let Self { form, sizes, details, values, reordered, nested } = self;
        json!({
            "form": form.word(),
            "sizes": [sizes.0, sizes.1],
            "details": details,
            "values": { "a": values.0, "b": values.1 },
            "reordered": reordered,
            "nested": nested.as_ref().map(|nested| nested.to_json()),
        })
    }
}

pub(super) fn explain(a: &[u8], b: &[u8], depth: usize) -> Content {
    let mut content = Content {
        form: Form::Binary,
        sizes: (a.len(), b.len()),
        details: Vec::new(),
        values: (Vec::new(), Vec::new()),
        reordered: false,
        nested: None,
    };
    if let (Some(text_a), Some(text_b)) = (as_text(a), as_text(b)) {
        content.form = Form::Text;
        content.details = match ends(text_a, text_b) {
            Some(what) => vec![what.into()],
            None => unified(text_a, text_b),
        };
        content.values = only(text_a.lines(), text_b.lines());
        content.reordered = sorted_lines(text_a) == sorted_lines(text_b);
        return content;
    }
    content.values = only(words_of(a), words_of(b));
    if archive::is_zip(a)
        && archive::is_zip(b)
        && let Some(nested) = compare_nested(a, b, depth)
    {
        content.form = Form::Archive;
        content.nested = Some(Box::new(nested));
    } else if let (Some(sections_a), Some(sections_b)) = (elf::sections(a), elf::sections(b)) {
        content.form = Form::Elf;
        content.details = differing_sections(&sections_a, &sections_b);
    } else if let (Some(header_a), Some(header_b)) = (pyc(a), pyc(b)) {
        content.form = Form::Pyc;
        content.details = fields(&header_a, &header_b);
        let same = a.get(16..) == b.get(16..);
        content.details.push(if same { "the code is the same" } else { "the code differs" }.into());
    } else if let (Some(header_a), Some(header_b)) = (gzip(a), gzip(b)) {
        content.form = Form::Gzip;
        content.details = fields(&header_a, &header_b);
    }
    if content.details.is_empty() && content.nested.is_none() {
        content.details = first_bytes(a, b);
    }
    content
}

/// Returns the difference of two texts if they differ in the ends of their lines only.
fn ends(a: &str, b: &str) -> Option<&'static str> {
    if !a.lines().eq(b.lines()) {
        return None;
    }
    Some(match a.ends_with('\n') == b.ends_with('\n') {
        true => "only the ends of the lines differ: CRLF in one, LF in the other",
        false => "only one ends in a line break",
    })
}

/// Returns the lines of a text in another order than its own, with their carriage returns.
fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.sort_unstable();
    lines
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_MAX)?;
    (!text.contains('\0')).then_some(text)
}

fn unified(a: &str, b: &str) -> Vec<String> {
    let mut config = TextDiff::configure();
    config.timeout(TIME_FOR_A_DIFF);
    let diff = config.diff_lines(a, b);
    let text = diff.unified_diff().context_radius(1).to_string();
    let mut lines: Vec<String> = text.lines().take(LINES_MAX).map(shorten).collect();
    let left = text.lines().count().saturating_sub(LINES_MAX);
    if left > 0 {
        lines.push(format!("({left} more lines)"));
    }
    lines
}

/// Shortens a line for a terminal.
fn shorten(line: &str) -> String {
    let plain = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c });
    let mut short: String = plain.clone().take(LINE_MAX).collect();
    if plain.count() > LINE_MAX {
        short.push('…');
    }
    short
}

/// Returns the items that one side has more often than the other, the first few of each.
fn only<T: Ord + AsRef<str>>(
    a: impl IntoIterator<Item = T>,
    b: impl IntoIterator<Item = T>,
) -> (Vec<String>, Vec<String>) {
    let (a, b): (Vec<T>, Vec<T>) = (a.into_iter().collect(), b.into_iter().collect());
    let count = |items: &[T]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for item in items {
            *counts.entry(item.as_ref().to_owned()).or_default() += 1;
        }
        counts
    };
    let (count_a, count_b) = (count(&a), count(&b));
    let more = |items: &[T], own: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| {
        let mut found: Vec<String> = Vec::new();
        for item in items.iter().map(AsRef::as_ref) {
            let has_more = own.get(item) > other.get(item);
            if has_more && !found.iter().any(|known| known == item) && found.len() < WORDS_MAX {
                found.push(item.to_owned());
            }
        }
        found.iter().map(|item| shorten(item)).collect::<Vec<String>>()
    };
    (more(&a, &count_a, &count_b), more(&b, &count_b, &count_a))
}

/// Returns runs of printable ASCII in a binary file.
fn words_of(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| !(b' '..=b'~').contains(byte))
        .filter(|run| run.len() >= WORD_MIN)
        .map(|run| String::from_utf8_lossy(run).into_owned())
        .collect()
}

fn first_bytes(a: &[u8], b: &[u8]) -> Vec<String> {
    let shorter = a.len().min(b.len());
    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(shorter);
    let shown = |bytes: &[u8]| -> String {
        let end = bytes.len().min(at + SHOWN);
        let shown: Vec<String> = bytes[at..end].iter().map(|byte| format!("{byte:02x}")).collect();
        if shown.is_empty() { "the end".into() } else { shown.join(" ") }
    };
    vec![format!("from byte {at} on"), format!("a: {}", shown(a)), format!("b: {}", shown(b))]
}

type Fields = Vec<(&'static str, String)>;

fn fields(a: &Fields, b: &Fields) -> Vec<String> {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b);
    differing.map(|((name, a), (_, b))| format!("{name}: {a} / {b}")).collect()
}

/// Reads the header of a `.pyc` (PEP 552).
fn pyc(bytes: &[u8]) -> Option<Fields> {
    let header = bytes.get(..16)?;
    if header[2..4] != *b"\r\n" {
        return None;
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let magic = ("magic number", (word(0) & 0xFFFF).to_string());
    Some(match word(4) {
        0 => vec![
            magic,
            ("checked by", "time".into()),
            ("time of the source", word(8).to_string()),
            ("size of the source", word(12).to_string()),
        ],
        flags @ 1..=3 => vec![
            magic,
            ("checked by", if flags == 3 { "hash" } else { "nothing" }.into()),
            ("hash of the source", format!("{:08x}{:08x}", word(12), word(8))),
        ],
        _ => return None,
    })
}

fn gzip(bytes: &[u8]) -> Option<Fields> {
    let header = bytes.get(..10)?;
    (header[..3] == [0x1F, 0x8B, 8]).then(|| {
        let time = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        vec![
            ("time in the header", time.to_string()),
            ("flags in the header", format!("{:#04x}", header[3])),
            ("system in the header", header[9].to_string()),
        ]
    })
}

fn differing_sections(a: &[Section], b: &[Section]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, content) in a {
        match b.iter().find(|(other, _)| other == name) {
            None => lines.push(format!("section {name}: only in a")),
            Some((_, other)) if other != content => {
                lines.push(format!("section {name}: {} / {} bytes", content.len(), other.len()));
            }
            Some(_) => {}
        }
    }
    let only_b = b.iter().filter(|(name, _)| !a.iter().any(|(other, _)| other == name));
    lines.extend(only_b.map(|(name, _)| format!("section {name}: only in b")));
    lines
}
