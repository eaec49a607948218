//! Models of targets that do nothing, for tests of their order.

use std::sync::Arc;

use anyhow::Result;

use crate::diagnostic::Spanned;
use crate::target::{Done, Findings, Fingerprint, Job, Kind, Model, Target};

#[derive(Debug)]
struct Nothing;

impl Kind for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn is_phony(&self) -> bool {
        true
    }

    fn fingerprint(&self, _job: &Job) -> Result<Fingerprint> {
        unreachable!("only the order is tested")
    }

    fn run(&self, _job: &Job, _findings: Findings) -> Result<Done> {
        unreachable!("only the order is tested")
    }
}

/// Returns a model of targets that are written as `name: needs | after`.
pub(crate) fn model(targets: &[&str]) -> Model {
    let words = |names: &str| names.split_whitespace().map(spanned).collect();
    let target = |line: &&str| {
        let (name, rest) = line.split_once(':').unwrap();
        let (needs, after) = rest.split_once('|').unwrap_or((rest, ""));
        Target {
            name: spanned(name),
            description: None,
            needs: words(needs),
            after: words(after),
            stamp: None,
            guards: None,
            kind: Arc::new(Nothing),
        }
    };
    Model { targets: targets.iter().map(target).collect(), ..Model::default() }
}

fn spanned(name: &str) -> Spanned<String> {
    Spanned { value: name.into(), span: 0..0 }
}
