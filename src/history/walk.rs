//! One walk over the commits, from `HEAD` to the roots, for all files at once.
//!
//! Each commit gets the set of files whose history passes through it, from the commits that it is a
//! parent of, and passes it on to its own parents. A merge passes a file on to the first parent that
//! has it unchanged, as git simplifies the history of one file; so changes that a merge discarded do
//! not count. A renamed file is passed on under its old name.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};

use super::git::unquoted;
use super::graph::{Graph, Pair};

/// A file, and the commits that tell of it.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Relative to the repository.
    pub(super) path: String,
    pub(super) added: Option<u32>,
    pub(super) changed: Option<u32>,
    /// The commit that removed it; `None` if it is in `HEAD`.
    pub(super) removed: Option<u32>,
    standing: Standing,
}

/// Whether a removed file is one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Sure,
    /// A merge left it out, unless one of its parents has removed it before.
    LeftOut,
    /// It is the same file as another one.
    Same,
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
    /// The changes of the current commit to the first of its parents.
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
            changes: Vec::new(),
            all,
        };
        let mut set = Set::with_capacity(files.len());
        for path in files {
            let id = walk.path(&path);
            set.insert(id, vec![walk.files.len() as u32]);
            let path = unquoted(&path);
            walk.files.push(File {
                path,
                added: None,
                changed: None,
                removed: None,
                standing: Standing::Sure,
            });
        }
        walk.sets.insert(graph.head, set);
        walk
    }

    /// Returns the files, after the last comparison.
    pub(super) fn into_files(mut self) -> Vec<File> {
        self.files.retain(|file| file.standing != Standing::Same);
        self.files
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

    /// Takes in the comparison of a commit with one of its parents: lines of `git diff-tree
    /// --name-status`. After the last of its parents, the files are passed on to them.
    pub(super) fn compared(&mut self, (commit, parent): Pair, lines: &[String]) {
        let changes = lines.iter().filter_map(|line| self.change(line)).collect();
        self.changes.push((parent, changes));
        let parents = self.graph.parents(commit);
        if self.changes.len() < parents.len() {
            return;
        }
        let changes = std::mem::take(&mut self.changes);
        let set = self.sets.remove(&commit).unwrap_or_default();
        match (parents, changes.as_slice()) {
            ([], [(_, changes)]) => self.root(commit, &set, changes),
            ([parent], [(_, changes)]) => self.ordinary(commit, *parent, set, changes),
            _ => self.merge(commit, set, &changes),
        }
    }

    fn change(&mut self, line: &str) -> Option<(u32, Change)> {
        let mut fields = line.split('\t');
        let kind = fields.next()?.bytes().next()?;
        let path = fields.next()?;
        Some(match kind {
            b'A' => (self.path(path), Change::Added),
            b'M' | b'T' => (self.path(path), Change::Changed),
            b'D' => (self.path(path), Change::Removed),
            b'R' => (self.path(fields.next()?), Change::Renamed(self.path(path))),
            _ => return None,
        })
    }

    fn root(&mut self, commit: u32, set: &Set, changes: &Changes) {
        for path in changes.keys() {
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
                (None, Change::Removed) if self.all => {
                    vec![self.gone(*path, commit, Standing::Sure)]
                }
                (None, _) => continue,
            };
            moved.push((self.apply(&files, *path, commit, *change), files));
        }
        for (path, files) in moved {
            add(&mut self.files, &mut set, path, files);
        }
        self.pass_on(parent, set);
    }

    fn merge(&mut self, commit: u32, mut set: Set, changes: &[(Option<u32>, Changes)]) {
        let mut sets: Vec<Set> = changes.iter().map(|_| Set::new()).collect();
        if self.all {
            self.left_out(commit, &set, changes, &mut sets);
        }
        for path in changes[0].1.keys() {
            let Some(files) = set.remove(path) else { continue };
            let is_same = |(_, changes): &(_, Changes)| !changes.contains_key(path);
            if let Some(at) = changes.iter().position(is_same) {
                add(&mut self.files, &mut sets[at], *path, files);
                continue;
            }
            // The merge itself changed it, so all its parents count.
            let all: Vec<Change> = changes.iter().map(|(_, changes)| changes[path]).collect();
            let is_new = all.iter().all(|change| matches!(change, Change::Added));
            for (at, change) in all.into_iter().enumerate() {
                if is_new || !matches!(change, Change::Added) {
                    let path = self.apply(&files, *path, commit, change);
                    add(&mut self.files, &mut sets[at], path, files.clone());
                }
            }
        }
        // All others are the same in the first parent.
        for (path, files) in std::mem::replace(&mut sets[0], set) {
            add(&mut self.files, &mut sets[0], path, files);
        }
        for ((parent, _), set) in changes.iter().zip(sets) {
            if let Some(parent) = parent {
                self.pass_on(*parent, set);
            }
        }
    }

    /// Starts to follow the files that a merge does not have, in the parents that have them.
    fn left_out(
        &mut self,
        commit: u32,
        set: &Set,
        changes: &[(Option<u32>, Changes)],
        sets: &mut [Set],
    ) {
        let mut found: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, (_, changes)) in changes.iter().enumerate() {
            for (path, change) in changes {
                if matches!(change, Change::Removed) && !set.contains_key(path) {
                    found.entry(*path).or_default().push(at);
                }
            }
        }
        for (path, parents) in found {
            let is_own = parents.len() == changes.len();
            let standing = if is_own { Standing::Sure } else { Standing::LeftOut };
            let file = self.gone(path, commit, standing);
            for at in parents {
                add(&mut self.files, &mut sets[at], path, vec![file]);
            }
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
    fn gone(&mut self, path: u32, commit: u32, standing: Standing) -> u32 {
        let path = unquoted(&self.names[path as usize]);
        let (changed, removed) = (Some(commit), Some(commit));
        self.files.push(File { path, added: None, changed, removed, standing });
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
                    add(&mut self.files, &mut large, path, files);
                }
                slot.insert(large);
            }
        }
    }
}

/// Adds files to a set, each once. A removed file that was not added since is the same as another file
/// at its path: that one was kept, or removed later.
fn add(all: &mut [File], set: &mut Set, path: u32, files: Vec<u32>) {
    let mut slot = match set.entry(path) {
        Slot::Vacant(slot) => {
            slot.insert(files);
            return;
        }
        Slot::Occupied(slot) => slot,
    };
    for file in files {
        if !slot.get().contains(&file) {
            slot.get_mut().push(file);
        }
    }
    let best = slot.get().iter().copied().min_by_key(|file| (all[*file as usize].standing, *file));
    slot.get_mut().retain(|at| {
        let file = &mut all[*at as usize];
        let is_same = Some(*at) != best && file.removed.is_some() && file.added.is_none();
        if is_same {
            file.standing = Standing::Same;
        }
        !is_same
    });
}
