//! The sections of `docs/BUILDFILE.md`, and the rows of their tables: the descriptions of keys in help
//! and in editors.

const PAGE: &str = include_str!("../../docs/BUILDFILE.md");

/// Returns the section with this heading, without the heading.
pub fn section(heading: &str) -> Option<&'static str> {
    let heading = format!("\n## {heading}\n");
    let start = PAGE.find(&heading)? + heading.len();
    let end = PAGE[start..].find("\n## ").map_or(PAGE.len(), |end| start + end);
    Some(PAGE[start..end].trim())
}

/// Returns the meaning of a key, and its default, from the section or from those that sections share.
pub fn row(heading: &str, key: &str) -> Option<String> {
    let own = section(heading).and_then(|text| in_table(text, key));
    let shared = || {
        let guard = key.strip_prefix("require[].").or_else(|| key.strip_prefix("until."));
        match guard {
            Some(key) => in_table(section("Guards")?, key),
            // The section of uploads has the table of `s3`.
            None => ["Keys of every target", "upload"]
                .into_iter()
                .find_map(|heading| in_table(section(heading)?, key)),
        }
    };
    own.or_else(shared)
}

fn in_table(section: &str, key: &str) -> Option<String> {
    let names = [format!("`{key}`"), format!("`[{key}]`")];
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    let row = cells.into_iter().find(|cells: &Vec<&str>| {
        cells[0].split(", ").any(|name| names.iter().any(|wanted| wanted == name))
    })?;
    let [_, _, default, meaning] = row.as_slice() else { return None };
    let meaning = plain(meaning);
    Some(match *default {
        "" => meaning,
        default if default.contains("required") => format!("{meaning} ({default})"),
        default => format!("{meaning} (default: {})", plain(default)),
    })
}

/// Returns a text without the targets of its links.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once("](") else { break };
        let Some((_, after)) = after.split_once(')') else { break };
        plain += before;
        plain += label;
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_meaning_and_default_without_links() {
        assert_eq!(
            row("zip", "clamp").unwrap(),
            "the time of every entry, from 1980 to 2107 (default: the constant 1980-02-01T00:00:00)"
        );
        assert_eq!(row("zip", "staging").unwrap(), "a `staging` target (required)");
        assert!(row("zip", "needs").unwrap().starts_with("targets that are brought up to date"));
        assert!(row("layer", "s3.bucket").unwrap().starts_with("name of the bucket"));
        assert!(row("command", "shell").unwrap().starts_with("a script for"));
        assert_eq!(row("zip", "nothing"), None);
    }
}
