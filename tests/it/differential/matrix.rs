//! Every shape with every ordinary change, every flag and every failure. They are compared with
//! make, so none of them states a result.

use super::rules::words;
use super::scenario::{Scenario, ends, ran, scenario};
use super::shapes::{Shape, shapes};

type Change = fn(Scenario, &Shape) -> Option<Scenario>;

/// Changes that both times and content show.
const CHANGES: &[(&str, Change)] = &[
    ("nothing", |scenario, _| Some(scenario)),
    ("its first source edited", |scenario, shape| {
        Some(scenario.write(&words(shape.sources)[0], "edited"))
    }),
    ("its last source edited and edited back", |scenario, shape| {
        let source = words(shape.sources).pop()?;
        Some(scenario.write(&source, "edited").same("-j1").write(&source, &source))
    }),
    ("its last output deleted", |scenario, shape| {
        (!shape.last.is_empty()).then(|| scenario.remove(shape.last))
    }),
    ("all outputs deleted", |scenario, shape| {
        Some(shape.rules.made().iter().fold(scenario, |scenario, path| scenario.remove(path)))
    }),
    ("a source deleted", |scenario, shape| {
        told_alike(shape).then(|| scenario.remove(&words(shape.sources)[0]))
    }),
    ("a source renamed away and back", |scenario, shape| {
        let source = &words(shape.sources)[0];
        told_alike(shape)
            .then(|| scenario.rename(source, "away").same("-j1").rename("away", source))
    }),
];

/// Returns whether both tools notice every change of this shape. Only zipwright notices that a
/// pattern has fewer members; and it builds the needs of a target before its inputs are missed,
/// because they may make them. `purpose` has both cases.
fn told_alike(shape: &Shape) -> bool {
    !["pattern", "phony below"].contains(&shape.name)
}

/// Returns the shapes without siblings, which make 4.3 handles unreliably: a dry run omits the
/// targets made from the second output, and a failure deletes outputs that it did not touch.
/// `purpose` has both cases.
fn single_outputs() -> impl Iterator<Item = Shape> {
    shapes().into_iter().filter(|shape| shape.name != "two outputs")
}

/// Shape by change: a build, the change, two builds.
pub(super) fn after_changes() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for shape in shapes() {
        for (name, change) in CHANGES {
            let start = scenario(format!("{} after {name}", shape.name), &shape.rules);
            let start = start.sources(shape.sources).run("-j1", ends(0));
            if let Some(changed) = change(start, &shape) {
                scenarios.push(changed.same("-j1").same("-j1"));
            }
        }
    }
    scenarios
}

/// Shape by flags: a first build, a second one, and a build of their remains.
pub(super) fn under_flags() -> Vec<Scenario> {
    let flags = ["", "-j4", "-j", "-k -j1", "-s -j1", "-B -j1", "-n", "-q", "-n -B", "-q -B"];
    let mut scenarios = Vec::new();
    for shape in shapes() {
        for flags in flags {
            let start = scenario(format!("{} with `{flags}`", shape.name), &shape.rules);
            scenarios.push(start.sources(shape.sources).same(flags).same(flags).same("-j1"));
        }
    }
    scenarios
}

/// A built shape by flags that query or pretend: after an edit, and once more.
pub(super) fn asked_after_an_edit() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for shape in single_outputs() {
        for flags in ["-n", "-q"] {
            let name = format!("{} edited, with `{flags}`", shape.name);
            let start = scenario(name, &shape.rules).sources(shape.sources).run("-j1", ends(0));
            let edited = start.write(&words(shape.sources)[0], "edited");
            scenarios.push(edited.same(flags).same("-j1").same(flags));
        }
    }
    scenarios
}

/// Shape by failing target by flags: it fails at once, is repaired, and fails when it is made
/// again.
pub(super) fn with_failures() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for shape in single_outputs() {
        for target in words(shape.fallible) {
            for flags in ["-j1", "-k -j1"] {
                let broken = format!("{target}.broken");
                let name = format!("{}, `{target}` fails with `{flags}`", shape.name);
                let start = scenario(name, &shape.rules).sources(shape.sources);
                let mended = start.write(&broken, "").run(flags, ends(2)).remove(&broken);
                let built = mended.run("-j1", ends(0));
                let edited = built.write(&words(shape.sources)[0], "edited").write(&broken, "");
                scenarios.push(edited.same(flags).same(flags).remove(&broken).same("-j1"));
            }
        }
    }
    scenarios
}

/// A build that was stopped half-way by a failure, and continued with other flags.
pub(super) fn taken_up_again() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for shape in shapes().into_iter().filter(|shape| shape.fallible.contains(' ')) {
        for flags in ["-j4", "-B -j1", "-k -j4"] {
            let broken = format!("{}.broken", words(shape.fallible)[0]);
            let name = format!("{} taken up again with `{flags}`", shape.name);
            let start = scenario(name, &shape.rules).sources(shape.sources).write(&broken, "");
            let stopped = start.run("-j1", ends(2)).remove(&broken);
            scenarios.push(stopped.same(flags).same("-j1"));
        }
    }
    scenarios
}

/// After everything is built, one more run in each other form runs nothing.
pub(super) fn up_to_date() -> Vec<Scenario> {
    shapes()
        .into_iter()
        .filter(|shape| !shape.name.starts_with("phony"))
        .map(|shape| {
            let start = scenario(format!("{} is up to date", shape.name), &shape.rules);
            let built = start.sources(shape.sources).run("-j4", ends(0));
            let asked = built.run("-q", ran("").says("")).run("-n", ran(""));
            asked.run("-j1", ran("")).run("-k", ran("")).run("-j", ran(""))
        })
        .collect()
}
