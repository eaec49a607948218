//! Checks whether a target is up to date: compares its fingerprint with the recorded one, and its
//! outputs with those that it left. Writes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use rayon::prelude::*;

use super::channel::Channel;
use super::{Options, World};
use crate::files::{Content, Fact, Observed, Selection, View};
use crate::key::{Component, Key, Reason, Value, file_of_component};
use crate::ownership;
use crate::state::{Record, RecordedOutput, State};
use crate::target::{Facts, Fingerprint, Job, Output, Target, Typed};
use zipwright_store::digest::FieldHasher;
use zipwright_store::{Digest, RelPath};

/// Members of an output folder that one thread digests at a time. Recorded digests depend on it.
const PART: usize = 1024;

/// A target to check. All targets that it needs are done.
pub(super) struct Ask<'a> {
    pub(super) world: World<'a>,
    pub(super) target: &'a Target,
    pub(super) state: &'a State,
    pub(super) results: BTreeMap<&'a str, Digest>,
    pub(super) facts: BTreeMap<&'a str, Facts>,
    /// In a dry run: a target it needs that would run first.
    pub(super) runs_first: Option<&'a str>,
    pub(super) tree: bool,
    pub(super) options: &'a Options,
    pub(super) messages: Channel,
}

pub(super) enum Verdict {
    UpToDate {
        result: Digest,
        /// Facts for reports, as JSON texts.
        facts: Vec<(String, String)>,
        /// `None` if the target was not checked.
        observed: Option<Observed>,
    },
    OutOfDate {
        /// `None` only if a dry run cannot compute it.
        fingerprint: Option<Fingerprint>,
        reasons: Vec<Reason>,
        /// The reads on which the fingerprint rests.
        observed: Observed,
        /// The record of a run that succeeded, if only its wait has to be repeated.
        resumed: Option<Record>,
    },
}

pub(super) fn judge(ask: &Ask) -> Result<Verdict> {
    let mut reasons = Vec::new();
    let World { files, project, .. } = ask.world;
    let record = ask.state.target(&ask.target.name.value);
    if ask.options.is_old(ask.target) {
        return ask.as_it_is(&View::unlogged(files, project), record);
    }
    if ask.options.always {
        reasons.push(Reason::Forced);
    }
    if ask.target.is_phony() {
        reasons.push(Reason::AlwaysRuns);
    }
    if let Some(need) = ask.runs_first {
        reasons.push(Reason::MayChange { target: need.to_owned() });
    }
    let view = View::new(files, project);
    let fingerprint = fingerprint(&ask.job(&view));
    ask.options.observer.notify(|| view.read());
    let fingerprint = match fingerprint {
        Ok(fingerprint) => fingerprint,
        // A file that cannot be read yet may be made by the target before it.
        Err(_) if ask.runs_first.is_some() => {
            let observed = view.finish();
            return Ok(Verdict::OutOfDate { fingerprint: None, reasons, observed, resumed: None });
        }
        Err(error) => return Err(error),
    };
    let mut observed = view.finish();
    let key = &fingerprint.key;
    let restarts = ask.restarts(key);
    let by_record = restarts.is_none();
    reasons.extend(restarts.into_iter().flatten());
    let mut resumed = None;
    match &record {
        None => {
            resumed = if reasons.is_empty() { ask.resumed(key)? } else { None };
            match resumed {
                Some(_) => reasons.push(Reason::WaitInterrupted),
                None => reasons.extend(ask.since_interrupted(key)?),
            }
        }
        Some(record) => {
            let changed = by_record.then(|| ask.key_differences(key, record));
            reasons.extend(changed.into_iter().flatten());
            // The state of a target that is going to run does not rest on its old outputs.
            let view = match reasons.is_empty() {
                true => View::new(files, project),
                false => View::unlogged(files, project),
            };
            reasons.extend(output_differences(&ask.job(&view), record)?);
            if reasons.is_empty() {
                observed.extend(view.finish());
            }
        }
    }
    if !ask.options.what_if.is_empty() {
        let as_if = key.files().filter(|path| names(&ask.options.what_if, path));
        let before = reasons.len();
        reasons.extend(as_if.map(|path| Reason::WhatIf { path: path.to_owned() }));
        resumed = resumed.filter(|_| reasons.len() == before);
    }
    match (record, reasons.is_empty()) {
        (Some(Record { result, facts, key: recorded, .. }), true) => {
            // With `-o` it may be up to date with another fingerprint.
            let observed = (recorded == *key).then_some(observed);
            Ok(Verdict::UpToDate { result, facts, observed })
        }
        _ => Ok(Verdict::OutOfDate { fingerprint: Some(fingerprint), reasons, observed, resumed }),
    }
}

