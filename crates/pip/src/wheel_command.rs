//! The command `pip wheel` for one source.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use zipwright_python::Runtime;

use super::settings::Settings;
use zipwright_store::Digest;

/// The inputs of every build from source, besides the source.
pub(super) struct Build<'a> {
    /// Option lines of the requirements files: indexes, find-links.
    pub options: &'a [String],
    /// pip's further arguments without `--config-settings`.
    pub pip_args: &'a [String],
    pub settings: &'a Settings,
    pub runtime: Option<Runtime>,
    /// Digest of the project's files that pip may choose wheels from.
    pub offer: Digest,
}

impl Build<'_> {
    /// Returns the command `pip wheel` without dependencies, into `out`; its options file is
    /// written to `folder`.
    pub(super) fn wheel_command(
        &self,
        folder: &Path,
        out: &Path,
        targets: impl IntoIterator<Item = OsString>,
    ) -> Result<Vec<OsString>> {
        let mut command: Vec<OsString> =
            ["wheel", "--no-deps", "--wheel-dir"].map(Into::into).into();
        command.push(out.into());
        command.extend(options_file(folder, self.options)?);
        command.extend(self.pip_args.iter().map(Into::into));
        command.extend(targets);
        Ok(command)
    }
}

/// Writes option lines of requirements files into `folder`, and returns the arguments that pass
/// them to pip.
pub(super) fn options_file(folder: &Path, options: &[String]) -> Result<Vec<OsString>> {
    if options.is_empty() {
        return Ok(Vec::new());
    }
    let file = folder.join("options.txt");
    let text: String = options.iter().map(|option| format!("{option}\n")).collect();
    zipwright_store::fs::write_if_changed(&file, text.as_bytes(), 0o600)?;
    Ok(vec!["-r".into(), file.into()])
}

/// Returns the wheels in a folder that pip filled.
pub(super) fn wheels_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut wheels: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .collect();
    wheels.sort();
    wheels
}
