//! A Python source file, parsed for one version of Python: whether it compiles, the names that its
//! top level defines, and the modules that it imports. No code is run.
//!
//! Parses with Ruff's parser. Knows nothing of bundles.

mod depth;
mod imports;
mod names;
mod outline;
mod scopes;
mod tabs;
mod text;

use std::thread;

use anyhow::{Context, Result};
use ruff_python_ast::{ModModule, PythonVersion};
use ruff_python_parser::{Mode, ParseErrorType, ParseOptions, Parsed, parse_unchecked};
use ruff_text_size::{Ranged, TextSize};

pub(super) use imports::{Import, Step};
pub(super) use names::{Defined, Names};
pub use outline::{Handler, Imported, Outline, outline};

use super::runtime::Python;

/// Largest size of a file that is read, in bytes. Larger ones are generated data, for which Python
/// itself needs gigabytes.
pub(super) const LONGEST: u64 = 2 << 20;

/// Deepest nesting of expressions and blocks that is followed. Python refuses 200 nested brackets.
const DEEPEST: u16 = 400;

/// Stack for the parser in bytes, and per byte of a chain such as `a.b.c`, which nests as it grows.
const STACK: usize = 64 << 20;
const STACK_PER_BYTE: usize = 256;

/// The result of parsing a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) faults: Vec<Fault>,
    /// Whether the file was too deeply nested, too long, or in an unsupported encoding. All other
    /// fields are then empty.
    pub(super) unread: bool,
    pub(super) names: Names,
    pub(super) steps: Vec<Step>,
    /// Whether the module changes the search path of imports, or the table of modules.
    pub(super) changes_path: bool,
}

/// The reason why a file does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Line number from 1; 0 if the fault has no line.
    pub(super) line: usize,
    pub(super) text: String,
}

/// Parses a file for a version of Python. `is_init` is whether it is an `__init__.py`.
///
/// Runs on a thread of its own, with a stack for the deepest tree that the file can contain.
pub(super) fn read(bytes: &[u8], python: Python, is_init: bool) -> Result<Source> {
    if bytes.len() as u64 > LONGEST {
        return Ok(Source { unread: true, ..Source::default() });
    }
    let text = match text::decode(bytes, python) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Source { unread: true, ..Source::default() }),
        Err(fault) => return Ok(Source { faults: vec![fault], ..Source::default() }),
    };
    let stack = STACK + STACK_PER_BYTE * bytes.len();
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(stack);
        let reader = reader.spawn_scoped(scope, || parse(&text, python, is_init));
        let reader = reader.context("could not start a thread to read Python files")?;
        reader.join().map_err(|_| anyhow::anyhow!("the parser of Python failed"))
    })
}

fn parse(text: &str, python: Python, is_init: bool) -> Source {
    let version = PythonVersion { major: 3, minor: python.minor };
    let options = ParseOptions::from(Mode::Module)
        .with_target_version(version)
        .with_max_recursion_depth(DEEPEST);
    let Some(parsed) = parse_unchecked(text, options).try_into_module() else {
        return Source { unread: true, ..Source::default() };
    };
    let is_too_deep =
        parsed.errors().iter().any(|error| error.error == ParseErrorType::RecursionLimitExceeded)
            || depth::of(parsed.suite()) > usize::from(DEEPEST) * 8;
    if is_too_deep {
        // Dropping it would recurse as deeply.
        std::mem::forget(parsed);
        return Source { unread: true, ..Source::default() };
    }
    let faults = faults(&parsed, text, version);
    if !faults.is_empty() {
        return Source { faults, ..Source::default() };
    }
    let suite = parsed.suite();
    Source {
        faults,
        unread: false,
        names: names::of(suite, text, is_init),
        steps: imports::steps(suite, text, python),
        changes_path: imports::changes_path(suite),
    }
}

/// Returns every compile error of the file, in the order of lines.
fn faults(parsed: &Parsed<ModModule>, text: &str, version: PythonVersion) -> Vec<Fault> {
    let mut found: Vec<(TextSize, String)> = Vec::new();
    found.extend(
        parsed.errors().iter().map(|error| (error.location.start(), error.error.to_string())),
    );
    let unsupported = parsed.unsupported_syntax_errors().iter();
    found.extend(unsupported.map(|error| (error.range.start(), error.to_string())));
    if found.is_empty()
        && let Some(start) = tabs::fault(parsed, text)
    {
        found.push((start, "inconsistent use of tabs and spaces in indentation".into()));
    }
    if found.is_empty() {
        let errors = scopes::errors(parsed.suite(), text, version);
        found.extend(errors.iter().map(|error| (error.range().start(), error.to_string())));
    }
    found.sort_by_key(|(start, _)| *start);
    let line_at = |at: TextSize| text::line_of(text, at.to_usize());
    let mut faults: Vec<Fault> =
        found.into_iter().map(|(at, text)| Fault { line: line_at(at), text }).collect();
    faults.dedup();
    faults
}

#[cfg(test)]
mod tests;
