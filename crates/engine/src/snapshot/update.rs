//! The next snapshot: the memos of the targets that a build has checked or run, and those of all
//! others as far as they still count.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::path::PathBuf;

use anyhow::Result;
use rayon::prelude::*;

use super::file::{self, Head, Reported, SECTION, Section};
use super::{Overrides, Prior, flag, own_stat, state_stat};
use crate::files::{Files, Looked, Observed};
use crate::graph::{Graph, TargetId};
use crate::observation::{FileState, Observation};
use crate::target::{Model, Trees};
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// The source of a graph.
pub struct Basis<'a> {
    /// The Buildfile as it was named.
    pub file: &'a str,
    pub overrides: &'a Overrides,
    pub model: &'a Model,
    pub graph: &'a Graph,
    /// The observations of the Buildfile; `None` if it has changed since it was read.
    pub observed: Option<Observed>,
}

/// The state of a target that was checked or run.
pub struct Fresh {
    /// Its result if it is up to date now.
    pub result: Option<Digest>,
    /// Whether its staging tree had to be there as a folder.
    pub tree: bool,
    /// Facts for reports, as JSON texts.
    pub facts: Vec<(String, String)>,
    pub observed: Observed,
}

/// Writes the snapshot of a project unless nothing in it changes. Call it under the project's lock,
/// after the last write to the state file.
pub fn update(
    project: &Project,
    basis: Basis,
    prior: Option<&Prior>,
    files: &Files,
    mut fresh: HashMap<TargetId, Fresh>,
) -> Result<()> {
    let (Some(program), Some(state)) = (own_stat(), state_stat(project)) else { return Ok(()) };
    let (model, graph) = (basis.model, basis.graph);
    let mut memos = Memos::new(basis, prior, files, &mut fresh);
    let (paths, sections) = memos.merge_paths();
    let mut head = memos.head(&fresh, paths);
    (head.program, head.state) = (program, state);
    model.targets.iter().for_each(|target| head.names.push(&target.name.value));
    head.declared = model.vars.keys().cloned().collect();
    add_graph(&mut head, model, graph);
    file::write(project, head, &sections, prior.map(|prior| prior.head_digest))
}

fn add_graph(head: &mut Head, model: &Model, graph: &Graph) {
    let ids = |targets: &[TargetId]| targets.iter().map(number).collect::<Vec<u32>>();
    let default = model.default.iter().filter_map(|name| graph.id(&name.value));
    head.default = default.map(|id| number(&id)).collect();
    for id in graph.ids() {
        head.needs.push(ids(graph.needs(id)));
        head.after.push(ids(graph.after(id)));
        for output in model.targets[id.index()].outputs() {
            head.outputs.push(output.path().as_str());
            head.owners.push(number(&id));
        }
    }
}

fn number(id: &TargetId) -> u32 {
    id.index() as u32
}

/// The memos on their way into the next snapshot: one for each target, and the graph's.
struct Memos<'a> {
    basis: Basis<'a>,
    prior: Option<&'a Prior>,
    files: &'a Files,
    /// For each memo without a fresh one, the number of its old one.
    old: Vec<Option<u32>>,
    /// Whether the memo's result still is up to date with its observations.
    marked: Vec<bool>,
    /// Observations of fresh memos.
    rows: Vec<Vec<Row>>,
    tables: Tables,
}

/// An observed path of a memo.
struct Row {
    path: RelPath,
    observation: Observation,
    memo: u32,
}

/// The observations that are not of the project's paths, each with its number.
#[derive(Default)]
struct Tables {
    variables: BTreeMap<(String, Option<Digest>), u32>,
    programs: BTreeMap<(String, Option<PathBuf>), u32>,
    external: BTreeMap<PathBuf, (FileState, u32)>,
    /// For each memo, the numbers in each of them.
    of: Vec<[Vec<u32>; 3]>,
}

