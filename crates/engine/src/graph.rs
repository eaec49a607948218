//! The graph of a Buildfile's targets: ids, edges, and the errors that show only when all targets
//! are seen together. Knows nothing of the disk, of what is up to date, or of the order of runs.
//!
//! Every lookup goes through a map or a sorted list, so the cost grows with the number of targets
//! and edges.

mod check;
mod cycle;
mod edges;
mod mistakes;
mod names;
mod outputs;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::diagnostic::Diagnostic;
use crate::diagnostic::Span;
use crate::target::{Model, Output, Target};
use names::Names;
use outputs::Outputs;
use zipwright_store::RelPath;

/// A target's position in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(u32);

impl TargetId {
    pub fn index(self) -> usize {
        self.0 as usize
    }

    fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("BUG: a Buildfile of less than 4 GB has fewer targets"))
    }
}

pub struct Graph {
    names: Names,
    owners: Outputs,
    needs: Adjacency,
    after: Adjacency,
    dependents: Adjacency,
}

/// A reason to bring one target up to date after another, with its span in the Buildfile.
struct Edge<'m> {
    from: TargetId,
    to: TargetId,
    via: Via<'m>,
    span: &'m Span,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Via<'m> {
    /// `from` names `to`.
    Name,
    /// `from` reads this path, and `to` makes it.
    File(&'m str),
    /// `from` names `to` in `after`: order only.
    After,
}

impl Graph {
    /// Returns the graph of a model and its errors. If there are errors, edges may be missing or form
    /// cycles, and the graph must not be built.
    pub fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        let names = Names::new(model);
        let (owners, mut mistakes) = Outputs::new(model);
        let mut edges = check::named_edges(model, &names, &mut mistakes);
        edges::add_file_edges(model, &owners, &mut edges);
        edges.sort_by(|a, b| (a.from, a.to, a.via).cmp(&(b.from, b.to, b.via)));
        // The strongest reason sorts first and is kept.
        edges.dedup_by(|second, first| (second.from, second.to) == (first.from, first.to));

        let count = model.targets.len();
        // With one job, targets run in the order in which the Buildfile lists them, as in make.
        let mut listed: Vec<&Edge> = edges.iter().collect();
        listed.sort_by_key(|edge| (edge.span.start, edge.to));
        let pairs = |order: bool| {
            let of_order = |edge: &&&Edge| (edge.via == Via::After) == order;
            listed.iter().filter(of_order).map(|edge| (edge.from, edge.to)).collect()
        };
        let graph = Self {
            needs: Adjacency::new(count, pairs(false)),
            after: Adjacency::new(count, pairs(true)),
            dependents: Adjacency::new(
                count,
                edges.iter().map(|edge| (edge.to, edge.from)).collect(),
            ),
            names,
            owners,
        };
        mistakes.extend(cycle::cycles(model, &edges));
        if !model.not_understood.is_empty() {
            mistakes.retain(|mistake| mistake.is_sure(&model.not_understood));
        }
        mistakes.sort_by_key(Diagnostic::position);
        (graph, mistakes)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every target, in the order of the Buildfile.
    pub fn ids(&self) -> impl Iterator<Item = TargetId> + use<> {
        (0..self.len()).map(TargetId::new)
    }

    pub fn id(&self, name: &str) -> Option<TargetId> {
        self.names.find(name)
    }

    /// Returns the target that makes `path` or a folder that contains it. Stamps count as outputs.
    pub fn by_output(&self, path: &RelPath) -> Option<TargetId> {
        self.owners.of(path).map(|output| output.owner)
    }

    /// Returns the targets that make inputs of `id`, in the order in which it lists them.
    pub fn needs(&self, id: TargetId) -> &[TargetId] {
        self.needs.of(id)
    }

    /// Returns the targets of `id`'s `after`, in the order in which it lists them.
    pub fn after(&self, id: TargetId) -> &[TargetId] {
        self.after.of(id)
    }

    /// Returns the targets that need `id` or come after it, in the order of the file.
    pub fn dependents(&self, id: TargetId) -> &[TargetId] {
        self.dependents.of(id)
    }

    /// Returns the goals with everything they need or come after. Each target follows its dependencies;
    /// otherwise the order is that of the file.
    pub fn closure(&self, goals: &[TargetId]) -> Vec<TargetId> {
        self.closure_up_to(goals, |_| false)
    }

    /// Like [`Graph::closure`], but does not follow the dependencies of `settled` targets.
    pub fn closure_up_to(
        &self,
        goals: &[TargetId],
        settled: impl Fn(TargetId) -> bool,
    ) -> Vec<TargetId> {
        let mut waiting: HashMap<TargetId, usize> = HashMap::new();
        let mut found: Vec<TargetId> = goals.to_vec();
        while let Some(id) = found.pop() {
            waiting.entry(id).or_insert_with(|| {
                if settled(id) {
                    return 0;
                }
                found.extend(self.needs(id));
                found.extend(self.after(id));
                self.needs(id).len() + self.after(id).len()
            });
        }
        let mut ready: BinaryHeap<Reverse<TargetId>> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(id, _)| Reverse(*id)).collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(Reverse(id)) = ready.pop() {
            order.push(id);
            for dependent in self.dependents(id).iter().filter(|id| !settled(**id)) {
                if let Some(count) = waiting.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse(*dependent));
                    }
                }
            }
        }
        order
    }

    /// Returns the outputs that wildcards and folders among inputs skip: all that zipwright itself
    /// makes, in the order of the file.
    pub fn hidden_outputs(model: &Model) -> Vec<RelPath> {
        let hidden = |target: &Target| {
            let visible = target.kind.runs_program();
            let outputs = target.outputs().into_iter();
            outputs.filter(move |output| !visible || matches!(output, Output::Stamp(_)))
        };
        model.targets.iter().flat_map(hidden).map(|output| output.path().clone()).collect()
    }
}

/// A list of targets for each target, in one vector.
struct Adjacency {
    /// Where each target's list starts; one element more than there are targets.
    starts: Vec<usize>,
    others: Vec<TargetId>,
}

impl Adjacency {
    /// Takes distinct pairs. Each list keeps their order.
    fn new(count: usize, mut pairs: Vec<(TargetId, TargetId)>) -> Self {
        pairs.sort_by_key(|(from, _)| *from);
        let mut starts = vec![0; count + 1];
        for (from, _) in &pairs {
            starts[from.index() + 1] += 1;
        }
        for index in 0..count {
            starts[index + 1] += starts[index];
        }
        Self { starts, others: pairs.into_iter().map(|(_, to)| to).collect() }
    }

    fn of(&self, id: TargetId) -> &[TargetId] {
        &self.others[self.starts[id.index()]..self.starts[id.index() + 1]]
    }
}
