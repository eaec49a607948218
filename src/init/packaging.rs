//! Where the wheels of a function come from: requirement files, a Python project with its build back
//! end, a lockfile.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use toml::{Table, Value};

use super::described::{join, parent};
use super::survey::{Survey, is_below, is_test};

/// Folders of requirement files, and files in them, by preference.
const REQUIREMENTS: [&str; 13] = [
    "requirements.txt",
    "requirements/lambda.txt",
    "requirements/prod.txt",
    "requirements/production.txt",
    "requirements/main.txt",
    "requirements/base.txt",
    "requirements/requirements.txt",
    "requirements-lambda.txt",
    "requirements-prod.txt",
    "requirements-production.txt",
    "requirements_lambda.txt",
    "requirements_prod.txt",
    "requirements.in",
];

/// A tool with a lock that no wheelhouse reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) lock: &'static str,
    /// The file that it locks.
    pub(super) manifest: &'static str,
    /// Makes the lock.
    pub(super) locks: &'static str,
    /// Prints a requirements file with the packages of the lock.
    pub(super) exports: &'static str,
}

const TOOLS: [Tool; 3] = [
    Tool {
        lock: "poetry.lock",
        manifest: "pyproject.toml",
        locks: "poetry lock",
        exports: "poetry export",
    },
    Tool { lock: "pdm.lock", manifest: "pyproject.toml", locks: "pdm lock", exports: "pdm export" },
    Tool {
        lock: "Pipfile.lock",
        manifest: "Pipfile",
        locks: "pipenv lock",
        exports: "pipenv requirements",
    },
];

/// Keys of `pyproject.toml` by which a project configures what its back end packages.
const CONFIGURATION: [&[&str]; 7] = [
    &["tool", "setuptools"],
    &["tool", "hatch", "build"],
    &["tool", "poetry", "packages"],
    &["tool", "poetry", "include"],
    &["tool", "flit"],
    &["tool", "pdm", "build"],
    &["tool", "uv", "build-backend"],
];

/// The input of one wheelhouse. Paths are relative to the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wheels {
    pub(super) requirements: Vec<String>,
    pub(super) constraints: Vec<String>,
    pub(super) projects: Vec<String>,
    /// A lockfile, if no requirements file is in the project.
    pub(super) lock: Option<String>,
    /// How a requirements file is made, if none is in the project.
    pub(super) export: Option<Export>,
    /// A lock that pins more than the wheelhouse reads, and the tool that exports it.
    pub(super) unread_lock: Option<(String, Tool)>,
}

/// A requirements file that a command makes of a file of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Export {
    /// The folder of a `pyproject.toml` whose dependencies count, and which is not built itself.
    Dependencies(String),
    /// A folder whose requirements only this tool can read.
    Tool { folder: String, tool: Tool, is_locked: bool },
}

/// A Python project that pip can build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) folder: String,
    /// Normalized as package indexes do.
    name: Option<String>,
    /// Whether the back end is setuptools, which packages by rules of its own.
    is_setuptools: bool,
}

/// Whether a file is in the wheel of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Surely,
    Perhaps,
    No,
}

/// Returns the input for a function whose code is in `folder`: of the nearest folder, from there
/// up, that has a requirements file or a project.
///
/// Fails if the `pyproject.toml` is not valid TOML.
pub(super) fn wheels(survey: &Survey, folder: &str) -> Result<(Wheels, Option<Package>)> {
    let mut folder = folder;
    loop {
        let (wheels, package) = of_folder(survey, folder)?;
        if folder.is_empty() || wheels != Wheels::default() {
            return Ok((wheels, package));
        }
        folder = parent(folder);
    }
}

fn of_folder(survey: &Survey, folder: &str) -> Result<(Wheels, Option<Package>)> {
    let within = |name: &str| join(folder, name);
    let existing = |name: &&str| survey.has(&within(name));
    let mut wheels = Wheels::default();
    let requirements = REQUIREMENTS.iter().find(|name| existing(name));
    wheels.requirements.extend(requirements.map(|name| within(name)));
    if requirements.is_some() && survey.has(&within("constraints.txt")) {
        wheels.constraints.push(within("constraints.txt"));
    }
    let manifest = manifest(survey, &within("pyproject.toml"))?;
    let package = package(survey, folder, manifest.as_ref());
    if package.is_some() && !wheels.requirements.iter().any(|path| names_itself(survey, path)) {
        wheels.projects.push(if folder.is_empty() { ".".into() } else { folder.to_owned() });
    }
    let has_dependencies = manifest.as_ref().is_some_and(|manifest| {
        let dependencies = at(manifest, &["project", "dependencies"]).and_then(Value::as_array);
        dependencies.is_some_and(|list| !list.is_empty())
    });
    if requirements.is_none() {
        wheels.lock =
            ["uv.lock", "pylock.toml"].iter().find(|it| existing(it)).map(|it| within(it));
    }
    if requirements.is_some() || wheels.lock.is_some() {
        return Ok((wheels, package));
    }
    let locked = TOOLS.into_iter().find(|tool| existing(&tool.lock));
    if package.is_some() || has_dependencies {
        wheels.unread_lock = locked.map(|tool| (within(tool.lock), tool));
    }
    if package.is_none() && has_dependencies {
        wheels.export = Some(Export::Dependencies(folder.to_owned()));
    } else if package.is_none() {
        let of_poetry = manifest.as_ref().is_some_and(has_poetry_dependencies);
        let is_used = |tool: &Tool| match tool.manifest {
            "pyproject.toml" => of_poetry && tool.lock == "poetry.lock",
            manifest => existing(&manifest),
        };
        let tool = locked.or_else(|| TOOLS.into_iter().find(is_used));
        wheels.export = tool.map(|tool| Export::Tool {
            folder: folder.to_owned(),
            tool,
            is_locked: existing(&tool.lock),
        });
    }
    Ok((wheels, package))
}

