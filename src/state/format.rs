//! Bytes of the state file: records, each with its length and a checksum in front.

use std::path::PathBuf;

use super::{Record, RecordedOutput};
use crate::base::{Digest, RelPath};
use crate::codec::{Decoder, Encoder};
use crate::files::{Remembered, Stat};
use crate::key::Key;

/// Length and checksum in front of each record.
const FRAME: usize = 4 + 8;
/// Bytes of a record, more or less, but for a target's key.
const HEAD: usize = 200;
/// No record is larger; a length beyond it is damage.
const RECORD_MAX: usize = 1 << 30;

const KIND_TARGET: u8 = 1;
const KIND_FILE: u8 = 2;
const KIND_FORGET: u8 = 3;
const KIND_TOOL: u8 = 4;
const KIND_BEGUN: u8 = 5;

/// Stands for the mode of an output that has none.
const NO_MODE: u64 = u64::MAX;

/// What is kept in memory of a record.
pub(super) enum Item {
    /// It was passed over; it counts as being of use.
    Left,
    /// Its name, and how long it took in seconds: [`read_target`] reads the rest.
    Target(Box<str>, f64),
    Forgotten(String),
    File(RelPath, Remembered),
    Tool(PathBuf, Remembered),
    /// A target's name, and whether its run is still open: [`read_begun`] reads the rest.
    Begun(Box<str>, bool),
}

/// The records with their frames that `bytes` begins with, sound or not.
pub(super) fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some(frame) = next_frame(rest) {
        frames.push(frame);
        rest = &rest[frame.len()..];
    }
    frames
}

/// `None` when there are no bytes for it.
fn next_frame(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..size(bytes)?)
}

/// How long the record that `bytes` begins with is, with its frame; there may be fewer.
pub(super) fn size(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (length > 0 && length <= RECORD_MAX).then_some(FRAME + length)
}

/// [`read`] for a record that is known to be sound, and passing over digests of files: there are
/// many of these. Of a target's record only the head is looked at, and need be there.
pub(super) fn skim(framed: &[u8]) -> Option<Item> {
    match *framed.get(FRAME)? {
        KIND_FILE => Some(Item::Left),
        KIND_TARGET => {
            let mut decoder = Decoder::new(&framed[FRAME + 1..]);
            let (name, _, seconds) = decode_head(&mut decoder)?;
            Some(Item::Target(name.into(), seconds))
        }
        _ => read(framed),
    }
}

/// `None` when the frame is damaged, or a foreign version's.
pub(super) fn read(framed: &[u8]) -> Option<Item> {
    let mut decoder = Decoder::new(payload(framed)?);
    let item = match decoder.byte()? {
        KIND_TARGET => {
            let (name, record, _) = decode_target(&mut decoder)?;
            Item::Target(name.into(), record.seconds)
        }
        KIND_FORGET => Item::Forgotten(decoder.text()?),
        KIND_FILE => {
            let (path, entry) = decode_remembered(&mut decoder)?;
            Item::File(RelPath::parse(path).ok()?, entry)
        }
        KIND_TOOL => {
            let (path, entry) = decode_remembered(&mut decoder)?;
            Item::Tool(path.into(), entry)
        }
        KIND_BEGUN => {
            let (name, open, _) = decode_begun(&mut decoder)?;
            Item::Begun(name.into(), open)
        }
        _ => return None,
    };
    decoder.is_empty().then_some(item)
}

/// The whole record of a target; `None` when it is damaged, or another record.
pub(super) fn read_target(mut framed: Vec<u8>) -> Option<Record> {
    let mut decoder = Decoder::new(payload(&framed)?);
    if decoder.byte()? != KIND_TARGET {
        return None;
    }
    let (_, record, key) = decode_target(&mut decoder)?;
    if !decoder.is_empty() {
        return None;
    }
    // The key comes last, and may be long: the rest is taken away from it.
    let start = framed.len() - key.len();
    framed.drain(..start);
    Some(Record { key: Key::from_bytes(framed), ..record })
}

/// The outputs of a target that has no record; `None` when it is damaged, or another record.
pub(super) fn read_begun(framed: &[u8]) -> Option<Vec<RecordedOutput>> {
    let mut decoder = Decoder::new(payload(framed)?);
    if decoder.byte()? != KIND_BEGUN {
        return None;
    }
    decode_begun(&mut decoder).map(|(_, _, outputs)| outputs)
}

/// `None` when it is not what the checksum is of.
fn payload(framed: &[u8]) -> Option<&[u8]> {
    let (head, payload) = framed.split_at_checked(FRAME)?;
    (checksum(payload) == head[4..]).then_some(payload)
}

