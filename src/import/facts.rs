//! What the rules of a Makefile make, put together: wheel folders, trees, zips, uploads, calls. Rules
//! with a step that has no meaning here stay commands, and so do rules whose results they change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::deed::{Code, Deed, Members, Origin, Pip, WorkingFolder};
use super::deeds;
use super::make::{Makefile, Rule};
use super::shell;
use super::simulation::{Simulation, below, rest_of};
use super::written;
use super::zips::{Call, Zip};

/// A recipe, line by line: the text, and its deeds. Without deeds, the whole rule is a command.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) text: String,
    pub(super) deeds: Option<Vec<Deed>>,
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
    /// The path of the Buildfile.
    buildfile: String,
    /// The folders that are zipped.
    zipped: BTreeSet<String>,
}

impl Facts {
    pub(super) fn of(makefile: &Makefile, root: &str, buildfile: &str) -> Self {
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
            buildfile: buildfile.to_owned(),
            zipped: BTreeSet::new(),
        };
        facts.source_folders = facts.source_folders(makefile);
        loop {
            let before = facts.foreign.len();
            let inexact = facts.collect(makefile);
            facts.give_up(makefile);
            facts.foreign.extend(inexact);
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
            Members::Paths { folder, paths, is_recursive } => {
                let [Origin::Path(path)] = paths.as_slice() else { return None };
                let is_filled = self.deeds().any(|(_, deed)| {
                    matches!(deed, Deed::Install { folder, .. } | Deed::Unzip { folder, .. }
                        if within(folder, path))
                });
                let below = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
                (is_filled && *is_recursive).then(|| (path.clone(), Some(below.to_owned())))
            }
        }
    }

    /// Returns the rules that have no exact translation.
    fn collect(&mut self, makefile: &Makefile) -> BTreeSet<usize> {
        (self.wheels, self.zips, self.sent) = Default::default();
        let deeds: Vec<(usize, Deed)> = self.deeds().map(|(at, deed)| (at, deed.clone())).collect();
        let mut rules: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        self.zipped.clear();
        for (at, deed) in &deeds {
            match deed {
                Deed::Zip { output, members, .. } => {
                    rules.entry(output).or_default().push(*at);
                    self.zipped.extend(self.tree_of_members(members).map(|(folder, _)| folder));
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
        let mut inexact = BTreeSet::new();
        for (output, rules) in rules {
            let zip = self.zip(makefile, output, &rules, &mut inexact);
            self.zips.insert(output.to_owned(), zip);
        }
        inexact
    }

    /// The rules that matter for a zip, in the order in which they run.
    fn order(&self, makefile: &Makefile, rules: &[usize]) -> Vec<usize> {
        let before: BTreeSet<usize> = rules.iter().flat_map(|at| upstream(makefile, *at)).collect();
        let zipped = |at: &usize| {
            let trees = self.deeds_of(*at).filter_map(|deed| match deed {
                Deed::Zip { members, .. } => self.tree_of_members(members),
                _ => None,
            });
            trees.map(|(folder, _)| folder).collect::<Vec<_>>()
        };
        // make does not know that the zip needs them.
        let unfilled: Vec<String> = rules
            .iter()
            .flat_map(zipped)
            .filter(|folder| !before.iter().any(|at| self.fills(*at, folder)))
            .collect();
        let others = (0..self.steps.len()).filter(|at| !before.contains(at));
        let others = others.filter(|at| unfilled.iter().any(|folder| self.fills(*at, folder)));
        others.chain(before.iter().copied()).collect()
    }

    fn fills(&self, rule: usize, folder: &str) -> bool {
        self.deeds_of(rule).any(|deed| filled(deed).is_some_and(|it| within(it, folder)))
    }

    fn zip(
        &self,
        makefile: &Makefile,
        output: &str,
        rules: &[usize],
        inexact: &mut BTreeSet<usize>,
    ) -> Zip {
        let root = Path::new(&self.root);
        let mut simulation =
            Simulation::new(root, &self.buildfile, &self.source_folders, &self.zipped);
        let mut calls: Vec<Call> = Vec::new();
        let order = self.order(makefile, rules);
        for &at in &order {
            if self.foreign.contains(&at) && !self.is_noted(at, &mut simulation) {
                inexact.extend(order.iter().filter(|at| self.removes(**at)));
            }
            for deed in self.deeds_of(at) {
                let is_exact = match deed {
                    Deed::Zip { output: other, members, exclude } if other == output => {
                        let zipped = self.tree_of_members(members);
                        let call = Call::new(&simulation, members, zipped, exclude);
                        let is_exact = call.is_some();
                        calls.extend(call);
                        is_exact
                    }
                    deed => {
                        if let Deed::Remove { globs, .. } = deed
                            && globs.iter().any(|glob| rest_of(glob, output).is_some())
                        {
                            calls.clear();
                        }
                        simulation.run(deed).is_some()
                    }
                };
                if !is_exact {
                    inexact.insert(at);
                }
            }
        }
        Zip::of(calls, rules.last().copied().unwrap_or_default(), root)
    }

    /// Notes that a command fills folders. Fails if files were removed from one before.
    fn is_noted(&self, command: usize, simulation: &mut Simulation) -> bool {
        let mut filled =
            self.zipped.iter().filter(|it| !it.is_empty() && self.mentions(command, it));
        filled.all(|folder| simulation.fill(folder).is_some())
    }

    fn removes(&self, rule: usize) -> bool {
        self.deeds_of(rule)
            .any(|deed| matches!(deed, Deed::Remove { .. } | Deed::RemoveBelow { .. }))
    }

    /// Makes commands of rules with a deed that fits to nothing, and of those that fill a folder which
    /// a command changes later.
    fn give_up(&mut self, makefile: &Makefile) {
        let outputs = self.outputs(makefile);
        let mut foreign = self.foreign.clone();
        for (at, deed) in self.deeds() {
            let is_clean = self.deeds_of(at).all(|deed| {
                matches!(deed, Deed::Remove { .. } | Deed::Nothing(_) | Deed::Folders(_))
            });
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
                foreign.extend((0..self.steps.len()).filter(|at| self.fills(*at, folder)));
            }
        }
        self.foreign = foreign;
    }

    fn fits(&self, deed: &Deed, outputs: &BTreeSet<String>) -> bool {
        let is_tree = |folder: &str| self.zipped.iter().any(|tree| within(folder, tree));
        match deed {
            Deed::Remove { globs, .. } => globs.iter().all(|path| {
                outputs.iter().any(|output| within(output, path) || within(path, output))
            }),
            Deed::RemoveBelow { folder, .. } | Deed::Install { folder, .. } => is_tree(folder),
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
            Deed::Zip { .. } | Deed::Wheels { .. } | Deed::Nothing(_) | Deed::Folders(_) => true,
        }
    }

    /// Files and folders that rules make.
    pub(super) fn outputs(&self, makefile: &Makefile) -> BTreeSet<String> {
        // A name may be that of a folder with own files.
        let is_made =
            |rule: &&Rule| !rule.is_phony && !Path::new(&self.root).join(&rule.name).is_dir();
        let rules = makefile.rules.iter().filter(is_made);
        let mut outputs: BTreeSet<String> =
            rules.filter_map(|rule| self.path(&rule.name)).collect();
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

    /// Whether a rule makes the file that it is called after.
    pub(super) fn writes(&self, rule: &Rule, at: usize, path: &str) -> bool {
        let texts = self.steps[at].iter().map(|step| step.text.as_str());
        let is_folder = Path::new(&self.root).join(path).is_dir();
        let is_it = |word: &str| self.path(word).as_deref() == Some(path);
        !rule.is_phony && !is_folder && written::is_written(rule, texts, is_it)
    }

    /// Whether a rule has no recipe, or one of messages.
    pub(super) fn does_nothing(&self, rule: usize) -> bool {
        !self.foreign.contains(&rule)
            && self.deeds_of(rule).all(|deed| matches!(deed, Deed::Nothing(_)))
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
        | Deed::RemoveBelow { folder, .. } => Some(folder),
        Deed::Copy { to, .. } => Some(to),
        _ => None,
    }
}

/// Whether a path is a folder or below it.
pub(super) fn within(path: &str, folder: &str) -> bool {
    below(path, folder).is_some()
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
