//! One project, opened: folder, Buildfile, graph, state. Every command starts here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::Failure;
use super::args::Common;
use crate::base::fs as base_fs;
use crate::base::printable::printable;
use crate::base::{Digest, Printable, RelPath, private, words};
use crate::diagnostic::Diagnostic;
use crate::files::{Content, Files, Memory, Observed, View};
use crate::graph::{Graph, TargetId};
use crate::leftovers;
use crate::lock::{Lock, Patience};
use crate::project::Project;
use crate::snapshot::{Overrides, Snapshot};
use crate::state::State;
use crate::target::Model;
use crate::ui::github::Runner;
use crate::{targets, watch};

const BUILDFILE: &str = "Buildfile";

/// More in one file are not read by anybody.
const MISTAKES_SHOWN: usize = 50;

/// Words of the command line that are not options, and the variables of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    pub(super) overrides: Overrides,
    /// Names and paths.
    pub(super) goals: Vec<String>,
}

impl Words {
    /// `NAME=VALUE` sets a variable, the last one wins; everything else is a goal.
    pub(super) fn new(given: &[String]) -> Self {
        let mut words = Self::default();
        for word in given {
            match word.split_once('=') {
                Some((name, value)) => {
                    words.overrides.given.insert(name.to_owned(), value.to_owned());
                }
                None => words.goals.push(word.clone()),
            }
        }
        words
    }
}

pub(super) struct Session {
    pub(super) project: Project,
    pub(super) model: Model,
    pub(super) graph: Graph,
    pub(super) words: Words,
    /// The Buildfile, and the digest of the text that was read.
    buildfile: (PathBuf, Digest),
}

impl Session {
    /// Reads the Buildfile of the current folder.
    pub(super) fn open(common: &Common, words: Words) -> Result<Self, Failure> {
        Self::open_in(Project::here()?, common, words)
    }

    /// Opens the project for the name of a target that could have been a file, and is not.
    pub(super) fn open_for(common: &Common, name: &str) -> Result<(Self, TargetId), Failure> {
        let path = Path::new(name);
        if path.is_dir() {
            return Err(anyhow!("`{name}` is a folder; name a zip file, or a target").into());
        }
        if path.exists() {
            return Err(anyhow!("`{name}` is not a regular file; name a zip file").into());
        }
        let project = Project::here()?;
        if common.file.is_none() && !project.root.join(BUILDFILE).exists() {
            return Err(anyhow!(
                "there is no file `{name}`, and no `{BUILDFILE}` in `{}` that could have a target \
                 of this name",
                project.root.display()
            )
            .into());
        }
        let session = Self::open_in(project, common, Words::new(&[name.to_owned()]))?;
        let id =
            session.find(name).map_err(|error| anyhow!("there is no file `{name}`: {error}"))?;
        Ok((session, id))
    }

    pub(super) fn open_in(
        project: Project,
        common: &Common,
        words: Words,
    ) -> Result<Self, Failure> {
        let file = buildfile(common);
        let text = read_buildfile(&project, &file)?;
        let overrides = if words.overrides.inherited.is_empty() {
            words.overrides.given.clone()
        } else {
            let declared = targets::load(&text, &BTreeMap::new()).model.vars;
            words.overrides.effective(|name| declared.contains_key(name))
        };
        let loaded = targets::load(&text, &overrides);
        let (graph, problems) = Graph::new(&loaded.model);
        let mut diagnostics = loaded.diagnostics;
        diagnostics.extend(problems);
        diagnostics.sort_by_key(Diagnostic::position);
        if !diagnostics.is_empty() {
            let typed = &loaded.model.typed;
            let shown = |text: &str| Printable::from(typed.redact(text)).to_string();
            diagnostics.iter_mut().for_each(|mistake| mistake.rephrase(shown));
            let runner = super::github(common, &project);
            return Err(broken_buildfile(
                (&file, &text),
                &diagnostics,
                super::color(common),
                runner,
            ));
        }
        let buildfile = (file, Digest::of(text.as_bytes()));
        Ok(Self { project, model: loaded.model, graph, words, buildfile })
    }

