//! Exports a graph of targets as text: for Graphviz, for Mermaid, and as JSON for programs.
//!
//! Arrows point from a target to its dependents, the way files flow and the way `ninja -t graph`
//! draws; an order-only edge is dashed. Equal input gives equal text, in the order of the input.
//! Knows nothing of Buildfiles, of state, or of goals.

use std::collections::HashMap;

use serde_json::{Value, json};

/// More outputs than this are counted, not listed: a box should stay smaller than its graph.
const OUTPUTS_SHOWN: usize = 3;

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub kind: &'static str,
    /// Paths relative to the project.
    pub outputs: Vec<String>,
    /// Texts about its guards, by key.
    pub guards: Vec<(String, Value)>,
    /// Whether it runs under `watch` only.
    pub service: bool,
    /// Whether it is built when no goal is given.
    pub default: bool,
}

/// `from` needs `to`. An edge is left out if one of its ends is not among the nodes, so that a part
/// of a graph can be drawn with the edges of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// Only the order counts: `from` does not run again because `to` changed.
    pub order_only: bool,
}

/// Returns a `digraph` in Graphviz' language. Default targets are bold, groups are ovals.
pub fn dot(nodes: &[Node], edges: &[Edge]) -> String {
    let mut text = String::from(
        "digraph zipwright {\n    rankdir=LR;\n    node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for node in nodes {
        let mut attributes = format!("label={}", dot_quoted(&label_lines(node).join("\n")));
        if node.kind == "group" {
            attributes += ", shape=oval";
        }
        if node.default {
            attributes += ", style=bold";
        }
        text += &format!("    {} [{attributes}];\n", dot_quoted(&node.name));
    }
    for (edge, _, _) in drawn(nodes, edges) {
        let style = if edge.order_only { " [style=dashed]" } else { "" };
        text += &format!("    {} -> {}{style};\n", dot_quoted(&edge.to), dot_quoted(&edge.from));
    }
    text + "}\n"
}

/// Returns a Mermaid `flowchart`, as GitHub and GitLab draw it in Markdown. Nodes are numbered,
/// because a Mermaid id may not hold every character of a name, nor be `end`.
pub fn mermaid(nodes: &[Node], edges: &[Edge]) -> String {
    let mut text = String::from("flowchart LR\n");
    for (number, node) in nodes.iter().enumerate() {
        let lines: Vec<String> = label_lines(node).iter().map(|line| mermaid_text(line)).collect();
        let (open, close) = if node.kind == "group" { ("([", "])") } else { ("[", "]") };
        text += &format!("    t{number}{open}\"{}\"{close}\n", lines.join("<br/>"));
    }
    for (edge, from, to) in drawn(nodes, edges) {
        let arrow = if edge.order_only { "-.->" } else { "-->" };
        text += &format!("    t{to} {arrow} t{from}\n");
    }
    let defaults: Vec<String> = (0..nodes.len())
        .filter(|number| nodes[*number].default)
        .map(|number| format!("t{number}"))
        .collect();
    if !defaults.is_empty() {
        // Not named `default`: Mermaid gives a class of that name to every node.
        text += "    classDef goal stroke-width:3px\n";
        text += &format!("    class {} goal\n", defaults.join(","));
    }
    text
}

/// Returns one JSON object: `targets` and `edges`. An edge has the keys `target` and `needs`, so its
/// direction is clear without documentation.
pub fn json(nodes: &[Node], edges: &[Edge]) -> String {
    let targets: Vec<Value> = nodes
        .iter()
        .map(|Node { name, kind, outputs, guards, service, default }| {
            let mut object =
                json!({ "name": name, "kind": kind, "outputs": outputs, "default": default });
            guards.iter().for_each(|(key, text)| object[key] = text.clone());
            if *service {
                object["service"] = true.into();
            }
            object
        })
        .collect();
    let edges: Vec<Value> = drawn(nodes, edges)
        .map(|(Edge { from, to, order_only }, _, _)| {
            json!({ "target": from, "needs": to, "order_only": order_only })
        })
        .collect();
    format!("{:#}\n", json!({ "targets": targets, "edges": edges }))
}

/// Returns the edges between the nodes, each with the indexes of its two ends.
fn drawn<'a>(nodes: &[Node], edges: &'a [Edge]) -> impl Iterator<Item = (&'a Edge, usize, usize)> {
    let places: HashMap<String, usize> =
        nodes.iter().enumerate().map(|(place, node)| (node.name.clone(), place)).collect();
    edges
        .iter()
        .filter_map(move |edge| Some((edge, *places.get(&edge.from)?, *places.get(&edge.to)?)))
}

/// Returns the lines of a target's box: name, kind, outputs.
fn label_lines(node: &Node) -> Vec<String> {
    let mut lines = vec![node.name.clone(), node.kind.to_string()];
    lines.extend(node.service.then(|| "service".to_owned()));
    lines.extend(node.outputs.iter().take(OUTPUTS_SHOWN).cloned());
    if node.outputs.len() > OUTPUTS_SHOWN {
        lines.push(format!("and {} more", node.outputs.len() - OUTPUTS_SHOWN));
    }
    lines
}

/// Quotes `text` for use as both an id and a label. In a label a backslash starts an escape and an
/// ampersand an HTML entity; only this form keeps both literal.
fn dot_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '&' => quoted += "&amp;",
            '\n' => quoted += "\\n",
            // A NUL would end the text for Graphviz; other control characters are invisible.
            c if c.is_control() => quoted.push(char::REPLACEMENT_CHARACTER),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Replaces every character that Mermaid, Markdown or HTML might read as markup by a `#…;` code.
