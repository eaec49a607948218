//! Outputs and their owners: each path has one owner, and no output is inside another target's.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::iter;

use foldhash::fast::RandomState;

use super::TargetId;
use crate::base::RelPath;
use crate::buildfile::model::{Kind, Model, Span, Target};
use crate::buildfile::{Diagnostic, mistakes};

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
    span: Span,
}

impl Outputs {
    pub(super) fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        let name = |made: &Made| model.targets[made.owner.index()].name.value.as_str();
        let mut outputs: HashMap<RelPath, Made, RandomState> = HashMap::default();
        let mut mistakes = Vec::new();
        for (index, target) in model.targets.iter().enumerate() {
            for (path, span, visible) in declared(target) {
                let made = Made { owner: TargetId::new(index), visible, span: span.clone() };
                match outputs.entry(path.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(made);
                    }
                    // Two zips at one path have one record; the error about the zips is enough.
                    Entry::Occupied(entry)
                        if is_record(target, &path)
                            && is_record(&model.targets[entry.get().owner.index()], &path) => {}
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

fn is_record(target: &Target, path: &RelPath) -> bool {
    matches!(&target.kind, Kind::Zip(zip) if zip.record() == *path)
}

/// Returns the outputs of a target: path, span in the Buildfile, and whether patterns match it.
fn declared(target: &Target) -> impl Iterator<Item = (RelPath, &Span, bool)> {
    let one = match &target.kind {
        Kind::Wheelhouse(wheelhouse) => Some(&wheelhouse.output),
        Kind::Staging(staging) => Some(&staging.output),
        Kind::Zip(zip) => Some(&zip.output),
        _ => None,
    };
    let several: &[_] = match &target.kind {
        Kind::Command(command) => &command.outputs,
        _ => &[],
    };
    let record = match &target.kind {
        Kind::Zip(zip) => Some((zip.record(), &zip.output.span, false)),
        _ => None,
    };
    let own = one.into_iter().chain(&target.stamp);
    own.map(|path| (path.value.clone(), &path.span, false))
        .chain(record)
        .chain(several.iter().map(|path| (path.value.clone(), &path.span, true)))
}
