//! One run of one target, on a thread of its own: the kind does the work, then the stamp is
//! touched, the inputs are looked at again, and what there is to record is put together.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::World;
use super::channel::Channel;
use super::judge::{all_outputs, output_digest, target_key, with_needs};
use crate::base::digest::FieldHasher;
use crate::base::fs as base_fs;
use crate::base::{Digest, RelPath};
use crate::buildfile::model::{Kind, Output, Target};
use crate::files::{Files, Written};
use crate::graph::TargetId;
use crate::key::{Key, Reason};
use crate::kinds::{self, Done, Facts, Job, Surroundings};
use crate::make::Pool;
use crate::state::{Record, RecordedOutput};

/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// The slowest clock of a file system ticks every two seconds (FAT).
const SLOWEST_TICK: i64 = 2 * SECOND;

/// A target that was judged out of date.
pub(super) struct Work<'a> {
    pub(super) id: TargetId,
    /// As it was before the work.
    pub(super) key: Key,
    /// What any write to them changes, of the files in `key` and in their order; of none where
    /// that makes no difference.
    pub(super) written: Vec<Option<Written>>,
    pub(super) reasons: Vec<Reason>,
    pub(super) results: BTreeMap<&'a str, Digest>,
    pub(super) facts: BTreeMap<&'a str, Facts>,
    /// Whether a staging tree must be there as a folder.
    pub(super) tree: bool,
}

/// What is to be compared after a run of `kind` with what it is now.
pub(super) fn written_before(kind: &Kind, key: &Key, files: &Files) -> Vec<Option<Written>> {
    if kinds::takes_in_by_digest(kind) { Vec::new() } else { written(key, files) }
}

fn written(key: &Key, files: &Files) -> Vec<Option<Written>> {
    // What cannot be read now is looked at, and told, when the key is made again.
    let paths: Vec<&str> = key.files().collect();
    let written = |path: &&str| files.written(path).unwrap_or_default();
    paths.par_iter().with_min_len(1024).map(written).collect()
}

/// A run that succeeded.
pub(super) struct Worked {
    pub(super) result: Digest,
    pub(super) facts: Facts,
    /// `None` when an input changed under way: what was made of it is not known.
    pub(super) record: Option<Record>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Run,
    /// `-t`: what is there is taken for what a run would have made.
    Touch,
}

/// What `work` gives. A panic is an error like any other: the loop waits for an answer from every
/// worker, and without one would wait for ever.
pub(super) fn unless_it_panics<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        bail!("this is a mistake in zipwright, not in your project; please report it: {said}")
    })
}

pub(super) fn work(
    world: World,
    work: &Work,
    how: How,
    (surroundings, pool): (&Surroundings, &Pool),
    messages: &Channel,
) -> Result<Worked> {
    let job = Job {
        model: world.model,
        target: world.target(work.id),
        project: world.project,
        files: world.files,
        shared: world.shared,
        results: &work.results,
        facts: &work.facts,
        write_tree: work.tree,
        surroundings,
        pool: Some(pool),
        messages,
    };
    outwait(&work.written);
    let done = match how {
        How::Run => kinds::run(&job),
        How::Touch => kinds::touch(&job),
    };
    if !kinds::takes_in_by_digest(&job.target.kind) {
        world.files.look_anew();
    }
    let mut done = done?;
    let mut expected = all_outputs(&job);
    let key = match done.key.take() {
        Some(key) => Some(with_needs(key, &job)),
        None => {
            forget(&expected, world.files);
            look_again(&job, work)?
        }
    };
    if key.is_none() {
        // The stamp must not say that this is up to date either.
        expected.retain(|output| !matches!(output, Output::Stamp(_)));
    }
    if let Some(stamp) = job.target.stamp.as_ref().filter(|_| key.is_some()) {
        touch(&job, &stamp.value)?;
    }
    world.files.tick().context("could not write in the state folder")?;
    let outputs = record_outputs(&job, expected)?;
    let Done { result, facts, .. } = done;
    let result = result.unwrap_or_else(|| result_of(&job, &outputs, &work.key));
    let record = key.map(|key| Record {
        key,
        result,
        outputs,
        seconds: 0.0,
        facts: facts.iter().map(|(name, fact)| (name.clone(), fact.to_string())).collect(),
    });
    Ok(Worked { result, facts, record })
}

/// Waits until a write to the inputs would give them another time, if the clock of their file system
/// may tick in seconds: an edit that is taken back while the target runs would not show otherwise.
fn outwait(inputs: &[Option<Written>]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let times = inputs.iter().flatten().map(|(_, mtime, _)| *mtime);
    let coarse = times.filter(|mtime| mtime % SECOND == 0 && *mtime <= now);
    let left = coarse.max().and_then(|latest| u64::try_from(latest + SLOWEST_TICK - now).ok());
    if let Some(left) = left {
        thread::sleep(Duration::from_nanos(left));
    }
}

