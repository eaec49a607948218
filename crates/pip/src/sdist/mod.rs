//! Builds a wheel from source so that the same source gives the same bytes on every machine.
//!
//! The hooks of the back end are called directly, in a virtual environment made of recorded wheels,
//! at a fixed path, with an environment that is built from nothing and compilers that append
//! options against paths in their output. The result is rewritten in canonical form.
//! `docs/REPRODUCIBILITY.md` has the reasons and the measurements.

mod sandbox;
mod normalize;
mod environment;
mod nested_zip;
mod leaks;
mod log;
mod build_requires;
mod machine;
mod tools;
mod unpack;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use zipwright_store::Cache;

use self::build_requires::{BackEnd, Locks};
use self::environment::Environments;
use self::leaks::Needles;
use self::log::Log;
use self::machine::Machine;
use self::sandbox::{Isolation, Sandbox};
use super::build_environment;
use super::provenance::BuildInputs;
use super::run::Pip;
use super::settings::{Pairs, to_json};
use super::wheel_command::{Build, wheels_in};
use super::wheels::{Wheel, sha256_of};
use zipwright_engine::process::describe;
use zipwright_store::Digest;
use zipwright_store::fs::{create_dir_all, read, remove, write_if_changed};

pub(super) use unpack::unpack;

const DRIVER: &str = include_str!("driver.py");

pub(super) struct SdistBuilder<'a> {
    pip: &'a Pip<'a>,
    cache: &'a Cache,
    locks: Locks<'a>,
    environments: Environments,
    machine: Machine<'a>,
    built: AtomicUsize,
}

/// The inputs of a build besides the source and the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Basis {
    requires: Vec<String>,
    lock: Vec<Wheel>,
    tools: String,
    /// The versions that the tools reported, for display.
    versions: Vec<(String, String)>,
    path: PathBuf,
    /// Warnings to print whenever the wheel is used.
    warnings: Vec<String>,
}

impl Basis {
    pub(super) fn build_inputs(&self) -> BuildInputs {
        BuildInputs {
            requires: self.lock.clone(),
            tools: self.versions.clone(),
            path: self.path.display().to_string(),
        }
    }
}

/// A source that is about to be built.
pub(super) struct Building {
    /// Its name in messages, e.g. `` `idna 3.7` ``.
    what: String,
    sandbox: Sandbox,
}

impl Building {
    /// Returns the empty folder that the source is to be put into.
    pub(super) fn source(&self) -> PathBuf {
        self.sandbox.place.join("src")
    }
}

/// A wheel in canonical form; its file lives as long as the [`Building`].
pub(super) struct Made {
    pub(super) wheel: PathBuf,
    pub(super) basis: Basis,
}

impl<'a> SdistBuilder<'a> {
    /// Creates the builder. `context` is the digest of the settings of every build.
    pub(super) fn new(
        pip: &'a Pip<'a>,
        cache: &'a Cache,
        build: &'a Build<'a>,
        context: Digest,
    ) -> Self {
        Self {
            pip,
            cache,
            locks: Locks::new(pip, cache, build, context),
            environments: Environments::default(),
            machine: Machine::new(pip.project, cache),
            built: AtomicUsize::new(0),
        }
    }

    /// Returns the folder of a source as its build sees it.
    pub(super) fn source_path(&self) -> PathBuf {
        self.machine.identity().path.join("src")
    }

    /// Returns the number of built wheels, and their isolation.
    pub(super) fn report(&self) -> (usize, Option<&'static str>) {
        (self.built.load(Ordering::Relaxed), self.machine.isolation())
    }

    /// Returns whether a build of `what` now would have the same inputs. Runs pip for the build
    /// requirements if no resolution is cached.
    pub(super) fn holds(&self, basis: &Basis, what: &str) -> bool {
        let now = self.machine.identity();
        let lock = || match self.locks.known(&basis.requires) {
            Some(lock) => Some(lock),
            // The build that follows shows the error.
            None => self.locks.wheels(&basis.requires, what).ok(),
        };
        basis.tools == now.tools
            && basis.path == now.path
            && lock().is_some_and(|lock| lock == basis.lock)
    }

