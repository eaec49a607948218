//! All inputs of pip that requirements and constraints files name: the files they include, and
//! folders, archives and find-links.
//!
//! As in pip, the path of an included file counts from the file that includes it, while a
//! requirement's path counts from pip's working directory, the project's root. A path that leaves
//! the project is refused: it would be an input whose changes are not noticed. Exceptions are
//! folders of `--find-links`, which like a package index are not inputs, and anything with a scheme
//! other than `file:`.
//!
//! pip never reads these files, but [copies](Requirements::write) with each line as it was read
//! here, so that the two cannot read a file differently.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::foreign;
use super::lines::{self, Line, Meaning, PathKind, Requirement, Word};
use super::options::quote;
use super::secrets::{Redactor, fingerprint, percent_decode, redact};
use super::settings::Settings;
use super::text::{decode, ends_line};
use zipwright_store::RelPath;
use zipwright_store::fs::{is_missing, read, write_if_changed};
use zipwright_store::project::Project;

/// The wheel that replaces a local path in the copies.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    /// The normalised name of its project.
    pub project: String,
    pub url: String,
    /// ` --hash=…`, or empty.
    pub hash: String,
}

type Replace<'a> = &'a dyn Fn(&RelPath) -> Option<Replacement>;

/// Returns whether a marker is true in the environment of the wheels; `None` if it cannot be read.
pub(super) type Applies<'a> = &'a dyn Fn(&str) -> Option<bool>;

/// The inputs that the given files name.
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
    /// Whether pip reads a further file, of another host.
    pub(super) is_remote: bool,
    /// Options that hold for pip's whole run, one a line, paths made absolute.
    pub options: Vec<String>,
    /// Lines with variables filled in, free of credentials: `requirements.txt line 3`, text.
    pub expanded: Vec<(String, String)>,
    /// Secrets that must never be shown.
    pub secrets: Redactor,
    /// `--config-settings` of single requirements.
    pub(super) settings: Settings,
    /// The files that are being read: each includes the next one.
    open: Vec<RelPath>,
}

#[derive(Clone, Debug)]
pub struct ReadFile {
    pub path: RelPath,
    /// Its text, without credentials.
    pub text: String,
    /// Whether credentials were removed from its text.
    pub secret: bool,
    /// Whether pip reads it as constraints.
    pub constraint: bool,
    lines: Vec<ReadLine>,
}

#[derive(Clone, Debug)]
struct ReadLine {
    line: Line,
    /// Its text with variables filled in, free of credentials and of the project's folder.
    shown: String,
    meaning: Meaning,
    /// The local path that it includes or requires.
    local: Option<RelPath>,
    /// `false` for a requirement whose marker is false.
    wanted: bool,
}

/// The place that an include names.
enum Included {
    /// Another host, or a place where pip finds no file.
    Elsewhere,
    Here {
        place: PathBuf,
        by_url: bool,
    },
}

impl Requirements {
    /// Reads `requirements` and `constraints` and everything they include. Local paths of
    /// requirements with a false marker are not inputs.
    pub(super) fn read(
        project: &Project,
        requirements: &[RelPath],
        constraints: &[RelPath],
        applies: Applies,
    ) -> Result<Self> {
        let mut found = Self::default();
        for (paths, constraint) in [(requirements, false), (constraints, true)] {
            for path in paths {
                found.read_file(project, path, (constraint, false), applies).map_err(|error| {
                    match error {
                        ReadError::Missing => anyhow::anyhow!("there is no file `{path}`"),
                        ReadError::Other(error) => error,
                    }
                })?;
            }
        }
        Ok(found)
    }

    fn read_file(
        &mut self,
        project: &Project,
        path: &RelPath,
        // Whether it was included by a URL, so that its own includes are relative URLs.
        (constraint, by_url): (bool, bool),
        applies: Applies,
    ) -> Result<(), ReadError> {
        if let Some(first) = self.open.iter().position(|open| open == path) {
            let circle: Vec<&str> = self.open[first..].iter().map(RelPath::as_str).collect();
            let error = match circle.as_slice() {
                [_] => anyhow::anyhow!("it includes itself: remove this line"),
                files => anyhow::anyhow!(
                    "the includes are a circle, `{}`, `{path}`: remove one of them",
                    files.join("`, `")
                ),
            };
            return Err(error.into());
        }
        if self.position(path, constraint).is_some() {
            return Ok(());
        }
        let place = project.place(path);
        if std::fs::metadata(&place).is_err_and(|error| is_missing(&error)) {
            return Err(ReadError::Missing);
        }
        let foreign = |way_out: &str| {
            ReadError::Other(anyhow::anyhow!("`{path}` is not a requirements file: {way_out}"))
        };
        if let Some(way_out) = foreign::by_name(path.file_name()) {
            return Err(foreign(way_out));
        }
        let bytes = read(&place)?;
        let text = decode(&bytes).with_context(|| format!("could not read `{path}`"))?;
        if let Some(way_out) = foreign::by_text(&text) {
            return Err(foreign(way_out));
        }
        let clean = fingerprint(&text);
        self.secrets.learn(&text);
        let index = self.files.len();
        self.files.push(ReadFile {
            path: path.clone(),
            secret: clean != text,
            text: clean,
            constraint,
            lines: Vec::new(),
        });
        self.open.push(path.clone());
        let mut read = Vec::new();
        for line in lines::split(&text) {
            let number = line.number;
            let line = self
                .read_line(project, (path, by_url), line, applies)
                .with_context(|| format!("`{path}` line {number}"))?;
            read.push(line);
        }
        self.open.pop();
        self.files[index].lines = read;
        Ok(())
    }

