//! The `wheelhouse` kind: a folder with exactly the wheels that requirements and local projects
//! resolve to.
//!
//! The content of a package index is not part of the key: an up-to-date wheelhouse is not resolved
//! again because of a new release. Knows the keys of the Buildfile; [`crate::pip`] reads pip's
//! inputs and runs it.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use zipwright_python::lock::Wanted;
use zipwright_python::{Arch, Runtime};

use super::command::env;
use crate::base::fs as base_fs;
use crate::base::{Digest, RelPath};
use crate::buildfile::table::{Item, Reader, Table, entries, in_order, members, string, text};
use crate::buildfile::{default_path, mistakes, value};
use crate::diagnostic::{Span, Spanned};
use crate::files::{Content, Place};
use crate::key::{Key, Value};
use crate::ownership;
use crate::pip::{self, Gathered, Inputs, LockRequest, Request, Resolver, Wheel};
use crate::project::Project;
use crate::target::{Declared, Done, Findings, Fingerprint, Input, Job, Kind};

#[derive(Clone, Debug)]
pub struct Wheelhouse {
    pub requirements: Vec<Spanned<RelPath>>,
    /// A lockfile in place of requirements.
    pub lock: Option<Lock>,
    /// The program that resolves the requirements.
    pub resolver: Resolver,
    pub constraints: Vec<Spanned<RelPath>>,
    /// Folders of local projects, each with a `pyproject.toml` or `setup.py`.
    pub projects: Vec<Spanned<RelPath>>,
    /// A program on PATH, or a path (relative to the project, or absolute).
    pub python: Spanned<String>,
    pub platform: Option<Platform>,
    /// Further arguments for pip, e.g. `--pre`.
    pub pip_args: Vec<String>,
    /// Variables for builds from source.
    pub build_env: BTreeMap<String, String>,
    pub output: Spanned<RelPath>,
}

/// A lockfile, and the parts of it that are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    pub path: Spanned<RelPath>,
    /// A member of the workspace.
    pub package: Option<String>,
    pub extras: Vec<String>,
    /// `None`: the default groups of the lockfile.
    pub groups: Option<Vec<String>>,
}

/// The Lambda runtime that wheels are chosen for.
#[derive(Clone, Debug)]
pub struct Platform {
    pub span: Span,
    /// `3.13`
    pub python: PythonVersion,
    pub arch: Arch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    pub major: u8,
    pub minor: u8,
}

pub(super) fn read(stem: &str, table: &mut Table, reader: &mut Reader) -> Option<Wheelhouse> {
    let keys = ["requirements", "lock", "projects"];
    let given = keys.iter().any(|key| table.has(key));
    let lock = lock(table, reader);
    let requirements = table.many("requirements", reader, value::path);
    let constraints = table.many("constraints", reader, value::path);
    let projects = table.many("projects", reader, value::path);
    let resolvers = [("pip", Resolver::Pip), ("uv", Resolver::Uv)];
    let resolver = table.optional("resolver", reader, |item, reader| {
        value::word(item, reader, "resolver", &resolvers)
    });
    let python = table.optional("python", reader, |item, reader| {
        value::filled(item, reader, "a program such as `python3.13`, or a path to one")
    });
    let platform = table.optional("platform", reader, platform);
    let pip_args = table.many("pip-args", reader, text);
    let build_env = table.optional("build-env", reader, build_env).unwrap_or_default();
    let output = table.optional("output", reader, value::output);
    if !given {
        reader.report(mistakes::missing_all(table.span(), &keys, table.owner()));
        return None;
    }
    let span = table.span();
    Some(Wheelhouse {
        requirements,
        lock,
        resolver: resolver.unwrap_or_default(),
        constraints,
        projects,
        python: python.unwrap_or_else(|| Spanned { value: "python3".into(), span: span.clone() }),
        platform,
        pip_args,
        build_env,
        output: output.unwrap_or_else(|| default_path(stem, "", span)),
    })
}

