//! The check of a wheel: its zip must be unambiguous, every path must stay in the tree, and every
//! member must match its CRC and RECORD.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use zip::read::Config;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipArchive};

use super::reader::{self, Content, Known, Span};
use super::record::{self, Line};
use super::{Member, Method, WheelName};
use crate::normalise;
use zipwright_store::path::{PathProblem, RelPath};

/// Most bytes that a wheel may unpack to: far more than Lambda takes, and less than a disk has.
pub(super) const SIZE_LIMIT: u64 = 8 << 30;

/// Most bytes of a RECORD. It has about 100 for each file.
const RECORD_LIMIT: u64 = 64 << 20;

/// A member as the zip's directory lists it, before its content was read.
struct Listed {
    name: String,
    executable: bool,
    span: Span,
    size: u64,
    crc: u32,
}

/// Checks the whole wheel and gives its files, sorted by name. Reads the content of those that are not
/// known.
pub(super) fn check(file: &File, wheel: &WheelName, known: &Known) -> Result<Vec<Member>> {
    let (listed, folders) = list(file)?;
    let size = listed.iter().fold(0_u64, |size, member| size.saturating_add(member.size));
    ensure!(size <= SIZE_LIMIT, "it would unpack to more than 8 GiB");
    refuse_clashes(&listed, &folders)?;
    let record_name = record_name(&listed, wheel)?;
    let record = read_record(file, &listed, &record_name)?;
    let checked: Vec<Result<Member>> = listed
        .par_iter()
        .map(|member| {
            check_member(file, member, line_of(&record, &record_name, member)?, known)
                .with_context(|| format!("member `{}` is damaged", member.name))
        })
        .collect();
    // Of several errors, the first by name: the same one on every run.
    checked.into_iter().collect()
}

fn is_listed(listed: &[Listed], path: &str) -> bool {
    listed.binary_search_by(|member| member.name.as_str().cmp(path)).is_ok()
}

/// Returns all files sorted by name, and the names of the folders that have entries of their own.
fn list(file: &File) -> Result<(Vec<Listed>, Vec<String>)> {
    let damaged = "it is not a complete zip file";
    let mut archive = ZipArchive::new(BufReader::new(file)).context(damaged)?;
    if archive.has_duplicate_names() {
        bail!("it has {} twice", duplicate_name(file).context(damaged)?);
    }
    archive
        .validate_header_consistency()
        .context("the headers of its zip contradict each other")?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).context(damaged)?;
        let written = entry.name().context("a member's name cannot be read")?.into_owned();
        let name = checked_name(&written)?;
        if entry.is_dir() {
            folders.push(name);
            continue;
        }
        ensure!(
            !entry.is_symlink(),
            "member `{name}` is a symbolic link, which wheels cannot hold"
        );
        ensure!(!entry.encrypted(), "member `{name}` is encrypted");
        let method = match entry.compression() {
            CompressionMethod::Stored => Method::Stored,
            CompressionMethod::Deflated => Method::Deflated,
            other => bail!("member `{name}` is compressed by {other}: only deflate is supported"),
        };
        let offset = entry.data_start().context(damaged)?;
        files.push(Listed {
            executable: entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0),
            span: Span { method, offset, compressed: entry.compressed_size() },
            size: entry.size(),
            crc: entry.crc32(),
            name,
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((files, folders))
}

/// The first name that the directory has twice, quoted.
fn duplicate_name(file: &File) -> Result<String> {
    let mut start = file;
    start.rewind()?;
    let mut entries = ZipIterable::try_new(BufReader::new(file), Config::default())?;
    let files = entries.files()?;
    let mut seen = HashSet::new();
    for entry in files {
        let name = entry?.name()?.into_owned();
        if !seen.insert(name.clone()) {
            return Ok(format!("`{name}`"));
        }
    }
    Ok("a name".into())
}

/// A member's name without a folder's final `/`, when it is a path that cannot leave the tree.
fn checked_name(written: &str) -> Result<String> {
    let name = written.strip_suffix('/').unwrap_or(written);
    let problem = match RelPath::parse(name) {
        Ok(path) if path.as_str() != name || path.is_root() => "is not a plain relative path",
        Ok(_) if name.contains('\\') => "has a backslash",
        Ok(_) if has_drive(name) => "has a drive letter",
        Ok(_) => return Ok(name.to_owned()),
        Err(PathProblem::Empty) => "is empty",
        Err(PathProblem::Absolute) => "is absolute",
        Err(PathProblem::LeavesProject) => "leaves the tree",
        Err(PathProblem::ControlCharacter) => "has control characters",
    };
    bail!("the path of member `{}` {problem}", written.escape_debug())
}

