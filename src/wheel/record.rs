//! RECORD: the list of a wheel's files, with a hash and a size for each (PEP 376, PEP 427).

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, Digest, SHA256, SHA384, SHA512};

/// What RECORD says of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// `None`: no hash is given.
    pub(super) hash: Option<Hash>,
    pub(super) size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hash {
    algorithm: String,
    value: Vec<u8>,
}

impl Hash {
    /// A hasher whose result is to be compared by [`Hash::is`]; `Err` for an algorithm that is
    /// unknown, or too weak to prove anything.
    pub(super) fn hasher(&self) -> Result<Context> {
        Ok(Context::new(match self.algorithm.as_str() {
            "sha256" => &SHA256,
            "sha384" => &SHA384,
            "sha512" => &SHA512,
            other => bail!("RECORD has a hash by `{other}`, which is unknown or too weak"),
        }))
    }

    pub(super) fn is(&self, result: &Digest) -> bool {
        self.value == result.as_ref()
    }
}

/// All lines of a RECORD, by path.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Line>> {
    let mut lines = BTreeMap::new();
    for (at, row) in rows(text)?.into_iter().enumerate() {
        let [path, hash, size] = row.as_slice() else {
            bail!("line {} of RECORD has {} fields, not 3", at + 1, row.len());
        };
        let line = Line { hash: parse_hash(path, hash)?, size: parse_size(path, size)? };
        match lines.get(path) {
            Some(known) if *known != line => bail!("RECORD lists `{path}` twice, differently"),
            _ => lines.insert(path.clone(), line),
        };
    }
    Ok(lines)
}

fn parse_hash(path: &str, text: &str) -> Result<Option<Hash>> {
    if text.is_empty() {
        return Ok(None);
    }
    let decoded = text.split_once('=').and_then(|(algorithm, value)| {
        let value = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).ok()?;
        Some(Hash { algorithm: algorithm.to_ascii_lowercase(), value })
    });
    match decoded {
        Some(hash) => Ok(Some(hash)),
        None => bail!("RECORD's hash of `{path}` cannot be read"),
    }
}

fn parse_size(path: &str, text: &str) -> Result<Option<u64>> {
    match text.trim() {
        "" => Ok(None),
        text => match text.parse() {
            Ok(size) => Ok(Some(size)),
            Err(_) => bail!("RECORD's size of `{path}` is no number"),
        },
    }
}

/// The rows of a CSV text as Python's `csv` writes it: fields with a comma, a quote or a line
/// break stand in double quotes, a quote inside is doubled.
fn rows(text: &str) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            c if quoted => field.push(c),
            '"' if field.is_empty() => quoted = true,
            ',' => row.push(std::mem::take(&mut field)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => end_row(&mut rows, &mut row, &mut field),
            c => field.push(c),
        }
    }
    if quoted {
        bail!("RECORD ends inside a quoted field");
    }
    end_row(&mut rows, &mut row, &mut field);
    Ok(rows)
}

/// An empty line is no row.
fn end_row(rows: &mut Vec<Vec<String>>, row: &mut Vec<String>, field: &mut String) {
    if row.is_empty() && field.is_empty() {
        return;
    }
    row.push(std::mem::take(field));
    rows.push(std::mem::take(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn lines_are_read_as_python_writes_them() {
        let text = format!("a.py,{EMPTY},0\r\n\"b, \"\"c\"\".py\",{EMPTY},\r\n\nx/RECORD,,\n");
        let lines = parse(&text).unwrap();
        assert_eq!(lines.keys().collect::<Vec<_>>(), ["a.py", "b, \"c\".py", "x/RECORD"]);
        assert_eq!(lines["a.py"].size, Some(0));
        assert_eq!(lines["x/RECORD"], Line { hash: None, size: None });
        let hash = lines["a.py"].hash.clone().unwrap();
        assert!(hash.is(&hash.hasher().unwrap().finish()));
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for (text, reason) in [
            ("a.py", "1 fields"),
            ("a.py,sha256,0", "cannot be read"),
            ("a.py,sha256=!,0", "cannot be read"),
            ("a.py,,many", "no number"),
            ("\"a.py", "inside a quoted field"),
            ("a.py,,1\na.py,,2", "twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn longer_hashes_prove_as_much() {
        let sha512 = "sha512=z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGl\
                      ODJ6-SfaPg==";
        let lines = parse(&format!("a.py,{sha512},0")).unwrap();
        let hash = lines["a.py"].hash.clone().unwrap();
        let mut hasher = hash.hasher().unwrap();
        hasher.update(b"");
        assert!(hash.is(&hasher.finish()));
    }

    #[test]
    fn weak_hashes_prove_nothing() {
        let lines = parse("a.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0").unwrap();
        let error = lines["a.py"].hash.as_ref().unwrap().hasher().err().unwrap();
        assert!(error.to_string().contains("`md5`"), "{error}");
    }
}
