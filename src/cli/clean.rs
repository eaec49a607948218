//! `zipwright clean`: removes the files that targets left, if they are unchanged. Other files stay,
//! and are an error.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use walkdir::WalkDir;

use super::args::{Clean, Common};
use super::session::{self, Session};
use super::{Failure, SUCCESS, note};
use crate::base::{Digest, RelPath, fs as base_fs, words};
use crate::build;
use crate::files::{Files, View};
use crate::lock::Patience;
use crate::ownership::{self, Owned};
use crate::state::State;
use crate::target::{Output, Target};

pub(super) fn run(common: &Common, clean: &Clean) -> Result<u8, Failure> {
    let session = Session::open(common, session::Words::new(&clean.words))?;
    let targets: Vec<&Target> = if session.words.goals.is_empty() {
        session.model.targets.iter().collect()
    } else {
        let ids = session.goal_ids()?;
        ids.iter().map(|id| &session.model.targets[id.index()]).collect()
    };
    let _lock = session.lock(Patience::Wait)?;
    let mut state = session.state();
    let files = &session.files_anew();
    let mut cleaner =
        Cleaner { session: &session, files, removed: 0, stays: Vec::new(), folders: Vec::new() };
    let mut problems = Vec::new();
    for target in targets {
        if let Err(error) = cleaner.clean(target, &mut state, clean.force) {
            problems.push(format!("{error:#}"));
        }
    }
    if !common.json {
        note(&format!("removed {}", words::count(cleaner.removed, "output")));
    }
    if !cleaner.stays.is_empty() {
        problems.push(stay(&cleaner.stays));
    }
    for folder in &cleaner.folders {
        problems.push(format!(
            "`{folder}` stays: it is a folder, and not the output; remove it yourself"
        ));
    }
    match problems.is_empty() {
        true => Ok(SUCCESS),
        false => Err(anyhow!("{}", problems.join("\n")).into()),
    }
}

/// Returns the error for files that were not removed.
fn stay(paths: &[String]) -> String {
    let (verb, them, were) = match paths.len() {
        1 => ("stays", "it", "it was"),
        _ => ("stay", "them", "they were"),
    };
    format!(
        "{} {verb}: zipwright did not make {them}, or {were} changed since\n\
         remove {them} yourself, or with `zipwright clean --force`",
        ownership::shown(paths)
    )
}

struct Cleaner<'a> {
    session: &'a Session,
    files: &'a Files,
    /// Number of removed outputs.
    removed: usize,
    /// Files that are not the target's, or were changed since.
    stays: Vec<String>,
    /// Folders in the places of files.
    folders: Vec<String>,
}

impl Cleaner<'_> {
    fn clean(&mut self, target: &Target, state: &mut State, force: bool) -> Result<()> {
        let (project, name) = (&self.session.project, &target.name.value);
        let owned = Owned::load(project, name, state.left(name)?, force)?;
        for output in target.outputs() {
            let place = View::unlogged(self.files, project).to_write(output.path())?;
            let Ok(meta) = fs::symlink_metadata(&place) else { continue };
            let is_gone = match &output {
                Output::Folder(path) if meta.is_dir() => self.clean_folder(path, &place, &owned)?,
                Output::Stamp(_) if meta.is_file() && meta.len() == 0 => {
                    may_be_stamp(&output, &owned) && base_fs::remove(&place)?
                }
                Output::File(_) if meta.is_symlink() && self.left_link(&output, &owned)? => {
                    base_fs::remove(&place)?
                }
                _ if meta.is_dir() => {
                    self.folders.push(output.path().to_string());
                    false
                }
                _ => {
                    let may_go = is_ours(output.path(), &place, &owned)? || force;
                    if !may_go {
                        self.stays.push(output.path().to_string());
                    }
                    may_go && base_fs::remove(&place)?
                }
            };
            self.removed += usize::from(is_gone);
        }
        ownership::end(project, name)?;
        state.forget(name)
    }

    /// Returns whether the output is the same link that the target left.
    fn left_link(&self, output: &Output, owned: &Owned) -> Result<bool> {
        let digest =
            build::output_digest(&View::unlogged(self.files, &self.session.project), output)?;
        Ok(digest.is_some_and(|digest| owned.left_exactly(output.path(), &digest)))
    }

    /// Removes the target's files in a folder, and then empty folders. Returns whether the folder
    /// is gone.
    fn clean_folder(&mut self, path: &RelPath, root: &Path, owned: &Owned) -> Result<bool> {
        let mut ours: Vec<PathBuf> = Vec::new();
        let mut walk = WalkDir::new(root).min_depth(1).into_iter();
        while let Some(found) = walk.next() {
            let found = found.with_context(|| format!("could not list `{path}`"))?;
            if base_fs::is_temp_name(found.file_name()) {
                if found.file_type().is_dir() {
                    walk.skip_current_dir();
                }
                ours.push(found.into_path());
                continue;
            }
            if found.file_type().is_dir() {
                continue;
            }
            let below = found.path().strip_prefix(root).unwrap_or(found.path());
            let member = below.to_str().and_then(|below| RelPath::parse(below).ok());
            let member = member.map(|below| path.join(&below));
            let is_file = found.file_type().is_file();
            let may_go = match &member {
                Some(member) if is_file => is_ours(member, found.path(), owned)?,
                _ => false,
            };
            match may_go || owned.force {
                true => ours.push(found.into_path()),
                false => self.stays.push(format!("{path}/{}", below.display())),
            }
        }
        for file in &ours {
            base_fs::remove(file)?;
        }
        let was_ours = !ours.is_empty() || owned.has_run;
        if was_ours {
            remove_empty(root, &ours);
        }
        Ok(was_ours && !root.exists())
    }
}

/// Removes the folders of removed files, if they are empty, and `root`.
fn remove_empty(root: &Path, gone: &[PathBuf]) {
    let above = gone.iter().flat_map(|file| file.ancestors().skip(1));
    let mut folders: Vec<&Path> = above.filter(|folder| folder.starts_with(root)).collect();
    folders.push(root);
    folders.sort_unstable();
    folders.dedup();
    for folder in folders.into_iter().rev() {
        // Fails if it is not empty, as intended.
        let _ = fs::remove_dir(folder);
    }
}

fn is_ours(path: &RelPath, place: &Path, owned: &Owned) -> Result<bool> {
    if !owned.was_left(path) || !place.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(false);
    }
    let content = Digest::of_file(place);
    let content = content.with_context(|| format!("could not read `{}`", place.display()))?;
    Ok(owned.is_ours(path, &content))
}

/// Returns whether an empty file is a stamp: the target left it, or it has the name of one.
fn may_be_stamp(output: &Output, owned: &Owned) -> bool {
    owned.was_left(output.path()) || output.path().as_str().ends_with(".stamp") || owned.force
}
