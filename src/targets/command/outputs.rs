//! The places of a command's outputs. Before it runs, each is free or has the target's own file;
//! afterwards the command's files are compared with the files that were set aside.

use std::collections::BTreeSet;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use filetime::FileTime;

use crate::base::fs as base_fs;
use crate::base::{Digest, RelPath, words};
use crate::files::{Content, Fact, Place};
use crate::observation::Stat;
use crate::ownership;
use crate::target::Job;
use crate::targets::command::Command;

/// Folder of the state that has what killed runs left half-written.
const KILLED: &str = "killed";

/// The outputs of a command that is about to run.
pub(super) struct Outputs<'a> {
    job: &'a Job<'a>,
    list: Vec<Output<'a>>,
}

/// An output before the command runs.
struct Output<'a> {
    place: Place<'a>,
    fact: Fact,
    /// Stat data that changes with any write; `None` if there is no file.
    stat: Option<Stat>,
    modified: Option<FileTime>,
    /// Whether a file that is not the target's has another name until the command ends.
    is_aside: bool,
}

impl<'a> Outputs<'a> {
    /// Clears the places of the outputs. A file that is not the target's is renamed to a name
    /// beside its own.
    pub(super) fn clear(command: &Command, job: &'a Job<'a>) -> Result<Self> {
        let paths = || command.outputs.iter().map(|path| &path.value);
        for path in paths() {
            if is_folder(&job.files.to_write(path)?) {
                bail!("output `{path}` is a folder; declare the files in it, or remove it");
            }
        }
        let mut outputs = Self { job, list: Vec::new() };
        let mut half_written = job.owned.half_written.clone();
        for path in paths() {
            match Output::clear(path, job, &mut half_written) {
                Ok(output) => outputs.list.push(output),
                Err(error) => {
                    outputs.take_back()?;
                    return Err(error);
                }
            }
        }
        let written = outputs.list.iter().filter(|output| !output.is_aside);
        job.owned.writes(&written.map(|output| output.place.path().clone()).collect())?;
        Ok(outputs)
    }

    /// Fails if the command did not make one of them, or made a folder.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(output) = self.list.iter().find(|output| is_folder(&output.place)) {
            let path = output.place.path();
            bail!("the command made a folder of output `{path}`; declare the files in it");
        }
        let is_missing = |output: &&Output| output.place.metadata().is_err();
        let missing = self.list.iter().filter(is_missing);
        let missing: Vec<&str> = missing.map(|output| output.place.path().as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "the command succeeded but did not make {}; make it there, or remove it from `outputs`",
            words::list(&missing)
        );
    }

    /// Keeps the files that the command made, with their old times if their content is unchanged.
    /// Fails if one differs from a file that was set aside.
    pub(super) fn keep(&self) -> Result<()> {
        let different = self.list.iter().filter(|output| !output.replaces_the_same());
        let different: Vec<String> =
            different.map(|output| output.place.path().to_string()).collect();
        if !different.is_empty() {
            return Err(ownership::in_the_way(&different));
        }
        for output in &self.list {
            output.restore_time_if_equal(self.job)?;
        }
        for output in self.list.iter().filter(|output| output.is_aside) {
            base_fs::remove(&base_fs::aside(&output.place))?;
        }
        Ok(())
    }

    /// Removes the files that the command made or wrote to, and restores the files that were set
    /// aside.
    pub(super) fn take_back(&self) -> Result<()> {
        for output in &self.list {
            output.remove_if_touched()?;
            let aside = base_fs::aside(&output.place);
            if output.is_aside && aside.symlink_metadata().is_ok() {
                if is_folder(&output.place) {
                    let (path, aside) = (output.place.path(), aside.display());
                    bail!("`{path}` is a folder now; the file that it was before is `{aside}`");
                }
                base_fs::rename_to_free(&aside, &output.place)?;
            }
            output.place.look_anew();
        }
        Ok(())
    }

    /// The command has run: the next read sees the files that it made.
    pub(super) fn look_anew(&self) {
        self.list.iter().for_each(|output| output.place.look_anew());
    }
}

impl<'a> Output<'a> {
    /// Outputs that are no longer `half_written` leave that list before their files are removed: a file
    /// that appears after it is a user's.
    fn clear(
        path: &RelPath,
        job: &'a Job<'a>,
        half_written: &mut BTreeSet<RelPath>,
    ) -> Result<Self> {
        let place = job.files.to_write(path)?;
        base_fs::create_dir_all(&job.project.place(&path.parent()))?;
        restore_aside(&place, job)?;
        let mut modified = None;
        let mut is_aside = false;
        if let Ok(meta) = place.metadata() {
            modified = Some(FileTime::from_last_modification_time(&meta));
            if is_ours(&place, &meta, job)? {
                make_own(path, &place, &meta, job)?;
            } else if meta.is_file() && half_written.remove(path) {
                job.owned.writes(half_written)?;
                keep_half_written(path, &place, job)?;
            } else if may_go(path, &meta, job) {
                base_fs::remove(&place)?;
            } else {
                base_fs::rename_to_free(&place, &base_fs::aside(&place))?;
                is_aside = true;
            }
        }
        place.look_anew();
        let stat = place.metadata().ok().as_ref().map(Stat::from);
        let fact = job.files.fact(path)?;
        Ok(Self { place, fact, stat, modified, is_aside })
    }

