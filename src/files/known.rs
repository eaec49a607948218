//! What is known of paths: the digests that earlier runs remembered, and what this one saw. There
//! are hundreds of thousands of them: one table has both, and what is as it was remembered takes
//! no more room for having been seen. What a receipt recalls is beside it, until it is no longer so.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use foldhash::fast::{FixedState, RandomState};
use rayon::prelude::*;

use super::recall::Recall;
use super::{LearnedFile, Recalled, Remembered, Seeing, Seen, Sight, Stat, lock};
use crate::base::RelPath;

const SHARDS: usize = 64;

/// Paths, and what is known of each. Safe to ask from several threads.
pub struct Known {
    shards: Vec<Mutex<Shard>>,
    /// What is not in a shard as well is known from here.
    recall: Recall,
    /// Finds out what else earlier runs remembered, until somebody asks.
    rest: Mutex<Option<Rest>>,
}

/// Reads what was not read yet.
pub(super) type Rest = Box<dyn FnOnce() -> Vec<(RelPath, Remembered)> + Send>;

/// They are looked up by the million: the hash is a fast one.
pub(super) type Shard = HashMap<RelPath, Entry, RandomState>;

/// What is known of one path.
#[derive(Debug)]
pub(super) struct Entry {
    what: What,
    /// Of [`super::Files::looks`], when it was seen: it is looked at again once that is another.
    pub(super) of: u32,
    /// Whether earlier runs remembered some digest of it.
    is_old: bool,
    /// Whether they did not remember the one that is known now.
    is_new: bool,
}

/// What is known of one path, for somebody who asks.
pub(super) struct Found {
    pub(super) seen: Option<Seen>,
    /// Of [`super::Files::looks`], when it was seen.
    pub(super) of: u32,
    pub(super) remembered: Option<Remembered>,
}

#[derive(Debug)]
enum What {
    /// A digest; if `seen`, a file and no link was there, and had the stat data it was taken under.
    Remembered {
        remembered: Remembered,
        seen: bool,
    },
    /// Anything else that was seen.
    Seen(Box<(Seen, Option<Remembered>)>),
    Nothing,
}

impl Default for Known {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, recall: Recall::default(), rest: Mutex::default() }
    }
}

impl Known {
    /// Takes in what earlier runs remembered; whether there was an earlier digest of this path.
    pub fn remember(&mut self, path: RelPath, remembered: Remembered) -> bool {
        let shard = &mut self.shards[shard_of(path.as_str())];
        let shard = shard.get_mut().expect("BUG: no holder of this lock panics");
        let what = What::Remembered { remembered, seen: false };
        shard.insert(path, Entry { is_old: true, ..Entry::new(what) }).is_some()
    }

    /// Says that earlier runs remembered more, which is only read when it is asked for.
    pub fn leave(&mut self, rest: impl FnOnce() -> Vec<(RelPath, Remembered)> + Send + 'static) {
        *lock(&self.rest) = Some(Box::new(rest));
    }

    /// Reads what was left to read, if anything was. What is known already is newer.
    pub(super) fn read_rest(&self) -> bool {
        let mut rest = lock(&self.rest);
        let Some(read) = rest.take() else { return false };
        for (path, remembered) in read() {
            if self.recall.find(path.as_str()).is_none() {
                let what = What::Remembered { remembered, seen: false };
                let entry = Entry { is_old: true, ..Entry::new(what) };
                self.shard(path.as_str()).entry(path).or_insert(entry);
            }
        }
        true
    }

    /// All digests, sorted by path.
    pub fn remembered(&self) -> Vec<(RelPath, Remembered)> {
        self.read_rest();
        let recalled = self.recall.files();
        let recalled: Vec<_> =
            recalled.map(|(recalled, remembered)| (recalled.path.clone(), *remembered)).collect();
        let own = self.collect(|path, entry| Some((path.clone(), entry.remembered()?)));
        merge(recalled, own, |(path, _)| path)
    }

    /// What is worth remembering and was not remembered like this by earlier runs, sorted.
    pub(super) fn learned(&self) -> Vec<LearnedFile> {
        let found = self.collect(|path, entry| {
            let remembered = entry.remembered().filter(|_| entry.is_new)?;
            let file = LearnedFile { path: path.clone(), remembered, replaces: entry.is_old };
            Some((path.clone(), file))
        });
        found.into_iter().map(|(_, file)| file).collect()
    }

