//! The compared things, in one form for zips, folders and single files: members by name, with their
//! metadata. Contents are read on demand.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::read::DeflateDecoder;
use jiff::Timestamp;
use walkdir::WalkDir;

use super::archive::{self, Listed};
use zipwright_store::fs;

/// More than Lambda unzips as a whole; a member that claims more is not unpacked.
const CONTENT_MAX: u64 = 1 << 30;

pub(super) struct Tree {
    pub(super) members: BTreeMap<String, Member>,
    /// The whole file; empty for a folder.
    bytes: Vec<u8>,
    form: Form,
    comment: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Zip,
    Folder,
    File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Other => "neither file nor folder",
        }
    }
}

pub(super) struct Member {
    pub(super) kind: Kind,
    /// Permission bits; `None` if they are not recorded.
    pub(super) mode: Option<u32>,
    pub(super) time: Option<String>,
    pub(super) position: usize,
    /// The same fields in the same order for all members of zips; empty for others.
    pub(super) metadata: Vec<(&'static str, String)>,
    place: Source,
}

enum Source {
    InZip {
        method: u16,
        start: usize,
        end: usize,
        size: u64,
    },
    OnDisk(PathBuf),
    /// The whole of a single file.
    Whole,
}

impl Member {
    /// Returns how it is compressed, the method first. `None` outside of a zip.
    pub(super) fn packing(&self) -> Option<String> {
        let Source::InZip { method, start, end, .. } = self.place else { return None };
        let method = match method {
            0 => "stored".to_owned(),
            8 => "deflated".to_owned(),
            other => format!("method {other}"),
        };
        Some(format!("{method}, {} bytes", end - start))
    }
}

impl Tree {
    pub(super) fn open(place: &Path) -> Result<Self> {
        let meta = std::fs::metadata(place)
            .with_context(|| format!("could not read `{}`", place.display()))?;
        if meta.is_dir() {
            return Self::of_folder(place);
        }
        if !meta.is_file() {
            bail!("`{}` is neither a file nor a folder", place.display());
        }
        let bytes = fs::read(place)?;
        if archive::is_zip(&bytes) {
            let refused = || format!("`{}` cannot be read as a zip", place.display());
            return Self::of_zip(bytes).with_context(refused);
        }
        let member = Member {
            kind: Kind::File,
            mode: None,
            time: None,
            position: 0,
            metadata: Vec::new(),
            place: Source::Whole,
        };
        let members = BTreeMap::from([("(the file)".to_owned(), member)]);
        Ok(Self { members, bytes, form: Form::File, comment: Vec::new() })
    }

    pub(super) fn of_zip(bytes: Vec<u8>) -> Result<Self> {
        let directory = archive::read(&bytes)?;
        let mut members = BTreeMap::new();
        for (position, listed) in directory.entries.into_iter().enumerate() {
            let mut name = listed.name.clone();
            let mut copies = 1;
            while members.contains_key(&name) {
                copies += 1;
                name = format!("{} (entry {copies} of this name)", listed.name);
            }
            members.insert(name, of_listed(&listed, position));
        }
        Ok(Self { members, bytes, form: Form::Zip, comment: directory.comment })
    }

    fn of_folder(root: &Path) -> Result<Self> {
        let mut members = BTreeMap::new();
        for found in WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let found = found.with_context(|| format!("could not list `{}`", root.display()))?;
            let path = found.path();
            let meta = found.metadata().with_context(|| format!("`{}`", path.display()))?;
            let kind = match found.file_type() {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_symlink() => Kind::Link,
                _ => Kind::Other,
            };
            let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            // As in zips, so that a tree can be compared with the zip made from it.
            let end = if kind == Kind::Folder { "/" } else { "" };
            let member = Member {
                kind,
                mode: (kind != Kind::Link).then(|| meta.permissions().mode() & 0o7777),
                time: Timestamp::from_second(meta.mtime()).ok().map(|time| time.to_string()),
                position: members.len(),
                metadata: Vec::new(),
                place: Source::OnDisk(path.to_path_buf()),
            };
            members.insert(format!("{below}{end}"), member);
        }
        Ok(Self { members, bytes: Vec::new(), form: Form::Folder, comment: Vec::new() })
    }

