//! What a shim of pyenv looks at when it decides which Python it starts.
//!
//! A shim is a script, and would have to be asked each time. But its question has known answers:
//! a variable, the first `.python-version` on the way up, the version that is set for the user,
//! and which versions are installed. While these are the same, it starts the same program.
//! Source: `libexec/pyenv-version-name` and `libexec/pyenv-version-file` of pyenv.

use std::fs;
use std::path::{Path, PathBuf};

use crate::project::Project;

/// Variables that a shim heeds.
pub(super) const VARIABLES: [&str; 5] =
    ["PYENV_VERSION", "PYENV_DIR", "PYENV_HOOK_PATH", "PYENV_DEBUG", "PATH"];

/// No shim comes near this.
const SHIM_MAX: u64 = 4096;

pub(super) struct Shim {
    root: PathBuf,
    /// Files and folders whose change may change the decision; not all exist.
    pub(super) witnesses: Vec<PathBuf>,
}

impl Shim {
    /// `None` for anything that is no shim, and where hooks of the user's own may decide.
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
        let named = project.var("PYENV_DIR").map(PathBuf::from);
        for start in named.iter().chain([&project.root]) {
            witnesses.extend(start.ancestors().map(|folder| folder.join(".python-version")));
        }
        for place in ["version", "versions", "plugins", "pyenv.d", "pyenv.d/exec", "libexec"] {
            witnesses.push(root.join(place));
        }
        for hooks in ["/usr/local/etc/pyenv.d", "/etc/pyenv.d", "/usr/lib/pyenv/hooks"] {
            witnesses.push(hooks.into());
        }
        Some(Self { root, witnesses })
    }

    /// Whether what it started is a version of its own. What else is on PATH may be another
    /// program tomorrow.
    pub(super) fn owns(&self, program: &Path) -> bool {
        program.starts_with(self.root.join("versions"))
    }
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
