//! Intended differences to make, each with its reason: each is asserted for both tools.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

const CONTENT: &str = "the content of a file decides, not its time";
const CUTOFF: &str = "unchanged bytes do not run the targets that depend on them";
const MEANING: &str = "the command of a target is part of its fingerprint";

fn chain() -> Rules {
    rules([file("last", "middle"), file("middle", "in")])
}

fn built(name: &str) -> Scenario {
    scenario(name, &chain()).sources("in").run("-j1", ran("middle last"))
}

pub(super) fn content() -> Vec<Scenario> {
    vec![
        built("a touched source").touch("in").differs("-j1", CONTENT, ran("middle last"), ran("")),
        built("a source written again with the same text").write("in", "in").differs(
            "-j1",
            CONTENT,
            ran("middle last"),
            ran(""),
        ),
        built("a touched source, asked").touch("in").differs("-q", CONTENT, ends(1), ends(0)),
        built("a touched source in a dry run").touch("in").differs(
            "-n",
            CONTENT,
            ran("middle last"),
            ran(""),
        ),
        built("an edit with an old time").backdate("in", "new").differs(
            "-j1",
            CONTENT,
            ran(""),
            ran("middle last").leaves("middle", "middle\nnew\n"),
        ),
        built("an edit of the same length with an old time").backdate("in", "ni").differs(
            "-j1",
            CONTENT,
            ran(""),
            ran("middle last"),
        ),
        built("a touched intermediate").touch("middle").differs(
            "-j1",
            CONTENT,
            ran("last"),
            ran(""),
        ),
        built("an output with an old time").backdate("last", "last\nmiddle\nin").differs(
            "-j1",
            CONTENT,
            ran("last"),
            ran(""),
        ),
        built("an older file in place of a source")
            .backdate("older", "old")
            .rename("older", "in")
            .differs("-j1", CONTENT, ran(""), ran("middle last")),
        built("a source made executable").chmod("in", 0o755).differs(
            "-j1",
            "a mode can reach the bundle, so it is part of the content",
            ran(""),
            ran("middle"),
        ),
        built("a deleted intermediate").remove("middle").differs(
            "-j1",
            CUTOFF,
            ran("middle last"),
            ran("middle"),
        ),
        built("an edit and its undoing between two builds")
            .write("in", "new")
            .write("in", "in")
            .differs("-j1", CONTENT, ran("middle last"), ran("")),
    ]
}

pub(super) fn outputs() -> Vec<Scenario> {
    let lazy = rules([
        group("all", "lazy after"),
        command("lazy").inputs("in").outputs("out").script("true"),
        file("after", "in"),
    ]);
    let pair = rules([command("pair")
        .inputs("in")
        .outputs("x y")
        .script("cp in x; test -e lazy || cp in y")]);
    let head = rules([
        file("last", "head"),
        command("head").inputs("in").outputs("head").script("head -c 1 in > head"),
    ]);
    vec![
        built("an output edited by hand").write("last", "mine").differs(
            "-j1",
            "a file that was edited is its user's, and no output",
            ran("").leaves("last", "mine\n"),
            ends(2).ran("last").leaves("last", "mine\n"),
        ),
        built("an intermediate edited by hand").write("middle", "mine").differs(
            "-j1",
            "a file that was edited is its user's, and no output",
            ran("last").leaves("last", "last\nmine\n"),
            ends(2).ran("middle").leaves("middle", "mine\n"),
        ),
        built("an output made executable").chmod("last", 0o755).differs(
            "-j1",
            "an output that its command did not leave is made again",
            ran(""),
            ran("last"),
        ),
        scenario("files made without the tool", &chain()).sources("in middle last").differs(
            "-j1",
            "a file that zipwright did not make is its user's, and no output",
            ran("").leaves("last", "last\n"),
            ends(2).ran("middle").leaves("middle", "middle\n").leaves("last", "last\n"),
        ),
        scenario("an output that is not made", &lazy).sources("in").differs(
            "-j1",
            "a declared output that is not there would fail later, and elsewhere",
            ran("lazy after"),
            ends(2).ran("lazy").lacks("out"),
        ),
        scenario("one output of two that is not made", &pair).sources("in lazy").differs(
            "-j1",
            "a declared output that is not there would fail later, and elsewhere",
            ran("pair").leaves("x", "in\n"),
            ends(2).ran("pair").lacks("x").lacks("build/pair.stamp"),
        ),
        scenario("an edit that gives the same output", &head)
            .sources("in")
            .run("-j1", ran("head last"))
            .write("in", "ink")
            .differs("-j1", CUTOFF, ran("head last"), ran("head")),
    ]
}

