//! What the rules of a Makefile make, put together: wheel folders, trees, zips, uploads, calls. Rules
//! with a step that has no meaning here stay commands, and so do rules whose results they change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::deed::{Code, Deed, Members, Pip, WorkingFolder};
use super::deeds;
use super::make::{Makefile, Rule};
use super::shell;

/// A recipe, line by line: the text, and its deeds. Without deeds, the whole rule is a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) text: String,
    pub(super) deeds: Option<Vec<Deed>>,
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A folder of wheels.
    Wheels(String),
    Pip(Pip),
    /// Own files: a path or pattern, and a place in the tree.
    Source {
        from: String,
        to: Option<String>,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) parts: Vec<Part>,
    pub(super) exclude: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Zip {
    pub(super) tree: Tree,
    /// The folder that is zipped, if it is one that rules fill.
    pub(super) folder: Option<String>,
    /// The folder of the bundle that contains the tree.
    pub(super) below: Option<String>,
    pub(super) rule: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) steps: Vec<Vec<Step>>,
    /// Rules that stay commands.
    pub(super) foreign: BTreeSet<usize>,
    pub(super) wheels: BTreeMap<String, Pip>,
    pub(super) zips: BTreeMap<String, Zip>,
    /// Files sent to a bucket, by bucket and key.
    pub(super) sent: BTreeMap<(String, String), String>,
    /// Folders with own files that are zipped: with those that rules put beside them, if any.
    pub(super) source_folders: BTreeSet<String>,
    /// The root of the project, as recipes have it.
    root: String,
}

impl Facts {
    pub(super) fn of(makefile: &Makefile, root: &str) -> Self {
        let steps: Vec<Vec<Step>> =
            makefile.rules.iter().map(|rule| steps(rule, makefile.has_one_shell, root)).collect();
        let unknown = |steps: &[Step]| steps.iter().any(|step| step.deeds.is_none());
        let foreign = (0..steps.len()).filter(|at| unknown(&steps[*at])).collect();
        let mut facts = Self {
            steps,
            foreign,
            wheels: BTreeMap::new(),
            zips: BTreeMap::new(),
            sent: BTreeMap::new(),
            source_folders: BTreeSet::new(),
            root: root.to_owned(),
        };
        facts.source_folders = facts.source_folders(makefile);
        loop {
            let before = facts.foreign.len();
            facts.collect();
            facts.give_up(makefile);
            if facts.foreign.len() == before {
                return facts;
            }
        }
    }

    /// The deeds of the rules that are understood, with the number of the rule.
    pub(super) fn deeds(&self) -> impl Iterator<Item = (usize, &Deed)> {
        let known = self.steps.iter().enumerate().filter(|(at, _)| !self.foreign.contains(at));
        known.flat_map(|(at, steps)| {
            steps.iter().flat_map(|step| step.deeds.iter().flatten()).map(move |deed| (at, deed))
        })
    }

