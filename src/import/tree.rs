//! The content of a folder as recipes fill it, step by step. A Buildfile has no order: `exclude` applies
//! to all of a staging. So if a step puts files where an earlier one removed some, the tree before it
//! becomes a staging of its own.

use std::path::Path;

use walkdir::WalkDir;

use super::deed::Pip;
use super::pattern;

#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A folder of wheels.
    Wheels(String),
    Pip(Pip),
    Source(Source),
    /// A tree that is made first, and its place.
    Tree(Box<Tree>, String),
}

/// Own files: a glob, and a place in the tree as in a Buildfile.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) from: String,
    pub(super) to: Option<String>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Files that a pattern matches.
    Pattern,
    /// Files and folders that a pattern matches.
    Deep,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) parts: Vec<Part>,
    pub(super) exclude: Vec<String>,
}

impl Source {
    pub(super) fn part(from: String, to: Option<&str>, kind: Kind) -> Part {
        Part::Source(Self { from, to: to.map(str::to_owned), kind })
    }

    /// The glob in a Buildfile.
    pub(super) fn glob(&self) -> String {
        let (folder, name) = match self.from.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (String::new(), self.from.as_str()),
        };
        match self.kind {
            Kind::Deep => format!("{folder}{{{name},{name}/**}}"),
            _ => self.from.clone(),
        }
    }

    /// The leading parts of `from` without wildcards.
    fn base(&self) -> String {
        let parts = self.from.split('/').map_while(pattern::plain);
        parts.collect::<Vec<_>>().join("/")
    }

    /// The glob of its paths in the tree, in parts.
    fn shape(&self) -> Vec<String> {
        let base = self.base();
        let name = base.rsplit('/').next().unwrap_or_default();
        let place = match (&self.to, self.kind) {
            (None, _) => base.clone(),
            (Some(to), Kind::File) if to == "." => name.to_owned(),
            (Some(to), Kind::File) if to.ends_with('/') => format!("{to}{name}"),
            (Some(to), _) if to == "." => String::new(),
            (Some(to), _) => to.trim_end_matches('/').to_owned(),
        };
        let mut parts: Vec<String> =
            place.split('/').filter(|part| !part.is_empty()).map(pattern::literal).collect();
        match self.kind {
            Kind::File => {}
            Kind::Folder => parts.push("**".into()),
            Kind::Pattern | Kind::Deep => {
                let depth = base.split('/').filter(|part| !part.is_empty()).count();
                parts.extend(self.from.split('/').skip(depth).map(str::to_owned));
                parts.extend((self.kind == Kind::Deep).then(|| "**".to_owned()));
            }
        }
        parts
    }

    /// Whether it has a file at this path of the tree now.
    fn holds(&self, path: &str, root: &Path) -> bool {
        let shape = self.shape();
        let parts: Vec<&str> = path.split('/').collect();
        let depth = shape.iter().take_while(|part| pattern::plain(part).is_some()).count();
        let begins = parts.len() >= depth
            && parts.iter().zip(&shape[..depth]).all(|(name, part)| pattern::matches(part, name));
        match self.kind {
            Kind::File => begins && parts.len() == depth,
            _ => begins && root.join(self.base()).join(parts[depth..].join("/")).is_file(),
        }
    }

    /// Whether wheels alone have such files: the source has none now, and needs none.
    fn lacks(&self, glob: &str, root: &Path) -> bool {
        let name = glob.trim_end_matches("/**").rsplit('/').next().unwrap_or(glob);
        // Clutter of a working copy is left out of sources.
        if name.contains("__pycache__") || name.ends_with("*.pyc") || name.ends_with("*.py[co]") {
            return true;
        }
        let is_of_wheels = |name: &str| name.ends_with(".dist-info") || name.ends_with(".egg-info");
        let mut entries = WalkDir::new(root.join(self.base())).into_iter().flatten();
        is_of_wheels(name)
            && !entries.any(|entry| is_of_wheels(&entry.file_name().to_string_lossy()))
    }
}