impl Ask<'_> {
    /// See [`crate::target::Kind::restarts`].
    fn restarts(&self, key: &Key) -> Option<Vec<Reason>> {
        let view = View::unlogged(self.world.files, self.world.project);
        self.target.kind.restarts(&self.job(&view), key)
    }

    /// Returns the record of a run that succeeded, and whose wait was interrupted, if its fingerprint is
    /// `key` and its outputs are unchanged.
    fn resumed(&self, key: &Key) -> Result<Option<Record>> {
        let Some(record) = self.state.waiting(&self.target.name.value) else { return Ok(None) };
        let view = View::unlogged(self.world.files, self.world.project);
        let outputs = self.target.kind.expected_outputs(&self.job(&view));
        let is_same = self.target.until().is_some()
            && record.key == *key
            && differences_of(&self.job(&view), outputs, &record)?.is_empty();
        Ok(is_same.then_some(record))
    }

    /// Returns the reasons to run a target without a record: the differences from the run whose wait was
    /// interrupted, if there was one.
    fn since_interrupted(&self, key: &Key) -> Result<Vec<Reason>> {
        let mut reasons = Vec::new();
        if let Some(record) = self.state.waiting(&self.target.name.value) {
            let view = View::unlogged(self.world.files, self.world.project);
            let outputs = self.target.kind.expected_outputs(&self.job(&view));
            reasons = key.differences(&record.key);
            reasons.extend(differences_of(&self.job(&view), outputs, &record)?);
        }
        if reasons.is_empty() {
            reasons.push(Reason::NeverBuilt);
        }
        Ok(reasons)
    }

    /// `-o` of an output of this target: it is not checked, and stays as it is.
    fn as_it_is(&self, view: &View, record: Option<Record>) -> Result<Verdict> {
        if let Some(Record { result, facts, .. }) = record {
            return Ok(Verdict::UpToDate { result, facts, observed: None });
        }
        let mut hasher = FieldHasher::new();
        for output in self.target.outputs() {
            if let Some(digest) = output_digest(view, &output)? {
                hasher.field(output.path().as_str()).field(digest.as_bytes());
            }
        }
        Ok(Verdict::UpToDate { result: hasher.finish(), facts: Vec::new(), observed: None })
    }

    /// Returns the differences of the fingerprint, without those of the files that `-o` names.
    fn key_differences(&self, key: &Key, record: &Record) -> Vec<Reason> {
        let is_old = |reason: &Reason| {
            let file = reason.component().and_then(file_of_component);
            file.is_some_and(|file| names(&self.options.old_files, file))
        };
        key.differences(&record.key).into_iter().filter(|reason| !is_old(reason)).collect()
    }

    fn job<'v>(&'v self, view: &'v View<'v>) -> Job<'v> {
        Job {
            model: self.world.model,
            target: self.target,
            project: self.world.project,
            files: view,
            shared: self.world.shared,
            results: &self.results,
            facts: &self.facts,
            write_tree: self.tree,
            owned: &ownership::NOTHING,
            surroundings: &self.options.surroundings,
            pool: None,
            messages: &self.messages,
        }
    }
}