    fn position(&self, path: &RelPath, constraint: bool) -> Option<usize> {
        let mut files = self.files.iter();
        files.position(|file| file.path == *path && file.constraint == constraint)
    }

    fn read_line(
        &mut self,
        project: &Project,
        (file, by_url): (&RelPath, bool),
        line: Line,
        applies: Applies,
    ) -> Result<ReadLine> {
        let text = lines::expand(&line.text, |name| project.var(name));
        let shown = fingerprint(&without_root(project, &text));
        if text != line.text {
            if text.contains(ends_line) {
                bail!("the value of a variable in this line has a line break");
            }
            self.secrets.learn(&text);
            self.expanded.push((format!("{file} line {}", line.number), shown.clone()));
        }
        let meaning = lines::meaning(&text, &|path| look(project, path));
        let mut read = ReadLine { line, shown, meaning, local: None, wanted: true };
        match &read.meaning {
            Meaning::Include { path, constraint } => {
                let beside = (&*project.place(&file.parent()), by_url);
                let Included::Here { place, by_url } = included(beside, path) else {
                    self.is_remote = true;
                    return Ok(read);
                };
                let local = inside(project, &place)
                    .with_context(|| leaves(path, "copy it into the project"))?;
                let way = (*constraint, by_url);
                self.read_file(project, &local, way, applies).map_err(|error| match error {
                    ReadError::Missing => {
                        anyhow::anyhow!("it includes `{local}`, which does not exist")
                    }
                    ReadError::Other(error) => error,
                })?;
                read.local = Some(local);
            }
            Meaning::Options(words) => self.read_options(project, file, words),
            Meaning::Requirement(found) => {
                read.wanted = found.marker.is_empty() || applies(&found.marker).unwrap_or(true);
                if read.wanted {
                    read.local = self.read_requirement(project, found)?;
                }
            }
            Meaning::Nothing | Meaning::Invalid => {}
        }
        Ok(read)
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
                Word::Other(option) => {
                    if let Some(("--index-url" | "--extra-index-url", url)) = option.split_once(' ')
                    {
                        self.find_links.extend(index_inside(project, url.trim_matches('\'')));
                    }
                    self.options.push(option.clone());
                }
            }
        }
    }

    /// Returns the path in the project that the requirement names.
    fn read_requirement(
        &mut self,
        project: &Project,
        found: &Requirement,
    ) -> Result<Option<RelPath>> {
        self.hashed |= found.hashed;
        if found.has_setup_options {
            bail!(
                "`--global-option` and `--install-option` are not passed to builds: write \
                 `--config-settings=\"--global-option=…\"` instead"
            );
        }
        let Some(path) = &found.path else {
            if let Some(name) = &found.name {
                self.settings.add_name(name, &found.settings)?;
            }
            return Ok(None);
        };
        let mut place = project.root.join(path);
        let meta = std::fs::metadata(&place);
        if meta.is_err() && foreign::is_conda_build(path) {
            bail!("`{}` {}", redact(path), foreign::CONDA_FREEZE);
        }
        let is_folder = meta.as_ref().is_ok_and(std::fs::Metadata::is_dir);
        if let Some(subdirectory) = found.subdirectory.as_ref().filter(|_| is_folder) {
            place.push(subdirectory);
        }
        let way_out = "copy it into the project, or give pip its wheel by --find-links";
        let local = inside(project, &place).with_context(|| leaves(path, way_out))?;
        if meta.is_err() || is_folder && !place.is_dir() {
            bail!("`{local}` is not there");
        }
        let set = if is_folder { &mut self.folders } else { &mut self.archives };
        set.insert(local.clone());
        self.settings.add_path(&local, &found.settings)?;
        Ok(Some(local))
    }

    /// Returns the lines that decide which wheels there are, each with whether it is a constraint:
    /// not blank lines, comments, includes of files that were read, and requirements whose marker is
    /// false. Variables are filled in, credentials removed.
    pub fn effective_lines(&self) -> impl Iterator<Item = (&str, bool)> {
        self.files.iter().flat_map(|file| {
            let counts = |read: &&ReadLine| match read.meaning {
                Meaning::Nothing => false,
                Meaning::Include { .. } => read.local.is_none(),
                _ => read.wanted,
            };
            let lines = file.lines.iter().filter(counts);
            lines.map(|read| (read.shown.as_str(), file.constraint))
        })
    }

    /// Returns the local source archives that are always installed: named by a line without options
    /// and subdirectory, and by no other line.
    pub(super) fn plain_sources(&self) -> BTreeSet<RelPath> {
        let mut sources = self.archives.clone();
        sources.retain(|path| !path.as_str().ends_with(".whl"));
        for line in self.files.iter().flat_map(|file| &file.lines) {
            let (Meaning::Requirement(found), Some(local)) = (&line.meaning, &line.local) else {
                continue;
            };
            let is_plain = found.options.is_empty() && found.subdirectory.is_none();
            if !is_plain || found.editable {
                sources.remove(local);
            }
        }
        sources
    }

    /// Returns the meaning of each line, whether it includes a file that was read, and whether it is
    /// in a file of constraints.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&Meaning, bool, bool)> {
        self.files.iter().flat_map(|file| {
            let read = |line: &'_ ReadLine| line.local.is_some();
            file.lines.iter().map(move |line| (&line.meaning, read(line), file.constraint))
        })
    }

    /// Writes copies of all files into `folder`, with line numbers unchanged. `replace` returns the
    /// wheel that replaces a local path.
    pub(super) fn write(&self, project: &Project, folder: &Path, replace: Replace) -> Result<()> {
        for (index, file) in self.files.iter().enumerate() {
            let mut text = String::new();
            for read in &file.lines {
                let written = self
                    .rewritten(project, (file, read), folder, replace)
                    .with_context(|| format!("`{}` line {}", file.path, read.line.number))?;
                text.push_str(&written);
                if written.ends_with('\\') {
                    // The backslash ends a line, but does not continue it.
                    text.push_str(" #");
                }
                text.push_str(&"\n".repeat(read.line.height));
            }
            if !text.is_ascii() {
                // Without a mark, pip before version 24.3 decodes by the locale.
                text.insert(0, '\u{feff}');
            }
            write_if_changed(&copy_place(folder, index), text.as_bytes(), 0o600)?;
        }
        Ok(())
    }

    fn rewritten(
        &self,
        project: &Project,
        (file, read): (&ReadFile, &ReadLine),
        folder: &Path,
        replace: Replace,
    ) -> Result<String> {
        Ok(match (&read.meaning, &read.local) {
            (Meaning::Include { constraint, .. }, Some(local)) => {
                let option = if *constraint { "-c" } else { "-r" };
                let index = self.position(local, *constraint);
                let index = index.expect("BUG: every included file was read");
                format!("{option} {}", quote(&copy_place(folder, index).to_string_lossy()))
            }
            (Meaning::Options(words), _) => {
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
            (Meaning::Requirement(_), _) if !read.wanted => String::new(),
            (Meaning::Requirement(found), Some(local)) => match replace(local) {
                Some(Replacement { project, url, hash }) => {
                    check_name(found, local, &project)?;
                    format!("{project}{} @ {url}{hash}", found.extras)
                }
                None if found.editable => found.words.clone(),
                None => read.line.text.clone(),
            },
            (Meaning::Requirement(found), None) if found.editable => found.words.clone(),
            _ => read.line.text.clone(),
        })
    }

    /// Returns the copy in `folder` of a file that was given and not included.
    pub(super) fn copy_of(&self, folder: &Path, path: &RelPath, constraint: bool) -> PathBuf {
        let index = self.position(path, constraint).expect("BUG: every given file was read");
        copy_place(folder, index)
    }
}

