//! The order of tags by the versions that they name: `v1.9` before `v1.10`, `1.0rc1` before `1.0`.

use std::cmp::Ordering;

use super::Query;

/// A tag and its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) commit: String,
}

/// A version: numbers, then marks such as `rc1`, each with its rank and number.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    numbers: Vec<u64>,
    marks: Vec<(i8, u64)>,
}

/// Ranks of marks; 0 is the rank of a version without one.
const RANKS: [(&str, i8); 20] = [
    ("dev", -5),
    ("snapshot", -5),
    ("a", -4),
    ("alpha", -4),
    ("b", -3),
    ("beta", -3),
    ("m", -3),
    ("milestone", -3),
    ("c", -1),
    ("rc", -1),
    ("cr", -1),
    ("pre", -1),
    ("preview", -1),
    ("final", 0),
    ("ga", 0),
    ("release", 0),
    ("post", 1),
    ("rev", 1),
    ("r", 1),
    ("p", 1),
];

/// The rank of a word that is not in [`RANKS`]: that of a pre-release, as in semantic versioning.
const UNKNOWN: i8 = -2;

/// Sorts tags by version, the oldest first. Returns also the names of those that are not versions: they
/// are left out, but come last if `query` selects tags.
pub(super) fn sorted(tags: Vec<Tag>, query: &Query) -> (Vec<Tag>, Vec<String>) {
    let (mut versions, mut others) = (Vec::new(), Vec::new());
    for tag in tags {
        match Version::parse(&tag.name) {
            Some(version) => versions.push((version, tag)),
            None => others.push(tag),
        }
    }
    versions.sort_by(|(a, a_tag), (b, b_tag)| a.cmp(b).then_with(|| a_tag.name.cmp(&b_tag.name)));
    let mut sorted: Vec<Tag> = versions.into_iter().map(|(_, tag)| tag).collect();
    if query.tags.is_none() {
        return (sorted, others.into_iter().map(|tag| tag.name).collect());
    }
    sorted.extend(others);
    (sorted, Vec::new())
}

impl Version {
    /// Reads the version in a name, behind any prefix without a digit. `None` if there is no number, or
    /// a word before it that is not separated from it, other than `v`.
    fn parse(name: &str) -> Option<Self> {
        let name = name.rsplit('/').next()?;
        let start = name.find(|c: char| c.is_ascii_digit())?;
        let (prefix, rest) = name.split_at(start);
        let is_separated = prefix.is_empty()
            || prefix.ends_with(['-', '_', '.'])
            || prefix.to_ascii_lowercase().ends_with('v')
            || matches!(prefix.to_ascii_lowercase().as_str(), "release" | "version" | "rel" | "r");
        if !is_separated {
            return None;
        }
        let rest = rest.split('+').next().unwrap_or_default();
        let (mut numbers, mut marks) = (Vec::new(), Vec::new());
        let mut separator = '.';
        for piece in pieces(rest) {
            match piece {
                Piece::Separator(c) => separator = c,
                Piece::Number(number) => match marks.last_mut() {
                    // `1.0-1` is a later build of `1.0`.
                    None if separator == '-' && !numbers.is_empty() => marks.push((1, number)),
                    None => numbers.push(number),
                    Some((_, last)) if *last == 0 => *last = number,
                    Some(_) => marks.push((1, number)),
                },
                Piece::Word(word) => {
                    let word = word.to_ascii_lowercase();
                    let rank = RANKS.iter().find(|(known, _)| *known == word);
                    marks.push((rank.map_or(UNKNOWN, |(_, rank)| *rank), 0));
                }
            }
        }
        Some(Self { numbers, marks })
    }
}

enum Piece<'a> {
    Number(u64),
    Word(&'a str),
    Separator(char),
}

/// Splits a version into numbers, words and single separators.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let class = |c: char| match c {
        '0'..='9' => 0,
        _ if c.is_alphabetic() => 1,
        _ => 2,
    };
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| class(c) == class(first) && class(c) != 2;
        let end = match rest.find(|c| !same(c)) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        let (piece, after) = rest.split_at(end);
        found.push(match class(first) {
            0 => Piece::Number(piece.parse().unwrap_or(u64::MAX)),
            1 => Piece::Word(piece),
            _ => Piece::Separator(first),
        });
        rest = after;
    }
    found
}

impl Ord for Version {
    /// Numbers and marks that are missing count as zero.
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.numbers, &other.numbers, 0)
            .then_with(|| compare(&self.marks, &other.marks, (0, 0)))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare<T: Copy + Ord>(a: &[T], b: &[T], missing: T) -> Ordering {
    let at = |list: &[T], place: usize| list.get(place).copied().unwrap_or(missing);
    (0..a.len().max(b.len()))
        .map(|place| at(a, place).cmp(&at(b, place)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> Vec<String> {
        let tags = names.iter().map(|name| Tag { name: (*name).into(), commit: String::new() });
        sorted(tags.collect(), &Query::default()).0.into_iter().map(|tag| tag.name).collect()
    }

    #[test]
    fn versions_are_sorted_as_people_read_them() {
        let sorted = [
            "0.9",
            "v0.10",
            "1.0.dev1",
            "1.0a1",
            "1.0a2",
            "1.0b1",
            "1.0-rc.1",
            "1.0rc2",
            "1.0",
            "1.0.post1",
            "v1.0.1",
            "1.2.0-alpha",
            "1.2.0-alpha.1",
            "1.2.0-beta.2",
            "1.2.0-beta.11",
            "1.2.0-rc.1",
            "1.2.0",
            "1.9",
            "1.10",
            "release-2.0",
            "2.0.1+build5",
            "2021.3",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.swap(3, 11);
        assert_eq!(order(&shuffled), sorted);
    }

    #[test]
    fn tags_that_are_not_versions_are_left_out_unless_they_are_selected() {
        let tags: Vec<Tag> = ["latest", "v1", "web2", "app/v0.9"]
            .map(|name| Tag { name: name.into(), commit: String::new() })
            .into();
        let (kept, left_out) = sorted(tags.clone(), &Query::default());
        let names: Vec<&str> = kept.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(
            (names, left_out),
            (vec!["app/v0.9", "v1"], vec!["latest".into(), "web2".into()])
        );
        let query = Query { tags: Some("*".into()), ..Query::default() };
        assert_eq!(sorted(tags, &query).0.len(), 4);
    }
}
