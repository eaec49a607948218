//! Mutated input for everything that reads the files of others (Buildfiles, the state file, wheels,
//! manifests, native objects, MAKEFLAGS, requirements through real files): no panic, no endless
//! loop, and accepted input is sound.
//!
//! Each reader starts from sound samples and gets a fixed number of mutations by a seed. The long
//! run is the same with `ZIPWRIGHT_SOAK_FUZZ=SECONDS`, for each reader, from a seed of its own that
//! is printed on failure.

use std::fs;
use std::io::{Cursor, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zipwright::base::Digest;
use zipwright::bundle::Manifest;
use zipwright::elf::{self, Elf};
use zipwright::graph::Graph;
use zipwright::key::Key;
use zipwright::make::Flags;
use zipwright::state::{Record, State};
use zipwright::targets;
use zipwright::wheel::{Arriving, Wheel};

use crate::dice::number;

/// Mutations in an ordinary test run.
const SHORT: u64 = 3_000;

/// Passes mutations of `samples` to `read`, and prints how to reproduce one that fails.
fn fuzz(samples: &[Vec<u8>], cost: u64, read: impl Fn(&[u8])) {
    let soak = number("ZIPWRIGHT_SOAK_FUZZ").map(Duration::from_secs);
    let seed = match (std::env::var("ZIPWRIGHT_SEED"), soak) {
        (Ok(seed), _) => seed.parse().expect("ZIPWRIGHT_SEED is a number"),
        (Err(_), None) => 1,
        (Err(_), Some(_)) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
    };
    let started = Instant::now();
    let mut random = Random(seed);
    let mut count = 0;
    while soak.map_or(count < SHORT / cost, |soak| started.elapsed() < soak) {
        let input = random.mutate(samples);
        let read = AssertUnwindSafe(|| read(&input));
        if panic::catch_unwind(read).is_err() {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-input");
            fs::write(&place, &input).unwrap();
            panic!("mutation {count} of ZIPWRIGHT_SEED={seed}; input in {}", place.display());
        }
        count += 1;
    }
    if soak.is_some() {
        eprint!("{count} mutations of seed {seed}; ");
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn mutate(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = samples[self.below(samples.len())].clone();
        for _ in 0..=self.below(4) {
            self.mutate_once(&mut bytes, samples);
        }
        bytes
    }

    fn mutate_once(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.next() as u8),
            2 if at < bytes.len() => bytes[at] = self.next() as u8,
            3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            4 => {
                let end = (at + self.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let other = &samples[self.below(samples.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(60)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                // Counts and lengths at their limits.
                let number = [0, 1, u64::MAX, u64::from(u32::MAX), 1 << 31][self.below(5)];
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
        }
    }
}

#[test]
fn buildfiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/buildfiles");
    let mut samples = vec![fs::read(folder.join("../../Buildfile.example")).unwrap()];
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            samples.push(fs::read(path).unwrap());
        }
    }
    fuzz(&samples, 2, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let loaded = targets::load(text, &Default::default());
        let (graph, mistakes) = Graph::new(&loaded.model);
        for diagnostic in loaded.diagnostics.iter().chain(&mistakes) {
            assert!(!diagnostic.render("Buildfile", text, false).is_empty());
        }
        if loaded.diagnostics.is_empty() && mistakes.is_empty() {
            let all: Vec<_> = graph.ids().collect();
            assert_eq!(graph.closure(&all).len(), graph.len());
        }
    });
}

