//! Everything pip reads when it is given requirements and constraints files: the files they
//! include, and the folders, archives and find-links they name.
//!
//! As in pip, an included file is looked for beside the file that includes it, while a
//! requirement's path counts from where pip runs, which is the project's root. A path that leaves
//! the project is refused: it would be an input that nobody sees change. Two things may lie
//! elsewhere: folders of `--find-links`, which like an index answer pip's questions and are no
//! input, and anything with a scheme (`https:`, `git+ssh:`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::lines::{self, Line, Meaning, Requirement, Word};
use super::secrets::{Redactor, redact};
use crate::base::RelPath;
use crate::base::fs::{is_missing, read_to_string, write_if_changed};
use crate::project::Project;

/// The words that stand for a local folder, given its extras: the requirement, and options that
/// come after its marker.
type Replace<'a> = &'a dyn Fn(&RelPath, &str) -> Option<(String, String)>;

/// What pip reads because of the files it was given.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// Every file, in the order of first reading.
    pub files: Vec<ReadFile>,
    /// Local folders to build from source.
    pub folders: BTreeSet<RelPath>,
    /// Local wheels and source archives.
    pub archives: BTreeSet<RelPath>,
    /// Folders and pages of `--find-links` inside the project.
    pub find_links: BTreeSet<RelPath>,
    /// Whether pip checks everything against hashes.
    pub hashed: bool,
    /// Options that hold for pip's whole run, one a line, paths made absolute.
    pub options: Vec<String>,
    /// Lines with variables filled in, free of credentials: `requirements.txt line 3`, text.
    pub expanded: Vec<(String, String)>,
    /// What must never be shown.
    pub secrets: Redactor,
    /// Whether pip cannot be given the files as they are: see [`Requirements::write`].
    pub rewritten: bool,
}

#[derive(Clone, Debug)]
pub struct ReadFile {
    pub path: RelPath,
    /// Its text, without credentials.
    pub text: String,
    /// Whether its text has credentials that were taken out.
    pub secret: bool,
    /// Whether it is read as constraints.
    pub constraint: bool,
    lines: Vec<(Line, Meaning)>,
}

impl Requirements {
    /// Reads `requirements` and `constraints` and whatever they include.
    pub fn read(
        project: &Project,
        requirements: &[RelPath],
        constraints: &[RelPath],
    ) -> Result<Self> {
        let mut found = Self::default();
        for (paths, constraint) in [(requirements, false), (constraints, true)] {
            for path in paths {
                found.read_file(project, path, constraint).map_err(|error| match error {
                    ReadError::Missing => anyhow::anyhow!("there is no file `{path}`"),
                    ReadError::Other(error) => error,
                })?;
            }
        }
        Ok(found)
    }

    fn read_file(
        &mut self,
        project: &Project,
        path: &RelPath,
        constraint: bool,
    ) -> Result<(), ReadError> {
        if self.files.iter().any(|file| file.path == *path && file.constraint == constraint) {
            return Ok(());
        }
        let place = project.place(path);
        if std::fs::metadata(&place).is_err_and(|error| is_missing(&error)) {
            return Err(ReadError::Missing);
        }
        let text = read_to_string(&place)?;
        let clean = redact(&text);
        self.secrets.learn(&text);
        let index = self.files.len();
        self.files.push(ReadFile {
            path: path.clone(),
            secret: clean != text,
            text: clean,
            constraint,
            lines: Vec::new(),
        });
        let mut read = Vec::new();
        for line in lines::split(&text) {
            let meaning = self
                .read_line(project, path, &line)
                .with_context(|| format!("`{path}` line {}", line.number))?;
            read.push((line, meaning));
        }
        self.files[index].lines = read;
        Ok(())
    }

    fn read_line(&mut self, project: &Project, file: &RelPath, line: &Line) -> Result<Meaning> {
        let text = lines::expand(&line.text, |name| project.var(name));
        if text != line.text {
            self.secrets.learn(&text);
            self.expanded.push((format!("{file} line {}", line.number), redact(&text)));
        }
        let meaning = lines::meaning(&text);
        match &meaning {
            Meaning::Include { path, .. } if has_scheme(path) => {}
            Meaning::Include { path, constraint } => {
                let included = inside(project, &project.place(&file.parent()).join(path))
                    .with_context(|| leaves(path, "copy it into the project"))?;
                self.read_file(project, &included, *constraint).map_err(|error| match error {
                    ReadError::Missing => {
                        anyhow::anyhow!("it includes `{included}`, which is not there")
                    }
                    ReadError::Other(error) => error,
                })?;
            }
            Meaning::Options(words) => self.read_options(project, file, words),
            Meaning::Requirement(requirement) => self.read_requirement(project, requirement)?,
            Meaning::Nothing => {}
        }
        Ok(meaning)
    }

    fn read_options(&mut self, project: &Project, file: &RelPath, words: &[Word]) {
        for word in words {
            match word {
                Word::FindLinks(place) => {
                    let place = find_links(project, file, place);
                    self.find_links.extend(inside(project, Path::new(&place)));
                    self.options.push(format!("--find-links {}", quote(&place)));
                }
                Word::RequireHashes => self.hashed = true,
                Word::Other(option) => self.options.push(option.clone()),
            }
        }
    }

