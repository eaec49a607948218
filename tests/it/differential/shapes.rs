//! Shapes of dependency graphs, to which every operation and flag is applied.

use super::rules::{Rules, command, file, group, phony, rules};

pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) rules: Rules,
    /// Files that exist from the start.
    pub(super) sources: &'static str,
    /// An output that no other is made from; empty if there is none.
    pub(super) last: &'static str,
    /// Targets that can be made to fail.
    pub(super) fallible: &'static str,
}

pub(super) fn shapes() -> Vec<Shape> {
    [lines_and_fans(), shared(), named_edges(), phony_and_groups()].into_iter().flatten().collect()
}

/// Files made from files.
fn lines_and_fans() -> Vec<Shape> {
    vec![
        Shape {
            name: "one file",
            rules: rules([file("out", "in")]),
            sources: "in",
            last: "out",
            fallible: "out",
        },
        Shape {
            name: "chain of four",
            rules: rules([file("d", "c"), file("b", "a"), file("c", "b"), file("a", "src")]),
            sources: "src",
            last: "d",
            fallible: "a c d",
        },
        Shape {
            name: "diamond",
            rules: rules([
                file("top", "left right"),
                file("left", "base"),
                file("right", "base"),
                file("base", "src"),
            ]),
            sources: "src",
            last: "top",
            fallible: "base left right",
        },
        Shape {
            name: "fan-out",
            rules: rules([
                group("all", "w x y z"),
                file("w", "w.in"),
                file("x", "x.in"),
                file("y", "y.in"),
                file("z", "z.in"),
            ]),
            sources: "w.in x.in y.in z.in",
            last: "y",
            fallible: "w y",
        },
        Shape {
            name: "fan-in",
            rules: rules([
                file("app", "one.o two.o three.o"),
                file("one.o", "one.c common.h"),
                file("two.o", "two.c common.h"),
                file("three.o", "three.c"),
            ]),
            sources: "common.h one.c two.c three.c",
            last: "app",
            fallible: "two.o app",
        },
    ]
}

/// Files made from files, with common inputs.
fn shared() -> Vec<Shape> {
    vec![
        Shape {
            name: "two subtrees",
            rules: rules([
                group("all", "left right"),
                file("left", "left.o"),
                file("left.o", "left.c"),
                file("right", "right.o"),
                file("right.o", "right.c"),
            ]),
            sources: "left.c right.c",
            last: "right",
            fallible: "left.o left right.o",
        },
        Shape {
            name: "shared input",
            rules: rules([group("all", "left right"), file("left", "src"), file("right", "src")]),
            sources: "src",
            last: "left",
            fallible: "right",
        },
        Shape {
            name: "folders",
            rules: rules([
                command("package").inputs("build/obj/a/x.o").outputs("build/out/deep/package"),
                command("object").inputs("src/a/x.c").outputs("build/obj/a/x.o"),
            ]),
            sources: "src/a/x.c",
            last: "build/out/deep/package",
            fallible: "object",
        },
    ]
}

/// Edges other than from file to file.
fn named_edges() -> Vec<Shape> {
    vec![
        Shape {
            name: "two outputs",
            rules: rules([
                group("all", "use-x use-y"),
                command("generate").inputs("in").outputs("x y"),
                file("use-x", "x"),
                file("use-y", "y"),
            ]),
            sources: "in",
            last: "use-y",
            fallible: "generate use-x",
        },
        Shape {
            name: "stamp between",
            rules: rules([
                file("report", "in build/check.stamp"),
                command("check").inputs("in rules"),
            ]),
            sources: "in rules",
            last: "report",
            fallible: "check report",
        },
        Shape {
            name: "stamp last",
            rules: rules([command("deploy").inputs("bundle"), file("bundle", "in")]),
            sources: "in",
            last: "build/deploy.stamp",
            fallible: "bundle deploy",
        },
        Shape {
            name: "order-only",
            rules: rules([file("out", "in").after("prepare"), file("prepare", "prepare.in")]),
            sources: "in prepare.in",
            last: "out",
            fallible: "out",
        },
        Shape {
            name: "needs",
            rules: rules([
                file("report", "in").needs("data"),
                command("data").inputs("data.in").outputs("build/data"),
            ]),
            sources: "in data.in",
            last: "report",
            fallible: "data",
        },
    ]
}

fn phony_and_groups() -> Vec<Shape> {
    vec![
        Shape {
            name: "phony on top",
            rules: rules([phony("test").needs("lib"), file("lib", "lib.in")]),
            sources: "lib.in",
            last: "",
            fallible: "test lib",
        },
        Shape {
            name: "phony below",
            rules: rules([file("out", "in").needs("always"), phony("always")]),
            sources: "in",
            last: "out",
            fallible: "always out",
        },
        Shape {
            name: "groups in groups",
            rules: rules([
                group("all", "left right"),
                group("left", "a b"),
                group("right", "c"),
                file("a", "a.in"),
                file("b", "a b.in"),
                file("c", "c.in"),
            ]),
            sources: "a.in b.in c.in",
            last: "c",
            fallible: "a c",
        },
        Shape {
            name: "pattern",
            rules: rules([command("join").inputs("src/*.txt").outputs("build/joined")]),
            sources: "src/a.txt src/b.txt",
            last: "build/joined",
            fallible: "join",
        },
    ]
}