fn names(paths: &[RelPath], path: &str) -> bool {
    paths.iter().any(|named| named.as_str() == path)
}

/// Returns the fingerprint: the kind's own components, and the results of the targets named by `needs`.
pub(super) fn fingerprint(job: &Job) -> Result<Fingerprint> {
    let Fingerprint { key, findings } = job.target.kind.fingerprint(job)?;
    Ok(Fingerprint { key: with_needs(key, job), findings })
}

/// Adds the components that every kind has.
pub(super) fn with_needs(mut key: Key, job: &Job) -> Key {
    // In a dry run, a target that was never built has no result.
    let named = job.target.needs.iter().map(|need| need.value.as_str());
    key.text("kind", job.target.kind.name());
    for name in named {
        if let Some(result) = job.results.get(name) {
            key.push(format!("needs {name}"), Value::Digest(*result));
        }
    }
    for (at, require) in job.target.require().iter().enumerate() {
        key.text(format!("require {}", at + 1), &require.action);
    }
    if let Some(until) = job.target.until() {
        key.text("until", &until.action);
    }
    if job.model.typed.is_empty() { key } else { conceal(&key, &job.model.typed) }
}

/// Returns an equal key with a digest in place of each text that contains a value of the command line.
fn conceal(key: &Key, typed: &Typed) -> Key {
    let mut concealed = Key::new();
    for component in key.components() {
        let Component { name, value } = component;
        let text = if let Value::Text(text) = value { text } else { "" };
        // Names of files stay, and are no secrets.
        let (shown, searched) = match file_of_component(name) {
            Some(_) => (name.to_owned(), text.to_owned()),
            None => (typed.redact(name), format!("{name}\n{text}")),
        };
        let values: Vec<&str> = typed.found_in(&searched).collect();
        match values.is_empty() {
            true => concealed.push(name, value),
            false => concealed.conceal(component, &shown, &format!("{{{}}}", values.join("}, {"))),
        }
    }
    concealed
}

/// Returns every output that must be on disk: those of the kind, and the stamp.
pub(super) fn all_outputs(job: &Job) -> Vec<Output> {
    let mut outputs = job.target.kind.expected_outputs(job);
    let stamp = job.target.stamp.as_ref();
    outputs.extend(stamp.map(|stamp| Output::Stamp(stamp.value.clone())));
    outputs
}

fn output_differences(job: &Job, record: &Record) -> Result<Vec<Reason>> {
    differences_of(job, all_outputs(job), record)
}

fn differences_of(job: &Job, outputs: Vec<Output>, record: &Record) -> Result<Vec<Reason>> {
    let mut reasons = Vec::new();
    for output in outputs {
        let path = output.path().to_string();
        let recorded = record.outputs.iter().find(|recorded| recorded.path == *output.path());
        match (output_digest(job.files, &output)?, recorded) {
            (None, _) => reasons.push(Reason::OutputMissing { path }),
            (Some(now), Some(recorded))
                if now == recorded.digest && has_mode(job, &output, recorded.mode)? => {}
            (Some(_), _) => reasons.push(Reason::OutputChanged { path }),
        }
    }
    Ok(reasons)
}

/// Returns whether a file has the permission bits with which it was left.
fn has_mode(job: &Job, output: &Output, left: Option<u32>) -> Result<bool> {
    match (output, left) {
        (Output::File(path), Some(left)) if job.files.fact(path)?.link.is_none() => {
            Ok(job.files.mode(path)? == Some(left))
        }
        _ => Ok(true),
    }
}

/// Returns whether the target made a file with this content.
pub(super) type Made<'a> = dyn Fn(&RelPath, &Digest) -> bool + Sync + 'a;

/// An output as it is on disk.
pub(super) struct Found {
    fact: Fact,
    /// Permission bits of a file.
    mode: u32,
    /// Of an output folder, the files in it.
    members: Vec<(RelPath, Fact)>,
    /// Their names that are no [`RelPath`]s.
    unnamed: Vec<PathBuf>,
}

