//! The result of a wheel's check, cached by the wheel's digest. If a file cannot be opened for any
//! reason, the wheel is checked again.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Checked, Member, Method};
use crate::base::sealed::{Decoder, Encoder};
use crate::base::{Digest, fs, private};

/// Changes whenever the fields change, or when the check becomes stricter.
const FORM: &str = "zipwright wheel index 2";

fn place(indexes: &Path, wheel: &Digest) -> PathBuf {
    indexes.join(wheel.to_string())
}

pub(super) fn load(indexes: &Path, wheel: &Digest) -> Option<Checked> {
    decode(&private::read(&place(indexes, wheel)).ok()?, wheel)
}

pub(super) fn save(indexes: &Path, wheel: &Digest, checked: &Checked) -> Result<()> {
    fs::write_if_changed(&place(indexes, wheel), &encode(wheel, checked), private::FILE_MODE)?;
    Ok(())
}

fn encode(wheel: &Digest, checked: &Checked) -> Vec<u8> {
    let mut encoder = Encoder::new(FORM);
    encoder.digest(wheel);
    encoder.text(&checked.sha256);
    for member in &checked.members {
        encoder.text(&member.name);
        encoder.flag(member.executable);
        encoder.flag(member.method == Method::Deflated);
        encoder.number(member.offset);
        encoder.number(member.compressed);
        encoder.number(member.size);
        encoder.number(u64::from(member.crc));
        encoder.digest(&member.digest);
        encoder.flag(member.python_shebang);
    }
    encoder.seal()
}

fn decode(bytes: &[u8], wheel: &Digest) -> Option<Checked> {
    let mut decoder = Decoder::open(bytes, FORM)?;
    if decoder.digest()? != *wheel {
        return None;
    }
    let sha256 = decoder.text()?.to_owned();
    let mut members = Vec::new();
    while !decoder.is_at_end() {
        members.push(Member {
            name: decoder.text()?.to_owned(),
            executable: decoder.flag()?,
            method: if decoder.flag()? { Method::Deflated } else { Method::Stored },
            offset: decoder.number()?,
            compressed: decoder.number()?,
            size: decoder.number()?,
            crc: u32::try_from(decoder.number()?).ok()?,
            digest: decoder.digest()?,
            python_shebang: decoder.flag()?,
        });
    }
    Some(Checked { sha256, members })
}
