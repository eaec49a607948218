//! The observations of a run by path: those of the snapshot, which stay as they were read, and newer
//! ones on top.
//!
//! A project may have hundreds of thousands of paths, and most are as the snapshot has them. So they
//! stay in the order in which they were read, with a hash index of positions; only a path that is
//! read again gets an entry of its own.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;
use rayon::prelude::*;

use super::lock;
use crate::observation::{FileState, Now, Observation, Stat};
use zipwright_store::RelPath;

const SHARDS: usize = 64;

/// An observation of an earlier run, compared with the path at the start of this one.
#[derive(Clone, Debug)]
pub struct Scanned {
    pub path: RelPath,
    pub observation: Observation,
    pub now: Now,
}

/// The observations of the snapshot, sorted by path, in the pieces in which they were read. A folder
/// that was listed comes twice: as a path, and as a listing.
pub type Pieces = Vec<Vec<Scanned>>;

/// An observation of this run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) observation: Observation,
    /// Whether stat data would show any later write.
    pub(super) settled: bool,
    /// Number of the look; see [`super::Files::look_anew`].
    pub(super) look: u32,
}

enum Entry {
    Seen(Seen),
    /// To be read again. The digest still counts if the stat data is the same.
    Forgotten(Option<FileState>),
}

/// The entry of one path.
#[derive(Default)]
pub(super) struct Found {
    pub(super) seen: Option<Seen>,
    /// The file's digest when it was last read.
    pub(super) remembered: Option<FileState>,
}

pub(super) struct Table {
    scanned: Pieces,
    index: Index,
    /// For each scanned path, whether it has an entry.
    replaced: Vec<Vec<AtomicBool>>,
    entries: Vec<Mutex<HashMap<RelPath, Entry, RandomState>>>,
}

impl Table {
    /// `index` is that of `scanned`.
    pub(super) fn new(scanned: Pieces, index: Index) -> Self {
        let none = |piece: &Vec<_>| piece.iter().map(|_| AtomicBool::new(false)).collect();
        let replaced = scanned.iter().map(none).collect();
        let entries = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { scanned, index, replaced, entries }
    }

    pub(super) fn scanned(&self) -> &Pieces {
        &self.scanned
    }

    pub(super) fn find(&self, path: &str) -> Found {
        self.find_near(path, &mut Near::default())
    }

    /// Like [`Table::find`]. Of paths in the order of the snapshot, most are next to the one before,
    /// which saves the way through the index.
    pub(super) fn find_near(&self, path: &str, near: &mut Near) -> Found {
        if let Some(place) = self.place_near(path, near)
            && !self.is_replaced(place)
        {
            return self.at(place).found();
        }
        match lock(self.shard(path)).get(path) {
            Some(Entry::Seen(seen)) => {
                let remembered = seen.observation.file().filter(|_| seen.settled).copied();
                Found { seen: Some(seen.clone()), remembered }
            }
            Some(Entry::Forgotten(remembered)) => Found { seen: None, remembered: *remembered },
            None => Found::default(),
        }
    }

    pub(super) fn insert(&self, path: &RelPath, seen: Seen) {
        lock(self.shard(path.as_str())).insert(path.clone(), Entry::Seen(seen));
        self.replace(path.as_str());
    }

    /// Drops the observation of `path`: something else may be there now.
    pub(super) fn forget(&self, path: &str) {
        let mut shard = lock(self.shard(path));
        if let Some(place) = self.scanned_place(path) {
            let scanned = self.at(place);
            let remembered = scanned.observation.file().copied();
            shard.insert(scanned.path.clone(), Entry::Forgotten(remembered));
            drop(shard);
            self.replace(path);
        } else if let Some(entry) = shard.get_mut(path) {
            entry.forget();
        }
    }

    /// Drops the observations of `folder` and of everything below it.
    pub(super) fn forget_folder(&self, folder: &RelPath) {
        self.forget(folder.as_str());
        self.scanned_within(folder).for_each(|scanned| self.forget(scanned.path.as_str()));
        self.entries.par_iter().with_min_len(8).for_each(|shard| {
            for (_, entry) in lock(shard).iter_mut().filter(|(path, _)| path.is_within(folder)) {
                entry.forget();
            }
        });
    }

