//! Reads Buildfiles: returns a [`model::Model`] and every mistake at once. Knows nothing of the
//! disk: the caller passes the text. `docs/BUILDFILE.md` describes the keys; the graph checks the
//! relations of targets.

pub(crate) mod mistakes;

mod diagnostic;
mod glob;
mod invoke;
mod kinds;
mod layer;
pub mod model;
mod payload;
mod pieces;
mod schema;
mod syntax;
mod table;
mod typed;
mod unclosed;
mod upload;
mod value;
mod vars;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use diagnostic::Diagnostic;
pub use glob::GlobProblem;
pub use kinds::NAMES as KINDS;
pub use layer::is_bucket;
use schema::Reading;
use table::Entries;
pub use typed::Typed;
pub use upload::{is_alias, is_function, is_kms_key};

/// The readable part of a Buildfile, and its mistakes. Only a model without mistakes may be built.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub model: model::Model,
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Bytes; most Buildfiles are smaller, and then there is nothing to cut.
const PIECE: usize = 64 << 10;

/// Reads a Buildfile. `overrides` are the variables set on the command line.
pub fn load(text: &str, overrides: &BTreeMap<String, String>) -> Loaded {
    let (model, mut diagnostics) =
        pieces::read(text, overrides, PIECE).unwrap_or_else(|| read_whole(text, overrides));
    diagnostics.sort_by_key(Diagnostic::position);
    Loaded { model, diagnostics }
}

/// Reads a Buildfile, sound or not; the mistakes come in no particular order.
fn read_whole(text: &str, overrides: &BTreeMap<String, String>) -> (model::Model, Vec<Diagnostic>) {
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    let entries = Entries { table: document.get_ref(), origin: 0 };
    let (mut model, mut diagnostics) = Reading::start(entries, text, overrides).finish();
    if !errors.is_empty() {
        let (mistakes, places) = syntax::mistakes(&errors, text);
        diagnostics.retain(|mistake| mistake.is_sure(&places));
        diagnostics.extend(mistakes);
        model.not_understood = places;
    }
    (model, diagnostics)
}
