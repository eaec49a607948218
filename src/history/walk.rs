//! One walk over the log, from `HEAD` to the roots, for all files at once.
//!
//! Each commit gets the set of files whose history passes through it, from the commits that it is a
//! parent of, and passes it on to its own parents. A merge passes a file on to the first parent that
//! has it unchanged, as git simplifies the history of one file; so changes that a merge discarded do
//! not count. A renamed file is passed on under its old name.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use anyhow::Result;

use super::git::{Repository, unquoted};

/// The commits of `HEAD` and of all tags, by number.
pub(super) struct Graph {
    numbers: HashMap<Box<str>, u32>,
    parents: Vec<Vec<u32>>,
    pub(super) head: u32,
    /// Whether `HEAD` reaches a commit.
    of_head: Vec<bool>,
}

impl Graph {
    /// Reads the commits that `HEAD` and `starts` reach.
    pub(super) fn new<'a>(
        repository: &Repository,
        starts: impl Iterator<Item = &'a str>,
    ) -> Result<Self> {
        let head = repository.head()?;
        let mut graph =
            Self { numbers: HashMap::new(), parents: Vec::new(), head: 0, of_head: Vec::new() };
        repository.commits(starts.chain(["HEAD"]), &mut |line| {
            let mut words = line.split(' ');
            let Some(commit) = words.next() else { return };
            let commit = graph.number(commit);
            graph.parents[commit as usize] = words.map(|parent| graph.number(parent)).collect();
        })?;
        graph.head = graph.number(&head);
        let reached = graph.first_to_reach([head.as_str()]);
        graph.of_head = reached.iter().map(Option::is_some).collect();
        Ok(graph)
    }

    fn number(&mut self, commit: &str) -> u32 {
        if let Some(number) = self.numbers.get(commit) {
            return *number;
        }
        let number = u32::try_from(self.parents.len()).expect("BUG: git has fewer commits");
        self.numbers.insert(commit.into(), number);
        self.parents.push(Vec::new());
        number
    }

    pub(super) fn is_root(&self, commit: u32) -> bool {
        self.parents[commit as usize].is_empty()
    }

    pub(super) fn head_reaches(&self, commit: &str) -> bool {
        self.numbers.get(commit).is_some_and(|number| self.of_head[*number as usize])
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

/// A file, and the commits that tell of it.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Relative to the repository.
    pub(super) path: String,
    pub(super) added: Option<u32>,
    pub(super) changed: Option<u32>,
    /// The commit that removed it; `None` if it is in `HEAD`.
    pub(super) removed: Option<u32>,
}

/// The files whose history passes through a commit, by their path there.
type Set = HashMap<u32, Vec<u32>>;

/// A change of one path between a commit and a parent.
#[derive(Clone, Copy)]
enum Change {
    Added,
    Changed,
    Removed,
    /// From this path.
    Renamed(u32),
}

/// The changes of a commit to one parent, by path.
type Changes = HashMap<u32, Change>;

pub(super) struct Walk<'a> {
    graph: &'a Graph,
    paths: HashMap<Box<str>, u32>,
    /// The paths, quoted as git does, by number.
    names: Vec<Box<str>>,
    files: Vec<File>,
    /// The sets of commits that are still to come.
    sets: HashMap<u32, Set>,
    /// The commit whose lines are read, and its changes to each parent that it differs from.
    commit: Option<u32>,
    changes: Vec<(Option<u32>, Changes)>,
    /// Whether files that are gone are followed as well.
    all: bool,
}

impl<'a> Walk<'a> {
    /// Starts at `HEAD`, which has these files.
    pub(super) fn new(graph: &'a Graph, files: Vec<String>, all: bool) -> Self {
        let mut walk = Self {
            graph,
            paths: HashMap::with_capacity(files.len()),
            names: Vec::with_capacity(files.len()),
            files: Vec::with_capacity(files.len()),
            sets: HashMap::new(),
            commit: None,
            changes: Vec::new(),
            all,
        };
        let mut set = Set::with_capacity(files.len());
        for path in files {
            let id = walk.path(&path);
            set.insert(id, vec![walk.files.len() as u32]);
            let path = unquoted(&path);
            walk.files.push(File { path, added: None, changed: None, removed: None });
        }
        walk.sets.insert(graph.head, set);
        walk
    }

