//! `.pyc` files: whether the runtime's Python reads them, and whether it accepts them for their
//! source.

use std::io::{Read, Seek};

use anyhow::Result;

use super::Subject;
use super::archive::{self, Contents, Member};
use super::findings::{Finding, Findings, Severity};
use super::runtime::Python;
use crate::pyc::{self, Kind};

/// Largest difference between a zip's local time and UTC, in seconds.
const ZONES: i64 = 14 * 3600;

pub(super) fn check<R: Read + Seek>(
    member: &Member,
    origin: Option<&String>,
    members: &[Member],
    contents: &mut Contents<R>,
    subject: &Subject,
    findings: &mut Findings,
) -> Result<()> {
    let Some((source, cached)) = pyc::source_of(&member.name) else { return Ok(()) };
    let header = contents.start(member, pyc::HEADER)?;
    let source = archive::find(members, &source);
    let mut report = |rule, severity, text: String, hint: &str| {
        findings.add(Finding::new(rule, severity, text, hint).of(&member.name, origin));
    };
    if let Some(python) = subject.python
        && let Some(wanted) = python.magic()
        && magic(&header) != Some(wanted)
    {
        let made_by = made_by(magic(&header));
        if cached || source.is_some() {
            let text = format!("bytecode of {made_by}, which {python} ignores");
            let hint = "leave it out: `exclude = [\"**/__pycache__/**\"]`";
            report("pyc-unused", Severity::Warning, text, hint);
        } else {
            let text = format!(
                "a module without source, as bytecode of {made_by}, which {python} cannot import"
            );
            let hint = "compile it with the runtime's Python, or put the source in";
            report("pyc-python", Severity::Error, text, hint);
        }
    } else if let Some(source) = source.filter(|source| is_stale(&header, source)) {
        let text = "bytecode with the time or size of another source: Python ignores it, and \
                    compiles again at every cold start";
        let hint = match source.size {
            0 => "leave it out",
            _ => "leave it out, or compile it with `bytecode = true` on the staging target",
        };
        report("pyc-stale", Severity::Warning, text.into(), hint);
    }
    Ok(())
}

fn magic(header: &[u8]) -> Option<u16> {
    match header {
        [a, b, b'\r', b'\n', ..] => Some(u16::from_le_bytes([*a, *b])),
        _ => None,
    }
}

fn made_by(magic: Option<u16>) -> String {
    let python =
        magic.and_then(|magic| Python::known().find(|python| python.magic() == Some(magic)));
    match (python, magic) {
        (Some(python), _) => python.to_string(),
        (None, Some(magic)) => format!("another Python (magic number {magic})"),
        (None, None) => "no known Python".into(),
    }
}

/// Returns whether Python rejects the bytecode because the source has another time or size. A zip
/// has even seconds in an unknown time zone, so the comparison is approximate.
fn is_stale(header: &[u8], source: &Member) -> bool {
    let number = |at: usize| {
        let bytes = header.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let (Kind::Timestamp, Some(time), Some(size)) = (Kind::of(header), number(8), number(12))
    else {
        // By hash: compared with the source's content, or not at all.
        return false;
    };
    if u64::from(size) != source.size & 0xffff_ffff {
        return true;
    }
    let Some(zipped) = source.time else { return false };
    let apart = (i64::from(time) - zipped).abs();
    apart > ZONES + 2 || !matches!(apart % 900, 0..=2 | 898..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytecode_is_stale_by_size_and_by_time() {
        let source = |time| Member {
            raw: "a.py".into(),
            name: "a.py".into(),
            size: 7,
            mode: None,
            kind: archive::Kind::File,
            time: Some(time),
            index: 0,
        };
        let header = |flags: u32, time: u32, size: u32| {
            let numbers = [flags, time, size].map(u32::to_le_bytes).concat();
            [b"\xf3\x0d\r\n".to_vec(), numbers].concat()
        };
        let now = 1_700_000_000_u32;
        let zipped = i64::from(now);
        assert!(!is_stale(&header(0, now, 7), &source(zipped)));
        assert!(!is_stale(&header(0, now + 1, 7), &source(zipped)), "two-second steps");
        assert!(!is_stale(&header(0, now, 7), &source(zipped + 9 * 3600)), "another zone");
        assert!(is_stale(&header(0, now, 8), &source(zipped)));
        assert!(is_stale(&header(0, now, 7), &source(318_211_200)));
        assert!(is_stale(&header(0, now + 100, 7), &source(zipped)));
        assert!(!is_stale(&header(1, now, 8), &source(zipped)), "an unchecked hash");
        assert!(!is_stale(b"", &source(zipped)));
    }
}