    /// Returns the files that were read so shortly after a write that stat data would not show another
    /// one.
    pub(super) fn unsettled(&self) -> Vec<(RelPath, Stat)> {
        let mut found = Vec::new();
        for shard in &self.entries {
            for (path, entry) in lock(shard).iter() {
                if let Entry::Seen(Seen { observation, settled: false, .. }) = entry
                    && let Some(file) = observation.file()
                {
                    found.push((path.clone(), file.stat));
                }
            }
        }
        found
    }

    fn shard(&self, path: &str) -> &Mutex<HashMap<RelPath, Entry, RandomState>> {
        &self.entries[FixedState::default().hash_one(path) as usize % SHARDS]
    }

    /// Returns the position of a scanned path that has no entry.
    fn scanned_place(&self, path: &str) -> Option<Slot> {
        self.index.find(path, &self.scanned).filter(|place| !self.is_replaced(*place))
    }

    /// Returns the position of a scanned path.
    fn place_near(&self, path: &str, near: &mut Near) -> Option<Slot> {
        let place = match near.0.filter(|place| self.at(*place).path.as_str() == path) {
            Some(place) => place,
            None => self.index.find(path, &self.scanned)?,
        };
        *near = self.after(place);
        Some(place)
    }

    /// Returns the position after `place`, if it is of another path.
    fn after(&self, (piece, at): Slot) -> Near {
        let next = self.scanned[piece as usize].get(at as usize + 1);
        let is_other = next.is_some_and(|next| next.path != self.at((piece, at)).path);
        Near(is_other.then_some((piece, at + 1)))
    }

    fn replace(&self, path: &str) {
        if let Some(place) = self.index.find(path, &self.scanned) {
            self.replaced_flag(place).store(true, Ordering::Release);
        }
    }

    fn at(&self, (piece, at): Slot) -> &Scanned {
        &self.scanned[piece as usize][at as usize]
    }

    fn is_replaced(&self, place: Slot) -> bool {
        self.replaced_flag(place).load(Ordering::Acquire)
    }

    fn replaced_flag(&self, (piece, at): Slot) -> &AtomicBool {
        &self.replaced[piece as usize][at as usize]
    }

    /// Returns the scanned paths below `folder`, without the folder itself.
    fn scanned_within(&self, folder: &RelPath) -> impl Iterator<Item = &Scanned> {
        let start = if folder.is_root() { String::new() } else { format!("{folder}/") };
        let is_before = |scanned: &Scanned| scanned.path.as_str() < start.as_str();
        let first = self.scanned.partition_point(|piece| piece.last().is_none_or(is_before));
        let rest = self.scanned[first..].iter().flat_map(move |piece| {
            &piece[piece.partition_point(|scanned| scanned.path.as_str() < start.as_str())..]
        });
        let folder = folder.clone();
        rest.take_while(move |scanned| scanned.path.is_within(&folder))
    }
}

impl Entry {
    fn forget(&mut self) {
        if let Self::Seen(seen) = self {
            let remembered = seen.observation.file().filter(|_| seen.settled).copied();
            *self = Self::Forgotten(remembered);
        }
    }
}

impl Scanned {
    fn found(&self) -> Found {
        let observation = match &self.observation {
            Observation::Listed(..) => &Observation::Folder,
            observation => observation,
        };
        let seen = Seen { observation: observation.clone(), settled: true, look: 0 };
        Found {
            seen: (self.now == Now::Same).then_some(seen),
            remembered: self.observation.file().copied(),
        }
    }
}

/// Number of a piece, and position in it.
type Slot = (u32, u32);

/// Where the path after the one found last probably is.
#[derive(Default)]
pub(super) struct Near(Option<Slot>);

/// Positions of paths by hash: of two observations of one path, the first.
#[derive(Default)]
pub(super) struct Index {
    places: HashTable<Slot>,
    hasher: RandomState,
}

impl Index {
    pub(super) fn of(pieces: &Pieces) -> Self {
        let hasher = RandomState::default();
        let hash = |scanned: &Scanned| hasher.hash_one(scanned.path.as_str());
        let hashes = pieces.par_iter().map(|piece| piece.iter().map(hash).collect());
        let hashes: Vec<Vec<u64>> = hashes.collect();
        let hash_at = |place: &Slot| hashes[place.0 as usize][place.1 as usize];
        let mut places = HashTable::with_capacity(hashes.iter().map(Vec::len).sum());
        let mut before = None;
        for (piece, number) in pieces.iter().zip(0..) {
            for (scanned, at) in piece.iter().zip(0..) {
                if before.replace(&scanned.path) != Some(&scanned.path) {
                    let place = (number, at);
                    places.insert_unique(hash_at(&place), place, hash_at);
                }
            }
        }
        Self { places, hasher }
    }

