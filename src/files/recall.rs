//! What a receipt recalls: files that an earlier build looked at, and that were as they had been
//! when this one began. There may be a hundred thousand, and mostly all but a few stay so: they
//! are found by their path, never changed, and passed over once something newer is known.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;

use super::known::Found;
use super::{Now, Recalled, Remembered, Seen, Sight};
use crate::base::RelPath;

/// Finds what is recalled by its path.
#[derive(Default)]
pub(super) struct Index {
    /// Where each path is; a folder comes twice, and is here once.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// `all` is sorted by path.
    pub(super) fn of(all: &[Recalled]) -> Self {
        let hasher = RandomState::default();
        let hash = |recalled: &Recalled| hasher.hash_one(recalled.path.as_str());
        let hashes: Vec<u64> = all.par_iter().with_min_len(1024).map(hash).collect();
        let mut places = HashTable::with_capacity(all.len());
        for (at, hash) in (0..).zip(&hashes) {
            let here = at as usize;
            if here == 0 || all[here].path != all[here - 1].path {
                places.insert_unique(*hash, at, |at: &u32| hashes[*at as usize]);
            }
        }
        Self { places, hasher }
    }

    /// Together with what it is of.
    pub(super) fn with(self, all: Vec<Recalled>) -> Recall {
        let passed = all.iter().map(|_| AtomicBool::new(false)).collect();
        Recall { all, index: self, passed }
    }
}

#[derive(Default)]
pub(super) struct Recall {
    /// Sorted by path.
    all: Vec<Recalled>,
    index: Index,
    /// Of each in `all`, whether something newer is known.
    passed: Vec<AtomicBool>,
}

impl Recall {
    /// Where `path` is, if nothing newer is known.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        if self.all.is_empty() {
            return None;
        }
        let is_it = |at: &u32| self.all[*at as usize].path.as_str() == path;
        let hash = self.index.hasher.hash_one(path);
        let at = *self.index.places.find(hash, is_it)? as usize;
        (!self.is_passed(at)).then_some(at)
    }

    pub(super) fn at(&self, at: usize) -> &Recalled {
        &self.all[at]
    }

    /// Says that something newer is known: call it when that is where it can be found.
    pub(super) fn pass(&self, at: usize) {
        self.passed[at].store(true, Ordering::Release);
    }

    /// Where those are that lie in `folder`, itself left out; of some, something newer may be known.
    pub(super) fn within(&self, folder: &RelPath) -> Range<usize> {
        if folder.is_root() {
            return 0..self.all.len();
        }
        let start = format!("{folder}/");
        let first = self.all.partition_point(|recalled| recalled.path.as_str() < start.as_str());
        let is_within = |recalled: &Recalled| recalled.path.as_str().starts_with(&start);
        first..first + self.all[first..].partition_point(is_within)
    }

    /// All of which a digest is known and nothing newer, sorted by path.
    pub(super) fn files(&self) -> impl ParallelIterator<Item = (&Recalled, &Remembered)> {
        let files = self.all.par_iter().with_min_len(1024).enumerate();
        files.filter_map(|(at, recalled)| {
            Some((recalled, recalled.remembered()?)).filter(|_| !self.is_passed(at))
        })
    }

    fn is_passed(&self, at: usize) -> bool {
        self.passed[at].load(Ordering::Acquire)
    }
}

impl Recalled {
    /// The digest of the file that was there, or that a link led to.
    pub(super) fn remembered(&self) -> Option<&Remembered> {
        match &self.sight {
            Sight::File(remembered) => Some(remembered),
            Sight::Link(_, target) => match &**target {
                Sight::File(remembered) => Some(remembered),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn found(&self) -> Found {
        let remembered = self.remembered().copied();
        let seen = remembered.filter(|_| self.is_seen());
        let seen = seen.map(|Remembered { stat, digest }| Seen::file(None, digest, stat));
        Found { seen, of: 0, remembered }
    }

    /// Whether it counts as seen: a file, as it was.
    pub(super) fn is_seen(&self) -> bool {
        self.now == Now::Same && matches!(self.sight, Sight::File(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::files::Stat;

    #[test]
    fn what_is_recalled_is_found_until_something_newer_is_known() {
        let stat = Stat { size: 1, mtime: 1, ctime: 1, inode: 1, mode: 0o100_644 };
        let file = || Sight::File(Remembered { stat, digest: Digest::of(b"x") });
        let recalled =
            |text: &str, sight, now| Recalled { path: RelPath::parse(text).unwrap(), sight, now };
        let all = vec![
            recalled("a", Sight::Folder, Now::Same),
            recalled("a", Sight::Listed(stat, 2), Now::Same),
            recalled("a-b", file(), Now::Same),
            recalled("a/b", file(), Now::Changed),
            recalled("a/c", Sight::Link("b".into(), Box::new(file())), Now::Same),
            recalled("a0", Sight::Nothing, Now::Same),
        ];
        let recall = Index::of(&all).with(all);
        let folder = |text: &str| RelPath::parse(text).unwrap();
        assert_eq!(
            ["a", "a-b", "a0", "b"].map(|path| recall.find(path)),
            [Some(0), Some(2), Some(5), None]
        );
        assert_eq!(recall.within(&folder("a")), 3..5);
        assert_eq!(recall.within(&folder("a-b")), 3..3);
        assert_eq!(recall.within(&RelPath::root()), 0..6);
        let files = || -> Vec<(String, bool)> {
            recall
                .files()
                .map(|(recalled, _)| (recalled.path.to_string(), recalled.is_seen()))
                .collect()
        };
        let expected = [("a-b", true), ("a/b", false), ("a/c", false)];
        assert_eq!(files(), expected.map(|(path, seen)| (path.to_owned(), seen)));
        recall.pass(2);
        assert_eq!((recall.find("a-b"), recall.find("a/b")), (None, Some(3)));
        assert_eq!(files().len(), 2);
    }
}
