//! The steps from requirements to wheels: read the files that pip reads, build local projects, run
//! pip once to resolve, and get the wheels that are not in the cache.
//!
//! pip does not run if its result is cached: when everything is pinned by hashes, the same files,
//! settings and interpreter give the same wheels, so the resolution is cached under them. With a
//! runtime, an interpreter counts only if something is built from source, so it is not started before.

mod resolution;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use zipwright_python::{Environment, Marker, Runtime};
use zipwright_store::Cache;

use super::arguments::Arguments;
use super::build::Source;
use super::config::Config;
use super::fetch::Fetch;
use super::identity::Identity;
use super::interpreter::LazyInterpreter;
use super::lines;
use super::lockfile::{LockRequest, LockedInputs};
use super::origins::Origins;
use super::parallel_map::parallel_map;
use super::requirements::{Replacement, Requirements};
use super::resolve::file_url;
use super::run::Pip;
use super::sdist::SdistBuilder;
use super::secrets::{Redactor, fingerprint};
use super::settings::Settings;
use super::sources::Sources;
use super::uv::Uv;
use super::wheel_command::Build;
use super::wheels::Wheel;
use zipwright_engine::event::Reporter;
use zipwright_engine::files::{Content, View};
use zipwright_engine::make::Pool;
use zipwright_store::digest::FieldHasher;
use zipwright_store::fs::write_if_changed;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// Version of the sdist build. A change makes old cache entries unused.
pub const RECIPE: &str = "5";

/// The requirements and settings of a wheelhouse.
pub struct Request<'a> {
    pub project: &'a Project,
    pub files: &'a View<'a>,
    pub requirements: &'a [RelPath],
    /// A lockfile in place of requirements.
    pub lock: Option<LockRequest<'a>>,
    pub resolver: Resolver,
    pub constraints: &'a [RelPath],
    pub projects: &'a [RelPath],
    pub python: &'a str,
    pub runtime: Option<Runtime>,
    pub pip_args: &'a [String],
    /// Variables for builds from source.
    pub build_env: &'a BTreeMap<String, String>,
    /// Paths that a build of a local project must not see: the outputs of targets.
    pub left_out: &'a [RelPath],
    /// Job slots besides the caller's own.
    pub pool: Option<&'a Pool>,
}

/// The program that resolves requirements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolver {
    #[default]
    Pip,
    Uv,
}

/// The result of [`Inputs::gather`].
pub struct Gathered {
    /// The wheels, sorted by name, all of them in the cache.
    pub wheels: Vec<Wheel>,
    /// Number of wheels built from source in this run.
    pub built: usize,
    /// The isolation of the builds, if it was determined in this run.
    pub isolation: Option<&'static str>,
    /// Where the wheels come from.
    pub origins: Origins,
}

/// Everything that the wheels depend on, in its current state.
pub struct Inputs {
    pub interpreter: LazyInterpreter,
    pub config: Config,
    pub requirements: Requirements,
    /// The packages of the lockfile, if there is one.
    pub locked: Option<LockedInputs>,
    /// uv, if it resolves the requirements.
    pub uv: Option<Uv>,
    pub sources: Vec<Source>,
    /// What decides how pip works; `None` if the wheels do not depend on it.
    pub identity: Option<Identity>,
    /// Whether they depend on it only if one of them is built from source: the files are pinned by
    /// hash, for a runtime.
    pub is_pinned: bool,
    /// Files of the project that pip may choose: archives that requirements name, and all files in
    /// folders of find-links, from every place where these are declared.
    pub offered: BTreeSet<RelPath>,
    /// pip's further arguments, without credentials.
    pub pip_args: Vec<String>,
    secrets: Redactor,
    context: Digest,
    /// Digest of the files in `offered`.
    offer: Digest,
    /// The project, with the variables for builds.
    project: Project,
    settings: Settings,
    /// pip's further arguments without `--config-settings`.
    plain_args: Vec<String>,
    /// Settings of pip that builds from source do not follow.
    not_followed: Vec<String>,
}

