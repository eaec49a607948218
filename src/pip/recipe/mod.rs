//! The one way in which a wheel is built from source, so that the same source gives the same
//! bytes on every machine.
//!
//! The hooks of the back end are called directly, in a virtual environment made of recorded
//! wheels, at a path that is always the same, with an environment that is made from nothing and
//! compilers that append what keeps paths out. What comes out is written anew in canonical form.
//! `docs/REPRODUCIBILITY.md` has the reasons and the measurements.

mod bench;
mod canon;
mod inner;
mod needs;
mod tools;
mod unpack;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use self::bench::{Bench, Isolation};
use self::needs::{BackEnd, Locks};
use self::tools::Tools;
use super::build::{Build, wheels_in};
use super::obtained::Circumstances;
use super::run::Pip;
use super::store::{Store, Wheel, sha256_of};
use crate::base::Digest;
use crate::base::fs::{create_dir_all, read, write_if_changed};
use crate::process::describe;

pub(super) use unpack::unpack;

const DRIVER: &str = include_str!("driver.py");

/// How many lines of a failed build's log an error repeats.
const REPEATED_LINES: usize = 20;

/// Words in a log that mean that a build wanted something from the network and did not get it.
const NETWORK_FAILURES: [&str; 6] = [
    "Temporary failure in name resolution",
    "Could not resolve host",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "urlopen error",
];

pub(super) struct Recipe<'a> {
    pip: &'a Pip<'a>,
    store: &'a Store,
    locks: Mutex<Locks<'a>>,
    surroundings: OnceLock<(Isolation, Tools)>,
    built: AtomicUsize,
}

/// What a build depended on besides its source and the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Basis {
    requires: Vec<String>,
    lock: Vec<Wheel>,
    tools: String,
    /// What the tools said of their versions, for people.
    #[serde(default)]
    versions: Vec<(String, String)>,
    path: PathBuf,
    /// What is to be said of the wheel whenever it is used.
    warnings: Vec<String>,
}

impl Basis {
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances {
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
    bench: Bench,
}

impl Building {
    /// The empty folder that the source belongs in.
    pub(super) fn source(&self) -> PathBuf {
        self.bench.place.join("src")
    }
}

/// A wheel in canonical form, for as long as the [`Building`] that it lies in.
pub(super) struct Made {
    pub(super) wheel: PathBuf,
    pub(super) basis: Basis,
}

impl<'a> Recipe<'a> {
    /// `context` is the digest of the settings that bear on every build.
    pub(super) fn new(
        pip: &'a Pip<'a>,
        store: &'a Store,
        build: &'a Build<'a>,
        context: Digest,
    ) -> Self {
        let locks = Mutex::new(Locks { pip, store, build, context });
        Self { pip, store, locks, surroundings: OnceLock::new(), built: AtomicUsize::new(0) }
    }

    /// How many wheels were built, and kept apart by what.
    pub(super) fn report(&self) -> (usize, Option<&'static str>) {
        let isolation = self.surroundings.get().map(|(isolation, _)| isolation.describe());
        (self.built.load(Ordering::Relaxed), isolation)
    }

    /// Whether a build now would go as it did then.
    pub(super) fn holds(&self, basis: &Basis) -> bool {
        let (isolation, tools) = self.surroundings();
        let known = self.locks.lock().expect("BUG: no holder of this lock panics");
        basis.tools == tools.identity.to_string()
            && basis.path == isolation.path()
            && known.known(&basis.requires).is_some_and(|lock| lock == basis.lock)
    }

    /// Says what is to be known of a wheel that was built here, now or earlier.
    pub(super) fn warn(&self, basis: &Basis) {
        basis.warnings.iter().for_each(|warning| (self.pip.talk.warn)(warning));
    }

    /// An empty place to build in. Without namespaces, waits until no other build has it.
    pub(super) fn begin(&self, what: String) -> Result<Building> {
        let bench = self.surroundings().0.bench(self.store.workshop()?)?;
        for folder in ["src", "home", "tmp", "out", "recipe"] {
            create_dir_all(&bench.place.join(folder))?;
        }
        Ok(Building { what, bench })
    }

    /// Builds the project that lies in `folder` below [`Building::source`].
    pub(super) fn make(&self, building: &Building, folder: &Path, epoch: i64) -> Result<Made> {
        let Building { what, bench } = building;
        let (isolation, tools) = self.surroundings();
        let source = building.source().join(folder);
        let back_end = BackEnd::read(&source).with_context(|| format!("{what} cannot be built"))?;
        let mut requires = back_end.requires.clone();
        let mut lock = self.lock(&requires, what)?;
        let mut log = Log::create(self.pip, what)?;
        let step = Step {
            recipe: self,
            building,
            back_end: &back_end,
            source: isolation.path().join("src").join(folder),
            variables: tools::environment(
                self.pip.project,
                &isolation.path(),
                (epoch, uses_rust(&source)),
            ),
        };
        step.run("requires", &lock, &mut log)?;
        let further: Vec<String> =
            serde_json::from_slice(&read(&bench.place.join("requires.json"))?)?;
        if further.iter().any(|requirement| !requires.contains(requirement)) {
            requires.extend(further);
            lock = self.lock(&requires, what)?;
        }
        step.run("wheel", &lock, &mut log)?;
        let raw = match wheels_in(&bench.place.join("out")).as_slice() {
            [wheel] => wheel.clone(),
            found => bail!("the build of {what} left {} wheels, and not one", found.len()),
        };
        let name = raw.file_name().unwrap_or_default();
        let wheel = bench.place.join("canonical").join(name);
        log.add(&format!(
            "{}: sha256:{} as the back end wrote it",
            name.display(),
            sha256_of(&raw)?
        ));
        let mut warnings = native(what, &bench.place.join("notes"));
        for (library, member) in canon::canonical(&raw, &wheel, step.epoch())? {
            warnings.push(format!(
                "{what}: `{member}` needs `{library}` of this host, which is not in the wheel and \
                 may not be where it runs; another host may build it differently"
            ));
        }
        self.built.fetch_add(1, Ordering::Relaxed);
        let versions = tools.versions.clone();
        let tools = tools.identity.to_string();
        let basis = Basis { requires, lock, tools, versions, path: isolation.path(), warnings };
        Ok(Made { wheel, basis })
    }

