//! Which libraries a program or extension module of a 64-bit ELF system asks for.

const SECTION_DYNAMIC: u32 = 6;
const TAG_NEEDED: u64 = 1;

/// The names in its `NEEDED` entries; none when the bytes are no such file, or a damaged one.
pub(super) fn needed(bytes: &[u8]) -> Vec<String> {
    // 64-bit, little endian: x86_64 and arm64, the two that Lambda has.
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Vec::new();
    }
    read(bytes).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Vec<String>> {
    let table = usize::try_from(word(bytes, 0x28)?).ok()?;
    let size = usize::from(half(bytes, 0x3a)?);
    let count = usize::from(half(bytes, 0x3c)?);
    let section = |index: usize| bytes.get(table.checked_add(index.checked_mul(size)?)?..);
    let mut names = Vec::new();
    for index in 0..count {
        let header = section(index)?;
        if long(header, 4)? != SECTION_DYNAMIC {
            continue;
        }
        let strings = content(bytes, section(usize::try_from(long(header, 0x28)?).ok()?)?)?;
        for entry in content(bytes, header)?.chunks_exact(16) {
            if word(entry, 0)? == TAG_NEEDED {
                let start = usize::try_from(word(entry, 8)?).ok()?;
                let name = strings.get(start..)?.split(|byte| *byte == 0).next()?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Some(names)
}

/// What a section's header says it holds.
fn content<'a>(bytes: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(word(header, 0x18)?).ok()?;
    let length = usize::try_from(word(header, 0x20)?).ok()?;
    bytes.get(start..start.checked_add(length)?)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_needs_nothing() {
        assert_eq!(needed(b"import os\n"), [""; 0]);
        assert_eq!(needed(b"\x7fELF\x02\x01"), [""; 0]);
        assert_eq!(needed(&[b"\x7fELF\x02\x01".as_slice(), &[0xff; 200]].concat()), [""; 0]);
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
    #[test]
    fn this_very_program_needs_the_c_library() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = needed(&own);
        assert!(names.iter().any(|name| name.starts_with("libc.")), "{names:?}");
    }
}
