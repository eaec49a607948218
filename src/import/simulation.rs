//! The folders that recipes fill, while their steps run one after the other. A step without an exact
//! translation has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::deed::{Deed, Members, Origin};
use super::pattern;
use super::tree::{Kind, Part, Source, Tree};

pub(super) struct Simulation<'a> {
    root: &'a Path,
    /// The Buildfile, which is not in a bundle of all files.
    buildfile: &'a str,
    /// Folders with own files.
    own: &'a BTreeSet<String>,
    /// The folders that are zipped.
    trees: BTreeMap<String, Tree>,
    /// Other folders that exist by now.
    folders: BTreeSet<String>,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        root: &'a Path,
        buildfile: &'a str,
        own: &'a BTreeSet<String>,
        zipped: &BTreeSet<String>,
    ) -> Self {
        let trees = zipped.iter().map(|folder| (folder.clone(), Tree::default())).collect();
        let mut simulation = Self { root, buildfile, own, trees, folders: BTreeSet::new() };
        for folder in zipped.iter().filter(|folder| own.contains(*folder)) {
            let tree = simulation.content(folder);
            simulation.trees.insert(folder.clone(), tree);
        }
        simulation
    }

    /// All files of a folder of the project.
    fn content(&self, folder: &str) -> Tree {
        let (from, kind) = match folder.is_empty() {
            true => ("**/*".to_owned(), Kind::Pattern),
            false => (pattern::literal(folder), Kind::Folder),
        };
        let mut tree = Tree::of(Source::part(from, Some("."), kind));
        if let Some(inside) = below(self.buildfile, folder) {
            tree.exclude.push(pattern::literal(inside));
        }
        tree
    }

    /// Notes that a step which is not understood fills a folder. `None` if files were removed before.
    pub(super) fn fill(&mut self, folder: &str) -> Option<()> {
        let content = self.content(folder);
        let tree = self.trees.get_mut(folder)?;
        if tree.exclude.iter().any(|glob| !content.exclude.contains(glob)) {
            return None;
        }
        if tree.parts.is_empty() {
            *tree = content;
        }
        Some(())
    }

    pub(super) fn is_filled(&self, folder: &str) -> bool {
        self.trees.get(folder).is_some_and(|tree| !tree.parts.is_empty())
    }

    pub(super) fn run(&mut self, deed: &Deed) -> Option<()> {
        match deed {
            Deed::Folders(folders) => folders.iter().for_each(|folder| self.make(folder)),
            Deed::Remove { globs, is_recursive } => {
                for glob in globs {
                    self.remove(glob, *is_recursive)?;
                }
            }
            Deed::RemoveBelow { folder, glob } => {
                if let Some(tree) = self.tree_of(folder) {
                    let inside = below(folder, &tree)?;
                    let head = if inside.is_empty() {
                        String::new()
                    } else {
                        format!("{}/", pattern::literal(inside))
                    };
                    self.trees.get_mut(&tree)?.remove(format!("{head}{glob}"), true)?;
                }
            }
            Deed::Unzip { wheels, folder } => self.install(Part::Wheels(wheels.clone()), folder)?,
            Deed::Install { pip, folder } => self.install(Part::Pip(pip.clone()), folder)?,
            Deed::Copy { from, to, is_folder, is_recursive } => {
                for from in from {
                    self.copy(from, to, *is_folder, *is_recursive)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// The tree of a zip's members.
    pub(super) fn members(&self, members: &Members) -> Option<Tree> {
        match members {
            Members::Folder(folder) => {
                let is_inner = |(other, tree): (&String, &Tree)| {
                    other != folder && below(other, folder).is_some() && !tree.parts.is_empty()
                };
                let has_inner = !self.own.contains(folder) && self.trees.iter().any(is_inner);
                match self.trees.get(folder).filter(|tree| !tree.parts.is_empty()) {
                    _ if has_inner => None,
                    Some(tree) => Some(tree.clone()),
                    None => Some(self.content(folder)),
                }
            }
            Members::Paths { folder, paths, is_recursive } => {
                let mut tree = Tree::default();
                for path in paths {
                    let part = self.member(path, folder, *is_recursive)?;
                    part.into_iter().for_each(|part| tree.add(part, self.root));
                }
                Some(tree)
            }
        }
    }

    /// A member that `zip` takes from a folder: at its path below it. `None` inside if it has no file.
    fn member(&self, origin: &Origin, folder: &str, is_recursive: bool) -> Option<Option<Part>> {
        let (Origin::Path(path) | Origin::Content(path) | Origin::Pattern(path)) = origin;
        let inside = below(path, folder)?;
        let place = |inside: &str| match inside {
            _ if folder.is_empty() => None,
            "" => Some(".".to_owned()),
            inside => Some(format!("{inside}/")),
        };
        if let Origin::Pattern(glob) = origin {
            let parts: Vec<String> = inside.split('/').map_while(pattern::plain).collect();
            let kind = kind_of_pattern(glob, is_recursive);
            return Some(Some(Source::part(
                glob.clone(),
                place(&parts.join("/")).as_deref(),
                kind,
            )));
        }
        let kind = self.kind(path, is_recursive);
        if kind == Kind::Folder && !is_recursive {
            return Some(None);
        }
        if path.is_empty() {
            return None;
        }
        let to = match kind {
            Kind::Folder => place(inside),
            _ => place(inside.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Some(Some(Source::part(pattern::literal(path), to.as_deref(), kind)))
    }

    fn install(&mut self, part: Part, folder: &str) -> Option<()> {
        self.make(folder);
        let Some(name) = self.tree_of(folder) else { return Some(()) };
        let inside = below(folder, &name)?.to_owned();
        let part = match inside.is_empty() {
            true => part,
            false => Part::Tree(Box::new(Tree::of(part)), format!("{inside}/")),
        };
        self.trees.get_mut(&name)?.add(part, self.root);
        Some(())
    }

    fn remove(&mut self, glob: &str, is_recursive: bool) -> Option<()> {
        for (folder, tree) in &mut self.trees {
            match rest_of(glob, folder) {
                Some(rest) if rest.is_empty() => *tree = Tree::default(),
                Some(rest) => tree.remove(rest, is_recursive)?,
                None => {}
            }
        }
        self.folders.retain(|folder| rest_of(glob, folder).is_none_or(|rest| !rest.is_empty()));
        Some(())
    }

    fn copy(&mut self, from: &Origin, to: &str, is_folder: bool, is_recursive: bool) -> Option<()> {
        let is_there = is_folder || self.is_made(to);
        let Some(name) = self.tree_of(to) else { return Some(()) };
        let inside = below(to, &name)?.to_owned();
        let (Origin::Path(path) | Origin::Content(path) | Origin::Pattern(path)) = from;
        // The content of a folder that recipes fill, or of all folders.
        let is_filled = |tree: &&String| !self.own.contains(*tree) && below(path, tree).is_some();
        if path.is_empty() || self.trees.keys().any(|tree| is_filled(&tree)) {
            return None;
        }
        let place = if inside.is_empty() { ".".to_owned() } else { format!("{inside}/") };
        let last = path.rsplit('/').next().unwrap_or(path);
        let joined = |name: &str| {
            if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") }
        };
        let is_own_path = inside.is_empty() && last == path;
        let glob = pattern::literal(path);
        let mut made = inside.clone();
        let part = match from {
            Origin::Content(_) => Source::part(glob, Some(&place), Kind::Folder),
            Origin::Pattern(path) => {
                let kind = kind_of_pattern(path, is_recursive);
                // `cp` puts all of them into one folder.
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                pattern::plain(folder)?;
                Source::part(path.clone(), Some(&*place).filter(|_| !is_own_path), kind)
            }
            Origin::Path(_) => match self.kind(path, is_recursive) {
                Kind::Folder if !is_recursive => return None,
                Kind::Folder if is_there => {
                    made = joined(last);
                    let below = format!("{made}/");
                    Source::part(glob, Some(&*below).filter(|_| !is_own_path), Kind::Folder)
                }
                kind @ Kind::Folder => Source::part(glob, Some(&place), kind),
                kind if is_there || inside.is_empty() => {
                    Source::part(glob, Some(&*place).filter(|_| !is_own_path), kind)
                }
                kind => {
                    made = inside.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
                    Source::part(glob, Some(&inside), kind)
                }
            },
        };
        self.trees.get_mut(&name)?.add(part, self.root);
        let made = match (name.is_empty(), made.is_empty()) {
            (true, _) => made,
            (false, true) => name,
            (false, false) => format!("{name}/{made}"),
        };
        self.make(&made);
        Some(())
    }

    /// Whether a path is a file or a folder. One that is not there yet is judged by its name.
    fn kind(&self, path: &str, is_recursive: bool) -> Kind {
        let place = self.root.join(path);
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_folder = match place.exists() {
            true => place.is_dir(),
            false => self.is_made(path) || is_recursive && !name.contains('.'),
        };
        if is_folder { Kind::Folder } else { Kind::File }
    }

    fn make(&mut self, folder: &str) {
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        self.folders.extend(ends.map(|end| folder[..end].to_owned()));
    }

    fn is_made(&self, folder: &str) -> bool {
        self.folders.contains(folder) || self.is_filled(folder)
    }

    /// The innermost zipped folder that a path is in.
    fn tree_of(&self, path: &str) -> Option<String> {
        self.trees.keys().rfind(|folder| below(path, folder).is_some()).cloned()
    }
}

/// The files that a pattern stands for: with folders only if the command copies those.
fn kind_of_pattern(glob: &str, is_recursive: bool) -> Kind {
    if is_recursive && !pattern::is_file_name(glob) { Kind::Deep } else { Kind::Pattern }
}

/// The path below a folder; empty for the folder itself.
pub(super) fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    if folder.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The part of a glob for paths below a folder; empty if it matches the folder, or one around it.
pub(super) fn rest_of(glob: &str, folder: &str) -> Option<String> {
    let mut parts = glob.split('/').filter(|part| !part.is_empty());
    for name in folder.split('/').filter(|part| !part.is_empty()) {
        match parts.next() {
            None => return Some(String::new()),
            Some(part) if pattern::matches(part, name) => {}
            Some(_) => return None,
        }
    }
    Some(parts.collect::<Vec<_>>().join("/"))
}