    /// What was seen, sorted, together with `folders`, which are; `None` when stat data could not
    /// tell whether all of it is still so. `shards` are all of them.
    pub(super) fn seen<'a>(
        &'a self,
        shards: &'a [MutexGuard<'_, Shard>],
        folders: Vec<(&'a RelPath, Seeing<'a>)>,
    ) -> Option<Vec<(&'a RelPath, Seeing<'a>)>> {
        let recalled = self.recall.files().filter(|(recalled, _)| recalled.is_seen());
        let recalled: Vec<_> = recalled
            .map(|(recalled, _)| (&recalled.path, Seeing::Before(&recalled.sight)))
            .collect();
        let seen = |shard: &'a MutexGuard<'_, Shard>| {
            let entries = shard.iter().filter(|(_, entry)| entry.is_seen());
            entries.map(|(path, entry)| (path, Seeing::Now(entry)))
        };
        let mut own: Vec<_> = shards.par_iter().flat_map_iter(seen).collect();
        own.par_sort_unstable_by_key(|(path, _)| *path);
        let can_tell = |seeing: &Seeing| match seeing {
            Seeing::Now(entry) => entry.sight().flatten().is_some(),
            Seeing::Before(_) => true,
        };
        if !own.par_iter().with_min_len(1024).all(|(_, seeing)| can_tell(seeing)) {
            return None;
        }
        let own = merge(own, folders, |(path, _)| path);
        Some(merge(recalled, own, |(path, _)| path))
    }

    /// What `of` says of each path, where it says something, sorted by path.
    fn collect<T: Send>(
        &self,
        of: impl Fn(&RelPath, &Entry) -> Option<(RelPath, T)> + Sync,
    ) -> Vec<(RelPath, T)> {
        let of_shard = |shard: &Mutex<Shard>| -> Vec<(RelPath, T)> {
            lock(shard).iter().filter_map(|(path, entry)| of(path, entry)).collect()
        };
        let shards: Vec<Vec<(RelPath, T)>> = self.shards.par_iter().map(of_shard).collect();
        let mut found = Vec::with_capacity(shards.iter().map(Vec::len).sum());
        shards.into_iter().for_each(|shard| found.extend(shard));
        found.par_sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// Where `path` is, or would be, unless it was recalled.
    pub(super) fn shard(&self, path: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[shard_of(path)])
    }

    pub(super) fn shards(&self) -> &[Mutex<Shard>] {
        &self.shards
    }

    /// Takes in what was looked at before anything ran, and what was known of it.
    pub(super) fn recall(&mut self, recall: Recall) {
        self.recall = recall;
    }

    /// What is known of `path`.
    pub(super) fn find(&self, path: &str) -> Option<Found> {
        if let Some(at) = self.recall.find(path) {
            return Some(self.recall.at(at).found());
        }
        self.shard(path).get(path).map(Entry::found)
    }

    /// Takes in what was seen at `path`.
    pub(super) fn saw(&self, path: &RelPath, (seen, digest): (Seen, Option<Remembered>), of: u32) {
        let mut shard = self.shard(path.as_str());
        self.take_over(&mut shard, path.as_str());
        match shard.get_mut(path) {
            Some(entry) => entry.saw(seen, digest, of),
            None => {
                let mut entry = Entry::new(What::Nothing);
                entry.saw(seen, digest, of);
                shard.insert(path.clone(), entry);
            }
        }
    }

    /// Something else may be at `path` now.
    pub(super) fn forget(&self, path: &str) {
        let mut shard = self.shard(path);
        self.take_over(&mut shard, path);
        if let Some(entry) = shard.get_mut(path) {
            entry.forget();
        }
    }

    /// Something else may be anywhere below `folder` now.
    pub(super) fn forget_folder(&self, folder: &RelPath) {
        self.forget(folder.as_str());
        self.recall.within(folder).for_each(|recalled| self.forget(recalled.path.as_str()));
        self.shards.par_iter().with_min_len(8).for_each(|shard| {
            for (_, entry) in lock(shard).iter_mut().filter(|(path, _)| path.is_within(folder)) {
                entry.forget();
            }
        });
    }

    /// Moves what was recalled of `path`, if that is all there is, to its shard, where it can change.
    fn take_over(&self, shard: &mut Shard, path: &str) {
        if let Some(at) = self.recall.find(path) {
            let recalled = self.recall.at(at);
            shard.insert(recalled.path.clone(), Entry::of(recalled));
            self.recall.pass(at);
        }
    }
}

