//! Stamps: empty files whose mtime is that of their target's last run.

use std::fs::{self, File, Metadata};

use anyhow::{Context, Result, bail};
use filetime::FileTime;

use crate::files::place;
use crate::ownership;
use crate::target::Job;
use zipwright_store::RelPath;
use zipwright_store::fs as base_fs;

/// Extension of an empty file that counts as a stamp without a record.
const EXTENSION: &str = ".stamp";

/// Fails if another file is in the place of the stamp.
pub(super) fn check(job: &Job, stamp: &RelPath) -> Result<()> {
    // Nothing is written: the observations still count.
    match fs::symlink_metadata(place::file(job.project, stamp)?) {
        Ok(meta) if meta.is_dir() => bail!("stamp `{stamp}` is a folder: move it away"),
        Ok(meta) if !is_stamp(&meta, stamp, job) && !job.owned.force => {
            Err(ownership::in_the_way(&[stamp.to_string()]))
        }
        _ => Ok(()),
    }
}

fn is_stamp(meta: &Metadata, stamp: &RelPath, job: &Job) -> bool {
    let is_known = stamp.as_str().ends_with(EXTENSION) || job.owned.was_left(stamp);
    meta.is_file() && meta.len() == 0 && is_known
}

/// Makes the stamp, or sets its mtime to now.
pub(super) fn touch(job: &Job, stamp: &RelPath) -> Result<()> {
    check(job, stamp)?;
    let place = job.files.to_write(stamp)?;
    let failed = || format!("could not write stamp `{stamp}`");
    match fs::symlink_metadata(&place) {
        Ok(meta) if is_stamp(&meta, stamp, job) => {
            let now = FileTime::now();
            filetime::set_symlink_file_times(&place, now, now).with_context(failed)?;
        }
        _ => {
            base_fs::remove(&place)?;
            base_fs::create_dir_all(&job.project.place(&stamp.parent()))?;
            File::create_new(&place).with_context(failed)?;
        }
    }
    Ok(())
}
