//! The commits of a repository and their parents, by number.

use std::collections::HashMap;

use anyhow::Result;

use super::git::Repository;

/// The commits that `HEAD` reaches, each after all commits that it is a parent of; then those that only
/// tags reach.
#[derive(Default)]
pub(super) struct Graph {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    parents: Vec<Vec<u32>>,
    /// The commits of `HEAD` in the order of the walk.
    order: Vec<u32>,
    pub(super) head: u32,
    /// Commits with a lower number are reached by `HEAD`.
    others: u32,
}

/// A commit, and one of its parents; `None` if it has no parent.
pub(super) type Pair = (u32, Option<u32>);

impl Graph {
    /// Reads the commits that `HEAD` reaches.
    pub(super) fn new(repository: &Repository) -> Result<Self> {
        let mut graph = Self::default();
        repository.commits(&mut |line| {
            let commit = graph.add(line);
            graph.order.extend(commit);
        })?;
        graph.head = graph.number(&repository.head);
        graph.others = graph.names.len() as u32;
        Ok(graph)
    }

    /// Takes in a line of `git rev-list --parents`. Returns its commit.
    pub(super) fn add(&mut self, line: &str) -> Option<u32> {
        let mut words = line.split(' ');
        let commit = self.number(words.next()?);
        self.parents[commit as usize] = words.map(|parent| self.number(parent)).collect();
        Some(commit)
    }

    fn number(&mut self, commit: &str) -> u32 {
        if let Some(number) = self.numbers.get(commit) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("BUG: git has fewer commits");
        self.numbers.insert(commit.into(), number);
        self.names.push(commit.into());
        self.parents.push(Vec::new());
        number
    }

    pub(super) fn has(&self, commit: &str) -> bool {
        self.numbers.contains_key(commit)
    }

    pub(super) fn name(&self, commit: u32) -> &str {
        &self.names[commit as usize]
    }

    pub(super) fn parents(&self, commit: u32) -> &[u32] {
        &self.parents[commit as usize]
    }

    pub(super) fn head_reaches(&self, commit: &str) -> bool {
        self.numbers.get(commit).is_some_and(|number| *number < self.others)
    }

    /// Returns the commits of `HEAD` in the order of the walk, once for each parent.
    pub(super) fn pairs(&self) -> Vec<Pair> {
        let pairs = self.order.iter().flat_map(|commit| {
            let parents = self.parents(*commit);
            let root = parents.is_empty().then_some((*commit, None));
            parents.iter().map(|parent| (*commit, Some(*parent))).chain(root)
        });
        pairs.collect()
    }

    /// Returns for each commit the position of the first of `tips` that reaches it.
    pub(super) fn first_to_reach<'a>(
        &self,
        tips: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Option<u32>> {
        let mut first = vec![None; self.parents.len()];
        for (at, tip) in tips.into_iter().enumerate() {
            let mut waiting: Vec<u32> = self.numbers.get(tip).copied().into_iter().collect();
            while let Some(commit) = waiting.pop() {
                let slot = &mut first[commit as usize];
                if slot.is_none() {
                    *slot = Some(at as u32);
                    waiting.extend(&self.parents[commit as usize]);
                }
            }
        }
        first
    }
}
