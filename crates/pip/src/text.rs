//! Text as Python reads it: the encoding of a requirements file, line ends, and white space. Rust's
//! standard library differs from Python's in all three.
//!
//! A file is decoded as pip decodes it: by its byte order mark, else by a coding line as in PEP 263
//! among the first two lines, else as UTF-8. There are two differences: pip decodes a file that is
//! included by a URL as ISO 8859-1, and a file that is not UTF-8 by the locale's encoding. pip gets
//! copies in UTF-8, so it reads the same text as this module.

use anyhow::{Context, Result, bail};

/// Byte order marks, the longer ones first: UTF-32 in little endian begins like UTF-16.
const MARKS: [(&[u8], Encoding); 5] = [
    (b"\xef\xbb\xbf", Encoding::Utf8),
    (b"\xff\xfe\x00\x00", Encoding::Utf32 { big: false }),
    (b"\x00\x00\xfe\xff", Encoding::Utf32 { big: true }),
    (b"\xff\xfe", Encoding::Utf16 { big: false }),
    (b"\xfe\xff", Encoding::Utf16 { big: true }),
];

/// The characters of bytes 0x80 to 0x9f in Windows-1252; `None`: not assigned.
const WINDOWS_1252: [Option<char>; 32] = {
    let text = [
        0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039,
        0x0152, 0, 0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc,
        0x2122, 0x0161, 0x203a, 0x0153, 0, 0x017e, 0x0178,
    ];
    let mut characters = [None; 32];
    let mut at = 0;
    while at < text.len() {
        if text[at] != 0 {
            characters[at] = char::from_u32(text[at]);
        }
        at += 1;
    }
    characters
};

/// Differences between ISO 8859-15 and ISO 8859-1.
const LATIN_9: [(u8, char); 8] = [
    (0xa4, '€'),
    (0xa6, 'Š'),
    (0xa8, 'š'),
    (0xb4, 'Ž'),
    (0xb8, 'ž'),
    (0xbc, 'Œ'),
    (0xbd, 'œ'),
    (0xbe, 'Ÿ'),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Ascii,
    Utf8,
    Utf16 { big: bool },
    Utf32 { big: bool },
    Latin1,
    Latin9,
    Windows1252,
}

/// Decodes the content of a requirements file, without its byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<String> {
    if let Some((mark, encoding)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return decode_as(&bytes[mark.len()..], *encoding).context(format!(
            "the file has the byte order mark of {}, but its bytes are not in that encoding: save \
             it as UTF-8",
            encoding.name()
        ));
    }
    if let Some(name) = coding_line(bytes) {
        let Some((encoding, sign)) = by_name(&name) else {
            bail!("the file declares `coding: {name}`, which is not supported: save it as UTF-8");
        };
        let bytes = if sign { bytes.strip_prefix(MARKS[0].0).unwrap_or(bytes) } else { bytes };
        return decode_as(bytes, encoding).context(format!(
            "the file declares `coding: {name}`, but its bytes are not in that encoding: save it \
             as UTF-8"
        ));
    }
    decode_as(bytes, Encoding::Utf8).context(
        "the file is not UTF-8: save it as UTF-8, or name its encoding in a first line such as \
         `# -*- coding: latin-1 -*-`",
    )
}

/// Returns the encoding that a comment in the first two lines names: `coding[:=]\s*([-\w.]+)`.
fn coding_line(bytes: &[u8]) -> Option<String> {
    bytes.split(|byte| *byte == b'\n').take(2).filter(|line| line.starts_with(b"#")).find_map(
        |line| {
            let places = memchr::memmem::find_iter(line, "coding");
            places.map(|at| &line[at + "coding".len()..]).find_map(|rest| {
                let rest = rest.strip_prefix(b":").or_else(|| rest.strip_prefix(b"="))?;
                let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
                let name: Vec<u8> = rest
                    .iter()
                    .skip_while(|byte| byte.is_ascii_whitespace() || **byte == b'\x0b')
                    .take_while(is_name)
                    .copied()
                    .collect();
                String::from_utf8(name).ok().filter(|name| !name.is_empty())
            })
        },
    )
}

/// Returns a codec of Python by its name or alias, and whether it skips a byte order mark of UTF-8.
fn by_name(name: &str) -> Option<(Encoding, bool)> {
    let normal = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let encoding = match normal.as_str() {
        "utf_8" | "utf8" | "u8" | "utf" | "cp65001" => Encoding::Utf8,
        "utf_8_sig" | "utf8_sig" => return Some((Encoding::Utf8, true)),
        "ascii" | "us_ascii" | "646" => Encoding::Ascii,
        "latin_1" | "latin1" | "latin" | "l1" | "iso_8859_1" | "iso8859_1" | "8859" | "cp819" => {
            Encoding::Latin1
        }
        "latin9" | "l9" | "iso_8859_15" | "iso8859_15" => Encoding::Latin9,
        "cp1252" | "windows_1252" | "1252" => Encoding::Windows1252,
        _ => return None,
    };
    Some((encoding, false))
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Ascii => "ASCII",
            Self::Utf8 => "UTF-8",
            Self::Utf16 { .. } => "UTF-16",
            Self::Utf32 { .. } => "UTF-32",
            Self::Latin1 => "ISO 8859-1",
            Self::Latin9 => "ISO 8859-15",
            Self::Windows1252 => "Windows-1252",
        }
    }
}

