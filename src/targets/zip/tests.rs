//! Bundles made from manifests.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;

use zip::ZipArchive;

use crate::diagnostic::Spanned;
use crate::target::Done;
use crate::targets::staging::testing::{World, wheel};
use crate::targets::zip::Compression;
use crate::timestamp::Timestamp;

fn world() -> World {
    let text = "a line of Python\n".repeat(100);
    let members = [
        ("demo/a.py", text.as_str()),
        ("demo/b.py", "b"),
        ("demo-1.data/scripts/run", "#!python\n"),
    ];
    let mut world = World::new(&[wheel("demo", &members)], &[("handler.py", &text)]);
    world.source("handler.py", None);
    world
}

fn build(world: &World) -> Done {
    world.run("staging").unwrap();
    world.run("zip").unwrap()
}

fn bundle(world: &World) -> Vec<u8> {
    build(world);
    fs::read(world.root.join("build/lambda.zip")).unwrap()
}

fn fact(done: &Done, name: &str) -> serde_json::Value {
    done.facts.iter().find(|(fact, _)| fact == name).unwrap().1.clone()
}

#[test]
fn a_bundle_holds_the_tree_without_a_tree() {
    let mut world = world();
    world.write("a.py", b"own");
    world.source("a.py", None);
    let done = build(&world);
    assert!(!world.root.join("build/tree").exists());
    let place = world.root.join("build/lambda.zip");
    let bytes = fs::read(&place).unwrap();
    assert_eq!(fact(&done, "size"), bytes.len());
    assert_eq!(fact(&done, "code_sha256"), crate::bundle::code_sha256_of(&place).unwrap());
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o644);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    archive.validate_header_consistency().unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let expected = [
        "a.py",
        "bin/",
        "bin/run",
        "demo-1.dist-info/",
        "demo-1.dist-info/RECORD",
        "demo/",
        "demo/a.py",
        "demo/b.py",
        "handler.py",
    ];
    assert_eq!(names, expected);
    let mut unzipped = 0;
    for at in 0..archive.len() {
        // Reading to the end checks the CRC.
        unzipped += archive.by_index(at).unwrap().read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(fact(&done, "unzipped_size"), unzipped);
}

#[test]
fn the_same_content_gives_the_same_bytes_anywhere() {
    let (one, other) = (world(), world());
    let bytes = bundle(&one);
    fs::remove_dir_all(other.project.cache().unwrap().root()).unwrap_or_default();
    assert_eq!(bytes, bundle(&other));
    let mut few = rayon::ThreadPoolBuilder::new().num_threads(1).build().map(|pool| {
        fs::remove_file(one.root.join("build/lambda.zip")).unwrap();
        pool.install(|| bundle(&one))
    });
    assert_eq!(bytes, *few.as_mut().unwrap());
}

#[test]
fn equal_bytes_leave_the_file_alone() {
    let world = world();
    build(&world);
    let place = world.root.join("build/lambda.zip");
    let old = filetime::FileTime::from_unix_time(5, 0);
    filetime::set_file_mtime(&place, old).unwrap();
    let mtime = || filetime::FileTime::from_last_modification_time(&fs::metadata(&place).unwrap());
    build(&world);
    assert_eq!(mtime(), old);
    world.write("handler.py", b"changed");
    build(&world);
    assert_ne!(mtime(), old);
    let left = fs::read_dir(world.root.join("build")).unwrap().count();
    assert_eq!(left, 2, "bundle and record: nothing half-made stays");
}

#[test]
fn a_change_costs_its_own_bytes_and_gives_those_of_a_new_build() {
    for compression in [Compression::Keep, Compression::Smallest, Compression::Store] {
        let mut world = world();
        world.zip.compression = compression;
        for number in 0..20 {
            let name = format!("own/{number}.py");
            world.write(&name, format!("number = {number}\n").repeat(50).as_bytes());
            world.source(&name, None);
        }
        let packed = |world: &World| fact(&build(world), "packed").as_u64().unwrap();
        assert!(packed(&world) >= 20);
        assert_eq!(packed(&world), 0);
        world.write("own/7.py", b"another = 7\n");
        assert_eq!(packed(&world), 1);
        let place = world.root.join("build/lambda.zip");
        let spliced = fs::read(&place).unwrap();
        fs::remove_dir_all(world.root.join(".zipwright/packed")).unwrap();
        assert!(packed(&world) >= 20);
        assert_eq!(fs::read(&place).unwrap(), spliced, "{compression:?}");
    }
}

