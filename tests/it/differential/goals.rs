//! Goals and variables on the command line.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

fn project() -> Rules {
    rules([
        command("app").inputs("lib.o main.c").outputs("build/app"),
        file("lib.o", "lib.c"),
        file("manual", "manual.txt"),
        command("check").inputs("lib.c"),
        phony("test").needs("app"),
        group("all", "app manual check"),
        group("nothing", "all"),
    ])
}

fn start(name: impl Into<String>) -> Scenario {
    scenario(name, &project()).sources("main.c lib.c manual.txt")
}

/// Goals, and the commands of their first build.
pub(super) fn goals() -> Vec<Scenario> {
    let table = [
        ("", "lib.o app"),
        ("app", "lib.o app"),
        ("lib.o", "lib.o"),
        ("build/app", "lib.o app"),
        ("./build/app", "lib.o app"),
        ("build/check.stamp", "check"),
        ("check", "check"),
        ("manual lib.o", "manual lib.o"),
        ("lib.o manual", "lib.o manual"),
        ("app app", "lib.o app"),
        ("app lib.o", "lib.o app"),
        ("lib.o app", "lib.o app"),
        ("build/app app", "lib.o app"),
        ("all", "lib.o app manual check"),
        ("all app", "lib.o app manual check"),
        ("nothing", "lib.o app manual check"),
        ("test", "lib.o app test"),
        ("test test", "lib.o app test"),
        ("test manual", "lib.o app test manual"),
    ];
    table
        .into_iter()
        .map(|(goals, first)| {
            let again = if goals.contains("test") { "test" } else { "" };
            let scenario = start(format!("goals `{goals}`"));
            let words = format!("-j1 {goals}");
            scenario.run(&words, ran(first)).run(&words, ran(again)).same("-j1 all")
        })
        .collect()
}

/// Positions of goals and flags on a command line.
pub(super) fn command_lines() -> Vec<Scenario> {
    let table = [
        ("manual -j1", "manual"),
        ("-j1 manual -k lib.o", "manual lib.o"),
        ("-kj1 manual", "manual"),
        ("-j 1 manual", "manual"),
        ("--jobs=1 manual", "manual"),
        ("--jobs 1 manual", "manual"),
        ("--keep-going manual", "manual"),
        ("--always-make manual", "manual"),
        ("--silent manual", "manual"),
        ("--quiet manual", "manual"),
        ("-j1 -- manual", "manual"),
        ("-j4 -j1 manual", "manual"),
        ("-j manual", "manual"),
        ("-C . manual", "manual"),
        ("-C build -C .. manual", "manual"),
        ("--directory=. manual", "manual"),
        ("--directory . manual", "manual"),
        ("-f %file% manual", "manual"),
        ("--file=%file% manual", "manual"),
        ("-f ./%file% manual", "manual"),
        ("-C build -f ../%file% nonsense", ""),
    ];
    table
        .into_iter()
        .map(|(words, expected)| {
            let end = if words.contains("nonsense") { 2 } else { 0 };
            let scenario = start(format!("typed as `{words}`")).write("build/.keep", "");
            scenario.run(words, ends(end).ran(expected))
        })
        .collect()
}

pub(super) fn default_goals() -> Vec<Scenario> {
    let two = [file("one", "in"), file("two", "in"), file("three", "in")];
    let start = |name: &str, rules: &Rules| scenario(name, rules).write("in", "in");
    vec![
        start("the first target is the default", &rules(two.clone())).run("-j1", ran("one")),
        start("a default that is not the first", &rules(two.clone()).default_goals("two"))
            .run("-j1", ran("two"))
            .run("-j1 one", ran("one")),
        start("several defaults", &rules(two.clone()).default_goals("three one"))
            .run("-j1", ran("three one"))
            .run("-j1", ran("")),
        start("a group is the default", &rules(two).default_goals("two"))
            .run("-j1 one", ran("one")),
        start("no targets at all", &rules([])).run("", ends(2)),
    ]
}