impl Inputs {
    /// Reads all inputs. `from_source` is whether something is built from source, if that does not
    /// follow from the request. Starts no process if the interpreter's identity is cached, or not
    /// needed.
    pub fn read(request: &Request, from_source: bool) -> Result<Self> {
        let Request { files, requirements, constraints, projects, .. } = *request;
        let project = &request.project.with_build_vars(request.build_env);
        let interpreter = LazyInterpreter::new(project, request.python);
        let locked = request
            .lock
            .map(|lock| LockedInputs::read(request.project, lock, (&interpreter, request.runtime)));
        let locked = locked.transpose()?;
        let uv = request.resolver == Resolver::Uv && locked.is_none();
        let uv = uv.then(|| Uv::find(project)).transpose()?;
        let applies = |marker: &str| applies(marker, &interpreter, request.runtime);
        let mut requirements =
            Requirements::read(request.project, requirements, constraints, &applies)?;
        let mut config = Config::read(project, interpreter.prefix()?.as_deref());
        let Arguments { find_links, settings: given, plain: plain_args, files: further, hashed } =
            Arguments::read(project, request.pip_args)?;
        requirements.hashed |= hashed || config.hashed;
        let by_pip = locked.as_ref().map_or(uv.is_none(), LockedInputs::has_sources);
        let has_projects = !projects.is_empty() || !requirements.folders.is_empty();
        let is_by_hash = requirements.hashed && locked.is_none() && uv.is_none();
        let is_pinned = is_by_hash && request.runtime.is_some() && !has_projects;
        let with_pip = has_projects || by_pip && (from_source || !is_pinned);
        let counts = with_pip || uv.is_some() || request.runtime.is_none();
        let found = counts.then(|| if with_pip { interpreter.fit() } else { interpreter.get() });
        let identity = found.transpose()?.map(|found| found.identity.clone());
        for path in further {
            config.add_file(project, "pip-args", &path);
        }
        let mut settings = requirements.settings.clone();
        let of_config = config.config_settings.iter().filter(|_| given.is_empty());
        of_config.chain(&given).try_for_each(|text| settings.add_all(text))?;
        let mut links = requirements.find_links.clone();
        links.extend(config.find_links.iter().chain(&find_links).cloned());
        let mut offered = offered(project, files, &requirements, (&links, request.left_out))?;
        offered.extend(locked.iter().flat_map(|locked| locked.offered.iter().cloned()));
        let offer = digest(files, &offered)?;
        let indexes = Sources::read(&config.network, &plain_args, &requirements.options);
        let indexes = indexes.iter().flat_map(|sources| &sources.indexes);
        indexes.for_each(|url| config.network.add_index(url));
        let secrets = secrets(request.pip_args, &requirements, &config);
        let pip_args: Vec<String> = request.pip_args.iter().map(|arg| fingerprint(arg)).collect();
        let context = context(project, &plain_args, identity.as_ref(), &config, &requirements);
        let mut folders: BTreeSet<&RelPath> = projects.iter().collect();
        folders.extend(&requirements.folders);
        folders.extend(locked.iter().flat_map(|locked| &locked.projects));
        let look = |folder: &&RelPath| {
            let settings = settings.of(None, Some(folder));
            Source::look(project, files, folder, (request.left_out, context, settings))
        };
        let sources = folders.iter().map(look).collect::<Result<_>>()?;
        Ok(Self {
            not_followed: not_followed(&plain_args, &config),
            interpreter,
            config,
            requirements,
            locked,
            uv,
            sources,
            identity,
            is_pinned,
            offered,
            pip_args,
            secrets,
            context,
            offer,
            project: project.clone(),
            settings,
            plain_args,
        })
    }

    /// Reads the inputs of a request, and returns them with all wheels, fetched or built if they are
    /// not in the cache. `from_source` is the expected one.
    pub fn gather(
        request: &Request,
        from_source: bool,
        reporter: &dyn Reporter,
    ) -> Result<(Self, Gathered)> {
        let inputs = Self::read(request, from_source)?;
        match inputs.wheels(request, reporter)? {
            Ok(gathered) => Ok((inputs, gathered)),
            Err(reason) => {
                let inputs = Self::read(request, true).context(reason)?;
                let gathered = inputs.wheels(request, reporter)?;
                Ok((inputs, gathered.expect("BUG: the identity is one of the inputs now")))
            }
        }
    }

