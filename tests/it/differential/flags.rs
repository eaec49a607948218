//! Flags that pretend: `-B`, `-t`, `-W`, `-o`, `-i`; and flags that control the run.

use super::rules::{Rules, command, file, group, phony, rules};
use super::scenario::{Scenario, ends, ran, scenario};

/// The reason why a change to the same bytes goes no further.
const CUTOFF: &str = "unchanged bytes do not run the targets that depend on them";

fn chain() -> Rules {
    rules([
        file("last", "middle"),
        file("middle", "first extra"),
        file("first", "in"),
        command("send").inputs("last"),
        phony("test").needs("last"),
        group("all", "send last"),
        file("other", "extra"),
    ])
}

fn built(name: impl Into<String>) -> Scenario {
    scenario(name, &chain()).sources("in extra").run("-j1 all", ran("first middle last send"))
}

fn fresh(name: &str) -> Scenario {
    scenario(name, &chain()).sources("in extra")
}

pub(super) fn always() -> Vec<Scenario> {
    vec![
        built("-B").run("-B -j1 all", ran("first middle last send")).run("-j1 all", ran("")),
        built("-B of one goal").run("-B -j1 middle", ran("first middle")),
        built("-B, dry").run("-B -n all", ran("first middle last send")),
        built("-B, asked").run("-B -q all", ends(1).ran("")).run("-q all", ran("")),
        built("-B, several at once").run("-B -j4 all", ran("first middle last send")),
        built("-B and phony").run("-B -j1 test", ran("first middle last test")),
        built("-B with -k").run("-B -k -j1 last", ran("first middle last")),
        built("--always-make").run("--always-make -j1 first", ran("first")),
    ]
}

pub(super) fn touch() -> Vec<Scenario> {
    let stale = |name: &str| built(name).write("in", "new");
    vec![
        stale("-t after an edit")
            .run("-t -j1 last", ran("").leaves("first", "first\nin\n"))
            .run("-j1 last", ran("")),
        stale("-t of one of a chain").run("-t -j1 first", ran("")).run("-q first", ran("")),
        stale("-t, then asked").run("-t all", ran("")).run("-q all", ran("")),
        stale("-t and a later edit")
            .run("-t all", ran(""))
            .write("extra", "new")
            .run("-j1 all", ran("middle last send")),
        built("-t of an up-to-date target").run("-t all", ran("")).run("-q all", ran("")),
        built("--touch").write("in", "new").run("--touch all", ran("")).run("-q all", ran("")),
        fresh("-t of a missing output")
            .run("-t first", ran("").leaves("first", ""))
            .run("-q first", ran("")),
        fresh("-t of a missing input").remove("in").run("-t first", ends(2).ran("").lacks("first")),
        fresh("-t of a phony target").run("-t test", ran("").lacks("test")).same("-q test"),
    ]
}

pub(super) fn what_if() -> Vec<Scenario> {
    vec![
        built("-W of a source, dry").run("-n -W in all", ran("first middle last send")),
        built("-W of a source, asked").run("-q -W in all", ends(1)).run("-q all", ran("")),
        built("-W of a source that one target reads").run("-n -W extra middle", ran("middle")),
        built("-W of a file that no goal needs").run("-j1 -W extra first", ran("")),
        built("-W, run").run("-j1 -W in first", ran("first")).run("-j1 first", ran("")),
        built("-W without a blank").run("-j1 -Win first", ran("first")),
        built("--what-if").run("-j1 --what-if=in first", ran("first")),
        built("--assume-new").run("-j1 --assume-new=in first", ran("first")),
        built("--new-file").run("-j1 --new-file=in first", ran("first")),
        built("-W twice").run("-n -W in -W extra all", ran("first middle last send")),
        built("-W of the last made").run("-j1 -W last send", ran("send")),
        built("-W of an unknown file").run("-j1 -W unknown all", ran("")),
        built("-W through a chain").differs(
            "-j1 -W in all",
            CUTOFF,
            ran("first middle last send"),
            ran("first"),
        ),
    ]
}

