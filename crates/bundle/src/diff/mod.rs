//! Explains the differences of two bundles, wheels or folders, member by member. Reads any zip of
//! any program. Knows nothing of targets, or of how either was made.

mod archive;
mod content;
mod tree;
#[cfg(test)]
mod tests;
mod wording;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

pub use content::Content;
pub use wording::lines;

use tree::{Member, Tree};

/// Archives inside archives are opened down to here; deeper ones are compared as bytes.
const DEPTH_MAX: usize = 1;

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Identical,
    /// The same names, modes and contents; times, order, compression or metadata differ.
    SameFiles,
    Differs,
}

impl Verdict {
    /// Returns the word used in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::SameFiles => "same-files",
            Self::Differs => "differs",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The member's path; empty for differences of the whole.
    pub path: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    OnlyIn(Side),
    /// A file on one side, a folder or link on the other.
    Kind(String, String),
    Content(Content),
    Mode(u32, u32),
    Time(String, String),
    Order(String, String),
    Compression(String, String),
    Metadata {
        field: &'static str,
        a: String,
        b: String,
    },
}

impl What {
    /// Returns the word used in `--json`.
    fn word(&self) -> &'static str {
        match self {
            Self::OnlyIn(_) => "only-in",
            Self::Kind(..) => "kind",
            Self::Content(_) => "content",
            Self::Mode(..) => "mode",
            Self::Time(..) => "time",
            Self::Order(..) => "order",
            Self::Compression(..) => "compression",
            Self::Metadata { .. } => "metadata",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub verdict: Verdict,
    /// Sorted by path, differences of the whole first.
    pub changes: Vec<Change>,
}

/// Compares two paths: zips, wheels, folders, or any other two files.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
    let (a, b) = (Tree::open(a)?, Tree::open(b)?);
    if a.has_bytes_of(&b) {
        return Ok(Comparison { verdict: Verdict::Identical, changes: Vec::new() });
    }
    let mut comparison = compare_trees(&a, &b, 0)?;
    if comparison.changes.is_empty() && comparison.verdict != Verdict::Identical {
        let what = What::Metadata {
            field: "bytes that belong to no member",
            a: "some".into(),
            b: "others".into(),
        };
        comparison.changes.push(Change { path: String::new(), what });
    }
    Ok(comparison)
}

/// Compares two archives in memory, to the given depth. Returns `None` if one is not an archive.
fn compare_nested(a: &[u8], b: &[u8], depth: usize) -> Option<Comparison> {
    if depth >= DEPTH_MAX {
        return None;
    }
    let (a, b) = (Tree::of_zip(a.to_vec()).ok()?, Tree::of_zip(b.to_vec()).ok()?);
    compare_trees(&a, &b, depth + 1).ok()
}

fn compare_trees(a: &Tree, b: &Tree, depth: usize) -> Result<Comparison> {
    let mut changes = Vec::new();
    let mut both = Vec::new();
    for (name, member) in &a.members {
        match b.members.get(name) {
            Some(other) => both.push((name, member, other)),
            None => changes.push(Change { path: name.clone(), what: What::OnlyIn(Side::A) }),
        }
    }
    let only_b = b.members.keys().filter(|name| !a.members.contains_key(*name));
    changes.extend(only_b.map(|name| Change { path: name.clone(), what: What::OnlyIn(Side::B) }));
    for (name, member, other) in &both {
        let found = compare_members((a, member), (b, other), depth)?;
        changes.extend(found.into_iter().map(|what| Change { path: (*name).clone(), what }));
    }
    changes.extend(order(&both));
    for (field, of_a, of_b) in tree::whole(a, b) {
        let what = What::Metadata { field, a: of_a, b: of_b };
        changes.push(Change { path: String::new(), what });
    }
    changes.sort_by(|x, y| x.path.cmp(&y.path));
    let verdict = if changes.iter().any(|change| !change.is_of_container()) {
        Verdict::Differs
    } else if changes.is_empty() && a.is_folder() && b.is_folder() {
        Verdict::Identical
    } else {
        Verdict::SameFiles
    };
    Ok(Comparison { verdict, changes })
}

