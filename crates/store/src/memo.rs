//! Cached results with their observations: a result is used again while every observation is
//! unchanged.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{Digest, Stat, clock};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// A file or folder, links followed; `None` if there was none.
    File(PathBuf, Option<Stat>),
    /// The content of a file without useful stat data, as in `/proc`; `None` if it could not be read.
    Content(PathBuf, Option<Digest>),
}

impl Observation {
    /// Looks at a file. A link that leads elsewhere leads to another inode.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let stat = fs::metadata(&path).ok().map(|meta| Stat::from(&meta));
        Self::File(path, stat)
    }

    /// Reads a file.
    pub fn content(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let digest = fs::read(&path).ok().map(|bytes| Digest::of(&bytes));
        Self::Content(path, digest)
    }

    /// Returns whether it is unchanged.
    pub fn holds(&self) -> bool {
        match self {
            Self::File(path, _) => Self::file(path) == *self,
            Self::Content(path, _) => Self::content(path) == *self,
        }
    }

    /// Returns whether another write before `instant` would show.
    fn is_settled(&self, instant: i64) -> bool {
        match self {
            Self::File(_, Some(stat)) => stat.is_before(instant),
            Self::File(_, None) | Self::Content(..) => true,
        }
    }
}

/// A cached result; valid while every observation is unchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memo<T> {
    observations: Vec<Observation>,
    value: T,
}

impl<T> Memo<T> {
    /// Returns a result to be remembered. The observations were made before the result was found, so
    /// that a change in between shows. `None` if one is of a file so new that another write to it
    /// might not show.
    pub fn new(observations: Vec<Observation>, value: T) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let settled = i64::try_from(now).ok()?.saturating_sub(clock::margin());
        let all = observations.iter().all(|observation| observation.is_settled(settled));
        all.then_some(Self { observations, value })
    }

    /// Returns the result if it is still valid.
    pub fn valid(self) -> Option<T> {
        self.observations.iter().all(Observation::holds).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use filetime::{FileTime, set_file_mtime};

    use super::*;

    fn memo(path: &Path) -> Memo<u8> {
        let observations = vec![Observation::file(path), Observation::content(path)];
        Memo { observations, value: 1 }
    }

    #[test]
    fn a_result_is_valid_until_a_file_appears_changes_or_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let missing = memo(&path);
        assert_eq!(missing.clone().valid(), Some(1));
        fs::write(&path, "1").unwrap();
        assert_eq!(missing.valid(), None);
        let there = memo(&path);
        assert_eq!(there.clone().valid(), Some(1));
        set_file_mtime(&path, FileTime::from_unix_time(1, 0)).unwrap();
        assert_eq!(there.clone().valid(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(there.valid(), None);
    }

    #[test]
    fn nothing_is_remembered_of_a_file_that_is_too_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Memo::new(vec![Observation::file(&path)], 1).is_some(), "there is no file");
        fs::write(&path, "").unwrap();
        assert!(Memo::new(vec![Observation::file(&path)], 1).is_none());
    }
}
