//! The bundle as a zip: its members as the directory lists them, and their content, one at a time.

use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use zip::ZipArchive;

use crate::bundle;

/// What is longer is never read: the bundle is too large for Lambda with this member alone.
const LONGEST: u64 = bundle::UNZIPPED_LIMIT;

/// A file, folder or link in the bundle.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Without a folder's final `/`.
    pub(super) name: String,
    pub(super) size: u64,
    /// Permissions and kind of file; `None` when the zip was made where there are none.
    pub(super) mode: Option<u32>,
    pub(super) kind: Kind,
    /// Seconds since 1970, taking the zip's zone for UTC.
    pub(super) time: Option<i64>,
    pub(super) index: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
}

pub(super) struct Archive<R> {
    /// Sorted by name.
    pub(super) members: Vec<Member>,
    pub(super) contents: Contents<R>,
}

pub(super) struct Contents<R> {
    zip: ZipArchive<BufReader<R>>,
    /// Of the whole zip.
    pub(super) zipped: u64,
    /// Whether a name is there twice: only one of them can be read.
    pub(super) has_doubles: bool,
}

impl Member {
    pub(super) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// The last part of its path.
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// The folder it lies in; empty at the root.
    pub(super) fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl<R: Read + Seek> Archive<R> {
    pub(super) fn open(mut zip: R) -> Result<Self> {
        let damaged = "it is no whole zip file";
        let zipped = zip.seek(SeekFrom::End(0)).context(damaged)?;
        zip.rewind().context(damaged)?;
        let mut zip = ZipArchive::new(BufReader::new(zip)).context(damaged)?;
        let mut members = Vec::with_capacity(zip.len());
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index).context(damaged)?;
            let name = entry.name().context("a member's name cannot be read")?;
            let kind = match (entry.is_dir(), entry.is_symlink()) {
                (true, _) => Kind::Folder,
                (false, true) => Kind::Link,
                (false, false) => Kind::File,
            };
            members.push(Member {
                name: name.trim_end_matches('/').to_owned(),
                size: entry.size(),
                mode: entry.unix_mode(),
                kind,
                time: entry.last_modified().and_then(seconds),
                index,
            });
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let has_doubles = zip.has_duplicate_names();
        Ok(Self { members, contents: Contents { zip, zipped, has_doubles } })
    }
}

impl<R: Read + Seek> Contents<R> {
    /// The first bytes of a member, `most` of them or fewer.
    pub(super) fn start(&mut self, member: &Member, most: u64) -> Result<Vec<u8>> {
        let failed = || format!("member `{}` cannot be read", member.name);
        let mut bytes = Vec::new();
        let entry = self.zip.by_index(member.index).with_context(failed)?;
        entry.take(most).read_to_end(&mut bytes).with_context(failed)?;
        Ok(bytes)
    }

    /// All of a member; of one that is too long for Lambda, nothing.
    pub(super) fn whole(&mut self, member: &Member) -> Result<Vec<u8>> {
        if member.size > LONGEST {
            return Ok(Vec::new());
        }
        self.start(member, LONGEST)
    }
}

/// The member of this name.
pub(super) fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Member> {
    let at = members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
    Some(&members[at])
}

fn seconds(time: zip::DateTime) -> Option<i64> {
    let part = |number: u8| i8::try_from(number).ok();
    let year = i16::try_from(time.year()).ok()?;
    let date = jiff::civil::Date::new(year, part(time.month())?, part(time.day())?).ok()?;
    let (hour, minute) = (part(time.hour())?, part(time.minute())?);
    let time = jiff::civil::Time::new(hour, minute, part(time.second())?, 0).ok()?;
    Some(jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(time)).ok()?.as_second())
}
