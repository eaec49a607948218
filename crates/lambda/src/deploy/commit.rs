//! The commit of a published version: the end of its description, `commit 0123…`.

use anyhow::Result;

use super::Live;
use crate::aws::{LATEST, Lambda};

const WORD: &str = "commit ";

/// Lambda's limit of characters.
const DESCRIPTION_MAX: usize = 256;

/// Returns the description of a version: the function's own, if there is room for it, and the commit.
pub(super) fn describe(own: Option<&str>, commit: &str) -> String {
    let both = format!("{}; {WORD}{commit}", own.unwrap_or_default());
    match own.is_none_or(str::is_empty) || both.chars().count() > DESCRIPTION_MAX {
        true => format!("{WORD}{commit}"),
        false => both,
    }
}

/// Returns the commit that the live code of a function was published from; `None` if it was not
/// published, or its version does not name one.
pub fn commit_of(lambda: &Lambda, name: &str, live: &Live) -> Result<Option<String>> {
    let number = match live.version.as_deref() {
        // Its description does not change with its code.
        None | Some(LATEST) => lambda.version_with(name, &live.code_sha256)?,
        Some(number) => Some(number.to_owned()),
    };
    let Some(number) = number else { return Ok(None) };
    let version = lambda.function_at(name, Some(&number))?;
    Ok(version.description.as_deref().and_then(parse).map(str::to_owned))
}

/// Returns the commit in the description of a version.
fn parse(description: &str) -> Option<&str> {
    let (before, commit) = description.rsplit_once(WORD)?;
    let is_ours = before.is_empty() || before.ends_with("; ");
    let is_id = matches!(commit.len(), 40 | 64) && commit.bytes().all(|c| c.is_ascii_hexdigit());
    (is_ours && is_id).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_names_the_commit_behind_the_function_s_own_words() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (own, expected) in [
            (None, format!("commit {commit}")),
            (Some(""), format!("commit {commit}")),
            (Some("orders"), format!("orders; commit {commit}")),
            (Some("x".repeat(256).as_str()), format!("commit {commit}")),
        ] {
            let described = describe(own, commit);
            assert_eq!(described, expected);
            assert_eq!(parse(&described), Some(commit));
        }
        for foreign in ["", "commit 0123", "undo commit 0123456789abcdef0123456789abcdef01234567"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