    fn find(&self, path: &str, pieces: &Pieces) -> Option<Slot> {
        if pieces.is_empty() {
            return None;
        }
        let is_it = |place: &Slot| pieces[place.0 as usize][place.1 as usize].path.as_str() == path;
        self.places.find(self.hasher.hash_one(path), is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zipwright_store::Digest;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    fn state(size: u64) -> FileState {
        let stat = Stat { size, mtime: 1, ctime: 2, inode: 3, mode: 0o100_644 };
        FileState { stat, digest: Digest::of(&size.to_le_bytes()) }
    }

    fn scanned(text: &str, observation: Observation, now: Now) -> Scanned {
        Scanned { path: path(text), observation, now }
    }

    fn table(pieces: Pieces) -> Table {
        let index = Index::of(&pieces);
        Table::new(pieces, index)
    }

    fn seen(observation: Observation, settled: bool, look: u32) -> Seen {
        Seen { observation, settled, look }
    }

    #[test]
    fn a_scanned_path_counts_as_seen_only_if_it_is_the_same() {
        let file = || Observation::File(state(1));
        let table = table(vec![
            vec![
                scanned("a", Observation::Folder, Now::Same),
                scanned("a", Observation::Listed(state(9).stat, 2), Now::Changed),
                scanned("a/b", file(), Now::Changed),
            ],
            vec![scanned("c", file(), Now::Same), scanned("d", file(), Now::Unchecked)],
        ]);
        assert_eq!(table.find("a").seen, Some(seen(Observation::Folder, true, 0)));
        assert_eq!(table.find("c").seen, Some(seen(file(), true, 0)));
        for changed in ["a/b", "d"] {
            let found = table.find(changed);
            assert_eq!((found.seen, found.remembered), (None, Some(state(1))), "{changed}");
        }
        let unknown = table.find("e");
        assert_eq!((unknown.seen, unknown.remembered), (None, None));
    }

    #[test]
    fn paths_are_found_in_any_order() {
        let all = |names: &[&str]| {
            names.iter().map(|name| scanned(name, Observation::Folder, Now::Same)).collect()
        };
        // `c` is a folder that was listed as well.
        let table = table(vec![all(&["a", "b", "c"]), all(&["c", "d"])]);
        table.insert(&path("c"), seen(Observation::Missing, true, 1));
        for order in [["a", "b", "c", "c", "d"], ["d", "c", "c", "b", "a"]] {
            let near = &mut Near::default();
            for name in order {
                let found = table.find_near(name, near);
                assert_eq!(found.seen, table.find(name).seen, "{name} of {order:?}");
            }
            assert_eq!(table.find_near("e", near).seen, None);
        }
    }

    #[test]
    fn an_entry_replaces_the_scanned_path_and_a_digest_outlives_it() {
        let file = |size| Observation::File(state(size));
        let table = table(vec![vec![scanned("a", file(1), Now::Same)]]);
        table.forget("a");
        assert_eq!(table.find("a").seen, None);
        assert_eq!(table.find("a").remembered, Some(state(1)));
        table.insert(&path("a"), seen(file(2), true, 1));
        assert_eq!(table.find("a").seen, Some(seen(file(2), true, 1)));
        table.forget("a");
        assert_eq!(table.find("a").remembered, Some(state(2)));
        // An unsettled digest is not used again.
        table.insert(&path("a"), seen(file(3), false, 1));
        assert_eq!(table.unsettled(), [(path("a"), state(3).stat)]);
        table.forget("a");
        assert_eq!(table.find("a").remembered, None);
    }

    #[test]
    fn a_folder_is_forgotten_with_all_below_it() {
        let file = || Observation::File(state(1));
        let names = ["a", "a-b", "a/b", "a/c", "a0"];
        let table = table(vec![
            names[..3].iter().map(|name| scanned(name, file(), Now::Same)).collect(),
            names[3..].iter().map(|name| scanned(name, file(), Now::Same)).collect(),
        ]);
        table.insert(&path("a/d"), seen(file(), true, 0));
        table.forget_folder(&path("a"));
        let left = |name: &&str| table.find(name).seen.is_some();
        assert_eq!(names.iter().filter(|name| left(name)).collect::<Vec<_>>(), [&"a-b", &"a0"]);
        assert_eq!(table.find("a/d").seen, None);
    }
}
