//! The whole way from requirements to wheels: read what pip reads, build local projects, ask pip
//! once what it would install, and get what is not in the store.
//!
//! pip does not run at all where its answer is known: when everything is pinned by hashes, the
//! same files, settings and interpreter mean the same wheels, so the answer is kept with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::build::{Build, Source};
use super::config::Config;
use super::fetch::Fetch;
use super::interpreter::Interpreter;
use super::launch::Reading;
use super::lines::{self, Meaning, Word};
use super::platform::Runtime;
use super::recipe::Recipe;
use super::requirements::{Requirements, find_links_inside};
use super::resolve::{file_url, resolve};
use super::run::{Pip, Talk};
use super::secrets::{Redactor, redact};
use super::side_by_side::side_by_side;
use super::store::{Store, Wheel};
use crate::base::digest::FieldHasher;
use crate::base::fs::write_if_changed;
use crate::base::{Digest, RelPath};
use crate::files::{Content, Files};
use crate::make::Pool;
use crate::project::Project;

/// Version of everything here that decides what is built; a change makes old records void.
const RECIPE: &str = "4";

/// Kind of the records of what pinned requirements mean.
const RESOLVED: &str = "resolved";

/// What a person asks for.
pub struct Request<'a> {
    pub project: &'a Project,
    pub files: &'a Files,
    pub requirements: &'a [RelPath],
    pub constraints: &'a [RelPath],
    pub projects: &'a [RelPath],
    pub python: &'a str,
    pub runtime: Option<Runtime>,
    pub pip_args: &'a [String],
    /// What a build of a local project must not see: the outputs of targets.
    pub left_out: &'a [RelPath],
    /// Job slots besides the one that the request is worked on in.
    pub pool: Option<&'a Pool>,
}

/// What [`Inputs::gather`] got.
pub struct Gathered {
    /// Sorted by name, every one in the store.
    pub wheels: Vec<Wheel>,
    /// How many of them were built from source now.
    pub built: usize,
    /// What builds were kept apart by, where it was looked at.
    pub isolation: Option<&'static str>,
}

/// Everything that the wheels depend on, as it is now.
pub struct Inputs {
    pub interpreter: Interpreter,
    pub config: Config,
    pub requirements: Requirements,
    pub sources: Vec<Source>,
    /// Files of the project that pip may take: archives that requirements name, and all files in
    /// folders of find-links, wherever these were named.
    pub offered: BTreeSet<RelPath>,
    /// pip's further arguments, without credentials.
    pub pip_args: Vec<String>,
    secrets: Redactor,
    context: Digest,
    /// Digest of the files in `offered`.
    offer: Digest,
}

impl Inputs {
    /// Finds all of it out. Starts no process where what an interpreter is is known.
    pub fn read(request: &Request) -> Result<Self> {
        let Request { project, files, requirements, constraints, projects, .. } = *request;
        let requirements = Requirements::read(project, requirements, constraints)?;
        let interpreter = Interpreter::find(project, request.python)?;
        let config = Config::read(project, &interpreter.identity.prefix);
        let mut find_links = &requirements.find_links | &config.find_links;
        find_links.extend(check_arguments(project, request.pip_args)?);
        let offered = offered(project, files, &requirements, &find_links)?;
        let offer = digest(files, &offered)?;
        let mut secrets = Redactor::default();
        secrets.join(&requirements.secrets);
        secrets.join(&config.secrets);
        secrets.learn(&request.pip_args.join(" "));
        let pip_args: Vec<String> = request.pip_args.iter().map(|arg| redact(arg)).collect();
        let context = context(request, &interpreter, &config, &requirements);
        let mut folders: BTreeSet<&RelPath> = projects.iter().collect();
        folders.extend(&requirements.folders);
        let look =
            |folder: &&RelPath| Source::look(project, files, folder, (request.left_out, context));
        let sources = folders.iter().map(look).collect::<Result<_>>()?;
        Ok(Self {
            interpreter,
            config,
            requirements,
            sources,
            offered,
            pip_args,
            secrets,
            context,
            offer,
        })
    }

