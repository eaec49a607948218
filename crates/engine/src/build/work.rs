//! One run of one target, on a thread of its own: the kind does the work, then the stamp is touched,
//! the inputs are read again, and the record is put together.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::World;
use super::channel::Channel;
use super::judge::{Found, Made, all_outputs, find, fingerprint, with_needs};
use super::{stamp, until};
use crate::files::{Files, Observed, View};
use crate::graph::TargetId;
use crate::key::{Key, Reason};
use crate::make::Pool;
use crate::observation::Written;
use crate::ownership::Owned;
use crate::state::{Left, Record, RecordedOutput};
use crate::target::{Done, Facts, Findings, Job, Kind, Output, Surroundings};
use zipwright_store::digest::FieldHasher;
use zipwright_store::{Digest, RelPath, fs as base_fs};

/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// The slowest clock of a file system ticks every two seconds (FAT).
const SLOWEST_TICK: i64 = 2 * SECOND;

/// A target that was judged out of date.
pub(super) struct Work<'a> {
    pub(super) id: TargetId,
    /// The key before the run.
    pub(super) key: Key,
    /// Results of computing it that the run needs.
    pub(super) findings: Findings,
    /// The reads on which the key rests.
    pub(super) observed: Observed,
    /// For each file of `key`, the stat data that any write changes; empty if the kind reads by digest.
    pub(super) written: Vec<Option<Written>>,
    pub(super) reasons: Vec<Reason>,
    pub(super) results: BTreeMap<&'a str, Digest>,
    pub(super) facts: BTreeMap<&'a str, Facts>,
    /// Whether a staging tree must be there as a folder.
    pub(super) tree: bool,
    /// The files that the target left before.
    pub(super) left: Left,
    /// The record of a run that succeeded, if only its wait has to be repeated.
    pub(super) resumed: Option<Record>,
}

/// Returns the stat data that is compared after a run of `kind`.
pub(super) fn written_before(kind: &dyn Kind, key: &Key, files: &Files) -> Vec<Option<Written>> {
    if kind.reads_by_digest() { Vec::new() } else { written(key, files) }
}

fn written(key: &Key, files: &Files) -> Vec<Option<Written>> {
    // A file that cannot be read now is an error when the key is computed again.
    let paths: Vec<&str> = key.files().collect();
    let written = |path: &&str| files.written(path).unwrap_or_default();
    paths.par_iter().with_min_len(1024).map(written).collect()
}

/// A run that succeeded.
pub(super) struct Worked {
    pub(super) result: Digest,
    pub(super) facts: Facts,
    pub(super) outputs: Vec<RecordedOutput>,
    /// The key to record; `None` if an input changed while it ran.
    pub(super) key: Option<Key>,
    /// Whether the key is that of before the run.
    is_by_digest: bool,
    /// The reads on which the key and the outputs rest.
    pub(super) observed: Observed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// `-t`: outputs that are there count as made.
    pub(super) touch: bool,
    /// Remove files of users that are in the way.
    pub(super) force: bool,
}

