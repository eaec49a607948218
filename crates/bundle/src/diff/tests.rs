//! Comparisons of small zips, folders and files, and of invalid ones.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644)
        .compression_method(CompressionMethod::Stored)
}

fn zip_with(files: Files, options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn compared(a: &[u8], b: &[u8]) -> Comparison {
    let folder = TempDir::new().unwrap();
    let place = |name: &str, bytes: &[u8]| -> PathBuf {
        let place = folder.path().join(name);
        fs::write(&place, bytes).unwrap();
        place
    };
    compare(&place("a", a), &place("b", b)).unwrap()
}

fn content(comparison: &Comparison) -> &Content {
    let found = comparison.changes.iter().find_map(|change| match &change.what {
        What::Content(content) => Some(content),
        _ => None,
    });
    found.expect("a content that differs")
}

fn words(comparison: &Comparison) -> Vec<(&str, &str)> {
    comparison.changes.iter().map(|change| (change.path.as_str(), change.what.word())).collect()
}

#[test]
fn equal_bytes_are_identical() {
    let zip = zip_with(&[("a", b"x")], options());
    assert_eq!(compared(&zip, &zip).verdict, Verdict::Identical);
}

#[test]
fn another_container_of_the_same_files_is_told_from_other_files() {
    let files: Files = &[("a", &[b'x'; 500]), ("b", b"y")];
    let plain = zip_with(files, options());
    for (other, word) in [
        (options().compression_method(CompressionMethod::Deflated), "compression"),
        (
            options().last_modified_time(
                zip::DateTime::from_date_and_time(2020, 1, 1, 0, 0, 0).unwrap(),
            ),
            "time",
        ),
    ] {
        let comparison = compared(&plain, &zip_with(files, other));
        assert_eq!(comparison.verdict, Verdict::SameFiles, "{comparison:?}");
        assert!(words(&comparison).contains(&("a", word)), "{comparison:?}");
    }
    let reversed: Vec<_> = files.iter().rev().copied().collect();
    let comparison = compared(&plain, &zip_with(&reversed, options()));
    assert_eq!(words(&comparison), [("", "order")]);
    let comparison = compared(&plain, &zip_with(files, options().unix_permissions(0o755)));
    assert_eq!(comparison.verdict, Verdict::Differs);
    assert_eq!(words(&comparison), [("a", "mode"), ("b", "mode")]);
}

#[test]
fn what_a_zip_says_besides_is_metadata() {
    let files: Files = &[("a", b"x")];
    let plain = zip_with(files, options());
    let mut commented = ZipWriter::new(Cursor::new(Vec::new()));
    commented.start_file("a", options()).unwrap();
    commented.write_all(b"x").unwrap();
    commented.set_comment("made on a Monday").unwrap();
    let comparison = compared(&plain, &commented.finish().unwrap().into_inner());
    assert_eq!(comparison.verdict, Verdict::SameFiles);
    assert_eq!(words(&comparison), [("", "metadata")]);
    assert_eq!(comparison.to_json()["changes"][0]["field"], "comment of the archive");
    // By another system, as in the central directory.
    let mut other = plain.clone();
    let entry = other.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    other[entry + 4] ^= 1;
    let comparison = compared(&plain, &other);
    assert_eq!(comparison.verdict, Verdict::SameFiles);
    assert_eq!(comparison.to_json()["changes"][0]["field"], "made by");
}

#[test]
fn members_of_one_side_are_named() {
    let a = zip_with(&[("a", b"x"), ("c", b"x")], options());
    let b = zip_with(&[("b", b"x"), ("c", b"x")], options());
    let comparison = compared(&a, &b);
    assert_eq!(words(&comparison), [("a", "only-in"), ("b", "only-in")]);
    assert_eq!(comparison.to_json()["changes"][1]["side"], "b");
}

#[test]
fn text_is_shown_as_a_diff() {
    let a = zip_with(&[("a.py", b"one\ntwo\n")], options());
    let b = zip_with(&[("a.py", b"one\n2\n")], options());
    let comparison = compared(&a, &b);
    let content = content(&comparison);
    assert!(content.details.contains(&"-two".to_owned()), "{content:?}");
    assert_eq!(content.values, (vec!["two".to_owned()], vec!["2".to_owned()]));
    let text = lines(&comparison, "one.zip", "two.zip").join("\n");
    assert!(text.contains("`a.py`: content (text, 8 / 6 bytes)"), "{text}");
    assert!(text.ends_with("diffoscope 'one.zip' 'two.zip'"), "{text}");
}

#[test]
fn the_same_lines_in_another_order_are_seen_as_such() {
    let a = zip_with(&[("a", b"1\n2\n3\n")], options());
    let b = zip_with(&[("a", b"3\n1\n2\n")], options());
    assert!(content(&compared(&a, &b)).reordered);
}

#[test]
fn headers_of_compiled_python_are_taken_apart() {
    let pyc = |time: u8| {
        [&[0xf3, 13, 13, 10, 0, 0, 0, 0, time, 0, 0, 0, 9, 0, 0, 0][..], b"\0code\xff"].concat()
    };
    let comparison = compared(&pyc(1), &pyc(2));
    let expected = ["time of the source: 1 / 2", "the code is the same"];
    assert_eq!(content(&comparison).details, expected);
}

#[test]
fn archives_in_archives_are_opened_one_level() {
    let inner = |text: &[u8]| zip_with(&[("in.txt", text)], options());
    let outer = |text: &[u8]| zip_with(&[("lib.zip", &inner(text))], options());
    let comparison = compared(&outer(b"1"), &outer(b"2"));
    let nested = content(&comparison).nested.as_ref().unwrap();
    assert_eq!(words(nested), [("in.txt", "content")]);
    let twice = |text: &[u8]| zip_with(&[("top.zip", &outer(text))], options());
    let comparison = compared(&twice(b"1"), &twice(b"2"));
    let nested = content(&comparison).nested.as_ref().unwrap();
    assert!(content(nested).nested.is_none());
}

/// An ELF file with a section `.text` of this content, and the table of names.
fn elf(text: &[u8]) -> Vec<u8> {
    let names = b"\0.text\0.names\0";
    let mut bytes = [&b"\x7fELF\x02\x01\x01"[..], &[0; 57]].concat();
    bytes.extend(names);
    bytes.extend(text);
    let table = bytes.len() as u64;
    for (name, kind, start, length) in
        [(0, 0, 0, 0), (1, 1, 64 + names.len(), text.len()), (7, 3, 64, names.len())]
    {
        let mut header = [0; 64];
        (header[0], header[4]) = (name, kind);
        header[0x18..0x20].copy_from_slice(&(start as u64).to_le_bytes());
        header[0x20..0x28].copy_from_slice(&(length as u64).to_le_bytes());
        bytes.extend(header);
    }
    bytes[0x28..0x30].copy_from_slice(&table.to_le_bytes());
    for (at, value) in [(0x3A, 64), (0x3C, 3), (0x3E, 2)] {
        bytes[at] = value;
    }
    bytes
}

#[test]
fn elf_files_differ_by_section() {
    let comparison = compared(&elf(b"\0/build/one\0"), &elf(b"\0/build/two\0"));
    let content = content(&comparison);
    assert_eq!(content.form, content::Form::Elf);
    assert_eq!(content.details, ["section .text: 12 / 12 bytes"]);
    assert_eq!(content.values.0, ["/build/one"]);
}

#[test]
fn folders_are_compared_like_zips() {
    let folder = TempDir::new().unwrap();
    let write = |path: &str, content: &str| {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, content).unwrap();
        filetime::set_file_mtime(&place, filetime::FileTime::zero()).unwrap();
    };
    for side in ["a", "b"] {
        write(&format!("{side}/x/y.txt"), "same");
    }
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for side in [&a, &b] {
        filetime::set_file_mtime(side.join("x"), filetime::FileTime::zero()).unwrap();
    }
    assert_eq!(compare(&a, &b).unwrap().verdict, Verdict::Identical);
    write("b/x/y.txt", "other");
    assert_eq!(words(&compare(&a, &b).unwrap()), [("x/y.txt", "content")]);
    let zip = folder.path().join("z.zip");
    fs::write(&zip, zip_with(&[("x/y.txt", b"same")], options())).unwrap();
    assert_eq!(compare(&a, &zip).unwrap().verdict, Verdict::SameFiles);
}