    /// Gets all the wheels.
    pub fn gather(&self, request: &Request, talk: Talk) -> Result<Gathered> {
        let store = Store::new(request.project.cache()?);
        let pip = Pip {
            project: request.project,
            interpreter: &self.interpreter,
            secrets: &self.secrets,
            talk,
        };
        let build = Build {
            options: &self.requirements.options,
            pip_args: request.pip_args,
            runtime: request.runtime,
            offer: self.offer,
        };
        let recipe = Recipe::new(&pip, &store, &build, self.context);
        let own = side_by_side(request.pool, &self.sources, |source| {
            source.wheel(&recipe, &store, (&pip, &build))
        })?;
        let folders = self.sources.iter().map(|source| source.folder.clone());
        let mut built: BTreeMap<RelPath, Wheel> = folders.zip(own).collect();
        let (pool, context) = (request.pool, self.context);
        let fetch =
            Fetch { pip: &pip, store: &store, build: &build, recipe: &recipe, context, pool };
        let gathered = |wheels: Vec<Wheel>| {
            let (built, isolation) = recipe.report();
            Gathered { wheels, built, isolation }
        };
        let pinned = self.requirements.hashed.then(|| self.meaning_key(request, &built));
        if let Some(wheels) = pinned.and_then(|key| store.recall::<Vec<Wheel>>(RESOLVED, &key))
            && wheels
                .par_iter()
                .map(|wheel| store.has(wheel))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .all(|has| has)
        {
            return Ok(gathered(wheels));
        }
        if !self.requirements.hashed && request.runtime.is_none() {
            // pip would build each of them, in its own way, only to find out what it needs.
            built.extend(fetch.local_sources(request.project, self.requirements.plain_sources())?);
        }
        let workshop = store.workshop()?;
        let mut names = self.names(request, workshop.path());
        for wheel in built.values() {
            let kept = store.place(wheel).with_file_name("");
            names.insert(0, (kept.display().to_string(), String::new()));
        }
        let given = self.given(request, &store, &built, workshop.path())?;
        let reading = reading(request, &store, &recipe, &built);
        let picks = resolve(&pip, &given, &reading, (workshop.path(), &names))?;
        let mut wheels = fetch.all(&picks)?;
        wheels.sort();
        if let Some(key) = pinned {
            store.remember(RESOLVED, &key, &wheels)?;
        }
        Ok(gathered(wheels))
    }

