//! Reads Buildfiles: returns a [`Model`] and every mistake at once. Knows nothing of the disk: the
//! caller passes the text. `docs/BUILDFILE.md` describes the keys; the graph checks the relations of
//! targets.

pub mod guards;
pub(crate) mod mistakes;

pub(crate) mod payload;
mod pieces;
mod schema;
mod syntax;
pub mod table;
#[cfg(test)]
mod tests;
mod unclosed;
pub mod value;
mod vars;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::target::{Kind, Model};
use schema::Reading;
pub use schema::default_path;
use table::{Entries, Reader, Table};

/// The readable part of a Buildfile, and its mistakes. Only a model without mistakes may be built.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub model: Model,
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Bytes; most Buildfiles are smaller, and then there is nothing to cut.
const PIECE: usize = 64 << 10;

/// The keys of one kind of target.
pub struct KindKeys {
    pub name: &'static str,
    /// Reads all keys of the kind, so that every error among them is found; `None` if one is missing
    /// without which there is no target. The text is the name in its default paths.
    pub read: fn(&str, &mut Table, &mut Reader) -> Option<Arc<dyn Kind>>,
}

/// Reads a Buildfile with targets of these kinds. `overrides` are the variables set on the command
/// line.
pub fn load(
    text: &str,
    overrides: &BTreeMap<String, String>,
    kinds: &'static [KindKeys],
) -> Loaded {
    let (model, mut diagnostics) = pieces::read(text, (overrides, kinds), PIECE)
        .unwrap_or_else(|| read_whole(text, (overrides, kinds)));
    diagnostics.sort_by_key(Diagnostic::position);
    Loaded { model, diagnostics }
}

/// The variables set on the command line, and the kinds of targets.
type Given<'a> = (&'a BTreeMap<String, String>, &'static [KindKeys]);

/// Reads a Buildfile, sound or not; the mistakes come in no particular order.
fn read_whole(text: &str, given: Given) -> (Model, Vec<Diagnostic>) {
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    let entries = Entries { table: document.get_ref(), origin: 0 };
    let (mut model, mut diagnostics) = Reading::start(entries, text, given).finish();
    if !errors.is_empty() {
        let (mistakes, places) = syntax::mistakes(&errors, text);
        diagnostics.retain(|mistake| mistake.is_sure(&places));
        diagnostics.extend(mistakes);
        model.not_understood = places;
    }
    (model, diagnostics)
}