    pub(super) fn deeds_of(&self, rule: usize) -> impl Iterator<Item = &Deed> {
        self.deeds().filter(move |(at, _)| *at == rule).map(|(_, deed)| deed)
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// A path of make, relative to the project.
    pub(super) fn path(&self, text: &str) -> Option<String> {
        WorkingFolder::at_root(&self.root).path(text)
    }

    /// The zipped folders that are there before any rule runs: they have needs that no rule makes, or
    /// exist and are neither made nor removed by a recipe.
    fn source_folders(&self, makefile: &Makefile) -> BTreeSet<String> {
        let is_made = |path: &str| {
            makefile.rules.iter().any(|rule| self.path(&rule.name).as_deref() == Some(path))
        };
        let needs: Vec<String> = makefile
            .rules
            .iter()
            .flat_map(|rule| &rule.needs)
            .filter_map(|need| self.path(need))
            .filter(|need| !is_made(need))
            .collect();
        let is_own = |folder: &str| {
            let is_there = || Path::new(&self.root).join(folder).is_dir();
            let is_new = |step: &Step| {
                let words = step.text.split(' ').next().unwrap_or_default();
                ["mkdir", "rm"].contains(&words.trim_start_matches(['@', '-']))
                    && step.text.split(' ').any(|word| self.path(word).as_deref() == Some(folder))
            };
            needs.iter().any(|need| need != folder && within(need, folder))
                || is_there() && !self.steps.iter().flatten().any(is_new)
        };
        let zipped = self.deeds().filter_map(|(_, deed)| match deed {
            Deed::Zip { members, .. } => self.tree_of_members(members),
            _ => None,
        });
        zipped.map(|(tree, _)| tree).filter(|folder| is_own(folder)).collect()
    }

    /// The tree that is zipped, and its folder in the bundle: all of a folder, or one that rules fill,
    /// as in `pip install -t python` and `zip -r layer.zip python`.
    fn tree_of_members(&self, members: &Members) -> Option<(String, Option<String>)> {
        match members {
            Members::Folder(folder) => Some((folder.clone(), None)),
            Members::Paths { folder, paths } => {
                let [path] = paths.as_slice() else { return None };
                let is_filled = self.deeds().any(|(_, deed)| {
                    matches!(deed, Deed::Install { folder, .. } | Deed::Unzip { folder, .. }
                        if within(folder, path))
                });
                let below = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
                is_filled.then(|| (path.clone(), Some(below.to_owned())))
            }
        }
    }

    fn collect(&mut self) {
        let deeds: Vec<(usize, Deed)> = self.deeds().map(|(at, deed)| (at, deed.clone())).collect();
        (self.wheels, self.zips, self.sent) = Default::default();
        let mut folders: BTreeMap<String, Tree> = BTreeMap::new();
        for (_, deed) in &deeds {
            match deed {
                Deed::Zip { members, .. } => {
                    if let Some((tree, _)) = self.tree_of_members(members) {
                        folders.entry(tree).or_default();
                    }
                }
                Deed::Wheels { pip, folder } => {
                    self.wheels.insert(folder.clone(), pip.clone());
                }
                Deed::Send { file, bucket, key } => {
                    self.sent.insert((bucket.clone(), key.clone()), file.clone());
                }
                _ => {}
            }
        }
        for (_, deed) in &deeds {
            fill(deed, &mut folders);
        }
        self.collect_zips(&deeds, &folders);
    }

    fn collect_zips(&mut self, deeds: &[(usize, Deed)], folders: &BTreeMap<String, Tree>) {
        for (rule, deed) in deeds {
            let Deed::Zip { output, members, exclude } = deed else { continue };
            let tree = self.tree_of_members(members);
            // `zip` adds to a file that is there, also without `-g`.
            let zip = self.zips.entry(output.clone()).or_default();
            zip.rule = *rule;
            zip.tree.exclude.extend(exclude.iter().cloned());
            match (tree, members) {
                (Some((folder, below)), _) => {
                    let tree = folders.get(&folder).cloned().unwrap_or_default();
                    // Of several folders, the one that rules fill is the tree.
                    if zip.folder.is_none() || !tree.parts.is_empty() {
                        zip.folder = Some(folder.clone());
                        zip.below = below;
                    }
                    if tree.parts.is_empty() || self.source_folders.contains(&folder) {
                        let from = if folder.is_empty() { "**/*" } else { &folder };
                        zip.tree.parts.push(source(from, Some(".")));
                    }
                    zip.tree.parts.extend(tree.parts);
                    zip.tree.exclude.extend(tree.exclude);
                }
                (None, Members::Folder(_)) => {}
                (None, Members::Paths { folder, paths }) => {
                    zip.tree.parts.extend(paths.iter().map(|path| member(path, folder)));
                }
            }
        }
    }

    /// Makes commands of rules with a deed that fits to nothing, and of those that fill a folder which
    /// a command changes later.
    fn give_up(&mut self, makefile: &Makefile) {
        let outputs = self.outputs(makefile);
        let mut foreign = self.foreign.clone();
        for (at, deed) in self.deeds() {
            let is_clean =
                self.deeds_of(at).all(|deed| matches!(deed, Deed::Remove(_) | Deed::Nothing(_)));
            if !is_clean && !self.fits(deed, &outputs) {
                foreign.insert(at);
            }
        }
        for zip in self.zips.values() {
            let Some(folder) = zip.folder.as_ref().filter(|folder| !folder.is_empty()) else {
                continue;
            };
            let before = upstream(makefile, zip.rule);
            let changes = |at: &&usize| before.contains(*at) && self.mentions(**at, folder);
            if foreign.iter().any(|at| changes(&at)) {
                let fills = self
                    .deeds()
                    .filter(|(_, deed)| filled(deed).is_some_and(|it| within(it, folder)));
                foreign.extend(fills.map(|(at, _)| at).collect::<Vec<_>>());
            }
        }
        self.foreign = foreign;
    }

    fn fits(&self, deed: &Deed, outputs: &BTreeSet<String>) -> bool {
        let is_tree = |folder: &str| {
            self.zips
                .values()
                .any(|zip| zip.folder.as_deref().is_some_and(|tree| within(folder, tree)))
        };
        match deed {
            Deed::Remove(paths) => paths.iter().all(|path| {
                outputs.iter().any(|output| within(output, path) || within(path, output))
            }),
            Deed::RemoveNamed { folder, .. } | Deed::Install { folder, .. } => is_tree(folder),
            Deed::Touch(paths) => paths.iter().all(|path| outputs.contains(path)),
            Deed::Unzip { wheels, folder } => self.wheels.contains_key(wheels) && is_tree(folder),
            Deed::Copy { to, .. } => is_tree(to),
            Deed::Update { code: Code::Bucket { bucket, key }, .. } => {
                let sent = self.sent.get(&(bucket.clone(), key.clone()));
                sent.is_some_and(|file| self.zips.contains_key(file))
            }
            Deed::Update { .. } => !self.zips.is_empty(),
            Deed::Send { file, .. } | Deed::PublishLayer { file, .. } => self.zips.contains_key(file),
            Deed::Invoke { function, .. } | Deed::Publish { function } | Deed::Alias { function, .. } => {
                self.deeds().any(|(_, deed)| matches!(deed, Deed::Update { function: other, .. } if other == function))
            }
            // An environment that a command uses is needed.
            Deed::Environment(folder) => {
                !self.foreign.iter().any(|at| self.mentions(*at, &format!("{folder}/")))
            }
            Deed::Export { output, .. } => self.deeds().any(|(_, deed)| {
                matches!(deed, Deed::Wheels { pip, .. } | Deed::Install { pip, .. }
                    if pip.requirements.contains(output))
            }),
            Deed::Zip { .. } | Deed::Wheels { .. } | Deed::Nothing(_) => true,
        }
    }

    /// Files and folders that rules make.
    pub(super) fn outputs(&self, makefile: &Makefile) -> BTreeSet<String> {
        let mut outputs: BTreeSet<String> =
            makefile.rules.iter().filter_map(|rule| self.path(&rule.name)).collect();
        outputs.extend(self.wheels.keys().cloned());
        outputs.extend(self.zips.keys().cloned());
        // A folder that no rule fills has sources.
        let is_filled = |folder: &&String| {
            !self.source_folders.contains(*folder)
                && self.deeds().any(|(_, deed)| filled(deed).is_some_and(|it| within(it, folder)))
        };
        let folders = self.zips.values().filter_map(|zip| zip.folder.as_ref());
        outputs.extend(folders.filter(is_filled).cloned());
        outputs.extend(self.deeds().filter_map(|(_, deed)| match deed {
            Deed::Export { output, .. } | Deed::Environment(output) => Some(output.clone()),
            _ => None,
        }));
        outputs.remove("");
        outputs
    }

    /// Whether the recipe of a rule has this path in it, or one below it.
    pub(super) fn mentions(&self, rule: usize, path: &str) -> bool {
        self.steps[rule].iter().any(|step| has_path(&step.text, path))
    }
}

/// Whether a text has a path, and not only as a part of another name.
fn has_path(text: &str, path: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    text.match_indices(path).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + path.len()..]);
        !before.ends_with(is_of_name) && (path.ends_with('/') || !after.starts_with(is_of_name))
    })
}

