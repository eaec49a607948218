//! Cycles: groups of targets that need each other, each reported once, with all its members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::mistakes::{self, Step};
use super::{Edge, TargetId, Via};
use crate::diagnostic::Diagnostic;
use crate::target::Model;

/// Returns one error for each group. `edges` are sorted by `from`, then `to`, each pair once.
pub(super) fn cycles(model: &Model, edges: &[Edge]) -> Vec<Diagnostic> {
    let outgoing = Outgoing::new(model.targets.len(), edges);
    let is_cycle = |group: &Vec<TargetId>| match group.as_slice() {
        [only] => outgoing.of(*only).iter().any(|edge| edge.to == *only),
        _ => true,
    };
    let mut groups = components(model.targets.len(), &outgoing);
    groups.retain(is_cycle);
    groups.into_iter().map(|group| describe(model, &group, &outgoing)).collect()
}

struct Outgoing<'e, 'm> {
    edges: &'e [Edge<'m>],
    starts: Vec<usize>,
}

impl<'e, 'm> Outgoing<'e, 'm> {
    fn new(count: usize, edges: &'e [Edge<'m>]) -> Self {
        let mut starts = vec![0; count + 1];
        for edge in edges {
            starts[edge.from.index() + 1] += 1;
        }
        for index in 0..count {
            starts[index + 1] += starts[index];
        }
        Self { edges, starts }
    }

    fn of(&self, id: TargetId) -> &'e [Edge<'m>] {
        &self.edges[self.starts[id.index()]..self.starts[id.index() + 1]]
    }
}

/// Returns the strongly connected components (Tarjan's algorithm with an explicit stack, because a
/// chain of targets may be longer than the thread's stack allows).
fn components(count: usize, outgoing: &Outgoing) -> Vec<Vec<TargetId>> {
    const UNSEEN: usize = usize::MAX;
    let mut number = vec![UNSEEN; count];
    let mut lowest = vec![UNSEEN; count];
    let mut is_open = vec![false; count];
    let mut open: Vec<TargetId> = Vec::new();
    let mut next_number = 0;
    let mut groups = Vec::new();
    for start in (0..count).map(TargetId::new) {
        if number[start.index()] != UNSEEN {
            continue;
        }
        // Each entry: a target, and how many of its edges have been followed.
        let mut path = vec![(start, 0)];
        while let Some((id, followed)) = path.last_mut() {
            let (id, index) = (*id, id.index());
            if *followed == 0 && number[index] == UNSEEN {
                number[index] = next_number;
                lowest[index] = next_number;
                next_number += 1;
                open.push(id);
                is_open[index] = true;
            }
            if let Some(edge) = outgoing.of(id).get(*followed) {
                *followed += 1;
                let to = edge.to.index();
                if number[to] == UNSEEN {
                    path.push((edge.to, 0));
                } else if is_open[to] {
                    lowest[index] = lowest[index].min(number[to]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                let parent = parent.index();
                lowest[parent] = lowest[parent].min(lowest[index]);
            }
            if lowest[index] == number[index] {
                let at = open.iter().rposition(|other| *other == id);
                let group = open.split_off(at.expect("BUG: an unfinished target is open"));
                group.iter().for_each(|member| is_open[member.index()] = false);
                groups.push(group);
            }
        }
    }
    groups
}

/// Describes a shortest cycle through the group's first target, then the other members of the group.
fn describe(model: &Model, group: &[TargetId], outgoing: &Outgoing) -> Diagnostic {
    let name = |id: &TargetId| model.targets[id.index()].name.value.as_str();
    let members: BTreeSet<TargetId> = group.iter().copied().collect();
    let first = *members.first().expect("BUG: a group has a member");
    let cycle = shortest(first, &members, outgoing);
    let steps: Vec<Step> = cycle
        .iter()
        .map(|edge| {
            let (from, to) = (name(&edge.from), name(&edge.to));
            let text = match edge.via {
                Via::Name => format!("`{from}` needs `{to}`"),
                Via::After => format!("`{from}` comes after `{to}`"),
                Via::File(path) => format!("`{from}` reads `{path}`, which `{to}` makes"),
            };
            Step { span: edge.span, text }
        })
        .collect();
    let on_cycle: Vec<TargetId> = cycle.iter().map(|edge| edge.from).collect();
    let others: BTreeSet<TargetId> = &members - &on_cycle.iter().copied().collect();
    let others: Vec<&str> = others.iter().map(name).collect();
    let names: Vec<&str> = on_cycle.iter().map(name).collect();
    mistakes::cycle(&names, &steps, &others)
}

/// Returns the edges of a shortest cycle from `first` back to itself, within `members`.
fn shortest<'e, 'm>(
    first: TargetId,
    members: &BTreeSet<TargetId>,
    outgoing: &Outgoing<'e, 'm>,
) -> Vec<&'e Edge<'m>> {
    let mut reached_by: BTreeMap<TargetId, &'e Edge<'m>> = BTreeMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(id) = queue.pop_front() {
        for edge in outgoing.of(id).iter().filter(|edge| members.contains(&edge.to)) {
            if reached_by.contains_key(&edge.to) {
                continue;
            }
            reached_by.insert(edge.to, edge);
            queue.push_back(edge.to);
        }
        if reached_by.contains_key(&first) {
            break;
        }
    }
    let mut cycle = Vec::new();
    let mut at = first;
    while let Some(edge) = reached_by.get(&at) {
        cycle.push(*edge);
        at = edge.from;
        if at == first {
            break;
        }
    }
    cycle.reverse();
    cycle
}