/// Reads the lockfile of a wheelhouse, and reports keys that do not go with one, or without one.
fn lock(table: &mut Table, reader: &mut Reader) -> Option<Lock> {
    let given = table.take("lock");
    for key in ["requirements", "constraints", "resolver"] {
        if let (Some(lock), Some(other)) = (given, table.take(key)) {
            let (first, second) =
                if lock.start < other.start { (lock, other) } else { (other, lock) };
            let (first, second) = (first.span(), second.span());
            reader.report(mistakes::only_one_of(&second, &first, ["lock", key], table.owner()));
        }
    }
    for key in ["package", "extras", "groups"] {
        if let (None, Some(item)) = (given, table.take(key)) {
            reader.report(mistakes::only_with(&item.span(), key, "lock"));
        }
    }
    let package = table.optional("package", reader, |item, reader| {
        value::filled(item, reader, "a member of the workspace")
    });
    let extras = table.many("extras", reader, text);
    let groups = table.optional("groups", reader, |item, reader| members(item, reader, text));
    let path = value::path(given?, reader)?;
    if let Some(mistake) = mistakes::not_a_lockfile(&path.span, path.value.file_name()) {
        reader.report(mistake);
        return None;
    }
    Some(Lock { path, package: package.map(|package| package.value), extras, groups })
}

/// Variables that builds from source have from zipwright alone, and beginnings of such.
const OWN_VARIABLES: [&str; 11] = [
    "HOME",
    "LC_ALL",
    "PATH",
    "PIP_",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "ZIPWRIGHT_",
];

fn build_env(item: Item, reader: &mut Reader) -> Option<BTreeMap<String, String>> {
    let variables = env(item, reader)?;
    for (span, name, _) in entries(item, reader).map(in_order).unwrap_or_default() {
        let is_own = |own: &str| name == own || own.ends_with('_') && name.starts_with(own);
        if OWN_VARIABLES.into_iter().any(is_own) {
            reader.report(mistakes::own_build_variable(&span, name));
        }
    }
    Some(variables)
}

fn platform(item: Item, reader: &mut Reader) -> Option<Platform> {
    let span = item.span();
    let mut table = Table::new(entries(item, reader)?, "`platform`".into(), span.clone());
    let python = table.required("python", "\"3.13\"", reader, version);
    let arch = table.required("arch", "\"arm64\"", reader, value::arch);
    table.done(reader);
    Some(Platform { span, python: python?, arch: arch? })
}

