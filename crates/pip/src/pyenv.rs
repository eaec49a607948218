//! The files and variables that a shim of pyenv reads to choose a Python.
//!
//! A shim is a script, so it would have to be run each time. But its choice has a fixed set of
//! inputs: a variable, the first `.python-version` on the way up, the user's global version, and
//! the installed versions. While these are the same, it starts the same program. Source:
//! `libexec/pyenv-version-name` and `libexec/pyenv-version-file` of pyenv.

use std::fs;
use std::path::{Path, PathBuf};

use zipwright_store::project::Project;

/// Variables that a shim reads.
pub(super) const VARIABLES: [&str; 5] =
    ["PYENV_VERSION", "PYENV_DIR", "PYENV_HOOK_PATH", "PYENV_DEBUG", "PATH"];

/// Largest size of a file that can be a shim, in bytes.
const SHIM_MAX: u64 = 4096;

pub(super) struct Shim {
    root: PathBuf,
    /// Files and folders whose change may change the choice; not all exist.
    pub(super) witnesses: Vec<PathBuf>,
}

impl Shim {
    /// Returns `None` if the program is not a shim, or if hooks of the user may decide.
    pub(super) fn of(project: &Project, program: &Path) -> Option<Self> {
        if ["PYENV_HOOK_PATH", "PYENV_DEBUG"].iter().any(|name| project.var(name).is_some()) {
            return None;
        }
        if program.metadata().ok()?.len() > SHIM_MAX {
            return None;
        }
        let text = fs::read_to_string(program).ok()?;
        let root = text.lines().find_map(|line| line.strip_prefix("export PYENV_ROOT=\""))?;
        let root = PathBuf::from(root.strip_suffix('"')?);
        let last = format!("exec \"{}/libexec/pyenv\" exec \"$program\" \"$@\"", root.display());
        if text.trim_end().lines().next_back() != Some(&last) {
            return None;
        }
        let mut witnesses = vec![program.to_path_buf()];
        witnesses.extend(version_files(project));
        for place in ["version", "versions", "plugins", "pyenv.d", "pyenv.d/exec", "libexec"] {
            witnesses.push(root.join(place));
        }
        for hooks in ["/usr/local/etc/pyenv.d", "/etc/pyenv.d", "/usr/lib/pyenv/hooks"] {
            witnesses.push(hooks.into());
        }
        Some(Self { root, witnesses })
    }

    /// Returns the part of the choice that depends on the project: the text of the first file with a
    /// version.
    pub(super) fn choice(project: &Project) -> String {
        let Some(file) = version_files(project).find(|path| path.exists()) else {
            return String::new();
        };
        // A file that cannot be read belongs to its folder alone.
        fs::read_to_string(&file).unwrap_or_else(|_| file.to_string_lossy().into_owned())
    }

    /// Returns whether the started program is one of pyenv's own versions. Any other is found on
    /// PATH and may be another program next time.
    pub(super) fn owns(&self, program: &Path) -> bool {
        program.starts_with(self.root.join("versions"))
    }
}

/// Returns the files that may name a version, in the order in which pyenv looks for them.
fn version_files(project: &Project) -> impl Iterator<Item = PathBuf> {
    let named = project.var("PYENV_DIR").map(PathBuf::from);
    let starts = named.into_iter().chain([project.root.clone()]);
    starts.flat_map(|start| {
        let folders: Vec<PathBuf> =
            start.ancestors().map(|folder| folder.join(".python-version")).collect();
        folders
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SHIM: &str = "#!/usr/bin/env bash\nset -e\nexport PYENV_ROOT=\"/p\"\n\
                        exec \"/p/libexec/pyenv\" exec \"$program\" \"$@\"\n";

    #[test]
    fn a_shim_is_known_by_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python3");
        let of = |text: &str, env: &[(&str, &str)]| {
            fs::write(&program, text).unwrap();
            let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Shim::of(&Project::new("/a/b".into(), env.collect::<BTreeMap<_, _>>()), &program)
        };
        let shim = of(SHIM, &[("PYENV_DIR", "/d")]).unwrap();
        for witness in ["/a/b/.python-version", "/.python-version", "/d/.python-version"] {
            assert!(shim.witnesses.contains(&witness.into()), "{witness}");
        }
        assert!(shim.witnesses.contains(&"/p/version".into()));
        assert!(shim.owns(Path::new("/p/versions/3.13.0/bin/python3.13")));
        assert!(!shim.owns(Path::new("/usr/bin/python3")));
        assert!(of(SHIM, &[("PYENV_HOOK_PATH", "/h")]).is_none());
        assert!(of(&SHIM.replace("libexec/pyenv", "libexec/other"), &[]).is_none());
        assert!(of(&format!("{SHIM}echo more\n"), &[]).is_none());
        assert!(of("#!/bin/sh\nexec python3.12 \"$@\"\n", &[]).is_none());
    }
}