impl Part {
    /// Whether it may have files that a glob matches.
    fn may_have(&self, glob: &str, root: &Path) -> bool {
        let glob_parts: Vec<&str> = glob.split('/').collect();
        match self {
            Self::Wheels(_) | Self::Pip(_) => true,
            Self::Source(source) => {
                let shape = source.shape();
                let shape: Vec<&str> = shape.iter().map(String::as_str).collect();
                meet(&glob_parts, &shape) && !source.lacks(glob, root)
            }
            Self::Tree(_, to) if to == "." => true,
            Self::Tree(_, to) => {
                let place = pattern::literal(to.trim_end_matches('/'));
                let shape: Vec<&str> = place.split('/').chain(["**"]).collect();
                meet(&glob_parts, &shape)
            }
        }
    }

    fn holds(&self, path: &str, root: &Path) -> bool {
        match self {
            Self::Wheels(_) | Self::Pip(_) => false,
            Self::Source(source) => source.holds(path, root),
            Self::Tree(tree, to) => {
                let below = if to == "." { Some(path) } else { path.strip_prefix(to.as_str()) };
                below.is_some_and(|path| {
                    !tree.exclude.contains(&pattern::literal(path))
                        && tree.parts.iter().any(|part| part.holds(path, root))
                })
            }
        }
    }
}

impl Tree {
    pub(super) fn of(part: Part) -> Self {
        Self { parts: vec![part], exclude: Vec::new() }
    }

    /// Puts files over those that are there.
    pub(super) fn add(&mut self, part: Part, root: &Path) {
        if let Part::Source(source) = &part
            && source.kind == Kind::File
        {
            let glob = source.shape().join("/");
            let path = pattern::plain(&glob).unwrap_or_default();
            let is_same = |other: &Part| match other {
                Part::Source(other) => other.kind == Kind::File && other.holds(&path, root),
                _ => false,
            };
            self.parts.retain(|other| !is_same(other));
            if self.parts.iter().any(|other| other.holds(&path, root)) {
                self.exclude.push(glob);
            }
        }
        if self.exclude.iter().any(|glob| part.may_have(glob, root)) {
            *self = std::mem::take(self).frozen();
        }
        self.parts.push(part);
    }

    /// Adds another tree, whose `exclude` applies to its own files only.
    pub(super) fn merge(&mut self, mut other: Self, root: &Path) {
        if self.parts.is_empty() {
            *self = other;
            return;
        }
        let hits = |globs: &[String], parts: &[Part]| {
            globs.iter().any(|glob| parts.iter().any(|part| part.may_have(glob, root)))
        };
        if hits(&other.exclude, &self.parts) {
            other = other.frozen();
        }
        for part in other.parts {
            self.add(part, root);
        }
        self.exclude.extend(other.exclude);
    }

    /// Removes what a glob matches; `None` if it is of files alone and may match folders.
    pub(super) fn remove(&mut self, glob: String, is_recursive: bool) -> Option<()> {
        let is_exact =
            is_recursive || pattern::plain(&glob).is_some() || pattern::is_file_name(&glob);
        if !self.parts.is_empty() {
            is_exact.then_some(())?;
            self.exclude.push(glob);
        }
        Some(())
    }

    /// A tree with this one as its only part.
    fn frozen(self) -> Self {
        Self::of(Part::Tree(Box::new(self), ".".into()))
    }
}

/// Whether a path of the second pattern may be matched by the first, or be below one that is.
fn meet(glob: &[&str], paths: &[&str]) -> bool {
    match (glob, paths) {
        ([], _) => true,
        (["**", rest @ ..], [_, below @ ..]) => meet(rest, paths) || meet(glob, below),
        (_, ["**", below @ ..]) => meet(glob, below) || meet(&glob[1..], paths),
        (_, []) => false,
        ([a, rest @ ..], [b, below @ ..]) => pattern::may_meet(a, b) && meet(rest, below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_and_paths_that_may_meet_are_found() {
        for (glob, paths, expected) in [
            ("app", "app/**", true),
            ("bin", "**", true),
            ("bin", "app/**", false),
            ("**/tests", "app/**", true),
            ("**/tests/**", "[!.]*.py", false),
            ("[!.]*.dist-info", "app.py", false),
            ("app/tests", "app/tests/**", true),
            ("app/tests/x.py", "app/*", false),
            (".*", "**", true),
        ] {
            let parts = |text: &'static str| text.split('/').collect::<Vec<_>>();
            assert_eq!(meet(&parts(glob), &parts(paths)), expected, "{glob} {paths}");
        }
    }
}
