//! The meaning of a command of a Makefile.

use std::fs;
use std::path::Path;

use super::pattern;
use super::shell::Word;
use crate::base::RelPath;

/// The reason for which virtual environments are left out.
pub(super) const NO_ENVIRONMENT: &str = "wheels need no virtual environment";

/// The reason for which the making of folders is left out.
pub(super) const FOLDERS: &str = "folders are made by themselves";

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
    /// Makes these folders.
    Folders(Vec<String>),
    /// Globs; only of files if it is not recursive.
    Remove {
        globs: Vec<String>,
        is_recursive: bool,
    },
    /// What a glob matches below a folder.
    RemoveBelow {
        folder: String,
        glob: String,
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
        from: Vec<Origin>,
        to: String,
        /// Whether `to` can only be a folder that exists.
        is_folder: bool,
        is_recursive: bool,
    },
    Zip {
        output: String,
        members: Members,
        /// Globs relative to the folder of the members.
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
    /// Files and folders of a folder, under their own paths; only files if it is not recursive.
    Paths { folder: String, paths: Vec<Origin>, is_recursive: bool },
}

/// Files that a word of a command names, relative to the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Path(String),
    /// All in a folder: `src/.`
    Content(String),
    /// A glob for the names that the shell finds.
    Pattern(String),
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

    /// The glob for the paths that the shell makes of a word, relative to the project.
    pub(super) fn glob(&self, word: &Word) -> Option<String> {
        let glob = match word.is_pattern {
            true => pattern::of_shell(&word.glob)?,
            false => word.glob.clone(),
        };
        if self.folder.contains(pattern::SPECIAL) { None } else { self.path(&glob) }
    }

    pub(super) fn origin(&self, word: &Word) -> Option<Origin> {
        if word.is_pattern {
            return self.glob(word).map(Origin::Pattern);
        }
        match word.text.strip_suffix("/.") {
            Some(folder) => self.path(folder).map(Origin::Content),
            None => self.path(&word.text).map(Origin::Path),
        }
    }

    /// Whether the shell would replace a pattern by names of files that are there.
    pub(super) fn is_expanded(&self, word: &Word) -> bool {
        let folder = Path::new(&self.root).join(&self.folder);
        let Ok(entries) = fs::read_dir(folder) else { return false };
        word.is_pattern
            && entries.flatten().any(|entry| {
                pattern::of_shell(&word.glob).is_none_or(|glob| {
                    pattern::matches(&glob, &entry.file_name().to_string_lossy())
                })
            })
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