#[test]
fn a_bundle_that_is_not_the_one_of_last_time_is_no_source() {
    let world = world();
    let bytes = bundle(&world);
    let place = world.root.join("build/lambda.zip");
    let mut other = bytes.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    fs::write(&place, &other).unwrap();
    assert_eq!(bundle(&world), bytes);
    let index = fs::read_dir(world.root.join(".zipwright/packed")).unwrap().next().unwrap();
    let index = index.unwrap().path();
    let whole = fs::read(&index).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&index, damaged).unwrap();
        assert_eq!(bundle(&world), bytes);
        assert_eq!(fs::read(&index).unwrap(), whole);
    }
}

/// Returns a world whose wheel spans several pieces of a bundle, and does not shrink when deflated.
fn large_world() -> World {
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (state >> 26) as u8)
    };
    let noise: String = std::iter::repeat_with(&mut letter).take(1_500_000).collect();
    let members = [("large/data.txt", noise.as_str()), ("large/x.py", "x = 1\n")];
    let mut world = World::new(&[wheel("large", &members)], &[("handler.py", "one")]);
    world.source("handler.py", None);
    world
}

#[test]
fn digests_of_a_large_bundle_are_those_of_the_file() {
    let world = large_world();
    let place = world.root.join("build/lambda.zip");
    for text in ["one", "two"] {
        world.write("handler.py", text.as_bytes());
        let done = build(&world);
        assert_eq!(fact(&done, "code_sha256"), crate::bundle::code_sha256_of(&place).unwrap());
    }
}

#[test]
fn the_smallest_bundle_holds_the_same_files_and_no_folders() {
    let mut world = world();
    let keep = bundle(&world);
    world.zip.compression = Compression::Smallest;
    let smallest = bundle(&world);
    assert_ne!(keep, smallest);
    let contents = |bytes: Vec<u8>| -> Vec<(String, Option<u32>, Vec<u8>)> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let count = archive.len();
        let content = |at| {
            let mut file = archive.by_index(at).unwrap();
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            (file.name().unwrap().into_owned(), file.unix_mode(), content)
        };
        (0..count).map(content).collect()
    };
    let mut files = contents(keep);
    files.retain(|(name, ..)| !name.ends_with('/'));
    assert_eq!(contents(smallest), files);
}

#[test]
fn deflated_members_are_taken_over_and_store_keeps_them_plain() {
    let mut world = world();
    let keep = bundle(&world);
    world.zip.compression = Compression::Store;
    let store = bundle(&world);
    for (bytes, method) in
        [(keep, zip::CompressionMethod::Deflated), (store, zip::CompressionMethod::Stored)]
    {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        // Including content that grew when deflated.
        for name in ["demo/a.py", "demo/b.py", "handler.py"] {
            assert_eq!(archive.by_name(name).unwrap().compression(), method, "{name}");
        }
    }
}

#[test]
fn the_time_of_the_entries_can_be_chosen() {
    let mut world = world();
    let constant = world.key("zip").unwrap();
    world.zip.clamp = Some(Spanned { value: Timestamp::At(1_234_567_890), span: 0..0 });
    assert_ne!(constant, world.key("zip").unwrap());
    let mut archive = ZipArchive::new(Cursor::new(bundle(&world))).unwrap();
    let time = archive.by_name("demo/").unwrap().last_modified().unwrap();
    assert_eq!(time.to_string(), "2009-02-13 23:31:30");
}

#[test]
fn a_file_that_changes_meanwhile_stops_the_bundle() {
    let world = world();
    world.run("staging").unwrap();
    world.write("handler.py", b"later");
    let error = format!("{:#}", world.run("zip").unwrap_err());
    assert!(error.contains("`handler.py` changed"), "{error}");
    assert!(!world.root.join("build/lambda.zip").exists());
}

#[test]
fn an_empty_tree_makes_no_bundle() {
    let world = World::new(&[], &[]);
    world.run("staging").unwrap();
    assert!(world.run("zip").unwrap_err().to_string().contains("`staging` is empty"));
}

#[test]
fn a_bundle_too_large_for_lambda_says_what_is_large() {
    let mut world = world();
    let large = fs::File::create(world.root.join("large.bin")).unwrap();
    large.set_len(crate::bundle::UNZIPPED_LIMIT).unwrap();
    world.source("large.bin", None);
    world.run("staging").unwrap();
    let error = world.run("zip").unwrap_err().to_string();
    for part in ["262.1 MB", "the project's own files", "demo-1-py3-none-any.whl", "limits = false"]
    {
        assert!(error.contains(part), "{error}");
    }
}
