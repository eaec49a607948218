//! Checks the names by which targets refer to each other: each must be a target of the right kind.

use std::collections::{BTreeMap, HashMap};

use super::mistakes;
use super::{Edge, TargetId, Via};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Spanned;
use crate::target::{Model, Reference, Target};
use zipwright_store::words::nearest;

/// Returns the edges that names make. Adds an error for every name that is wrong.
pub(super) fn named_edges<'m>(
    model: &'m Model,
    ids: &super::Names,
    mistakes: &mut Vec<Diagnostic>,
) -> Vec<Edge<'m>> {
    let mut names = Names { model, ids, nearest: HashMap::new(), of_kind: BTreeMap::new() };
    for goal in &model.default {
        names.resolve(goal, None, mistakes);
    }
    let mut edges = Vec::new();
    for (index, target) in model.targets.iter().enumerate() {
        let from = TargetId::new(index);
        for (Reference { name, kind }, via) in references(target) {
            if let Some(to) = names.resolve(name, kind, mistakes) {
                edges.push(Edge { from, to, via, span: &name.span });
            }
        }
    }
    mistakes.extend(model.targets.iter().flat_map(|target| target.kind.check(model)));
    edges
}

/// Returns the names in a target, each with the kind that it must be of.
fn references(target: &Target) -> impl Iterator<Item = (Reference<'_>, Via<'_>)> {
    let of_kind = target.kind.references().into_iter().map(|reference| (reference, Via::Name));
    let needs = target.needs.iter().map(|name| (Reference::to_any(name), Via::Name));
    let after = target.after.iter().map(|name| (Reference::to_any(name), Via::After));
    of_kind.chain(needs).chain(after)
}

struct Names<'m> {
    model: &'m Model,
    ids: &'m super::Names,
    /// Nearest names found so far. The search is slow, and one wrong name is often written many times.
    nearest: HashMap<&'m str, Option<&'m str>>,
    of_kind: BTreeMap<&'static str, Vec<&'m str>>,
}

impl<'m> Names<'m> {
    fn resolve(
        &mut self,
        name: &'m Spanned<String>,
        kind: Option<&'static str>,
        mistakes: &mut Vec<Diagnostic>,
    ) -> Option<TargetId> {
        let Some(id) = self.ids.find(&name.value) else {
            if self.model.not_understood.is_empty() && !self.model.broken.contains(&name.value) {
                let nearest = self.nearest(&name.value, kind);
                let targets = self.model.targets.iter().map(|target| target.name.value.as_str());
                let (span, name) = (&name.span, &name.value);
                mistakes.push(mistakes::unknown_target(span, name, nearest, targets));
            }
            return None;
        };
        let target = &self.model.targets[id.index()];
        match kind {
            Some(expected) if expected != target.kind.name() => {
                let mistake = mistakes::WrongKind {
                    span: &name.span,
                    name: &name.value,
                    found: target.kind.name(),
                    expected,
                    declared: &target.name.span,
                };
                mistakes.push(mistakes::wrong_kind(&mistake, self.of_kind(expected)));
                None
            }
            _ => Some(id),
        }
    }

    /// Returns the nearest name, preferring those of the right kind if there are any.
    fn nearest(&mut self, name: &'m str, kind: Option<&'static str>) -> Option<&'m str> {
        if let Some(kind) = kind
            && let Some(found) = nearest(name, self.of_kind(kind).iter().copied())
        {
            return Some(found);
        }
        let Model { targets, broken, .. } = self.model;
        *self.nearest.entry(name).or_insert_with(|| {
            let sound = targets.iter().map(|target| target.name.value.as_str());
            nearest(name, sound.chain(broken.iter().map(String::as_str)))
        })
    }

    fn of_kind(&mut self, kind: &'static str) -> &[&'m str] {
        let targets = &self.model.targets;
        self.of_kind.entry(kind).or_insert_with(|| {
            let right = targets.iter().filter(|target| target.kind.name() == kind);
            right.map(|target| target.name.value.as_str()).collect()
        })
    }
}
