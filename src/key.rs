//! A target's key: the ordered list of (name, value) components that decide whether it is up to
//! date, and the difference of two keys, which is the reason it is not.
//!
//! What is compared and what is explained are the same list, so they cannot drift apart. Knows
//! nothing of how a component is found out, nor of state files.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;

use crate::base::{Digest, RelPath};

/// One fact that a target's output depends on. `name` says what (`file requirements.txt`,
/// `run`, `pip version`); it is unique within a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component<'a> {
    pub name: &'a str,
    pub value: Value<'a>,
}

/// The path of the file that a component of this name is the content of; see [`Key::file`].
pub fn file_of_component(name: &str) -> Option<&str> {
    name.strip_prefix(FILE)
}

/// What the name of a file's component starts with.
const FILE: &str = "file ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    /// Content of a file, and whether its owner may execute it.
    File {
        digest: Digest,
        executable: bool,
    },
    /// Something whose text is too long or too secret to keep.
    Digest(Digest),
    Missing,
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
        }
    }
}

/// The components lie in one piece of memory, as they are kept from one run to the next: a key
/// may have one for each of many thousand files, and is mostly made, compared and dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
}

const TEXT: u8 = 1;
const FILE_CONTENT: u8 = 2;
const EXECUTABLE_CONTENT: u8 = 3;
const DIGEST: u8 = 4;
const MISSING: u8 = 5;

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    /// With room for the content of so many files.
    pub fn of_files(count: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * USUAL) }
    }

    /// A key from what [`Key::as_bytes`] gave.
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

    /// What is at a path of the project.
    pub fn file(&mut self, path: &RelPath, value: Value) {
        self.add_length(FILE.len() + path.as_str().len());
        self.bytes.extend(FILE.as_bytes());
        self.bytes.extend(path.as_str().as_bytes());
        self.add_value(value);
    }

    fn add_value(&mut self, value: Value) {
        let (tag, digest) = match value {
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

    /// Adds the length of a text, and then the text.
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

    /// The paths of all files that it has the content of.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.components().filter_map(|component| file_of_component(component.name))
    }

    /// Digest of all components, in order.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// What must change in `old` to give `self`, in the order of `self`, then what is gone.
    pub fn differences(&self, old: &Key) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let (mut now, mut before) = (self.components(), old.components());
        // Mostly the names are the same, in the same order.
        let (now, before): (Vec<_>, Vec<_>) = loop {
            match (now.next(), before.next()) {
                (Some(new), Some(old)) if new.name == old.name => {
                    reasons.extend(changed(new, old.value));
                }
                (new, old) => {
                    break (
                        new.into_iter().chain(now).collect(),
                        old.into_iter().chain(before).collect(),
                    );
                }
            }
        };
        let mut left: HashMap<&str, Value> =
            before.iter().map(|component| (component.name, component.value)).collect();
        for new in now {
            match left.remove(new.name) {
                Some(old) => reasons.extend(changed(new, old)),
                None => reasons.push(Reason::Added {
                    component: new.name.to_owned(),
                    new: new.value.to_string(),
                }),
            }
        }
        for Component { name, value } in before {
            if left.contains_key(name) {
                reasons
                    .push(Reason::Removed { component: name.to_owned(), old: value.to_string() });
            }
        }
        if reasons.is_empty() && self != old {
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

fn changed(new: Component, old: Value) -> Option<Reason> {
    (new.value != old).then(|| Reason::Changed {
        component: new.name.to_owned(),
        old: old.to_string(),
        new: new.value.to_string(),
    })
}

/// Bytes of the content of a file and its name, more or less.
const USUAL: usize = 100;

/// Bytes of a length.
const LENGTH: usize = 4;

fn encoded(length: usize) -> [u8; LENGTH] {
    u32::try_from(length).expect("BUG: it is less than 4 GiB").to_le_bytes()
}

/// Takes the next component off `rest`; `None` at the end, and at what makes no sense.
fn component<'a>(rest: &mut &'a [u8]) -> Option<Component<'a>> {
    let name = text(rest)?;
    let value = match take(rest, 1)?[0] {
        TEXT => Value::Text(text(rest)?),
        FILE_CONTENT => Value::File { digest: digest(rest)?, executable: false },
        EXECUTABLE_CONTENT => Value::File { digest: digest(rest)?, executable: true },
        DIGEST => Value::Digest(digest(rest)?),
        MISSING => Value::Missing,
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
    /// `phony`, or a kind that is always done when asked for.
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
    /// An output is not what the target left there.
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
    /// In a dry run: whether it runs depends on what this target will give.
    MayChange {
        target: String,
    },
}

impl Reason {
    /// The name of the component that differs, for the reasons that are about one.
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
            Self::MayChange { target } => write!(f, "`{target}` runs first"),
        }
    }
}
