//! The manifest of a staging tree: its files, and the origin of each file's bytes. It is equal on all
//! machines: sources are paths in the project, wheels are identified by digest.

use serde::{Deserialize, Serialize};
use zipwright_store::{Digest, Format, RelPath};

const FORMAT: Format = Format::new("manifest", 3);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The wheels that [`Origin::Wheel`] points to, each once.
    pub wheels: Vec<WheelId>,
    /// Files, sorted by path, each path once. A folder exists if a file is in it.
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WheelId {
    pub file_name: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: RelPath,
    pub executable: bool,
    /// BLAKE3 of the content.
    pub digest: Digest,
    pub size: u64,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    Wheel {
        /// Position in [`Manifest::wheels`].
        wheel: usize,
        member: String,
        /// Whether the first line is replaced, as in scripts of wheels.
        new_shebang: bool,
    },
    /// A file of the project.
    Source(RelPath),
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        FORMAT.seal(self).expect("BUG: a manifest has only texts and numbers")
    }

    /// Reads an encoded manifest. Returns `None` if the bytes are incomplete or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = FORMAT.open(bytes)?;
        let is_sorted = manifest.entries.is_sorted_by(|a, b| a.path < b.path);
        let has_wheel = |entry: &Entry| match entry.origin {
            Origin::Wheel { wheel, .. } => wheel < manifest.wheels.len(),
            Origin::Source(_) => true,
        };
        (is_sorted && manifest.entries.iter().all(has_wheel)).then_some(manifest)
    }

    /// Returns the size of all files together, in bytes.
    pub fn unzipped_size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let path = |text| RelPath::parse(text).unwrap();
        let entry = |text, origin| Entry {
            path: path(text),
            executable: true,
            digest: Digest::of(b"x"),
            size: 1,
            origin,
        };
        let (member, same) = ("demo-1.data/scripts/a".into(), "package/a.py".into());
        Manifest {
            wheels: vec![WheelId { file_name: "demo.whl".into(), digest: Digest::of(b"w") }],
            entries: vec![
                entry("bin/a", Origin::Wheel { wheel: 0, member, new_shebang: true }),
                entry("handler.py", Origin::Source(path("src/handler.py"))),
                entry("other.py", Origin::Source(path("other.py"))),
                entry("package/a.py", Origin::Wheel { wheel: 0, member: same, new_shebang: false }),
            ],
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        assert_eq!(Manifest::decode(&manifest().encode()), Some(manifest()));
        assert_eq!(Manifest::decode(&Manifest::default().encode()), Some(Manifest::default()));
        assert_eq!(manifest().unzipped_size(), 4);
    }

    #[test]
    fn a_manifest_that_makes_no_sense_is_none() {
        let mut unsorted = manifest();
        unsorted.entries.reverse();
        assert_eq!(Manifest::decode(&unsorted.encode()), None);
        let mut dangling = manifest();
        dangling.wheels.clear();
        assert_eq!(Manifest::decode(&dangling.encode()), None);
        assert_eq!(Manifest::decode(&manifest().encode()[1..]), None);
    }
}