fn manifest(survey: &Survey, path: &str) -> Result<Option<Table>> {
    let Some(text) = survey.text(path) else { return Ok(None) };
    let invalid = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        anyhow!(
            "`{path}` line {line} is not valid TOML: {}\nhint: correct it; its dependencies are needed for the bundle",
            error.message()
        )
    };
    text.parse().map(Some).map_err(invalid)
}

/// Returns whether Poetry's own table has a requirement besides Python.
fn has_poetry_dependencies(manifest: &Table) -> bool {
    let table = at(manifest, &["tool", "poetry", "dependencies"]).and_then(Value::as_table);
    table.is_some_and(|table| table.keys().any(|name| name != "python"))
}

fn package(survey: &Survey, folder: &str, manifest: Option<&Table>) -> Option<Package> {
    let flag = |keys: &[&str]| at(manifest?, keys)?.as_bool();
    if flag(&["tool", "poetry", "package-mode"]) == Some(false)
        || flag(&["tool", "uv", "package"]) == Some(false)
    {
        return None;
    }
    let has_setup = survey.has(&join(folder, "setup.py"));
    let system = manifest.and_then(|manifest| at(manifest, &["build-system"]));
    if system.is_none() && !has_setup {
        return None;
    }
    let text = |keys: &[&str]| Some(at(manifest?, keys)?.as_str()?.to_owned());
    let name = text(&["project", "name"]).or_else(|| text(&["tool", "poetry", "name"]));
    let backend = text(&["build-system", "build-backend"]);
    let package = Package {
        folder: folder.to_owned(),
        name: name.map(|name| normalized(&name)),
        is_setuptools: backend.is_none_or(|backend| backend.starts_with("setuptools")),
    };
    // Otherwise the dependencies could not be taken without a build.
    let is_standard = manifest.is_some_and(|manifest| at(manifest, &["project"]).is_some());
    let is_configured = has_setup
        || survey.has(&join(folder, "setup.cfg"))
        || CONFIGURATION.iter().any(|keys| manifest.is_some_and(|it| at(it, keys).is_some()));
    (!is_standard || is_configured || package.is_found(survey)).then_some(package)
}

impl Package {
    /// Returns whether the back end finds something to package without configuration: a package or
    /// module of the project's name; setuptools, a folder `src`, or a single package or module.
    fn is_found(&self, survey: &Survey) -> bool {
        let files = survey.below(&self.folder).filter(|file| file.ends_with(".py"));
        let files: Vec<&str> =
            files.filter(|file| !is_test(file)).map(|file| self.inside(file)).collect();
        if self.is_setuptools {
            let top = |file: &&str| file.split_once('/').map(|(top, _)| top.to_owned());
            let folders: BTreeSet<String> = files.iter().filter_map(top).collect();
            return match folders.len() {
                0 => files.len() == 1,
                count => count == 1 || folders.contains("src"),
            };
        }
        let is_named = |part: &str| {
            let part = part.strip_suffix(".py").unwrap_or(part);
            self.name.as_deref() == Some(normalized(part).as_str())
        };
        files.iter().any(|file| file.split('/').any(is_named))
    }

    /// Returns the path of a file of the project in its folder.
    fn inside<'a>(&self, file: &'a str) -> &'a str {
        if self.folder.is_empty() { file } else { &file[self.folder.len() + 1..] }
    }

    /// Returns whether a file of the project is in its wheel, by the usual rules of back ends.
    pub(super) fn holds(&self, file: &str) -> Holds {
        if !is_below(file, &self.folder) {
            return Holds::No;
        }
        let below = self.inside(file);
        let (below, in_src) = match below.strip_prefix("src/") {
            Some(rest) => (rest, true),
            None => (below, false),
        };
        let Some((top, _)) = below.split_once('/') else {
            return if self.is_setuptools && in_src { Holds::Perhaps } else { Holds::No };
        };
        if self.name.as_deref() == Some(normalized(top).as_str()) {
            return Holds::Surely;
        }
        match (self.is_setuptools, in_src) {
            (true, true) => Holds::Surely,
            (true, false) => Holds::Perhaps,
            (false, _) => Holds::No,
        }
    }
}

/// Whether a requirements file has a line for the project itself.
fn names_itself(survey: &Survey, path: &str) -> bool {
    let text = survey.text(path).unwrap_or_default();
    text.lines().map(str::trim).any(|line| {
        let line = line.strip_prefix("-e").or_else(|| line.strip_prefix("--editable"));
        let line = line.map_or("", |rest| rest.trim_start_matches([' ', '=']));
        [".", "./"].contains(&line)
    }) || text.lines().map(str::trim).any(|line| [".", "./"].contains(&line))
}

fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.as_table()?.get(*key))
}

/// A project's or a module's name in the form in which they are compared.
fn normalized(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}
