//! Writes a built wheel in canonical form: sorted members, no folders, modes 644 and 755, one
//! constant time, a new RECORD, and no build times inside gzip files, static libraries and zips.
//! `epoch` is the `SOURCE_DATE_EPOCH` of the build. Never used on a downloaded wheel: its digest is
//! its identity.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::nested_zip;
use zipwright_bundle::elf;
use zipwright_bundle::{Archive, BundleWriter, EntryKind, Item, Packing, Time, pack};
use zipwright_python::wheel;
use zipwright_store::fs::{FILE_MODE, open, persist, temp_beside};

/// Libraries that are on every system a wheel for glibc or musl runs on, Lambda's included.
const EVERYWHERE: [&str; 14] = [
    "ld-linux",
    "libatomic.so",
    "libc.musl",
    "libc.so",
    "libdl.so",
    "libgcc_s.so",
    "libgomp.so",
    "libm.so",
    "libnsl.so",
    "libpthread.so",
    "libpython",
    "librt.so",
    "libstdc++.so",
    "libutil.so",
];

pub(super) struct Content {
    executable: bool,
    pub(super) bytes: Vec<u8>,
}

/// Writes the canonical form of `from` to `to`, and returns its members by name.
pub(super) fn normalize(from: &Path, to: &Path, epoch: i64) -> Result<BTreeMap<String, Content>> {
    let damaged = || format!("the wheel `{}` that was built is damaged", from.display());
    let mut members = read(open(from)?).with_context(damaged)?;
    for (name, content) in &mut members {
        strip_timestamps(name, &mut content.bytes, epoch);
    }
    let info = members.keys().find_map(|name| {
        let folder = name.split('/').next()?;
        let is_info = folder.ends_with(".dist-info") && name.ends_with("/METADATA");
        is_info.then(|| folder.to_string())
    });
    let info = info.with_context(|| format!("{}: it has no METADATA", damaged()))?;
    for signature in ["RECORD", "RECORD.jws", "RECORD.p7s"] {
        members.remove(&format!("{info}/{signature}"));
    }
    let own = format!("{info}/RECORD");
    let listed = members.iter().map(|(name, content)| (name.as_str(), content.bytes.as_slice()));
    let record = wheel::write_record(listed, &own);
    members.insert(own, Content { executable: false, bytes: record.into_bytes() });
    write(&members, to)?;
    Ok(members)
}

/// Largest total size of all members in bytes: they are held in memory.
const SIZE_LIMIT: u64 = 2 << 30;

fn read(file: File) -> Result<BTreeMap<String, Content>> {
    let mut archive = Archive::open(BufReader::new(file))?;
    let mut members = BTreeMap::new();
    let mut left = SIZE_LIMIT;
    for listed in archive.list()? {
        if listed.kind == EntryKind::Folder {
            continue;
        }
        let executable = listed.is_executable();
        let name = listed.name;
        if name.starts_with('/') || name.split('/').any(|part| part == ".." || part.is_empty()) {
            bail!("its member `{name}` has no place in a wheel");
        }
        let mut bytes = Vec::new();
        archive.content(listed.index)?.take(left + 1).read_to_end(&mut bytes)?;
        let Some(rest) = left.checked_sub(bytes.len() as u64) else {
            bail!("it has more than 2 GiB of files, which a build from source cannot hold");
        };
        left = rest;
        if members.insert(name.clone(), Content { executable, bytes }).is_some() {
            bail!("it has two members `{name}`");
        }
    }
    Ok(members)
}

/// Replaces build times in container formats that have them.
fn strip_timestamps(name: &str, bytes: &mut [u8], epoch: i64) {
    if name.ends_with(".gz") && bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() > 8 {
        bytes[4..8].fill(0);
    } else if name.ends_with(".a") && bytes.starts_with(b"!<arch>\n") {
        strip_library_timestamps(bytes);
    } else if nested_zip::is_zip(name, bytes) {
        nested_zip::clamp(bytes, epoch);
    }
}