/// Fails if a line gives a local path another name than that of the project there.
fn check_name(found: &Requirement, local: &RelPath, project: &str) -> Result<()> {
    match &found.name {
        Some(name) if zipwright_python::normalise(name) != project => bail!(
            "it names `{name}`, and `{local}` builds `{project}`: correct the name or the path; \
             for a project in a folder below, append `#subdirectory=FOLDER`"
        ),
        _ => Ok(()),
    }
}

/// Files on this disk that pip reads because of a setting.
#[derive(Default)]
pub(super) struct Contents {
    /// In the order of reading; they may be outside the project. `None` for an unreadable file.
    pub files: Vec<(PathBuf, Option<String>)>,
    /// Whether pip reads a further file, of another host.
    pub is_remote: bool,
}

/// Returns the contents of a file that a setting names by its path or URL, and of all files that it
/// includes.
pub(super) fn contents_of(project: &Project, path: &str) -> Contents {
    let mut found = Contents::default();
    let mut open = vec![included((&project.root, false), path)];
    while let Some(next) = open.pop() {
        let Included::Here { place, by_url } = next else {
            found.is_remote = true;
            continue;
        };
        if found.files.iter().any(|(known, _)| *known == place) {
            continue;
        }
        let text = std::fs::read(&place).ok().and_then(|bytes| decode(&bytes).ok());
        let beside = place.parent().unwrap_or(&place);
        for line in lines::split(text.as_deref().unwrap_or_default()) {
            let line = lines::expand(&line.text, |name| project.var(name));
            if let Meaning::Include { path, .. } = lines::meaning(&line, &|_| PathKind::Missing) {
                open.push(included((beside, by_url), &path));
            }
        }
        found.files.push((place, text));
    }
    found
}