    /// Returns all wheels; the reason if an interpreter is needed for them, and its identity is not one
    /// of the inputs.
    fn wheels(
        &self,
        request: &Request,
        reporter: &dyn Reporter,
    ) -> Result<Result<Gathered, String>> {
        let cache = request.project.cache()?;
        let pip = Pip {
            project: &self.project,
            interpreter: &self.interpreter,
            secrets: &self.secrets,
            reporter,
        };
        let build = Build {
            options: &self.requirements.options,
            pip_args: &self.plain_args,
            settings: &self.settings,
            runtime: request.runtime,
            offer: self.offer,
        };
        let builder = SdistBuilder::new(&pip, cache, &build, self.context);
        let own = parallel_map(request.pool, &self.sources, |source| {
            source.wheel(&builder, cache, (&pip, &build))
        })?;
        let folders = self.sources.iter().map(|source| source.folder.clone());
        let built: BTreeMap<RelPath, Wheel> = folders.zip(own).collect();
        let origins = Origins::default();
        built.iter().for_each(|(folder, wheel)| origins.add_folder(folder, wheel));
        let (pool, context) = (request.pool, self.context);
        let (network, locked) = (&self.config.network, self.locked.as_ref());
        let fetch = Fetch {
            pip: &pip,
            cache,
            build: &build,
            builder: &builder,
            context,
            pool,
            network,
            locked,
            origins: &origins,
        };
        let wheels = match &self.locked {
            None => self.resolved(request, &fetch, built)?,
            Some(locked) => {
                check_apart(locked, &built)?;
                let mut wheels = fetch.all(&locked.picks(request.project))?;
                wheels.extend(built.into_values());
                wheels.sort();
                Ok(wheels)
            }
        };
        let wheels = match wheels {
            Ok(wheels) => wheels,
            Err(reason) => return Ok(Err(reason)),
        };
        let (built, isolation) = builder.report();
        if built > 0 {
            self.warn_of_settings(reporter);
        }
        Ok(Ok(Gathered { wheels, built, isolation, origins }))
    }

    /// Returns the digest of a gathered wheel.
    pub fn digest(&self, request: &Request, wheel: &Wheel) -> Result<Digest> {
        wheel.digest(request.project.cache()?)
    }