    fn surroundings(&self) -> &(Isolation, Tools) {
        let project = self.pip.project;
        self.surroundings
            .get_or_init(|| (Isolation::find(project, self.store.workshop()), Tools::find(project)))
    }

    /// One at a time: what several packages need is then asked once.
    fn lock(&self, requires: &[String], what: &str) -> Result<Vec<Wheel>> {
        let locks = self.locks.lock().expect("BUG: no holder of this lock panics");
        locks.wheels(requires, what)
    }
}

/// Runs the hooks of one build.
struct Step<'s, 'a> {
    recipe: &'s Recipe<'a>,
    building: &'s Building,
    back_end: &'s BackEnd,
    /// The project's folder, as the build sees it.
    source: PathBuf,
    variables: Vec<(String, String)>,
}

impl Step<'_, '_> {
    /// What the build is told of the time.
    fn epoch(&self) -> i64 {
        let told = self.variables.iter().find(|(name, _)| name == "SOURCE_DATE_EPOCH");
        told.and_then(|(_, value)| value.parse().ok()).unwrap_or(unpack::EARLIEST)
    }

    fn run(&self, hook: &str, lock: &[Wheel], log: &mut Log) -> Result<()> {
        let Recipe { pip, store, .. } = self.recipe;
        let (isolation, tools) = self.recipe.surroundings();
        let root = isolation.path();
        let recipe = self.building.bench.place.join("recipe");
        let request = serde_json::json!({
            "root": root,
            "namespaces": matches!(isolation, Isolation::Namespaces(_)),
            "source": self.source,
            "backend": self.back_end.module,
            "backend_path": self.back_end.path,
            "wheels": lock.iter().map(|wheel| store.place(wheel)).collect::<Vec<_>>(),
            "path": bench::SYSTEM_PATH,
            "rust": tools.rust,
            "hook": hook,
        });
        write_if_changed(&recipe.join("driver.py"), DRIVER.as_bytes(), 0o644)?;
        write_if_changed(&recipe.join("request.json"), request.to_string().as_bytes(), 0o644)?;
        let words = [
            pip.interpreter.identity.program.clone().into(),
            "-I".into(),
            root.join("recipe/driver.py").into(),
            "prepare".into(),
        ];
        let mut invocation = isolation.invocation(&self.building.bench, &words);
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

/// What a build says, in a file of its own, so that builds side by side do not mix.
struct Log {
    file: File,
    shown: String,
    end: Vec<String>,
    network: bool,
}

impl Log {
    fn create(pip: &Pip, what: &str) -> Result<Self> {
        let letter = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = what.chars().map(letter).collect();
        let name = format!("build-{}.log", name.trim_matches('-'));
        let place = pip.project.state().join("logs").join(&name);
        create_dir_all(&pip.project.state().join("logs"))?;
        let file = File::create(&place)
            .with_context(|| format!("could not write `{}`", place.display()))?;
        let shown = format!("{}/logs/{name}", crate::project::STATE_FOLDER);
        Ok(Self { file, shown, end: Vec::new(), network: false })
    }

    fn add(&mut self, line: &str) {
        // A log that cannot be written is no reason to lose the build.
        let _ = writeln!(self.file, "{line}");
        self.network |= NETWORK_FAILURES.iter().any(|words| line.contains(words));
        if self.end.len() == REPEATED_LINES {
            self.end.remove(0);
        }
        self.end.push(line.to_string());
    }

    fn error(&self, what: &str, status: &str) -> anyhow::Error {
        let way_out = if self.network {
            "The build seems to want something from the network. Take a ready wheel of it \
             (`--only-binary` in a requirements file), or bring what it downloads yourself"
        } else {
            "A ready wheel needs no build: `--only-binary` in a requirements file asks for one"
        };
        anyhow::anyhow!(
            "{what} could not be built from source ({status}); its log ends with\n{}\nThe whole \
             log is `{}`. {way_out}",
            self.end.join("\n"),
            self.shown
        )
    }
}

/// Whether a project has anything that cargo builds.
fn uses_rust(folder: &Path) -> bool {
    let walk = walkdir::WalkDir::new(folder).max_depth(3).into_iter();
    walk.flatten().any(|entry| entry.file_name() == "Cargo.toml")
}

/// What the compiler wrappers noted: flags that make the result fit this very processor.
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