/// Returns the output as it is on disk; `None` if it is missing.
pub(super) fn find(files: &View, output: &Output) -> Result<Option<Found>> {
    let fact = files.fact(output.path())?;
    let is_there = fact.content != Content::Missing || fact.link.is_some();
    let mode = files.mode(output.path())?.unwrap_or(0);
    let mut found = Found { fact, mode, members: Vec::new(), unnamed: Vec::new() };
    if !matches!(output, Output::Folder(_)) {
        return Ok(is_there.then_some(found));
    }
    if found.fact.content != Content::Folder {
        return Ok(None);
    }
    let Selection { files: members, unnamed } = files.list(output.path())?;
    let facts = files.facts(&members)?;
    found.members = members.into_iter().zip(facts).collect();
    found.unnamed = unnamed;
    Ok(Some(found))
}

impl Found {
    pub(super) fn digest(&self, output: &Output) -> Digest {
        let mut hasher = FieldHasher::new();
        if !matches!(output, Output::Folder(_)) {
            add_fact(&mut hasher, &self.fact);
            return hasher.finish();
        }
        for name in &self.unnamed {
            hasher.field("unnamed").field(name.as_os_str().as_encoded_bytes());
        }
        let parts: Vec<Digest> = self.members.par_chunks(PART).map(digest_of_all).collect();
        for digest in parts {
            hasher.field(digest.as_bytes());
        }
        hasher.finish()
    }

    /// Returns the output for the record of a run.
    pub(super) fn record(&self, output: &Output, made: &Made) -> RecordedOutput {
        let (path, digest) = (output.path().clone(), self.digest(output));
        let is_made = match plain_file(&self.fact) {
            Some(content) => made(&path, content),
            None => made(&path, &digest) && !matches!(output, Output::Folder(_)),
        };
        RecordedOutput { path, digest, mode: is_made.then_some(self.mode) }
    }

    /// Returns the files that the target made, of an output and inside of it, with their digests.
    pub(super) fn made<'f>(
        &'f self,
        output: &'f Output,
        made: &'f Made,
    ) -> impl Iterator<Item = (&'f RelPath, &'f Digest)> {
        let itself = match output {
            Output::File(path) => Some((path, &self.fact)),
            Output::Folder(_) | Output::Stamp(_) => None,
        };
        let members = self.members.iter().map(|(path, fact)| (path, fact));
        let files = itself.into_iter().chain(members);
        let files = files.filter_map(|(path, fact)| Some((path, plain_file(fact)?)));
        files.filter(|(path, content)| made(path, content))
    }
}

/// Returns the digest of a file; `None` for a link and for everything else.
fn plain_file(fact: &Fact) -> Option<&Digest> {
    match fact {
        Fact { link: None, content: Content::File { digest, .. } } => Some(digest),
        _ => None,
    }
}

/// Returns the digest of an output as it is on disk; `None` if it is missing.
pub fn output_digest(files: &View, output: &Output) -> Result<Option<Digest>> {
    Ok(find(files, output)?.map(|found| found.digest(output)))
}

fn digest_of_all(members: &[(RelPath, Fact)]) -> Digest {
    let mut hasher = FieldHasher::new();
    for (member, fact) in members {
        hasher.field(member.as_str());
        add_fact(&mut hasher, fact);
    }
    hasher.finish()
}

/// Adds the entry at a path to the digest.
fn add_fact(hasher: &mut FieldHasher, fact: &Fact) {
    if let Some(link) = &fact.link {
        hasher.field("link").field(link);
    }
    match fact.content {
        Content::File { digest, executable, .. } => {
            hasher.field(if executable { "x" } else { "f" }).field(digest.as_bytes());
        }
        Content::Folder => {
            hasher.field("folder");
        }
        Content::Missing | Content::Other => {
            hasher.field("nothing");
        }
    }
}
