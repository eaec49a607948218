//! Buildfiles as data: every error in `tests/buildfiles/invalid` with its message beside it, every
//! example of the docs, and the edges of small Buildfiles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use super::*;
use crate::buildfile::Loaded;
use crate::targets;

/// If set, expected messages are written instead of compared; read the diff before committing.
const BLESS: &str = "ZIPWRIGHT_BLESS";

fn all_mistakes(text: &str) -> String {
    let Loaded { model, mut diagnostics } = targets::load(text, &BTreeMap::new());
    diagnostics.extend(Graph::new(&model).1);
    diagnostics.sort_by_key(Diagnostic::position);
    diagnostics.iter().map(|mistake| mistake.render("Buildfile", text, false) + "\n\n").collect()
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap()
}

/// The model of a Buildfile without mistakes.
#[track_caller]
fn sound(text: &str) -> Model {
    assert_eq!(all_mistakes(text), "", "in:\n{text}");
    targets::load(text, &BTreeMap::new()).model
}

#[test]
fn every_mistake_is_shown_as_expected() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(in_repository("tests/buildfiles/invalid"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    for file in files {
        let shown = all_mistakes(&fs::read_to_string(&file).unwrap());
        let expected = file.with_extension("stderr");
        if env::var_os(BLESS).is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        if shown.is_empty() || fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{}:\n{shown}", file.display()));
        }
        checked += 1;
    }
    assert!(checked > 60, "only {checked} samples were found");
    assert!(wrong.is_empty(), "not as expected ({BLESS}=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn no_expected_message_is_left_over() {
    for entry in fs::read_dir(in_repository("tests/buildfiles/invalid")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("toml").exists(), "{} belongs to nothing", path.display());
    }
}

#[test]
fn the_example_has_no_mistakes() {
    let model = sound(&read("Buildfile.example"));
    let kinds =
        ["wheelhouse", "staging", "clamp", "zip", "check", "upload", "invoke", "command", "group"];
    for kind in kinds {
        assert!(model.targets.iter().any(|target| target.kind.name() == kind), "no {kind}");
    }
}

#[test]
fn every_sound_file_has_no_mistakes() {
    for entry in fs::read_dir(in_repository("tests/buildfiles/valid")).unwrap() {
        let model = sound(&fs::read_to_string(entry.unwrap().path()).unwrap());
        assert!(!model.targets.is_empty());
    }
}

#[test]
fn the_examples_of_the_docs_have_no_mistakes() {
    let docs = read("docs/BUILDFILE.md");
    let examples: Vec<&str> =
        docs.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 9);
    for example in examples {
        let vars = match example.contains("[vars]") {
            true => "",
            false => "[vars]\nfunction = \"f\"\nstage = \"prod\"\n",
        };
        let loaded = targets::load(&format!("{vars}{example}"), &BTreeMap::new());
        assert_eq!(loaded.diagnostics, [], "in:\n{example}");
    }
}

/// Compares the needs and order-only edges of each target, as text: `zip: staging; c: a b | after`.
#[track_caller]
fn edges(text: &str, expected: &str) {
    let model = sound(text);
    let (graph, _) = Graph::new(&model);
    let names = |ids: &[TargetId]| -> String {
        ids.iter().map(|id| format!(" {}", model.targets[id.index()].name.value)).collect()
    };
    let shown: Vec<String> = (0..graph.len())
        .map(TargetId::new)
        .filter(|id| !graph.needs(*id).is_empty() || !graph.after(*id).is_empty())
        .map(|id| {
            let after = match names(graph.after(id)) {
                after if after.is_empty() => after,
                after => format!(" |{after}"),
            };
            format!("{}:{}{after}", names(&[id]).trim(), names(graph.needs(id)))
        })
        .collect();
    assert_eq!(shown.join("; "), expected, "in:\n{text}");
}

/// Returns a command target with these inputs and outputs.
fn command(name: &str, inputs: &str, outputs: &str) -> String {
    format!(
        "[target.{name}]\nkind = \"command\"\nrun = [\"true\"]\n\
         inputs = [{inputs}]\noutputs = [{outputs}]\n"
    )
}

const WHEELS_AND_TREE: &str = r#"
    [target.wheels]
    kind = "wheelhouse"
    requirements = ["requirements.txt"]

    [target.tree]
    kind = "staging"
    wheels = ["wheels"]
    sources = ["app.py"]

    [target.package]
    kind = "zip"
    staging = "tree"
"#;

#[test]
fn targets_that_name_each_other_have_edges() {
    edges(
        &format!(
            r#"{WHEELS_AND_TREE}
            [target.upload]
            kind = "upload"
            zip = "package"
            function = "f"

            [target.invoke]
            kind = "invoke"
            upload = "upload"

            [target.here]
            kind = "invoke"
            local = true
            zip = "package"
            handler = "app.handler"

            [target.all]
            kind = "group"
            targets = ["package", "invoke", "package"]
            needs = ["wheels"]
            after = ["tree", "package"]
            "#
        ),
        "tree: wheels; package: tree; upload: package; invoke: upload; here: package; \
         all: package invoke wheels | tree",
    );
}

#[test]
fn files_that_others_make_are_edges() {
    edges(
        &format!(
            r#"{}{}
            [target.wheels]
            kind = "wheelhouse"
            requirements = ["build/requirements.txt"]
            constraints = ["build/gen/constraints.txt"]
            projects = ["build/gen/project", "."]
            python = "./build/venv"

            [target.layer]
            kind = "clamp"
            directory = "build/gen"
            instant = "git"

            [target.stamped]
            kind = "command"
            run = ["true"]
            inputs = ["build/layer.stamp", "build/wheels/x.whl"]
            phony = true
            "#,
            command("lock", "", "\"build/requirements.txt\", \"build/venv\""),
            command("generate", "", "\"build/gen\""),
        ),
        "wheels: generate lock; layer: generate; stamped: layer wheels",
    );
}