/// Returns the place of an included file. `beside` is the folder of the including file, and whether
/// that was included by a URL.
fn included((beside, by_url): (&Path, bool), path: &str) -> Included {
    let scheme = path.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => Included::Elsewhere,
        // pip does not open a `file:` URL without the slashes.
        Some("file") => match lines::url_path(path).filter(|_| path.starts_with("file://")) {
            Some(path) => Included::Here { place: path.into(), by_url: true },
            None => Included::Elsewhere,
        },
        _ if by_url => {
            let path = percent_decode(path.split(['?', '#']).next().unwrap_or_default());
            Included::Here { place: beside.join(path), by_url: true }
        }
        _ => Included::Here { place: beside.join(path), by_url: false },
    }
}

/// Returns the kind of a path, relative to pip's working directory.
fn look(project: &Project, path: &str) -> PathKind {
    match std::fs::metadata(normal(&project.root.join(path))) {
        Ok(meta) if meta.is_dir() => PathKind::Folder,
        Ok(_) => PathKind::File,
        Err(_) => PathKind::Missing,
    }
}

/// The reason why a file was not read; the caller adds where it was named.
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
    format!("`{}` is outside the project: {way_out}", redact(path))
}

pub(super) fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
    })
}

/// Returns the path of `place` in the project if it is inside, also if the project was entered
/// through a link.
pub(super) fn inside(project: &Project, place: &Path) -> Option<RelPath> {
    let place = normal(place);
    below(&place, &project.root).or_else(|| below(&real(&place)?, &real(&project.root)?))
}

fn below(place: &Path, root: &Path) -> Option<RelPath> {
    let below = place.strip_prefix(root).ok()?.to_str()?.to_string();
    if below.is_empty() { Some(RelPath::root()) } else { RelPath::parse(&below).ok() }
}

/// Removes `..` from a path without reading the disk, as pip does.
pub(super) fn normal(place: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in place.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

/// Resolves the links in a path whose last parts may not exist.
fn real(place: &Path) -> Option<PathBuf> {
    let mut above = place.ancestors();
    let (there, real) = above.find_map(|above| Some((above, above.canonicalize().ok()?)))?;
    Some(real.join(place.strip_prefix(there).ok()?))
}

/// Returns a text that is the same in every checkout.
fn without_root(project: &Project, text: &str) -> String {
    if project.root.parent().is_none() {
        return text.into();
    }
    let text = text.replace(&*project.root.to_string_lossy(), ".");
    // `PWD` is the shell's path of the folder, with the links that the project was entered through.
    let entered = project.var("PWD").filter(|entered| {
        Path::new(entered).is_absolute() && inside(project, Path::new(entered)).is_some()
    });
    entered.map_or(text.clone(), |entered| text.replace(entered, "."))
}

/// Returns a value of `--find-links` as pip reads it: relative to the file if it exists there, else
/// to pip's working directory; a URL is unchanged.
fn find_links(project: &Project, file: &RelPath, place: &str) -> String {
    if let Some(path) = lines::url_path(place) {
        return path;
    }
    if has_scheme(place) {
        return place.to_string();
    }
    let beside = project.place(&file.parent()).join(place);
    let place = if beside.exists() { beside } else { project.root.join(place) };
    place.to_string_lossy().into_owned()
}

/// Returns the path in the project of a value of `--find-links` relative to the root: a path, or a
/// `file:` URL. `None` if it is outside.
pub(super) fn find_links_inside(project: &Project, place: &str) -> Option<RelPath> {
    if has_scheme(place) && !place.starts_with("file:") {
        return None;
    }
    let path = lines::url_path(place).unwrap_or_else(|| place.to_string());
    inside(project, &project.root.join(path))
}

/// Returns the path in the project of a package index, if it is a folder there.
pub(super) fn index_inside(project: &Project, place: &str) -> Option<RelPath> {
    let place = find_links_inside(project, place).filter(|_| !place.is_empty())?;
    project.place(&place).is_dir().then_some(place)
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