fn compare_members(
    (tree_a, a): (&Tree, &Member),
    (tree_b, b): (&Tree, &Member),
    depth: usize,
) -> Result<Vec<What>> {
    if a.kind != b.kind {
        return Ok(vec![What::Kind(a.kind.word().into(), b.kind.word().into())]);
    }
    let mut found = Vec::new();
    if !tree_a.has_data_of(a, tree_b, b) {
        let (content_a, content_b) = (tree_a.content(a)?, tree_b.content(b)?);
        if content_a != content_b {
            found.push(What::Content(content::explain(&content_a, &content_b, depth)));
        }
    }
    if let (Some(of_a), Some(of_b)) = (a.mode, b.mode)
        && of_a != of_b
    {
        found.push(What::Mode(of_a, of_b));
    }
    // Times in zips have no zone, so they cannot be compared with those of a folder.
    if let (Some(of_a), Some(of_b)) = (&a.time, &b.time)
        && of_a != of_b
        && a.packing().is_some() == b.packing().is_some()
    {
        found.push(What::Time(of_a.clone(), of_b.clone()));
    }
    if let (Some(of_a), Some(of_b)) = (a.packing(), b.packing()) {
        let same_content = !found.iter().any(|what| matches!(what, What::Content(_)));
        let (method_a, method_b) = (of_a.split(',').next(), of_b.split(',').next());
        if method_a != method_b || (same_content && !tree_a.has_data_of(a, tree_b, b)) {
            found.push(What::Compression(of_a, of_b));
        }
    }
    for ((field, of_a), (_, of_b)) in a.metadata.iter().zip(&b.metadata) {
        if of_a != of_b {
            found.push(What::Metadata { field, a: of_a.clone(), b: of_b.clone() });
        }
    }
    Ok(found)
}

/// Returns the first position at which the common members are in another order.
fn order(both: &[(&String, &Member, &Member)]) -> Option<Change> {
    if both.iter().any(|(_, a, b)| a.packing().is_none() || b.packing().is_none()) {
        return None;
    }
    let sorted = |position: &dyn Fn(&Member, &Member) -> usize| {
        let mut names: Vec<_> = both.iter().map(|(name, a, b)| (position(a, b), *name)).collect();
        names.sort();
        names
    };
    let (of_a, of_b) = (sorted(&|a, _| a.position), sorted(&|_, b| b.position));
    let (a, b) = of_a.iter().zip(&of_b).find(|(a, b)| a.1 != b.1)?;
    let what = What::Order(a.1.clone(), b.1.clone());
    Some(Change { path: String::new(), what })
}

impl Comparison {
    /// Returns the object that `--json` prints (docs/JSON.md).
    pub fn to_json(&self) -> Value {
        let changes: Vec<Value> = self.changes.iter().map(Change::to_json).collect();
        json!({ "verdict": self.verdict.word(), "changes": changes })
    }
}

impl Change {
    /// Returns whether the difference concerns the container alone, so that readers of the files do not
    /// notice it. A folder exists without an entry of its own.
    pub fn is_of_container(&self) -> bool {
        match self.what {
            What::Time(..) | What::Order(..) | What::Compression(..) | What::Metadata { .. } => {
                true
            }
            What::OnlyIn(_) => self.path.ends_with('/'),
            What::Kind(..) | What::Content(_) | What::Mode(..) => false,
        }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "path": self.path,
            "what": self.what.word(),
            "container": self.is_of_container(),
        });
        let (a, b): (Value, Value) = match &self.what {
            What::OnlyIn(side) => {
                value["side"] = if *side == Side::A { "a" } else { "b" }.into();
                return value;
            }
            What::Content(content) => {
                value["content"] = content.to_json();
                return value;
            }
            What::Mode(a, b) => (format!("{a:o}").into(), format!("{b:o}").into()),
            What::Kind(a, b) | What::Time(a, b) | What::Order(a, b) | What::Compression(a, b) => {
                (a.as_str().into(), b.as_str().into())
            }
            What::Metadata { field, a, b } => {
                value["field"] = (*field).into();
                (a.as_str().into(), b.as_str().into())
            }
        };
        value["a"] = a;
        value["b"] = b;
        value
    }
}
