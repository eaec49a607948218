//! The manifest of a staging tree: its files, and the origin of each file's bytes. It is equal on all
//! machines: sources are paths in the project, wheels are identified by digest.

use crate::base::Digest;
use crate::base::path::RelPath;
use crate::base::sealed::{Decoder, Encoder};

/// Approximate bytes of an encoded entry.
const USUAL: usize = 80;

const FORM: &str = "zipwright manifest 2";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The wheels that [`Origin::Wheel`] points to, each once.
    pub wheels: Vec<WheelId>,
    /// Files, sorted by path, each path once. A folder exists if a file is in it.
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
        /// Whether the first line is replaced, as in scripts of wheels.
        new_shebang: bool,
    },
    /// A file of the project.
    Source(RelPath),
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(FORM).with_room(self.entries.len() * USUAL);
        encoder.number(self.wheels.len() as u64);
        for wheel in &self.wheels {
            encoder.text(&wheel.file_name);
            encoder.digest(&wheel.digest);
        }
        self.entries.iter().for_each(|entry| encode_entry(&mut encoder, entry));
        encoder.seal()
    }

    /// Reads an encoded manifest. Returns `None` if the bytes are incomplete or damaged.
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

    /// Returns the size of all files together, in bytes.
    pub fn unzipped_size(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

/// Properties of an entry, as bits of one number.
const EXECUTABLE: u64 = 1;
const OF_WHEEL: u64 = 2;
const NEW_SHEBANG: u64 = 4;
/// Its name in the wheel, or in the project, differs from its path.
const OTHER_NAME: u64 = 8;

fn encode_entry(encoder: &mut Encoder, entry: &Entry) {
    let path = entry.path.as_str();
    let (of_wheel, name, new_shebang) = match &entry.origin {
        Origin::Wheel { wheel, member, new_shebang } => (Some(*wheel), &**member, *new_shebang),
        Origin::Source(source) => (None, source.as_str(), false),
    };
    let bit = |bit: u64, is_set: bool| if is_set { bit } else { 0 };
    encoder.short_text(path);
    encoder.short(
        bit(EXECUTABLE, entry.executable)
            | bit(OF_WHEEL, of_wheel.is_some())
            | bit(NEW_SHEBANG, new_shebang)
            | bit(OTHER_NAME, name != path),
    );
    encoder.digest(&entry.digest);
    encoder.short(entry.size);
    if let Some(wheel) = of_wheel {
        encoder.short(wheel as u64);
    }
    if name != path {
        encoder.short_text(name);
    }
}

fn decode_entry(decoder: &mut Decoder, wheels: usize) -> Option<Entry> {
    let path = RelPath::parse(decoder.short_text()?).ok()?;
    let bits = decoder.short().filter(|bits| *bits < 2 * OTHER_NAME)?;
    let is_set = |bit: u64| bits & bit != 0;
    let (digest, size) = (decoder.digest()?, decoder.short()?);
    let wheel = match is_set(OF_WHEEL) {
        true => Some(usize::try_from(decoder.short()?).ok().filter(|wheel| *wheel < wheels)?),
        false => None,
    };
    let name = match is_set(OTHER_NAME) {
        true => Some(decoder.short_text()?),
        false => None,
    };
    let origin = match wheel {
        Some(wheel) => Origin::Wheel {
            wheel,
            member: name.unwrap_or(path.as_str()).to_owned(),
            new_shebang: is_set(NEW_SHEBANG),
        },
        None => Origin::Source(match name {
            Some(name) => RelPath::parse(name).ok()?,
            None => path.clone(),
        }),
    };
    Some(Entry { path, executable: is_set(EXECUTABLE), digest, size, origin })
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
