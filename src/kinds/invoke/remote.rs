//! Calls on AWS: of the function that an upload brought up to date, so never of the old code
//! while an update is in progress.

use anyhow::{Result, bail};
use serde_json::Value as Json;

use super::super::{Done, Job};
use super::{Calls, failure, report, show};
use crate::aws::{Invocation, Lambda, Way};
use crate::buildfile::model::{Call, Invoke, Kind, Spanned};
use crate::process::Stream;

pub(super) fn run(
    invoke: &Invoke,
    upload: &Spanned<String>,
    calls: &Calls,
    job: &Job,
) -> Result<Done> {
    let name = match &job.named(&upload.value)?.kind {
        Kind::Upload(upload) => &upload.function.value,
        other => {
            bail!("`{}` is a {}, and an invoke needs an upload", upload.value, other.name())
        }
    };
    let invocation = Invocation {
        function: name,
        qualifier: invoke.remote.qualifier.as_deref(),
        way: match invoke.remote.call {
            Call::Request => Way::Request,
            Call::Event => Way::Event,
            Call::DryRun => Way::DryRun,
        },
    };
    job.messages.status(&format!("invoking function `{name}`"));
    let lambda = Lambda::connect(job.project)?;
    let mut facts = Vec::new();
    let (count, answers) = calls.each(|payload| {
        let answer = lambda.invoke(&invocation, payload.to_vec())?;
        for line in answer.log_tail.lines() {
            job.messages.line(Stream::Stderr, line);
        }
        if let Some(how) = &answer.function_error {
            bail!("function `{name}` failed ({how}): {}", failure(&answer.payload));
        }
        show(&answer.payload, job);
        facts = vec![
            ("executed_version".into(), Json::from(answer.executed_version.as_deref())),
            ("status".into(), Json::from(answer.status)),
        ];
        facts.extend(report::facts(&answer.log_tail));
        Ok(answer.payload)
    })?;
    facts.push(("calls".into(), Json::from(count)));
    Ok(Done { result: Some(answers.finish()), outputs: Vec::new(), facts })
}
