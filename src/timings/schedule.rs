//! Derived from the times of a build: a job slot for each target, and the critical path, which
//! bounds the duration of the build. Pure; knows no output format.

use std::collections::HashMap;

use super::Span;

/// Returns a slot for each span, from 0 upwards: the lowest that is free when the span starts.
/// Spans of a slot do not overlap, and the number of slots is the largest number of simultaneous
/// spans.
pub fn slots(spans: &[Span]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    // A span without length comes before one that starts at the same time, which reuses its slot.
    order.sort_by(|a, b| {
        let (a, b) = (&spans[*a], &spans[*b]);
        a.start.total_cmp(&b.start).then((a.seconds() > 0.0).cmp(&(b.seconds() > 0.0)))
    });
    let mut free_from: Vec<f64> = Vec::new();
    let mut slots = vec![0; spans.len()];
    for index in order {
        let span = &spans[index];
        let free = free_from.iter().position(|time| *time <= span.start);
        let slot = free.unwrap_or(free_from.len());
        if slot == free_from.len() {
            free_from.push(span.start);
        }
        free_from[slot] = span.start + span.seconds();
        slots[index] = slot;
    }
    slots
}

/// Returns the longest chain of measured times through the edges, as positions in `spans`, first to
/// last. Of equally long chains, returns the one that comes first in `spans`.
pub fn critical_path(spans: &[Span]) -> Vec<usize> {
    let mut length = vec![0.0; spans.len()];
    let mut before: Vec<Option<usize>> = vec![None; spans.len()];
    let needs = needed_places(spans);
    for index in in_order(&needs) {
        let longest = needs[index]
            .iter()
            .copied()
            .reduce(|best, other| if length[other] > length[best] { other } else { best });
        before[index] = longest;
        length[index] = spans[index].seconds() + longest.map_or(0.0, |needed| length[needed]);
    }
    let last = (0..spans.len()).reduce(
        |best, other| {
            if length[other] > length[best] { other } else { best }
        },
    );
    let mut path: Vec<usize> = std::iter::successors(last, |index| before[*index]).collect();
    path.reverse();
    path
}

/// Returns for each span the positions of its needs, ascending, without names that have no span.
fn needed_places(spans: &[Span]) -> Vec<Vec<usize>> {
    let places: HashMap<&str, usize> =
        spans.iter().enumerate().map(|(place, span)| (span.target.as_str(), place)).collect();
    spans
        .iter()
        .map(|span| {
            let mut needs: Vec<usize> =
                span.needs.iter().filter_map(|name| places.get(name.as_str()).copied()).collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect()
}

/// Returns the positions in topological order. Members of a cycle, which real builds do not have,
/// are omitted.
fn in_order(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut needed_by = vec![Vec::new(); needs.len()];
    for (index, needs) in needs.iter().enumerate() {
        for needed in needs {
            needed_by[*needed].push(index);
        }
    }
    let mut waits_for: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..needs.len()).filter(|index| waits_for[*index] == 0).collect();
    let mut next = 0;
    while next < order.len() {
        for waiting in &needed_by[order[next]] {
            waits_for[*waiting] -= 1;
            if waits_for[*waiting] == 0 {
                order.push(*waiting);
            }
        }
        next += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::example::{bundle, random, span};
    use super::*;

    fn names(spans: &[Span], places: &[usize]) -> Vec<String> {
        places.iter().map(|place| spans[*place].target.clone()).collect()
    }

    #[test]
    fn a_slot_is_used_again_as_soon_as_it_is_free() {
        assert_eq!(slots(&bundle().spans), [0, 1, 1, 0, 0, 0]);
        assert_eq!(slots(&[]), [0; 0]);
        let instant = [span("b", "zip", (1.0, 2.0), &[]), span("a", "group", (1.0, 1.0), &[])];
        assert_eq!(slots(&instant), [0, 0]);
    }

    #[test]
    fn spans_of_one_slot_never_overlap_and_no_slot_is_wasted() {
        for seed in 0..300 {
            let spans = random(seed, seed as usize % 40).spans;
            let slots = slots(&spans);
            for (a, slot_a) in spans.iter().zip(&slots) {
                for (b, slot_b) in spans.iter().zip(&slots) {
                    let apart = a.end <= b.start || b.end <= a.start;
                    assert!(a == b || slot_a != slot_b || apart, "seed {seed}: {a:?} {b:?}");
                }
            }
            let running = |time: f64| {
                spans.iter().filter(|span| span.start <= time && time < span.end).count()
            };
            let most = spans.iter().map(|span| running(span.start)).max().unwrap_or(0);
            let used = slots.iter().max().map_or(0, |slot| slot + 1);
            // Spans without length need a slot too.
            assert!(used <= most + 1, "seed {seed}: {used} slots for {most} at once");
        }
    }

    #[test]
    fn the_critical_path_is_the_longest_chain() {
        let spans = bundle().spans;
        let path = critical_path(&spans);
        assert_eq!(names(&spans, &path), ["wheels", "staging", "package", "upload"]);
        assert_eq!(critical_path(&[]), [0; 0]);
    }

    #[test]
    fn of_equal_chains_the_first_is_taken() {
        let spans = [
            span("end", "zip", (1.0, 2.0), &["b", "a"]),
            span("a", "command", (0.0, 1.0), &[]),
            span("b", "command", (0.0, 1.0), &[]),
        ];
        assert_eq!(names(&spans, &critical_path(&spans)), ["a", "end"]);
    }

    #[test]
    fn no_chain_is_longer_than_the_critical_path() {
        for seed in 0..300 {
            let spans = random(seed, seed as usize % 40).spans;
            let path = critical_path(&spans);
            for pair in path.windows(2) {
                assert!(spans[pair[1]].needs.contains(&spans[pair[0]].target), "seed {seed}");
            }
            // In `random`, a target needs only earlier ones, so one pass is enough.
            let mut longest: Vec<f64> = Vec::new();
            for span in &spans {
                let needs = span.needs.iter().map(|name| name[1..].parse::<usize>().unwrap());
                let before = needs.map(|place| longest[place]).fold(0.0, f64::max);
                longest.push(before + span.seconds());
            }
            let expected = longest.into_iter().fold(0.0, f64::max);
            let found: f64 = path.iter().map(|place| spans[*place].seconds()).sum();
            assert!((found - expected).abs() < 1e-9, "seed {seed}: {found} is not {expected}");
        }
    }

    #[test]
    fn a_cycle_or_a_target_that_did_not_run_is_no_obstacle() {
        let spans = [
            span("a", "command", (0.0, 9.0), &["b"]),
            span("b", "command", (0.0, 9.0), &["a", "up to date"]),
            span("c", "command", (0.0, 1.0), &["up to date"]),
        ];
        assert_eq!(names(&spans, &critical_path(&spans)), ["c"]);
    }
}