/// Replaces the times in a static library. Each member has a header of 60 characters: name, time,
/// owner, group, mode, size.
fn strip_library_timestamps(bytes: &mut [u8]) {
    const HEADER: usize = 60;
    let mut at = 8;
    while at + HEADER <= bytes.len() && bytes[at + 58..at + HEADER] == *b"`\n" {
        let size = std::str::from_utf8(&bytes[at + 48..at + 58]).ok();
        let Some(size) = size.and_then(|text| text.trim().parse::<usize>().ok()) else { return };
        // The tables of symbols and of names have blank fields: leave them.
        if bytes[at + 16] != b' ' {
            bytes[at + 16..at + 28].copy_from_slice(b"0           ");
            bytes[at + 28..at + 34].copy_from_slice(b"0     ");
            bytes[at + 34..at + 40].copy_from_slice(b"0     ");
            bytes[at + 40..at + 48].copy_from_slice(b"100644  ");
        }
        at += HEADER + size + size % 2;
    }
}

fn write(members: &BTreeMap<String, Content>, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    let mut writer = BundleWriter::new(temp_beside(to)?, Time::CONSTANT);
    writer.leave_folders_out();
    for (name, content) in members {
        let mut packed = pack(|| Ok(content.bytes.as_slice()), Packing::Deflate, folder)
            .with_context(|| format!("could not pack `{name}`"))?;
        let item = Item {
            name,
            executable: content.executable,
            method: packed.method,
            crc: packed.crc,
            compressed: packed.compressed,
            size: packed.size,
        };
        writer.add(&item, &mut packed.data)?;
    }
    persist(writer.finish()?.sink, to, FILE_MODE)
}

/// Returns the libraries of this host that the extension modules of a wheel need, sorted: each with
/// the member that needs it.
pub(super) fn host_libraries(members: &BTreeMap<String, Content>) -> BTreeMap<String, String> {
    let own: Vec<&str> = members.keys().filter_map(|name| name.rsplit('/').next()).collect();
    let mut found = BTreeMap::new();
    for (name, content) in members {
        for library in elf::needed(&content.bytes) {
            let everywhere = EVERYWHERE.iter().any(|start| library.starts_with(start));
            if !everywhere && !own.contains(&library.as_str()) {
                found.entry(library).or_insert_with(|| name.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn wheel(place: &Path, names: &[&str], mode: u32) {
        let mut zip = zip::ZipWriter::new(File::create(place).unwrap());
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        for name in names {
            zip.start_file(*name, options).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn order_modes_and_record_are_brought_to_one_form() {
        let temp = tempfile::tempdir().unwrap();
        let place = |name: &str| temp.path().join(name);
        let names = ["p/b,c.py", "p/a.py", "p-1.dist-info/METADATA", "p-1.dist-info/RECORD"];
        wheel(&place("one.whl"), &names, 0o600);
        let reversed: Vec<&str> = names.into_iter().rev().collect();
        wheel(&place("two.whl"), &reversed, 0o664);
        for name in ["one", "two"] {
            normalize(&place(&format!("{name}.whl")), &place(&format!("{name}.out")), 0).unwrap();
        }
        let bytes = std::fs::read(place("one.out")).unwrap();
        assert_eq!(bytes, std::fs::read(place("two.out")).unwrap());
        let mut archive = zip::ZipArchive::new(File::open(place("one.out")).unwrap()).unwrap();
        let listed: Vec<String> =
            archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        let sorted = ["p-1.dist-info/METADATA", "p-1.dist-info/RECORD", "p/a.py", "p/b,c.py"];
        assert_eq!(listed, sorted);
        let mut record = String::new();
        archive.by_name(sorted[1]).unwrap().read_to_string(&mut record).unwrap();
        assert!(record.contains("\n\"p/b,c.py\",sha256="), "{record}");
        assert!(record.ends_with("\np-1.dist-info/RECORD,,\n"), "{record}");
    }

    #[test]
    fn times_inside_containers_are_taken_out() {
        let mut gzip = vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3];
        strip_timestamps("x.gz", &mut gzip, 0);
        assert_eq!(gzip, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        let header = |time: &str, owner: &str, mode: &str| {
            format!("{:16}{time:12}{owner:6}{owner:6}{mode:8}{:<10}`\nab\n", "o.o/", 3)
        };
        let mut one = format!("!<arch>\n{}\n", header("1700000000", "1000", "100664")).into_bytes();
        let mut two = format!("!<arch>\n{}\n", header("1700000009", "0", "100644")).into_bytes();
        strip_timestamps("x.a", &mut one, 0);
        strip_timestamps("x.a", &mut two, 0);
        assert_eq!(one, two);
        assert!(String::from_utf8(one).unwrap().ends_with("3         `\nab\n\n"));
    }
}