    /// Returns the goals of the command line, or the default ones.
    pub(super) fn goal_ids(&self) -> Result<Vec<TargetId>> {
        if self.words.goals.is_empty() {
            let default = self.model.default.iter().map(|name| name.value.as_str());
            let ids: Vec<TargetId> = default.filter_map(|name| self.graph.id(name)).collect();
            if self.model.targets.is_empty() {
                bail!("the Buildfile has no target; docs/BUILDFILE.md shows how to write one");
            }
            if ids.is_empty() {
                bail!("no goal: name one, or say `default = [\"…\"]` in the Buildfile");
            }
            return Ok(ids);
        }
        self.words.goals.iter().map(|goal| self.find(goal)).collect()
    }

    /// Fails if a service is among the goals, or is needed by one.
    pub(super) fn check_services(&self, goals: &[TargetId]) -> Result<()> {
        let mut targets = self.graph.closure(goals).into_iter();
        let service = targets.find(|id| self.model.targets[id.index()].kind.is_service());
        let Some(service) = service else { return Ok(()) };
        let name = &self.model.targets[service.index()].name.value;
        let goal = match goals.contains(&service) {
            true => format!("`{name}` is a service"),
            false => format!("the goals need the service `{name}`"),
        };
        let goals: Vec<&str> =
            goals.iter().map(|id| self.model.targets[id.index()].name.value.as_str()).collect();
        bail!("{goal}, and a build runs no services; `zipwright watch {}` does", goals.join(" "))
    }

    /// The target of this name, or the one that makes this path.
    pub(super) fn find(&self, goal: &str) -> Result<TargetId> {
        let by_path = || self.graph.by_output(&RelPath::parse(goal).ok()?);
        self.graph.id(goal).or_else(by_path).ok_or_else(|| {
            if goal == "check" {
                return anyhow!(
                    "there is no target `check`; add one of kind `check`, or name a zip: `zipwright check \
                     FILE`"
                );
            }
            let names = self.model.targets.iter().map(|target| target.name.value.as_str());
            // The name of a command is not a misspelled one.
            let commands = super::COMMANDS.iter().copied();
            let commands = commands.filter(|_| !super::COMMANDS.contains(&goal));
            match words::nearest(goal, names.chain(commands)) {
                Some(near) => anyhow!("there is no target `{goal}`; did you mean `{near}`?"),
                None => {
                    anyhow!("there is no target `{goal}`; `zipwright list` shows what there is")
                }
            }
        })
    }

    /// Returns the files of the project, with the digests of the snapshot.
    pub(super) fn files(&self, memory: Memory) -> Files {
        Files::new(&self.project.root, Graph::hidden_outputs(&self.model), memory)
    }

    /// Returns the files for a command that checks every path anew.
    pub(super) fn files_anew(&self) -> Files {
        let snapshot = Snapshot::load(&self.project);
        let parts = |snapshot: Snapshot| snapshot.into_parts("", &Overrides::default(), None).0;
        self.files(snapshot.map(parts).unwrap_or_default())
    }

    /// Returns the Buildfile as it was named.
    pub(super) fn buildfile(&self) -> &Path {
        &self.buildfile.0
    }

    /// Returns the observations of the Buildfile if it still has the text that was read; `None` also for
    /// one outside of the project.
    pub(super) fn observed_buildfile(&self, files: &Files) -> Result<Option<Observed>> {
        let (file, read) = &self.buildfile;
        let inside = file.strip_prefix(&self.project.root).unwrap_or(file).to_str();
        let Some(Ok(path)) = inside.map(RelPath::parse) else { return Ok(None) };
        let view = View::new(files, &self.project);
        let content = view.fact(&path)?.content;
        let is_as_read = matches!(content, Content::File { digest, .. } if digest == *read);
        Ok(is_as_read.then(|| view.finish()))
    }

