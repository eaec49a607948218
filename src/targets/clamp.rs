//! The `clamp` kind: sets times later than a chosen instant to that instant, so that they carry no
//! information. Links are not followed: their own times are set.

use std::path::Path;

use anyhow::{Context, Result, bail};
use filetime::FileTime;
use walkdir::{DirEntry, WalkDir};

use crate::base::{RelPath, words};
use crate::buildfile::table::{Reader, Table};
use crate::buildfile::value;
use crate::diagnostic::Spanned;
use crate::key::{Key, Value};
use crate::target::{Done, Findings, Fingerprint, Input, Job, Kind};
use crate::timestamp::{self, Timestamp};

#[derive(Clone, Debug)]
pub struct Clamp {
    pub directory: Spanned<RelPath>,
    pub instant: Spanned<Timestamp>,
}

pub(super) fn read(table: &mut Table, reader: &mut Reader) -> Option<Clamp> {
    let directory = table.required("directory", "\"build/…\"", reader, value::path);
    let instant = table.required("instant", "\"git\"", reader, value::instant);
    Some(Clamp { directory: directory?, instant: instant? })
}

fn key(clamp: &Clamp, job: &Job) -> Result<Key> {
    let mut key = Key::new();
    // The times of all entries below the folder count.
    job.files.partial();
    let instant = seconds(&clamp.instant.value, job)?;
    key.text("instant", instant);
    key.text("directory", &clamp.directory.value);
    let directory = job.project.place(&clamp.directory.value);
    if !directory.is_dir() {
        key.push("entries", Value::Missing);
        return Ok(key);
    }
    // Only if there are such files, so that an up-to-date folder always has the same key.
    match late(&directory, instant)?.len() {
        0 => {}
        count => key.text("entries later than the instant", count),
    }
    Ok(key)
}

fn run(clamp: &Clamp, job: &Job) -> Result<Done> {
    let directory = job.files.folder_to_write(&clamp.directory.value)?;
    if !directory.is_dir() {
        bail!("folder `{}` to clamp does not exist", clamp.directory.value);
    }
    let instant = timestamp::resolve(&clamp.instant.value, job.project)?;
    let count = lower(&directory, instant)?;
    job.messages.status(&format!("lowered the time of {}", words::count(count, "file")));
    Ok(Done::default())
}

/// Lowers every time later than the instant, including that of `directory`. Returns the number of
/// changed times.
pub(super) fn lower(directory: &Path, instant: i64) -> Result<usize> {
    let late = late(directory, instant)?;
    for (entry, accessed) in &late {
        let time = FileTime::from_unix_time(instant, 0);
        filetime::set_symlink_file_times(entry.path(), *accessed, time)
            .with_context(|| format!("could not set the time of `{}`", entry.path().display()))?;
    }
    Ok(late.len())
}

/// Returns the entries later than the instant, with their last access times, which stay.
fn late(directory: &Path, instant: i64) -> Result<Vec<(DirEntry, FileTime)>> {
    let mut late = Vec::new();
    for entry in WalkDir::new(directory) {
        let failed = || format!("could not list `{}`", directory.display());
        let entry = entry.with_context(failed)?;
        let meta = entry.metadata().with_context(failed)?;
        if FileTime::from_last_modification_time(&meta) > FileTime::from_unix_time(instant, 0) {
            late.push((entry, FileTime::from_last_access_time(&meta)));
        }
    }
    Ok(late)
}

impl Kind for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        vec![Input::Folder(&self.directory)]
    }

    fn changes_inputs(&self) -> bool {
        true
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}

/// Returns the instant of a clamp, in seconds since 1970-01-01T00:00:00Z.
pub(super) fn seconds(instant: &Timestamp, job: &Job) -> Result<i64> {
    match instant {
        Timestamp::At(_) => {}
        Timestamp::SourceDateEpoch => _ = job.files.var("SOURCE_DATE_EPOCH"),
        // The commit may change without any file of the project.
        Timestamp::Git => job.files.partial(),
    }
    timestamp::resolve(instant, job.project)
}
