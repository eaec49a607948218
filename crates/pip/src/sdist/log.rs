//! The log of a build, in a file of its own so that parallel builds do not mix; and the error that
//! names it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};

use super::super::run::Pip;
use zipwright_store::fs as base_fs;
use zipwright_store::{Printable, private};

/// Number of lines of a failed build's log that an error repeats.
const REPEATED_LINES: usize = 20;

/// Texts in a log that mean that a build needed the network and failed to reach it.
const NETWORK_FAILURES: [&str; 6] = [
    "Temporary failure in name resolution",
    "Could not resolve host",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "urlopen error",
];

pub(super) struct Log {
    file: File,
    shown: String,
    end: Vec<String>,
    network: bool,
    /// The tool that found no version, if its message is in the log.
    versions: Option<&'static Versions>,
    /// Name of the project that is built.
    project: Option<String>,
}

/// A tool that takes a project's version from version control.
struct Versions {
    /// Part of its message if it finds no version.
    message: &'static str,
    way_out: &'static str,
}

/// `{}` stands for the name of the project in the form that variable names have.
const VERSIONS: [Versions; 7] = [
    Versions {
        message: "SETUPTOOLS_SCM_PRETEND_VERSION",
        way_out: "set `SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}`",
    },
    Versions {
        message: "setuptools-scm was unable to detect version",
        way_out: "set `SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}`",
    },
    Versions { message: "upstream git repository", way_out: "set `PBR_VERSION`" },
    Versions { message: "PDM_BUILD_SCM_VERSION", way_out: "set `PDM_BUILD_SCM_VERSION`" },
    Versions {
        message: "Unable to detect version control system",
        way_out: "set `POETRY_DYNAMIC_VERSIONING_BYPASS` or `UV_DYNAMIC_VERSIONING_BYPASS`",
    },
    Versions {
        message: "versioningit",
        way_out: "set `default-version` of `[tool.versioningit]` in `pyproject.toml`",
    },
    Versions {
        message: "not a git repository",
        way_out: "pass the version in a variable that the build reads",
    },
];

impl Log {
    pub(super) fn create(pip: &Pip, what: &str, project: Option<&str>) -> Result<Self> {
        let letter = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        let name: String = what.chars().map(letter).collect();
        let name = format!("build-{}.log", name.trim_matches('-'));
        let place = pip.project.state().join("logs").join(&name);
        pip.project.state_folder("logs")?;
        base_fs::remove(&place)?;
        let mut options = File::options();
        options.create(true).write(true).truncate(true).mode(private::FILE_MODE);
        let file = options
            .open(&place)
            .with_context(|| format!("could not write `{}`", place.display()))?;
        let shown = format!("{}/logs/{name}", zipwright_store::project::STATE_FOLDER);
        let project = project.map(String::from);
        Ok(Self { file, shown, end: Vec::new(), network: false, versions: None, project })
    }

    pub(super) fn add(&mut self, line: &str) {
        // A failure to write the log must not fail the build.
        let _ = writeln!(self.file, "{}", Printable::from(line));
        self.network |= NETWORK_FAILURES.iter().any(|words| line.contains(words));
        let found = VERSIONS.iter().find(|versions| line.contains(versions.message));
        self.versions = self.versions.or(found);
        if self.end.len() == REPEATED_LINES {
            self.end.remove(0);
        }
        self.end.push(line.to_string());
    }

    pub(super) fn error(&self, what: &str, status: &str) -> anyhow::Error {
        let version;
        let way_out = if let Some(versions) = self.versions {
            let letter =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let name = self.project.as_deref().unwrap_or("NAME");
            let name: String = name.chars().map(letter).collect();
            version = format!(
                "`.git` is not in the copy that is built, so a version cannot be read from it: {}, \
                 in the environment or in `build-env` of the wheelhouse",
                versions.way_out.replace("{}", &name)
            );
            &version
        } else if self.network {
            "The build seems to need the network. Use a ready wheel of it \
             (`--only-binary` in a requirements file), or provide its downloads yourself"
        } else {
            "A ready wheel needs no build: `--only-binary` in a requirements file asks for one. \
             Variables that the build needs go into `build-env` of the wheelhouse"
        };
        anyhow::anyhow!(
            "{what} could not be built from source ({status}); its log ends with\n{}\nThe whole \
             log is `{}`. {way_out}",
            self.end.join("\n"),
            self.shown
        )
    }
}
