//! Commands that fail in different ways, and the remains of their work.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

/// Returns rules where `bad` is the first of three, and `worse` is made from it.
fn around(bad: &str) -> Rules {
    rules([
        group("all", "good worse late"),
        file("good", "in"),
        command("bad").inputs("in").outputs("bad").script(bad),
        file("worse", "bad"),
        file("late", "in"),
    ])
}

fn start(name: impl Into<String>, bad: &str) -> Scenario {
    scenario(name, &around(bad)).write("in", "in")
}

/// Ways to fail.
pub(super) fn ends_of_commands() -> Vec<Scenario> {
    let table = [
        ("exit status 1", "exit 1"),
        ("exit status 2", "exit 2"),
        ("exit status 255", "exit 255"),
        ("a program that is not there", "no-such-program-anywhere"),
        ("a file that is not executable", "./in"),
        ("SIGKILL", "kill -9 $$"),
        ("SIGTERM", "kill -15 $$"),
        ("SIGSEGV", "kill -11 $$"),
        ("a syntax error", "if then"),
        ("half an output", "echo half > bad; exit 1"),
        ("an output and a failure", "cat in > bad; exit 1"),
        ("half an output and a signal", "echo half > bad; kill -9 $$"),
        ("a file beside the output", "echo half > beside; exit 1"),
    ];
    let ways = table.into_iter().flat_map(|(name, script)| {
        ["-j1", "-k -j1"].map(|flags| {
            let start = start(format!("{name} with `{flags}`"), script);
            start.run(flags, ends(2).lacks("bad").lacks("worse")).same(flags)
        })
    });
    // An invalid script does not even print its name.
    ways.collect()
}

pub(super) fn keep_going() -> Vec<Scenario> {
    let two = rules([
        group("all", "a b c"),
        file("a", "in"),
        file("b", "in"),
        file("c", "a b in"),
        phony("last").needs("b").after("c"),
    ]);
    let broken = |name: &str| {
        let scenario = scenario(name, &two).sources("in");
        scenario.write("a.broken", "").write("b.broken", "")
    };
    let start = |name: &str| start(name, "exit 7");
    vec![
        start("without -k the rest is not begun")
            .run("-j1", ends(2).ran("good bad"))
            .run("-j1", ends(2).ran("bad")),
        start("with -k the rest is made").run("-k -j1", ends(2).ran("good bad late")),
        start("-k, several at once").run("-k -j4", ends(2).ran("good bad late")),
        start("-k, then without").run("-k -j1", ends(2)).run("-j1", ends(2).ran("bad")),
        start("--keep-going").run("--keep-going -j1", ends(2).ran("good bad late")),
        start("-k and a goal that is spared").run("-k -j1 good", ran("good")),
        start("-k and goals one by one")
            .run("-k -j1 worse late", ends(2).ran("bad late").lacks("worse")),
        start("goals in a row stop at a failure").run("-j1 worse late", ends(2).ran("bad")),
        start("a failure does not undo other targets").run("-j1", ends(2)).run("-q good", ran("")),
        start("-q after a failure").run("-j1", ends(2)).run("-q", ends(1).ran("")),
        broken("two failures").run("-k -j1", ends(2).ran("a b")),
        broken("two failures, one mended")
            .run("-k -j1", ends(2).ran("a b"))
            .remove("a.broken")
            .run("-k -j1", ends(2).ran("a b").lacks("c"))
            .remove("b.broken")
            .run("-k -j1", ran("b c")),
        broken("two failures without -k").run("-j1", ends(2).ran("a")),
        broken("phony after failures").run("-k -j1 last", ends(2).ran("a b")),
    ]
}

pub(super) fn missing_inputs() -> Vec<Scenario> {
    let rules = rules([
        group("all", "out other"),
        file("out", "middle"),
        file("middle", "in missing"),
        file("other", "in"),
    ]);
    let start = |name: &str| scenario(name, &rules).sources("in");
    vec![
        start("a missing input").run("-j1 out", ends(2).ran("")),
        start("a missing input, asked").run("-q out", ends(2).ran("")),
        start("a missing input in a dry run").run("-n out", ends(2).ran("")),
        start("a missing input with -k").run("-k -j1", ends(2).ran("other")),
        start("a missing input that comes")
            .run("-j1 out", ends(2))
            .sources("missing")
            .run("-j1 out", ran("middle out").leaves("out", "out\nmiddle\nin\nmissing\n")),
        start("an input that goes")
            .sources("missing")
            .run("-j1", ends(0))
            .remove("missing")
            .run("-j1", ends(2).ran("").leaves("middle", "middle\nin\nmissing\n")),
        start("a removed input, and targets that do not need it")
            .sources("missing")
            .run("-j1", ends(0))
            .remove("missing")
            .run("-j1 other", ran("")),
        start("a folder in place of an input's folder")
            .write("missing/in-it", "x")
            .remove("in")
            .run("-j1 other", ends(2).ran("")),
    ]
}

/// The remains of an output that existed before, and of others.
pub(super) fn leftovers() -> Vec<Scenario> {
    let failing = "test ! -e broken || exit 1";
    let untouched = rules([command("out")
        .inputs("in")
        .outputs("out")
        .script(&format!("{failing}; cp in out"))]);
    let stamped = rules([command("send").inputs("in").script(failing)]);
    let start = |name: &str, rules: &Rules| scenario(name, rules).sources("in").same("-j1");
    vec![
        start("an output that the failure did not touch stays", &untouched)
            .write("in", "new")
            .write("broken", "")
            .run("-j1", ends(2).leaves("out", "in\n"))
            .run("-j1", ends(2).leaves("out", "in\n"))
            .remove("broken")
            .run("-j1", ran("out").leaves("out", "new\n")),
        start("a stamp is not touched by a failure", &stamped)
            .write("in", "new")
            .write("broken", "")
            .run("-j1", ends(2).leaves("build/send.stamp", ""))
            .run("-q", ends(1))
            .remove("broken")
            .run("-j1", ran("send"))
            .run("-j1", ran("")),
        scenario("no stamp after a first failure", &stamped)
            .sources("in")
            .write("broken", "")
            .run("-j1", ends(2).lacks("build/send.stamp")),
    ]
}

const SIGNALS: [(&str, i32); 3] = [("SIGHUP", 1), ("SIGINT", 2), ("SIGTERM", 15)];

/// A signal to the tool while a command is running.
pub(super) fn signals() -> Vec<Scenario> {
    let slow =
        "echo half > out; if test -e slow; then true > started; exec sleep 60; fi; cp in out";
    let rules = rules([
        file("last", "out"),
        command("out").inputs("in").outputs("out").script(slow),
        command("send").inputs("in").script("test ! -e slow || { true > started; exec sleep 60; }"),
    ]);
    let mut scenarios = Vec::new();
    for (name, number) in SIGNALS {
        for goal in ["last", "send"] {
            let start = scenario(format!("{name} while making `{goal}`"), &rules).sources("in");
            let stopped = start.write("slow", "").run(
                &format!("-j1 {goal}"),
                ends(-number).lacks("out").lacks("last").lacks("build/send.stamp"),
            );
            let again = stopped.signal(number).remove("slow").remove("started");
            scenarios.push(again.same(&format!("-j1 {goal}")).run(&format!("-q {goal}"), ran("")));
        }
        let start = scenario(format!("{name} with -k"), &rules).sources("in").write("slow", "");
        scenarios.push(start.run("-k -j1 last send", ends(-number).ran("out")).signal(number));
    }
    scenarios
}
