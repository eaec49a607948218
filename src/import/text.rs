//! The text of a translated Buildfile.

use std::fmt::Write;

use super::plan::Plan;
use super::toml::{array, quote};

pub(super) fn buildfile(plan: &Plan, file: &str, default: &[String]) -> String {
    let mut text = format!(
        "# Translated from `{file}`. docs/BUILDFILE.md describes every key; `zipwright list` lists the targets.\n"
    );
    if !default.is_empty() {
        let _ = writeln!(text, "default = {}", array(default));
    }
    if !plan.vars.is_empty() {
        text.push_str("\n[vars]\n");
        for (name, value) in &plan.vars {
            let _ = writeln!(text, "{name} = {}", quote(value));
        }
    }
    for target in &plan.targets {
        let name =
            if target.name.contains('.') { quote(&target.name) } else { target.name.clone() };
        let (comments, keys): (Vec<&String>, Vec<&String>) =
            target.lines.iter().partition(|line| line.starts_with("# As "));
        text.push('\n');
        for comment in comments {
            let _ = writeln!(text, "{comment}");
        }
        let _ = writeln!(text, "[target.{name}]");
        for line in keys {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
