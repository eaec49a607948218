//! Calls on AWS: of the function that an upload updated, so never of the old code while an update
//! is in progress.

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use super::{Calls, failure, report, show};
use crate::aws::{Invocation, LATEST, LATEST_PUBLISHED, Lambda, Way};
use crate::deploy::Publish;
use crate::diagnostic::Spanned;
use crate::process::Stream;
use crate::target::{Done, Facts, Job};
use crate::targets::invoke::{Call, Invoke};
use crate::targets::upload;
use crate::targets::upload::Upload;

pub(super) fn run(
    invoke: &Invoke,
    upload: &Spanned<String>,
    calls: &Calls,
    job: &Job,
) -> Result<Done> {
    let uploaded = job.of_kind::<Upload>("upload", &upload.value)?;
    let named = invoke.remote.function.as_ref().or(uploaded.functions.first());
    let name = &named.context("an upload has a function")?.value;
    let target = Target::new(invoke, uploaded, name, job.facts.get(upload.value.as_str()));
    let invocation = Invocation {
        function: name,
        qualifier: target.qualifier,
        way: match invoke.remote.call {
            Call::Request => Way::Request,
            Call::Event => Way::Event,
            Call::DryRun => Way::DryRun,
        },
    };
    job.messages.status(&format!("invoking function `{name}`"));
    let say = |text: &str| job.messages.warn(text);
    let lambda = Lambda::connect(job.project, None, &say)?;
    let mut facts = Vec::new();
    let (count, answers) = calls.each(|payload| {
        let answer = lambda.invoke(&invocation, payload)?;
        for line in answer.log_tail.lines() {
            job.messages.line(Stream::Stderr, line.into());
        }
        target.refuse_another(name, answer.executed_version.as_deref())?;
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
    Ok(Done { result: Some(answers.finish()), facts, ..Done::default() })
}

/// The function to call, and the version that must run.
struct Target<'a> {
    qualifier: Option<&'a str>,
    version: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Returns the target of the upload, unless the invoke names another one.
    fn new(
        invoke: &'a Invoke,
        uploaded: &'a Upload,
        function: &str,
        facts: Option<&'a Facts>,
    ) -> Self {
        let published = facts.and_then(|facts| upload::version_of(facts, function));
        let is_number = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
        match invoke.remote.qualifier.as_deref() {
            // The expected version of an alias that the upload does not move is unknown.
            Some(other) if Some(other) != uploaded.alias.as_deref() => Self {
                qualifier: Some(other),
                version: Some(other).filter(|name| is_number(name) || *name == LATEST),
            },
            _ => {
                let durable = facts.is_some_and(|facts| upload::is_durable(facts, function));
                let qualifier = uploaded.alias.as_deref().or(published);
                Self {
                    // Lambda requires a qualifier for a durable function.
                    qualifier: qualifier.or(Some(LATEST).filter(|_| durable)),
                    version: match uploaded.publish {
                        None => Some(LATEST),
                        Some(Publish::Version) => published,
                        Some(Publish::Latest) => None,
                    },
                }
            }
        }
    }

    fn refuse_another(&self, function: &str, executed: Option<&str>) -> Result<()> {
        if let (Some(wanted), Some(executed)) = (self.version, executed)
            && wanted != executed
        {
            if executed == LATEST_PUBLISHED {
                bail!(
                    "function `{function}` runs on Managed Instances, and its published code was \
                     called, not the uploaded code: set `publish = \"latest-published\"` on the \
                     upload"
                );
            }
            bail!(
                "version {executed} of function `{function}` ran instead of {wanted}: another \
                 client has deployed since; run the upload again, with -B if it is up to date"
            );
        }
        Ok(())
    }
}
