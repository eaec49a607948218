//! The snapshot: everything that the targets of a project have observed, and which of them were up
//! to date with it. Every build starts by comparing it with the disk; if nothing differs for the
//! targets that it needs, it is done before it has read the Buildfile.
//!
//! A *memo* is a result with the observations that it rests on: one for each target, and one for the
//! graph, which rests on the Buildfile. The file is written over in place and has checksums: one that
//! is damaged, or of another version, counts as absent, and costs time only.

mod file;
mod update;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;

use rayon::prelude::*;

use crate::event::{Event, Finished, Outcome, Report, Summary};
use crate::files::{Looked, Memory, Observed, Scanned};
use crate::graph::TargetId;
use crate::observation::{Now, Stat};
use file::{Head, Reported, Section};
pub use update::{Basis, Fresh, update};
use zipwright_store::digest::FieldHasher;
use zipwright_store::platform;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath, parallel};

/// Flags of a target.
mod flag {
    /// Up to date with its observations.
    pub(super) const MARKED: u8 = 1;
    /// Its staging tree had to be there as a folder.
    pub(super) const TREE: u8 = 2;
    /// See [`crate::target::Trees`].
    pub(super) const MANIFESTS: u8 = 4;
    pub(super) const AS_GOALS: u8 = 8;
}

/// Returns whether a project has a snapshot, sound or not.
pub fn exists(project: &Project) -> bool {
    project.state().join(file::FILE_NAME).exists()
}

/// A snapshot, compared with the disk.
pub struct Snapshot {
    head: Head,
    head_digest: Digest,
    sections: Vec<Section>,
    /// For each section, its paths as they are now.
    now: Vec<Vec<Now>>,
    /// Whether each variable, program and external file is unchanged.
    variables: Vec<bool>,
    programs: Vec<bool>,
    external: Vec<bool>,
    /// Whether nothing that was compared has changed.
    all_same: bool,
    /// Whether the states of targets count: this program wrote them, and the state file is the same.
    is_current: bool,
}

/// The part of a snapshot that outlives the comparison.
pub struct Prior {
    head: Head,
    head_digest: Digest,
    /// Whether the graph is the same: the target ids are then, too.
    same_graph: bool,
    /// For each target, whether its observations are unchanged and it was up to date.
    clean: Vec<bool>,
    facts: HashMap<u32, usize>,
}

impl Snapshot {
    /// Reads the snapshot of a project, if there is a sound one.
    pub fn load(project: &Project) -> Option<Self> {
        let (head, head_digest, sections) = file::read(project)?;
        let is_current =
            own_stat() == Some(head.program) && state_stat(project) == Some(head.state);
        let vars = head.variables.iter();
        let is_same = |name: &str| project.var(name).map(|value| Digest::of(value.as_bytes()));
        let variables = vars.map(|(name, digest)| is_same(name) == *digest).collect();
        let programs = head.programs.iter();
        let programs = programs.map(|(word, place)| project.find_program(word) == *place).collect();
        let external = head.external.iter();
        let external = external.map(|(path, file)| stat_at(path) == Some(file.stat)).collect();
        let now = Vec::new();
        let all_same = false;
        Some(Self {
            head,
            head_digest,
            sections,
            now,
            variables,
            programs,
            external,
            all_same,
            is_current,
        })
    }

    /// Returns the goals of a build, or the default ones; `None` if one is not the name or an output of
    /// a target.
    pub fn goals(&self, goals: &[String]) -> Option<Vec<u32>> {
        if goals.is_empty() {
            return Some(self.head.default.clone()).filter(|goals| !goals.is_empty());
        }
        goals.iter().map(|goal| self.head.find(goal)).collect()
    }

    /// Returns for each target whether the goals need it or come after it.
    fn closure(&self, goals: &[u32]) -> Vec<bool> {
        let mut found = vec![false; self.head.names.len()];
        let mut waiting = goals.to_vec();
        while let Some(target) = waiting.pop() {
            if !std::mem::replace(&mut found[target as usize], true) {
                waiting.extend_from_slice(self.head.needs.of(target));
                waiting.extend_from_slice(self.head.after.of(target));
            }
        }
        found
    }

    /// Compares the paths that the goals' targets have observed with the disk; all paths if there are no
    /// goals. Returns `false` if the snapshot is damaged.
    pub fn scan(&mut self, project: &Project, goals: Option<&[u32]>) -> bool {
        let Ok(root) = File::open(&project.root) else { return false };
        let wanted = goals.and_then(|goals| self.observed_by(&self.closure(goals)));
        let compare = |(number, section): (usize, &Section)| {
            let is_wanted = |at: usize| {
                wanted.as_ref().is_none_or(|wanted| wanted[number * file::SECTION + at])
            };
            section.compare(&root, is_wanted)
        };
        let now: Option<Vec<Vec<Now>>> = if self.sections.len() <= 1 {
            self.sections.iter().enumerate().map(compare).collect()
        } else {
            parallel::start();
            self.sections.par_iter().enumerate().map(compare).collect()
        };
        let Some(now) = now else { return false };
        self.now = now;
        let is_same = |now: &Now| matches!(now, Now::Same | Now::Unchecked);
        self.all_same = self.now.iter().flatten().all(is_same)
            && [&self.variables, &self.programs, &self.external]
                .iter()
                .all(|table| table.iter().all(|same| *same));
        true
    }