#[test]
fn patterns_see_what_commands_make_and_pass_over_the_rest() {
    let text = |inputs: &str| {
        format!(
            "{WHEELS_AND_TREE}{}{}",
            command("models", "", r#""build/models.py""#),
            command("reader", inputs, r#""build/own.py""#)
        )
    };
    const BEFORE: &str = "tree: wheels; package: tree";
    for (inputs, needs) in [
        (r#""**/*.py""#, "; reader: models"),
        (r#""build""#, "; reader: models"),
        (r#"".""#, "; reader: models"),
        (r#""build/{models,own}.py""#, "; reader: models"),
        (r#""build/*.zip", "**""#, "; reader: models"),
        (r#""build/*.zip", "*.py", "buil?/x", "build/own.p*", "build-0/*""#, ""),
        (r#""build/wheels/*.whl""#, "; reader: wheels"),
        (r#""build/tree""#, "; reader: tree"),
        (r#""build/tree/**/*.so""#, "; reader: tree"),
        (r#""build/package.zip", "build/wheels.stamp""#, "; reader: package wheels"),
    ] {
        edges(&text(inputs), &format!("{BEFORE}{needs}"));
    }
}

#[test]
fn names_and_outputs_find_targets() {
    let model = sound(WHEELS_AND_TREE);
    let (graph, _) = Graph::new(&model);
    let found = |path: &str| graph.by_output(&RelPath::parse(path).unwrap());
    assert_eq!(graph.id("tree").map(TargetId::index), Some(1));
    assert_eq!(graph.id("nothing"), None);
    assert_eq!(found("build/package.zip"), graph.id("package"));
    assert_eq!(found("build/wheels.stamp"), graph.id("wheels"));
    assert_eq!(found("build/tree/a/b.py"), graph.id("tree"));
    assert_eq!(found("build"), None);
    assert_eq!(found("."), None);
}

#[test]
fn a_closure_is_dependencies_first_and_otherwise_in_file_order() {
    let group = |name: &str, targets: &str| {
        format!("[target.{name}]\nkind = \"group\"\ntargets = [{targets}]\n")
    };
    let text = [
        group("z", r#""c", "a""#),
        group("a", ""),
        group("b", ""),
        group("c", r#""d""#) + "after = [\"e\"]\n",
        group("d", ""),
        group("e", ""),
    ];
    let model = sound(&text.concat());
    let (graph, _) = Graph::new(&model);
    let check = |goals: &[&str], expected: &str| {
        let goals: Vec<TargetId> = goals.iter().map(|name| graph.id(name).unwrap()).collect();
        let order = graph.closure(&goals);
        let names: Vec<&str> =
            order.iter().map(|id| model.targets[id.index()].name.value.as_str()).collect();
        assert_eq!(names.join(" "), expected);
    };
    check(&["z"], "a d e c z");
    check(&["e", "b"], "b e");
    check(&["c", "c"], "d e c");
    check(&[], "");
    assert_eq!(graph.dependents(graph.id("e").unwrap()), [graph.id("c").unwrap()]);
}

#[test]
fn wildcards_pass_over_what_zipwright_makes() {
    let text = format!("{WHEELS_AND_TREE}{}", command("models", "", r#""a.py", "b.py""#));
    let hidden = Graph::hidden_outputs(&sound(&text));
    let hidden: Vec<&str> = hidden.iter().map(RelPath::as_str).collect();
    assert_eq!(
        hidden,
        [
            "build/wheels",
            "build/wheels.stamp",
            "build/tree",
            "build/tree.stamp",
            "build/package.zip",
            "build/package.zip.record.json",
            "build/models.stamp"
        ]
    );
}

#[test]
fn a_large_buildfile_is_cheap() {
    let count = 50_000;
    let text: String = (0..count)
        .map(|i| {
            let inputs = format!(r#""src/{i}/*.c", "build/{}.o", "include/*.h""#, i / 2);
            command(&format!("t{}", i + 1), &inputs, &format!(r#""build/{}.o""#, i + 1))
        })
        .collect();
    let start = Instant::now();
    let Loaded { model, diagnostics } = targets::load(&text, &BTreeMap::new());
    let (graph, mistakes) = Graph::new(&model);
    let order = graph.closure(&[graph.id("t50000").unwrap()]);
    assert_eq!((diagnostics.len(), mistakes.len(), graph.len()), (0, 0, count));
    assert_eq!(order.len(), 15);
    // Generous, for a busy machine without optimisation: anything quadratic takes many minutes.
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
}

#[test]
fn a_long_chain_and_a_long_cycle_are_no_trouble() {
    let count = 20_000;
    let chain = |last: usize| -> String {
        (0..count)
            .map(|i| {
                let next = if i + 1 < count { i + 1 } else { last };
                format!("[target.t{i}]\nkind = \"group\"\ntargets = [\"t{next}\"]\n")
            })
            .collect()
    };
    let loaded = targets::load(&chain(0), &BTreeMap::new());
    let (_, mistakes) = Graph::new(&loaded.model);
    assert_eq!(mistakes.len(), 1);
    let loaded = targets::load(
        &(chain(count) + "[target.t20000]\nkind = \"group\"\ntargets = []\n"),
        &BTreeMap::new(),
    );
    let (graph, mistakes) = Graph::new(&loaded.model);
    assert_eq!(mistakes, []);
    assert_eq!(graph.closure(&[graph.id("t0").unwrap()]).len(), count + 1);
}
