//! Tools of zipwright's own: wheels that are pinned by hash, unpacked into a folder by pip.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};

use super::config::Config;
use super::interpreter::Interpreter;
use super::run::{Pip, Talk};
use crate::base::fs::{create_dir_all, temp_dir_beside, write_if_changed};
use crate::project::Project;

/// Makes `folder` hold what `requirements` pins, as `pip install --target` would. One that is
/// there is taken as it is: its name must say what is in it. Several processes may want it at
/// once; each fills a folder of its own, and the first to be ready gives it its name.
pub fn install(
    project: &Project,
    interpreter: &Interpreter,
    requirements: &str,
    folder: &Path,
    talk: Talk,
) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let workshop = temp_dir_beside(folder)?;
    let file = workshop.path().join("requirements.txt");
    write_if_changed(&file, requirements.as_bytes(), 0o600)?;
    let out = workshop.path().join("out");
    create_dir_all(&out)?;
    let words = "install --quiet --only-binary=:all: --no-deps --require-hashes \
                 --root-user-action=ignore --target";
    let mut args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    args.extend([out.clone().into(), "-r".into(), file.clone().into()]);
    let secrets = Config::read(project, &interpreter.identity.prefix).secrets;
    let names = [(file.display().to_string(), "the pinned requirements".to_string())];
    let pip = Pip { project, interpreter, secrets: &secrets, talk };
    pip.run(args, &names)?.map_err(|failure| failure.error("install what is pinned"))?;
    match std::fs::rename(&out, folder) {
        Err(_) if folder.is_dir() => Ok(()),
        renamed => renamed.with_context(|| format!("could not write `{}`", folder.display())),
    }
}
