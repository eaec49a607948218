//! The bundle as a zip: its members as the directory lists them, and their content, one member at a
//! time.

use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, Result};

use crate::Listed;

pub(super) use crate::EntryKind as Kind;

/// Largest size of a member that is read, in bytes: with a larger one alone, the bundle is too
/// large for Lambda.
const LONGEST: u64 = crate::UNZIPPED_LIMIT;

/// A file, folder or link in the bundle.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The path as unpacked: `./pkg//mod.py` is `pkg/mod.py`, and a folder has no final `/`.
    pub(super) name: String,
    /// The name as it is in the zip.
    pub(super) raw: String,
    pub(super) size: u64,
    /// Permissions and kind of file; `None` if the zip was made on a system without them.
    pub(super) mode: Option<u32>,
    pub(super) kind: Kind,
    /// Seconds since 1970, reading the zip's local time as UTC.
    pub(super) time: Option<i64>,
    pub(super) index: usize,
}

pub(super) struct Archive<R> {
    /// Sorted by name.
    pub(super) members: Vec<Member>,
    /// The targets of links under the names of the links, sorted by name. Not part of `members`,
    /// whose links are still links.
    pub(super) linked: Vec<Member>,
    pub(super) contents: Contents<R>,
    pub(super) faults: Vec<Fault>,
}

/// A name that Lambda does not unpack as intended, or a broken link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The name as it is in the zip.
    pub(super) member: String,
    pub(super) kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    Backslash,
    /// `..` or an absolute path.
    Outside,
    /// Another member has the same path.
    Double,
    /// A file whose path is also the folder of other members.
    FileAndFolder,
    /// With the target of the link.
    Dangling(String),
}

pub(super) struct Contents<R> {
    zip: crate::Archive<BufReader<R>>,
    /// Size of the whole zip in bytes.
    pub(super) zipped: u64,
    /// Whether two members have the same name: only one of them can be read.
    pub(super) has_doubles: bool,
}

impl From<Listed> for Member {
    fn from(listed: Listed) -> Self {
        let Listed { name: raw, kind, size, mode, time, index } = listed;
        Self { name: normalized(&raw), raw, size, mode, kind, time, index }
    }
}

impl Member {
    pub(super) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Returns the last part of its path.
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the folder that it is in; empty at the root.
    pub(super) fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Opens a bundle, without following its links.
    pub(super) fn open(mut zip: R) -> Result<Self> {
        let damaged = "it is not a complete zip file";
        let zipped = zip.seek(SeekFrom::End(0)).context(damaged)?;
        zip.rewind().context(damaged)?;
        let mut zip = crate::Archive::open(BufReader::new(zip))?;
        let mut faults = Vec::new();
        let listed = zip.list()?;
        faults.extend(listed.iter().filter_map(|listed| {
            let kind = fault_of(&listed.name)?;
            Some(Fault { member: listed.name.clone(), kind })
        }));
        let mut members: Vec<Member> = listed.into_iter().map(Member::from).collect();
        members.sort_by(|a, b| (&a.name, a.index).cmp(&(&b.name, b.index)));
        faults.extend(collisions(&members));
        let has_doubles = zip.has_duplicate_names();
        let contents = Contents { zip, zipped, has_doubles };
        Ok(Self { members, linked: Vec::new(), contents, faults })
    }

    /// Returns members and targets of links, sorted by name.
    pub(super) fn view(&self) -> Vec<Member> {
        let is_link = |member: &&Member| member.kind == Kind::Link;
        let members = self.members.iter().filter(|member| !is_link(member));
        let mut view: Vec<Member> = members.chain(&self.linked).cloned().collect();
        view.sort_by(|a, b| a.name.cmp(&b.name));
        view.dedup_by(|a, b| a.name == b.name);
        view
    }
}

/// Returns a path as unpacked: without `.` and empty parts. `..` stays.
fn normalized(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// Returns the reason why Lambda does not unpack a name as intended, if any.
fn fault_of(name: &str) -> Option<FaultKind> {
    let has_drive =
        name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    if name.contains('\\') {
        Some(FaultKind::Backslash)
    } else if name.starts_with('/') || has_drive || name.split('/').any(|part| part == "..") {
        Some(FaultKind::Outside)
    } else {
        None
    }
}

/// Returns paths that two members have, or that are both a file and a folder. Folders may be listed
/// any number of times.
fn collisions(members: &[Member]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let fault = |member: &Member, kind| Fault { member: member.raw.clone(), kind };
    for pair in members.windows(2) {
        if pair[0].name == pair[1].name && pair.iter().any(|member| member.kind != Kind::Folder) {
            let has_folder = pair.iter().any(|member| member.kind == Kind::Folder);
            let kind = if has_folder { FaultKind::FileAndFolder } else { FaultKind::Double };
            faults.push(fault(&pair[1], kind));
        }
    }
    for member in members {
        let mut folder = member.folder();
        while !folder.is_empty() {
            // A link may lead to a folder, but a member cannot be unpacked below it.
            if let Some(file) = find(members, folder).filter(|it| it.kind != Kind::Folder) {
                faults.push(fault(file, FaultKind::FileAndFolder));
            }
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    faults.sort_by(|a, b| a.member.cmp(&b.member));
    faults.dedup();
    faults
}

impl<R: Read + Seek> Contents<R> {
    /// Returns the first bytes of a member, at most `most`.
    pub(super) fn start(&mut self, member: &Member, most: u64) -> Result<Vec<u8>> {
        let failed = || format!("member `{}` cannot be read", member.name);
        let mut bytes = Vec::new();
        let entry = self.zip.content(member.index).with_context(failed)?;
        entry.take(most).read_to_end(&mut bytes).with_context(failed)?;
        Ok(bytes)
    }

    /// Returns the content of a member; empty if it is too large for Lambda.
    pub(super) fn whole(&mut self, member: &Member) -> Result<Vec<u8>> {
        if member.size > LONGEST {
            return Ok(Vec::new());
        }
        self.start(member, LONGEST)
    }
}

/// Returns the member of this name.
pub(super) fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Member> {
    let at = members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
    Some(&members[at])
}
