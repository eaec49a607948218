//! A target's fingerprint: the ordered list of (name, value) components that decide whether it is up
//! to date, and the difference of two fingerprints, which is the reason it is out of date.
//!
//! The compared list and the explained list are the same, so they cannot drift apart. Knows neither
//! how components are found nor how they are stored.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;

use zipwright_store::digest::FieldHasher;
use zipwright_store::{Digest, RelPath};

/// One input of a target's output. `name` identifies it (`file requirements.txt`, `run`, `pip
/// version`) and is unique within a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component<'a> {
    pub name: &'a str,
    pub value: Value<'a>,
}

/// Returns the path if a component of this name holds the content of a file; see [`Key::file`].
pub fn file_of_component(name: &str) -> Option<&str> {
    name.strip_prefix(FILE)
}

/// Prefix of the names of components that hold the content of a file.
const FILE: &str = "file ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    /// Content of a file, and whether its owner may execute it.
    File {
        digest: Digest,
        executable: bool,
    },
    /// Stands for a text that is too long or too secret to store.
    Digest(Digest),
    Missing,
    /// A component with these values of the command line, which may be passwords. It is equal to the
    /// component that it was made from.
    Concealed {
        values: &'a str,
        name: Digest,
        value: Digest,
    },
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.chars().count() > 200 => {
                write!(f, "{}…", text.chars().take(200).collect::<String>())
            }
            Self::Text(text) => f.write_str(text),
            Self::File { digest, executable: false } => write!(f, "{digest:.12}"),
            Self::File { digest, executable: true } => write!(f, "{digest:.12} executable"),
            Self::Digest(digest) => write!(f, "{digest:.12}"),
            Self::Missing => f.write_str("missing"),
            Self::Concealed { values, value, .. } => write!(f, "{value:.12} with {values}"),
        }
    }
}

impl Component<'_> {
    fn name_id(&self) -> Digest {
        match self.value {
            Value::Concealed { name, .. } => name,
            _ => Digest::of(self.name.as_bytes()),
        }
    }

    fn value_id(&self) -> Digest {
        match self.value {
            Value::Concealed { value, .. } => value,
            value => {
                let mut key = Key::new();
                key.add_value(value);
                Digest::of(&key.bytes)
            }
        }
    }

    fn is_concealed(&self) -> bool {
        matches!(self.value, Value::Concealed { .. })
    }

    fn has_name_of(&self, other: &Self) -> bool {
        match self.is_concealed() || other.is_concealed() {
            true => self.name_id() == other.name_id(),
            false => self.name == other.name,
        }
    }

    fn has_value_of(&self, other: &Self) -> bool {
        match self.is_concealed() || other.is_concealed() {
            true => self.value_id() == other.value_id(),
            false => self.value == other.value,
        }
    }
}

/// All components share one allocation, in the form in which they are stored: a key may have one for
/// each of many thousand files, and most keys are made, compared and dropped.
#[derive(Clone, Default)]
pub struct Key {
    bytes: Vec<u8>,
}

/// Concealed components are equal to those that they were made from.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes || self.differences(other).is_empty()
    }
}

impl Eq for Key {}