#[test]
fn makeflags() {
    let samples: Vec<Vec<u8>> = [
        "kns -j8 --jobserver-auth=3,4 -- A=b C=d\\ e$$",
        " --jobserver-auth=fifo:/tmp/x -l2.5 --shuffle=7 -Oline",
        "w --no-print-directory --jobserver-fds=5,6 -j",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    fuzz(&samples, 1, |input| {
        let flags = Flags::parse(&String::from_utf8_lossy(input));
        let again = Flags::parse(&flags.for_children(flags.jobserver.as_ref()));
        assert_eq!((again.keep_going, again.silent), (flags.keep_going, flags.silent));
    });
}

#[test]
fn state_files() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let record = |text: &str| {
        let mut key = Key::new();
        key.text("run", text);
        let result = Digest::of(text.as_bytes());
        Record { key, result, outputs: Vec::new(), seconds: 0.1, facts: Vec::new() }
    };
    let (mut state, _) = State::load(folder.path());
    for (name, text) in [("one", "a"), ("two", "b"), ("one", "c")] {
        state.record(name, &record(text)).unwrap();
    }
    drop(state);
    let place = folder.path().join("state");
    let samples = [fs::read(&place).unwrap()];
    fuzz(&samples, 3, |input| {
        fs::write(&place, input).unwrap();
        let (mut state, _) = State::load(folder.path());
        for found in ["one", "two"].iter().filter_map(|name| state.target(name)) {
            assert!(["a", "b", "c"].iter().any(|text| found == record(text)));
        }
        state.record("three", &record("d")).unwrap();
        let (state, notice) = State::load(folder.path());
        assert_eq!(notice, None);
        assert_eq!(state.target("three"), Some(record("d")));
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path != place {
                fs::remove_file(path).unwrap();
            }
        }
    });
}

#[test]
fn wheels_and_manifests() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [cache, other] = ["cache", "other"]
        .map(|name| zipwright_store::Cache::open(&folder.path().join(name)).unwrap());
    let place = folder.path().join("demo-1-py3-none-any.whl");
    fuzz(&[wheel()], 3, |input| {
        fs::write(&place, input).unwrap();
        let digest = Digest::of(input);
        // As it is read while it arrives, and afterwards.
        let mut arriving = Arriving::in_parts(fs::File::open(&place).unwrap(), 200);
        (0..input.len() as u64).step_by(97).for_each(|count| arriving.advance(count));
        arriving.keep("demo-1-py3-none-any.whl", &digest, "", &other).unwrap();
        let late = Wheel::open(&place, digest, &cache);
        let early = Wheel::open(&place, digest, &other);
        assert_eq!(
            early.ok().map(|wheel| wheel.members),
            late.as_ref().ok().map(|wheel| wheel.members.clone())
        );
        let Ok(wheel) = late else { return };
        for member in wheel.members.iter() {
            let mut content = Vec::new();
            std::io::copy(&mut wheel.content(member), &mut content).unwrap();
            assert_eq!(Digest::of(&content), member.digest, "{}", member.name);
        }
    });
    let manifest = Manifest { wheels: Vec::new(), entries: Vec::new() }.encode();
    fuzz(&[manifest], 1, |input| {
        if let Some(manifest) = Manifest::decode(input) {
            assert_eq!(manifest.encode(), input);
        }
    });
}

#[test]
fn native_objects() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/habits/native.c");
    let object = |arguments: &[&str]| {
        let place = folder.path().join("object");
        let mut cc = std::process::Command::new("cc");
        cc.args(arguments).arg("-o").arg(&place).arg(&source);
        assert!(cc.status().expect("a C compiler on PATH").success());
        fs::read(place).unwrap()
    };
    let samples = [object(&["-shared", "-fPIC", "-g"]), object(&["-c"])];
    assert!(Elf::parse(&samples[0]).unwrap().loadable);
    fuzz(&samples, 3, |input| {
        let _ = (Elf::parse(input), elf::sections(input));
    });
}

fn wheel() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    let mut record = String::new();
    for (name, content) in [
        ("demo/__init__.py", "print('demo')\n".repeat(20)),
        ("demo-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1\n".into()),
        ("demo-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n".into()),
    ] {
        writer.start_file(name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(content.as_bytes()));
        record.push_str(&format!("{name},sha256={hash},{}\n", content.len()));
    }
    writer.start_file("demo-1.dist-info/RECORD", options).unwrap();
    writer.write_all(format!("{record}demo-1.dist-info/RECORD,,\n").as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}
