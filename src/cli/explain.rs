//! `zipwright explain TARGET...`: prints the fingerprint components that make a target out of date.

use std::io;

use serde_json::Value;

use super::args::{Common, Explain};
use super::session::{self, Session};
use super::{FAILURE, Failure, SUCCESS, print};
use crate::base::words;
use crate::build::{Mode, Options};
use crate::event::{Event, Finished, Outcome, Report};
use crate::make::Pool;
use crate::target::Shared;
use crate::ui::{self, Writers};

pub(super) fn run(common: &Common, explain: &Explain) -> Result<u8, Failure> {
    let session = Session::open(common, session::Words::new(&explain.words))?;
    let goals = session.goal_ids()?;
    let options = Options { keep_going: true, ..Options::new(goals.clone(), Mode::DryRun) };
    let mut collected = Collected::default();
    let mut state = session.state();
    let pool = Pool::private(1)?;
    let files = session.files_anew();
    super::build::run_engine(
        &session,
        (&mut state, None),
        (&files, &Shared::default()),
        &options,
        &pool,
        &mut collected,
    )?;
    let mut code = SUCCESS;
    let mut errors = ui::json(Writers::new(Box::new(io::sink()), Box::new(io::stderr())));
    for goal in goals {
        let name = &session.model.targets[goal.index()].name.value;
        let Some(finished) = collected.0.iter().find(|finished| finished.target == *name) else {
            continue;
        };
        if matches!(finished.outcome, Outcome::Failed | Outcome::Skipped) {
            code = FAILURE;
        }
        if common.json {
            let event = Event::Finished(finished.clone());
            ui::json_line(&event).into_iter().try_for_each(print)?;
            // The error of a target that cannot be checked goes to standard error as well.
            errors.event(&event);
        } else {
            let components = state.target(name).map_or(0, |record| record.key.components().count());
            print(describe(finished, components))?;
        }
    }
    Ok(code)
}

fn describe(finished: &Finished, components: usize) -> String {
    let name = &finished.target;
    match finished.outcome {
        Outcome::UpToDate => {
            let components = words::count(components, "component");
            format!("`{name}` is up to date: none of its {components} differs")
        }
        Outcome::Failed | Outcome::Skipped => {
            let error = finished.error.as_deref().unwrap_or_default();
            format!("`{name}` cannot be checked: {error}")
        }
        Outcome::Ran | Outcome::WouldRun => {
            let mut text = format!("`{name}` is out of date:");
            for reason in &finished.reasons {
                text.push_str(&format!("\n  {reason}"));
            }
            for (name, fact) in &finished.facts {
                text.push_str(&format!("\n{name}: {}", in_words(fact)));
            }
            text
        }
    }
}

/// Returns the texts of a guard's fact.
fn in_words(fact: &Value) -> String {
    match fact {
        Value::Array(texts) => texts.iter().map(in_words).collect::<Vec<_>>().join("; "),
        fact => fact.as_str().map_or_else(|| fact.to_string(), str::to_owned),
    }
}

#[derive(Default)]
struct Collected(Vec<Finished>);

impl Report for Collected {
    fn event(&mut self, event: &Event) {
        if let Event::Finished(finished) = event {
            self.0.push(finished.clone());
        }
    }
}