impl<'a> Memos<'a> {
    fn new(
        mut basis: Basis<'a>,
        prior: Option<&'a Prior>,
        files: &'a Files,
        fresh: &mut HashMap<TargetId, Fresh>,
    ) -> Self {
        let count = basis.graph.len() + 1;
        let observed = basis.observed.take();
        let mut memos = Self {
            old: old_memos(&basis, prior, fresh),
            basis,
            prior,
            files,
            marked: vec![false; count],
            rows: Vec::new(),
            tables: Tables { of: vec![Default::default(); count], ..Tables::default() },
        };
        for (id, fresh) in fresh.iter_mut() {
            let is_sound = memos.add(number(id), std::mem::take(&mut fresh.observed));
            memos.marked[id.index()] = is_sound && fresh.result.is_some();
        }
        let graph = count as u32 - 1;
        memos.marked[graph as usize] = observed.is_some_and(|observed| memos.add(graph, observed));
        for memo in 0..count as u32 {
            memos.take_over(memo);
        }
        memos
    }

    /// Adds the observations of a fresh memo. Returns whether a change of any of them would show.
    fn add(&mut self, memo: u32, mut observed: Observed) -> bool {
        let (mut is_sound, files) = (!observed.partial, self.files);
        let mut row = |Looked { path, observation, settled }: Looked| {
            let observation = match observation {
                Some(observation) if settled => Some(observation),
                Some(observation) => files.settled_observation(&path, &observation),
                None => files.settled_listing(&path),
            };
            is_sound &= observation.is_some();
            Some(Row { path, observation: observation?, memo })
        };
        for list in observed.take_lists() {
            // Collected in the memory of the list, which may be long.
            self.rows.push(list.into_iter().filter_map(&mut row).collect());
        }
        for (path, state) in observed.external {
            is_sound &=
                self.files.is_settled(&state.stat) && self.tables.add_external(memo, path, state);
        }
        self.tables.add(memo, observed.variables, observed.programs);
        is_sound
    }

    /// Takes over the observations of an old memo that are not of paths, and its mark.
    fn take_over(&mut self, memo: u32) {
        let (Some(old), Some(prior)) = (self.old[memo as usize], self.prior) else { return };
        let head = &prior.head;
        let variables = head.variables_of.of(old).iter();
        let variables = variables.map(|id| head.variables[*id as usize].clone()).collect();
        let programs = head.programs_of.of(old).iter();
        let programs = programs.map(|id| head.programs[*id as usize].clone()).collect();
        self.tables.add(memo, variables, programs);
        let mut is_same = true;
        for id in head.external_of.of(old) {
            let (path, state) = head.external[*id as usize].clone();
            is_same &= self.tables.add_external(memo, path, state);
        }
        let had_mark = head.flags.get(old as usize).is_some_and(|flags| flags & flag::MARKED != 0);
        self.marked[memo as usize] = had_mark && is_same && prior.same_graph;
    }

