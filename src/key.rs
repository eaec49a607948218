//! A target's key: the ordered list of (name, value) components that decide whether it is up to
//! date, and the difference of two keys, which is the reason it is not.
//!
//! What is compared and what is explained are the same list, so they cannot drift apart. Knows
//! nothing of how a component is found out, nor of state files.

use std::fmt;

use crate::base::digest::FieldHasher;
use crate::base::{Digest, RelPath};

/// One fact that a target's output depends on. `name` says what (`file requirements.txt`,
/// `run`, `pip version`); it is unique within a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    pub name: String,
    pub value: Value,
}

impl Component {
    /// The file that this component is the content of; see [`Key::file`].
    pub fn file(&self) -> Option<RelPath> {
        file_of_component(&self.name)
    }
}

/// The file that a component of this name is the content of.
pub fn file_of_component(name: &str) -> Option<RelPath> {
    RelPath::parse(name.strip_prefix(FILE)?).ok()
}

/// What the name of a file's component starts with.
const FILE: &str = "file ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// Content of a file, and whether its owner may execute it.
    File {
        digest: Digest,
        executable: bool,
    },
    /// Something whose text is too long or too secret to keep.
    Digest(Digest),
    Missing,
}

impl fmt::Display for Value {
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    pub components: Vec<Component>,
}

impl Key {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, name: impl Into<String>, value: Value) {
        self.components.push(Component { name: name.into(), value });
    }

    /// What is at a path of the project.
    pub fn file(&mut self, path: &RelPath, value: Value) {
        self.push(format!("{FILE}{path}"), value);
    }

    pub fn text(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.push(name, Value::Text(value.to_string()));
    }

    /// Digest of all components, in order.
    pub fn digest(&self) -> Digest {
        let mut hasher = FieldHasher::new();
        for Component { name, value } in &self.components {
            hasher.field(name);
            match value {
                Value::Text(text) => hasher.field("t").field(text),
                Value::File { digest, executable } => {
                    hasher.field(if *executable { "x" } else { "f" }).field(digest.as_bytes())
                }
                Value::Digest(digest) => hasher.field("d").field(digest.as_bytes()),
                Value::Missing => hasher.field("m"),
            };
        }
        hasher.finish()
    }

    /// What must change in `old` to give `self`, in the order of `self`, then what is gone.
    pub fn differences(&self, old: &Key) -> Vec<Reason> {
        use std::collections::HashMap;
        let mut before: HashMap<&str, &Value> =
            old.components.iter().map(|c| (c.name.as_str(), &c.value)).collect();
        let mut reasons = Vec::new();
        for Component { name, value } in &self.components {
            match before.remove(name.as_str()) {
                Some(old) if old == value => {}
                Some(old) => reasons.push(Reason::Changed {
                    component: name.clone(),
                    old: old.to_string(),
                    new: value.to_string(),
                }),
                None => {
                    reasons.push(Reason::Added { component: name.clone(), new: value.to_string() });
                }
            }
        }
        for Component { name, value } in &old.components {
            if before.contains_key(name.as_str()) {
                reasons.push(Reason::Removed { component: name.clone(), old: value.to_string() });
            }
        }
        if reasons.is_empty() && self != old {
            reasons.push(Reason::Reordered);
        }
        reasons
    }
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
