//! Local projects: the files that their wheels depend on, and their builds.
//!
//! A project is built from a clean copy of its folder, and the build records which files of the
//! copy were opened. A later state of the project gives the same wheel if it has the same file
//! names and modes, and the same content in every opened file. So an edit of a file that no build
//! reads (a handler beside a `src/` layout, a README) changes nothing, without a declaration. The
//! record of a build is applied only to such states; in any other state, every file counts.
//!
//! A key holds the list of all files. For files that the build did not open, it holds their digests
//! at the time of the build, so that the key stays the same when they are edited.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use zipwright_store::{Bucket, Cache};

use super::run::Pip;
use super::sdist::{Basis, Made, SdistBuilder};
use super::settings::{Pairs, to_json};
use super::tree::{self, Tree};
use super::wheel_command::Build;
use super::wheels::Wheel;
use zipwright_engine::files::View;
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// Number of states of one project whose builds are cached.
const REMEMBERED: usize = 16;

/// A local project in its current state.
#[derive(Clone, Debug)]
pub struct Source {
    pub folder: RelPath,
    tree: Tree,
    /// `--config-settings` of its build.
    settings: Pairs,
    /// Key of the cache entry with the project's builds.
    record: Digest,
    /// The cached build whose wheel is valid for this state.
    known: Option<BuiltProject>,
}

/// A built wheel, with the files that it was built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct BuiltProject {
    /// All files of the project at the time of the build: path, digest.
    files: BTreeMap<String, String>,
    /// The files that the build opened; `None` if they could not be watched, so that all files
    /// count.
    read: Option<BTreeSet<String>>,
    wheel: Wheel,
    /// The other things that the build depended on: build requirements, tools, path.
    basis: Basis,
}

impl BuiltProject {
    /// Returns whether a project with these files, with unchanged names and modes, gives the same
    /// wheel.
    fn holds(&self, files: &BTreeMap<String, String>) -> bool {
        match &self.read {
            None => self.files == *files,
            Some(read) => read.iter().all(|path| self.files.get(path) == files.get(path)),
        }
    }
}

impl Source {
    /// Reads the state of a project. `context` is the digest of everything else that a build
    /// depends on.
    pub(super) fn look(
        project: &Project,
        files: &View,
        folder: &RelPath,
        (left_out, context, settings): (&[RelPath], Digest, Pairs),
    ) -> Result<Self> {
        let place = project.place(folder);
        if !["pyproject.toml", "setup.py"].iter().any(|name| place.join(name).is_file()) {
            bail!(
                "`{folder}` is not a Python project: it has neither `pyproject.toml` nor `setup.py`"
            );
        }
        let tree = Tree::look(project, files, folder, left_out)?;
        let mut hasher = FieldHasher::new();
        hasher.field(context.as_bytes()).field(tree.names().as_bytes());
        hasher.field(to_json(&settings).to_string());
        let record = hasher.finish();
        let now = texts(&tree);
        let remembered: Vec<BuiltProject> =
            project.cache()?.get(Bucket::ProjectBuilds, &record).unwrap_or_default();
        let known = remembered.into_iter().find(|known| known.holds(&now));
        Ok(Self { folder: folder.clone(), tree, settings, record, known })
    }

    /// Returns the files that the wheel depends on: path below the project's folder, digest, and
    /// whether the file is executable.
    pub fn files(&self) -> Vec<(String, Digest, bool)> {
        let words = self.words().into_iter();
        words
            .filter_map(|(path, word)| {
                let (digest, executable) = tree::parse_entry(&word)?;
                Some((path, digest, executable))
            })
            .collect()
    }

    fn words(&self) -> BTreeMap<String, String> {
        let mut words = texts(&self.tree);
        if let Some(BuiltProject { files, read: Some(read), .. }) = &self.known {
            let unread = files.iter().filter(|(path, _)| !read.contains(*path));
            words.extend(unread.map(|(path, word)| (path.clone(), word.clone())));
        }
        words
    }

    /// Returns the project's wheel, from the cache or built now.
    pub(super) fn wheel(
        &self,
        builder: &SdistBuilder,
        cache: &Cache,
        (pip, build): (&Pip, &Build),
    ) -> Result<Wheel> {
        let wheel = match &self.known {
            Some(known)
                if known.wheel.is_cached(cache)? && builder.holds(&known.basis, &self.name()) =>
            {
                builder.warn(&known.basis);
                known.wheel.clone()
            }
            _ => self.build(builder, cache, pip)?,
        };
        if let Some(runtime) = build.runtime.filter(|_| !wheel.is_portable()) {
            bail!(
                "the local project `{}` builds `{}`, which fits this host and not {}: build it on \
                 a host like the runtime, or give pip a ready wheel by --find-links",
                self.folder,
                wheel.name,
                runtime.describe()
            );
        }
        Ok(wheel)
    }

    fn build(&self, builder: &SdistBuilder, cache: &Cache, pip: &Pip) -> Result<Wheel> {
        pip.reporter.status(&format!("building local project `{}`", self.folder));
        let building = builder.begin(self.name())?;
        let copied = self.tree.copy(pip.project, &building.source())?;
        let watch = copied.watch(&building.source());
        let Made { wheel: file, basis } =
            builder.make(&building, Path::new(""), (tree::EPOCH, &self.settings))?;
        builder.warn(&basis);
        let wheel = Wheel::put(cache, &file)?;
        cache.put(Bucket::Provenance, &wheel.key(), &basis.build_inputs())?;
        let read = watch.and_then(|watch| watch.finish(&building.source()));
        let read = read.map(|paths| paths.iter().map(ToString::to_string).collect());
        let built = BuiltProject { files: texts(&copied), read, wheel: wheel.clone(), basis };
        self.remember(cache, built)?;
        Ok(wheel)
    }

    /// Returns the project's name in messages.
    fn name(&self) -> String {
        format!("the local project `{}`", self.folder)
    }

    fn remember(&self, cache: &Cache, mut built: BuiltProject) -> Result<()> {
        // Keep the list that is in the key now, so that the key does not change.
        let words = self.words();
        if built.holds(&words) {
            built.files = words;
        }
        let mut all: Vec<BuiltProject> =
            cache.get(Bucket::ProjectBuilds, &self.record).unwrap_or_default();
        all.retain(|known| !known.holds(&built.files));
        all.insert(0, built);
        all.truncate(REMEMBERED);
        cache.put(Bucket::ProjectBuilds, &self.record, &all)
    }
}

fn texts(tree: &Tree) -> BTreeMap<String, String> {
    tree.files.iter().map(|(path, entry)| (path.to_string(), entry.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(path, digest)| ((*path).into(), (*digest).into())).collect()
    }

    #[test]
    fn a_wheel_holds_while_what_its_build_read_is_the_same() {
        let wheel = Wheel { name: "p-1-py3-none-any.whl".into(), sha256: "0".into() };
        let basis = Basis::default();
        let built = files(&[("handler.py", "1"), ("src/p.py", "1")]);
        let read = Some(["src/p.py".to_string()].into());
        let known = BuiltProject { files: built.clone(), read, wheel, basis };
        assert!(known.holds(&files(&[("handler.py", "2"), ("src/p.py", "1")])));
        assert!(!known.holds(&files(&[("handler.py", "1"), ("src/p.py", "2")])));
        let all = BuiltProject { read: None, ..known };
        assert!(all.holds(&built));
        assert!(!all.holds(&files(&[("handler.py", "2"), ("src/p.py", "1")])));
    }
}
