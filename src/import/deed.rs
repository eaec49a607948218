//! The meaning of a command of a Makefile.

use crate::base::RelPath;

/// The reason for which virtual environments are left out.
pub(super) const NO_ENVIRONMENT: &str = "wheels need no virtual environment";

/// The meaning of a command. Paths are relative to the project; `""` is the project itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Messages, folders, times of files: a Buildfile has no use for it, for this reason.
    Nothing(&'static str),
    /// Makes a virtual environment, which a Buildfile needs for nothing but pip.
    Environment(String),
    /// Writes the packages of a lock as a requirements file.
    Export {
        script: String,
        lock: String,
        output: String,
    },
    /// Paths or patterns.
    Remove(Vec<String>),
    /// Files of this name anywhere below a folder.
    RemoveNamed {
        folder: String,
        name: String,
    },
    Touch(Vec<String>),
    Wheels {
        pip: Pip,
        folder: String,
    },
    Install {
        pip: Pip,
        folder: String,
    },
    Unzip {
        wheels: String,
        folder: String,
    },
    Copy {
        from: Vec<String>,
        to: String,
        is_folder: bool,
    },
    Zip {
        output: String,
        members: Members,
        exclude: Vec<String>,
    },
    Update {
        function: String,
        code: Code,
        publish: bool,
    },
    Send {
        file: String,
        bucket: String,
        key: String,
    },
    Invoke {
        function: String,
        payload: Option<String>,
        is_event: bool,
    },
    Publish {
        function: String,
    },
    PublishLayer {
        name: String,
        file: String,
        runtimes: Vec<String>,
        archs: Vec<String>,
    },
    Alias {
        function: String,
        name: String,
    },
}

/// What goes into a zip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// All of a folder, which becomes the root.
    Folder(String),
    /// Files and folders of a folder, under their own paths.
    Paths { folder: String, paths: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Zip(String),
    Bucket { bucket: String, key: String },
}

/// Where commands run, and the root that absolute paths may begin with.
#[derive(Clone, Debug)]
pub(super) struct WorkingFolder {
    pub(super) root: String,
    /// Relative to the project.
    pub(super) folder: String,
    /// The activated virtual environment.
    pub(super) environment: Option<String>,
}

impl WorkingFolder {
    pub(super) fn at_root(root: &str) -> Self {
        Self { root: root.to_owned(), folder: String::new(), environment: None }
    }

    /// A path of a command, relative to the project. `None` if it is outside.
    pub(super) fn path(&self, text: &str) -> Option<String> {
        let inside = match text.strip_prefix(&self.root) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                rest.trim_start_matches('/').to_owned()
            }
            _ if text.starts_with('/') || text.starts_with('~') => return None,
            _ if self.folder.is_empty() => text.to_owned(),
            _ => format!("{}/{text}", self.folder),
        };
        if inside.is_empty() {
            return Some(String::new());
        }
        let path = RelPath::parse(&inside).ok()?;
        Some(if path.is_root() { String::new() } else { of_any_python(path.as_str()) })
    }
}

/// The folder of packages in a virtual environment, whatever its Python.
pub(super) fn site_packages(environment: &str) -> String {
    format!("{environment}/lib/python3/site-packages")
}

/// A path in `lib/python3.13/site-packages` as one in [`site_packages`].
fn of_any_python(path: &str) -> String {
    let Some((environment, rest)) = path.split_once("/lib/python") else { return path.to_owned() };
    match rest.split_once('/') {
        Some((version, inside)) if inside.split('/').next() == Some("site-packages") => {
            let is_version = version.chars().all(|c| c.is_ascii_digit() || ".*".contains(c));
            if is_version { format!("{environment}/lib/python3/{inside}") } else { path.to_owned() }
        }
        _ => path.to_owned(),
    }
}

/// The arguments of pip that choose wheels. Paths are relative to the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pip {
    pub(super) requirements: Vec<String>,
    pub(super) constraints: Vec<String>,
    pub(super) projects: Vec<String>,
    /// `3.13` and `arm64`.
    pub(super) python: Option<String>,
    pub(super) arch: Option<&'static str>,
    /// Options that are handed on.
    pub(super) arguments: Vec<String>,
}