    /// Returns `false` only if a file was set aside that differs from the command's.
    fn replaces_the_same(&self) -> bool {
        let made = Shape::of(&self.place);
        !self.is_aside || (made.is_some() && made == Shape::of(&base_fs::aside(&self.place)))
    }

    /// Removes a file that the command made or wrote to. A folder stays: it may be a user's that the
    /// command moved here.
    fn remove_if_touched(&self) -> Result<()> {
        let now = self.place.metadata().ok().as_ref().map(Stat::from);
        if now.is_some() && now != self.stat && !is_folder(&self.place) {
            base_fs::remove(&self.place)?;
        }
        Ok(())
    }

    fn restore_time_if_equal(&self, job: &Job) -> Result<()> {
        let Some(modified) = self.modified else { return Ok(()) };
        if self.is_aside || job.files.fact(self.place.path())? == self.fact {
            filetime::set_symlink_file_times(&self.place, modified, modified)
                .with_context(|| format!("could not set the time of `{}`", self.place.path()))?;
            self.place.look_anew();
        }
        Ok(())
    }
}

/// A file by its content, or a symbolic link by its text.
#[derive(PartialEq)]
enum Shape {
    File(Digest),
    Link(PathBuf),
}

impl Shape {
    fn of(place: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(place).ok()?;
        match meta.is_symlink() {
            true => fs::read_link(place).ok().map(Self::Link),
            false if meta.is_file() => Digest::of_file(place).ok().map(Self::File),
            false => None,
        }
    }
}

/// Returns whether this file has content that the target left here.
fn is_ours(place: &Place, meta: &Metadata, job: &Job) -> Result<bool> {
    let path = place.path();
    if !meta.is_file() || !job.owned.was_left(path) {
        return Ok(false);
    }
    place.look_anew();
    let content = job.files.fact(path)?.content;
    Ok(matches!(content, Content::File { digest, .. } if job.owned.is_ours(path, &digest)))
}

/// Returns whether a file that is not the target's may be removed: a link in the place of a file
/// that the target left, and everything with `--force`.
fn may_go(path: &RelPath, meta: &Metadata, job: &Job) -> bool {
    (meta.is_symlink() && job.owned.was_left(path)) || job.owned.force
}

/// Moves what a killed run may have left half-written into the state folder. It is not removed: a user
/// may have written it since.
fn keep_half_written(path: &RelPath, place: &Place, job: &Job) -> Result<()> {
    let folder = job.project.state_folder(KILLED)?;
    let kept = (0..).map(|number| match number {
        0 => folder.join(path.file_name()),
        _ => folder.join(format!("{}.{number}", path.file_name())),
    });
    let kept = kept.into_iter().find(|kept| kept.symlink_metadata().is_err());
    let kept = kept.expect("BUG: there are more numbers than files");
    base_fs::rename_to_free(place, &kept)?;
    let shown = kept.strip_prefix(&job.project.root).unwrap_or(&kept).display();
    job.messages.warn(&format!(
        "`{path}` may be half-written, as its run was killed: it is kept as `{shown}`"
    ));
    Ok(())
}

fn is_folder(place: &Place) -> bool {
    place.metadata().is_ok_and(|meta| meta.is_dir())
}

/// Restores the mode with which the target left the file, and gives it an inode of its own: the
/// command may write to it in place.
fn make_own(path: &RelPath, place: &Path, meta: &Metadata, job: &Job) -> Result<()> {
    let mode = job.owned.mode(path).unwrap_or(base_fs::FILE_MODE);
    let failed = || format!("could not write `{}`", place.display());
    if meta.nlink() > 1 {
        let mut copy = base_fs::temp_beside(place)?;
        let mut file = base_fs::open(place)?;
        io::copy(&mut file, copy.as_file_mut()).with_context(failed)?;
        base_fs::persist(copy, place, mode)?;
        let time = FileTime::from_last_modification_time(meta);
        filetime::set_symlink_file_times(place, time, time).with_context(failed)?;
    } else if meta.permissions().mode() & 0o7777 != mode {
        fs::set_permissions(place, Permissions::from_mode(mode)).with_context(failed)?;
    }
    Ok(())
}

/// Restores a file that a killed run set aside.
fn restore_aside(place: &Place, job: &Job) -> Result<()> {
    let aside = base_fs::aside(place);
    if aside.symlink_metadata().is_err() {
        return Ok(());
    }
    if job.owned.force {
        base_fs::remove(place)?;
    }
    if place.symlink_metadata().is_ok() {
        let shown = aside.strip_prefix(&job.project.root).unwrap_or(&aside).display();
        let path = place.path();
        bail!(
            "`{shown}` is the file that was `{path}` before a build was killed: remove one of them"
        );
    }
    base_fs::rename_to_free(&aside, place)
}