pub(super) fn meaning() -> Vec<Scenario> {
    let other = chain().with(file("last", "middle").script("echo other > last"));
    let more = chain().with(file("last", "middle in"));
    let renamed = rules([file("final", "middle"), file("middle", "in")]);
    let pattern = rules([command("join").inputs("src/*").outputs("joined")]);
    let joined = |name: &str| {
        let start = scenario(name, &pattern).sources("src/a src/b");
        start.run("-j1", ran("join").leaves("joined", "joined\nsrc/a\nsrc/b\n"))
    };
    vec![
        built("another command").rewrite(&other).differs(
            "-j1",
            MEANING,
            ran(""),
            ran("last").leaves("last", "other\n"),
        ),
        built("another command, asked").rewrite(&other).differs("-q", MEANING, ends(0), ends(1)),
        built("another command and back").rewrite(&other).rewrite(&chain()).run("-j1", ran("")),
        built("another input").rewrite(&more).differs("-j1", MEANING, ran(""), ran("last")),
        built("another name").rewrite(&renamed).run("-j1", ran("final")),
        joined("a member of a pattern goes").remove("src/a").differs(
            "-j1",
            "a member that is gone is a change like any other",
            ran("").leaves("joined", "joined\nsrc/a\nsrc/b\n"),
            ran("join").leaves("joined", "joined\nsrc/b\n"),
        ),
        joined("a member of a pattern is renamed").rename("src/a", "src/c").differs(
            "-j1",
            "the names of members count, not only when they were written",
            ran(""),
            ran("join").leaves("joined", "joined\nsrc/b\nsrc/a\n"),
        ),
        joined("a member of a pattern comes")
            .write("src/c", "c")
            .run("-j1", ran("join").leaves("joined", "joined\nsrc/a\nsrc/b\nc\n")),
        joined("an old file comes under a pattern").backdate("src/c", "c").differs(
            "-j1",
            "a file that comes is a change, however old it is",
            ran(""),
            ran("join"),
        ),
    ]
}

pub(super) fn mistakes() -> Vec<Scenario> {
    let circle = rules([
        file("a", "b").script("echo a > a"),
        file("b", "a").script("echo b > b"),
        file("c", "in"),
    ]);
    let oneself = rules([file("a", "a in").script("echo a > a")]);
    let twice = rules([
        command("one").inputs("in").outputs("out"),
        command("two").inputs("in").outputs("out"),
    ]);
    let needless = rules([group("all", "out"), file("out", "in").needs("nobody")]);
    let late = rules([group("all", "good bad"), file("good", "in"), file("bad", "missing")]);
    vec![
        scenario("a circle", &circle).sources("in").differs(
            "-j1 a",
            "a circle is a mistake, and make cuts it at an arbitrary place",
            ran("b a"),
            ends(2).ran(""),
        ),
        scenario("a circle elsewhere", &circle).sources("in").differs(
            "-j1 c",
            "a mistake in the rules is reported at once, for every goal",
            ran("c"),
            ends(2).ran(""),
        ),
        scenario("a target made of itself", &oneself).sources("in").differs(
            "-j1",
            "a circle is a mistake, and make cuts it at an arbitrary place",
            ran("a"),
            ends(2).ran(""),
        ),
        scenario("an output of two targets", &twice).sources("in").differs(
            "-j1 out",
            "which of the two wins would be arbitrary",
            ran("two"),
            ends(2).ran(""),
        ),
        scenario("a need that is not there", &needless).sources("in").run("-j1", ends(2).ran("")),
        scenario("a missing input of a target that needs another one", &late)
            .sources("in")
            .differs(
                "-j1",
                "a target that cannot be made is reported before time is spent on the rest",
                ends(2).ran("good"),
                ends(2).ran("").lacks("good"),
            ),
        scenario("the default is not there", &chain().default_goals("nobody"))
            .sources("in")
            .run("-j1", ends(2).ran("")),
    ]
}

