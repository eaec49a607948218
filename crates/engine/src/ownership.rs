//! The files that a target left, by content. Only these are removed or replaced: a path is the
//! target's while its digest is one of those that the state has for it.
//!
//! Outputs that are single files are in the target's record. The files of an output folder are in a
//! journal of the target in the state folder, and so are all files that a run is about to put in
//! place, so that they are in the journal if it is killed. A run that ends rewrites the journal.
//! Without a record of the target, the journal is ignored.
//!
//! The content that a command writes cannot be recorded beforehand. So a list beside the journal has the
//! outputs whose places were free, or had the target's own file, when the command began. If the run is
//! killed, only these count as half-written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use zipwright_store::Format;

use crate::state::{Left, RecordedOutput};
use zipwright_store::digest::FieldHasher;
use zipwright_store::fs as base_fs;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath, private};

const FOLDER: &str = "left";
/// Format of the envelopes in a journal.
const FORMAT: Format = Format::new("left files", 1);
/// Format of a list of outputs that a command writes.
const WRITTEN: Format = Format::new("outputs of a running command", 1);

/// Largest number of paths that one error names.
const SHOWN: usize = 4;

/// The files that one target left.
#[derive(Debug)]
pub struct Owned {
    /// Outputs that are files: digest and permission bits.
    recorded: BTreeMap<RelPath, (Digest, u32)>,
    /// Outputs that a killed run of a command may have left half-written.
    pub half_written: BTreeSet<RelPath>,
    /// Whether the target has a record, or ran since it was last cleaned.
    pub has_run: bool,
    /// From the journal as it was at the start, read when it is first needed; sorted: each path, and a
    /// digest that it may have.
    members: OnceLock<Vec<(RelPath, Digest)>>,
    journal: Option<Journal>,
    /// Whether files that are not the target's may be removed and replaced as well.
    pub force: bool,
}

#[derive(Debug)]
struct Journal {
    place: PathBuf,
    /// Bytes at the start.
    length: u64,
}

/// Owns no file.
pub static NOTHING: Owned = Owned::new(false);

impl Owned {
    /// Owns no file; with `force`, everything may be replaced.
    pub const fn new(force: bool) -> Self {
        Self {
            recorded: BTreeMap::new(),
            half_written: BTreeSet::new(),
            has_run: false,
            members: OnceLock::new(),
            journal: None,
            force,
        }
    }

    /// Returns the files that `target` left, from the state and the target's journal.
    pub fn load(project: &Project, target: &str, left: Left, force: bool) -> Result<Self> {
        let place = project.state_folder(FOLDER)?.join(file_name(target));
        let meta = place.symlink_metadata().ok().filter(|meta| left.has_run && meta.is_file());
        let journal = Journal { place, length: meta.map_or(0, |meta| meta.len()) };
        let file = |output: RecordedOutput| Some((output.path, (output.digest, output.mode?)));
        let Left { outputs, has_run, interrupted } = left;
        let half_written = if interrupted { read_written(&journal.place) } else { BTreeSet::new() };
        let recorded = outputs.into_iter().filter_map(file).collect();
        let (members, journal) = (OnceLock::new(), Some(journal));
        Ok(Self { recorded, half_written, has_run, members, journal, force })
    }

    /// Returns whether the target left a file with this content at `path`.
    pub fn is_ours(&self, path: &RelPath, content: &Digest) -> bool {
        let recorded = self.recorded.get(path).is_some_and(|(digest, _)| {
            [false, true].iter().any(|executable| file_digest(content, *executable) == *digest)
        });
        recorded || self.members_at(path).any(|(_, digest)| digest == content)
    }

    /// Returns whether the target left an output with this digest at `path`, its mode or link
    /// included.
    pub fn left_exactly(&self, path: &RelPath, digest: &Digest) -> bool {
        self.recorded.get(path).is_some_and(|(recorded, _)| recorded == digest)
    }

    /// Returns whether the target left a file at `path`, even if it has changed.
    pub fn was_left(&self, path: &RelPath) -> bool {
        self.recorded.contains_key(path) || self.members_at(path).next().is_some()
    }

    /// Reads the journal, which takes time if it is long. Any other use of it does so, if need be.
    pub fn read_ahead(&self) {
        self.members();
    }

    fn members(&self) -> &[(RelPath, Digest)] {
        self.members.get_or_init(|| self.journal.as_ref().map_or_else(Vec::new, Journal::read))
    }

    fn members_at<'a>(&'a self, path: &'a RelPath) -> impl Iterator<Item = &'a (RelPath, Digest)> {
        let members = self.members();
        let first = members.partition_point(|(member, _)| member < path);
        members[first..].iter().take_while(move |(member, _)| member == path)
    }