    /// Returns which paths these targets, and the graph, have observed; `None` for all.
    fn observed_by(&self, targets: &[bool]) -> Option<Vec<bool>> {
        if targets.iter().all(|wanted| *wanted) {
            return None;
        }
        let mut wanted = vec![false; self.sections.len() * file::SECTION];
        let graph = self.head.names.len();
        let memos = (0..graph).filter(|memo| targets[*memo]).chain([graph]);
        for memo in memos {
            for path in self.head.paths.of(memo as u32) {
                wanted[*path as usize] = true;
            }
        }
        Some(wanted)
    }

    /// Returns everything that the graph and the wanted targets have observed, variables excepted.
    pub fn observed(&self, is_wanted: impl Fn(&str) -> bool) -> Observed {
        let head = &self.head;
        let graph = head.names.len();
        let targets: Vec<bool> = (0..graph).map(|at| is_wanted(head.names.get(at))).collect();
        let wanted = self.observed_by(&targets);
        let mut observed = Observed::default();
        for (number, section) in self.sections.iter().enumerate() {
            // A damaged section counts as absent.
            let _ = section.each(|at, path, observation| {
                let at = number * file::SECTION + at;
                if wanted.as_ref().is_none_or(|wanted| wanted[at])
                    && let Ok(path) = RelPath::parse(path)
                {
                    let observation = Some(observation);
                    observed.push(Looked { path, observation, settled: true });
                }
            });
        }
        for memo in (0..graph).filter(|memo| targets[*memo]).chain([graph]) {
            let programs = head.programs_of.of(memo as u32).iter();
            observed.programs.extend(programs.map(|id| head.programs[*id as usize].clone()));
            let external = head.external_of.of(memo as u32).iter();
            observed.external.extend(external.map(|id| head.external[*id as usize].clone()));
        }
        observed
    }

    /// Returns whether the observations of a memo are unchanged.
    fn is_same(&self, memo: u32) -> bool {
        let path_is_same = |id: &u32| {
            let id = *id as usize;
            let now = self.now.get(id / file::SECTION).and_then(|now| now.get(id % file::SECTION));
            now == Some(&Now::Same)
        };
        let head = &self.head;
        self.all_same
            || head.paths.of(memo).iter().all(path_is_same)
                && head.variables_of.of(memo).iter().all(|id| self.variables[*id as usize])
                && head.programs_of.of(memo).iter().all(|id| self.programs[*id as usize])
                && head.external_of.of(memo).iter().all(|id| self.external[*id as usize])
    }

    /// Returns whether the Buildfile `file`, with these variables, still gives the same graph.
    fn has_same_graph(&self, file: &str, overrides: &Overrides) -> bool {
        let graph = self.head.names.len() as u32;
        self.head.graph_is_sound
            && self.head.buildfile == file
            && self.head.overrides == overrides.digest(&self.head.declared)
            && self.is_same(graph)
    }

    /// Returns which targets are up to date as far as their own observations go.
    fn clean(&self, goals: &[u32], closure: &[bool]) -> Vec<bool> {
        let trees = self.trees(goals, closure);
        let is_clean = |target: usize| {
            let flags = self.head.flags[target];
            closure[target]
                && flags & flag::MARKED != 0
                && (!trees[target] || flags & flag::TREE != 0)
                && self.is_same(target as u32)
        };
        (0..closure.len()).map(is_clean).collect()
    }

    /// Returns the staging targets whose tree must be there as a folder; as the engine does.
    fn trees(&self, goals: &[u32], closure: &[bool]) -> Vec<bool> {
        let mut trees = vec![false; closure.len()];
        let mut waiting = goals.to_vec();
        while let Some(target) = waiting.pop() {
            if self.head.flags[target as usize] & flag::AS_GOALS != 0 {
                waiting.extend_from_slice(self.head.needs.of(target));
            }
            trees[target as usize] = true;
        }
        for target in (0..closure.len()).filter(|target| closure[*target]) {
            if self.head.flags[target] & (flag::MANIFESTS | flag::AS_GOALS) == 0 {
                for need in self.head.needs.of(target as u32) {
                    trees[*need as usize] = true;
                }
            }
        }
        trees
    }

