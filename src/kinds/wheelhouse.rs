//! The `wheelhouse` kind: a folder with exactly the wheels that requirements and local projects
//! resolve to.
//!
//! The content of a package index is not part of the key: an up-to-date wheelhouse is not resolved
//! again because of a new release. Knows the keys of the Buildfile; [`crate::pip`] reads pip's
//! inputs and runs it.

use std::fs;

use anyhow::{Context, Result};
use zipwright_python::Runtime;
use zipwright_python::lock::Wanted;

use super::{Done, Job};
use crate::base::fs as base_fs;
use crate::base::{Digest, RelPath};
use crate::buildfile::model::{Output, Platform, PythonVersion, Spanned, Wheelhouse};
use crate::files::Content;
use crate::key::{Key, Value};
use crate::ownership;
use crate::pip::{Gathered, Inputs, LockRequest, Request, Talk, Wheel};

pub(super) fn key(wheelhouse: &Wheelhouse, job: &Job) -> Result<Key> {
    let Wheelhouse {
        requirements,
        lock,
        constraints,
        projects,
        python,
        platform,
        pip_args: _,
        // Part of the settings below, with the other variables for builds.
        build_env: _,
        output,
    } = wheelhouse;
    // pip's configuration and the interpreter are not observed.
    job.files.partial();
    let paths = Paths::of(wheelhouse, job);
    let inputs = Inputs::read(&paths.request(wheelhouse, job))?;
    let mut key = Key::new();
    key.text("requirements", joined(requirements));
    key.text("constraints", joined(constraints));
    key.text("projects", joined(projects));
    key.text(
        "platform",
        platform.as_ref().map_or("this host".into(), |platform| runtime(platform).describe()),
    );
    key.text("output", &output.value);
    if let (Some(lock), Some(locked)) = (lock, &inputs.locked) {
        key.text("lock", &lock.path.value);
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
    key.text("pip-args", inputs.pip_args.join(" "));
    key.text(format!("python {}", python.value), &inputs.interpreter.identity.python);
    key.text("pip", &inputs.interpreter.identity.pip);
    for (name, value) in &inputs.config.settings {
        key.text(name, value);
    }
    for (name, digest) in &inputs.config.files {
        key.push(format!("file of {name}"), digest.map_or(Value::Missing, Value::Digest));
    }
    add_requirements(&mut key, &inputs, job)?;
    for source in &inputs.sources {
        for (path, digest, executable) in source.files() {
            let name = format!("project {} file {path}", source.folder);
            key.push(name, Value::File { digest, executable });
        }
    }
    Ok(key)
}

pub(super) fn run(wheelhouse: &Wheelhouse, job: &Job) -> Result<Done> {
    let paths = Paths::of(wheelhouse, job);
    let request = paths.request(wheelhouse, job);
    let inputs = Inputs::read(&request)?;
    let talk = Talk {
        line: &|stream, text| job.messages.line(stream, text.into()),
        status: &|text| job.messages.status(text),
        warn: &|text| job.messages.warn(text),
    };
    let Gathered { wheels, built, isolation } = inputs.gather(&request, talk)?;
    let output = &wheelhouse.output.value;
    let place = job.project.folder_to_write(output)?;
    check_folder(output, &wheels, job)?;
    let promised: Vec<(RelPath, Digest)> = wheels
        .iter()
        .map(|wheel| Ok((member(output, &wheel.name)?, inputs.digest(&request, wheel)?)))
        .collect::<Result<_>>()?;
    job.owned.promise(promised.iter().map(|(path, digest)| (path, digest)))?;
    inputs.leave(&request, &wheels, &place)?;
    let mut facts = vec![("wheels".into(), wheels.len().into())];
    if built > 0 {
        facts.push(("built".into(), built.into()));
        facts.extend(isolation.map(|isolation| ("isolation".into(), isolation.into())));
    }
    Ok(Done { outputs: vec![Output::Folder(output.clone())], facts, ..Done::default() })
}

/// Fails if the output folder has files that would be removed or replaced, and are not the target's.
fn check_folder(folder: &RelPath, wheels: &[Wheel], job: &Job) -> Result<()> {
    let place = job.project.place(folder);
    let mut foreign = Vec::new();
    if job.owned.force || !place.is_dir() {
        return Ok(());
    }
    // pip may have taken minutes.
    job.files.forget_folder(folder);
    let failed = || format!("could not list `{folder}`");
    for entry in fs::read_dir(&place).with_context(failed)? {
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
                .flat_map(super::super::buildfile::model::Target::outputs)
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