    /// Returns the permission bits with which the target left the file at `path`.
    pub fn mode(&self, path: &RelPath) -> Option<u32> {
        self.recorded.get(path).map(|(_, mode)| *mode)
    }

    /// Records that files with these digests are about to be put in place.
    pub fn promise<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a RelPath, &'a Digest)>,
    ) -> Result<()> {
        let files = files.into_iter().filter(|(path, digest)| !self.is_ours(path, digest));
        let (Some(journal), Some(frame)) = (&self.journal, frame(files)?) else { return Ok(()) };
        let place = &journal.place;
        let written = base_fs::open_own(place, true).and_then(|mut file| file.write_all(&frame));
        written.with_context(|| format!("could not write `{}`", place.display()))
    }

    /// Records that a command writes these outputs, in place of an earlier list of this target.
    pub fn writes(&self, outputs: &BTreeSet<RelPath>) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let list = list_of_written(&journal.place);
        match outputs.is_empty() {
            true => base_fs::remove(&list).map(drop),
            false => base_fs::write(&list, &WRITTEN.seal(outputs)?, private::FILE_MODE),
        }
    }

    /// Returns whether the journal has files.
    pub fn has_journal(&self) -> bool {
        !self.members().is_empty()
    }

    /// Replaces the journal: these files of folders, besides the recorded outputs, and those left where
    /// the target has no output any more, while they exist: `output = "build/{stage}"` can so go back
    /// and forth.
    pub fn settle<'a>(
        &'a self,
        project: &Project,
        is_current: &dyn Fn(&RelPath) -> bool,
        files: impl IntoIterator<Item = (&'a RelPath, &'a Digest)>,
    ) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let is_former = |path: &RelPath| !is_current(path) && is_file(&project.place(path));
        let former = self.members().iter().map(|(path, digest)| (path, digest));
        let former = former.filter(|(path, _)| is_former(path));
        match frame(files.into_iter().chain(former))? {
            Some(frame) => base_fs::write(&journal.place, &frame, private::FILE_MODE),
            None => base_fs::remove(&journal.place).map(drop),
        }
    }
}

/// Removes the journal of `target`, and its list of written outputs.
pub fn end(project: &Project, target: &str) -> Result<()> {
    end_writing(project, target)?;
    base_fs::remove(&project.state_folder(FOLDER)?.join(file_name(target))).map(drop)
}

/// Removes the list of written outputs of `target`. Call it before a new run begins, unless the last one
/// was killed.
pub fn end_writing(project: &Project, target: &str) -> Result<()> {
    let journal = project.state_folder(FOLDER)?.join(file_name(target));
    base_fs::remove(&list_of_written(&journal)).map(drop)
}

/// Returns the digest of an output that is a file.
pub fn file_digest(content: &Digest, executable: bool) -> Digest {
    let kind = if executable { "x" } else { "f" };
    FieldHasher::new().field(kind).field(content.as_bytes()).finish()
}

/// Returns the error for files in the way of outputs.
pub fn in_the_way(paths: &[String]) -> anyhow::Error {
    let (verb, them) = if paths.len() == 1 { ("is", "it") } else { ("are", "them") };
    let changed = if paths.len() == 1 { "it was changed" } else { "they were changed" };
    anyhow!(
        "{} {verb} in the way: zipwright did not make {them}, or {changed} since\n\
         move {them} away, name another `output`, or replace {them} with --force",
        shown(paths)
    )
}

