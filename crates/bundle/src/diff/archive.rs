//! The directory of a zip as it was written, field by field: a reader that skips fields would hide
//! differences. Any bytes may come in, and none are trusted.

use anyhow::{Context, Result, bail};

/// An entry of the central directory, with the fields of its local header.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) made_by: u16,
    pub(super) needed: u16,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) time: u16,
    pub(super) date: u16,
    pub(super) size: u64,
    pub(super) internal: u16,
    pub(super) external: u32,
    pub(super) extra: Vec<u8>,
    pub(super) comment: Vec<u8>,
    /// Version, flags and extra field of the local header.
    pub(super) local: Vec<u8>,
    /// Offset of the data in the file.
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) struct Directory {
    pub(super) entries: Vec<Listed>,
    pub(super) comment: Vec<u8>,
}

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL) || bytes.starts_with(END)
}

pub(super) fn read(bytes: &[u8]) -> Result<Directory> {
    let end = find_end(bytes).context("it has no central directory")?;
    let count = u16_at(bytes, end + 10)?;
    let mut at = u32_at(bytes, end + 16)? as usize;
    if count == 0xFFFF || at == 0xFFFF_FFFF {
        bail!("it is a zip64 archive, which Lambda does not accept");
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let (entry, next) = read_entry(bytes, at)?;
        entries.push(entry);
        at = next;
    }
    let length = usize::from(u16_at(bytes, end + 20)?);
    let comment = slice(bytes, end + END_LENGTH, length)?.to_vec();
    Ok(Directory { entries, comment })
}

/// Returns the last offset of an end record whose comment reaches the end of the file.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_LENGTH)?;
    let first = last.saturating_sub(0xFFFF);
    (first..=last).rev().find(|at| {
        bytes[*at..].starts_with(END)
            && u16_at(bytes, at + 20)
                .is_ok_and(|length| at + END_LENGTH + usize::from(length) == bytes.len())
    })
}

/// Reads an entry. Returns it with the offset of the next one.
fn read_entry(bytes: &[u8], at: usize) -> Result<(Listed, usize)> {
    if slice(bytes, at, 4)? != ENTRY {
        bail!("its central directory is damaged");
    }
    let lengths = [28, 30, 32].map(|field| u16_at(bytes, at + field).map(usize::from));
    let [name_length, extra_length, comment_length] = lengths;
    let (name_length, extra_length, comment_length) =
        (name_length?, extra_length?, comment_length?);
    let after_name = at + 46 + name_length;
    let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
    let compressed = u32_at(bytes, at + 20)?;
    let size = u32_at(bytes, at + 24)?;
    let header = u32_at(bytes, at + 42)? as usize;
    if [compressed, size].contains(&0xFFFF_FFFF) {
        bail!("`{name}` is written in zip64, which Lambda does not accept");
    }
    let (start, local) =
        read_local(bytes, header).with_context(|| format!("`{name}` is damaged"))?;
    let end = start + compressed as usize;
    slice(bytes, start, compressed as usize).with_context(|| format!("`{name}` is cut off"))?;
    let entry = Listed {
        name,
        made_by: u16_at(bytes, at + 4)?,
        needed: u16_at(bytes, at + 6)?,
        flags: u16_at(bytes, at + 8)?,
        method: u16_at(bytes, at + 10)?,
        time: u16_at(bytes, at + 12)?,
        date: u16_at(bytes, at + 14)?,
        size: u64::from(size),
        internal: u16_at(bytes, at + 36)?,
        external: u32_at(bytes, at + 38)?,
        extra: slice(bytes, after_name, extra_length)?.to_vec(),
        comment: slice(bytes, after_name + extra_length, comment_length)?.to_vec(),
        local,
        start,
        end,
    };
    Ok((entry, after_name + extra_length + comment_length))
}

/// Reads a local header. Returns the offset of the data, and the header's own fields.
fn read_local(bytes: &[u8], at: usize) -> Result<(usize, Vec<u8>)> {
    if slice(bytes, at, 4)? != LOCAL {
        bail!("it has no local header");
    }
    let name = usize::from(u16_at(bytes, at + 26)?);
    let extra = usize::from(u16_at(bytes, at + 28)?);
    let local = [slice(bytes, at + 4, 4)?, slice(bytes, at + 30 + name, extra)?].concat();
    Ok((at + 30 + name + extra, local))
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let end = at.checked_add(length);
    end.and_then(|end| bytes.get(at..end)).context("the file ends too early")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = slice(bytes, at, 2)?;
    Ok(u16::from_le_bytes([field[0], field[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = slice(bytes, at, 4)?;
    Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
}