/// Several outputs of one command: a grouped target in the Makefile.
pub(super) fn siblings() -> Vec<Scenario> {
    let rules = rules([
        group("all", "use-x use-y"),
        command("pair").inputs("in").outputs("x y"),
        file("use-x", "x"),
        file("use-y", "y"),
    ]);
    let built = |name: &str| {
        let start = scenario(name, &rules).sources("in");
        start.run("-j1", ran("pair use-x use-y"))
    };
    vec![
        built("a dry run of two outputs")
            .write("in", "new")
            .differs(
                "-n",
                "a target of an output that would be made again may change, so it is listed too",
                ran("pair"),
                ran("pair use-x use-y"),
            )
            .run("-j1", ran("pair use-x use-y")),
        built("a failure after a stamp").write("in", "new").write("pair.broken", "").differs(
            "-j1",
            "a stamp says when its target was last done, which a failure does not change",
            ends(2).ran("pair").lacks("x").lacks("y").lacks("build/pair.stamp"),
            ends(2).ran("pair").lacks("x").lacks("y").leaves("build/pair.stamp", ""),
        ),
        built("one of two outputs is gone").remove("y").differs(
            "-j1",
            CUTOFF,
            ran("pair use-y"),
            ran("pair"),
        ),
    ]
}

/// A subcommand, and a needed target that may make an input.
pub(super) fn names() -> Vec<Scenario> {
    let clean = rules([file("out", "in"), phony("clean").script("rm -f out; echo > cleaned")]);
    let needy = rules([file("out", "in").needs("always"), phony("always").script("true")]);
    let maker =
        rules([file("out", "made").needs("always"), phony("always").script("echo made > made")]);
    vec![
        scenario("a target called like a subcommand", &clean).sources("in").differs(
            "clean",
            "`clean` is a subcommand that removes outputs; the target is `build clean`",
            ran("clean").leaves("cleaned", "\n"),
            ran("").lacks("cleaned"),
        ),
        scenario("a missing input of a target that needs another", &needy).differs(
            "-j1",
            "needs run before inputs are missed, because they may make them",
            ends(2).ran(""),
            ends(2).ran("always"),
        ),
        scenario("an input that a needed target makes without saying so", &maker).differs(
            "-j1",
            "needs run before inputs are missed, because they may make them",
            ends(2).ran(""),
            ran("always out").leaves("out", "out\nmade\n"),
        ),
    ]
}

pub(super) fn order_only() -> Vec<Scenario> {
    let rules = rules([
        file("out", "in").after("prepare send"),
        file("prepare", "prepare.in"),
        command("send").inputs("prepare.in"),
        phony("always"),
        file("late", "in").after("always"),
    ]);
    let start = |name: &str| scenario(name, &rules).sources("in prepare.in");
    let built = |name: &str| start(name).run("-j1", ran("prepare send out"));
    vec![
        built("what comes first is no reason")
            .write("prepare.in", "new")
            .run("-j1", ran("prepare send")),
        built("what comes first is made again").remove("prepare").run("-j1", ran("prepare")),
        built("an edit behind an order").write("in", "new").run("-j1", ran("out")),
        start("phony comes first")
            .run("-j1 late", ran("always late"))
            .run("-j1 late", ran("always")),
        start("what comes first, dry").run("-n", ran("prepare send out")),
        start("what comes first, asked").run("-q", ends(1)).run("-j1", ends(0)).run("-q", ran("")),
        start("what comes first fails, with -k").write("prepare.broken", "").differs(
            "-k -j1",
            "`after` affects the order alone: its targets make no inputs",
            ends(2).ran("prepare send").lacks("out"),
            ends(2).ran("prepare send out").leaves("out", "out\nin\n"),
        ),
        start("what comes first fails")
            .write("prepare.broken", "")
            .run("-j1", ends(2).ran("prepare")),
    ]
}
