//! Targets by name. All names share one allocation, because there may be very many.

use super::TargetId;
use crate::target::Model;

pub(super) struct Names {
    /// All names, in the order of the ids.
    text: String,
    /// Where in the text each name ends.
    ends: Vec<usize>,
    /// The ids, sorted by their names.
    sorted: Vec<TargetId>,
}

impl Names {
    pub(super) fn new(model: &Model) -> Self {
        let mut names = Self { text: String::new(), ends: Vec::new(), sorted: Vec::new() };
        for target in &model.targets {
            names.text.push_str(&target.name.value);
            names.ends.push(names.text.len());
        }
        let mut sorted: Vec<TargetId> = (0..names.len()).map(TargetId::new).collect();
        sorted.sort_unstable_by_key(|id| names.of(*id));
        Self { sorted, ..names }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<TargetId> {
        let place = self.sorted.binary_search_by_key(&name, |id| self.of(*id));
        place.ok().map(|place| self.sorted[place])
    }

    fn of(&self, id: TargetId) -> &str {
        let start = id.index().checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[id.index()]]
    }
}
