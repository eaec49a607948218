//! In which release each file was added and last changed: one pass over the history of a git
//! repository, by the tags that reach its commits.
//!
//! Git is run as a program: it lists the tags, the commits with their parents, and the changes of
//! each commit. Knows nothing of Buildfiles, targets and output.

mod changes;
mod git;
mod graph;
mod locked;
mod order;
mod walk;

use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result, bail};

use crate::project::Project;
pub use git::Repository;
use graph::Graph;
pub use locked::{Locks, Pin};
use walk::Walk;

/// What to read, and of which files.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Selects tags, as `git tag -l` does; without it, all tags that are versions.
    pub tags: Option<String>,
    /// Also list files that are gone.
    pub all: bool,
    /// A renamed file counts as a new one.
    pub no_renames: bool,
    /// List only files that changed after this tag or commit.
    pub since: Option<String>,
}

/// A file and its releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the project.
    pub path: String,
    /// The first tag with the file; `None` if no tag has it.
    pub added: Option<String>,
    /// The first tag with its last change; `None` if no tag has it.
    pub changed: Option<String>,
    /// For a file that is gone: the first tag without it. The inner `None` if every tag has it.
    pub removed: Option<Option<String>>,
    /// Whether it may have been added earlier, because the clone is shallow.
    pub is_cut: bool,
}

/// The history of a repository up to `HEAD`.
pub struct History {
    /// Sorted by path.
    pub entries: Vec<Entry>,
    /// All paths, also those of files that did not change after `since`.
    known: Vec<String>,
    /// Tags in their order, the oldest first, without those that the history does not reach.
    pub tags: Vec<String>,
    /// Facts that the user should know about the answers.
    pub notes: Vec<String>,
}

const SHALLOW_NOTE: &str = "this is a shallow clone: a file that is as old as its oldest commits may \
                            have been added earlier; `git fetch --unshallow` fetches the rest";

/// Most tags that a note lists.
const SHOWN: usize = 5;

impl History {
    /// Reads the history of the repository that contains the project. Fails outside of a repository,
    /// and if `since` is neither a tag nor a commit.
    pub fn read(project: &Project, query: &Query) -> Result<Self> {
        let repository = Repository::open(project)?;
        // Git has to start for each of them.
        let (all_tags, graph, files) = thread::scope(|scope| {
            let graph = scope.spawn(|| Graph::new(&repository));
            let files = scope.spawn(|| repository.files());
            (repository.tags(query.tags.as_deref()), join(graph), join(files))
        });
        let (mut graph, mut notes) = (graph?, Vec::new());
        let (tags, left_out) = order::sorted(all_tags?, query);
        if !left_out.is_empty() {
            notes.push(left_out_note(&left_out));
        }
        if repository.is_shallow {
            notes.push(SHALLOW_NOTE.into());
        }
        let since = match &query.since {
            Some(name) => Some(repository.commit_of(name)?.with_context(|| {
                format!("there is no tag or commit `{name}`; `git tag` lists the tags")
            })?),
            None => None,
        };
        let tips = || tags.iter().map(|tag| tag.commit.as_str());
        let others: Vec<&str> =
            tips().chain(since.as_deref()).filter(|tip| !graph.has(tip)).collect();
        let mut walk = Walk::new(&graph, files?, query.all);
        let (lines, compared) = thread::scope(|scope| {
            let lines = scope.spawn(|| repository.other_commits(&others));
            let compared = changes::read(&repository, &graph, !query.no_renames, |pair, lines| {
                walk.compared(pair, lines);
            });
            (join(lines), compared)
        });
        compared?;
        let files = walk.into_files();
        lines?.lines().for_each(|line| _ = graph.add(line));
        let releases = graph.first_to_reach(tips());
        let old = since.map(|commit| graph.first_to_reach([commit.as_str()]));
        let name = |commit: u32| releases[commit as usize].map(|at| tags[at as usize].name.clone());
        let (mut entries, mut known) = (Vec::new(), Vec::new());
        for file in files {
            let Some(path) = repository.path_in_project(&file.path) else { continue };
            known.push(path.clone());
            let changed = file.changed.unwrap_or(graph.head);
            let is_old = |old: &Vec<Option<u32>>| old[changed as usize].is_some();
            if old.as_ref().is_some_and(is_old) {
                continue;
            }
            let added = file.added.unwrap_or(changed);
            entries.push(Entry {
                path,
                added: name(added),
                changed: name(changed),
                removed: file.removed.map(name),
                is_cut: repository.is_shallow && graph.parents(added).is_empty(),
            });
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let reached = tags.into_iter().filter(|tag| graph.head_reaches(&tag.commit));
        Ok(Self { entries, known, tags: reached.map(|tag| tag.name).collect(), notes })
    }

    /// Keeps the files at these paths and below them. A path that no commit has, but that exists, is a
    /// file that no tag has. Fails if there is nothing at one of the paths.
    pub fn select(&mut self, paths: &[String], exists: impl Fn(&str) -> bool) -> Result<()> {
        let is_at = |path: &str, file: &str| {
            let rest = file.strip_prefix(path);
            path == "." || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut new = Vec::new();
        for path in paths {
            if self.known.iter().any(|file| is_at(path, file)) {
                continue;
            }
            if !exists(path) {
                bail!("there is no file `{path}`: `--all` also lists files that are gone");
            }
            new.push(Entry::new(path));
        }
        self.entries.retain(|entry| paths.iter().any(|path| is_at(path, &entry.path)));
        self.entries.extend(new);
        self.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.entries.dedup();
        Ok(())
    }
}

fn left_out_note(tags: &[String]) -> String {
    let shown: Vec<&str> = tags.iter().take(SHOWN).map(String::as_str).collect();
    let more = if tags.len() > SHOWN { ", …" } else { "" };
    let shown = shown.join(", ");
    format!("tags that are not versions are left out: {shown}{more}; `--tags GLOB` selects tags")
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().expect("BUG: asking git does not panic")
}

impl Entry {
    /// Returns a file that no tag has.
    fn new(path: &str) -> Self {
        Self { path: path.to_owned(), added: None, changed: None, removed: None, is_cut: false }
    }
}
