//! The paths that the goals of a watch have observed, each as it was when it was first read in a
//! round. A comparison with the disk returns those with another content: stat data alone, as after a
//! `touch`, is not a change. Outputs of targets are never compared.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use globset::GlobSet;
use rayon::prelude::*;

use super::links;
use crate::base::fs::{TEMP_PREFIX, is_missing};
use crate::base::{Digest, RelPath};
use crate::files::{Fact, Observed};
use crate::glob::Glob;
use crate::observation::{FileState, Link, Observation, Stat};
use crate::project::{Project, STATE_FOLDER};

/// A file that was written so shortly before it was read is read again in each comparison: another
/// write may not show in its stat data. In nanoseconds; the slowest clock ticks every two seconds.
const YOUNG: i64 = 2_000_000_000;

/// The paths that an input of a target may select.
pub struct Pattern {
    base: RelPath,
    /// `None` for everything in `base`.
    matcher: Option<GlobSet>,
}

impl Pattern {
    pub fn folder(base: RelPath) -> Self {
        Self { base, matcher: None }
    }

    fn selects(&self, path: &RelPath) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match(path.as_str()),
            None => path.is_within(&self.base),
        }
    }
}

impl From<&Glob> for Pattern {
    fn from(glob: &Glob) -> Self {
        // One that is too large to compile is an error of the target.
        let matcher = if glob.has_wildcard() { glob.matcher().ok() } else { None };
        Self { base: glob.base.clone(), matcher }
    }
}

#[derive(Clone)]
struct Entry {
    observation: Observation,
    young: bool,
    /// Whether only its stat data was read, so that any other stat data is a change.
    bare: bool,
    /// The last round in which it was observed.
    round: u64,
}

struct Folder {
    stat: Option<Stat>,
    names: BTreeSet<String>,
    young: bool,
    round: u64,
}

pub struct Tracker {
    project: Project,
    paths: BTreeMap<RelPath, Entry>,
    /// Folders that were listed.
    folders: BTreeMap<RelPath, Folder>,
    /// Files outside of the project, links followed.
    external: BTreeMap<PathBuf, Entry>,
    programs: BTreeMap<String, Option<PathBuf>>,
    outputs: HashSet<RelPath>,
    patterns: Vec<Pattern>,
    round: u64,
}

impl Tracker {
    pub fn new(project: Project) -> Self {
        Self {
            project,
            paths: BTreeMap::new(),
            folders: BTreeMap::new(),
            external: BTreeMap::new(),
            programs: BTreeMap::new(),
            outputs: HashSet::new(),
            patterns: Vec::new(),
            round: 0,
        }
    }

    /// Starts a round. `buildfile` is observed as it is now.
    pub fn begin(&mut self, buildfile: &Path) {
        self.round += 1;
        let (now, round) = (now(), self.round);
        let inside = buildfile.strip_prefix(&self.project.root).ok().and_then(Path::to_str);
        let add = |follow| Entry::new(look(buildfile, follow, None), now, round);
        match inside.map(RelPath::parse) {
            Some(Ok(path)) => self.paths.entry(path).or_insert_with(|| add(false)).round = round,
            _ => {
                let entry = self.external.entry(buildfile.to_path_buf());
                entry.or_insert_with(|| add(true)).round = round;
            }
        }
    }

    /// Sets the outputs of all targets, and the paths and patterns that the targets of the round have
    /// as inputs. The paths are observed as they are now, and folders that patterns list are listed:
    /// what is put into them later is new, even if no target has listed them yet.
    pub fn plan(&mut self, outputs: HashSet<RelPath>, patterns: Vec<Pattern>, paths: &[RelPath]) {
        (self.outputs, self.patterns) = (outputs, patterns);
        let now = now();
        for path in paths {
            let known = FileState { stat: Stat::default(), digest: Digest::default() };
            let add = || Entry::bare(&path.under(&self.project.root), now, known);
            self.paths.entry(path.clone()).or_insert_with(add).round = self.round;
        }
        let mut waiting: Vec<RelPath> = self.patterns.iter().map(|of| of.base.clone()).collect();
        while let Some(path) = waiting.pop() {
            let is_listed =
                self.folders.contains_key(&path) || path.under(&self.project.root).is_dir();
            if self.is_foreign(&path) || !is_listed {
                continue;
            }
            self.add_folder(&path, now);
            let folders =
                self.folders[&path].names.iter().filter_map(|name| name.strip_suffix('/'));
            waiting.extend(folders.filter_map(|name| path.member(name)));
        }
    }