fn forget(outputs: &[Output], files: &Files) {
    for output in outputs {
        match output {
            Output::Folder(path) => files.forget_folder(path),
            Output::File(path) | Output::Stamp(path) => files.forget(path),
        }
    }
}

/// Most changes of its inputs that one warning lists.
const SHOWN: usize = 5;

/// The key to record, or `None` when an input is not what it was when the work began.
fn look_again(job: &Job, work: &Work) -> Result<Option<Key>> {
    for path in work.key.files() {
        job.files.forget(path);
    }
    let now = target_key(job)?;
    // A clamp changes the very times it looks at.
    if matches!(job.target.kind, Kind::Clamp(_)) {
        return Ok(Some(now));
    }
    let changed: Vec<String> = if now == work.key {
        // An edit that was taken back: who knows which of the two the work has read?
        let again = written(&now, job.files);
        let written = now.files().zip(again.iter().zip(&work.written));
        let written = written.filter(|(_, (now, before))| now != before);
        written.take(SHOWN).map(|(path, _)| format!("`{path}` was written")).collect()
    } else {
        now.differences(&work.key).iter().take(SHOWN).map(ToString::to_string).collect()
    };
    if changed.is_empty() {
        return Ok(Some(now));
    }
    job.messages.warn(&format!(
        "its inputs changed while it ran, so it counts as out of date ({})",
        changed.join("; ")
    ));
    Ok(None)
}

fn record_outputs(job: &Job, expected: Vec<Output>) -> Result<Vec<RecordedOutput>> {
    expected
        .into_iter()
        .map(|output| {
            let path = output.path().clone();
            let digest = output_digest(job.files, &output)?
                .with_context(|| format!("output `{path}` went away as soon as it was made"))?;
            Ok(RecordedOutput { path, digest })
        })
        .collect()
}

/// What stands for the target in the keys of those that need it, when its kind does not say.
fn result_of(job: &Job, outputs: &[RecordedOutput], key: &Key) -> Digest {
    let stamp = job.target.stamp.as_ref().map(|stamp| &stamp.value);
    let mut hasher = FieldHasher::new();
    let mut contents = 0;
    for RecordedOutput { path, digest } in outputs {
        if Some(path) != stamp {
            hasher.field(path.as_str()).field(digest.as_bytes());
            contents += 1;
        }
    }
    if contents == 0 {
        hasher.field(key.digest().as_bytes());
        if job.target.is_phony() {
            // Like a phony prerequisite in make: who needs it runs whenever it does.
            return result_of_nothing();
        }
    }
    hasher.finish()
}

/// A result that equals no other: who needs it runs.
pub(super) fn result_of_nothing() -> Digest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FieldHasher::new().field("moment").field(now.as_nanos().to_le_bytes()).finish()
}

/// Makes the stamp, or sets its mtime to now.
fn touch(job: &Job, stamp: &RelPath) -> Result<()> {
    let place = job.project.place(stamp);
    base_fs::create_dir_all(&job.project.place(&stamp.parent()))?;
    let failed = || format!("could not write stamp `{stamp}`");
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(&place);
    let file = file.with_context(failed)?;
    file.set_modified(SystemTime::now()).with_context(failed)?;
    job.files.forget(stamp);
    Ok(())
}

/// Refuses an output folder that holds something zipwright did not put there: a run would
/// remove it.
pub(super) fn refuse_foreign_folder(
    world: World,
    target: &Target,
    owned: impl Fn(&RelPath) -> bool,
) -> Result<()> {
    let stamp = target.stamp.as_ref();
    let has_stamp = stamp.is_some_and(|stamp| world.project.place(&stamp.value).exists());
    for output in target.outputs() {
        let Output::Folder(path) = output else { continue };
        let filled = fs::read_dir(world.project.place(&path))
            .is_ok_and(|mut entries| entries.next().is_some());
        if filled && !has_stamp && !owned(&path) {
            bail!(
                "output folder `{path}` holds files that zipwright did not make; move them away, \
                 or name another folder with `output`"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        let error = unless_it_panics::<()>(|| panic!("BUG: {}", 7)).unwrap_err().to_string();
        assert!(error.contains("mistake in zipwright") && error.ends_with("BUG: 7"), "{error}");
        assert_eq!(unless_it_panics(|| Ok(1)).unwrap(), 1);
    }
}
