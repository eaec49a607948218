//! Outputs and their owners: each path has one owner, and no output is inside another target's.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::iter;

use foldhash::fast::RandomState;

use super::TargetId;
use super::mistakes;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Span;
use crate::target::{Declared, Model, Target};
use zipwright_store::RelPath;

/// Looked up once for every input; most inputs are neither an output nor a folder of one.
pub(super) struct Outputs {
    made: HashMap<RelPath, Made, RandomState>,
    sorted: Vec<RelPath>,
    /// All folders that contain outputs.
    folders: HashSet<Box<str>, RandomState>,
}

/// An output and its owner.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) owner: TargetId,
    /// Whether patterns match it: only declared outputs of a `command` do.
    pub(super) visible: bool,
    is_derived: bool,
    span: Span,
}

impl Outputs {
    pub(super) fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        let name = |made: &Made| model.targets[made.owner.index()].name.value.as_str();
        let mut outputs: HashMap<RelPath, Made, RandomState> = HashMap::default();
        let mut mistakes = Vec::new();
        for (index, target) in model.targets.iter().enumerate() {
            for Output { path, span, visible, is_derived } in declared(target) {
                let (owner, span) = (TargetId::new(index), span.clone());
                let made = Made { owner, visible, is_derived, span };
                match outputs.entry(path.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(made);
                    }
                    // The error about the outputs that both follow from is enough.
                    Entry::Occupied(entry) if is_derived && entry.get().is_derived => {}
                    Entry::Occupied(entry) => {
                        let first = (name(entry.get()), &entry.get().span);
                        let second = (name(&made), &made.span);
                        mistakes.push(mistakes::same_output(path.as_str(), first, second));
                    }
                }
            }
        }
        let outputs = Self::sorted(outputs);
        for path in &outputs.sorted {
            let inner = &outputs.made[path];
            if let Some((outer_path, outer)) = outputs.around(&path.parent()) {
                let inner = (path.as_str(), name(inner), &inner.span);
                let outer = (outer_path.as_str(), name(outer), &outer.span);
                mistakes.push(mistakes::output_inside(inner, outer));
            }
        }
        (outputs, mistakes)
    }

    fn sorted(made: HashMap<RelPath, Made, RandomState>) -> Self {
        let mut sorted: Vec<RelPath> = made.keys().cloned().collect();
        sorted.sort_unstable();
        let mut folders: HashSet<Box<str>, RandomState> = HashSet::default();
        for path in &sorted {
            for folder in path.folders() {
                if folders.contains(folder) {
                    // The folders above are in the set already.
                    break;
                }
                folders.insert(folder.into());
            }
        }
        Self { made, sorted, folders }
    }

    /// Returns the output that is `path` or contains it.
    pub(super) fn of(&self, path: &RelPath) -> Option<&Made> {
        self.around(path).map(|(_, made)| made)
    }

    /// Returns whether there are outputs below `folder`.
    pub(super) fn has_below(&self, folder: &RelPath) -> bool {
        match folder.is_root() {
            true => !self.made.is_empty(),
            false => self.folders.contains(folder.as_str()),
        }
    }

    /// Returns all outputs below `folder`, in the order of their paths.
    pub(super) fn below(&self, folder: &RelPath) -> impl Iterator<Item = (&RelPath, &Made)> {
        // `0` follows `/` in ASCII, so these are the bounds of all paths that start with `folder/`.
        let (from, to) = match folder.is_root() {
            true => (0, self.sorted.len()),
            false => {
                let place =
                    |text: String| self.sorted.partition_point(|path| path.as_str() < &*text);
                (place(format!("{folder}/")), place(format!("{folder}0")))
            }
        };
        self.sorted[from..to].iter().map(|path| (path, &self.made[path]))
    }

    fn around(&self, path: &RelPath) -> Option<(&RelPath, &Made)> {
        iter::once(path.as_str())
            .chain(path.folders())
            .find_map(|path| self.made.get_key_value(path))
    }
}

/// An output of a target, or its stamp.
struct Output<'m> {
    path: RelPath,
    span: &'m Span,
    visible: bool,
    is_derived: bool,
}

fn declared(target: &Target) -> impl Iterator<Item = Output<'_>> {
    let visible = target.kind.runs_program();
    let own = target.kind.outputs().into_iter().map(move |declared| {
        let Declared { output, span, is_derived } = declared;
        Output { path: output.path().clone(), span, visible, is_derived }
    });
    let stamp = target.stamp.iter().map(|stamp| {
        let path = stamp.value.clone();
        Output { path, span: &stamp.span, visible: false, is_derived: false }
    });
    own.chain(stamp)
}
