//! Globs as text: normalised, checked, compiled. Does not read the disk.

use globset::{GlobBuilder, GlobSet};

use zipwright_store::RelPath;
use zipwright_store::path::PathProblem;
use zipwright_store::words::count;

/// Most bytes of a pattern with wildcards: a path that is longer cannot be opened.
const LONGEST: usize = 4096;

/// Most braces in braces. The compiler of patterns calls itself for each.
const DEEPEST: usize = 16;

/// A normalised pattern: `*` and `?` stay within a path part, `**` crosses parts, `[ab]`, `{a,b}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The leading parts without wildcards; the whole path if there is no wildcard.
    pub base: RelPath,
    /// The whole pattern; `None` without a wildcard. Most inputs are plain paths, and there may be
    /// a hundred thousand of them.
    pub wild: Option<Box<str>>,
}

impl Glob {
    pub fn pattern(&self) -> &str {
        self.wild.as_deref().unwrap_or(self.base.as_str())
    }

    pub fn has_wildcard(&self) -> bool {
        self.wild.is_some()
    }
}

impl From<RelPath> for Glob {
    fn from(base: RelPath) -> Self {
        Self { base, wild: None }
    }
}

/// Why a text is not a [`Glob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GlobProblem {
    Path(PathProblem),
    /// A `..` after a wildcard: its folder would depend on the match of the wildcard.
    ClimbsAfterWildcard,
    /// Words of the pattern compiler.
    Syntax(String),
}

impl Glob {
    /// Normalises `text` as [`RelPath::parse`] does, wildcards left alone.
    pub fn parse(text: &str) -> Result<Self, GlobProblem> {
        let wild = |part: &&str| part.contains(['*', '?', '[', '{', '\\']);
        let parts: Vec<&str> = text.split('/').collect();
        let literal = parts.iter().position(wild).unwrap_or(parts.len());
        let base = match literal {
            0 => RelPath::root(),
            _ if text.starts_with('/') => return Err(GlobProblem::Path(PathProblem::Absolute)),
            _ => RelPath::parse(&parts[..literal].join("/")).map_err(GlobProblem::Path)?,
        };
        if text.chars().any(char::is_control) {
            return Err(GlobProblem::Path(PathProblem::ControlCharacter));
        }
        if literal == parts.len() {
            return Ok(base.into());
        }
        let mut pattern: Vec<&str> = Vec::new();
        if !base.is_root() {
            pattern.push(base.as_str());
        }
        for part in &parts[literal..] {
            match *part {
                "" | "." => {}
                ".." => return Err(GlobProblem::ClimbsAfterWildcard),
                part => pattern.push(part),
            }
        }
        let pattern = pattern.join("/");
        if let Some(problem) = too_much(&pattern).or_else(|| unlike_a_shell(&pattern)) {
            return Err(GlobProblem::Syntax(problem));
        }
        builder(&pattern).build().map_err(|error| GlobProblem::Syntax(error.kind().to_string()))?;
        Ok(Self { base, wild: Some(pattern.into()) })
    }

    /// Returns the set of this one pattern. Fails if the pattern is too large to compile.
    pub fn matcher(&self) -> Result<GlobSet, globset::Error> {
        // `compile_matcher` panics in place of the error.
        GlobSet::new([builder(self.pattern()).build()?])
    }
}

/// Returns what the compiler would read in another way than a shell.
fn unlike_a_shell(pattern: &str) -> Option<String> {
    pattern.contains("[[:").then(|| "it has no classes like `[[:digit:]]`; write `[0-9]`".into())
}