    /// Returns how many targets the goals need if all of them are up to date.
    pub fn nothing_to_do(
        &self,
        file: &str,
        overrides: &Overrides,
        goals: &[u32],
    ) -> Option<UpToDate<'_>> {
        if !self.is_current || !self.has_same_graph(file, overrides) {
            return None;
        }
        let closure = self.closure(goals);
        let clean = self.clean(goals, &closure);
        let targets = closure.iter().filter(|wanted| **wanted).count();
        let all = clean.iter().filter(|clean| **clean).count() == targets;
        all.then_some(UpToDate { head: &self.head, closure, targets })
    }

    /// Ends the comparison: returns the observations for [`crate::files::Files`], and the states of
    /// targets. `goals` are `None` for a build that has to check every target.
    pub fn into_parts(
        self,
        file: &str,
        overrides: &Overrides,
        goals: Option<&[u32]>,
    ) -> (Memory, Prior) {
        let same_graph = !self.now.is_empty() && self.has_same_graph(file, overrides);
        let clean = match goals.filter(|_| same_graph && self.is_current) {
            Some(goals) => self.clean(goals, &self.closure(goals)),
            None => Vec::new(),
        };
        let Self { head, head_digest, sections, now, .. } = self;
        let piece = |(number, section): (usize, &Section)| section.decode(now.get(number));
        let paths: Option<Vec<Vec<Scanned>>> = sections.par_iter().enumerate().map(piece).collect();
        let memory = Memory { paths: paths.unwrap_or_default(), external: head.external.clone() };
        let facts = head.facts.iter().enumerate();
        let facts = facts.map(|(at, reported)| (reported.target, at)).collect();
        (memory, Prior { head, head_digest, same_graph, clean, facts })
    }
}

impl Prior {
    /// Returns the result of a target that is up to date as far as its own observations go.
    pub fn clean(&self, target: TargetId) -> Option<Digest> {
        let is_clean = self.clean.get(target.index()).copied().unwrap_or(false);
        is_clean.then(|| self.head.results[target.index()])
    }

    /// Returns the result of a target when the snapshot was taken.
    pub fn result(&self, target: TargetId) -> Option<Digest> {
        self.head.results.get(target.index()).copied()
    }

    /// Returns the facts of a target, as JSON texts.
    pub fn facts_of(&self, target: TargetId) -> Vec<(String, String)> {
        self.facts(target.index() as u32)
    }

    fn facts(&self, target: u32) -> Vec<(String, String)> {
        let at = self.facts.get(&target);
        at.map(|at| self.head.facts[*at].facts.clone()).unwrap_or_default()
    }
}

/// All targets of a build, if there is nothing to do.
pub struct UpToDate<'a> {
    head: &'a Head,
    closure: Vec<bool>,
    targets: usize,
}

impl UpToDate<'_> {
    /// Reports the build. Of the targets, only those with facts are reported: the summary has the zips'.
    /// `kind_named` returns the name of a kind that exists.
    pub fn report(
        &self,
        seconds: f64,
        kind_named: impl Fn(&str) -> Option<&'static str>,
        report: &mut dyn Report,
    ) -> Summary {
        report.event(&Event::Planned { targets: self.targets });
        let reported = self.head.facts.iter();
        for Reported { target, kind, facts } in
            reported.filter(|reported| self.closure[reported.target as usize])
        {
            let Some(kind) = kind_named(kind) else { continue };
            let facts = facts
                .iter()
                .filter_map(|(name, json)| Some((name.clone(), serde_json::from_str(json).ok()?)));
            report.event(&Event::Finished(Finished {
                target: self.head.names.get(*target as usize).to_owned(),
                kind,
                outcome: Outcome::UpToDate,
                reasons: Vec::new(),
                seconds: 0.0,
                outputs: self.head.outputs_of(*target),
                facts: facts.collect(),
                error: None,
            }));
        }
        let summary = Summary { up_to_date: self.targets, seconds, ..Summary::default() };
        report.event(&Event::Summary(summary));
        summary
    }
}

/// Variables that are given from outside of the Buildfile.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Of the command line: each must be declared.
    pub given: BTreeMap<String, String>,
    /// Of the environment, or of the make above: they count only if they are declared.
    pub inherited: BTreeMap<String, String>,
}

impl Overrides {
    /// Returns the variables that count in a Buildfile that declares these.
    pub fn effective<'a>(
        &self,
        mut declares: impl FnMut(&str) -> bool + 'a,
    ) -> BTreeMap<String, String> {
        let mut all = self.given.clone();
        for (name, value) in &self.inherited {
            if declares(name) {
                all.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        all
    }

    fn digest(&self, declared: &[String]) -> Digest {
        let mut hasher = FieldHasher::new();
        let effective = self.effective(|name| declared.iter().any(|declared| declared == name));
        for (name, value) in effective {
            hasher.field(name).field(value);
        }
        hasher.finish()
    }
}

/// Returns the stat data of this program: another build of the same version may decide otherwise.
fn own_stat() -> Option<Stat> {
    stat_at(&platform::program()?)
}

fn state_stat(project: &Project) -> Option<Stat> {
    stat_at(&project.state().join(crate::state::FILE_NAME))
}

fn stat_at(path: &Path) -> Option<Stat> {
    fs::metadata(path).ok().map(|meta| Stat::from(&meta))
}
