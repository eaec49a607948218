//! The cause of a difference between two builds, derived from the differing content, and advice.

use super::Variation;
use crate::diff::{Change, Content, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It differs if this alone is varied.
    Varied(Variation),
    /// It differs if nothing is varied, in values that look like times.
    Clock,
    /// It differs if nothing is varied: the same lines in another order.
    Order,
    /// It differs if nothing is varied.
    Random,
    /// A list of hashes of files, some of which differ.
    Follows,
    Unknown,
}

impl Cause {
    /// Returns the word used in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Varied(variation) => variation.word(),
            Self::Clock => "clock",
            Self::Order => "order",
            Self::Random => "random",
            Self::Follows => "follows",
            Self::Unknown => "unknown",
        }
    }

    pub fn describe(self) -> String {
        match self {
            Self::Varied(variation) => {
                format!("it changes with the {}", variation.name())
            }
            Self::Clock => "the time of the build is written into it".into(),
            Self::Order => {
                "the same lines come in another order each time, with nothing varied".into()
            }
            Self::Random => "it is another one each time, with nothing varied".into(),
            Self::Follows => "it lists the hashes of the files that differ".into(),
            Self::Unknown => "no single thing that was varied explains it".into(),
        }
    }

    /// Returns advice for the user.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Varied(Variation::Path | Variation::Home | Variation::Tmp) => {
                "write paths relative to the project, build always in the same folder, or take a \
                 ready-made wheel"
            }
            Self::Varied(Variation::Umask) => "set modes explicitly (chmod) instead of by umask",
            Self::Varied(Variation::TimeZone) => "use UTC",
            Self::Varied(Variation::Locale) => "set LC_ALL=C for the step that makes it",
            Self::Varied(Variation::HashSeed) => {
                "sort the values of sets and dicts, or set PYTHONHASHSEED=0 for the step"
            }
            Self::Varied(Variation::Hostname) => "leave the host's name out, or pin it",
            Self::Varied(Variation::Cpus) => "give the step a fixed number of jobs",
            Self::Varied(Variation::FileOrder) => "sort the names of files before using them",
            Self::Clock => "leave the time out, or take it from SOURCE_DATE_EPOCH",
            Self::Order => "sort the lines, or let one thread write them",
            Self::Random => "seed random values, or derive them from the content",
            Self::Follows => return None,
            Self::Unknown => "compare the two zips that were kept with diffoscope",
        })
    }
}

/// Returns the cause of a difference between two builds that only time separates. `window` is the
/// time of all builds, in seconds since 1970.
pub(super) fn by_itself(changes: &[Change], window: (i64, i64)) -> Cause {
    let mut cause = Cause::Random;
    for change in changes {
        let What::Content(content) = &change.what else { continue };
        if content.reordered {
            return Cause::Order;
        }
        if is_clock(content, window) {
            cause = Cause::Clock;
        }
    }
    cause
}

fn is_clock(content: &Content, window: (i64, i64)) -> bool {
    if let Some(nested) = &content.nested {
        return nested.changes.iter().all(|change| match &change.what {
            What::Time(..) | What::Metadata { .. } => true,
            What::Content(inner) => is_clock(inner, window),
            _ => false,
        });
    }
    if content.details.iter().any(|line| line.starts_with("time ")) {
        return true;
    }
    let (a, b) = &content.values;
    let mut pairs = a.iter().zip(b).peekable();
    pairs.peek().is_some()
        && pairs.all(|(a, b)| {
            (has_time_of_day(a) && has_time_of_day(b))
                || (has_seconds(a, window) && has_seconds(b, window))
        })
}

/// `12:34:56`
fn has_time_of_day(text: &str) -> bool {
    text.as_bytes().windows(8).any(|part| {
        part.iter().enumerate().all(|(at, byte)| match at {
            2 | 5 => *byte == b':',
            _ => byte.is_ascii_digit(),
        })
    })
}

/// Returns whether `text` has a number that is an instant within the window, in seconds or smaller
/// units.
fn has_seconds(text: &str, (from, to): (i64, i64)) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|digits| {
        let seconds = match digits.len() {
            10 | 13 | 16 | 19 => digits[..10].parse().unwrap_or(0),
            _ => 0,
        };
        (from..=to).contains(&seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_recognised_in_usual_forms() {
        let window = (1_700_000_000, 1_700_000_100);
        for text in
            ["built = 1700000042", "t=1700000042.123", "1700000042123", "x1700000042123456789"]
        {
            assert!(has_seconds(text, window), "{text}");
        }
        for text in ["1700000442", "170000004", "42", "17000000421"] {
            assert!(!has_seconds(text, window), "{text}");
        }
        assert!(has_time_of_day("Sun Nov 22 14:15:59 2026"));
        assert!(!has_time_of_day("ab:cd:ef 1:2:3"));
    }
}