    /// Prints the warnings of a wheel that was built here, now or earlier.
    pub(super) fn warn(&self, basis: &Basis) {
        basis.warnings.iter().for_each(|warning| self.pip.reporter.warn(warning));
    }

    /// Returns an empty sandbox. Without namespaces, waits until no other build uses it.
    pub(super) fn begin(&self, what: String) -> Result<Building> {
        let sandbox = self.machine.find().0.sandbox(self.cache.temporary_folder()?)?;
        for folder in ["src", "home", "tmp", "out", "recipe"] {
            create_dir_all(&sandbox.place.join(folder))?;
        }
        Ok(Building { what, sandbox })
    }

    /// Builds the project in `folder` below [`Building::source`].
    pub(super) fn make(
        &self,
        building: &Building,
        folder: &Path,
        (epoch, settings): (i64, &Pairs),
    ) -> Result<Made> {
        let Building { what, sandbox } = building;
        let (isolation, tools) = self.machine.find();
        let source = building.source().join(folder);
        let back_end = BackEnd::read(&source).with_context(|| format!("{what} cannot be built"))?;
        let mut requires = back_end.requires.clone();
        let mut lock = self.locks.wheels(&requires, what)?;
        let mut log = Log::create(self.pip, what, back_end.name.as_deref())?;
        let namespaces = matches!(isolation, Isolation::Namespaces(_));
        let known =
            Needles::at_start(self.pip.project, (&isolation.path(), namespaces), &sandbox.place);
        let step = Step {
            builder: self,
            building,
            back_end: &back_end,
            settings,
            source: isolation.path().join("src").join(folder),
            variables: build_environment::environment(
                self.pip.project,
                &isolation.path(),
                (epoch, uses_rust(&source)),
            ),
        };
        if let Some(further) = step.run((&lock, Some(&requires)), &mut log)? {
            requires.extend(further);
            lock = self.locks.wheels(&requires, what)?;
            step.run((&lock, None), &mut log)?;
        }
        let raw = match wheels_in(&sandbox.place.join("out")).as_slice() {
            [wheel] => wheel.clone(),
            found => bail!("the build of {what} left {} wheels, and not one", found.len()),
        };
        let name = raw.file_name().unwrap_or_default();
        let wheel = sandbox.place.join("canonical").join(name);
        log.add(&format!(
            "{}: sha256:{} as the back end wrote it",
            name.display(),
            sha256_of(&raw)?
        ));
        let mut warnings = native(what, &sandbox.place.join("notes"));
        let members = normalize::normalize(&raw, &wheel, step.epoch())?;
        for (library, member) in normalize::host_libraries(&members) {
            warnings.push(format!(
                "{what}: `{member}` needs `{library}` of this host, which is not in the wheel and \
                 may not be where it runs; another host may build it differently"
            ));
        }
        let leaks = known.find(&members, &building.source(), (epoch, step.epoch()));
        warnings.extend(leaks.into_iter().map(|leak| format!("{what}: {leak}")));
        self.built.fetch_add(1, Ordering::Relaxed);
        let versions = tools.versions.clone();
        let tools = tools.identity.to_string();
        let basis = Basis { requires, lock, tools, versions, path: isolation.path(), warnings };
        Ok(Made { wheel, basis })
    }
}

/// Runs the hooks of one build.
struct Step<'s, 'a> {
    builder: &'s SdistBuilder<'a>,
    building: &'s Building,
    back_end: &'s BackEnd,
    /// `--config-settings`.
    settings: &'s Pairs,
    /// The project's folder, as the build sees it.
    source: PathBuf,
    variables: Vec<(String, String)>,
}

impl Step<'_, '_> {
    /// Returns the `SOURCE_DATE_EPOCH` of the build.
    fn epoch(&self) -> i64 {
        let told = self.variables.iter().find(|(name, _)| name == "SOURCE_DATE_EPOCH");
        told.and_then(|(_, value)| value.parse().ok()).unwrap_or(unpack::EARLIEST)
    }

