//! Bytes of the state file: records, each with its length and a checksum in front.

use serde::{Deserialize, Serialize, Serializer};

use super::{Record, RecordedOutput};
use crate::key::Key;
use zipwright_store::Digest;

/// Bytes in front of each record: its length, a checksum.
const FRAME: usize = 4 + 8;
/// No record is larger; a length beyond it is damage.
const RECORD_MAX: usize = 1 << 30;

/// The beginning of a record: everything that is kept in memory.
#[derive(Serialize, Deserialize)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    /// The target's.
    pub(super) name: &'a str,
    /// How long the target took.
    pub(super) seconds: f64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A [`Body`] follows.
    Target,
    Forgotten,
    /// The outputs of a target without a record follow; the run may still be open.
    Begun {
        open: bool,
    },
    /// As [`Kind::Target`], of a run that succeeded and whose wait has not ended.
    Waits,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    result: Digest,
    outputs: Vec<RecordedOutput>,
    facts: Vec<(String, String)>,
    /// Last, because it may be long.
    #[serde(serialize_with = "as_bytes")]
    key: &'a [u8],
}

fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Returns the records with their frames at the start of `bytes`, sound or not.
pub(super) fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some(frame) = size(rest).and_then(|size| rest.get(..size)) {
        frames.push(frame);
        rest = &rest[frame.len()..];
    }
    frames
}

/// Returns the length of the record at the start of `bytes`, with its frame.
fn size(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (length > 0 && length <= RECORD_MAX).then_some(FRAME + length)
}

/// Returns the beginning of a record; `None` if it is damaged, or a foreign version's.
pub(super) fn read(framed: &[u8]) -> Option<Item<'_>> {
    let (item, _) = postcard::take_from_bytes(payload(framed)?).ok()?;
    Some(item)
}

/// Returns the whole record of a target; `None` if it is damaged, or another record.
pub(super) fn read_target(mut framed: Vec<u8>) -> Option<Record> {
    let (item, body): (Item, _) = postcard::take_from_bytes(payload(&framed)?).ok()?;
    let Body { result, outputs, facts, key } = postcard::from_bytes(body).ok()?;
    if !matches!(item.kind, Kind::Target | Kind::Waits) {
        return None;
    }
    let (seconds, start) = (item.seconds, framed.len() - key.len());
    framed.drain(..start);
    Some(Record { key: Key::from_bytes(framed), result, outputs, seconds, facts })
}

/// Returns the outputs of a target that has no record; `None` if they are damaged, or it is another
/// record.
pub(super) fn read_begun(framed: &[u8]) -> Option<Vec<RecordedOutput>> {
    let (item, body): (Item, _) = postcard::take_from_bytes(payload(framed)?).ok()?;
    match item.kind {
        Kind::Begun { .. } => postcard::from_bytes(body).ok(),
        Kind::Target | Kind::Forgotten | Kind::Waits => None,
    }
}

/// Returns `None` if the checksum is another one.
fn payload(framed: &[u8]) -> Option<&[u8]> {
    let (head, payload) = framed.split_at_checked(FRAME)?;
    (checksum(payload) == head[4..]).then_some(payload)
}

/// `kind` is [`Kind::Target`] or [`Kind::Waits`].
pub(super) fn target(kind: Kind, name: &str, record: &Record) -> Vec<u8> {
    let Record { key, result, outputs, seconds, facts } = record;
    let item = Item { kind, name, seconds: *seconds };
    let (outputs, facts) = (outputs.clone(), facts.clone());
    frame(&item, &Body { result: *result, outputs, facts, key: key.as_bytes() })
}

pub(super) fn forgotten(name: &str) -> Vec<u8> {
    frame(&Item { kind: Kind::Forgotten, name, seconds: 0.0 }, &())
}

pub(super) fn begun(name: &str, outputs: &[RecordedOutput], open: bool) -> Vec<u8> {
    frame(&Item { kind: Kind::Begun { open }, name, seconds: 0.0 }, &outputs)
}

fn frame(item: &Item, body: &impl Serialize) -> Vec<u8> {
    let start = vec![0; FRAME];
    let mut frame =
        postcard::to_extend(&(item, body), start).expect("BUG: memory takes every byte");
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