#[test]
fn rubbish_is_an_error_or_a_difference_and_never_a_panic() {
    let zip = zip_with(
        &[("a", &[b'x'; 300]), ("b", b"y")],
        options().compression_method(CompressionMethod::Deflated),
    );
    let folder = TempDir::new().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    fs::write(&good, &zip).unwrap();
    for at in 0..zip.len() {
        for value in [0, 0x7F, 0xFF] {
            let mut damaged = zip.clone();
            damaged[at] = value;
            fs::write(&bad, &damaged).unwrap();
            if let Ok(comparison) = compare(&good, &bad) {
                let same = comparison.verdict == Verdict::Identical;
                assert_eq!(same, damaged == zip, "byte {at}");
                lines(&comparison, "a", "b");
                comparison.to_json();
            }
        }
        fs::write(&bad, &zip[..at]).unwrap();
        let _ = compare(&good, &bad);
    }
    for head in [&b"\x7fELF\x02\x01\x01"[..], b"\x1f\x8b\x08", b"\xf3\x0d\x0d\x0a", b"PK\x05\x06"] {
        let one = [head, &[0xFF; 80]].concat();
        let other = [head, &[0xFE; 80]].concat();
        let _ = content::explain(&one, &other, 0);
    }
    assert!(compare(Path::new("/nowhere"), &good).is_err());
}

#[test]
fn other_ends_of_lines_are_no_other_order() {
    const CRLF: &str = "only the ends of the lines differ: CRLF in one, LF in the other";
    for (a, b, what) in [
        ("a\nb\n", "a\nb", "only one ends in a line break"),
        ("a\r\nb\n", "a\r\nb", "only one ends in a line break"),
        ("a\r\nb\n", "a\nb\r\n", CRLF),
        ("a\nb\n", "a\r\nb\r\n", CRLF),
    ] {
        let content = super::content::explain(a.as_bytes(), b.as_bytes(), 0);
        assert_eq!((content.reordered, content.details), (false, vec![what.to_owned()]));
    }
    assert!(super::content::explain(b"a\nb\n", b"b\na\n", 0).reordered);
    assert!(!super::content::explain(b"a\nb\n", b"b\na\na\n", 0).reordered);
}
