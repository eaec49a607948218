//! Inspecting a build: `graph`, `list`, `--timings`.

use serde_json::Value;

use crate::sandbox::Sandbox;

const TARGETS: &str = r#"
default = ["last"]
[target.first]
kind = "command"
inputs = ["in"]
outputs = ["middle"]
shell = "cp in middle"
[target.tidy]
kind = "command"
phony = true
shell = "true"
[target.last]
kind = "command"
inputs = ["middle"]
after = ["tidy"]
outputs = ["out"]
shell = "cp middle out"
[target.alone]
kind = "command"
outputs = ["alone"]
shell = "touch alone"
"#;

fn targets() -> Sandbox {
    let sandbox = Sandbox::with(TARGETS);
    sandbox.write("in", "x");
    sandbox
}

#[test]
fn the_graph_is_drawn_for_graphviz_and_markdown() {
    let sandbox = targets();
    let dot = sandbox.run(["graph"]).success().stdout;
    assert!(dot.starts_with("digraph"), "{dot}");
    assert!(dot.contains(r#""first" -> "last""#), "{dot}");
    assert!(dot.contains(r#""alone""#), "{dot}");
    let mermaid = sandbox.run(["graph", "last", "--format", "mermaid"]).success().stdout;
    assert!(mermaid.starts_with("flowchart"), "{mermaid}");
    assert!(!mermaid.contains("alone"), "{mermaid}");
}

#[test]
fn the_graph_is_data_for_programs() {
    let sandbox = targets();
    let graph: Value =
        serde_json::from_str(&sandbox.run(["graph", "last", "--json"]).success().stdout).unwrap();
    let names: Vec<&str> =
        graph["targets"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["first", "tidy", "last"]);
    let order_only: Vec<bool> =
        graph["edges"].as_array().unwrap().iter().map(|e| e["order_only"] == true).collect();
    assert_eq!(order_only, [false, true]);
    assert!(!sandbox.exists(".zipwright"));
}

#[test]
fn the_list_is_data_for_programs() {
    let sandbox = targets();
    let run = sandbox.run(["list", "--json"]).success();
    let last = run.events().into_iter().find(|line| line["target"] == "last").unwrap();
    assert_eq!((&last["kind"], &last["default"]), (&"command".into(), &true.into()));
    assert_eq!(last["outputs"], serde_json::json!(["out"]));
}

#[test]
fn timings_are_a_page_and_a_trace() {
    let sandbox = targets();
    sandbox.run(["--timings"]).success().stderr_has(".zipwright/timings.html");
    let page = sandbox.read(".zipwright/timings.html");
    assert!(page.contains("<svg") && page.contains("last"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
    let trace: Value = serde_json::from_str(&sandbox.read(".zipwright/timings.json")).unwrap();
    let ran: Vec<&str> =
        trace.as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(ran.len(), 3, "{trace}");
    sandbox.run(["--timings=build/times"]).success();
    assert!(sandbox.exists("build/times.html") && sandbox.exists("build/times.json"));
    sandbox.run(["--timings=build/times"]).success();
}

#[test]
fn timings_replace_no_file_of_a_user() {
    let sandbox = targets();
    sandbox.write("report.html", "mine");
    sandbox.write("data.json", "[]");
    std::os::unix::fs::symlink("data.json", sandbox.path("link.json")).unwrap();
    for name in ["report", "data", "link"] {
        let run = sandbox.run(["-B", &format!("--timings={name}")]).failure();
        let _ =
            run.stderr_has("is in the way: `--timings` did not write it").stderr_lacks("running");
    }
    assert_eq!(
        (sandbox.read("report.html"), sandbox.read("data.json")),
        ("mine".into(), "[]".into())
    );
    sandbox.run(["--timings=data.v1"]).success();
    assert!(sandbox.exists("data.v1.html") && sandbox.exists("data.v1.json"));
}