/// Returns the first few of these paths, and the number of the others.
pub fn shown(paths: &[String]) -> String {
    let some: Vec<String> = paths.iter().take(SHOWN).map(|path| format!("`{path}`")).collect();
    match paths.len() - some.len() {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

pub(crate) fn is_file(place: &Path) -> bool {
    place.symlink_metadata().is_ok_and(|meta| meta.is_file())
}

fn file_name(target: &str) -> String {
    format!("{:.32}", Digest::of(target.as_bytes()))
}

/// Encodes one piece of a journal; `None` if there are no files.
fn frame<'a>(
    files: impl IntoIterator<Item = (&'a RelPath, &'a Digest)>,
) -> Result<Option<Vec<u8>>> {
    let files: Vec<_> = files.into_iter().collect();
    match files.is_empty() {
        true => Ok(None),
        false => FORMAT.seal(&files).map(Some),
    }
}

/// Returns whether `target` has a list of written outputs.
pub fn is_writing(project: &Project, target: &str) -> Result<bool> {
    let journal = project.state_folder(FOLDER)?.join(file_name(target));
    Ok(list_of_written(&journal).symlink_metadata().is_ok())
}

fn list_of_written(journal: &Path) -> PathBuf {
    journal.with_extension("written")
}

fn read_written(journal: &Path) -> BTreeSet<RelPath> {
    let mut bytes = Vec::new();
    let read = base_fs::open_itself(&list_of_written(journal))
        .and_then(|mut file| file.read_to_end(&mut bytes));
    read.ok().and_then(|_| WRITTEN.open(&bytes)).unwrap_or_default()
}

impl Journal {
    /// Returns the files of all pieces up to the first that is damaged, sorted.
    fn read(&self) -> Vec<(RelPath, Digest)> {
        let mut bytes = Vec::new();
        if self.length > 0
            && let Ok(file) = base_fs::open_itself(&self.place)
        {
            // A read that fails leaves what was read so far.
            let _ = file.take(self.length).read_to_end(&mut bytes);
        }
        let (mut members, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some((files, behind)) = FORMAT.open_first::<Vec<(RelPath, Digest)>>(rest) {
            members.extend(files);
            rest = behind;
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn project(folder: &Path) -> Project {
        Project::new(folder.to_path_buf(), BTreeMap::new())
    }

    #[test]
    fn a_file_is_ours_with_the_digests_that_were_kept_and_with_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let (old, new, other) = (Digest::of(b"old"), Digest::of(b"new"), Digest::of(b"other"));
        let outputs = vec![
            RecordedOutput {
                path: path("out"),
                digest: file_digest(&old, true),
                mode: Some(0o755),
            },
            RecordedOutput { path: path("theirs"), digest: file_digest(&old, false), mode: None },
        ];
        let left = Left { outputs, has_run: true, interrupted: false };
        let load = |left: &Left| Owned::load(&project, "t", left.clone(), false).unwrap();
        let owned = load(&left);
        assert!(owned.is_ours(&path("out"), &old) && !owned.is_ours(&path("out"), &new));
        assert!(!owned.is_ours(&path("theirs"), &old) && !owned.was_left(&path("theirs")));
        assert_eq!((owned.mode(&path("out")), owned.mode(&path("theirs"))), (Some(0o755), None));
        owned.promise([(&path("out"), &new), (&path("tree/a"), &old)]).unwrap();
        owned.promise([(&path("tree/a"), &new)]).unwrap();
        let owned = load(&left);
        for digest in [&old, &new] {
            assert!(owned.is_ours(&path("out"), digest) && owned.is_ours(&path("tree/a"), digest));
        }
        assert!(!owned.is_ours(&path("tree/a"), &other) && !owned.is_ours(&path("tree"), &old));
        assert!(!load(&Left::default()).is_ours(&path("tree/a"), &old), "there is no record");
        let is_current = |file: &RelPath| file.is_within(&path("tree"));
        owned.settle(&project, &is_current, [(&path("tree/a"), &new)]).unwrap();
        assert!(!load(&left).is_ours(&path("tree/a"), &old));
        end(&project, "t").unwrap();
        assert!(!load(&left).is_ours(&path("tree/a"), &new));
    }

    #[test]
    fn a_torn_piece_of_a_journal_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let left = Left { has_run: true, ..Left::default() };
        let owned = Owned::load(&project, "t", left.clone(), false).unwrap();
        owned.promise([(&path("a"), &Digest::of(b"a"))]).unwrap();
        let whole = fs::read(&owned.journal.as_ref().unwrap().place).unwrap();
        owned.promise([(&path("b"), &Digest::of(b"b"))]).unwrap();
        let both = fs::read(&owned.journal.as_ref().unwrap().place).unwrap();
        for length in whole.len()..both.len() {
            fs::write(&owned.journal.as_ref().unwrap().place, &both[..length]).unwrap();
            let owned = Owned::load(&project, "t", left.clone(), false).unwrap();
            assert!(owned.is_ours(&path("a"), &Digest::of(b"a")), "{length}");
            assert!(!owned.was_left(&path("b")), "{length}");
        }
    }

    #[test]
    fn an_error_names_a_few_files_and_counts_the_rest() {
        let paths: Vec<String> = (0..6).map(|at| format!("docs/{at}")).collect();
        let text = in_the_way(&paths).to_string();
        assert!(
            text.starts_with("`docs/0`, `docs/1`, `docs/2`, `docs/3` and 2 more are"),
            "{text}"
        );
        assert!(in_the_way(&paths[..1]).to_string().contains("replace it with --force"));
    }
}