    /// Adds observations of the round, except those of paths that were observed before: the first one
    /// counts.
    pub fn add(&mut self, observed: &Observed) {
        let now = now();
        for looked in observed.paths() {
            let path = &looked.path;
            if self.is_foreign(path) {
                continue;
            }
            match &looked.observation {
                None | Some(Observation::Listed(..)) => self.add_folder(path, now),
                Some(observation) => {
                    let new = Entry::new(observation.clone(), now, self.round);
                    insert(&mut self.paths, path.clone(), new);
                }
            }
        }
        for (place, state) in &observed.external {
            let new = Entry::new(Observation::File(*state), now, self.round);
            insert(&mut self.external, place.clone(), new);
        }
        self.programs.extend(observed.programs.iter().cloned());
    }

    fn add_folder(&mut self, path: &RelPath, now: i64) {
        let (root, round) = (&self.project.root, self.round);
        let list = || Folder::list(&path.under(root), now, round);
        self.folders.entry(path.clone()).or_insert_with(list).round = round;
    }

    /// Ends a round in which every target was checked: drops what only earlier rounds observed.
    pub fn end(&mut self) {
        let round = self.round;
        self.paths.retain(|_, entry| entry.round == round);
        self.folders.retain(|_, folder| folder.round == round);
        self.external.retain(|_, entry| entry.round == round);
    }

    /// Returns whether changes of `path` are not changes of inputs.
    fn is_foreign(&self, path: &RelPath) -> bool {
        let is_output = |path: &str| self.outputs.contains(path);
        let mut folders = path.folders();
        is_output(path.as_str())
            || folders.any(is_output)
            || path.as_str().split('/').next() == Some(STATE_FOLDER)
    }

    /// Compares everything with the disk. Returns the paths that differ, and takes their present
    /// states for the next comparison.
    pub fn compare(&mut self) -> BTreeSet<String> {
        let (now, root) = (now(), self.project.root.clone());
        let mut changed = BTreeSet::new();
        let (outputs, project) = (&self.outputs, &self.project);
        let is_output = |path: &RelPath| {
            outputs.contains(path.as_str()) || path.folders().any(|path| outputs.contains(path))
        };
        let differing = self.paths.par_iter_mut().filter_map(|(path, entry)| {
            let differs = !is_output(path) && entry.update(&path.under(&root), false, now);
            differs.then(|| path.to_string())
        });
        changed.par_extend(differing);
        for (place, entry) in &mut self.external {
            if entry.update(place, true, now) {
                changed.insert(place.strip_prefix(&root).unwrap_or(place).display().to_string());
            }
        }
        for (word, place) in &mut self.programs {
            let found = project.find_program(word);
            if found != *place {
                *place = found;
                changed.insert(word.clone());
            }
        }
        self.compare_folders(now, &mut changed);
        changed
    }

    fn compare_folders(&mut self, now: i64, changed: &mut BTreeSet<String>) {
        let mut waiting: Vec<RelPath> = self.folders.keys().cloned().collect();
        while let Some(path) = waiting.pop() {
            let place = path.under(&self.project.root);
            let Some(folder) = self.folders.get_mut(&path) else { continue };
            if self.outputs.contains(&path) || folder.is_same(&place) {
                continue;
            }
            let listed = Folder::list(&place, now, folder.round);
            let new: Vec<String> = listed.names.difference(&folder.names).cloned().collect();
            *folder = listed;
            for name in new {
                let member = path.member(name.trim_end_matches('/'));
                let Some(member) = member.filter(|member| !self.is_foreign(member)) else {
                    continue;
                };
                if name.ends_with('/') {
                    // Everything in it is new.
                    let round = self.round;
                    let empty = || Folder::empty(round);
                    self.folders.entry(member.clone()).or_insert_with(empty);
                    waiting.push(member);
                } else if self.selects(&path, &member) {
                    changed.insert(member.to_string());
                }
            }
        }
    }

    /// Returns whether a new file in a listed folder may be an input: if patterns list the folder, one
    /// of them has to match.
    fn selects(&self, folder: &RelPath, path: &RelPath) -> bool {
        let mut covering =
            self.patterns.iter().filter(|pattern| folder.is_within(&pattern.base)).peekable();
        covering.peek().is_none() || covering.any(|pattern| pattern.selects(path))
    }

    /// Returns the number of observed files, and of listed folders.
    pub fn size(&self) -> (usize, usize) {
        let files = self.paths.keys().filter(|path| !self.is_foreign(path)).count();
        (files + self.external.len(), self.folders.len())
    }