fn mermaid_text(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c if c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '/' | ':') => {
                safe.push(c);
            }
            c => safe += &format!("#{};", u32::from(c)),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn node(name: &str, kind: &'static str, outputs: &[&str], default: bool) -> Node {
        let outputs = outputs.iter().map(ToString::to_string).collect();
        let (guards, service) = (Vec::new(), false);
        Node { name: name.into(), kind, outputs, guards, service, default }
    }

    fn edge(from: &str, to: &str, order_only: bool) -> Edge {
        Edge { from: from.into(), to: to.into(), order_only }
    }

    fn bundle() -> (Vec<Node>, Vec<Edge>) {
        let nodes = vec![
            node("staging", "staging", &[], false),
            node("package", "zip", &["build/lambda.zip"], true),
            node("all", "group", &[], false),
        ];
        let edges = vec![
            edge("package", "staging", false),
            edge("all", "package", true),
            edge("package", "not drawn", false),
        ];
        (nodes, edges)
    }

    /// Returns names that are markup in one of the languages.
    fn nasty() -> (Vec<Node>, Vec<Edge>) {
        let names = [
            "end",
            "a\"b",
            "back\\slash",
            "trail\\",
            "\\N",
            "<b>&lt;",
            "#quot;",
            "`code`",
            "a\nb",
            "x]) --> y",
            "ünï",
            "1. x",
            "nul\0",
            "// c",
            "",
        ];
        let nodes: Vec<Node> = names
            .iter()
            .map(|name| node(name, "command", &["o\"1", "2", "3", "4"], true))
            .collect();
        let edges = names.windows(2).map(|pair| edge(pair[0], pair[1], false)).collect();
        (nodes, edges)
    }

    #[test]
    fn dot_draws_from_what_is_needed_to_what_needs_it() {
        let (nodes, edges) = bundle();
        assert_eq!(
            dot(&nodes, &edges),
            r#"digraph zipwright {
    rankdir=LR;
    node [shape=box, fontname="sans-serif"];
    "staging" [label="staging\nstaging"];
    "package" [label="package\nzip\nbuild/lambda.zip", style=bold];
    "all" [label="all\ngroup", shape=oval];
    "staging" -> "package";
    "package" -> "all" [style=dashed];
}
"#
        );
    }

    #[test]
    fn mermaid_draws_the_same_graph() {
        let (nodes, edges) = bundle();
        assert_eq!(
            mermaid(&nodes, &edges),
            r#"flowchart LR
    t0["staging<br/>staging"]
    t1["package<br/>zip<br/>build/lambda.zip"]
    t2(["all<br/>group"])
    t0 --> t1
    t1 -.-> t2
    classDef goal stroke-width:3px
    class t1 goal
"#
        );
    }

    #[test]
    fn json_says_which_target_needs_which() {
        let (nodes, edges) = bundle();
        let value: Value = serde_json::from_str(&json(&nodes, &edges)).unwrap();
        assert_eq!(
            value,
            json!({
                "targets": [
                    { "name": "staging", "kind": "staging", "outputs": [], "default": false },
                    { "name": "package", "kind": "zip", "outputs": ["build/lambda.zip"], "default": true },
                    { "name": "all", "kind": "group", "outputs": [], "default": false },
                ],
                "edges": [
                    { "target": "package", "needs": "staging", "order_only": false },
                    { "target": "all", "needs": "package", "order_only": true },
                ],
            })
        );
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(dot_quoted("a\"b\\"), r#""a\"b\\""#);
        assert_eq!(dot_quoted("<a&lt;\n\0>"), "\"<a&amp;lt;\\n\u{fffd}>\"");
        assert_eq!(mermaid_text("a\"]<b>#`;"), "a#34;#93;#60;b#62;#35;#96;#59;");
        let (nodes, edges) = nasty();
        for line in mermaid(&nodes, &edges).lines().filter(|line| line.contains('"')) {
            assert_eq!(line.matches('"').count(), 2, "{line}");
        }
    }

    #[test]
    fn many_outputs_are_counted() {
        let many = node("models", "command", &["a", "b", "c", "d", "e"], false);
        assert_eq!(label_lines(&many), ["models", "command", "a", "b", "c", "and 2 more"]);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_graph() {
        assert!(dot(&[], &[]).ends_with("];\n}\n"));
        assert_eq!(mermaid(&[], &[]), "flowchart LR\n");
        let empty: Value = serde_json::from_str(&json(&[], &[])).unwrap();
        assert_eq!(empty, json!({ "targets": [], "edges": [] }));
    }

    #[test]
    fn graphviz_shows_every_name_as_it_is() {
        let (nodes, edges) = nasty();
        let Ok(mut graphviz) =
            Command::new("dot").arg("-Tsvg").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            return skipped("Graphviz is not installed");
        };
        graphviz.stdin.take().unwrap().write_all(dot(&nodes, &edges).as_bytes()).unwrap();
        let output = graphviz.wait_with_output().unwrap();
        assert!(output.status.success());
        let svg = String::from_utf8(output.stdout).unwrap();
        let drawn = |class: &str| svg.matches(&format!("class=\"{class}\"")).count();
        assert_eq!((drawn("node"), drawn("edge")), (nodes.len(), edges.len()));
        for shown in ["back\\slash", "trail\\", "\\N", "&lt;b&gt;&amp;lt;", "a&quot;b", "ünï"] {
            assert!(svg.contains(&format!(">{shown}</text>")), "{shown} is not in {svg}");
        }
    }

    /// Notes why a test did nothing; the test harness shows it with `--nocapture`.
    fn skipped(why: &str) {
        writeln!(std::io::stderr(), "skipped: {why}").unwrap();
    }
}