const TEXT: u8 = 1;
const FILE_CONTENT: u8 = 2;
const EXECUTABLE_CONTENT: u8 = 3;
const DIGEST: u8 = 4;
const MISSING: u8 = 5;
const CONCEALED: u8 = 6;

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an empty key with room for the content of `count` files.
    pub fn of_files(count: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * USUAL) }
    }

    /// Reads the bytes of [`Key::as_bytes`].
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn push(&mut self, name: impl fmt::Display, value: Value) {
        self.add_text(name);
        self.add_value(value);
    }

    /// Adds the content of a path of the project.
    pub fn file(&mut self, path: &RelPath, value: Value) {
        self.add_length(FILE.len() + path.as_str().len());
        self.bytes.extend(FILE.as_bytes());
        self.bytes.extend(path.as_str().as_bytes());
        self.add_value(value);
    }

    /// Adds a component without its value, and under another name: it has these values of the command
    /// line.
    pub fn conceal(&mut self, component: Component, shown: &str, values: &str) {
        let (name, value) = (component.name_id(), component.value_id());
        self.push(shown, Value::Concealed { values, name, value });
    }

    fn add_value(&mut self, value: Value) {
        let (tag, digest) = match value {
            Value::Concealed { values, name, value } => {
                self.bytes.push(CONCEALED);
                self.add_text(values);
                self.bytes.extend(name.as_bytes());
                return self.bytes.extend(value.as_bytes());
            }
            Value::Text(text) => {
                self.bytes.push(TEXT);
                return self.add_text(text);
            }
            Value::File { digest, executable: false } => (FILE_CONTENT, Some(digest)),
            Value::File { digest, executable: true } => (EXECUTABLE_CONTENT, Some(digest)),
            Value::Digest(digest) => (DIGEST, Some(digest)),
            Value::Missing => (MISSING, None),
        };
        self.bytes.push(tag);
        if let Some(digest) = digest {
            self.bytes.extend(digest.as_bytes());
        }
    }

    pub fn text(&mut self, name: impl fmt::Display, value: impl fmt::Display) {
        self.add_text(name);
        self.bytes.push(TEXT);
        self.add_text(value);
    }

    /// Adds the length of a text, then the text.
    fn add_text(&mut self, text: impl fmt::Display) {
        let start = self.bytes.len() + LENGTH;
        self.bytes.extend([0; LENGTH]);
        write!(self.bytes, "{text}").expect("BUG: memory takes every byte");
        let length = self.bytes.len() - start;
        self.bytes[start - LENGTH..start].copy_from_slice(&encoded(length));
    }

    fn add_length(&mut self, length: usize) {
        self.bytes.extend(encoded(length));
    }

    pub fn components(&self) -> impl Iterator<Item = Component<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || component(&mut rest))
    }

    /// Returns the paths of all files whose content is a component.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.components().filter_map(|component| file_of_component(component.name))
    }

    /// Returns the digest of all components, in order, whether they are concealed or not.
    pub fn digest(&self) -> Digest {
        let mut hasher = FieldHasher::new();
        for component in self.components() {
            let (name, value) = (component.name_id(), component.value_id());
            hasher.field(name.as_bytes()).field(value.as_bytes());
        }
        hasher.finish()
    }

    /// Returns the changes from `old` to `self`: changed and added components in the order of `self`,
    /// then removed ones.
    pub fn differences(&self, old: &Key) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (mut now, mut before) = (self.components(), old.components());
        // Usually the names are the same, in the same order.
        let (now, before): (Vec<_>, Vec<_>) = loop {
            match (now.next(), before.next()) {
                (Some(new), Some(old)) if new.has_name_of(&old) => {
                    reasons.extend(changed(new, old));
                }
                (None, None) => return reasons,
                (new, old) => {
                    break (
                        new.into_iter().chain(now).collect(),
                        old.into_iter().chain(before).collect(),
                    );
                }
            }
        };
        let mut left: HashMap<Digest, Component> =
            before.iter().map(|component| (component.name_id(), *component)).collect();
        for new in now {
            match left.remove(&new.name_id()) {
                Some(old) => reasons.extend(changed(new, old)),
                None => reasons.push(Reason::Added {
                    component: new.name.to_owned(),
                    new: new.value.to_string(),
                }),
            }
        }
        for Component { name, value } in
            before.into_iter().filter(|component| left.contains_key(&component.name_id()))
        {
            reasons.push(Reason::Removed { component: name.to_owned(), old: value.to_string() });
        }
        if reasons.is_empty() {
            reasons.push(Reason::Reordered);
        }
        reasons
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.components()).finish()
    }
}

fn changed(new: Component, old: Component) -> Option<Reason> {
    (!new.has_value_of(&old)).then(|| Reason::Changed {
        component: new.name.to_owned(),
        old: old.value.to_string(),
        new: new.value.to_string(),
    })
}

/// Approximate bytes of the component of a file.
const USUAL: usize = 100;

/// Bytes of a stored length.
const LENGTH: usize = 4;

fn encoded(length: usize) -> [u8; LENGTH] {
    u32::try_from(length).expect("BUG: it is less than 4 GiB").to_le_bytes()
}