/// Words that are not a goal.
pub(super) fn unknown() -> Vec<Scenario> {
    vec![
        start("a goal that is not there").run("-j1 nonsense", ends(2).ran("")),
        start("only unknown goals, with -k").run("-j1 -k nonsense rubbish", ends(2).ran("")),
        start("an unknown goal, asked").run("-q nonsense", ends(2).ran("")),
        start("an unknown goal in a dry run").run("-n nonsense", ends(2).ran("")),
        start("an unknown flag").run("--nonsense", ends(2).ran("")),
        start("an unknown short flag").run("-Z", ends(2).ran("")),
        start("a flag without its value").run("-C", ends(2).ran("")),
        start("a file without its name").run("-f", ends(2).ran("")),
        start("no number of jobs").run("-j0", ends(2).ran("")),
        start("a number of jobs that is none").run("-jx app", ends(2).ran("")),
        start("a folder that is not there").run("-C nowhere", ends(2).ran("")),
        start("a file of rules that is not there").run("-f nowhere", ends(2).ran("")),
        start("no rules").remove("%file%").run("", ends(2).ran("")),
        start("rules that are not understood").write("%file%", "? ? ?").run("", ends(2).ran("")),
        start("an unknown goal before a known one").differs(
            "-j1 nonsense manual -k",
            "all goals are looked up before anything runs: a typo costs no time",
            ends(2).ran("manual"),
            ends(2).ran(""),
        ),
        start("a known goal before an unknown one").differs(
            "-j1 manual nonsense",
            "all goals are looked up before anything runs: a typo costs no time",
            ends(2).ran("manual"),
            ends(2).ran(""),
        ),
        start("a source as a goal").differs(
            "-j1 main.c",
            "a goal is a target or its output; a source is always up to date",
            ends(0).ran(""),
            ends(2).ran(""),
        ),
    ]
}

pub(super) fn variables() -> Vec<Scenario> {
    let say = command("say").outputs("said").script("echo %word% %other% > said");
    let rules = rules([say.clone(), phony("shout").script("echo %word% > shouted")])
        .var("word", "file")
        .var("other", "same");
    let start = |name: &str| scenario(name, &rules);
    let said = |text: &str| ran("say").leaves("said", &format!("{text}\n"));
    vec![
        start("a variable of the file").run("-j1", said("file same")),
        start("a variable of the command line").run("-j1 word=typed", said("typed same")),
        start("a variable after the goal").run("-j1 say word=typed", said("typed same")),
        start("two variables").run("word=a other=b", said("a b")),
        start("a variable given twice").run("word=a word=b", said("b same")),
        start("an empty variable").run("word=", said("same")),
        start("a value with an equals sign").run("word=a=b", said("a=b same")),
        start("the environment sets nothing").run("-j1", said("file same")).env("word", "shell"),
        start("a variable for a phony target")
            .run("shout", ran("shout").leaves("shouted", "file\n"))
            .run("shout word=typed", ran("shout").leaves("shouted", "typed\n")),
        start("a variable of another value than before").run("-j1", said("file same")).differs(
            "-j1 word=typed",
            "a variable's value is an input of its target",
            ran("").leaves("said", "file same\n"),
            said("typed same"),
        ),
        start("a variable's default edited in the rules")
            .run("-j1", said("file same"))
            .rewrite(&super::rules::rules([say]).var("word", "new").var("other", "same"))
            .differs(
                "-j1",
                "a variable's value is an input of its target",
                ran("").leaves("said", "file same\n"),
                said("new same"),
            ),
        start("the same variable twice runs once")
            .run("-j1 word=typed", said("typed same"))
            .run("-j1 word=typed", ran("")),
        start("a variable that is not declared").differs(
            "-j1 wrod=typed",
            "a mistyped variable would deploy to the wrong place without a word",
            said("file same"),
            ends(2).ran("").lacks("said"),
        ),
    ]
}

pub(super) fn folders() -> Vec<Scenario> {
    let outer = rules([file("outer", "in")]);
    let inner = rules([file("inner", "in"), command("deep").inputs("in").outputs("a/b/deep")]);
    let start = |name: &str| {
        let scenario = scenario(name, &outer).folder("sub/", &inner).folder("sub/more/", &inner);
        scenario.folder("rules/other.", &outer).sources("in sub/in sub/more/in")
    };
    vec![
        start("-C").run("-j1 -C sub", ran("inner").leaves("sub/inner", "inner\nsub/in\n")),
        start("-C, and a goal").run("-C sub deep", ran("deep")).run("-C sub deep", ran("")),
        start("-C and a path as goal").run("-C sub a/b/deep", ran("deep")),
        start("-C twice").run("-j1 -C sub -C more", ran("inner").lacks("sub/inner")),
        start("-C, and -C back").run("-C sub -C ..", ran("outer").lacks("sub/inner")),
        start("-C without a blank").run("-Csub", ran("inner")),
        start("-C of a file").run("-C in", ends(2).ran("")),
        start("-C, asked").run("-C sub -q", ends(1).ran("")).run("-C sub", ran("inner")),
        start("-C, -n").run("-C sub -n", ran("inner").lacks("sub/inner")),
        start("-f, elsewhere")
            .run("-j1 -f rules/other.%file%", ran("outer").leaves("outer", "outer\nin\n")),
        start("-f after -C").run("-C rules -C .. -f rules/other.%file%", ran("outer")),
        start("-f before -C")
            .run("-f more/%file% -C sub", ran("inner").leaves("sub/inner", "inner\nsub/in\n")),
        start("two folders are two projects")
            .run("-C sub", ran("inner"))
            .run("-C sub/more", ran("inner"))
            .run("", ran("outer"))
            .run("-C sub", ran("")),
    ]
}
