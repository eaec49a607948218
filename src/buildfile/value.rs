//! Single values of a Buildfile: paths, outputs, globs, instants, versions, and words of a small
//! set. Each reader reports a mistake and then returns `None`.

use std::time::Duration;

use toml::de::DeValue;
use zipwright_python::Arch;

use super::mistakes;
use super::table::{Item, Reader, string};
use crate::base::RelPath;
use crate::check::{self, Python};
use crate::diagnostic::{Rule, Spanned};
use crate::glob::Glob;
use crate::project::STATE_FOLDER;
use crate::timestamp::Timestamp;

/// First and last time in a zip's own format.
const ZIP_TIMES: [&str; 2] = ["1980-01-01T00:00:00Z", "2107-12-31T23:59:59Z"];

pub fn path(item: Item, reader: &mut Reader) -> Option<Spanned<RelPath>> {
    let Spanned { value: text, span } = string(item, reader)?;
    match RelPath::parse(&text) {
        Ok(value) => Some(Spanned { value: reader.known(value), span }),
        Err(problem) => {
            reader.report(mistakes::bad_path(&span, &text, problem));
            None
        }
    }
}

/// A path that something may be written to.
pub fn output(item: Item, reader: &mut Reader) -> Option<Spanned<RelPath>> {
    let path = path(item, reader)?;
    if path.value.is_root() {
        reader.report(mistakes::root_as_output(&path.span));
        return None;
    }
    if path.value.as_str().split('/').next() == Some(STATE_FOLDER) {
        let text = path.value.as_str();
        reader.report(mistakes::output_in_state(&path.span, text, STATE_FOLDER));
        return None;
    }
    Some(path)
}

pub fn glob(item: Item, reader: &mut Reader) -> Option<Spanned<Glob>> {
    let Spanned { value: text, span } = string(item, reader)?;
    match Glob::parse(&text) {
        Ok(Glob { base, wild }) => {
            Some(Spanned { value: Glob { base: reader.known(base), wild }, span })
        }
        Err(problem) => {
            reader.report(mistakes::bad_glob(&span, &text, &problem));
            None
        }
    }
}

/// Reads a string that is not empty; `hint` describes the expected value.
pub fn filled(item: Item, reader: &mut Reader, hint: &str) -> Option<Spanned<String>> {
    let text = string(item, reader)?;
    if text.value.is_empty() {
        reader.report(mistakes::empty(&text.span, &format!("`{}`", item.key), hint));
        return None;
    }
    Some(text)
}

/// Reads a length of time: `500ms`, `30s`, `2m`, `1h`. Zero is a mistake.
pub fn duration(item: Item, reader: &mut Reader) -> Option<Duration> {
    let (text, span) = match item.value {
        DeValue::Integer(_) | DeValue::Float(_) => {
            let span = item.span();
            let mistake = mistakes::bad_duration(&span, &reader.text[span.clone()]);
            reader.report(mistake.breaks(Rule::Type));
            return None;
        }
        _ => string(item, reader).map(|text| (text.value, text.span))?,
    };
    match parse_duration(&text) {
        Some(Duration::ZERO) => reader.report(mistakes::no_duration(&span, item.key)),
        Some(duration) => return Some(duration),
        None => reader.report(mistakes::bad_duration(&span, &text)),
    }
    None
}

/// Returns a length of time of the form that [`duration`] reads; `None` for any other text.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    Some(Duration::from_millis(u64::from(digits.parse::<u32>().ok()?) * milliseconds))
}

/// Reads one of `words`, and returns the value beside it.
pub fn word<T: Copy>(
    item: Item,
    reader: &mut Reader,
    what: &str,
    words: &[(&str, T)],
) -> Option<T> {
    let text = string(item, reader)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    reader.report(mistakes::unknown_word(&text.span, &text.value, what, &known));
    None
}

pub fn arch(item: Item, reader: &mut Reader) -> Option<Arch> {
    word(item, reader, "architecture", &Arch::ALL.map(|arch| (arch.name(), arch)))
}

/// Reads Lambda's name of a Python runtime: `python3.13`. One that is newer than zipwright is taken,
/// as the check warns of it.
pub fn runtime(item: Item, reader: &mut Reader) -> Option<Python> {
    let text = string(item, reader)?;
    let python = Python::parse(&text.value);
    if python.is_none() {
        let known: Vec<String> = Python::known().map(|python| python.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        reader.report(mistakes::unknown_runtime(&text.span, &text.value, &known));
    }
    python
}

/// The name of a rule of the check.
pub fn rule(item: Item, reader: &mut Reader) -> Option<String> {
    let words = check::RULES.map(|rule| (rule, rule));
    word(item, reader, "rule", &words).map(str::to_owned)
}

pub fn instant(item: Item, reader: &mut Reader) -> Option<Spanned<Timestamp>> {
    let Spanned { value: text, span } = match item.value {
        DeValue::Datetime(datetime) => Spanned { value: datetime.to_string(), span: item.span() },
        DeValue::String(_) => string(item, reader)?,
        _ => {
            item.wrong("a string, or a date and time", reader);
            return None;
        }
    };
    let value = match text.as_str() {
        "git" => Timestamp::Git,
        "source-date-epoch" => Timestamp::SourceDateEpoch,
        text => match text.parse::<jiff::Timestamp>() {
            Ok(timestamp) => Timestamp::At(timestamp.as_second()),
            Err(_) => {
                reader.report(mistakes::bad_instant(&span, text));
                return None;
            }
        },
    };
    Some(Spanned { value, span })
}

/// An instant that a zip can hold.
pub fn zip_instant(item: Item, reader: &mut Reader) -> Option<Spanned<Timestamp>> {
    let instant = instant(item, reader)?;
    let [first, last] = ZIP_TIMES.map(|text| {
        text.parse::<jiff::Timestamp>().expect("BUG: the limits are instants").as_second()
    });
    match instant.value {
        Timestamp::At(seconds) if !(first..=last).contains(&seconds) => {
            reader.report(mistakes::instant_not_in_zip(&instant.span));
            None
        }
        _ => Some(instant),
    }
}