/// Takes the next component off `rest`. Returns `None` at the end and if the bytes are invalid.
fn component<'a>(rest: &mut &'a [u8]) -> Option<Component<'a>> {
    let name = text(rest)?;
    let value = match take(rest, 1)?[0] {
        TEXT => Value::Text(text(rest)?),
        FILE_CONTENT => Value::File { digest: digest(rest)?, executable: false },
        EXECUTABLE_CONTENT => Value::File { digest: digest(rest)?, executable: true },
        DIGEST => Value::Digest(digest(rest)?),
        MISSING => Value::Missing,
        CONCEALED => {
            Value::Concealed { values: text(rest)?, name: digest(rest)?, value: digest(rest)? }
        }
        _ => return None,
    };
    Some(Component { name, value })
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::from_le_bytes(take(rest, LENGTH)?.try_into().ok()?);
    std::str::from_utf8(take(rest, usize::try_from(length).ok()?)?).ok()
}

fn digest(rest: &mut &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(take(rest, 32)?.try_into().ok()?))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// Why a target runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    NeverBuilt,
    /// Its run succeeded, and its wait was interrupted; only the wait is repeated.
    WaitInterrupted,
    /// `phony`, or a kind that always runs when it is a goal.
    AlwaysRuns,
    /// `-B`.
    Forced,
    /// `-W` of a file it depends on.
    WhatIf {
        path: String,
    },
    OutputMissing {
        path: String,
    },
    /// An output is not as the target left it.
    OutputChanged {
        path: String,
    },
    Changed {
        component: String,
        old: String,
        new: String,
    },
    Added {
        component: String,
        new: String,
    },
    Removed {
        component: String,
        old: String,
    },
    /// The same components in another order.
    Reordered,
    /// A service that is not running.
    NotRunning,
    /// In a dry run: whether it runs depends on the result of this target.
    MayChange {
        target: String,
    },
}

impl Reason {
    /// Returns the name of the differing component, if the reason is about one.
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::Changed { component, .. }
            | Self::Added { component, .. }
            | Self::Removed { component, .. } => Some(component),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBuilt => f.write_str("not built before"),
            Self::WaitInterrupted => f.write_str("its run succeeded, and its wait was interrupted"),
            Self::AlwaysRuns => f.write_str("always runs"),
            Self::Forced => f.write_str("forced by -B"),
            Self::WhatIf { path } => write!(f, "file {path}: as if it had changed (-W)"),
            Self::OutputMissing { path } => write!(f, "output `{path}` is missing"),
            Self::OutputChanged { path } => {
                write!(f, "output `{path}` is not what was left there")
            }
            Self::Changed { component, old, new } => write!(f, "{component}: {old} -> {new}"),
            Self::Added { component, new } => write!(f, "{component}: new, {new}"),
            Self::Removed { component, old } => write!(f, "{component}: gone, was {old}"),
            Self::Reordered => f.write_str("the order of its inputs changed"),
            Self::NotRunning => f.write_str("not running"),
            Self::MayChange { target } => write!(f, "`{target}` runs first"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a key with these texts, with those of the positions in `concealed` concealed.
    fn key(texts: &[(&str, &str)], concealed: &[usize]) -> Key {
        let mut key = Key::new();
        for (at, (name, text)) in texts.iter().enumerate() {
            let component = Component { name, value: Value::Text(text) };
            match concealed.contains(&at) {
                true => key.conceal(component, "{A}", "{A}"),
                false => key.push(name, component.value),
            }
        }
        key
    }

    #[test]
    fn concealed_components_are_equal_to_those_that_they_were_made_from() {
        let texts = [("run", "a"), ("env X", "b"), ("output o", "c")];
        let plain = key(&texts, &[]);
        for concealed in [&[0][..], &[1], &[0, 2], &[0, 1, 2]] {
            let concealed = key(&texts, concealed);
            assert_eq!((&concealed, concealed.digest()), (&plain, plain.digest()));
            assert_eq!(plain.differences(&concealed), []);
        }
        let other = key(&[("run", "x"), ("env X", "b"), ("output o", "c")], &[0, 1]);
        let reasons: Vec<String> =
            other.differences(&plain).iter().map(Reason::to_string).collect();
        assert!(matches!(&reasons[..], [one] if one.ends_with(" with {A}")), "{reasons:?}");
        assert_ne!(other.digest(), plain.digest());
        // A component more, before the others.
        let more = key(&[("new", "n"), texts[0], texts[1], texts[2]], &[1, 3]);
        assert_eq!(
            more.differences(&plain),
            [Reason::Added { component: "new".into(), new: "n".into() }]
        );
        let turned = key(&[texts[1], texts[0], texts[2]], &[0]);
        assert_eq!(turned.differences(&plain), [Reason::Reordered]);
    }
}