    /// Returns the files, after the last line.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    fn path(&mut self, path: &str) -> u32 {
        if let Some(id) = self.paths.get(path) {
            return *id;
        }
        let id = self.paths.len() as u32;
        self.paths.insert(path.into(), id);
        self.names.push(path.into());
        id
    }

    /// Takes in a line of the log.
    pub(super) fn line(&mut self, line: &str) {
        let mut fields = line.split('\t');
        let first = fields.next().unwrap_or_default();
        let change = match (first.bytes().next(), fields.next()) {
            (Some(b'A'), Some(path)) => (path, Change::Added),
            (Some(b'M' | b'T'), Some(path)) => (path, Change::Changed),
            (Some(b'D'), Some(path)) => (path, Change::Removed),
            (Some(b'R'), Some(old)) => match fields.next() {
                Some(new) => (new, Change::Renamed(self.path(old))),
                None => return,
            },
            _ => return self.start(line),
        };
        let path = self.path(change.0);
        if let Some((_, changes)) = self.changes.last_mut() {
            changes.insert(path, change.1);
        }
    }

    /// Takes in the line of a commit, or of a merge and one of its parents.
    fn start(&mut self, line: &str) {
        let mut words = line.split(' ');
        let number = words.next().and_then(|word| self.graph.numbers.get(word)).copied();
        let Some(number) = number else { return };
        if self.commit != Some(number) {
            self.end();
            self.commit = Some(number);
        }
        let parents = &self.graph.parents[number as usize];
        let parent = match parents.as_slice() {
            [] => None,
            [only] => Some(*only),
            // Without `(from PARENT)`, the merge differs from none of them.
            _ => {
                let word = words.nth(1).filter(|_| line.contains(" (from "));
                let word = word.and_then(|word| word.strip_suffix(')'));
                match word.and_then(|word| self.graph.numbers.get(word)) {
                    Some(parent) => Some(*parent),
                    None => return,
                }
            }
        };
        self.changes.push((parent, Changes::new()));
    }

    /// Passes the files of the last commit on to its parents.
    pub(super) fn end(&mut self) {
        let Some(commit) = self.commit.take() else { return };
        let changes = std::mem::take(&mut self.changes);
        let set = self.sets.remove(&commit).unwrap_or_default();
        match self.graph.parents[commit as usize].as_slice() {
            [] => self.root(commit, &set, changes.first().map(|(_, changes)| changes)),
            [parent] => {
                let changes = changes.into_iter().next().map(|(_, changes)| changes);
                self.ordinary(commit, *parent, set, &changes.unwrap_or_default());
            }
            parents => self.merge(commit, parents, set, &changes),
        }
    }

    fn root(&mut self, commit: u32, set: &Set, changes: Option<&Changes>) {
        for path in changes.into_iter().flat_map(Changes::keys) {
            if let Some(files) = set.get(path) {
                self.apply(files, *path, commit, Change::Added);
            }
        }
    }

    fn ordinary(&mut self, commit: u32, parent: u32, mut set: Set, changes: &Changes) {
        // First all are taken out: one may take the place of another.
        let mut moved = Vec::new();
        for (path, change) in changes {
            let files = match (set.remove(path), change) {
                (Some(files), _) => files,
                (None, Change::Removed) if self.all => vec![self.gone(*path, commit)],
                (None, _) => continue,
            };
            moved.push((self.apply(&files, *path, commit, *change), files));
        }
        for (path, files) in moved {
            add(&mut set, path, files);
        }
        self.pass_on(parent, set);
    }

    fn merge(
        &mut self,
        commit: u32,
        parents: &[u32],
        mut set: Set,
        changes: &[(Option<u32>, Changes)],
    ) {
        let changes_to = |parent: u32| {
            changes.iter().find(|(of, _)| *of == Some(parent)).map(|(_, changes)| changes)
        };
        let mut sets: Vec<Set> = parents.iter().map(|_| Set::new()).collect();
        let first = changes_to(parents[0]);
        for path in first.into_iter().flat_map(Changes::keys) {
            let Some(files) = set.remove(path) else { continue };
            let is_same = |parent: &u32| {
                !changes_to(*parent).is_some_and(|changes| changes.contains_key(path))
            };
            if let Some(at) = parents.iter().position(is_same) {
                add(&mut sets[at], *path, files);
                continue;
            }
            // The merge itself changed it, so all its parents count.
            let all: Vec<Change> = parents
                .iter()
                .filter_map(|parent| changes_to(*parent)?.get(path).copied())
                .collect();
            let is_new = all.iter().all(|change| matches!(change, Change::Added));
            for (at, change) in all.into_iter().enumerate() {
                if is_new || !matches!(change, Change::Added) {
                    let path = self.apply(&files, *path, commit, change);
                    add(&mut sets[at], path, files.clone());
                }
            }
        }
        for (path, files) in set {
            add(&mut sets[0], path, files);
        }
        for (parent, set) in parents.iter().zip(sets) {
            self.pass_on(*parent, set);
        }
    }

    /// Notes that `commit` changed the files at `path`. Returns their path in the parent.
    fn apply(&mut self, files: &[u32], path: u32, commit: u32, change: Change) -> u32 {
        for file in files {
            let file = &mut self.files[*file as usize];
            file.changed.get_or_insert(commit);
            if matches!(change, Change::Added) {
                // One that was removed and came back was added by the first of these commits.
                file.added = Some(commit);
            }
        }
        match change {
            Change::Renamed(old) => old,
            Change::Added | Change::Changed | Change::Removed => path,
        }
    }

    /// Starts to follow a file that `commit` removed.
    fn gone(&mut self, path: u32, commit: u32) -> u32 {
        let path = unquoted(&self.names[path as usize]);
        self.files.push(File { path, added: None, changed: Some(commit), removed: Some(commit) });
        (self.files.len() - 1) as u32
    }

    fn pass_on(&mut self, parent: u32, set: Set) {
        match self.sets.entry(parent) {
            Slot::Vacant(slot) => _ = slot.insert(set),
            Slot::Occupied(mut slot) => {
                let (mut large, mut small) = (std::mem::take(slot.get_mut()), set);
                if large.len() < small.len() {
                    std::mem::swap(&mut large, &mut small);
                }
                for (path, files) in small {
                    add(&mut large, path, files);
                }
                slot.insert(large);
            }
        }
    }
}

/// Adds files to a set, each once.
fn add(set: &mut Set, path: u32, files: Vec<u32>) {
    match set.entry(path) {
        Slot::Vacant(slot) => _ = slot.insert(files),
        Slot::Occupied(mut slot) => {
            for file in files {
                if !slot.get().contains(&file) {
                    slot.get_mut().push(file);
                }
            }
        }
    }
}
