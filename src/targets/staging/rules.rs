//! Globs over the paths inside a tree.

use std::path::Path;

use anyhow::{Context, Result};
use globset::GlobSet;

use crate::base::RelPath;
use crate::glob::Glob;

/// Some globs. A path matches if one of them matches it or a folder that contains it.
pub(super) struct Rules(Vec<Rule>);

enum Rule {
    Path(RelPath),
    Pattern(GlobSet),
}

impl Rules {
    pub(super) fn new<'a>(globs: impl IntoIterator<Item = &'a Glob>) -> Result<Self> {
        let rule = |glob: &Glob| {
            Ok(if glob.has_wildcard() {
                Rule::Pattern(
                    glob.matcher().with_context(|| format!("`{}` is too large", glob.pattern()))?,
                )
            } else {
                Rule::Path(glob.base.clone())
            })
        };
        Ok(Self(globs.into_iter().map(rule).collect::<Result<_>>()?))
    }

    pub(super) fn cover(&self, path: &RelPath) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::Path(covered) => path.is_within(covered),
            Rule::Pattern(matcher) => {
                let text = path.as_str();
                matcher.is_match(text)
                    || text.match_indices('/').any(|(at, _)| matcher.is_match(&text[..at]))
            }
        })
    }

    /// Like [`Self::cover`], for a path whose name does not fit a [`RelPath`].
    pub(super) fn cover_unnamed(&self, path: &Path) -> bool {
        self.0.iter().any(|rule| match rule {
            Rule::Path(covered) => covered.is_root() || path.starts_with(covered.as_str()),
            Rule::Pattern(matcher) => path.ancestors().any(|above| matcher.is_match(above)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_a_path_or_a_folder_above_it() {
        let covers = |pattern: &str, path: &str| {
            let glob = Glob::parse(pattern).unwrap();
            Rules::new([&glob]).unwrap().cover(&RelPath::parse(path).unwrap())
        };
        assert!(covers("**/tests/**", "pkg/tests/a.py"));
        assert!(covers("**/tests/**", "tests/deep/a.py"));
        assert!(covers("**/tests", "pkg/tests/deep/a.py"));
        assert!(covers("pkg", "pkg/a.py"));
        assert!(!covers("pkg", "pkgs/a.py"));
        assert!(!covers("*.py", "pkg/a.py"));
        assert!(!covers("**/tests/**", "pkg/tests.py"));
    }
}