    /// Merges the observed paths of all memos. Returns the numbers of each memo's paths, and the
    /// encoded observations. Of two observations of one path the fresh one counts; a memo that rests on
    /// another one loses its mark.
    fn merge_paths(&mut self) -> (Vec<Vec<u32>>, Vec<Section>) {
        let lists = mem::take(&mut self.rows);
        let mut rows: Vec<&Row> = lists.iter().flatten().collect();
        rows.par_sort_by(|a, b| {
            place(&a.path, &a.observation).cmp(&place(&b.path, &b.observation))
        });
        let used = self.used();
        let mut paths: Vec<Vec<u32>> = vec![Vec::new(); self.old.len()];
        let mut renumbered = vec![u32::MAX; used.len()];
        let mut changed = vec![false; used.len()];
        let mut all: Vec<(&RelPath, &Observation)> = Vec::new();
        let mut old = self.files.scanned().iter().enumerate().flat_map(|(piece, entries)| {
            let first = piece * SECTION;
            entries.iter().enumerate().map(move |(at, entry)| (first + at, entry))
        });
        let mut old = std::iter::from_fn(|| old.find(|(id, _)| used[*id])).peekable();
        let mut groups =
            rows.chunk_by(|a, b| place(&a.path, &a.observation) == place(&b.path, &b.observation));
        let mut group = groups.next();
        loop {
            let old_place = old.peek().map(|(_, entry)| place(&entry.path, &entry.observation));
            let group_place = group.map(|rows| place(&rows[0].path, &rows[0].observation));
            let (take_old, take_group) = match (old_place, group_place) {
                (None, None) => break,
                (Some(old), Some(group)) => (old <= group, group <= old),
                (old, group) => (old.is_some(), group.is_some()),
            };
            let number = all.len() as u32;
            let entry = if take_old { old.next() } else { None };
            match (entry, group.filter(|_| take_group)) {
                (entry, Some(rows)) => {
                    let last = rows.last().expect("BUG: a group has a row");
                    all.push((&last.path, &last.observation));
                    for row in rows {
                        self.marked[row.memo as usize] &= row.observation == last.observation;
                        if paths[row.memo as usize].last() != Some(&number) {
                            paths[row.memo as usize].push(number);
                        }
                    }
                    if let Some((id, entry)) = entry {
                        renumbered[id] = number;
                        changed[id] = entry.observation != last.observation;
                    }
                    group = groups.next();
                }
                (Some((id, entry)), None) => {
                    renumbered[id] = number;
                    all.push((&entry.path, &entry.observation));
                }
                (None, None) => unreachable!("BUG: one of the two was taken"),
            }
        }
        for (memo, old) in self.old.iter().enumerate() {
            let (Some(old), Some(prior)) = (old, self.prior) else { continue };
            let ids = prior.head.paths.of(*old);
            self.marked[memo] &= ids.iter().all(|id| !changed[*id as usize]);
            paths[memo].extend(ids.iter().map(|id| renumbered[*id as usize]));
        }
        let sections = all.par_chunks(SECTION).map(Section::encode).collect();
        // To free many takes time; the next step is a write.
        drop(rows);
        rayon::spawn(|| drop(lists));
        (paths, sections)
    }

    /// Returns which old paths are those of memos that are taken over.
    fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.files.scanned().len() * SECTION];
        let Some(prior) = self.prior else { return used };
        for old in self.old.iter().flatten() {
            for id in prior.head.paths.of(*old) {
                used[*id as usize] = true;
            }
        }
        used
    }

    /// Returns a head with everything but the graph.
    fn head(mut self, fresh: &HashMap<TargetId, Fresh>, paths: Vec<Vec<u32>>) -> Head {
        let prior = self.prior.map(|prior| &prior.head);
        let mut head = Head {
            buildfile: self.basis.file.to_owned(),
            overrides: self
                .basis
                .overrides
                .digest(&self.basis.model.vars.keys().cloned().collect::<Vec<_>>()),
            graph_is_sound: self.marked.pop().expect("BUG: the graph has a memo"),
            ..Head::default()
        };
        for id in self.basis.graph.ids() {
            let old = self.old[id.index()];
            let result = match (fresh.get(&id), prior, old) {
                (Some(fresh), _, _) => fresh.result,
                (None, Some(prior), Some(old)) => Some(prior.results[old as usize]),
                _ => None,
            };
            head.results.push(result.unwrap_or_default());
        }
        for id in self.basis.graph.ids() {
            let target = id.index();
            let old = self.old[target];
            // The mark of a target that was left alone is about the results of its needs as well.
            let needs = self.basis.graph.needs(id).iter();
            let is_same = |need: &TargetId| {
                let before = prior.and_then(|prior| prior.results.get(need.index()));
                before == Some(&head.results[need.index()])
            };
            self.marked[target] &= old.is_none() || needs.clone().all(is_same);
            let had = prior.zip(old).map_or(0, |(prior, old)| prior.flags[old as usize]);
            let tree = match fresh.get(&id) {
                Some(fresh) => fresh.tree,
                None => had & flag::TREE != 0,
            };
            let mut flags = if self.marked[target] { flag::MARKED } else { 0 };
            flags |= if tree { flag::TREE } else { 0 };
            flags |= match self.basis.model.targets[target].kind.trees() {
                Trees::Folders => 0,
                Trees::Manifests => flag::MANIFESTS,
                Trees::AsGoals => flag::AS_GOALS,
            };
            head.flags.push(flags);
            let facts = match (fresh.get(&id), self.prior, old) {
                (Some(fresh), _, _) => fresh.facts.clone(),
                (None, Some(prior), Some(old)) => prior.facts(old),
                _ => Vec::new(),
            };
            if !facts.is_empty() {
                let kind = self.basis.model.targets[target].kind.name().to_owned();
                head.facts.push(Reported { target: number(&id), kind, facts });
            }
        }
        paths.into_iter().for_each(|paths| head.paths.push(paths));
        self.tables.leave(&mut head);
        head
    }
}

