//! Command-line arguments in make's spelling, in the form that clap parses.

use std::ffi::OsString;

/// Rewrites options of make with an optional value, which clap cannot parse: `-j`, `-j4`, `-j 4`
/// and `--jobs 4`, while `-j all` is `-j` and a goal. They become the long form; all other
/// arguments stay as typed.
pub(in crate::cli) fn as_make_reads(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut read = Vec::new();
    let mut words = words.into_iter().peekable();
    read.extend(words.next());
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            read.push(word);
            continue;
        };
        if text == "--" {
            read.push(word);
            break;
        }
        if OF_NUMBERS.contains(&text)
            && let Some(number) = words.next_if(is_number)
        {
            read.push(format!("{text}={}", number.to_string_lossy()).into());
            continue;
        }
        let cluster = text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        let Some((at, option)) = cluster.and_then(optional_value) else {
            read.push(word);
            continue;
        };
        let cluster = cluster.unwrap_or_default();
        if at > 0 {
            read.push(format!("-{}", &cluster[..at]).into());
        }
        let attached = &cluster[at + 1..];
        if !attached.is_empty() {
            read.push(format!("{option}={attached}").into());
        } else if OF_NUMBERS.contains(&option)
            && let Some(number) = words.next_if(is_number)
        {
            read.push(format!("{option}={}", number.to_string_lossy()).into());
        } else {
            read.push(option.into());
        }
    }
    read.extend(words);
    read
}

fn is_number(word: &OsString) -> bool {
    word.to_str().is_some_and(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
}

/// Long options that a number may follow.
const OF_NUMBERS: [&str; 3] = ["--jobs", "--load-average", "--max-load"];

/// Returns the first option with an optional value in a cluster of short ones, and its long name. A
/// letter with a required value ends the search, because the rest is that value.
fn optional_value(cluster: &str) -> Option<(usize, &'static str)> {
    cluster.char_indices().take_while(|(_, letter)| !"CfWo".contains(*letter)).find_map(
        |(at, letter)| match letter {
            'j' => Some((at, "--jobs")),
            'l' => Some((at, "--load-average")),
            'O' => Some((at, "--output-sync")),
            _ => None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> String {
        let words = format!("zipwright {words}");
        let read = as_make_reads(words.split_whitespace().map(OsString::from));
        let read: Vec<_> = read.iter().map(|word| word.to_str().unwrap()).collect();
        read[1..].join(" ")
    }

    #[test]
    fn values_are_found_as_make_finds_them() {
        for (typed, expected) in [
            ("-j", "--jobs"),
            ("-j4 all", "--jobs=4 all"),
            ("-j 4 all", "--jobs=4 all"),
            ("-j all", "--jobs all"),
            ("-kj4", "-k --jobs=4"),
            ("-kj all", "-k --jobs all"),
            ("-l 2.5 -l", "--load-average=2.5 --load-average"),
            ("-Oline -O none", "--output-sync=line --output-sync none"),
            ("-C jobs -Cjobs", "-C jobs -Cjobs"),
            ("-f j4", "-f j4"),
            ("--jobs=3 -- -j", "--jobs=3 -- -j"),
            ("--jobs 3 all", "--jobs=3 all"),
            ("--jobs all --max-load 2", "--jobs all --max-load=2"),
        ] {
            assert_eq!(read(typed), expected, "{typed}");
        }
    }
}