fn decode_as(bytes: &[u8], encoding: Encoding) -> Option<String> {
    let single =
        |to_char: fn(u8) -> Option<char>| bytes.iter().map(|byte| to_char(*byte)).collect();
    match encoding {
        Encoding::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
        Encoding::Utf16 { big } => {
            let units = bytes.chunks_exact(2);
            units.remainder().is_empty().then_some(())?;
            let units = units.map(|pair| {
                let pair = [pair[0], pair[1]];
                if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
            });
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Encoding::Utf32 { big } => {
            let units = bytes.chunks_exact(4);
            units.remainder().is_empty().then_some(())?;
            let units = units.map(|four| {
                let four = [four[0], four[1], four[2], four[3]];
                char::from_u32(if big {
                    u32::from_be_bytes(four)
                } else {
                    u32::from_le_bytes(four)
                })
            });
            units.collect()
        }
        Encoding::Ascii => single(|byte| byte.is_ascii().then_some(char::from(byte))),
        Encoding::Latin1 => single(|byte| Some(char::from(byte))),
        Encoding::Latin9 => single(|byte| {
            let own = LATIN_9.iter().find(|(place, _)| *place == byte);
            Some(own.map_or(char::from(byte), |(_, character)| *character))
        }),
        Encoding::Windows1252 => single(|byte| match byte {
            0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
            byte => Some(char::from(byte)),
        }),
    }
}

/// Splits text into lines as `str.splitlines` does.
pub(super) fn split_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !ends_line(character) {
            continue;
        }
        lines.push(&text[start..at]);
        if character == '\r' {
            characters.next_if(|(_, next)| *next == '\n');
        }
        start = characters.peek().map_or(text.len(), |(at, _)| *at);
    }
    if start < text.len() {
        lines.push(&text[start..]);
    }
    lines
}

/// Returns whether a line ends at this character.
pub(super) fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// Returns whether a character is white space, as `str.isspace` and `\s` of Python define it.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    fn utf_32(text: &str, big: bool) -> Vec<u8> {
        let bytes = |c: char| if big { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() };
        std::iter::once('\u{feff}').chain(text.chars()).flat_map(bytes).collect()
    }

    #[test]
    fn a_byte_order_mark_decides() {
        let text = "idna # Größe 🎉\n";
        let marked = format!("\u{feff}{text}");
        for bytes in [
            text.as_bytes().to_vec(),
            marked.into_bytes(),
            utf_16(text, false),
            utf_16(text, true),
            utf_32(text, false),
            utf_32(text, true),
        ] {
            assert_eq!(decode(&bytes).unwrap(), text);
        }
        let error = decode(b"\xff\xfei").unwrap_err().to_string();
        assert!(error.contains("byte order mark of UTF-16") && error.contains("save it as UTF-8"));
    }

    #[test]
    fn a_coding_line_among_the_first_two_decides() {
        assert_eq!(decode(b"# coding: latin-1\n# \xe4").unwrap(), "# coding: latin-1\n# ä");
        assert_eq!(
            decode(b"\n# vim: fileencoding=CP1252 :\n\x80").unwrap().chars().last(),
            Some('€')
        );
        assert_eq!(decode(b"#-*- coding=iso8859-15\n\xa4").unwrap().chars().last(), Some('€'));
        for bad in [
            &b"\n\n# coding: latin-1\n\xe4"[..],
            b"idna # coding: latin-1\n\xe4",
            b"# coding: utf-8\n\xe4",
            b"# coding: ascii\n\xe4",
            b"# coding: koi8-r\n\xe4",
            b"# coding: cp1252\n\x81",
        ] {
            let error = decode(bad).unwrap_err().to_string();
            assert!(error.contains("save it as UTF-8"), "{error}");
        }
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        let text = "a\r\nb\rc\x0bd\x0ce\x1cf\x1dg\x1eh\u{85}i\u{2028}j\u{2029}\n\nk\x1fl";
        let lines = split_lines(text);
        assert_eq!(lines, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "", "", "k\x1fl"]);
        assert_eq!(split_lines("a\n"), ["a"]);
        assert!(split_lines("").is_empty());
    }
}