fn has_drive(name: &str) -> bool {
    matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

/// No name may be a file and a folder at once, or twice a file.
fn refuse_clashes(listed: &[Listed], folders: &[String]) -> Result<()> {
    let mut all_folders = HashSet::new();
    for folder in folders {
        add_folders(&mut all_folders, Some(folder));
    }
    for member in listed {
        add_folders(&mut all_folders, parent(&member.name));
    }
    if let Some(clash) = listed.iter().find(|member| all_folders.contains(member.name.as_str())) {
        bail!("`{}` is a file and a folder in it", clash.name);
    }
    match listed.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => bail!("it has `{}` twice", pair[0].name),
        None => Ok(()),
    }
}

/// Adds a folder and its parents. A folder is never added without its parents, so the first
/// existing one ends the loop.
fn add_folders<'a>(all: &mut HashSet<&'a str>, mut folder: Option<&'a str>) {
    while let Some(name) = folder {
        folder = if all.insert(name) { parent(name) } else { None };
    }
}

fn parent(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(parent, _)| parent)
}

/// The one RECORD, in the metadata folder that belongs to the wheel's own project.
fn record_name(listed: &[Listed], wheel: &WheelName) -> Result<String> {
    let found: Vec<&str> = listed
        .iter()
        .filter_map(|member| member.name.strip_suffix(".dist-info/RECORD"))
        .filter(|stem| !stem.contains('/'))
        .collect();
    let [stem] = found.as_slice() else {
        bail!("it has {} `.dist-info/RECORD` files, not one", found.len());
    };
    let project = stem.split_once('-').map_or(*stem, |(project, _)| project);
    if normalise(project) != wheel.normalised() {
        bail!("its metadata is of another project: `{stem}.dist-info`");
    }
    Ok(format!("{stem}.dist-info/RECORD"))
}

fn read_record(file: &File, listed: &[Listed], name: &str) -> Result<BTreeMap<String, Line>> {
    let member = listed.iter().find(|member| member.name == name).context("it has no RECORD")?;
    ensure!(member.size <= RECORD_LIMIT, "its RECORD has more than {RECORD_LIMIT} bytes");
    let mut text = String::new();
    reader::content(file, member.span)
        .take(RECORD_LIMIT)
        .read_to_string(&mut text)
        .context("its RECORD cannot be read")?;
    record::parse(&text, |path| is_listed(listed, path))
}

/// Returns RECORD's line for a member; `None` for RECORD itself and the signatures made from it.
fn line_of<'a>(
    record: &'a BTreeMap<String, Line>,
    record_name: &str,
    member: &Listed,
) -> Result<Option<&'a Line>> {
    let name = member.name.as_str();
    let exempt =
        [record_name.to_owned(), format!("{record_name}.jws"), format!("{record_name}.p7s")];
    if exempt.iter().any(|exempt| exempt == name) {
        return Ok(None);
    }
    match record.get(name) {
        None => bail!("RECORD does not list `{name}`"),
        Some(Line { hash: None, .. }) => bail!("RECORD has no hash of `{name}`"),
        line => Ok(line),
    }
}

/// Compares the content of a member with its headers and its line in RECORD.
fn check_member(
    file: &File,
    member: &Listed,
    line: Option<&Line>,
    known: &Known,
) -> Result<Member> {
    let hash = line.and_then(|line| line.hash.as_ref());
    let is_hashed = |_: &&Content| hash.is_none_or(record::Hash::is_sha256);
    let read;
    let content = match known.get(&member.span).filter(is_hashed) {
        Some(content) => content,
        None => {
            let hasher = hash.map(record::Hash::hasher).transpose()?;
            read = reader::read(file, member.span, member.size, hasher)?;
            &read
        }
    };
    let size = content.size;
    ensure!(size == member.size, "it has {size} bytes, and {} in its header", member.size);
    ensure!(content.crc == member.crc, "its CRC is wrong");
    if let Some(said) = line.and_then(|line| line.size) {
        ensure!(said == size, "it has {size} bytes, and {said} in RECORD");
    }
    if let Some(hash) = hash {
        ensure!(hash.is(&content.hash), "its hash is not the one in RECORD");
    }
    let Span { method, offset, compressed } = member.span;
    Ok(Member {
        name: member.name.clone(),
        executable: member.executable,
        method,
        offset,
        compressed,
        size,
        crc: member.crc,
        digest: content.digest,
        python_shebang: content.python_shebang,
    })
}