    /// Leaves exactly these wheels in `folder`; a wheel that is there already stays untouched.
    pub fn leave(&self, request: &Request, wheels: &[Wheel], folder: &Path) -> Result<()> {
        let store = Store::new(request.project.cache()?);
        crate::base::fs::create_dir_all(folder)?;
        wheels.par_iter().try_for_each(|wheel| match store.copy_into(wheel, folder)? {
            true => Ok(()),
            false => {
                bail!("`{}` vanished from the cache while it was used: build again", wheel.name)
            }
        })?;
        let entries = std::fs::read_dir(folder)
            .map_err(|error| anyhow::anyhow!("could not list `{}`: {error}", folder.display()))?;
        for entry in entries.flatten() {
            if !wheels.iter().any(|wheel| entry.file_name() == wheel.name.as_str()) {
                crate::base::fs::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// What a resolution is kept under.
    fn meaning_key(&self, request: &Request, built: &BTreeMap<RelPath, Wheel>) -> Digest {
        let mut hasher = FieldHasher::new();
        hasher.field(self.context.as_bytes()).field(self.offer.as_bytes());
        hasher.field(request.runtime.map_or_else(String::new, Runtime::describe));
        hasher.field(request.runtime.map_or_else(String::new, Runtime::markers));
        for file in &self.requirements.files {
            hasher.field(file.path.as_str()).field(&file.text);
        }
        for (line, text) in &self.requirements.expanded {
            hasher.field(line).field(text);
        }
        for (paths, word) in [(request.requirements, "r"), (request.constraints, "c")] {
            for path in paths {
                hasher.field(word).field(path.as_str());
            }
        }
        for folder in request.projects {
            hasher.field(folder.as_str());
        }
        for (folder, wheel) in built {
            hasher.field(folder.as_str()).field(&wheel.sha256);
        }
        hasher.finish()
    }

    /// The options that name what is wanted, files rewritten where they name local folders.
    fn given(
        &self,
        request: &Request,
        store: &Store,
        built: &BTreeMap<RelPath, Wheel>,
        folder: &Path,
    ) -> Result<Vec<OsString>> {
        let hashed = self.requirements.hashed;
        let words = |local: &RelPath, extras: &str| {
            let wheel = built.get(local)?;
            let url = file_url(&store.place(wheel));
            let hash =
                if hashed { format!(" --hash=sha256:{}", wheel.sha256) } else { String::new() };
            Some((format!("{}{extras} @ {url}", wheel.project()), hash))
        };
        let archives = &self.requirements.archives;
        let rewritten =
            self.requirements.rewritten || built.keys().any(|local| archives.contains(local));
        if rewritten {
            self.requirements
                .write(request.project, folder, &|local, extras| words(local, extras))?;
        }
        let mut given: Vec<OsString> = Vec::new();
        for (option, paths) in [("-r", request.requirements), ("-c", request.constraints)] {
            for path in paths {
                let copy = self.requirements.copy_of(folder, path, option == "-c");
                let place =
                    copy.filter(|_| rewritten).map_or_else(|| path.as_str().into(), Into::into);
                given.extend([option.into(), place]);
            }
        }
        let mut own = String::new();
        for local in request.projects {
            let (requirement, hash) = words(local, "").expect("BUG: every project was built");
            own.push_str(&format!("{requirement}{hash}\n"));
        }
        if !own.is_empty() {
            let file = folder.join("projects.txt");
            write_if_changed(&file, own.as_bytes(), 0o600)?;
            given.extend(["-r".into(), file.into()]);
        }
        given.extend(request.pip_args.iter().map(Into::into));
        Ok(given)
    }

    /// How pip's names for files that are only copies are shown.
    fn names(&self, request: &Request, folder: &Path) -> Vec<(String, String)> {
        let copies = self.requirements.files.iter().filter_map(|file| {
            let copy = self.requirements.copy_of(folder, &file.path, file.constraint)?;
            Some((copy.display().to_string(), file.path.to_string()))
        });
        let own =
            [(folder.join("projects.txt").display().to_string(), "the local projects".into())];
        let root = [(format!("{}/", request.project.root.display()), String::new())];
        copies.chain(own).chain(root).collect()
    }
}

/// Returns the files of the project that pip may take wheels and sources from.
fn offered(
    project: &Project,
    files: &Files,
    requirements: &Requirements,
    find_links: &BTreeSet<RelPath>,
) -> Result<BTreeSet<RelPath>> {
    let mut offered = requirements.archives.clone();
    for place in find_links {
        offered.extend(files.list(place)?.files);
        if project.place(place).is_file() {
            offered.insert(place.clone());
        }
    }
    Ok(offered)
}

/// Returns the digest of the names and contents of these files.
fn digest(files: &Files, paths: &BTreeSet<RelPath>) -> Result<Digest> {
    let paths: Vec<&RelPath> = paths.iter().collect();
    let mut hasher = FieldHasher::new();
    for (path, fact) in paths.iter().zip(files.facts(&paths)?) {
        hasher.field(path.as_str());
        match fact.content {
            Content::File { digest, .. } => hasher.field(digest.as_bytes()),
            _ => hasher.field(""),
        };
    }
    Ok(hasher.finish())
}

/// How pip reads metadata: for the runtime, and with the folders of local projects standing for
/// their wheels, also where another project depends on one by its path.
fn reading(
    request: &Request,
    store: &Store,
    recipe: &Recipe,
    built: &BTreeMap<RelPath, Wheel>,
) -> Reading {
    let mut reading = Reading { runtime: request.runtime, ..Reading::default() };
    for (local, wheel) in built {
        let place = request.project.place(local);
        let place = std::fs::canonicalize(&place).unwrap_or(place).display().to_string();
        let kept = store.place(wheel);
        reading.links.insert(place.clone(), file_url(&kept));
        reading.origins.insert(kept.display().to_string(), place);
    }
    if !built.is_empty() {
        reading.sandbox = recipe.source_path();
    }
    reading
}

/// Digest of what a build from source depends on besides its source.
fn context(
    request: &Request,
    interpreter: &Interpreter,
    config: &Config,
    requirements: &Requirements,
) -> Digest {
    let mut hasher = FieldHasher::new();
    hasher.field(RECIPE).field(&interpreter.identity.python).field(&interpreter.identity.pip);
    hasher.field(config.digest().as_bytes());
    let root = request.project.root.to_string_lossy();
    for option in requirements.options.iter().chain(request.pip_args) {
        hasher.field(redact(option).replace(&*root, "."));
    }
    hasher.finish()
}

/// Folders of find-links that pip's arguments name. What belongs into keys of its own is refused:
/// it would be an input that nobody sees change.
fn check_arguments(project: &Project, arguments: &[String]) -> Result<Vec<RelPath>> {
    match lines::arguments(arguments.to_vec()) {
        Meaning::Include { constraint, .. } => bail!(
            "`pip-args` names a file of requirements: use the key `{}` instead",
            if constraint { "constraints" } else { "requirements" }
        ),
        Meaning::Requirement(_) => {
            bail!("`pip-args` names an editable requirement: use the key `projects` instead")
        }
        Meaning::Options(words) => Ok(words
            .iter()
            .filter_map(|word| match word {
                Word::FindLinks(place) => find_links_inside(project, place),
                _ => None,
            })
            .collect()),
        Meaning::Nothing => Ok(Vec::new()),
    }
}