    /// Makes `folder` hold exactly these wheels. A wheel that is already there is not touched.
    pub fn leave(&self, request: &Request, wheels: &[Wheel], folder: &Path) -> Result<()> {
        let cache = request.project.cache()?;
        zipwright_store::fs::create_dir_all(folder)?;
        wheels.par_iter().try_for_each(|wheel| match wheel.copy_into(cache, folder)? {
            true => Ok(()),
            false => {
                bail!("`{}` vanished from the cache while it was used: build again", wheel.name)
            }
        })?;
        let entries = std::fs::read_dir(folder)
            .map_err(|error| anyhow::anyhow!("could not list `{}`: {error}", folder.display()))?;
        for entry in entries.flatten() {
            if !wheels.iter().any(|wheel| entry.file_name() == wheel.name.as_str()) {
                zipwright_store::fs::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Returns the options that name the requirements and constraints. Files that name local
    /// folders are rewritten.
    fn given(
        &self,
        request: &Request,
        cache: &Cache,
        built: &BTreeMap<RelPath, Wheel>,
        folder: &Path,
    ) -> Result<Vec<OsString>> {
        let hashed = self.requirements.hashed;
        let wheel_of = |local: &RelPath| {
            let wheel = built.get(local)?;
            let hash =
                if hashed { format!(" --hash=sha256:{}", wheel.sha256) } else { String::new() };
            Some(Replacement {
                project: wheel.project(),
                url: file_url(&wheel.place_in(cache)),
                hash,
            })
        };
        self.requirements.write(request.project, folder, &wheel_of)?;
        let mut given: Vec<OsString> = Vec::new();
        for (option, paths) in [("-r", request.requirements), ("-c", request.constraints)] {
            for path in paths {
                let copy = self.requirements.copy_of(folder, path, option == "-c");
                given.extend([option.into(), copy.into()]);
            }
        }
        let mut own = String::new();
        for local in request.projects {
            let Replacement { project, url, hash } =
                wheel_of(local).expect("BUG: every project was built");
            own.push_str(&format!("{project} @ {url}{hash}\n"));
        }
        if !own.is_empty() {
            let file = folder.join("projects.txt");
            write_if_changed(&file, own.as_bytes(), 0o600)?;
            given.extend(["-r".into(), file.into()]);
        }
        Ok(given)
    }

    fn warn_of_settings(&self, reporter: &dyn Reporter) {
        for name in &self.not_followed {
            reporter.warn(&format!(
                "pip's setting `{name}` is not passed on: builds from source have an environment \
                 of their own, and settings for their back end go into `--config-settings`"
            ));
        }
    }

    /// Returns pairs of a path of a copy, as pip prints it, and the name to show instead.
    fn names(&self, request: &Request, folder: &Path) -> Vec<(String, String)> {
        let copies = self.requirements.files.iter().map(|file| {
            let copy = self.requirements.copy_of(folder, &file.path, file.constraint);
            (copy.display().to_string(), file.path.to_string())
        });
        let own =
            [(folder.join("projects.txt").display().to_string(), "the local projects".into())];
        let root = [(format!("{}/", request.project.root.display()), String::new())];
        copies.chain(own).chain(root).collect()
    }
}

/// Returns the secrets in all inputs.
fn secrets(pip_args: &[String], requirements: &Requirements, config: &Config) -> Redactor {
    let mut secrets = Redactor::default();
    secrets.join(&requirements.secrets);
    secrets.join(&config.secrets);
    secrets.learn(&pip_args.join(" "));
    secrets
}

/// Fails if a local project is also a package of the lockfile.
fn check_apart(locked: &LockedInputs, built: &BTreeMap<RelPath, Wheel>) -> Result<()> {
    for (folder, wheel) in built {
        let project = wheel.project();
        if locked.has(&project) {
            bail!("`{project}` is both the local project `{folder}` and a package of the lockfile");
        }
    }
    Ok(())
}

/// Returns the files of the project that pip may take wheels and sources from.
fn offered(
    project: &Project,
    files: &View,
    requirements: &Requirements,
    (find_links, left_out): (&BTreeSet<RelPath>, &[RelPath]),
) -> Result<BTreeSet<RelPath>> {
    let mut offered = requirements.archives.clone();
    for place in find_links {
        if !project.place(place).is_file() {
            offered.extend(files.list(place)?.files);
            continue;
        }
        // A page names wheels and archives beside it.
        offered.insert(place.clone());
        let beside = files.list(&place.parent())?.files.into_iter();
        offered.extend(beside.filter(|path| {
            lines::is_archive(path.as_str())
                && !left_out.iter().any(|output| path.is_within(output))
        }));
    }
    Ok(offered)
}

/// Returns the digest of the names and contents of these files.
fn digest(files: &View, paths: &BTreeSet<RelPath>) -> Result<Digest> {
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

/// Returns whether a marker is true in the runtime, or without a runtime in the interpreter on this
/// host; `None` if only pip can evaluate it.
fn applies(marker: &str, interpreter: &LazyInterpreter, runtime: Option<Runtime>) -> Option<bool> {
    let environment = match runtime {
        Some(runtime) => runtime.environment(),
        // The cached identity of an interpreter does not have the kernel's release.
        None if marker.contains("platform_release") || marker.contains("platform_version") => {
            return None;
        }
        None => {
            let Identity { python, minor, .. } = &interpreter.get().ok()?.identity;
            let mut words = python.split(' ');
            let (implementation, full) = (words.next()?, words.next()?);
            let machine = words.find_map(|word| word.strip_prefix("linux-"))?;
            Environment::of_linux((implementation, full), *minor, machine)
        }
    };
    Marker::parse(marker).ok()?.eval(&environment, &[]).ok()
}

/// Returns the digest of everything that a build from source depends on besides its source and its
/// own settings.
fn context(
    project: &Project,
    arguments: &[String],
    identity: Option<&Identity>,
    config: &Config,
    requirements: &Requirements,
) -> Digest {
    let mut hasher = FieldHasher::new();
    let (python, pip) = identity.map_or(("", ""), |of| (&of.python, &of.pip));
    hasher.field(RECIPE).field(python).field(pip);
    hasher.field(config.digest().as_bytes());
    let root = project.root.to_string_lossy();
    for option in requirements.options.iter().chain(arguments) {
        hasher.field(fingerprint(option).replace(&*root, "."));
    }
    hasher.finish()
}

/// Returns the names of settings, in pip's arguments or its configuration, that builds do not
/// follow.
fn not_followed(arguments: &[String], config: &Config) -> Vec<String> {
    let names = ["no-build-isolation", "no-use-pep517", "use-pep517", "build-option"];
    let given = arguments.iter().filter_map(|word| word.strip_prefix("--"));
    let given = given.map(|word| word.split('=').next().unwrap_or(word));
    let given = given.filter(|name| names.contains(name)).map(String::from);
    let mut all: Vec<String> = given.chain(config.not_followed.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}