    /// Takes the project's lock, for a command that writes. Leftovers of a killed one are removed.
    pub(super) fn lock(&self, patience: Patience) -> Result<Lock> {
        let lock = lock(&self.project, patience)?;
        self.sweep(&lock);
        Ok(lock)
    }

    /// Removes the leftovers of the last holder of the lock if it was killed.
    pub(super) fn sweep(&self, lock: &Lock) {
        if lock.after_a_kill {
            leftovers::sweep(&self.project, &self.model);
        }
    }

    /// Reads the state; under the lock, for a command that writes.
    pub(super) fn state(&self) -> State {
        let (state, notice) = State::load(&self.project.state());
        if let Some(notice) = notice {
            super::warn(&notice);
        }
        state
    }
}

/// Returns a path of the command line relative to the project; `None` outside of it. It may have `..`, and
/// its file need not exist.
pub(super) fn path(project: &Project, text: &str) -> Option<RelPath> {
    let inside = |place: &Path| match place.to_str()? {
        "" => Some(RelPath::root()),
        text => RelPath::parse(text).ok(),
    };
    if text.is_empty() {
        return None;
    }
    let given = Path::new(text);
    inside(given.strip_prefix(&project.root).unwrap_or(given)).or_else(|| {
        // By way of folders outside of the project, or of links to it.
        let (folder, name) = (given.parent()?, given.file_name()?);
        let place = project.root.join(folder).canonicalize().ok()?.join(name);
        inside(place.strip_prefix(&project.root).ok()?)
    })
}

/// Returns the Buildfile as it is named on the command line.
pub(super) fn buildfile(common: &Common) -> PathBuf {
    common.file.clone().unwrap_or_else(|| PathBuf::from(BUILDFILE))
}

/// Takes the project's lock.
pub(super) fn lock(project: &Project, patience: Patience) -> Result<Lock> {
    let folder = project.state_folder(".")?;
    project.claim_state()?;
    let lock = Lock::take(&folder, patience, |holder| {
        super::note(&format!("waiting for another build in this project: {holder}"));
    })?;
    watch::end_orphans(project);
    // Only now: the holder of the lock takes what is half-written for left over.
    base_fs::write_if_changed(&folder.join(".gitignore"), b"*\n", private::FILE_MODE)?;
    Ok(lock)
}

pub(super) fn read_buildfile(project: &Project, file: &Path) -> Result<String> {
    let place = project.root.join(file);
    if !place.exists() {
        return Err(super::init::missing(&project.root, file));
    }
    if place.is_dir() {
        bail!("`{}` is a folder; name the file to read with -f", file.display());
    }
    String::from_utf8(base_fs::read(&place)?).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = sound.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("`{}` line {line} is not UTF-8; save the file as UTF-8", file.display())
    })
}

fn broken_buildfile(
    (file, text): (&Path, &str),
    diagnostics: &[Diagnostic],
    color: bool,
    runner: Option<Runner>,
) -> Failure {
    let file = file.display().to_string();
    let shown = diagnostics.iter().take(MISTAKES_SHOWN);
    let mut rendered: Vec<String> =
        shown.map(|diagnostic| diagnostic.render(&file, text, color)).collect();
    if let more @ 1.. = diagnostics.len() - rendered.len() {
        rendered.push(format!("… and {more} more"));
    }
    let count = words::count(diagnostics.len(), "mistake");
    let end = format!("\n\nerror: {count} in `{file}`; nothing was done");
    let mut told = printable![Printable::as_is(rendered.join("\n\n")), end];
    if let Some(runner) = runner {
        let annotations = runner.mistakes(&file, text, diagnostics);
        told = printable![told, "\n", annotations.as_str().trim_end()];
    }
    Failure::Told(told)
}