pub(super) fn old_file() -> Vec<Scenario> {
    let edited = |name: &str| built(name).write("in", "new").write("extra", "new");
    vec![
        edited("-o of a source").run("-j1 -o in first", ran("")).run("-q first", ends(1)),
        edited("-o of one of two sources").run("-j1 -o in all", ran("middle last send")),
        edited("-o of a made file").run("-j1 -o first -o extra all", ran("")),
        edited("-o of a made file, not of all").run("-j1 -o first all", ran("middle last send")),
        edited("-o, dry").run("-n -o in -o extra all", ran("")),
        edited("-o, asked").run("-q -o in -o extra all", ran("")),
        edited("-o, and then without it")
            .run("-j1 -o in -o extra all", ran(""))
            .run("-j1 all", ran("first middle last send")),
        edited("--old-file").run("-j1 --old-file=in first", ran("")),
        edited("--assume-old").run("-j1 --assume-old=in first", ran("")),
        edited("-o without a blank").run("-j1 -oin first", ran("")),
        edited("-o of a goal").run("-j1 -o last last", ran("")),
    ]
}

pub(super) fn ignore_errors() -> Vec<Scenario> {
    let rules = rules([
        group("all", "check lint out"),
        phony("check").script("exit 3"),
        phony("lint").script("echo lint; exit 1"),
        file("out", "in").after("check"),
        file("useless", "bad"),
        command("bad").inputs("in").outputs("bad").script("cp in bad; exit 1"),
    ]);
    let start = |name: &str| scenario(name, &rules).sources("in");
    vec![
        start("without -i").run("-j1", ends(2).ran("check")),
        start("-i of phony targets").run("-i -j1", ran("check lint out")),
        start("--ignore-errors").run("--ignore-errors -j1", ran("check lint out")),
        start("-i with several at once").run("-i -j4", ran("check lint out")),
        start("-i, and then without").run("-i -j1", ran("check lint out")).run("-j1", ends(2)),
        start("-i makes no rule for a missing input").remove("in").differs(
            "-i -j1 out",
            "`after` targets run before inputs are missed, because they may make them",
            ends(2).ran("").lacks("out"),
            ends(2).ran("check").lacks("out"),
        ),
    ]
}

/// Flags that control the run without changing its result.
pub(super) fn manners() -> Vec<Scenario> {
    let table = [
        "-S",
        "--stop",
        "--no-keep-going",
        "-k -S",
        "-O",
        "-Otarget",
        "-Oline",
        "-Onone",
        "--output-sync",
        "--output-sync=line",
        "-l 100",
        "-l100",
        "-l",
        "--load-average=100",
        "--max-load=100",
        "-w",
        "--print-directory",
        "--no-print-directory",
        "-r",
        "-R",
        "-rR",
        "-d",
        "--trace",
        "-e",
        "-b",
        "-m",
        "--jobs=2 -l 50 -Oline",
        "--no-print-directory -s",
        "-ks",
        "-wk",
        "-kk -k",
        "-BsB",
        "--just-print -q",
    ];
    let each = table.into_iter().map(|flags| {
        let start = scenario(format!("`{flags}` builds the same"), &chain());
        let words = format!("-j1 {flags} all");
        start.sources("in extra").same(&words).same(&words)
    });
    let stop = fresh("-S takes back -k").write("first.broken", "");
    let stopped = stop.run("-j1 -k -S first other", ends(2).ran("first"));
    each.chain([stopped]).collect()
}

/// With `-s` and `-q`, only the output of commands is printed.
pub(super) fn silence() -> Vec<Scenario> {
    let rules = rules([
        group("all", "loud out"),
        phony("loud").script("echo out; echo err >&2"),
        file("out", "in"),
    ]);
    let start = |name: &str| scenario(name, &rules).sources("in");
    vec![
        start("-s of a quiet command").run("-s -j1 out", ran("out").says("")),
        start("-s of an up-to-date target").same("-j1 out").run("-s out", ran("").says("")),
        start("-s lets commands speak").run("-s -j1 loud", ran("loud").says("out\nerr\n")),
        start("-s of both").run("-s -j1 all", ran("loud out").says("out\nerr\n")),
        start("--silent").run("--silent -j1 loud", ran("loud").says("out\nerr\n")),
        start("-q says nothing").run("-q out", ends(1).says("")),
        start("-q says nothing when all is well").same("-j1 out").run("-q out", ran("").says("")),
        start("-s with -k").run("-sk -j1 out", ran("out").says("")),
        start("-s -n says nothing of folders").run("-s -q -C . out", ends(1).says("")),
    ]
}
