//! The order of targets that wait for a slot: the critical path first, by the times of earlier
//! builds, if several run at once; make's own order if one does; or a shuffled one, which finds
//! missing edges. Pure.

use crate::graph::{Graph, TargetId};

/// `--shuffle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    No,
    Reverse,
    /// By this seed: the same seed gives the same order for the same sequence of events.
    Random(u64),
}

pub(super) struct Order {
    /// Position in make's order: dependencies before their goal, in the order in which they are listed.
    position: Vec<usize>,
    /// Seconds from the start of a target to the end of the build, if nothing has to wait.
    path: Vec<f64>,
    serial: bool,
    shuffle: Shuffle,
}

/// Assumed for a target without a time from an earlier build, in seconds.
const UNKNOWN_SECONDS: f64 = 1.0;

impl Order {
    pub(super) fn new(
        graph: &Graph,
        goals: &[TargetId],
        serial: bool,
        shuffle: Shuffle,
        seconds: impl Fn(TargetId) -> Option<f64>,
    ) -> Self {
        let mut path = vec![0.0; graph.len()];
        if !serial {
            for id in graph.closure(goals).into_iter().rev() {
                let dependents = graph.dependents(id).iter();
                let rest = dependents.map(|id| path[id.index()]).fold(0.0, f64::max);
                path[id.index()] = rest + seconds(id).unwrap_or(UNKNOWN_SECONDS);
            }
        }
        let position = positions(graph, goals);
        Self { position, path, serial, shuffle }
    }

    /// Returns which of `waiting` comes next; `None` if nothing waits.
    pub(super) fn next(&mut self, waiting: &[TargetId]) -> Option<usize> {
        if waiting.is_empty() {
            return None;
        }
        if let Shuffle::Random(state) = &mut self.shuffle {
            return Some((random(state) % waiting.len() as u64) as usize);
        }
        let rank = |at: &usize| {
            let index = waiting[*at].index();
            let path = if self.serial { 0.0 } else { -self.path[index] };
            (path, self.position[index])
        };
        let by_rank = |a: &usize, b: &usize| {
            let (a, b) = (rank(a), rank(b));
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
        };
        match self.shuffle {
            Shuffle::Reverse => (0..waiting.len()).max_by(by_rank),
            _ => (0..waiting.len()).min_by(by_rank),
        }
    }
}

/// Returns each target's position if dependencies come before their goal, depth first.
fn positions(graph: &Graph, goals: &[TargetId]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let mut position = vec![UNSEEN; graph.len()];
    let mut entered = vec![false; graph.len()];
    let mut count = 0;
    for goal in goals {
        // An explicit stack: a chain may be longer than the thread's own is deep.
        let mut stack = vec![(*goal, false)];
        while let Some((id, left)) = stack.pop() {
            if left {
                position[id.index()] = count;
                count += 1;
            } else if !std::mem::replace(&mut entered[id.index()], true) {
                stack.push((id, true));
                let before = graph.needs(id).iter().chain(graph.after(id)).rev();
                stack.extend(before.map(|id| (*id, false)));
            }
        }
    }
    position
}

/// Returns the next number of the SplitMix64 sequence (Steele, Lea and Flood, 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    /// `short` and `long` stand first; `end` needs both, `long` by way of `middle`.
    const TARGETS: [&str; 4] = ["short:", "long:", "middle: long", "end: short middle"];

    fn first(serial: bool, shuffle: Shuffle, short_seconds: f64) -> &'static str {
        let model = model(&TARGETS);
        let (graph, mistakes) = Graph::new(&model);
        assert!(mistakes.is_empty());
        let id = |name: &str| graph.id(name).unwrap();
        let seconds = |id| (Some(id) == graph.id("short")).then_some(short_seconds);
        let mut order = Order::new(&graph, &[id("end")], serial, shuffle, seconds);
        let waiting = [id("short"), id("long")];
        assert_eq!(order.next(&[]), None);
        ["short", "long"][order.next(&waiting).unwrap()]
    }

    #[test]
    fn the_critical_path_goes_first_by_the_times_of_earlier_builds() {
        assert_eq!(first(false, Shuffle::No, 0.1), "long");
        assert_eq!(first(false, Shuffle::No, 60.0), "short");
    }

    #[test]
    fn one_at_a_time_keeps_the_order_of_make() {
        assert_eq!(first(true, Shuffle::No, 0.1), "short");
        assert_eq!(first(true, Shuffle::Reverse, 0.1), "long");
    }

    #[test]
    fn a_seed_gives_one_order() {
        assert_eq!(first(false, Shuffle::Random(7), 1.0), first(false, Shuffle::Random(7), 1.0));
    }
}