/// Returns the limit that a pattern exceeds.
fn too_much(pattern: &str) -> Option<String> {
    if pattern.len() > LONGEST {
        return Some(format!("it is longer than {}", count(LONGEST, "byte")));
    }
    let (mut depth, mut escaped) = (0_usize, false);
    for c in pattern.chars() {
        match c {
            _ if escaped => {}
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if depth > DEEPEST {
            return Some(format!("braces are nested more than {DEEPEST} deep"));
        }
    }
    None
}

/// Returns a builder with the rules of wildcards: `*` and `?` stay within a part, `**` crosses
/// parts.
fn builder(pattern: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(pattern);
    builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pattern: &str, base: &str, has_wildcard: bool) {
        let base = RelPath::parse(base).unwrap();
        let glob = Glob::parse(text).unwrap();
        let found = (glob.pattern(), &glob.base, glob.has_wildcard());
        assert_eq!(found, (pattern, &base, has_wildcard), "{text}");
    }

    #[test]
    fn globs_are_normalised_and_know_their_base() {
        check("./src//a.py", "src/a.py", "src/a.py", false);
        check(".", ".", ".", false);
        check("src/./x/../**/*.py", "src/**/*.py", "src", true);
        check("*.py", "*.py", ".", true);
        check("./**/./a/", "**/a", ".", true);
        check("a/{b,c/d}/e", "a/{b,c/d}/e", "a", true);
        check(r"pages/\[id].py", r"pages/\[id].py", "pages", true);
    }

    #[test]
    fn bad_globs_are_refused() {
        let path = |problem| Err(GlobProblem::Path(problem));
        assert_eq!(Glob::parse("/etc/*"), path(PathProblem::Absolute));
        assert_eq!(Glob::parse("/*"), path(PathProblem::Absolute));
        assert_eq!(Glob::parse("../*.py"), path(PathProblem::LeavesProject));
        assert_eq!(Glob::parse(""), path(PathProblem::Empty));
        assert_eq!(Glob::parse("a\n*"), path(PathProblem::ControlCharacter));
        assert_eq!(Glob::parse("*/../a"), Err(GlobProblem::ClimbsAfterWildcard));
        assert!(matches!(Glob::parse("a[b"), Err(GlobProblem::Syntax(_))));
        assert!(matches!(Glob::parse("{a,b"), Err(GlobProblem::Syntax(_))));
        assert!(matches!(Glob::parse("[[:digit:]]"), Err(GlobProblem::Syntax(_))));
    }

    #[test]
    fn patterns_that_are_too_large_are_refused() {
        let nested = |depth| format!("{}x{}", "{a,".repeat(depth), "}".repeat(depth));
        let says = |text: &str, word: &str| match Glob::parse(text) {
            Err(GlobProblem::Syntax(problem)) => assert!(problem.contains(word), "{problem}"),
            other => panic!("{other:?}"),
        };
        says(&nested(17), "nested more than 16 deep");
        says(&nested(100_000), "longer");
        says(&"*".repeat(4097), "longer than 4096 bytes");
        assert!(Glob::parse(&nested(16)).unwrap().matcher().unwrap().is_match("x"));
        let braces_as_letters = r"\{".repeat(17) + "*";
        assert!(Glob::parse(&braces_as_letters).unwrap().matcher().is_ok());
        for part in ["?", "**/", "{a,b}", "[!a-z]", "*a", "{**/a,b*}", "{,a}", "\u{e9}?"] {
            let glob = Glob::parse(&part.repeat(LONGEST / part.len())).unwrap();
            // An error is right, a panic is not.
            let _ = glob.matcher().map(|set| set.is_match("a"));
        }
    }

    #[test]
    fn wildcards_stay_within_parts() {
        let matches =
            |glob: &str, path: &str| Glob::parse(glob).unwrap().matcher().unwrap().is_match(path);
        assert!(matches("**/*.py", "a.py") && matches("**/*.py", "a/b/.c.py"));
        assert!(matches("a/**", "a/b/c") && !matches("a/*", "a/b/c"));
        assert!(matches("{a,b}/x", "b/x") && !matches("?", "/"));
        for path in [".env", ".env.prod"] {
            assert!(matches(".env{,.prod}", path) && matches(".env{.prod,}", path));
        }
        assert!(matches("src/{,a/}c.py", "src/c.py") && matches("src/{,a/}c.py", "src/a/c.py"));
        assert!(!matches("a{,b}.py", "ac.py"));
        assert!(matches(r"\[id].py", "[id].py"));
    }
}