    /// Returns the existing folders in which a change of an observed path shows, or of a link on the way
    /// to it.
    pub fn watched(&self) -> BTreeSet<PathBuf> {
        let root = &self.project.root;
        let mut inside: BTreeSet<RelPath> = BTreeSet::from([RelPath::root()]);
        let mut places = BTreeSet::new();
        let mut add = |path: &RelPath| {
            if inside.insert(path.clone()) {
                inside.extend(path.folders().filter_map(|path| RelPath::parse(path).ok()));
            }
        };
        for (path, entry) in &self.paths {
            if self.is_foreign(path) {
                continue;
            }
            add(&path.parent());
            if entry.bare || matches!(entry.observation, Observation::Link(_)) {
                places.extend(links::folders(&path.under(root)));
            }
        }
        self.folders.keys().filter(|path| !self.is_foreign(path)).for_each(&mut add);
        for folder in inside {
            let place = folder.under(root);
            if place.is_symlink() {
                places.extend(links::folders(&place));
            }
            places.insert(place);
        }
        places.extend(self.external.keys().flat_map(|place| links::folders(place)));
        if self.programs.values().any(Option::is_none) {
            let path = self.project.var("PATH").unwrap_or_default();
            places.extend(std::env::split_paths(path).map(|place| root.join(place)));
        }
        places.retain(|place| place.is_dir());
        places
    }

    /// Returns the paths whose events start no comparison.
    pub fn ignored(&self) -> HashSet<PathBuf> {
        let root = &self.project.root;
        let outputs = self.outputs.iter().map(|path| path.under(root));
        outputs.chain([self.project.state()]).collect()
    }
}

fn insert<K: Ord>(entries: &mut BTreeMap<K, Entry>, key: K, new: Entry) {
    let round = new.round;
    let entry = entries.entry(key).or_insert_with(|| new.clone());
    entry.round = round;
    // The same file, and now its content is read as well.
    if entry.bare
        && let (Some(old), Some(state)) = (entry.observation.file(), new.observation.file())
        && old.stat == state.stat
    {
        *entry = new;
    }
}

impl Entry {
    fn new(observation: Observation, now: i64, round: u64) -> Self {
        let young = observation.file().is_some_and(|state| is_young(&state.stat, now));
        Self { observation, young, bare: false, round }
    }

    /// Observes the stat data of `place`.
    fn bare(place: &Path, now: i64, none: FileState) -> Self {
        let observation = match fs::metadata(place) {
            Ok(meta) if meta.is_file() => {
                Observation::File(FileState { stat: Stat::from(&meta), ..none })
            }
            _ => look(place, false, None),
        };
        let bare = observation.file().is_some();
        Self { bare, ..Self::new(observation, now, 0) }
    }

    /// Observes the path again, and returns whether it has another content.
    fn update(&mut self, place: &Path, follow: bool, now: i64) -> bool {
        let known = self.observation.file().filter(|_| self.bare || !self.young).copied();
        let seen = look(place, follow || self.bare, known);
        if self.bare && seen.file().map(|state| state.stat) == known.map(|state| state.stat) {
            return false;
        }
        let differs = self.bare || Fact::from(&seen) != Fact::from(&self.observation);
        let seen = if self.bare { look(place, follow, None) } else { seen };
        *self = Self::new(seen, now, self.round);
        differs
    }
}

impl Folder {
    fn empty(round: u64) -> Self {
        Self { stat: None, names: BTreeSet::new(), young: true, round }
    }

