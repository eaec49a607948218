//! zipwright's own tools: wheels pinned by hash, unpacked into a folder by pip.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use zipwright_store::Format;

use super::config::Config;
use super::interpreter::{Interpreter, LazyInterpreter};
use super::run::Pip;
use zipwright_engine::event::Reporter;
use zipwright_store::fs::{temp_dir_beside, write_if_changed};
use zipwright_store::project::Project;
use zipwright_store::{Digest, private};

/// The file in a folder that lists all others, with the digest of each. Python cannot import such a
/// name.
const LIST: &str = ".zipwright-files";

const FORMAT: Format = Format::new("installed files", 1);

/// Installs the wheels that `requirements` pins into `folder`, as `pip install --target` does. An
/// existing folder is used if its files match its list; its name must identify the content. Safe
/// with several processes: each fills a folder of its own, and the first to finish renames it.
/// Calls `before` if there is anything to install.
pub fn install(
    project: &Project,
    interpreter: &Interpreter,
    (requirements, folder): (&str, &Path),
    (reporter, before): (&dyn Reporter, &dyn Fn()),
) -> Result<()> {
    if is_whole(folder) {
        return Ok(());
    }
    before();
    private::create_dir_all(folder.parent().unwrap_or(folder))?;
    let workshop = temp_dir_beside(folder)?;
    let file = workshop.path().join("requirements.txt");
    write_if_changed(&file, requirements.as_bytes(), 0o600)?;
    let out = workshop.path().join("out");
    private::create_dir_all(&out)?;
    let words = "install --quiet --only-binary=:all: --no-deps --require-hashes \
                 --root-user-action=ignore --target";
    let mut args: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    args.extend([out.clone().into(), "-r".into(), file.clone().into()]);
    let secrets = Config::read(project, Some(&interpreter.identity.prefix)).secrets;
    let names = [(file.display().to_string(), "the pinned requirements".to_string())];
    let interpreter = &LazyInterpreter::of(project, interpreter);
    let pip = Pip { project, interpreter, secrets: &secrets, reporter };
    pip.run(args, &names)?.map_err(|failure| failure.error("install the pinned wheels"))?;
    let files = list(&out)?;
    write_if_changed(&out.join(LIST), &files, private::FILE_MODE)?;
    if is_whole(folder) {
        // Another process finished first.
        return Ok(());
    }
    let _ = std::fs::rename(folder, workshop.path().join("damaged"));
    match std::fs::rename(&out, folder) {
        Err(_) if is_whole(folder) => Ok(()),
        renamed => renamed.with_context(|| format!("could not write `{}`", folder.display())),
    }
}

/// Returns whether `folder` has exactly the files that were installed in it.
fn is_whole(folder: &Path) -> bool {
    let Ok(listed) = std::fs::read(folder.join(LIST)) else { return false };
    list(folder).is_ok_and(|now| now == listed)
}

/// Returns the list of all files in `folder` but itself.
fn list(folder: &Path) -> Result<Vec<u8>> {
    let mut places = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.context("could not list the installed files")?;
        if !entry.file_type().is_dir() && entry.path() != folder.join(LIST) {
            places.push(entry.into_path());
        }
    }
    let digests = places.par_iter().map(|place| {
        let failed = || format!("could not read `{}`", place.display());
        Digest::of_file(place).with_context(failed)
    });
    let digests: Vec<Digest> = digests.collect::<Result<_>>()?;
    let below = |place: &'_ PathBuf| {
        place.strip_prefix(folder).unwrap_or(place).as_os_str().as_encoded_bytes().to_vec()
    };
    let files: Vec<(Vec<u8>, Digest)> = places.iter().map(below).zip(digests).collect();
    FORMAT.seal(&files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tool_that_lost_or_changed_a_file_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("package")).unwrap();
        fs::write(at("package/a.py"), "a").unwrap();
        fs::write(at("b.py"), "b").unwrap();
        assert!(!is_whole(folder.path()), "without a list");
        fs::write(at(LIST), list(folder.path()).unwrap()).unwrap();
        assert!(is_whole(folder.path()));
        fs::write(at("b.py"), "c").unwrap();
        assert!(!is_whole(folder.path()));
        fs::write(at("b.py"), "b").unwrap();
        fs::write(at("package/new.py"), "").unwrap();
        assert!(!is_whole(folder.path()));
        fs::remove_file(at("package/new.py")).unwrap();
        assert!(is_whole(folder.path()));
        fs::remove_file(at("package/a.py")).unwrap();
        assert!(!is_whole(folder.path()));
    }
}