fn version(item: Item, reader: &mut Reader) -> Option<PythonVersion> {
    let text = string(item, reader)?;
    let digits = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text
        .value
        .split_once('.')
        .filter(|(major, minor)| digits(major) && digits(minor))
        .and_then(|(major, minor)| {
            Some(PythonVersion { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
    if parsed.is_none() {
        reader.report(mistakes::bad_version(&text.span, &text.value));
    }
    parsed
}

/// The purpose of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To decide whether the target is up to date.
    Target,
    /// To name a set of wheels: without the names of requirement files and of the output, and with
    /// the lines of requirement files that count instead of their text.
    Wheels,
}

fn key(wheelhouse: &Wheelhouse, job: &Job, purpose: Purpose) -> Result<Key> {
    let Wheelhouse { requirements, lock, constraints, projects, platform, output, .. } = wheelhouse;
    // pip's configuration and the interpreter are not observed.
    job.files.partial();
    let paths = Paths::of(wheelhouse, job);
    let request = paths.request(wheelhouse, job);
    let inputs = match purpose {
        Purpose::Target => Inputs::read(&request, has_source(wheelhouse, job))?,
        // Without an interpreter, nothing is built from source.
        Purpose::Wheels => {
            Inputs::read(&request, true).or_else(|_| Inputs::read(&request, false))?
        }
    };
    let mut key = Key::new();
    let is_of_target = purpose == Purpose::Target;
    if is_of_target {
        key.text("requirements", joined(requirements));
        key.text("constraints", joined(constraints));
    }
    key.text("projects", joined(projects));
    key.text(
        "platform",
        platform.as_ref().map_or("this host".into(), |platform| runtime(platform).describe()),
    );
    if is_of_target {
        key.text("output", &output.value);
    }
    if let (Some(lock), Some(locked)) = (lock, &inputs.locked) {
        if is_of_target {
            key.text("lock", &lock.path.value);
        }
        for (name, version) in locked.versions() {
            key.text(format!("package {name}"), version);
        }
        key.push("files of the lock", Value::Digest(locked.files()));
        if !locked.has_sources() && inputs.sources.is_empty() {
            return Ok(key);
        }
    } else if let Some(platform) = platform {
        key.text("markers of the platform", runtime(platform).markers());
    }
    // The Buildfile's `pip-args` and `build-env` are part of these.
    let interpreter = if is_of_target { wheelhouse.python.value.as_str() } else { "" };
    add_tools(&mut key, &inputs, interpreter);
    match purpose {
        Purpose::Target => add_requirements(&mut key, &inputs, job)?,
        Purpose::Wheels => add_lines(&mut key, &inputs, job)?,
    }
    for source in &inputs.sources {
        for (path, digest, executable) in source.files() {
            let name = format!("project {} file {path}", source.folder);
            key.push(name, Value::File { digest, executable });
        }
    }
    Ok(key)
}

/// Adds the resolver, pip, its arguments and its configuration. `python` is the name of the
/// interpreter.
fn add_tools(key: &mut Key, inputs: &Inputs, python: &str) {
    if let Some(uv) = &inputs.uv {
        key.text("resolver", format!("uv {}", uv.version));
    }
    key.text("pip-args", inputs.pip_args.join(" "));
    if let Some(identity) = &inputs.identity {
        key.text(format!("python {python}"), &identity.python);
        key.text("pip", &identity.pip);
    }
    for (name, value) in &inputs.config.settings {
        key.text(name, value);
    }
    for (name, digest) in &inputs.config.files {
        key.push(format!("file of {name}"), digest.map_or(Value::Missing, Value::Digest));
    }
}

/// Returns whether a wheel of the last run was built from source.
fn has_source(wheelhouse: &Wheelhouse, job: &Job) -> bool {
    pip::has_source(job.project, &wheelhouse.output.value)
}

fn run(wheelhouse: &Wheelhouse, job: &Job) -> Result<Done> {
    let paths = Paths::of(wheelhouse, job);
    let request = paths.request(wheelhouse, job);
    let had_source = has_source(wheelhouse, job);
    let (inputs, gathered) = Inputs::gather(&request, had_source, job.messages)?;
    let Gathered { wheels, built, isolation, origins } = gathered;
    let output = &wheelhouse.output.value;
    let place = job.files.folder_to_write(output)?;
    check_folder(&place, &wheels, job)?;
    let promised: Vec<(RelPath, Digest)> = wheels
        .iter()
        .map(|wheel| Ok((member(output, &wheel.name)?, inputs.digest(&request, wheel)?)))
        .collect::<Result<_>>()?;
    job.owned.promise(promised.iter().map(|(path, digest)| (path, digest)))?;
    origins.write(job.project, output)?;
    inputs.leave(&request, &wheels, &place)?;
    // The key of before has the interpreter too much, or too little.
    let is_other = inputs.is_pinned && has_source(wheelhouse, job) != had_source;
    let key = is_other.then(|| key(wheelhouse, job, Purpose::Target)).transpose()?;
    let mut facts = vec![("wheels".into(), wheels.len().into())];
    if built > 0 {
        facts.push(("built".into(), built.into()));
        facts.extend(isolation.map(|isolation| ("isolation".into(), isolation.into())));
    }
    Ok(Done { key, facts, ..Done::default() })
}

/// Fails if the output folder has files that would be removed or replaced, and are not the target's.
fn check_folder(place: &Place, wheels: &[Wheel], job: &Job) -> Result<()> {
    let folder = place.path();
    let mut foreign = Vec::new();
    if job.owned.force || !place.is_dir() {
        return Ok(());
    }
    // pip may have taken minutes.
    place.look_anew();
    let failed = || format!("could not list `{folder}`");
    for entry in fs::read_dir(place).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name();
        if base_fs::is_temp_name(&name) {
            continue;
        }
        let path = name.to_str().and_then(|name| folder.member(name));
        let is_file = place.join(&name).symlink_metadata().is_ok_and(|meta| meta.is_file());
        let may_go = match path.filter(|_| is_file) {
            Some(path) => match job.files.fact(&path)?.content {
                Content::File { digest, .. } if job.owned.is_ours(&path, &digest) => true,
                _ => match wheels.iter().find(|wheel| name == *wheel.name) {
                    Some(wheel) => wheel.is_at(&place.join(&name))?,
                    None => false,
                },
            },
            None => false,
        };
        if !may_go {
            foreign.push(format!("{folder}/{}", name.display()));
        }
    }
    foreign.sort();
    if foreign.is_empty() { Ok(()) } else { Err(ownership::in_the_way(&foreign)) }
}

fn member(folder: &RelPath, name: &str) -> Result<RelPath> {
    folder.member(name).with_context(|| format!("`{name}` is not a file name"))
}

/// Adds the files that pip reads, and the files in folders that it searches.
fn add_requirements(key: &mut Key, inputs: &Inputs, job: &Job) -> Result<()> {
    let requirements = &inputs.requirements;
    let mut added = std::collections::BTreeSet::new();
    for file in requirements.files.iter().filter(|file| added.insert(&file.path)) {
        if file.secret {
            // A new password in it is not a reason to build.
            let digest = Digest::of(file.text.as_bytes());
            key.push(format!("file {} without credentials", file.path), Value::Digest(digest));
        } else {
            job.add_file(key, &file.path)?;
        }
    }
    for (line, text) in &requirements.expanded {
        key.push(format!("variables in {line}"), Value::Digest(Digest::of(text.as_bytes())));
    }
    let mut offered = inputs.offered.iter();
    offered.try_for_each(|path| if added.insert(path) { job.add_file(key, path) } else { Ok(()) })
}

/// Adds the lines of the files that pip reads, and the files in folders that it searches.
fn add_lines(key: &mut Key, inputs: &Inputs, job: &Job) -> Result<()> {
    for (line, is_constraint) in inputs.requirements.effective_lines() {
        key.text(if is_constraint { "constraint" } else { "requirement" }, line);
    }
    inputs.offered.iter().try_for_each(|path| job.add_file(key, path))
}

/// The paths of a wheelhouse, in the form that [`Request`] borrows.
struct Paths {
    requirements: Vec<RelPath>,
    constraints: Vec<RelPath>,
    projects: Vec<RelPath>,
    left_out: Vec<RelPath>,
}

impl Paths {
    fn of(wheelhouse: &Wheelhouse, job: &Job) -> Self {
        // Only outputs that this target needs are inputs; those of other targets are ignored.
        let needed = |name: &str| job.target.needs.iter().any(|need| need.value == name);
        let others = job.model.targets.iter().filter(|target| !needed(&target.name.value));
        Self {
            requirements: values(&wheelhouse.requirements),
            constraints: values(&wheelhouse.constraints),
            projects: values(&wheelhouse.projects),
            left_out: others
                .flat_map(crate::target::Target::outputs)
                .map(|output| output.path().clone())
                .collect(),
        }
    }

    fn request<'a>(&'a self, wheelhouse: &'a Wheelhouse, job: &Job<'a>) -> Request<'a> {
        Request {
            project: job.project,
            files: job.files,
            requirements: &self.requirements,
            lock: wheelhouse.lock.as_ref().map(|lock| LockRequest {
                path: &lock.path.value,
                wanted: Wanted {
                    package: lock.package.as_deref(),
                    extras: &lock.extras,
                    groups: lock.groups.as_deref(),
                },
            }),
            resolver: wheelhouse.resolver,
            constraints: &self.constraints,
            projects: &self.projects,
            python: &wheelhouse.python.value,
            runtime: wheelhouse.platform.as_ref().map(runtime),
            pip_args: &wheelhouse.pip_args,
            build_env: &wheelhouse.build_env,
            left_out: &self.left_out,
            pool: job.pool,
        }
    }
}