/// One list sorted by `path`, of two, the second of which mostly is far shorter.
pub(super) fn merge<T>(long: Vec<T>, short: Vec<T>, path: impl Fn(&T) -> &RelPath) -> Vec<T> {
    if short.is_empty() {
        return long;
    }
    let mut all = Vec::with_capacity(long.len() + short.len());
    let mut long = long.into_iter();
    for other in short {
        let before = long.as_slice().partition_point(|found| path(found) <= path(&other));
        all.extend(long.by_ref().take(before));
        all.push(other);
    }
    all.extend(long);
    all
}

fn shard_of(path: &str) -> usize {
    FixedState::default().hash_one(path) as usize % SHARDS
}

impl Entry {
    fn new(what: What) -> Self {
        Self { what, of: 0, is_old: false, is_new: false }
    }

    /// Of what was recalled.
    fn of(recalled: &Recalled) -> Self {
        let seen = recalled.is_seen();
        let digest = recalled.remembered();
        let what = digest.map(|remembered| What::Remembered { remembered: *remembered, seen });
        Self { is_old: digest.is_some(), ..Self::new(what.unwrap_or(What::Nothing)) }
    }

    fn found(&self) -> Found {
        Found { seen: self.seen(), of: self.of, remembered: self.remembered() }
    }

    /// What was seen; `None` for what was not looked at, or of which that was forgotten.
    pub(super) fn seen(&self) -> Option<Seen> {
        match &self.what {
            What::Remembered { remembered: Remembered { stat, digest }, seen: true } => {
                Some(Seen::file(None, *digest, *stat))
            }
            What::Seen(found) => Some(found.0.clone()),
            What::Remembered { .. } | What::Nothing => None,
        }
    }

    pub(super) fn remembered(&self) -> Option<Remembered> {
        match &self.what {
            What::Remembered { remembered, .. } => Some(*remembered),
            What::Seen(found) => found.1,
            What::Nothing => None,
        }
    }

    /// Takes in what was seen, and what digest is to be remembered now.
    pub(super) fn saw(&mut self, seen: Seen, digest: Option<Remembered>, of: u32) {
        self.is_new |= digest != self.remembered();
        self.of = of;
        self.what = match digest {
            Some(remembered) if seen.stat == Some(remembered.stat) && seen.fact.link.is_none() => {
                What::Remembered { remembered, seen: true }
            }
            digest => What::Seen(Box::new((seen, digest))),
        };
    }

    /// Says that something else may be there now.
    pub(super) fn forget(&mut self) {
        self.what = match mem::replace(&mut self.what, What::Nothing) {
            What::Remembered { remembered, .. } => What::Remembered { remembered, seen: false },
            What::Seen(found) => match found.1 {
                Some(remembered) => What::Remembered { remembered, seen: false },
                None => What::Nothing,
            },
            What::Nothing => What::Nothing,
        };
    }

    /// Whether stat data would not show a write to the file that was seen here; `None` also where
    /// there was none.
    pub(super) fn unsettled(&self) -> Option<Stat> {
        match &self.what {
            What::Seen(found) => {
                let (seen, digest) = &**found;
                let is_settled = |stat| digest.is_some_and(|digest| digest.stat == stat);
                seen.stat.filter(|stat| !is_settled(*stat))
            }
            What::Remembered { .. } | What::Nothing => None,
        }
    }

    fn is_seen(&self) -> bool {
        matches!(self.what, What::Remembered { seen: true, .. } | What::Seen(_))
    }

