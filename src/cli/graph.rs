//! `zipwright graph [GOAL]...`: draws the graph of targets.

use super::args::{Common, Graph, GraphFormat};
use super::session::{Session, Words};
use super::{Failure, SUCCESS, print};
use crate::graph::TargetId;
use crate::graph_export::{self, Edge, Node};

pub(super) fn run(common: &Common, graph: &Graph) -> Result<u8, Failure> {
    let session = Session::open(common, Words::new(&graph.words))?;
    let shown: Vec<TargetId> = if session.words.goals.is_empty() {
        session.graph.ids().collect()
    } else {
        session.graph.closure(&session.goal_ids()?)
    };
    let nodes: Vec<Node> = shown.iter().map(|id| node(&session, *id)).collect();
    let edges: Vec<Edge> = shown.iter().flat_map(|id| edges(&session, *id)).collect();
    let text = match graph.format {
        _ if common.json => graph_export::json(&nodes, &edges),
        GraphFormat::Json => graph_export::json(&nodes, &edges),
        GraphFormat::Dot => graph_export::dot(&nodes, &edges),
        GraphFormat::Mermaid => graph_export::mermaid(&nodes, &edges),
    };
    print(text.trim_end())?;
    Ok(SUCCESS)
}

fn node(session: &Session, id: TargetId) -> Node {
    let target = &session.model.targets[id.index()];
    let name = &target.name.value;
    Node {
        name: name.clone(),
        kind: target.kind.name(),
        service: target.kind.is_service(),
        outputs: target.outputs().iter().map(|output| output.path().to_string()).collect(),
        guards: target.guards_in_words(false),
        default: session.model.default.iter().any(|default| default.value == *name),
    }
}

fn edges(session: &Session, id: TargetId) -> Vec<Edge> {
    let name = |id: TargetId| session.model.targets[id.index()].name.value.clone();
    let edge = |to: &TargetId, order_only| Edge { from: name(id), to: name(*to), order_only };
    let needs = session.graph.needs(id).iter().map(|to| edge(to, false));
    needs.chain(session.graph.after(id).iter().map(|to| edge(to, true))).collect()
}
