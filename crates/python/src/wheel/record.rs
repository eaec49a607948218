//! RECORD: the list of a wheel's files, with a hash and a size for each (PEP 376, PEP 427).

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, Digest, SHA256, SHA384, SHA512};
use zipwright_store::Sha256;

/// The entry of one file in RECORD.
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

    pub(super) fn is_sha256(&self) -> bool {
        self.algorithm == "sha256"
    }

    pub(super) fn is(&self, result: &Digest) -> bool {
        self.value == result.as_ref()
    }
}

/// Returns the RECORD of a wheel with these members, given by name and content, in their order. Its
/// own line, under the name `own`, has neither a hash nor a size.
pub fn write<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>, own: &str) -> String {
    let mut text = String::new();
    for (name, bytes) in members {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::of(bytes));
        text.push_str(&format!("{},sha256={hash},{}\n", field(name), bytes.len()));
    }
    text + &format!("{},,\n", field(own))
}

/// Returns a CSV field, quoted if necessary.
fn field(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

/// Returns the lines of a RECORD by path, except those of folders. A path for which `is_member`
/// returns `false` is an error, so at most as many lines are kept as the wheel has members.
pub(super) fn parse(
    text: &str,
    is_member: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Line>> {
    let mut lines = BTreeMap::new();
    let mut rows = Rows { text, number: 0 };
    while let Some(row) = rows.next()? {
        let [path, hash, size] = row.as_slice() else {
            bail!("line {} of RECORD has {} fields, not 3", rows.number, row.len());
        };
        let line = Line { hash: parse_hash(path, hash)?, size: parse_size(path, size)? };
        // Some tools list folders.
        if path.ends_with('/') {
            continue;
        }
        if !is_member(path) {
            bail!("RECORD lists `{path}`, which is not in the wheel");
        }
        match lines.get(path) {
            Some(known) if *known != line => bail!("RECORD lists `{path}` twice, differently"),
            Some(_) => {}
            None => {
                lines.insert(path.clone(), line);
            }
        }
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
            Err(_) => bail!("RECORD's size of `{path}` is not a number"),
        },
    }
}

/// Largest number of fields in a row that are distinguished. No row of a RECORD has as many.
const FIELDS: usize = 8;

/// The rows of a CSV text as Python's `csv` writes it: fields with a comma, a quote or a line break
/// are in double quotes, a quote inside is doubled.
struct Rows<'a> {
    text: &'a str,
    /// Number of the last row.
    number: usize,
}

impl Rows<'_> {
    /// Returns the fields of the next row that is not empty; `None` at the end of the text.
    fn next(&mut self) -> Result<Option<Vec<String>>> {
        let (mut row, mut field) = (Vec::new(), String::new());
        let mut quoted = false;
        let mut chars = self.text.chars();
        while let Some(c) = chars.next() {
            let next = chars.as_str().as_bytes().first();
            match c {
                '"' if quoted && next == Some(&b'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' if quoted => quoted = false,
                c if quoted => field.push(c),
                '"' if field.is_empty() => quoted = true,
                ',' if row.len() < FIELDS => row.push(std::mem::take(&mut field)),
                '\r' if next == Some(&b'\n') => {}
                '\n' if row.is_empty() && field.is_empty() => {}
                '\n' => break,
                c => field.push(c),
            }
        }
        if quoted {
            bail!("RECORD ends inside a quoted field");
        }
        self.text = chars.as_str();
        if row.is_empty() && field.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        row.push(field);
        Ok(Some(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn lines_are_read_as_python_writes_them() {
        let text = format!("a.py,{EMPTY},0\r\n\"b, \"\"c\"\".py\",{EMPTY},\r\n\nx/RECORD,,\n");
        let lines = parse(&text, |_| true).unwrap();
        assert_eq!(lines.keys().collect::<Vec<_>>(), ["a.py", "b, \"c\".py", "x/RECORD"]);
        assert_eq!(lines["a.py"].size, Some(0));
        assert_eq!(lines["x/RECORD"], Line { hash: None, size: None });
        let hash = lines["a.py"].hash.clone().unwrap();
        assert!(hash.is(&hash.hasher().unwrap().finish()));
    }

    #[test]
    fn a_written_record_is_read_back() {
        let members = [("a, \"b\".py", &b"1"[..]), ("c.py", b"")];
        let text = write(members, "x/RECORD");
        assert!(text.ends_with(&format!("\nc.py,{EMPTY},0\nx/RECORD,,\n")), "{text}");
        let lines = parse(&text, |_| true).unwrap();
        assert_eq!(lines.keys().collect::<Vec<_>>(), ["a, \"b\".py", "c.py", "x/RECORD"]);
        assert_eq!(lines["a, \"b\".py"].size, Some(1));
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        for (text, reason) in [
            ("a.py", "1 fields"),
            ("a.py,sha256,0", "cannot be read"),
            ("a.py,sha256=!,0", "cannot be read"),
            ("a.py,,many", "not a number"),
            ("\"a.py", "inside a quoted field"),
            ("a.py,,1\na.py,,2", "twice"),
        ] {
            let error = parse(text, |_| true).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn no_more_is_kept_than_the_wheel_has() {
        let text = "x/,,\n".repeat(3) + "a.py,,1\na.py,,1\nb.py,,\n";
        let error = parse(&text, |path| path == "a.py").unwrap_err().to_string();
        assert_eq!(error, "RECORD lists `b.py`, which is not in the wheel");
        let lines = parse(&text, |_| true).unwrap();
        assert_eq!(lines.keys().collect::<Vec<_>>(), ["a.py", "b.py"]);
        let error = parse(&",".repeat(1 << 20), |_| true).unwrap_err().to_string();
        assert_eq!(error, "line 1 of RECORD has 9 fields, not 3");
    }

    #[test]
    fn longer_hashes_prove_as_much() {
        let sha512 = "sha512=z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGl\
                      ODJ6-SfaPg==";
        let lines = parse(&format!("a.py,{sha512},0"), |_| true).unwrap();
        let hash = lines["a.py"].hash.clone().unwrap();
        let mut hasher = hash.hasher().unwrap();
        hasher.update(b"");
        assert!(hash.is(&hasher.finish()));
    }

    #[test]
    fn weak_hashes_prove_nothing() {
        let lines = parse("a.py,md5=1B2M2Y8AsgTpgAmY7PhCfg,0", |_| true).unwrap();
        let error = lines["a.py"].hash.as_ref().unwrap().hasher().err().unwrap();
        assert!(error.to_string().contains("`md5`"), "{error}");
    }
}
