//! Objects made by hand, the host's own, and rubbish.

use super::testing::object;
use super::{Elf, Machine, Need, needed, sections};

fn need(library: &str, version: &str) -> Need {
    Need { library: library.into(), version: version.into() }
}

#[test]
fn an_object_says_what_it_needs() {
    let versions: [(&str, &[&str]); 2] =
        [("libc.so.6", &["GLIBC_2.2.5", "GLIBC_2.28"]), ("libm.so.6", &["GLIBC_2.29"])];
    let bytes = object(62, &["libc.so.6", "libm.so.6"], &versions);
    let elf = Elf::parse(&bytes).unwrap();
    assert_eq!((elf.machine, elf.loadable), (Machine::X86_64, true));
    assert_eq!(elf.needed, ["libc.so.6", "libm.so.6"]);
    assert_eq!(elf.soname.as_deref(), Some("libself.so.1"));
    let expected = [
        need("libc.so.6", "GLIBC_2.2.5"),
        need("libc.so.6", "GLIBC_2.28"),
        need("libm.so.6", "GLIBC_2.29"),
    ];
    assert_eq!(elf.versions, expected);
}

#[test]
fn other_machines_are_told_apart() {
    for (number, machine) in
        [(62, Machine::X86_64), (183, Machine::Aarch64), (243, Machine::Other(243))]
    {
        assert_eq!(Elf::parse(&object(number, &[], &[])).unwrap().machine, machine);
    }
    let mut small = object(3, &[], &[]);
    small[4] = 1;
    assert_eq!(Elf::parse(&small).unwrap().machine, Machine::I386);
    let mut big = object(0, &[], &[]);
    big[5] = 2;
    big[16..20].copy_from_slice(&[0, 3, 0, 22]);
    assert_eq!(Elf::parse(&big).unwrap().machine, Machine::Other(22));
}

/// Every object that this test process loads.
#[test]
fn the_hosts_own_objects_are_understood() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut paths: Vec<&str> = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(|path| path.starts_with('/'))
        .collect();
    paths.dedup();
    let mut libraries = 0;
    for path in paths {
        let Ok(bytes) = std::fs::read(path) else { continue };
        if !bytes.starts_with(super::MAGIC) {
            continue;
        }
        let elf = Elf::parse(&bytes).unwrap_or_else(|| panic!("{path}"));
        assert!(elf.loadable, "{path}");
        if path.ends_with("/libgcc_s.so.1") || path.ends_with("/libm.so.6") {
            libraries += 1;
            assert!(elf.needed.iter().any(|name| name == "libc.so.6"), "{path}: {elf:?}");
            assert!(elf.versions.iter().any(|need| need.version.starts_with("GLIBC_")), "{path}");
            assert!(path.ends_with(elf.soname.as_deref().unwrap()), "{path}");
        }
    }
    assert!(libraries > 0);
}

#[test]
fn what_is_no_object_has_nothing() {
    for bytes in [&b"import os\n"[..], b"\x7fELF", b"\x7fELF\x02\x01", b"\x7fELF\x03\x01\x01"] {
        assert_eq!(Elf::parse(bytes), None);
        assert_eq!(needed(bytes), [""; 0]);
        assert_eq!(sections(bytes), None);
    }
}

#[test]
fn this_very_program_has_code_and_needs_the_c_library() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(needed(&own).iter().any(|name| name.starts_with("libc.")));
    let sections = sections(&own).unwrap();
    let size = |name: &str| sections.iter().find(|(own, _)| own == name).unwrap().1.len();
    assert!(size(".text") > 1000);
    assert_eq!(size(".bss"), 0);
}

/// Truncated objects, and objects with any byte changed, are read or refused without a panic.
#[test]
fn rubbish_is_no_reason_to_panic() {
    let read = |bytes: &[u8]| {
        let _ = (Elf::parse(bytes), sections(bytes));
    };
    let versions: [(&str, &[&str]); 2] =
        [("libc.so.6", &["GLIBC_2.17", "GLIBC_2.28"]), ("libm.so.6", &["GLIBC_2.29"])];
    let good = object(183, &["libc.so.6"], &versions);
    for end in 0..good.len() {
        read(&good[..end]);
    }
    for at in 0..good.len() {
        for value in [0, 1, 16, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            read(&bad);
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 8).unwrap()
    };
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..=random() % 12 {
            let at = random() % bad.len();
            bad[at] = random().to_le_bytes()[0];
        }
        read(&bad);
        let noise: Vec<u8> = (0..random() % 300).flat_map(|_| random().to_le_bytes()).collect();
        read(&[super::MAGIC, &[2, 1, 1], &noise].concat());
        read(&[super::MAGIC, &[1, 2, 1], &noise].concat());
    }
}

#[test]
fn a_list_in_a_circle_ends() {
    let versions: [(&str, &[&str]); 1] = [("libc.so.6", &["GLIBC_2.17"])];
    let good = object(62, &[], &versions);
    // The library's distance to the next one: back to before itself.
    let at = good.windows(4).position(|four| four == [1, 0, 1, 0]).unwrap();
    let mut bad = good.clone();
    bad[at + 12..at + 16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Elf::parse(&bad), None);
    // A version whose next is itself cannot be: a distance of 0 is the end.
    let mut weak = good.clone();
    weak[at + 16 + 4] = 2;
    assert_eq!(Elf::parse(&weak).unwrap().versions, []);
}
