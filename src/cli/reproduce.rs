//! `zipwright reproduce [GOAL]`: compares two builds from nothing.

use anyhow::{Context, anyhow};

use super::args::{Common, Words};
use super::session::{self, Session};
use super::{DIFFERENT, Failure, SUCCESS, note, print, print_json};
use crate::reproduce::{self, Request, Verdict};
use crate::signals;
use crate::target::Target;
use crate::targets::zip::Zip;

pub(super) fn run(common: &Common, words: &Words) -> Result<u8, Failure> {
    let session = Session::open(common, session::Words::new(&words.words))?;
    let goals = session.goal_ids()?;
    let targets = session.graph.closure(&goals).into_iter();
    let targets = targets.map(|id| &session.model.targets[id.index()]);
    let zip = |target: &Target| {
        let zip = target.kind.get::<Zip>()?;
        Some((target.name.value.clone(), zip.output.value.clone()))
    };
    let zips: Vec<_> = targets.filter_map(zip).collect();
    if zips.is_empty() {
        return Err(
            anyhow!("no zip is made for these goals, so there is nothing to compare").into()
        );
    }
    let file = common.file.iter().flat_map(|file| ["-f".into(), file.display().to_string()]);
    let vars = words.words.iter().filter(|word| word.contains('=')).cloned();
    let outputs = session.model.targets.iter().flat_map(Target::outputs);
    signals::install().context("could not listen for signals")?;
    let report = reproduce::run(&Request {
        project: &session.project,
        program: std::env::current_exe().context("could not find zipwright itself")?,
        words: file.chain(vars).collect(),
        zips,
        outputs: outputs.map(|output| output.path().clone()).collect(),
        say: &|text| {
            if !common.json {
                note(text);
            }
        },
    })?;
    if common.json {
        print_json(&report.to_json())?;
    } else {
        print(reproduce::lines(&report).join("\n"))?;
    }
    Ok(if report.verdict == Verdict::Identical { SUCCESS } else { DIFFERENT })
}
