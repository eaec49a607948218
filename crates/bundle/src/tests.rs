//! The bytes of a bundle, compared with the zip crate's own writer and with constant digests.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::*;

type File = (&'static str, bool, Vec<u8>);

/// Every sort of entry: stored and deflated, empty, executable, nested, not ASCII, and names
/// around the `/` in the order of bytes.
fn corpus() -> Vec<File> {
    let text = |lines: usize| "def handler(event, context):\n    return event\n".repeat(lines);
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    let noise: Vec<u8> = noise.take(200_000).collect();
    vec![
        ("a-b", false, text(1).into_bytes()),
        ("a.py", false, text(3).into_bytes()),
        ("a/b/c.py", false, text(5000).into_bytes()),
        ("a/d.so", true, noise),
        ("a0", false, b"".to_vec()),
        ("bin/run", true, b"#!/usr/bin/env python3\n".to_vec()),
        ("lib/\u{e9}t\u{e9}.txt", false, b"summer".to_vec()),
    ]
}

fn bundle(files: &[File], packing: Packing, time: Time) -> (Vec<u8>, String) {
    let mut writer = BundleWriter::new(Vec::new(), time);
    for (name, executable, content) in files {
        let packed = pack(|| Ok(content.as_slice()), packing, &std::env::temp_dir()).unwrap();
        let Packed { method, crc, size, compressed, mut data, .. } = packed;
        let item = Item { name, executable: *executable, method, crc, compressed, size };
        writer.add(&item, &mut data).unwrap();
    }
    let written = writer.finish().unwrap();
    let bytes = written.sink;
    assert_eq!(written.size, bytes.len() as u64);
    (bytes, code_sha256(&written.sha256))
}

/// A stored file with an arbitrary CRC.
fn item(name: &str, size: u64) -> Item<'_> {
    Item { name, executable: false, method: Method::Stored, crc: 0, compressed: size, size }
}

/// The same entries by the zip crate.
fn oracle(files: &[File]) -> Vec<u8> {
    let time = DateTime::from_date_and_time(1980, 2, 1, 0, 0, 0).unwrap();
    let base = SimpleFileOptions::default().last_modified_time(time);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let mut folders = Vec::new();
    for (name, executable, content) in files {
        for (at, _) in name.match_indices('/') {
            let folder = name[..=at].to_owned();
            if !folders.contains(&folder) {
                writer.add_directory(folder.as_str(), base.unix_permissions(0o755)).unwrap();
                folders.push(folder);
            }
        }
        let packed = pack(|| Ok(content.as_slice()), Packing::Deflate, &std::env::temp_dir());
        let method = match packed.unwrap().method {
            Method::Stored => base.compression_method(CompressionMethod::Stored),
            Method::Deflated => {
                base.compression_method(CompressionMethod::Deflated).compression_level(Some(9))
            }
        };
        let mode = if *executable { 0o755 } else { 0o644 };
        writer.start_file(*name, method.unix_permissions(mode)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn another_writer_gives_the_same_bytes() {
    let (ours, _) = bundle(&corpus(), Packing::Deflate, Time::CONSTANT);
    let mut theirs = oracle(&corpus());
    // The two differ by choice in each central header: the program that made the zip, and MS-DOS's mark
    // of a folder.
    let starts: Vec<usize> =
        (0..theirs.len() - 4).filter(|at| theirs[*at..].starts_with(b"PK\x01\x02")).collect();
    for at in starts {
        theirs[at + 4..at + 6].copy_from_slice(&0x0314_u16.to_le_bytes());
        let is_folder = theirs[at + 41] & 0o100 != 0 && theirs[at + 41] & 0o200 == 0;
        theirs[at + 38] = if is_folder { 0x10 } else { 0 };
    }
    let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert!(ours == theirs, "lengths {} and {}, first at {first:?}", ours.len(), theirs.len());
}

#[test]
fn another_reader_finds_every_entry() {
    for packing in [Packing::Deflate, Packing::Store] {
        let (bytes, _) = bundle(&corpus(), packing, Time::CONSTANT);
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        archive.validate_header_consistency().unwrap();
        let names: Vec<String> =
            archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
        assert_eq!(names.len(), corpus().len() + 4);
        for (name, executable, content) in corpus() {
            let mut file = archive.by_name(name).unwrap();
            let mode = if executable { 0o100_755 } else { 0o100_644 };
            assert_eq!(file.unix_mode(), Some(mode), "{name}");
            assert!(file.extra_data().is_none());
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, content, "{name}");
        }
        assert_eq!(archive.by_name("a/b/").unwrap().unix_mode(), Some(0o040_755));
    }
}

/// If this fails, every user's `CodeSha256` changes: that needs a new version of zipwright, with a
/// new [`FORM`] and a line in the changelog.
#[test]
fn the_bytes_are_what_they_were() {
    let (_, deflated) = bundle(&corpus(), Packing::Deflate, Time::CONSTANT);
    let (_, stored) = bundle(&corpus(), Packing::Store, Time::CONSTANT);
    assert_eq!(deflated, "xqbY8K5Vr1+N8Jz5aKpLJL5SM6KRl/kbXof7mgOQoxw=");
    assert_eq!(stored, "2u8efQfi4yY6ha40IexHruHulpUskFIEioKCWB3nGHU=");
}

#[test]
fn times_are_kept_within_the_format() {
    assert_eq!(Time::at(318_211_200), Time::CONSTANT);
    assert_eq!(Time::at(0), Time::at(315_532_800));
    assert_eq!(Time::at(i64::MAX), Time::at(4_354_819_198));
    let (bytes, _) = bundle(&corpus(), Packing::Store, Time::at(1_234_567_890));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let time = archive.by_name("a.py").unwrap().last_modified().unwrap();
    assert_eq!(time.to_string(), "2009-02-13 23:31:30");
}

#[test]
fn a_bundle_that_would_need_zip64_is_refused() {
    let mut writer = BundleWriter::new(std::io::sink(), Time::CONSTANT);
    let names: Vec<String> = (0..0xFFFF).map(|n| format!("{n:05}")).collect();
    let (last, others) = names.split_last().unwrap();
    for name in others {
        writer.add(&item(name, 0), &mut std::io::empty()).unwrap();
    }
    let error = writer.add(&item(last, 0), &mut std::io::empty()).unwrap_err();
    assert!(error.to_string().contains("65535"), "{error}");

    let mut writer = BundleWriter::new(std::io::sink(), Time::CONSTANT);
    let large = Item { size: 1 << 32, ..item("a", 0) };
    let error = writer.add(&large, &mut std::io::empty()).unwrap_err();
    assert!(error.to_string().contains("4 GiB at `a`"), "{error}");
}

#[test]
fn data_that_ends_too_early_is_an_error() {
    let mut writer = BundleWriter::new(std::io::sink(), Time::CONSTANT);
    let error = writer.add(&item("a", 5), &mut b"1234".as_slice()).unwrap_err();
    assert!(error.to_string().contains("too early"), "{error}");
}
