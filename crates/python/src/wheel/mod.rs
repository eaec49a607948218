//! Wheels: their names, their members, and the place of each member in a tree.
//!
//! A wheel is a zip that is read in place, never unpacked as a whole. Opening one checks it once
//! per user: every member against its CRC and its line in RECORD, every path, both copies of every
//! header. Knows nothing of pip, targets or bundles.

mod archive;
mod arriving;
mod layout;
mod reader;
mod record;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use zipwright_store::{Bucket, Cache};

use reader::Span;
use zipwright_store::fs::Range;
use zipwright_store::{Digest, Sha256, fs, sha256};

pub use crate::WheelName;
pub use arriving::Arriving;
pub use layout::{PYTHON_SHEBANG, Placed, layout};
pub use record::write as write_record;

/// Most bytes of a script that is read as a whole. They have some hundred.
const SCRIPT_MAX: u64 = 16 << 20;

/// How a member's bytes are stored in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    Stored,
    Deflated,
}

/// A file in a wheel, as the check found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// A normalised relative path.
    pub name: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    pub method: Method,
    /// Offset of its bytes in the wheel.
    pub offset: u64,
    pub compressed: u64,
    pub size: u64,
    pub crc: u32,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Whether the content begins with `#!python`, which installers replace in scripts.
    pub python_shebang: bool,
}

/// A wheel that passed the check. Its content may be read from several threads at once; a clone
/// has the same file open.
#[derive(Clone, Debug)]
pub struct Wheel {
    pub file_name: String,
    pub name: WheelName,
    /// BLAKE3 of the whole file.
    pub digest: Digest,
    /// SHA-256 of the whole file in lowercase hex, as indexes name it.
    pub sha256: String,
    /// Files only, sorted by name.
    pub members: Arc<[Member]>,
    file: Arc<File>,
}

/// What the check finds out about a wheel.
#[derive(Serialize, Deserialize)]
struct Checked {
    sha256: String,
    members: Vec<Member>,
}

impl Wheel {
    /// Opens the wheel at `place`, whose content has the given digest. The members that the check
    /// finds are cached by digest, so that it runs once per user.
    pub fn open(place: &Path, digest: Digest, cache: &Cache) -> Result<Self> {
        let file_name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refused = || format!("wheel `{file_name}` cannot be used");
        let name = WheelName::parse(&file_name).with_context(refused)?;
        let file = fs::open(place)?;
        let checked = match cache.get::<Checked>(Bucket::WheelIndexes, &digest) {
            Some(checked) => checked,
            None => {
                let members =
                    archive::check(&file, &name, &HashMap::new()).with_context(refused)?;
                let checked = Checked { sha256: sha256(&file).with_context(refused)?, members };
                cache.put(Bucket::WheelIndexes, &digest, &checked)?;
                checked
            }
        };
        let Checked { sha256, members } = checked;
        let (members, file) = (members.into(), Arc::new(file));
        Ok(Self { file_name, name, digest, sha256, members, file })
    }

    pub fn member(&self, name: &str) -> Option<&Member> {
        let at = self.members.binary_search_by(|member| member.name.as_str().cmp(name)).ok()?;
        Some(&self.members[at])
    }

    /// Returns the member's bytes as stored in the wheel.
    pub fn raw<'a>(&'a self, member: &Member) -> impl Read + Send + use<'a> {
        Range::new(&*self.file, member.offset, member.compressed)
    }

    /// The member's content.
    pub fn content<'a>(&'a self, member: &Member) -> Box<dyn Read + Send + 'a> {
        let Member { method, offset, compressed, .. } = *member;
        reader::content(&self.file, Span { method, offset, compressed })
    }

    /// The content of a script, its first line replaced by [`PYTHON_SHEBANG`].
    pub fn script(&self, member: &Member) -> io::Result<Vec<u8>> {
        if member.size > SCRIPT_MAX {
            let text = format!("the script `{}` has more than {SCRIPT_MAX} bytes", member.name);
            return Err(io::Error::other(text));
        }
        let mut content = Vec::new();
        self.content(member).read_to_end(&mut content)?;
        let rest = content.iter().position(|byte| *byte == b'\n').unwrap_or(content.len());
        Ok([PYTHON_SHEBANG, &content[rest..]].concat())
    }
}

fn sha256(file: &File) -> io::Result<String> {
    let bytes = Range::new(file, 0, file.metadata()?.len());
    Ok(sha256::hex(&Sha256::of_reader(bytes)?))
}
