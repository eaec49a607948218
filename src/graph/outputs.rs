//! Who makes which path: one owner for each, none inside another's.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::TargetId;
use crate::base::RelPath;
use crate::buildfile::model::{Kind, Model, Span, Target};
use crate::buildfile::{Diagnostic, mistakes};

pub(super) struct Outputs(BTreeMap<RelPath, Made>);

/// An output and its owner.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) owner: TargetId,
    /// A declared output of a `command`: patterns see it. They pass over all others.
    pub(super) visible: bool,
    span: Span,
}

impl Outputs {
    pub(super) fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        let name = |made: &Made| model.targets[made.owner.index()].name.value.as_str();
        let mut outputs: BTreeMap<RelPath, Made> = BTreeMap::new();
        let mut mistakes = Vec::new();
        for (index, target) in model.targets.iter().enumerate() {
            for (path, span, visible) in declared(target) {
                let made = Made { owner: TargetId::new(index), visible, span: span.clone() };
                match outputs.entry(path.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(made);
                    }
                    // Two records are one where their zips are, which is said already.
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
        let outputs = Self(outputs);
        for (path, inner) in &outputs.0 {
            if let Some((outer_path, outer)) = outputs.around(&path.parent()) {
                let inner = (path.as_str(), name(inner), &inner.span);
                let outer = (outer_path.as_str(), name(outer), &outer.span);
                mistakes.push(mistakes::output_inside(inner, outer));
            }
        }
        (outputs, mistakes)
    }

    /// The output that is `path` or that `path` lies in.
    pub(super) fn of(&self, path: &RelPath) -> Option<&Made> {
        self.around(path).map(|(_, made)| made)
    }

    /// Whether there may be outputs below `folder`; quick to say, as it mostly is no folder at all.
    pub(super) fn may_have_below(&self, folder: &RelPath) -> bool {
        let after = (Bound::Excluded(folder.as_str()), Bound::Unbounded);
        let next = self.0.range::<str, _>(after).next();
        folder.is_root() || next.is_some_and(|(path, _)| path.as_str().starts_with(folder.as_str()))
    }

    /// All outputs below `folder`, in the order of their paths.
    pub(super) fn below(&self, folder: &RelPath) -> impl Iterator<Item = (&RelPath, &Made)> {
        // `0` follows `/` in ASCII, so these are the bounds of all that starts with `folder/`.
        let bounds = match folder.is_root() {
            true => None,
            false => Some((format!("{folder}/"), format!("{folder}0"))),
        };
        let (from, to) = match &bounds {
            None => (Bound::Unbounded, Bound::Unbounded),
            Some((from, to)) => (Bound::Included(from.as_str()), Bound::Excluded(to.as_str())),
        };
        self.0.range::<str, _>((from, to))
    }

    fn around(&self, path: &RelPath) -> Option<(&RelPath, &Made)> {
        let mut text = path.as_str();
        loop {
            if let Some(found) = self.0.get_key_value(text) {
                return Some(found);
            }
            text = text.rsplit_once('/')?.0;
        }
    }
}

fn is_record(target: &Target, path: &RelPath) -> bool {
    matches!(&target.kind, Kind::Zip(zip) if zip.record() == *path)
}

/// The outputs of a target: path, the place where it is said, and whether patterns see it.
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
