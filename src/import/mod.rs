//! A Buildfile from a Makefile that builds bundles: `pip wheel`, `unzip`, `cp`, `zip`, the AWS CLI. A
//! recipe with anything else in it becomes a `command` as it is.
//!
//! make itself reads the Makefile; knows nothing of targets beyond their text. The commands that are
//! understood are in `docs/IMPORT.md`.

mod aws;
mod compare;
mod deed;
mod deeds;
mod facts;
mod make;
mod pattern;
mod pip;
mod plan;
mod report;
mod shell;
mod simulation;
mod text;
mod tree;
mod written;
mod zips;
mod toml;

use std::path::Path;

use anyhow::{Result, bail};

pub use compare::{Compared, compare};
use facts::Facts;
use plan::Plan;

use crate::project::Project;

/// Names of Makefiles, in the order in which make looks for them.
pub const NAMES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

/// A Buildfile, and the translation of each line of the Makefile.
#[derive(Clone, Debug)]
pub struct Translation {
    pub buildfile: String,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
    /// The zips that both make, and the goal of make for each.
    pub zips: Vec<(String, String)>,
    /// Files and folders that the Makefile makes, relative to the project.
    pub outputs: Vec<String>,
    /// Whether the Makefile has a rule `clean`.
    pub has_clean: bool,
}

/// One line of a recipe, or a rule without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub file: String,
    /// Of the recipe's first line; 0 if the rule has no recipe.
    pub line: usize,
    pub rule: String,
    /// As the shell gets it.
    pub text: String,
    pub became: String,
}

/// Translates a Makefile for a Buildfile of this path. Fails if make cannot read it, or if no rule makes a zip.
pub fn translate(project: &Project, file: &Path, buildfile: &Path) -> Result<Translation> {
    let makefile = make::read(project, file)?;
    let root = project.root.to_string_lossy();
    let facts = Facts::of(&makefile, &root, &buildfile.to_string_lossy());
    let shown = file.display().to_string();
    if facts.zips.is_empty() {
        bail!(
            "`{shown}` has no rule that makes a zip by commands that are understood here; docs/IMPORT.md \
             lists them{}\n\
             `zipwright init` writes a Buildfile from the files of a project, `zipwright -C FOLDER import` \
             one from the Makefile of another folder",
            not_understood(&makefile, &facts)
        );
    }
    let plan = Plan::of(&makefile, &facts);
    let mut default =
        makefile.default.as_ref().map(|goal| plan.names_of(goal, 0)).unwrap_or_default();
    default.dedup();
    let zips = facts
        .zips
        .iter()
        .map(|(output, zip)| (output.clone(), makefile.rules[zip.rule].name.clone()));
    Ok(Translation {
        buildfile: text::buildfile(&plan, &shown, &default),
        zips: zips.collect(),
        outputs: facts.outputs(&makefile).into_iter().collect(),
        has_clean: makefile.rules.iter().any(|rule| rule.name == "clean"),
        rows: plan.rows,
        notes: plan.notes,
    })
}

/// The lines that keep the rules with a `zip` from being translated.
fn not_understood(makefile: &make::Makefile, facts: &Facts) -> String {
    let mut lines = String::new();
    for (rule, steps) in makefile.rules.iter().zip(&facts.steps) {
        let Some((file, line)) = &rule.place else { continue };
        if steps.iter().any(|step| step.text.contains("zip")) {
            let unknown: Vec<&str> = steps
                .iter()
                .filter(|step| step.deeds.is_none())
                .map(|step| step.text.as_str())
                .collect();
            for text in unknown.iter().take(5) {
                lines += &format!("\n{file}, rule in line {line}, not understood: {text}");
            }
            if unknown.is_empty() {
                lines += &format!(
                    "\n{file}, rule in line {line}: each step is understood, but not how they belong together"
                );
            }
        }
    }
    lines
}
