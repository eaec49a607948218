//! The text of a Python file: byte order mark, the encoding that a comment declares (PEP 263), and
//! lines.

use super::Fault;
use crate::check::runtime::Python;

/// Single-byte encodings whose lower half is ASCII. They are read byte by byte, which is right
/// except for letters in strings and names.
const SINGLE_BYTE: [&str; 8] =
    ["ascii", "us-ascii", "latin", "iso-8859", "iso8859", "cp125", "windows-125", "koi8"];

/// Returns the text; `None` if its encoding is not supported.
pub(super) fn decode(bytes: &[u8], python: Python) -> Result<Option<String>, Fault> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        // Earlier versions raise a `ValueError` without a line.
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let line = if python.minor >= 12 { line } else { 0 };
        return Err(Fault { line, text: "source code cannot contain null bytes".into() });
    }
    let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let has_mark = rest.len() < bytes.len();
    let declared = declared(rest);
    let is_utf8 = match &declared {
        None => true,
        Some(name) => ["utf-8", "utf8", "u8"].iter().any(|utf8| name.starts_with(utf8)),
    };
    match (std::str::from_utf8(rest), declared) {
        (_, Some(name)) if has_mark && !is_utf8 => {
            Err(Fault { line: 1, text: format!("encoding problem: {name} with BOM") })
        }
        (Ok(text), _) => Ok(Some(text.to_owned())),
        (Err(error), _) if is_utf8 => {
            let before = &rest[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let text = "the text is not UTF-8, and no encoding is declared (PEP 263)";
            Err(Fault { line, text: text.into() })
        }
        (Err(_), Some(name)) if SINGLE_BYTE.iter().any(|known| name.starts_with(known)) => {
            Ok(Some(rest.iter().map(|byte| char::from(*byte)).collect()))
        }
        (Err(_), _) => Ok(None),
    }
}

/// Returns the encoding in a comment on the first line, or on the second after a comment or empty
/// line.
fn declared(bytes: &[u8]) -> Option<String> {
    for line in bytes.split(|byte| *byte == b'\n').take(2) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_start_matches([' ', '\t', '\x0c']).trim_end();
        if !line.is_empty() && !line.starts_with('#') {
            return None;
        }
        let after = line.find("coding").map(|at| &line[at + "coding".len()..]);
        let value = after.and_then(|after| after.strip_prefix([':', '=']));
        if let Some(value) = value {
            let value = value.trim_start_matches([' ', '\t']);
            let end = value
                .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
                .unwrap_or(value.len());
            if end > 0 {
                return Some(value[..end].to_lowercase().replace('_', "-"));
            }
        }
    }
    None
}

/// Returns the number of the line of a byte, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    let ends = before.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => before.get(at + 1) != Some(&b'\n') && text.as_bytes().get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() + 1
}
