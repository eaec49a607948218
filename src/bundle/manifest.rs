//! The manifest of a staging tree: what is in it, and where each file's bytes come from. Says
//! nothing of any machine: sources are paths in the project, wheels are known by digest.

use crate::base::Digest;
use crate::base::path::RelPath;
use crate::base::sealed::{Decoder, Encoder};

const FORM: &str = "zipwright manifest 1";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The wheels that [`Origin::Wheel`] points to, each once.
    pub wheels: Vec<WheelId>,
    /// Files, sorted by path, each path once. A folder is there when a file is in it.
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WheelId {
    pub file_name: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: RelPath,
    pub executable: bool,
    /// BLAKE3 of the content.
    pub digest: Digest,
    pub size: u64,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Wheel {
        /// Position in [`Manifest::wheels`].
        wheel: usize,
        member: String,
        /// Whether the tree has another first line than the wheel.
        new_shebang: bool,
    },
    /// A file of the project.
    Source(RelPath),
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(FORM);
        encoder.number(self.wheels.len() as u64);
        for wheel in &self.wheels {
            encoder.text(&wheel.file_name);
            encoder.digest(&wheel.digest);
        }
        for entry in &self.entries {
            encoder.text(entry.path.as_str());
            encoder.flag(entry.executable);
            encoder.digest(&entry.digest);
            encoder.number(entry.size);
            match &entry.origin {
                Origin::Wheel { wheel, member, new_shebang } => {
                    encoder.flag(true);
                    encoder.number(*wheel as u64);
                    encoder.text(member);
                    encoder.flag(*new_shebang);
                }
                Origin::Source(path) => {
                    encoder.flag(false);
                    encoder.text(path.as_str());
                }
            }
        }
        encoder.seal()
    }

    /// `None` when the bytes are no whole manifest.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::open(bytes, FORM)?;
        let mut manifest = Self::default();
        for _ in 0..decoder.number()? {
            let file_name = decoder.text()?.to_owned();
            manifest.wheels.push(WheelId { file_name, digest: decoder.digest()? });
        }
        while !decoder.is_at_end() {
            let entry = decode_entry(&mut decoder, manifest.wheels.len())?;
            if manifest.entries.last().is_some_and(|last| last.path >= entry.path) {
                return None;
            }
            manifest.entries.push(entry);
        }
        Some(manifest)
    }

    /// Bytes of all files together.
    pub fn unzipped_size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

fn decode_entry(decoder: &mut Decoder, wheels: usize) -> Option<Entry> {
    Some(Entry {
        path: RelPath::parse(decoder.text()?).ok()?,
        executable: decoder.flag()?,
        digest: decoder.digest()?,
        size: decoder.number()?,
        origin: if decoder.flag()? {
            Origin::Wheel {
                wheel: usize::try_from(decoder.number()?).ok().filter(|wheel| *wheel < wheels)?,
                member: decoder.text()?.to_owned(),
                new_shebang: decoder.flag()?,
            }
        } else {
            Origin::Source(RelPath::parse(decoder.text()?).ok()?)
        },
    })
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
        let member = "demo-1.data/scripts/a".into();
        Manifest {
            wheels: vec![WheelId { file_name: "demo.whl".into(), digest: Digest::of(b"w") }],
            entries: vec![
                entry("bin/a", Origin::Wheel { wheel: 0, member, new_shebang: true }),
                entry("handler.py", Origin::Source(path("src/handler.py"))),
            ],
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        assert_eq!(Manifest::decode(&manifest().encode()), Some(manifest()));
        assert_eq!(Manifest::decode(&Manifest::default().encode()), Some(Manifest::default()));
        assert_eq!(manifest().unzipped_size(), 2);
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
