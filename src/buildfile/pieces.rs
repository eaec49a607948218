//! A large Buildfile, parsed one piece at a time: the parsed form takes many times the memory of
//! the text, so only as many pieces are in that form at once as there are threads.
//!
//! A piece starts at the header of a target. Only a parser can recognise such a header with
//! certainty, because a line in a multi-line string may have the same form. But if a text is cut
//! within a value, the part before the cut does not parse; and if each piece parses, each cut was
//! between statements. Every unusual text is read as a whole instead.

use std::collections::HashSet;
use std::iter;
use std::ops::Range;

use rayon::prelude::*;
use toml::de::DeTable;

use super::Given;
use super::schema::{Part, Reading};
use super::table::{Entries, in_order};
use crate::base::parallel;
use crate::diagnostic::Diagnostic;
use crate::target::Model;

/// Beginning of every target's header, behind its bracket.
const TARGET: &str = "target.";

/// Number of pieces that are read in parallel.
const AT_ONCE: usize = 16;

/// Reads a Buildfile in pieces of about `size` bytes, the errors in no particular order. Returns
/// `None` if it must be read as a whole: if it is small or not valid TOML.
pub(super) fn read(text: &str, given: Given, size: usize) -> Option<(Model, Vec<Diagnostic>)> {
    let cuts = cuts(text, size)?;
    let head = parse(&text[..*cuts.first()?])?;
    if head.contains_key("target") {
        return None;
    }
    let mut reading = Reading::start(Entries { table: &head, origin: 0 }, text, given);
    let ends = cuts[1..].iter().copied().chain([text.len()]);
    let pieces: Vec<Range<usize>> =
        iter::zip(cuts.iter().copied(), ends).map(|(start, end)| start..end).collect();
    let mut count = 0;
    parallel::start();
    for pieces in pieces.chunks(AT_ONCE) {
        let parts = pieces.par_iter().map(|piece| read_piece(text, piece.clone(), &reading));
        for part in parts.collect::<Option<Vec<Part>>>()? {
            count += part.targets.len() + part.broken.len();
            reading.add(part);
        }
    }
    let (model, mistakes) = reading.finish();
    // A target whose parts are far apart was in two pieces, or is defined twice.
    let names = model.targets.iter().map(|target| &target.name.value).chain(&model.broken);
    (names.collect::<HashSet<_>>().len() == count).then_some((model, mistakes))
}

fn read_piece(text: &str, place: Range<usize>, reading: &Reading) -> Option<Part> {
    let piece = parse(&text[place.clone()])?;
    let [(_, _, targets)] = in_order(Entries { table: &piece, origin: place.start })[..] else {
        unreachable!("BUG: a piece has headers of targets only");
    };
    Some(reading.part(targets))
}

fn parse(text: &str) -> Option<DeTable<'_>> {
    DeTable::parse(text).ok().map(toml::Spanned::into_inner)
}

/// Returns the starts of pieces of about `size` bytes. `None` if there are less than two, or if a
/// line after the first start has the form of a table header other than a target's.
fn cuts(text: &str, size: usize) -> Option<Vec<usize>> {
    let mut cuts: Vec<usize> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let far = cuts.last().is_none_or(|last| start - last >= size);
        if far && is_header_of_target(line) {
            cuts.push(start);
        }
        let is_header = line.trim_start().starts_with('[');
        if is_header && !cuts.is_empty() && !line.trim_start_matches('[').starts_with(TARGET) {
            return None;
        }
        start += line.len();
    }
    (cuts.len() > 1).then_some(cuts)
}

/// Returns whether a line is the header of a target, and plainly not that of a table below one.
fn is_header_of_target(line: &str) -> bool {
    let inner = line.strip_prefix('[').and_then(|rest| rest.trim_end().strip_suffix(']'));
    let Some(name) = inner.and_then(|inner| inner.strip_prefix(TARGET)) else { return false };
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => !quoted.contains(['"', '\\']),
        None => name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::buildfile;
    use crate::targets::KINDS;

    /// Reads `text` as a whole and cut at every target, and compares the results.
    #[track_caller]
    fn check(text: &str, in_pieces: bool) {
        let sorted = |(model, mut mistakes): (Model, Vec<Diagnostic>)| {
            mistakes.sort_by_key(Diagnostic::position);
            format!("{model:#?} {mistakes:#?}")
        };
        let read = read(text, (&BTreeMap::new(), &KINDS), 0).map(sorted);
        assert_eq!(read.is_some(), in_pieces, "{text}");
        if let Some(read) = read {
            assert_eq!(
                read,
                sorted(buildfile::read_whole(text, (&BTreeMap::new(), &KINDS))),
                "{text}"
            );
        }
    }

    const TARGETS: &str = "[target.a]\nkind = 'command'\nphony = true\nshell = '''\n\
                           echo {who}\n'''\nneeds = ['b']\n\
                           [target.a.env]\nX = 'é'\n\
                           [target.\"b.c\"]\nkind = 'zip'\nstaging = 's'\nlimits = 'no'\n\
                           [target.s]\nkind = 'staging'\nsources = [{ from = 1, to = 'x' }]\n\
                           [[target.s.conflicts]]\npath = '*'\nkeep = 'sources'\n";

    #[test]
    fn pieces_come_to_what_the_whole_does_mistakes_included() {
        check(TARGETS, true);
        check(&format!("default = ['s']\n[vars]\nwho = 'me'\n\n{TARGETS}"), true);
        let text = format!("\u{feff}# [target.no]\nnonsense = 1\n{TARGETS}");
        check(&text.replace('\n', "\r\n"), true);
        check(&format!("{TARGETS}[target.-x]\nkind = 'group'\n[target.e]\nkind = 3\n"), true);
        check(include_str!("../../Buildfile.example"), true);
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_read_as_a_whole() {
        check("[target.a]\nkind = 'group'\n", false);
        // Another table behind the targets, one in two places, twice the same.
        check(&format!("{TARGETS}[vars]\nwho = 'me'\n"), false);
        check(&format!("{TARGETS} [target]\n"), false);
        check(&format!("target.x.kind = 'group'\n{TARGETS}"), false);
        check(&format!("{TARGETS}[target.a.local]\n"), false);
        check(&format!("{TARGETS}[target.s]\nkind = 'group'\n"), false);
        check(&format!("{TARGETS}[target.'s']\nkind = 'group'\n"), false);
        // A text with the form of a header, before and after real ones.
        let text = "[target.t]\nkind = 'command'\nshell = '''\n[target.u]\n'''\n";
        check(&format!("{text}{TARGETS}"), false);
        check(&format!("{TARGETS}{text}"), false);
        // Not TOML.
        check(&format!("{TARGETS}[target.z]\nkind = \n"), false);
        check(&format!("{TARGETS}[target.z\n"), false);
        check(&format!("x = [\n{TARGETS}"), false);
    }
}
