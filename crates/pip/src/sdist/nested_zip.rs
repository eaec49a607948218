//! Build times in zips inside a wheel. A time later than the source's newest is set to that time;
//! earlier times come from the source and stay.

use std::io::Cursor;

use zipwright_bundle::Time;

/// Extra field of extended timestamps: a byte of flags, then seconds since 1970, four bytes each.
const TIMESTAMPS: u16 = 0x5455;

/// Offsets in a header: its time, the lengths of name and extra field, and the name.
struct Layout {
    time: usize,
    lengths: usize,
    name: usize,
}

const LOCAL: Layout = Layout { time: 10, lengths: 26, name: 30 };
const CENTRAL: Layout = Layout { time: 12, lengths: 28, name: 46 };

pub(super) fn is_zip(name: &str, bytes: &[u8]) -> bool {
    let named = [".zip", ".jar", ".egg"].iter().any(|end| name.ends_with(end));
    named && bytes.starts_with(b"PK\x03\x04")
}

/// Sets later times of members to `epoch`. An unreadable zip is not changed.
pub(super) fn clamp(bytes: &mut [u8], epoch: i64) {
    let (date, time) = Time::at(epoch).words();
    for (layout, start) in headers(bytes) {
        let Some(header) = bytes.get_mut(start..) else { continue };
        clamp_header(header, &layout, (date, time), u32::try_from(epoch).unwrap_or(u32::MAX));
    }
}

/// Returns the offsets of the headers of all members, except encrypted ones: there the time is part
/// of the check.
fn headers(bytes: &[u8]) -> Vec<(Layout, usize)> {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else { return Vec::new() };
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let Ok(member) = archive.by_index_raw(index) else { return Vec::new() };
        if !member.encrypted() {
            let starts = [(LOCAL, member.header_start()), (CENTRAL, member.central_header_start())];
            found.extend(
                starts.map(|(layout, at)| (layout, usize::try_from(at).unwrap_or(bytes.len()))),
            );
        }
    }
    found
}

fn clamp_header(header: &mut [u8], layout: &Layout, latest: (u16, u16), epoch: u32) -> Option<()> {
    let number = |header: &[u8], at: usize| {
        Some(u16::from_le_bytes(header.get(at..at + 2)?.try_into().ok()?))
    };
    let own = (number(header, layout.time + 2)?, number(header, layout.time)?);
    if own > latest {
        header[layout.time..layout.time + 2].copy_from_slice(&latest.1.to_le_bytes());
        header[layout.time + 2..layout.time + 4].copy_from_slice(&latest.0.to_le_bytes());
    }
    let name = usize::from(number(header, layout.lengths)?);
    let extra = usize::from(number(header, layout.lengths + 2)?);
    let mut rest = header.get_mut(layout.name + name..)?.get_mut(..extra)?;
    while rest.len() >= 4 {
        let (kind, length) = (number(rest, 0)?, usize::from(number(rest, 2)?));
        let (field, after) = rest.split_at_mut_checked(4 + length)?;
        for seconds in field.get_mut(5..).unwrap_or_default().chunks_exact_mut(4) {
            let own = u32::from_le_bytes(seconds.try_into().ok()?);
            if kind == TIMESTAMPS && own > epoch {
                seconds.copy_from_slice(&epoch.to_le_bytes());
            }
        }
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Returns a zip of two text members; the second has extended timestamps.
    fn zip_of(year: u16, seconds: u32) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let time = zip::DateTime::from_date_and_time(year, 5, 6, 7, 8, 10).unwrap();
        let options = zip::write::SimpleFileOptions::default().last_modified_time(time);
        zip.start_file("a", options).unwrap();
        zip.write_all(b"text").unwrap();
        let mut extended = zip::write::FullFileOptions::default().last_modified_time(time);
        let field = [&[1], &seconds.to_le_bytes()[..]].concat();
        extended.add_extra_field(TIMESTAMPS, field, false).unwrap();
        zip.start_file("b", extended).unwrap();
        zip.write_all(b"text").unwrap();
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn later_times_become_the_sources_own_and_earlier_ones_stay() {
        let epoch = 1_600_000_000;
        let (mut one, mut two) = (zip_of(2025, 1_700_000_001), zip_of(2026, 1_700_000_002));
        assert_ne!(one, two);
        clamp(&mut one, epoch);
        clamp(&mut two, epoch);
        assert_eq!(one, two);
        let mut archive = zip::ZipArchive::new(Cursor::new(one)).unwrap();
        let time = archive.by_name("a").unwrap().last_modified().unwrap();
        assert_eq!((time.year(), time.month(), time.day(), time.hour()), (2020, 9, 13, 12));
        let old = zip_of(1999, 900_000_000);
        let mut same = old.clone();
        clamp(&mut same, epoch);
        assert_eq!(same, old);
    }

    #[test]
    fn rubbish_stays_as_it_is() {
        let good = zip_of(2025, 1_700_000_001);
        for end in 0..good.len() {
            let mut bad = good[..end].to_vec();
            clamp(&mut bad, 1_600_000_000);
            assert_eq!(bad, good[..end]);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xFF;
            clamp(&mut bad, 1_600_000_000);
        }
    }
}