    /// Builds the wheel in an environment with the wheels of `lock`. With `requires`, first queries
    /// the back end for further requirements; if there are any, returns them and builds no wheel.
    fn run(
        &self,
        (lock, requires): (&[Wheel], Option<&[String]>),
        log: &mut Log,
    ) -> Result<Option<Vec<String>>> {
        let place = &self.building.sandbox.place;
        self.request(lock, requires)?;
        let environments = &self.builder.environments;
        environments.bring(lock, (place, self.builder.cache), || self.drive("prepare", log))?;
        let asked = place.join("requires.json");
        remove(&asked)?;
        self.drive("hook", log)?;
        if requires.is_none() || !asked.is_file() {
            return Ok(None);
        }
        let further: Vec<String> = serde_json::from_slice(&read(&asked)?)?;
        let known = requires.unwrap_or_default();
        let is_new = further.iter().any(|requirement| !known.contains(requirement));
        Ok(is_new.then_some(further))
    }

    fn request(&self, lock: &[Wheel], requires: Option<&[String]>) -> Result<()> {
        let (isolation, tools) = self.builder.machine.find();
        let folder = self.building.sandbox.place.join("recipe");
        let wheels: Vec<_> = lock.iter().map(|wheel| wheel.place_in(self.builder.cache)).collect();
        let request = serde_json::json!({
            "root": isolation.path(),
            "namespaces": matches!(isolation, Isolation::Namespaces(_)),
            "source": self.source,
            "backend": self.back_end.module,
            "backend_path": self.back_end.path,
            "config": to_json(self.settings),
            "wheels": wheels,
            "path": build_environment::SYSTEM_PATH,
            "compilers": tools.compilers,
            "rust": tools.rust,
            "ask": requires.is_some(),
            "requires": requires.unwrap_or_default(),
        });
        write_if_changed(&folder.join("driver.py"), DRIVER.as_bytes(), 0o644)?;
        write_if_changed(&folder.join("request.json"), request.to_string().as_bytes(), 0o644)?;
        Ok(())
    }

    fn drive(&self, part: &str, log: &mut Log) -> Result<()> {
        let SdistBuilder { pip, .. } = self.builder;
        let (isolation, _) = self.builder.machine.find();
        let root = isolation.path();
        let (program, option) = match part {
            "prepare" => (pip.interpreter.get()?.identity.program.clone(), "-I"),
            _ => (root.join("env/bin/python"), "-s"),
        };
        let driver = root.join("recipe/driver.py");
        let words = [program.into(), option.into(), driver.into(), part.into()];
        let mut invocation = isolation.invocation(&self.building.sandbox, &words);
        for (name, value) in &self.variables {
            invocation = invocation.env(name, value);
        }
        let written = Mutex::new(log);
        let status = invocation.stream(&|_, line| {
            let mut log = written.lock().expect("BUG: no holder of this lock panics");
            log.add(&pip.secrets.redact(line));
        })?;
        if status.success() {
            return Ok(());
        }
        let log = written.into_inner().expect("BUG: as above");
        Err(log.error(&self.building.what, &describe(status)))
    }
}

/// Returns whether a project has a crate for cargo to build.
fn uses_rust(folder: &Path) -> bool {
    let walk = walkdir::WalkDir::new(folder).max_depth(3).into_iter();
    walk.flatten().any(|entry| entry.file_name() == "Cargo.toml")
}

/// Returns the flags, noted by the compiler wrappers, that make the result fit only this processor.
fn native(what: &str, notes: &Path) -> Vec<String> {
    let text = fs::read_to_string(notes).unwrap_or_default();
    let flags: BTreeSet<&str> = text.lines().collect();
    flags
        .into_iter()
        .map(|flag| {
            format!(
                "{what} is compiled with `{flag}`: its wheel fits processors like this one's, and \
                 another machine builds other bytes"
            )
        })
        .collect()
}