    /// `None` where nothing was seen; within, where stat data cannot tell whether it is still so.
    pub(super) fn sight(&self) -> Option<Option<Sight>> {
        match &self.what {
            What::Remembered { remembered, seen: true } => Some(Some(Sight::File(*remembered))),
            What::Seen(found) => Some(Sight::of(&found.0, found.1)),
            What::Remembered { .. } | What::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digest;
    use crate::files::recall::Index;
    use crate::files::{Content, Fact, Now};

    fn stat(size: u64) -> Stat {
        Stat { size, mtime: 1, ctime: 2, inode: 3, mode: 0o100_644 }
    }

    fn remembered(size: u64) -> Remembered {
        Remembered { stat: stat(size), digest: Digest::of(&size.to_le_bytes()) }
    }

    fn file(size: u64, link: Option<&str>) -> Seen {
        Seen::file(link.map(str::to_owned), remembered(size).digest, stat(size))
    }

    fn nothing() -> Seen {
        Seen { fact: Fact { link: None, content: Content::Missing }, stat: None }
    }

    /// What was seen, what is remembered, whether that is new, whether a write would show, and
    /// whether there is something to look at again.
    type Summary = (Option<Fact>, Option<Remembered>, bool, bool, bool);

    fn summary(known: &Known, path: &RelPath) -> Summary {
        let shards: Vec<_> = known.shards().iter().map(lock).collect();
        let sees = known.seen(&shards, Vec::new()).is_some_and(|seen| !seen.is_empty());
        drop(shards);
        let found = known.find(path.as_str()).unwrap();
        let shard = known.shard(path.as_str());
        let entry = shard.get(path);
        let is_new = entry.is_some_and(|entry| entry.is_new);
        let is_settled = entry.is_none_or(|entry| entry.unsettled().is_none());
        (found.seen.map(|seen| seen.fact), found.remembered, is_new, is_settled, sees)
    }

    #[test]
    fn the_rest_is_read_once_and_is_older() {
        let path = |text: &str| RelPath::parse(text).unwrap();
        let mut known = Known::default();
        known.leave(move || vec![(path("a"), remembered(1)), (path("b"), remembered(2))]);
        known.saw(&path("a"), (file(3, None), Some(remembered(3))), 0);
        assert!(known.shard("b").get("b").is_none());
        assert!(known.read_rest());
        assert!(!known.read_rest());
        assert_eq!(known.remembered(), [(path("a"), remembered(3)), (path("b"), remembered(2))]);
    }

    #[test]
    fn what_is_known_of_a_path_follows_what_is_seen() {
        let path = RelPath::parse("a").unwrap();
        let mut known = Known::default();
        assert!(!known.remember(path.clone(), remembered(1)));
        assert!(known.remember(path.clone(), remembered(2)), "the same path again");
        let old = Some(remembered(2));
        assert_eq!(summary(&known, &path), (None, old, false, true, false));
        let recalled = |now| {
            let mut known = Known::default();
            let sight = Sight::File(remembered(2));
            let recalled = vec![vec![Recalled { path: path.clone(), sight, now }]];
            known.recall(Index::of(&recalled).with(recalled));
            known
        };
        let known = recalled(Now::Changed);
        assert_eq!(summary(&known, &path), (None, old, false, true, false));
        let known = recalled(Now::Same);
        let fact = |seen: Seen| Some(seen.fact);
        assert_eq!(summary(&known, &path), (fact(file(2, None)), old, false, true, true));
        known.forget("a");
        assert_eq!(summary(&known, &path), (None, old, false, true, false));
        known.saw(&path, (nothing(), old), 1);
        assert_eq!(summary(&known, &path), (fact(nothing()), old, false, true, true));
        known.saw(&path, (file(3, None), None), 2);
        assert_eq!(summary(&known, &path), (fact(file(3, None)), None, true, false, false));
        let new = Some(remembered(3));
        known.saw(&path, (file(3, Some("b")), new), 2);
        assert_eq!(summary(&known, &path), (fact(file(3, Some("b"))), new, true, true, true));
        known.saw(&path, (file(3, None), new), 3);
        assert_eq!(summary(&known, &path), (fact(file(3, None)), new, true, true, true));
        assert_eq!(known.find("a").unwrap().of, 3);
        assert_eq!(known.remembered(), [(path.clone(), remembered(3))]);
        let learned = LearnedFile { path, remembered: remembered(3), replaces: true };
        assert_eq!(known.learned(), [learned]);
    }
}