fn steps(rule: &Rule, has_one_shell: bool, root: &str) -> Vec<Step> {
    let Some(recipe) = &rule.recipe else {
        return rule.written.iter().map(|text| Step { text: text.clone(), deeds: None }).collect();
    };
    let mut place = WorkingFolder::at_root(root);
    let line = |text: String| {
        if !has_one_shell {
            place = WorkingFolder::at_root(root);
        }
        let deeds = shell::split(&text).and_then(|simples| deeds::of_line(&simples, &mut place));
        Step { text, deeds }
    };
    shell::lines(recipe).into_iter().map(line).collect()
}

/// The folder that a deed puts files into.
fn filled(deed: &Deed) -> Option<&str> {
    match deed {
        Deed::Unzip { folder, .. }
        | Deed::Install { folder, .. }
        | Deed::RemoveNamed { folder, .. } => Some(folder),
        Deed::Copy { to, .. } => Some(to),
        _ => None,
    }
}

fn fill(deed: &Deed, folders: &mut BTreeMap<String, Tree>) {
    match deed {
        Deed::Remove(paths) => {
            for path in paths {
                let Some(folder) = tree_of(folders, path).filter(|folder| folder != path) else {
                    continue;
                };
                let inside = path[folder.len()..].trim_start_matches('/').to_owned();
                if let Some(tree) = folders.get_mut(&folder) {
                    tree.exclude.push(inside);
                }
            }
        }
        Deed::RemoveNamed { folder: path, name } => {
            if let Some(folder) = tree_of(folders, path)
                && let Some(tree) = folders.get_mut(&folder)
            {
                let inside = path[folder.len()..].trim_start_matches('/');
                let inside = if inside.is_empty() { String::new() } else { format!("{inside}/") };
                tree.exclude.push(format!("{inside}**/{name}"));
            }
        }
        Deed::Unzip { wheels, folder } => {
            if let Some(tree) = folders.get_mut(folder) {
                tree.parts.push(Part::Wheels(wheels.clone()));
            }
        }
        Deed::Install { pip, folder } => {
            if let Some(tree) = folders.get_mut(folder) {
                tree.parts.push(Part::Pip(pip.clone()));
            }
        }
        Deed::Copy { from, to, is_folder } => {
            let Some(folder) = tree_of(folders, to) else { return };
            let inside = to[folder.len()..].trim_start_matches('/').to_owned();
            let Some(tree) = folders.get_mut(&folder) else { return };
            tree.parts.extend(from.iter().map(|from| copied(from, &inside, *is_folder)));
        }
        _ => {}
    }
}

