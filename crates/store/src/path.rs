//! Paths inside a project: relative to its root, UTF-8, `/` between parts, no `.` or `..`.
//! The only place that normalises a path. It never touches the disk.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A normalised path relative to the project's root. The root itself is `"."`. Clones share the text,
/// because a build has the path of one file in half a dozen lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<str>);

/// The reason why a text is not a [`RelPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    Empty,
    Absolute,
    /// `..` climbs above the project's root.
    LeavesProject,
    /// A NUL or another control character.
    ControlCharacter,
}

impl RelPath {
    /// Normalises `text`: `./a//b/../c` becomes `a/c`.
    pub fn parse(text: &str) -> Result<Self, PathProblem> {
        if text.is_empty() {
            return Err(PathProblem::Empty);
        }
        if text.starts_with('/') {
            return Err(PathProblem::Absolute);
        }
        if has_control_character(text) {
            return Err(PathProblem::ControlCharacter);
        }
        if is_normal(text) {
            return Ok(Self(text.into()));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or(PathProblem::LeavesProject)?;
                }
                part => parts.push(part),
            }
        }
        Ok(if parts.is_empty() { Self::root() } else { Self(parts.join("/").into()) })
    }

    pub fn root() -> Self {
        static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| ".".into());
        Self(Arc::clone(&ROOT))
    }

    pub fn is_root(&self) -> bool {
        &*self.0 == "."
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `self/below`, where `below` is relative too.
    pub fn join(&self, below: &RelPath) -> Self {
        if self.is_root() {
            below.clone()
        } else if below.is_root() {
            self.clone()
        } else {
            joined(&self.0, &below.0)
        }
    }

    /// Returns the member `name` of this folder. `None` if `name` is not a file name, or has a control
    /// character.
    pub fn member(&self, name: &str) -> Option<Self> {
        let is_name = !matches!(name, "" | "." | "..") && !name.contains('/');
        if !is_name || has_control_character(name) {
            return None;
        }
        Some(if self.is_root() { Self(name.into()) } else { joined(&self.0, name) })
    }

    /// Returns whether this is `folder` itself or is below it.
    pub fn is_within(&self, folder: &RelPath) -> bool {
        folder.is_root()
            || self
                .0
                .strip_prefix(&*folder.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the path below `folder`, or `None` if it is not inside. `folder` itself gives `"."`.
    pub fn below(&self, folder: &RelPath) -> Option<Self> {
        if folder.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*folder.0)? {
            "" => Some(Self::root()),
            rest => rest.strip_prefix('/').map(|rest| Self(rest.into())),
        }
    }

    /// Returns the folder that holds this path; the root for a path of one part.
    pub fn parent(&self) -> Self {
        self.0.rsplit_once('/').map_or_else(Self::root, |(parent, _)| Self(parent.into()))
    }

    /// Returns the folders above it, the nearest first, without the root.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let text = self.as_str();
        text.rmatch_indices('/').map(move |(end, _)| &text[..end])
    }

    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Returns the absolute path, given the project's root.
    pub fn under(&self, root: &Path) -> PathBuf {
        if self.is_root() { root.to_path_buf() } else { root.join(&*self.0) }
    }

    /// Returns `path` relative to `root`. `None` if it is not inside or is not UTF-8.
    pub fn relative_to(path: &Path, root: &Path) -> Option<Self> {
        Self::parse(path.strip_prefix(root).ok()?.to_str()?).ok().or_else(|| Some(Self::root()))
    }
}

/// Joins two paths in one allocation: there may be hundreds of thousands.
fn joined(folder: &str, below: &str) -> RelPath {
    thread_local! {
        static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    }
    TEXT.with_borrow_mut(|text| {
        text.clear();
        text.extend([folder, "/", below]);
        RelPath(text.as_str().into())
    })
}

/// Returns whether a path certainly has no empty part, `.` and `..`. Most have none, and no part that
/// begins with a dot.
fn is_normal(text: &str) -> bool {
    let starts = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    !text.starts_with('.') && !text.ends_with('/') && !text.as_bytes().windows(2).any(starts)
}

fn has_control_character(text: &str) -> bool {
    if text.is_ascii() {
        // All bytes at once, because stopping at the first match is slower.
        return text.bytes().fold(false, |found, byte| found | byte.is_ascii_control());
    }
    text.chars().any(char::is_control)
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Fails if the text is not a normalised path inside the project.
impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(RelPathVisitor)
    }
}

struct RelPathVisitor;

impl Visitor<'_> for RelPathVisitor {
    type Value = RelPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path inside the project")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RelPath, E> {
        let path = RelPath::parse(text).ok().filter(|path| path.as_str() == text);
        path.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl AsRef<str> for RelPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn paths_are_normalised() {
        for (text, expected) in
            [("a", "a"), ("./a//b/", "a/b"), ("a/../b", "b"), (".", "."), ("a/..", ".")]
        {
            assert_eq!(path(text).as_str(), expected, "{text}");
        }
    }

    #[test]
    fn paths_that_leave_the_project_are_refused() {
        assert_eq!(RelPath::parse("../a"), Err(PathProblem::LeavesProject));
        assert_eq!(RelPath::parse("a/../../b"), Err(PathProblem::LeavesProject));
        assert_eq!(RelPath::parse("/etc"), Err(PathProblem::Absolute));
        assert_eq!(RelPath::parse(""), Err(PathProblem::Empty));
        assert_eq!(RelPath::parse("a\0b"), Err(PathProblem::ControlCharacter));
    }

    #[test]
    fn folders_come_from_the_nearest_to_the_outermost() {
        assert_eq!(path("a/b/c").folders().collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(path("a").folders().next(), None);
        assert_eq!(RelPath::root().folders().next(), None);
    }

    #[test]
    fn within_and_below_go_by_whole_parts() {
        assert!(path("build/x").is_within(&path("build")));
        assert!(!path("builds/x").is_within(&path("build")));
        assert_eq!(path("build/x/y").below(&path("build")), Some(path("x/y")));
        assert_eq!(path("build").below(&path("build")), Some(RelPath::root()));
        assert_eq!(path("builds").below(&path("build")), None);
    }
}
