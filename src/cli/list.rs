//! `zipwright list`: prints the targets, with kinds and outputs.

use serde_json::json;

use super::args::{Common, Words};
use super::session::{self, Session};
use super::{Failure, SUCCESS, print, print_json};
use crate::target::Target;

pub(super) fn run(common: &Common, words: &Words) -> Result<u8, Failure> {
    let session = Session::open(common, session::Words::new(&words.words))?;
    let asked = session.words.goals.iter().map(|goal| session.find(goal));
    let asked = asked.collect::<anyhow::Result<Vec<_>>>()?;
    let shown: Vec<&Target> = session
        .graph
        .ids()
        .filter(|id| asked.is_empty() || asked.contains(id))
        .map(|id| &session.model.targets[id.index()])
        .collect();
    let width = shown.iter().map(|target| target.name.value.chars().count()).max().unwrap_or(0);
    let is_default =
        |target: &Target| session.model.default.iter().any(|name| name.value == target.name.value);
    for target in shown {
        let name = &target.name.value;
        let outputs: Vec<String> =
            target.outputs().iter().map(|output| output.path().to_string()).collect();
        if common.json {
            let mut line = json!({
                "target": name,
                "kind": target.kind.name(),
                "description": target.description,
                "default": is_default(target),
                "outputs": outputs,
            });
            for (name, text) in target.guards_in_words(false) {
                line[name] = text;
            }
            if target.kind.is_service() {
                line["service"] = true.into();
            }
            print_json(&line)?;
            continue;
        }
        let mark = if is_default(target) { '*' } else { ' ' };
        let about = match &target.description {
            Some(description) => description.to_string(),
            None if target.kind.is_service() => "service".into(),
            None => outputs.join(", "),
        };
        print(format!("{mark} {name:width$}  {:10}  {about}", target.kind.name()).trim_end())?;
    }
    Ok(SUCCESS)
}