    fn read_requirement(&mut self, project: &Project, found: &Requirement) -> Result<()> {
        self.hashed |= found.words.contains("--hash");
        let Some(path) = &found.path else {
            self.rewritten |= found.editable;
            return Ok(());
        };
        let place = project.root.join(path);
        let meta = std::fs::metadata(&place);
        if meta.is_err() && !lines::is_archive(path) && !path.starts_with(['.', '/']) {
            // A name with a slash that is no path: pip's business, and its error.
            return Ok(());
        }
        let way_out = "copy it into the project, or give pip its wheel by --find-links";
        let local = inside(project, &place).with_context(|| leaves(path, way_out))?;
        match meta {
            Ok(meta) if meta.is_dir() => {
                self.folders.insert(local);
                self.rewritten = true;
            }
            Ok(_) => {
                self.archives.insert(local);
            }
            Err(_) => bail!("`{local}` is not there"),
        }
        Ok(())
    }

    /// Local source archives that are installed whatever the circumstances: by a line without
    /// marker and options, and by no other.
    pub(super) fn plain_sources(&self) -> BTreeSet<RelPath> {
        let mut sources = self.archives.clone();
        sources.retain(|path| !path.as_str().ends_with(".whl"));
        let lines = self.files.iter().flat_map(|file| &file.lines);
        for (_, meaning) in lines {
            let Meaning::Requirement(requirement) = meaning else { continue };
            let is_plain = requirement.marker.is_empty() && !requirement.words.contains(" -");
            let path = requirement.path.as_deref().and_then(|path| RelPath::parse(path).ok());
            if let Some(path) = path.filter(|_| !is_plain || requirement.editable) {
                sources.remove(&path);
            }
        }
        sources
    }

    /// Writes copies of all files into `folder`, with line numbers unchanged: for when pip cannot
    /// be given the files themselves. `replace` gives the words that stand for a local folder.
    pub fn write(&self, project: &Project, folder: &Path, replace: Replace) -> Result<()> {
        for (index, file) in self.files.iter().enumerate() {
            let place = copy_place(folder, index);
            let mut text = String::new();
            for (line, meaning) in &file.lines {
                let line_text =
                    self.rewritten_line(project, file, folder, (line, meaning), replace);
                text.push_str(&line_text);
                text.push_str(&"\n".repeat(line.height));
            }
            write_if_changed(&place, text.as_bytes(), 0o600)?;
        }
        Ok(())
    }

    fn rewritten_line(
        &self,
        project: &Project,
        file: &ReadFile,
        folder: &Path,
        (line, meaning): (&Line, &Meaning),
        replace: Replace,
    ) -> String {
        match meaning {
            Meaning::Include { path, constraint } if !has_scheme(path) => {
                let option = if *constraint { "-c" } else { "-r" };
                let included = inside(project, &project.place(&file.path.parent()).join(path));
                let index = self.files.iter().position(|file| {
                    Some(&file.path) == included.as_ref() && file.constraint == *constraint
                });
                let index = index.expect("BUG: every included file was read");
                format!("{option} {}", quote(&copy_place(folder, index).to_string_lossy()))
            }
            Meaning::Options(words) => {
                let words = words.iter().map(|word| match word {
                    Word::FindLinks(place) => {
                        let place = find_links(project, &file.path, place);
                        format!("--find-links {}", quote(&place))
                    }
                    Word::RequireHashes => "--require-hashes".into(),
                    Word::Other(option) => option.clone(),
                });
                words.collect::<Vec<_>>().join(" ")
            }
            Meaning::Requirement(requirement) => {
                let local = requirement
                    .path
                    .as_ref()
                    .and_then(|path| inside(project, &project.root.join(path)));
                let wheel = local.and_then(|local| replace(&local, &requirement.extras));
                match wheel {
                    Some((words, hash)) => format!("{words} {}{hash}", requirement.marker),
                    None if requirement.editable => requirement.words.clone(),
                    None => line.text.clone(),
                }
            }
            _ => line.text.clone(),
        }
    }

    /// Where in `folder` the copies are of the files that were given, not included.
    pub fn copy_of(&self, folder: &Path, path: &RelPath, constraint: bool) -> Option<PathBuf> {
        let at = self
            .files
            .iter()
            .position(|file| file.path == *path && file.constraint == constraint)?;
        Some(copy_place(folder, at))
    }
}

/// Why a file was not read: only who names it can say where that was.
enum ReadError {
    Missing,
    Other(anyhow::Error),
}

impl From<anyhow::Error> for ReadError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn copy_place(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("requirements-{index}.txt"))
}

fn leaves(path: &str, way_out: &str) -> String {
    format!("`{}` lies outside the project: {way_out}", redact(path))
}

pub(super) fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
    })
}

/// The path of `place` in the project, when it lies there.
pub(super) fn inside(project: &Project, place: &Path) -> Option<RelPath> {
    let mut parts = PathBuf::new();
    for part in place.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let below = parts.strip_prefix(&project.root).ok()?.to_str()?.to_string();
    if below.is_empty() { Some(RelPath::root()) } else { RelPath::parse(&below).ok() }
}

/// A value of `--find-links` as pip takes it: beside the file when it is there, else from where
/// pip runs; a URL is itself.
fn find_links(project: &Project, file: &RelPath, place: &str) -> String {
    if let Some(path) = lines::file_url_path(place) {
        return path;
    }
    if has_scheme(place) {
        return place.to_string();
    }
    let beside = project.place(&file.parent()).join(place);
    let place = if beside.exists() { beside } else { project.root.join(place) };
    place.to_string_lossy().into_owned()
}

/// Returns the path in the project of a value of `--find-links` that counts from the root: a path, or
/// a `file:` URL. `None` if it is elsewhere.
pub(super) fn find_links_inside(project: &Project, place: &str) -> Option<RelPath> {
    if has_scheme(place) && !place.starts_with("file:") {
        return None;
    }
    let path = lines::file_url_path(place).unwrap_or_else(|| place.to_string());
    inside(project, &project.root.join(path))
}

/// A word for an options line.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