impl Tables {
    fn add(
        &mut self,
        memo: u32,
        variables: Vec<(String, Option<Digest>)>,
        programs: Vec<(String, Option<PathBuf>)>,
    ) {
        for variable in variables {
            let next = self.variables.len() as u32;
            let id = *self.variables.entry(variable).or_insert(next);
            self.of[memo as usize][0].push(id);
        }
        for program in programs {
            let next = self.programs.len() as u32;
            let id = *self.programs.entry(program).or_insert(next);
            self.of[memo as usize][1].push(id);
        }
    }

    /// Returns `false` if the file was observed otherwise.
    fn add_external(&mut self, memo: u32, path: PathBuf, state: FileState) -> bool {
        let next = self.external.len() as u32;
        let (first, id) = self.external.entry(path).or_insert((state, next));
        self.of[memo as usize][2].push(*id);
        *first == state
    }

    fn leave(self, head: &mut Head) {
        for mut lists in self.of {
            lists.iter_mut().for_each(|list| {
                list.sort_unstable();
                list.dedup();
            });
            let [variables, programs, external] = lists;
            head.variables_of.push(variables);
            head.programs_of.push(programs);
            head.external_of.push(external);
        }
        head.variables = by_number(self.variables);
        head.programs = by_number(self.programs);
        let external = self.external.into_iter().map(|(path, (state, id))| ((path, state), id));
        head.external = by_number(external);
    }
}

fn by_number<T>(entries: impl IntoIterator<Item = (T, u32)>) -> Vec<T> {
    let mut entries: Vec<(T, u32)> = entries.into_iter().collect();
    entries.sort_unstable_by_key(|(_, id)| *id);
    entries.into_iter().map(|(entry, _)| entry).collect()
}

/// Order of the observed paths. A folder that was listed comes once as a path, and once as a listing.
fn place<'p>(path: &'p RelPath, observation: &Observation) -> (&'p RelPath, bool) {
    (path, matches!(observation, Observation::Listed(..)))
}

/// Returns for each memo that is not fresh the number of the old one with its name.
fn old_memos(
    basis: &Basis,
    prior: Option<&Prior>,
    fresh: &HashMap<TargetId, Fresh>,
) -> Vec<Option<u32>> {
    let count = basis.graph.len();
    let mut old = vec![None; count + 1];
    let Some(prior) = prior else { return old };
    if prior.same_graph {
        old = (0..=count as u32).map(Some).collect();
    } else {
        for at in 0..prior.head.names.len() {
            if let Some(id) = basis.graph.id(prior.head.names.get(at)) {
                old[id.index()] = Some(at as u32);
            }
        }
    }
    fresh.keys().for_each(|id| old[id.index()] = None);
    // The Buildfile was read in this build.
    old[count] = None;
    old
}
