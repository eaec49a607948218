//! `zipwright lock [TARGET]`: writes a `pylock.toml` with the wheels of a wheelhouse.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use zipwright_python::lock::is_pylock;

use super::args::{Common, Lock};
use super::session::{Session, Words};
use super::{FAILURE, Failure, SUCCESS, build, note, print, print_json};
use crate::base::fs::{FILE_MODE, is_missing, write_if_changed};
use crate::base::words::count;
use crate::graph::TargetId;
use crate::pip;
use crate::targets::wheelhouse::Wheelhouse;

pub(super) fn run(common: &Common, lock: &Lock) -> Result<u8, Failure> {
    let session = Session::open(common, Words::new(&lock.words))?;
    let (id, name, wheelhouse) = find(&session)?;
    check_output(&lock.output)?;
    let summary = build::for_command(common, &lock.words, &session, vec![id])?;
    if summary.failed > 0 {
        return Ok(FAILURE);
    }
    let (text, packages) = wheelhouse.pylock(&session.project)?;
    let path = lock.output.display().to_string();
    let place = session.project.root.join(&lock.output);
    write_if_changed(&place, text.as_bytes(), FILE_MODE)?;
    if common.json {
        print_json(&json!({ "path": path, "target": name, "packages": packages }))?;
    } else {
        print(path.as_str())?;
        let packages = count(packages, "package");
        note(&format!(
            "{packages}; to use it, give `{name}` `lock = \"{path}\"` in place of `requirements`"
        ));
    }
    Ok(SUCCESS)
}

/// Returns the wheelhouse of the command line, or the only one that is resolved.
fn find(session: &Session) -> Result<(TargetId, &str, &Wheelhouse)> {
    let get = |id: TargetId| {
        let target = &session.model.targets[id.index()];
        Some((id, target.name.value.as_str(), target.kind.get::<Wheelhouse>()?))
    };
    let found = match session.words.goals.as_slice() {
        [] => {
            let all = session.graph.ids().filter_map(get).filter(|(.., it)| it.lock.is_none());
            match all.collect::<Vec<_>>().as_slice() {
                [one] => *one,
                [] => bail!("there is no wheelhouse with `requirements` that could be locked"),
                several => {
                    let names: Vec<String> =
                        several.iter().map(|(_, name, _)| format!("`{name}`")).collect();
                    bail!("name one of the wheelhouses {}", names.join(", "));
                }
            }
        }
        [goal] => match get(session.find(goal)?) {
            Some(found) => found,
            None => bail!("`{goal}` is not a wheelhouse: only the wheels of one can be locked"),
        },
        _ => bail!("one lockfile is for one wheelhouse: name only one"),
    };
    if let Some(lock) = &found.2.lock {
        bail!(
            "the wheels of `{}` are those of `{}`: lock them with the tool that wrote it",
            found.1,
            lock.path.value
        );
    }
    Ok(found)
}

/// Fails if a file is in the way that `zipwright lock` did not write.
fn check_output(path: &Path) -> Result<()> {
    let shown = path.display();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !is_pylock(name) || path.parent() != Some(Path::new("")) {
        bail!(
            "`{shown}` cannot be the lockfile: it is `pylock.toml` or `pylock.NAME.toml`, beside \
             the Buildfile"
        );
    }
    if path.is_symlink() {
        bail!("`{shown}` is a symbolic link: remove it, or write another file with `--output`");
    }
    match std::fs::read_to_string(path) {
        Err(error) if is_missing(&error) => Ok(()),
        Ok(text) if pip::is_own_lock(&text) => Ok(()),
        Ok(_) => bail!(
            "`{shown}` was not written by `zipwright lock`: move it away, or write another file \
             with `--output pylock.NAME.toml`"
        ),
        Err(error) => Err(error).with_context(|| format!("could not read `{shown}`")),
    }
}