/// Runs a target. `wait` is called before the wait for its `until`, with the record of the run if it
/// can be resumed.
pub(super) fn work(
    world: World,
    work: &mut Work,
    how: How,
    (surroundings, pool): (&Surroundings, &Pool),
    messages: &Channel,
    wait: &mut dyn FnMut(Option<Record>),
) -> Result<Worked> {
    let target = world.target(work.id);
    let owned = Owned::load(world.project, &target.name.value, work.left.clone(), how.force)?;
    let view = View::unlogged(world.files, world.project);
    let job = Job {
        model: world.model,
        target,
        project: world.project,
        files: &view,
        shared: world.shared,
        results: &work.results,
        facts: &work.facts,
        write_tree: work.tree,
        owned: &owned,
        surroundings,
        pool: Some(pool),
        messages,
    };
    if let Some(stamp) = &target.stamp {
        stamp::check(&job, &stamp.value)?;
    }
    let missing = if how.touch { missing(&job) } else { Vec::new() };
    outwait(&work.written);
    let done = match (how.touch, &work.resumed) {
        (true, _) => touch(&job),
        (false, Some(record)) => Ok(done_before(record)),
        (false, None) => target.kind.run(&job, work.findings.take()),
    };
    if !target.kind.reads_by_digest() {
        world.files.look_anew();
    }
    let done = done?;
    if let Some(until) = target.until().filter(|_| !how.touch) {
        wait(if work.resumed.is_none() { ran(&job, work, &done)? } else { None });
        until::wait(world, &job, until)?;
        world.files.look_anew();
    }
    // A file that was only touched is the target's if it was before, or was not there.
    let made = |path: &RelPath, content: &Digest| {
        !how.touch || owned.is_ours(path, content) || missing.contains(path)
    };
    let after = View::new(world.files, world.project);
    let mut worked = conclude(&Job { files: &after, ..job }, work, done, &made);
    if let Ok(worked) = &mut worked {
        worked.observed = after.finish();
        if worked.is_by_digest {
            worked.observed.extend(std::mem::take(&mut work.observed));
        }
    } else {
        // The run itself did not fail: the files that it made stay, and are the target's.
        forget(&target.outputs(), world.files);
        let outputs = target.outputs().into_iter();
        let left = outputs.filter_map(|output| Some((find(&view, &output).ok()??, output)));
        let left: Vec<(Found, Output)> = left.collect();
        let left = left.iter().flat_map(|(found, output)| found.made(output, &made));
        let _ = owned.promise(left);
    }
    worked
}

/// Returns the outcome of an earlier run.
fn done_before(record: &Record) -> Done {
    let facts = record.facts.iter();
    let facts =
        facts.filter_map(|(name, json)| Some((name.clone(), serde_json::from_str(json).ok()?)));
    Done { key: None, result: Some(record.result), facts: facts.collect() }
}

/// Returns the record of a run that succeeded and that waits; `None` if its inputs changed meanwhile,
/// and for a target that always runs.
fn ran(job: &Job, work: &Work, done: &Done) -> Result<Option<Record>> {
    if job.target.is_phony() {
        return Ok(None);
    }
    let expected = job.target.kind.expected_outputs(job);
    let key = match &done.key {
        Some(key) => with_needs(key.clone(), job),
        None => {
            forget(&expected, job.files);
            let (key, changes) = changes_meanwhile(job, work)?;
            if !changes.is_empty() {
                return Ok(None);
            }
            key
        }
    };
    let outputs = records(&expected, &find_all(job, &expected)?, &|_, _| true);
    let result = done.result.unwrap_or_else(|| result_of(job, &outputs, &work.key));
    let facts = done.facts.iter().map(|(name, fact)| (name.clone(), fact.to_string())).collect();
    Ok(Some(Record { key, result, outputs, seconds: 0.0, facts }))
}

/// Counts the outputs that are there as made, as `make -t` does: sets their mtimes to now. A missing
/// output of a command is created empty, as by make; those of other kinds cannot be faked.
fn touch(job: &Job) -> Result<Done> {
    for output in job.target.kind.expected_outputs(job) {
        let place = job.project.place(output.path());
        let path = output.path();
        let is_command = job.target.kind.runs_program();
        if !is_command && place.symlink_metadata().is_err() {
            bail!("`{path}` is not there, so -t cannot count it as up to date; build it");
        }
        if let Output::File(path) = &output {
            base_fs::touch(&job.files.to_write(path)?)?;
        }
    }
    job.target.kind.touched(job)
}

/// Touches the stamp after a run, reads its inputs again, and digests its outputs.
fn conclude(job: &Job, work: &Work, mut done: Done, made: &Made) -> Result<Worked> {
    let mut expected = all_outputs(job);
    let is_by_digest = done.key.is_some();
    let key = match done.key.take() {
        Some(key) => Some(with_needs(key, job)),
        None => {
            forget(&expected, job.files);
            look_again(job, work)?
        }
    };
    if key.is_none() {
        // An outer Makefile must not take the target for up to date either.
        expected.retain(|output| !matches!(output, Output::Stamp(_)));
    }
    if let Some(stamp) = job.target.stamp.as_ref().filter(|_| key.is_some()) {
        stamp::touch(job, &stamp.value)?;
    }
    job.files.tick().context("could not write in the state folder")?;
    let found = find_all(job, &expected)?;
    let (settled, outputs) =
        rayon::join(|| settle(job, (&expected, &found), made), || records(&expected, &found, made));
    settled?;
    let Done { result, facts, .. } = done;
    let result = result.unwrap_or_else(|| result_of(job, &outputs, &work.key));
    Ok(Worked { result, facts, outputs, key, is_by_digest, observed: Observed::default() })
}

