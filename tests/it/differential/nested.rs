//! Tools that call tools: the same one, make from zipwright, zipwright from make.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

fn inner() -> Rules {
    rules([
        file("inner", "in"),
        file("other", "in"),
        group("both", "inner other"),
        phony("fail").script("exit 5"),
    ])
}

/// Returns rules where `all` calls the tool in the folder `sub`, and makes a file from its result.
fn outer(call: &str) -> Rules {
    rules([
        file("out", "sub/inner").after("sub"),
        phony("sub").script(call),
        phony("fails").script(&format!("{call} fail")),
        phony("both").script(&format!("{call} both")),
    ])
}

const CALLS: [(&str, &str); 4] = [
    ("itself", "%tool% -C sub"),
    ("make", "make -C sub"),
    ("zipwright", "\"$ZIPWRIGHT\" -C sub"),
    ("itself after cd", "cd sub && %tool%"),
];

pub(super) fn calls() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (name, call) in CALLS {
        let start = |what: &str| {
            let start = scenario(format!("calling {name}{what}"), &outer(call));
            start.folder("sub/", &inner()).sources("sub/in")
        };
        scenarios.extend([
            start("").run("-j1 sub", ran("sub inner")).run("-j1 sub", ran("sub")),
            start(" for several").run("-j1 both", ran("both inner other")),
            start(" for several at once").run("-j4 both", ran("both inner other")),
            start(", which fails").run("-j1 fails", ends(2).ran("fails fail")),
            start(", which fails, with -k").run("-k -j1 fails sub", ends(2)),
            start(" after an edit")
                .same("-j1 sub")
                .write("sub/in", "new")
                .run("-j1 sub", ran("sub inner").leaves("sub/inner", "inner\nnew\n")),
            start(" silently").run("-s -j1 sub", ran("sub inner").says("")),
        ]);
        let asked = start(", asked");
        scenarios.push(if call.contains("%tool%") {
            asked.differs(
                "-q sub",
                "a question starts no command, not even one that would call the tool",
                ends(1).ran("sub").lacks("sub/inner"),
                ends(1).ran("").lacks("sub/inner"),
            )
        } else {
            asked.run("-q sub", ends(1).ran("").lacks("sub/inner"))
        });
    }
    scenarios
}

/// An outer build that uses the result of the inner one.
pub(super) fn reads_what_the_inner_one_left() -> Vec<Scenario> {
    let table = [("make", "make -C sub"), ("zipwright", "\"$ZIPWRIGHT\" -C sub")];
    table
        .into_iter()
        .map(|(name, call)| {
            let rules = rules([
                file("out", "sub/inner"),
                command("step").inputs("sub/in").outputs("sub/inner").script(call),
            ]);
            let start = scenario(format!("a file that {name} makes below"), &rules);
            let inner = super::rules::rules([file("inner", "in")]);
            let built =
                start.folder("sub/", &inner).sources("sub/in").run("-j1", ran("step inner out"));
            let edited = built.run("-j1", ran("")).write("sub/in", "new");
            edited.run("-j1", ran("step inner out").leaves("out", "out\ninner\nnew\n"))
        })
        .collect()
}

/// Variables about make in the environment of its commands.
pub(super) fn environment() -> Vec<Scenario> {
    let level = phony("level").script("echo ${MAKELEVEL:-none} > level");
    let sub = phony("deeper").script("%tool% -s -C sub level");
    let outer = rules([level.clone(), sub]);
    let inner = rules([level]);
    let start = |name: &str| scenario(name, &outer).folder("sub/", &inner);
    vec![
        start("MAKELEVEL of a command").run("-s -j1 level", ran("level").leaves("level", "1\n")),
        start("MAKELEVEL two levels down")
            .run("-s -j1 deeper", ran("deeper level").leaves("sub/level", "2\n")),
        start("MAKELEVEL from outside")
            .run("-s -j1 level", ran("level").leaves("level", "8\n"))
            .env("MAKELEVEL", "7"),
        start("flags in MAKEFLAGS").run("level", ran("").lacks("level")).env("MAKEFLAGS", "n"),
    ]
}