    pub(super) fn is_folder(&self) -> bool {
        self.form == Form::Folder
    }

    /// Returns whether both are files with the same bytes.
    pub(super) fn has_bytes_of(&self, other: &Self) -> bool {
        !self.is_folder() && !other.is_folder() && self.bytes == other.bytes
    }

    /// Returns whether two members of zips have the same compressed bytes.
    pub(super) fn has_data_of(&self, member: &Member, tree: &Self, other: &Member) -> bool {
        match (&member.place, &other.place) {
            (
                Source::InZip { method: method_a, start: start_a, end: end_a, .. },
                Source::InZip { method: method_b, start: start_b, end: end_b, .. },
            ) => {
                method_a == method_b && self.bytes[*start_a..*end_a] == tree.bytes[*start_b..*end_b]
            }
            _ => false,
        }
    }

    pub(super) fn content(&self, member: &Member) -> Result<Vec<u8>> {
        match &member.place {
            Source::Whole => Ok(self.bytes.clone()),
            Source::OnDisk(place) => match member.kind {
                Kind::File => fs::read(place),
                Kind::Link => {
                    let link = std::fs::read_link(place)
                        .with_context(|| format!("could not read `{}`", place.display()))?;
                    Ok(link.to_string_lossy().into_owned().into_bytes())
                }
                Kind::Folder | Kind::Other => Ok(Vec::new()),
            },
            Source::InZip { method, start, end, size } => {
                let data = &self.bytes[*start..*end];
                if *method != 8 || *size > CONTENT_MAX {
                    return Ok(data.to_vec());
                }
                let mut content = Vec::new();
                let inflated = DeflateDecoder::new(data).take(size + 1).read_to_end(&mut content);
                // Data that do not inflate are compared compressed.
                Ok(if inflated.is_ok() { content } else { data.to_vec() })
            }
        }
    }
}

fn of_listed(listed: &Listed, position: usize) -> Member {
    let unix = listed.external >> 16;
    let kind = match unix & 0o170_000 {
        0o120_000 => Kind::Link,
        0o040_000 => Kind::Folder,
        _ if listed.name.ends_with('/') => Kind::Folder,
        _ => Kind::File,
    };
    let (date, time) = (listed.date, listed.time);
    let shown = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        1980 + (date >> 9),
        (date >> 5) & 15,
        date & 31,
        time >> 11,
        (time >> 5) & 63,
        (time & 31) * 2
    );
    Member {
        kind,
        mode: (listed.made_by >> 8 == 3).then_some(unix & 0o7777),
        time: Some(shown),
        position,
        metadata: vec![
            ("made by", format!("{:#06x}", listed.made_by)),
            ("version needed", listed.needed.to_string()),
            ("flags", format!("{:#06x}", listed.flags)),
            ("internal attributes", format!("{:#06x}", listed.internal)),
            ("file type", format!("{:#o}", unix & 0o170_000)),
            ("DOS attributes", format!("{:#06x}", listed.external & 0xFFFF)),
            ("extra field", hex(&listed.extra)),
            ("comment", String::from_utf8_lossy(&listed.comment).into_owned()),
            ("local header", hex(&listed.local)),
        ],
        place: Source::InZip {
            method: listed.method,
            start: listed.start,
            end: listed.end,
            size: listed.size,
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "none".into(),
        bytes => bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Returns the differences of two trees as a whole: field, and both values.
pub(super) fn whole(a: &Tree, b: &Tree) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    if a.form != b.form {
        let word = |tree: &Tree| match tree.form {
            Form::Zip => "zip".to_owned(),
            Form::Folder => "folder".to_owned(),
            Form::File => "file".to_owned(),
        };
        found.push(("form", word(a), word(b)));
    }
    if a.comment != b.comment {
        let text = |tree: &Tree| String::from_utf8_lossy(&tree.comment).into_owned();
        found.push(("comment of the archive", text(a), text(b)));
    }
    found
}
