//! Prepares a run of pip: the environment of the programs that it starts, and how it reads
//! metadata. `launch.py` applies the latter inside the Python that runs pip.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;
use zipwright_python::Runtime;

use super::build_environment;
use super::tree::EPOCH;
use zipwright_engine::process::Invocation;
use zipwright_store::fs::{create_dir_all, write_if_changed};
use zipwright_store::project::Project;

const SCRIPT: &str = include_str!("launch.py");

/// How pip reads the metadata of packages. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// The runtime that markers are evaluated for; `None` for the host.
    pub(super) runtime: Option<Runtime>,
    /// Real paths of local folders and archives, with the URLs of the wheels built from them.
    pub(super) links: BTreeMap<String, String>,
    /// Paths of wheels of local projects, with the folders that they were built from.
    pub(super) origins: BTreeMap<String, String>,
    /// The folder of a project as its own build sees it.
    pub(super) sandbox: PathBuf,
    /// A folder for wheels that a dry run downloads: it downloads none whose metadata the index has.
    pub(super) wheels: Option<PathBuf>,
    /// Whether another attempt follows a failure: then its error lines are not shown.
    pub(super) is_tentative: bool,
}

/// The files of a run, removed on drop.
pub(super) struct Launch(TempDir);

impl Launch {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let folder = project.cache()?.temporary_folder()?;
        write_if_changed(&folder.path().join("sitecustomize.py"), SCRIPT.as_bytes(), 0o600)?;
        for name in ["home", "tmp"] {
            create_dir_all(&folder.path().join(name))?;
        }
        Ok(Self(folder))
    }

    /// Sets the variables by which Python finds the script, and the script its settings.
    pub(super) fn prepare(
        &self,
        project: &Project,
        reading: &Reading,
        invocation: Invocation,
    ) -> Invocation {
        let folder = self.0.path();
        let variables = |rust: bool| -> BTreeMap<String, String> {
            let all = build_environment::environment(project, folder, (EPOCH, rust)).into_iter();
            // pip puts the programs of its build environment before the user's.
            all.filter(|(name, _)| name != "PATH").collect()
        };
        let environment = reading.runtime.map(|runtime| {
            let environment = runtime.environment();
            let values = environment.values();
            values.map(|(name, value)| (name, value.to_string())).collect::<BTreeMap<_, _>>()
        });
        let settings = json!({
            "variables": variables(false),
            "cargo": variables(true),
            "environment": environment,
            "python": reading.runtime.map(Runtime::python),
            "links": reading.links,
            "origins": reading.origins,
            "sandbox": reading.sandbox,
            "wheels": reading.wheels,
        });
        let own = folder.display().to_string();
        let path = match project.var("PYTHONPATH") {
            Some(path) => format!("{own}:{path}"),
            None => own,
        };
        invocation.env("PYTHONPATH", path).env("ZIPWRIGHT_PIP", settings.to_string())
    }
}
