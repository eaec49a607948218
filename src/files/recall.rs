//! What a receipt recalls: all that an earlier build looked at, and whether it still was so when
//! this one began. There may be a hundred thousand paths, and of most nothing newer is ever known:
//! they are found where they were read, never changed, and passed over once something is.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;

use super::known::Found;
use super::{Now, Recalled, Remembered, Seen, Sight};
use crate::base::RelPath;

/// What was recalled, sorted by path, in pieces as it was read.
pub type Pieces = Vec<Vec<Recalled>>;

/// Where something is: in which piece, and where in it.
type Place = (u32, u32);

/// Finds what is recalled by its path.
#[derive(Default)]
pub(super) struct Index {
    /// A folder is recalled twice, and is here once.
    places: HashTable<Place>,
    hasher: RandomState,
}

impl Index {
    pub(super) fn of(pieces: &Pieces) -> Self {
        let hasher = RandomState::default();
        let hash = |recalled: &Recalled| hasher.hash_one(recalled.path.as_str());
        let hashes = pieces.par_iter().map(|piece| piece.iter().map(hash).collect());
        let hashes: Vec<Vec<u64>> = hashes.collect();
        let hash_at = |place: &Place| hashes[place.0 as usize][place.1 as usize];
        let mut places = HashTable::with_capacity(hashes.iter().map(Vec::len).sum());
        let mut before = None;
        for (piece, number) in pieces.iter().zip(0..) {
            for (recalled, at) in piece.iter().zip(0..) {
                if before.replace(&recalled.path) != Some(&recalled.path) {
                    let place = (number, at);
                    places.insert_unique(hash_at(&place), place, hash_at);
                }
            }
        }
        Self { places, hasher }
    }

    /// Together with what it is of.
    pub(super) fn with(self, pieces: Pieces) -> Recall {
        let not_passed = |piece: &Vec<_>| piece.iter().map(|_| AtomicBool::new(false)).collect();
        let passed = pieces.iter().map(not_passed).collect();
        Recall { pieces, index: self, passed }
    }
}

#[derive(Default)]
pub(super) struct Recall {
    pieces: Pieces,
    index: Index,
    /// Of each of them, whether something newer is known.
    passed: Vec<Vec<AtomicBool>>,
}

impl Recall {
    /// Where `path` is, if nothing newer is known.
    pub(super) fn find(&self, path: &str) -> Option<Place> {
        if self.pieces.is_empty() {
            return None;
        }
        let is_it = |place: &Place| self.at(*place).path.as_str() == path;
        let place = *self.index.places.find(self.index.hasher.hash_one(path), is_it)?;
        (!is_passed(self.flag(place))).then_some(place)
    }

    pub(super) fn at(&self, (piece, at): Place) -> &Recalled {
        &self.pieces[piece as usize][at as usize]
    }

    /// Says that something newer is known: call it when that is where it can be found.
    pub(super) fn pass(&self, place: Place) {
        self.flag(place).store(true, Ordering::Release);
    }

    fn flag(&self, (piece, at): Place) -> &AtomicBool {
        &self.passed[piece as usize][at as usize]
    }

    /// Those that lie in `folder`, itself left out; of some, something newer may be known.
    pub(super) fn within(&self, folder: &RelPath) -> impl Iterator<Item = &Recalled> {
        let start = if folder.is_root() { String::new() } else { format!("{folder}/") };
        let is_before = |recalled: &Recalled| recalled.path.as_str() < start.as_str();
        let first = self.pieces.partition_point(|piece| piece.last().is_none_or(is_before));
        let rest = self.pieces[first..].iter().flat_map(move |piece| {
            // All but the first begin behind that.
            &piece[piece.partition_point(|recalled| recalled.path.as_str() < start.as_str())..]
        });
        let folder = folder.clone();
        rest.take_while(move |recalled| recalled.path.is_within(&folder))
    }

    /// All of which a digest is known and nothing newer, sorted by path.
    pub(super) fn files(&self) -> impl ParallelIterator<Item = (&Recalled, &Remembered)> {
        let pieces = self.pieces.par_iter().zip(&self.passed);
        pieces.flat_map_iter(|(piece, passed)| {
            let current = piece.iter().zip(passed).filter(|(_, flag)| !is_passed(flag));
            current.filter_map(|(recalled, _)| Some((recalled, recalled.remembered()?)))
        })
    }
}

fn is_passed(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire)
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
        let pieces = vec![
            vec![
                recalled("a", Sight::Folder, Now::Same),
                recalled("a", Sight::Listed(stat, 2), Now::Same),
                recalled("a-b", file(), Now::Same),
                recalled("a/b", file(), Now::Changed),
            ],
            vec![recalled("a/c", Sight::Link("b".into(), Box::new(file())), Now::Same)],
            vec![recalled("a0", Sight::Nothing, Now::Same)],
        ];
        let recall = Index::of(&pieces).with(pieces);
        let folder = |text: &str| RelPath::parse(text).unwrap();
        let found = ["a", "a-b", "a0", "b"].map(|path| recall.find(path));
        assert_eq!(found, [Some((0, 0)), Some((0, 2)), Some((2, 0)), None]);
        let within = |folder: &RelPath| -> Vec<String> {
            recall.within(folder).map(|recalled| recalled.path.to_string()).collect()
        };
        assert_eq!(within(&folder("a")), ["a/b", "a/c"]);
        assert_eq!(within(&folder("a-b")), [""; 0]);
        assert_eq!(within(&folder("z")), [""; 0]);
        assert_eq!(within(&RelPath::root()).len(), 6);
        let files = || -> Vec<(String, bool)> {
            recall
                .files()
                .map(|(recalled, _)| (recalled.path.to_string(), recalled.is_seen()))
                .collect()
        };
        let expected = [("a-b", true), ("a/b", false), ("a/c", false)];
        assert_eq!(files(), expected.map(|(path, seen)| (path.to_owned(), seen)));
        recall.pass((0, 2));
        assert_eq!((recall.find("a-b"), recall.find("a/b")), (None, Some((0, 3))));
        assert_eq!(files().len(), 2);
    }
}