/// Records the files that the target left in its output folders.
fn settle(job: &Job, (expected, found): (&[Output], &[Found]), made: &Made) -> Result<()> {
    let is_program = job.target.kind.runs_program();
    if is_program && !job.owned.has_journal() {
        return Ok(());
    }
    let own = job.target.outputs();
    let own = expected.iter().zip(found).filter(|(output, _)| own.contains(output));
    let members = own.filter(|_| !is_program).flat_map(|(output, found)| found.made(output, made));
    let is_current = |path: &RelPath| expected.iter().any(|output| path.is_within(output.path()));
    job.owned.settle(job.project, &is_current, members.collect::<Vec<_>>())
}

fn records(expected: &[Output], found: &[Found], made: &Made) -> Vec<RecordedOutput> {
    expected.iter().zip(found).map(|(output, found)| found.record(output, made)).collect()
}

/// Returns the outputs that do not exist.
fn missing(job: &Job) -> Vec<RelPath> {
    let outputs = job.target.outputs().into_iter().map(|output| output.path().clone());
    outputs.filter(|path| job.project.place(path).symlink_metadata().is_err()).collect()
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

/// Returns the key to record; `None` if an input has changed since the run began.
fn look_again(job: &Job, work: &Work) -> Result<Option<Key>> {
    let (key, changes) = changes_meanwhile(job, work)?;
    if changes.is_empty() {
        return Ok(Some(key));
    }
    job.messages.warn(&format!(
        "its inputs changed while it ran, so it counts as out of date ({})",
        changes.join("; ")
    ));
    Ok(None)
}

/// Returns the key now, and the first changes of inputs since the run began.
fn changes_meanwhile(job: &Job, work: &Work) -> Result<(Key, Vec<String>)> {
    for path in work.key.files() {
        job.files.forget(path);
    }
    let now = fingerprint(job)?.key;
    // Such a kind changes the values that its fingerprint is made of.
    if job.target.kind.changes_inputs() {
        return Ok((now, Vec::new()));
    }
    let changed: Vec<String> = if now == work.key {
        // The edit was taken back: the run may have read either content.
        let again = written(&now, job.files);
        let written = now.files().zip(again.iter().zip(&work.written));
        let written = written.filter(|(_, (now, before))| now != before);
        written.take(SHOWN).map(|(path, _)| format!("`{path}` was written")).collect()
    } else {
        now.differences(&work.key).iter().take(SHOWN).map(ToString::to_string).collect()
    };
    Ok((now, changed))
}

/// Returns the outputs as they are on disk. Fails if one is missing.
fn find_all(job: &Job, expected: &[Output]) -> Result<Vec<Found>> {
    let found = |output: &Output| {
        let path = output.path();
        find(job.files, output)?
            .with_context(|| format!("output `{path}` was removed right after it was made"))
    };
    expected.iter().map(found).collect()
}

/// Returns the result of a target whose kind does not provide one.
fn result_of(job: &Job, outputs: &[RecordedOutput], key: &Key) -> Digest {
    let stamp = job.target.stamp.as_ref().map(|stamp| &stamp.value);
    let mut hasher = FieldHasher::new();
    let mut contents = 0;
    for RecordedOutput { path, digest, mode: _ } in outputs {
        if Some(path) != stamp {
            hasher.field(path.as_str()).field(digest.as_bytes());
            contents += 1;
        }
    }
    if contents == 0 {
        hasher.field(key.digest().as_bytes());
        if job.target.is_phony() {
            // As with a phony prerequisite in make, each target that needs it runs whenever it does.
            return result_of_nothing();
        }
    }
    hasher.finish()
}

/// Returns a result that differs from every other: the targets that need it run.
pub(super) fn result_of_nothing() -> Digest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FieldHasher::new().field("moment").field(now.as_nanos().to_le_bytes()).finish()
}
