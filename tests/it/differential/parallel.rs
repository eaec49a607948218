//! Parallel and serial runs: which targets may run together, and in which order.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

/// Returns two commands that each wait for the other: they end only if they run at the same time.
/// The time limit is for a tool that never runs them together.
fn meeting() -> Rules {
    let limit = "timeout 20 sh -c";
    rules([
        group("all", "one two"),
        phony("one").script(&format!("{limit} 'echo > a; read x < b'")),
        phony("two").script(&format!("{limit} 'read x < a; echo > b'")),
        phony("pipes").script("mkfifo a b"),
        phony("tidy").script("rm a b"),
    ])
}

pub(super) fn at_once() -> Vec<Scenario> {
    ["-j2", "-j4", "-j", "-j 2", "--jobs=2", "--jobs", "-kj2", "-j2 -k", "-Oline -j2"]
        .into_iter()
        .map(|flags| {
            let start = scenario(format!("two meet with `{flags}`"), &meeting());
            let met = start.run("pipes", ran("pipes")).run(&format!("{flags} all"), ran("one two"));
            met.run("tidy", ran("tidy"))
        })
        .collect()
}

/// Orders of lists, in which the targets must run one at a time.
pub(super) fn one_at_a_time() -> Vec<Scenario> {
    let files = |names: &str| {
        let files = names.split_whitespace().map(|name| file(name, "in"));
        files.collect::<Vec<_>>()
    };
    let listed = |members: &str| rules([vec![group("all", members)], files("a b c d")].concat());
    let deep = rules([
        group("all", "x y"),
        file("x", "x2 x1"),
        file("x1", "x0"),
        file("x2", "in"),
        file("x0", "in"),
        file("y", "y1 x1"),
        file("y1", "in"),
    ]);
    let mixed = rules([
        command("goal").inputs("a in").needs("b").after("c").outputs("goal"),
        file("c", "in"),
        file("b", "in"),
        file("a", "in"),
    ]);
    let start = |name: String, rules: &Rules| scenario(name, rules).sources("in");
    let mut scenarios: Vec<Scenario> = ["a b c d", "d c b a", "b d a c", "c c a"]
        .into_iter()
        .map(|members| start(format!("a group lists {members}"), &listed(members)).same("-j1"))
        .collect();
    scenarios.extend(["a b c", "c b a", "b b a"].into_iter().map(|goals| {
        start(format!("goals in the order {goals}"), &listed("a")).same(&format!("-j1 {goals}"))
    }));
    scenarios.extend([
        start("depth first".into(), &deep).same("-j1"),
        start("depth first, from the side".into(), &deep).same("-j1 y x"),
        start("depth first, half done".into(), &deep).same("-j1 x1").same("-j1"),
        start("inputs, needs, after".into(), &mixed).same("-j1"),
    ]);
    scenarios
}

pub(super) fn with_failures() -> Vec<Scenario> {
    let rules = rules([
        group("all", "a b c d"),
        file("a", "in"),
        file("b", "in"),
        file("c", "in"),
        file("d", "in"),
    ]);
    let start = |name: &str| scenario(name, &rules).sources("in").write("b.broken", "");
    vec![
        start("one of four fails, -k -j4").run("-k -j4", ends(2).ran("a b c d").lacks("b")),
        start("one of four fails, -k -j").run("-k -j", ends(2).ran("a b c d").lacks("b")),
        start("one of four fails, -j1").run("-j1", ends(2).ran("a b")),
        start("-j4 after a failure")
            .run("-j1", ends(2))
            .remove("b.broken")
            .run("-j4", ran("b c d")),
        start("-j4 with a need that failed")
            .write("a.broken", "")
            .run("-k -j4", ends(2).ran("a b c d")),
    ]
}

/// Any order is right if everything is made once.
pub(super) fn shuffled() -> Vec<Scenario> {
    ["--shuffle", "--shuffle=7", "--shuffle=reverse", "--shuffle=none", "--shuffle=random"]
        .into_iter()
        .map(|flag| {
            let rules = rules([file("top", "l r"), file("l", "in"), file("r", "in")]);
            let start = scenario(format!("in any order, `{flag}`"), &rules).sources("in");
            start.differs(
                flag,
                "make learnt it with 4.4; this is 4.3, which does not know it",
                ends(2).ran("").lacks("top"),
                ran("l r top"),
            )
        })
        .collect()
}