fn runtime(platform: &Platform) -> Runtime {
    let Platform { span: _, python: PythonVersion { major, minor }, arch } = *platform;
    Runtime { major, minor, arch }
}

fn values(paths: &[Spanned<RelPath>]) -> Vec<RelPath> {
    paths.iter().map(|path| path.value.clone()).collect()
}

fn joined(paths: &[Spanned<RelPath>]) -> String {
    values(paths).iter().map(RelPath::as_str).collect::<Vec<_>>().join(" ")
}

impl Wheelhouse {
    /// Returns a key that changes when the wheels would: the same for another name of a file or of the
    /// target, another comment, or another place of the project.
    pub fn key_of_wheels(&self, job: &Job) -> Result<Key> {
        key(self, job, Purpose::Wheels)
    }

    /// Returns whether wheels that are not built from source need no Python: the files are locked or
    /// pinned for a platform.
    pub fn needs_no_python(&self, job: &Job) -> bool {
        let read = || Inputs::read(&Paths::of(self, job).request(self, job), false);
        self.platform.is_some() && read().is_ok_and(|inputs| inputs.identity.is_none())
    }

    /// Returns the text of a `pylock.toml` for the wheels in its folder, and their number.
    pub fn pylock(&self, project: &Project) -> Result<(String, usize)> {
        let runtime = self.platform.as_ref().map(runtime);
        pip::pylock(project, &self.output.value, (&self.python.value, runtime))
    }
}

impl Kind for Wheelhouse {
    fn name(&self) -> &'static str {
        "wheelhouse"
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        let lock = self.lock.iter().map(|lock| &lock.path);
        let files = self.requirements.iter().chain(&self.constraints).chain(lock);
        let paths = files.chain(&self.projects).map(Input::Path);
        paths.chain([Input::Program(&self.python)]).collect()
    }

    fn outputs(&self) -> Vec<Declared<'_>> {
        vec![Declared::folder(&self.output)]
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job, Purpose::Target).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}
