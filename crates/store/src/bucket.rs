//! The buckets of the per-user cache: the meaning of their entries, and how long these stay.

use std::time::Duration;

use crate::envelope::Format;

/// One kind of remembered results. Each is a folder of the cache, called after its name and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Wheels: a folder for each, called after the SHA-256 of its bytes, with the wheel in it.
    Wheels,
    /// The BLAKE3 of a wheel in the cache, by the SHA-256 that its bytes were compared with.
    WheelDigests,
    /// How a wheel in the cache was built from source, by its SHA-256. A wheel without an entry was
    /// downloaded.
    Provenance,
    /// The members of a wheel and their digests, by the digest of the wheel.
    WheelIndexes,
    /// The wheels that pinned requirements resolve to, and where each comes from.
    Resolutions,
    /// The wheels that build requirements of source distributions resolve to.
    BuildRequirements,
    /// The wheel that a source distribution was built to.
    SdistBuilds,
    /// The wheels that the last few states of a local project were built to.
    ProjectBuilds,
    /// The identity of an interpreter, by its path: version, prefix, pip.
    Interpreters,
    /// The compilers of this machine, and how builds are isolated on it.
    Toolchains,
    /// The bytecode of a source file, or why it does not compile.
    SourceBytecode,
    /// The digest of the archive with the bytecode of a wheel.
    WheelBytecode,
    /// Archives with the bytecode of wheels: a folder for each, called after its digest.
    BytecodeArchives,
    /// Programs that zipwright runs, each in a folder of installed wheels: the client of Lambda's
    /// Runtime API, boto3.
    Tools,
}

/// How long an entry stays when the cache is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For this long after it was last used.
    Used(Duration),
    /// As long as the entry of the same name in another bucket.
    With(Bucket),
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Bucket {
    pub const ALL: [Self; 14] = [
        Self::Wheels,
        Self::WheelDigests,
        Self::Provenance,
        Self::WheelIndexes,
        Self::Resolutions,
        Self::BuildRequirements,
        Self::SdistBuilds,
        Self::ProjectBuilds,
        Self::Interpreters,
        Self::Toolchains,
        Self::SourceBytecode,
        Self::WheelBytecode,
        Self::BytecodeArchives,
        Self::Tools,
    ];

    /// Returns the name, and the version: raise it if the fields of the entries change, or their
    /// meaning.
    const fn name_and_version(self) -> (&'static str, u32) {
        match self {
            Self::Wheels => ("wheels", 1),
            Self::WheelDigests => ("wheel-digests", 1),
            Self::Provenance => ("provenance", 1),
            Self::WheelIndexes => ("wheel-indexes", 1),
            Self::Resolutions => ("resolutions", 2),
            Self::BuildRequirements => ("build-requirements", 1),
            Self::SdistBuilds => ("sdist-builds", 1),
            Self::ProjectBuilds => ("project-builds", 1),
            Self::Interpreters => ("interpreters", 1),
            Self::Toolchains => ("toolchains", 1),
            Self::SourceBytecode => ("source-bytecode", 1),
            Self::WheelBytecode => ("wheel-bytecode", 1),
            Self::BytecodeArchives => ("bytecode-archives", 1),
            Self::Tools => ("tools", 1),
        }
    }

    pub const fn name(self) -> &'static str {
        self.name_and_version().0
    }

    pub const fn version(self) -> u32 {
        self.name_and_version().1
    }

    /// Returns the name of the folder, such as `wheels-v1`.
    pub fn folder(self) -> String {
        format!("{}-v{}", self.name(), self.version())
    }

    /// Returns the format of entries that are values.
    pub(crate) const fn format(self) -> Format {
        let (name, version) = self.name_and_version();
        Format::new(name, version)
    }

    /// Returns the rule for pruning.
    pub const fn keep(self) -> Keep {
        match self {
            // Cheap to find out again, and soon out of date.
            Self::Interpreters | Self::Toolchains | Self::SourceBytecode => {
                Keep::Used(DAY.saturating_mul(30))
            }
            Self::WheelDigests | Self::Provenance => Keep::With(Self::Wheels),
            _ => Keep::Used(DAY.saturating_mul(90)),
        }
    }
}

/// Folders of former buckets, and of versions whose buckets had no version in their names.
const FORMER: [&str; 14] = [
    "beginnings",
    "blake3",
    "build-locks",
    "built",
    "bytecode",
    "index",
    "interpreters",
    "local",
    "machines",
    "projects",
    "resolved",
    "wheel-origins-v1",
    "wheels",
    "work",
];

/// Whether `folder` is that of a bucket of an earlier version of zipwright.
pub(crate) fn is_outdated(folder: &str) -> bool {
    let earlier = |(name, version): (&str, &str)| {
        let bucket = Bucket::ALL.into_iter().find(|bucket| bucket.name() == name);
        bucket.is_some_and(|bucket| version.parse().is_ok_and(|old: u32| old < bucket.version()))
    };
    FORMER.contains(&folder) || folder.rsplit_once("-v").is_some_and(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_earlier_versions_are_outdated_and_later_ones_are_not() {
        for old in ["wheels", "blake3", "wheels-v0", "wheel-origins-v1"] {
            assert!(is_outdated(old), "{old}");
        }
        for other in ["wheels-v1", "wheels-v2", "lock", "tmp", "notes", "notes-v0", "wheels-vx"] {
            assert!(!is_outdated(other), "{other}");
        }
    }

    #[test]
    fn buckets_have_different_folders() {
        let folders: std::collections::BTreeSet<String> =
            Bucket::ALL.iter().map(|bucket| bucket.folder()).collect();
        assert_eq!(folders.len(), Bucket::ALL.len());
    }
}