/// The innermost folder that a path is in.
fn tree_of(folders: &BTreeMap<String, Tree>, path: &str) -> Option<String> {
    folders.keys().rfind(|folder| within(path, folder)).cloned()
}

/// A source of `cp FROM TREE/INSIDE`.
fn copied(from: &str, inside: &str, is_folder: bool) -> Part {
    let place = if inside.is_empty() { ".".to_owned() } else { format!("{inside}/") };
    if let Some(content) = from.strip_suffix('/') {
        let from = if content.is_empty() { "**/*" } else { content };
        return source(from, Some(&place));
    }
    let name = from.rsplit('/').next().unwrap_or(from);
    let is_file = name.contains('.');
    if !inside.is_empty() && !is_folder {
        // `cp a.py tree/b.py`, or `cp -r a tree/b`.
        return source(from, Some(if is_file { inside } else { &place }));
    }
    if is_file {
        let is_own_path = inside.is_empty() && name == from;
        return source(from, if is_own_path { None } else { Some(&place) });
    }
    // A folder goes in under its name.
    let is_own_path = inside.is_empty() && name == from;
    let below = if inside.is_empty() { format!("{name}/") } else { format!("{inside}/{name}/") };
    source(from, if is_own_path { None } else { Some(&below) })
}

fn source(from: &str, to: Option<&str>) -> Part {
    Part::Source { from: from.to_owned(), to: to.map(str::to_owned) }
}

/// A member that `zip` took from a folder: at its path below the folder.
fn member(path: &str, folder: &str) -> Part {
    let inside = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
    let place = (!folder.is_empty()).then(|| placed(inside));
    source(path, place.as_deref())
}

/// The place in the tree for a path that keeps its folders.
fn placed(inside: &str) -> String {
    match inside.rsplit_once('/') {
        _ if !inside.rsplit('/').next().unwrap_or(inside).contains('.') => format!("{inside}/"),
        Some((folder, _)) => format!("{folder}/"),
        None => ".".into(),
    }
}

/// Whether a path is a folder or below it.
pub(super) fn within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path == folder
        || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The rules that a rule needs, directly or by way of others; and the rule itself.
fn upstream(makefile: &Makefile, rule: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut queue = vec![rule];
    while let Some(at) = queue.pop() {
        if found.insert(at) {
            let rule = &makefile.rules[at];
            let needs = rule.needs.iter().chain(&rule.after);
            queue.extend(
                needs.filter_map(|name| makefile.rules.iter().position(|rule| rule.name == *name)),
            );
        }
    }
    found
}
