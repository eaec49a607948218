//! A project on disk with a wheelhouse, a staging target and a zip target, for tests of kinds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;

use crate::base::{Digest, Printable, RelPath};
use crate::diagnostic::Spanned;
use crate::event::Reporter;
use crate::files::{Files, Memory, View};
use crate::glob::Glob;
use crate::key::Key;
use crate::ownership::Owned;
use crate::process::Stream;
use crate::project::Project;
use crate::target::{Done, Job, Shared, Surroundings};
use crate::target::{Kind, Model, Target};
use crate::targets::clamp::Clamp;
use crate::targets::staging::{Conflict, Destination, Source, Staging, Winner};
use crate::targets::wheelhouse::Wheelhouse;
use crate::targets::zip::{Compression, Zip};
use crate::timestamp::Timestamp;
pub(in crate::targets) use wheels::Fixture;

#[path = "../../../crates/python/src/wheel/testing.rs"]
mod wheels;

pub(in crate::targets) struct World {
    _folder: tempfile::TempDir,
    pub(in crate::targets) root: PathBuf,
    pub(in crate::targets) project: Project,
    pub(in crate::targets) staging: Staging,
    pub(in crate::targets) zip: Zip,
    pub(in crate::targets) clamp: Clamp,
    pub(in crate::targets) write_tree: bool,
    pub(in crate::targets) warnings: Warnings,
}

#[derive(Default)]
pub(in crate::targets) struct Warnings(pub(in crate::targets) Mutex<Vec<String>>);

impl Reporter for Warnings {
    fn line(&self, _: Stream, _: Printable) {}

    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn status(&self, _: &str) {}
}

fn spanned<T>(value: T) -> Spanned<T> {
    Spanned { value, span: 0..0 }
}

pub(in crate::targets) fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

pub(in crate::targets) fn glob(pattern: &str) -> Spanned<Glob> {
    let base: Vec<&str> = pattern.split('/').take_while(|part| !part.contains('*')).collect();
    spanned(Glob {
        base: if base.is_empty() { RelPath::root() } else { path(&base.join("/")) },
        wild: pattern.contains('*').then(|| pattern.into()),
    })
}

/// Returns a wheel of the project `name`, version 1.
pub(in crate::targets) fn wheel(name: &str, members: &[(&str, &str)]) -> (String, Vec<u8>) {
    let mut fixture = Fixture::new(members);
    fixture.project = name.into();
    (format!("{name}-1-py3-none-any.whl"), fixture.bytes())
}

impl World {
    pub(in crate::targets) fn new(wheels: &[(String, Vec<u8>)], files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("project");
        let cache = folder.path().join("cache").to_str().unwrap().to_owned();
        let env = BTreeMap::from([("XDG_CACHE_HOME".to_owned(), cache)]);
        let instant = spanned(Timestamp::At(1_000_000_000));
        let world = Self {
            project: Project::new(root.clone(), env),
            staging: Staging {
                wheels: vec![spanned("wheels".into())],
                sources: Vec::new(),
                exclude: Vec::new(),
                conflicts: Vec::new(),
                clamp: None,
                write: false,
                bytecode: false,
                output: spanned(path("build/tree")),
            },
            zip: Zip {
                staging: spanned("staging".into()),
                below: None,
                output: spanned(path("build/lambda.zip")),
                compression: Compression::Keep,
                clamp: None,
                limits: true,
            },
            clamp: Clamp { directory: spanned(path("build/tree")), instant },
            write_tree: false,
            warnings: Warnings::default(),
            root,
            _folder: folder,
        };
        fs::create_dir_all(world.project.state()).unwrap();
        for (name, bytes) in wheels {
            world.write(&format!("wheels/{name}"), bytes);
        }
        for (name, text) in files {
            world.write(name, text.as_bytes());
        }
        world
    }

    pub(in crate::targets) fn write(&self, name: &str, bytes: &[u8]) {
        let place = self.root.join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, bytes).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(in crate::targets) fn source(&mut self, from: &str, to: Option<Destination>) -> &mut Self {
        self.staging.sources.push(Source { from: glob(from), to: to.map(spanned) });
        self
    }

    pub(in crate::targets) fn exclude(&mut self, pattern: &str) -> &mut Self {
        self.staging.exclude.push(glob(pattern));
        self
    }

    pub(in crate::targets) fn keep(&mut self, pattern: &str, keep: Winner) -> &mut Self {
        self.staging.conflicts.push(Conflict { path: glob(pattern), keep: spanned(keep) });
        self
    }

    pub(in crate::targets) fn key(&self, name: &str) -> Result<Key> {
        self.with_job(name, |job| Ok(job.target.kind.fingerprint(job)?.key))
    }

    pub(in crate::targets) fn run(&self, name: &str) -> Result<Done> {
        self.with_job(name, |job| job.target.kind.run(job, None))
    }

    /// Evaluates `ask` on a target as a new run would, with nothing in memory.
    pub(in crate::targets) fn with_job<T>(&self, name: &str, ask: impl FnOnce(&Job) -> T) -> T {
        let model = self.model();
        let results = BTreeMap::from([
            ("wheels", Digest::of(b"wheels")),
            ("staging", Digest::of(b"staging")),
        ]);
        let files = Files::new(&self.root, Vec::new(), Memory::default());
        ask(&Job {
            model: &model,
            target: model.target(name).unwrap(),
            project: &self.project,
            files: &View::unlogged(&files, &self.project),
            shared: &Shared::default(),
            results: &results,
            facts: &BTreeMap::new(),
            write_tree: self.write_tree,
            owned: &Owned::new(true),
            surroundings: &Surroundings::default(),
            pool: None,
            messages: &self.warnings,
        })
    }

    fn model(&self) -> Model {
        let target = |name: &str, kind: Arc<dyn Kind>| Target {
            name: spanned(name.into()),
            description: None,
            needs: Box::default(),
            after: Box::default(),
            stamp: None,
            guards: None,
            kind,
        };
        let wheelhouse = Wheelhouse {
            requirements: Vec::new(),
            lock: None,
            resolver: crate::pip::Resolver::Pip,
            constraints: Vec::new(),
            projects: Vec::new(),
            python: spanned("python3".into()),
            platform: None,
            pip_args: Vec::new(),
            build_env: BTreeMap::new(),
            output: spanned(path("wheels")),
        };
        let targets = vec![
            target("wheels", Arc::new(wheelhouse)),
            target("staging", Arc::new(self.staging.clone())),
            target("zip", Arc::new(self.zip.clone())),
            target("clamp", Arc::new(self.clamp.clone())),
        ];
        Model { targets, ..Model::default() }
    }
}