    /// Lists the folder at `place`; the names of folders in it end with `/`.
    fn list(place: &Path, now: i64, round: u64) -> Self {
        let stat = fs::metadata(place).ok().map(|meta| Stat::from(&meta));
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let Ok(mut name) = entry.file_name().into_string() else { continue };
            if name == ".git" || name == STATE_FOLDER || name.starts_with(TEMP_PREFIX) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                name.push('/');
            }
            names.insert(name);
        }
        let young = stat.is_none_or(|stat| is_young(&stat, now));
        Self { stat, names, young, round }
    }

    fn is_same(&self, place: &Path) -> bool {
        let now = fs::metadata(place).ok().map(|meta| Stat::from(&meta));
        !self.young && now == self.stat
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

fn is_young(stat: &Stat, now: i64) -> bool {
    !stat.is_before(now.saturating_sub(YOUNG))
}

/// Observes `place`. The digest of `known` is used if the file has that stat data.
fn look(place: &Path, follow: bool, known: Option<FileState>) -> Observation {
    let meta = if follow { fs::metadata(place) } else { fs::symlink_metadata(place) };
    let meta = match meta {
        Ok(meta) => meta,
        Err(error) if is_missing(&error) => return Observation::Missing,
        Err(_) => return Observation::Other,
    };
    if meta.is_symlink() {
        let text = fs::read_link(place).unwrap_or_default().to_string_lossy().into_owned();
        let target = look(place, true, known);
        return Observation::Link(Box::new(Link { text, target }));
    }
    if meta.is_dir() {
        return Observation::Folder;
    }
    if !meta.is_file() {
        return Observation::Other;
    }
    let stat = Stat::from(&meta);
    match known.filter(|known| known.stat == stat) {
        Some(known) => Observation::File(known),
        None => match Digest::of_file(place) {
            Ok(digest) => Observation::File(FileState { stat, digest }),
            Err(_) => Observation::Missing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Looked;

    struct Sample {
        folder: tempfile::TempDir,
        tracker: Tracker,
    }

    impl Sample {
        /// A project whose only target has the inputs `src/**/*.py` and `one`, and the output
        /// `src/made.py`.
        fn new() -> Self {
            let mut sample = Self::planned();
            sample.observe();
            sample
        }

        /// Like [`Sample::new`], before the target was checked.
        fn planned() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let project = Project::new(folder.path().to_path_buf(), BTreeMap::new());
            let mut sample = Self { folder, tracker: Tracker::new(project) };
            sample.write("src/a.py", "a").write("src/notes.txt", "n").write("one", "1");
            sample.write("Buildfile", "b");
            let glob = Glob::parse("src/**/*.py").unwrap();
            let outputs = HashSet::from([path("src/made.py")]);
            let buildfile = sample.folder.path().join("Buildfile");
            sample.tracker.begin(&buildfile);
            sample.tracker.plan(outputs, vec![Pattern::from(&glob)], &[path("one")]);
            sample
        }

        fn observe(&mut self) {
            let file = look(&self.folder.path().join("src/a.py"), false, None);
            let looked = |text: &str, observation| Looked {
                path: path(text),
                observation: Some(observation),
                settled: true,
            };
            let listed = Observation::Listed(Stat::default(), 2);
            let mut observed = Observed::default();
            observed.push(looked("src", listed));
            observed.push(looked("src/a.py", file));
            self.tracker.add(&observed);
        }

        fn write(&self, path: &str, text: &str) -> &Self {
            let place = self.folder.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
            self
        }

        fn changed(&mut self) -> Vec<String> {
            self.tracker.compare().into_iter().collect()
        }
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn only_another_content_is_a_change() {
        let mut sample = Sample::new();
        assert_eq!(sample.changed(), [""; 0]);
        sample.write("src/a.py", "a");
        assert_eq!(sample.changed(), [""; 0], "the same bytes");
        sample.write("src/a.py", "b");
        assert_eq!(sample.changed(), ["src/a.py"], "the same size, in the same tick");
        assert_eq!(sample.changed(), [""; 0], "it was taken over");
        sample.write("one", "1 2").write("Buildfile", "c");
        assert_eq!(sample.changed(), ["Buildfile", "one"]);
        fs::remove_file(sample.folder.path().join("src/a.py")).unwrap();
        assert_eq!(sample.changed(), ["src/a.py"]);
    }

    #[test]
    fn new_files_count_if_a_pattern_selects_them() {
        let mut sample = Sample::new();
        sample.write("src/.a.py.swp", "").write("src/made.py", "");
        assert_eq!(sample.changed(), [""; 0]);
        sample.write("src/new/deep/b.py", "").write("src/new/c.txt", "");
        assert_eq!(sample.changed(), ["src/new/deep/b.py"]);
        sample.write("src/new/deep/d.py", "");
        assert_eq!(sample.changed(), ["src/new/deep/d.py"], "the new folder is watched");
        let watched = sample.tracker.watched();
        assert!(watched.contains(&sample.folder.path().join("src/new/deep")), "{watched:?}");
    }

    #[test]
    fn a_file_that_appears_while_a_target_is_checked_is_new() {
        let mut sample = Sample::planned();
        sample.write("src/late.py", "").write("src/in/late.py", "");
        sample.observe();
        assert_eq!(sample.changed(), ["src/in/late.py", "src/late.py"]);
    }

    #[test]
    fn a_renamed_folder_is_a_change_of_its_files() {
        let mut sample = Sample::new();
        let place = |name: &str| sample.folder.path().join(name);
        fs::rename(place("src"), place("lib")).unwrap();
        assert_eq!(sample.changed(), ["src/a.py"]);
        let place = |name: &str| sample.folder.path().join(name);
        fs::rename(place("lib"), place("src")).unwrap();
        assert_eq!(sample.changed(), ["src/a.py"]);
    }
}