pub(super) fn target(name: &str, record: &Record) -> Vec<u8> {
    let Record { key, result, outputs, seconds, facts } = record;
    let mut encoder = begin(KIND_TARGET, HEAD + key.as_bytes().len());
    encoder.text(name).digest(result).number(seconds.to_bits());
    encode_outputs(&mut encoder, outputs);
    encoder.number(facts.len() as u64);
    for (name, json) in facts {
        encoder.text(name).text(json);
    }
    encoder.bytes(key.as_bytes());
    frame(encoder)
}

pub(super) fn forgotten(name: &str) -> Vec<u8> {
    let mut encoder = begin(KIND_FORGET, HEAD);
    encoder.text(name);
    frame(encoder)
}

pub(super) fn file(path: &RelPath, entry: &Remembered) -> Vec<u8> {
    remembered(KIND_FILE, path.as_str(), entry)
}

/// `path` of a program, absolute.
pub(super) fn tool(path: &str, entry: &Remembered) -> Vec<u8> {
    remembered(KIND_TOOL, path, entry)
}

/// What a target without a record left.
pub(super) fn begun(name: &str, outputs: &[RecordedOutput], open: bool) -> Vec<u8> {
    let mut encoder = begin(KIND_BEGUN, HEAD);
    encoder.text(name).byte(u8::from(open));
    encode_outputs(&mut encoder, outputs);
    frame(encoder)
}

fn encode_outputs(encoder: &mut Encoder, outputs: &[RecordedOutput]) {
    encoder.number(outputs.len() as u64);
    for RecordedOutput { path, digest, mode } in outputs {
        encoder.text(path.as_str()).digest(digest);
        encoder.number(mode.map_or(NO_MODE, u64::from));
    }
}

fn decode_outputs(decoder: &mut Decoder) -> Option<Vec<RecordedOutput>> {
    decoder.list(|decoder| {
        let path = RelPath::parse(&decoder.text()?).ok()?;
        let digest = decoder.digest()?;
        let mode = match decoder.number()? {
            NO_MODE => None,
            mode => Some(u32::try_from(mode).ok()?),
        };
        Some(RecordedOutput { path, digest, mode })
    })
}

fn decode_begun(decoder: &mut Decoder) -> Option<(String, bool, Vec<RecordedOutput>)> {
    Some((decoder.text()?, decoder.byte()? == 1, decode_outputs(decoder)?))
}

fn remembered(kind: u8, path: &str, entry: &Remembered) -> Vec<u8> {
    let Remembered { stat: Stat { size, mtime, ctime, inode, mode }, digest } = entry;
    let mut encoder = begin(kind, HEAD);
    encoder.text(path).digest(digest).number(*size);
    encoder.number(mtime.cast_unsigned()).number(ctime.cast_unsigned());
    encoder.number(*inode).number(u64::from(*mode));
    frame(encoder)
}

/// Begins a record of about so many bytes, with a place for what [`frame`] puts in front.
fn begin(kind: u8, room: usize) -> Encoder {
    let mut encoder = Encoder::behind(FRAME, room);
    encoder.byte(kind);
    encoder
}

fn frame(encoder: Encoder) -> Vec<u8> {
    let mut frame = encoder.finish();
    let (head, payload) = frame.split_at_mut(FRAME);
    let length = u32::try_from(payload.len()).expect("BUG: a record is far smaller than 4 GiB");
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&checksum(payload));
    frame
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let digest = Digest::of(payload);
    digest.as_bytes()[..8].try_into().expect("BUG: a digest has 32 bytes")
}

/// Name, record without its key, and the bytes of that.
fn decode_target<'a>(decoder: &mut Decoder<'a>) -> Option<(String, Record, &'a [u8])> {
    let (name, result, seconds) = decode_head(decoder)?;
    let outputs = decode_outputs(decoder)?;
    let facts = decoder.list(|decoder| Some((decoder.text()?, decoder.text()?)))?;
    let record = Record { key: Key::new(), result, outputs, seconds, facts };
    Some((name, record, decoder.bytes()?))
}

/// What a target's record begins with: name, result, seconds.
fn decode_head(decoder: &mut Decoder) -> Option<(String, Digest, f64)> {
    Some((decoder.text()?, decoder.digest()?, f64::from_bits(decoder.number()?)))
}

fn decode_remembered<'a>(decoder: &mut Decoder<'a>) -> Option<(&'a str, Remembered)> {
    let path = std::str::from_utf8(decoder.bytes()?).ok()?;
    let digest = decoder.digest()?;
    let stat = Stat {
        size: decoder.number()?,
        mtime: decoder.number()?.cast_signed(),
        ctime: decoder.number()?.cast_signed(),
        inode: decoder.number()?,
        mode: u32::try_from(decoder.number()?).ok()?,
    };
    Some((path, Remembered { stat, digest }))
}
