//! Opening wheels, whole and damaged.

use std::fs;
use std::io::{Read, Write};

use anyhow::Result;

use super::testing::Fixture;
use super::*;

const RECORD: &str = "demo-1.dist-info/RECORD";

/// Replaces every `old` in a zip's bytes; both have one length.
fn patch(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let found: Vec<usize> =
        (0..=bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!found.is_empty(), "nothing to patch");
    for at in found {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

const FILE_NAME: &str = "demo-1-py3-none-any.whl";

struct Opened {
    wheel: Result<Wheel>,
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Opened {
    /// Path of the cached index of a wheel.
    fn index(&self, bytes: &[u8]) -> std::path::PathBuf {
        self.cache.place(Bucket::WheelIndexes, &Digest::of(bytes).to_string())
    }
}

fn open(bytes: &[u8]) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(FILE_NAME);
    fs::write(&place, bytes).unwrap();
    let cache = Cache::open(&folder.path().join("cache")).unwrap();
    let wheel = Wheel::open(&place, Digest::of(bytes), &cache);
    for part in [50, u64::MAX] {
        let arrived = arrived(bytes, part, &folder.path().join(part.to_string()));
        assert_eq!(arrived, wheel.as_ref().ok().map(|wheel| wheel.members.to_vec()));
    }
    Opened { wheel, folder, cache }
}

/// Returns the members that are cached of a wheel that arrives in pieces, and whose members are read on
/// after each `part` bytes.
fn arrived(bytes: &[u8], part: u64, cache: &Path) -> Option<Vec<Member>> {
    let cache = Cache::open(cache).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let mut arriving = Arriving::in_parts(file.try_clone().unwrap(), part);
    let mut count = 0;
    for piece in bytes.chunks(77) {
        file.write_all(piece).unwrap();
        count += piece.len() as u64;
        arriving.advance(count);
    }
    arriving.keep(FILE_NAME, &Digest::of(bytes), "", &cache).unwrap();
    cache.get::<Checked>(Bucket::WheelIndexes, &Digest::of(bytes)).map(|checked| checked.members)
}

fn assert_refused(bytes: &[u8], reasons: &[&str]) {
    let opened = open(bytes);
    assert!(!opened.index(bytes).exists(), "nothing is kept of a bad wheel");
    let error = format!("{:#}", opened.wheel.expect_err("the wheel is bad"));
    assert!(error.contains(FILE_NAME), "{error}");
    for reason in reasons {
        assert!(error.contains(reason), "{reason:?} is not in: {error}");
    }
}

#[test]
fn members_are_listed_and_read_in_place() {
    let long = "spam ".repeat(50_000);
    let mut fixture = Fixture::new(&[("demo/b.py", &long), ("demo/a.py", "")]);
    fixture.add("demo-1.data/scripts/run", b"#!python\nprint()\n", 0o755);
    let opened = open(&fixture.bytes());
    let wheel = opened.wheel.unwrap();
    let names: Vec<&str> = wheel.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["demo-1.data/scripts/run", RECORD, "demo/a.py", "demo/b.py"]);
    let script = wheel.member("demo-1.data/scripts/run").unwrap();
    assert!(script.executable && script.python_shebang);
    assert_eq!(wheel.script(script).unwrap(), b"#!/usr/bin/env python3\nprint()\n");
    let member = wheel.member("demo/b.py").unwrap();
    assert!(!member.executable && member.method == Method::Deflated);
    let mut content = String::new();
    wheel.content(member).read_to_string(&mut content).unwrap();
    assert_eq!(content, long);
    assert_eq!(member.digest, Digest::of(long.as_bytes()));
    let mut raw = Vec::new();
    wheel.raw(member).read_to_end(&mut raw).unwrap();
    assert_eq!(raw.len() as u64, member.compressed);
}

#[test]
fn the_check_is_remembered_and_a_damaged_memory_made_again() {
    let bytes = Fixture::new(&[("demo/a.py", "x = 1")]).bytes();
    let opened = open(&bytes);
    let index = opened.index(&bytes);
    let Opened { wheel, folder, cache } = opened;
    let members = wheel.unwrap().members;
    let place = folder.path().join(FILE_NAME);
    let kept = fs::read(&index).unwrap();
    // From here on the index alone answers: the wheel's content is not read again.
    fs::write(&place, b"").unwrap();
    assert_eq!(Wheel::open(&place, Digest::of(&bytes), &cache).unwrap().members, members);
    fs::write(&place, &bytes).unwrap();
    for torn in [&kept[..kept.len() / 2], b"", b"rubbish"] {
        fs::write(&index, torn).unwrap();
        assert_eq!(Wheel::open(&place, Digest::of(&bytes), &cache).unwrap().members, members);
        assert_eq!(fs::read(&index).unwrap(), kept);
    }
}

#[test]
fn damage_is_refused_by_name() {
    let content = "a long enough line of Python ".repeat(20);
    let bytes = Fixture::new(&[("demo/a.py", &content)]).bytes();
    assert_refused(&bytes[..bytes.len() / 2], &["not a complete zip"]);
    assert_refused(b"", &["not a complete zip"]);
    let crc = {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        crc.sum().to_le_bytes()
    };
    assert_refused(&patch(bytes.clone(), &crc, &[1, 2, 3, 4]), &["`demo/a.py`", "CRC"]);
    let opened = open(&bytes);
    let offset = opened.wheel.unwrap().member("demo/a.py").unwrap().offset as usize;
    let mut flipped = bytes;
    flipped[offset + 4] ^= 0x55;
    assert_refused(&flipped, &["`demo/a.py`", "damaged"]);
}

#[test]
fn record_must_tell_the_truth() {
    let base = || Fixture::new(&[("demo/a.py", "x = 1"), ("demo/b.py", "y = 2")]);
    let mut changed = base();
    changed.members[0].1 = b"x = 2".to_vec();
    assert_refused(&changed.bytes(), &["`demo/a.py`", "hash", "RECORD"]);
    let mut unlisted = base();
    unlisted.members.push(("demo/c.py".into(), Vec::new(), 0o644));
    assert_refused(&unlisted.bytes(), &["`demo/c.py`", "does not list"]);
    let mut absent = base();
    absent.members.remove(1);
    assert_refused(&absent.bytes(), &["`demo/b.py`", "not in the wheel"]);
    let mut longer = base();
    longer.record = longer.record.replace(",5\n", ",6\n");
    assert_refused(&longer.bytes(), &["`demo/a.py`", "6 in RECORD"]);
    let mut unhashed = base();
    unhashed.record = "demo/a.py,,\ndemo/b.py,,\n".into();
    assert_refused(&unhashed.bytes(), &["no hash"]);
    let mut weak = base();
    weak.record = weak.record.replace("sha256=", "md5=");
    assert_refused(&weak.bytes(), &["`md5`"]);
}

#[test]
fn signatures_need_no_line_in_record() {
    let mut fixture = Fixture::new(&[("demo/a.py", "x = 1")]);
    fixture.members.push((format!("{RECORD}.jws"), b"{}".to_vec(), 0o644));
    open(&fixture.bytes()).wheel.unwrap();
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    for (name, reason) in [
        ("../evil.py", "leaves the tree"),
        ("demo/../../e.py", "leaves the tree"),
        ("demo/../e.py", "plain relative"),
        ("/etc/evil.py", "absolute"),
        ("demo\\evil.py", "backslash"),
        ("C:evil.py", "drive"),
        ("demo//evil.py", "plain relative"),
        ("demo/e\0vil.py", "control"),
    ] {
        // The zip crate's writer cleans up names, so a harmless one of equal length is written
        // first.
        let honest = "n".repeat(name.len());
        let bytes = Fixture::new(&[(&honest, "")]).bytes();
        assert_refused(&patch(bytes, honest.as_bytes(), name.as_bytes()), &["member", reason]);
    }
}

#[test]
fn one_path_has_one_meaning() {
    let bytes = Fixture::new(&[("demo/a.py", "x = 1"), ("demo/b.py", "y = 2")]).bytes();
    assert_refused(&patch(bytes, b"demo/b.py", b"demo/a.py"), &["`demo/a.py` twice"]);
    let clash = Fixture::new(&[("demo/a.py", ""), ("demo/a.pyx/b", "")]).bytes();
    assert_refused(&patch(clash, b"demo/a.pyx/b", b"demo/a.py//b"), &["plain relative"]);
    let clash = Fixture::new(&[("demo/a", ""), ("demo/axb", "")]).bytes();
    assert_refused(&patch(clash, b"demo/axb", b"demo/a/b"), &["a file and a folder"]);
}

#[test]
fn a_header_that_contradicts_the_directory_is_refused() {
    let bytes = Fixture::new(&[("demo/a.py", "x = 1")]).bytes();
    let mut other = bytes.clone();
    let at = bytes.windows(9).position(|window| window == b"demo/a.py").unwrap();
    other[at] = b'D';
    assert_refused(&other, &["contradict"]);
}

#[test]
fn links_and_encrypted_members_are_refused() {
    let mut link = Fixture::new(&[("demo/a.py", "x = 1")]);
    link.add("demo/link", b"../../etc", 0o644);
    let bytes = link.bytes();
    let (mode, link_mode) =
        ((0o100_644_u32 << 16).to_le_bytes(), (0o120_777_u32 << 16).to_le_bytes());
    assert_refused(&patch(bytes.clone(), &mode, &link_mode), &["symbolic link"]);
    let at = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut encrypted = bytes;
    encrypted[6] |= 1;
    encrypted[at + 8] |= 1;
    assert_refused(&encrypted, &["`demo/a.py`", "encrypted"]);
}

#[test]
fn metadata_of_another_project_is_refused() {
    let bytes = Fixture::new(&[("demo/a.py", "x = 1")]).bytes();
    let other = patch(bytes.clone(), b"demo-1.dist", b"memo-1.dist");
    assert_refused(&other, &["another project"]);
    assert_refused(&patch(bytes, b"dist-info/RECORD", b"dist-info/RECARD"), &["0 `.dist-info"]);
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    let content = "print('spam')\n".repeat(9);
    let bytes = Fixture::new(&[("demo/a.py", &content), ("demo/b.py", "")]).bytes();
    let seen = |bytes: &[u8]| {
        let members = open(bytes).wheel.ok()?.members;
        let seen = |member: &Member| (member.name.clone(), member.size, member.digest);
        Some(members.iter().map(seen).collect::<Vec<_>>())
    };
    let honest = seen(&bytes);
    assert!(honest.is_some());
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        match seen(&flipped) {
            None => refused += 1,
            // Times, modes, versions: nothing that a bundle takes over as it is.
            read => assert_eq!(read, honest, "byte {at}"),
        }
    }
    assert!(refused > bytes.len() / 2, "{refused} of {} refused", bytes.len());
}

#[test]
fn a_torn_wheel_is_refused_wherever_it_is_torn() {
    let bytes = Fixture::new(&[("demo/a.py", "x = 1")]).bytes();
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).wheel.is_err(), "{length} bytes");
    }
}
