//! The `invoke` kind: calls a function, on AWS after an upload or on this machine from a bundle,
//! and shows its responses on stdout and its logs on stderr. The target fails if the function
//! fails.

mod keys;
mod local;
mod remote;
mod report;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::iter;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use crate::base::digest::FieldHasher;
use crate::base::{Digest, Printable, RelPath, fs};
use crate::buildfile::mistakes;
use crate::diagnostic::{Diagnostic, Spanned};
use crate::key::{Key, Value};
use crate::process::Stream;
use crate::target::{Done, Findings, Fingerprint, Input, Job, Kind, Model, Preflight, Reference};
use crate::targets::upload::Upload;

pub use keys::is_handler;
pub(super) use keys::read;

#[derive(Clone, Debug)]
pub struct Invoke {
    pub runner: Runner,
    /// What the function is called with, in this order; never empty.
    pub payloads: Vec<Payload>,
    /// Number of calls with each payload.
    pub repeat: usize,
    pub remote: Remote,
    pub local: Local,
}

/// The place where an invoke runs the function.
#[derive(Clone, Debug)]
pub enum Runner {
    /// On AWS, once this upload target is done.
    Aws { upload: Spanned<String> },
    /// On this machine, from the bundle of this zip target, with those of others as layers.
    Here { zip: Spanned<String>, layers: Vec<Spanned<String>> },
}

/// What counts for an invoke on AWS.
#[derive(Clone, Debug)]
pub struct Remote {
    pub call: Call,
    /// Which of the functions of the upload; `None`: the only one.
    pub function: Option<Spanned<String>>,
    /// A version or an alias; `None` for the target of the upload.
    pub qualifier: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Waits for the response.
    Request,
    /// Lambda takes the event, and runs the function later.
    Event,
    /// Lambda checks only whether it would run the function.
    DryRun,
}

/// What counts for an invoke on this machine.
#[derive(Clone, Debug)]
pub struct Local {
    /// `module.function`
    pub handler: Option<String>,
    /// Seconds.
    pub timeout: u16,
    pub env: BTreeMap<String, String>,
    /// `None`: the Python that the bundle's wheels are for.
    pub python: Option<Spanned<String>>,
    /// Whether the handler can import boto3 without a copy in the bundle, as on Lambda.
    pub boto3: bool,
}

#[derive(Clone, Debug)]
pub enum Payload {
    File(Spanned<RelPath>),
    /// JSON text.
    Inline(String),
}

/// Lambda's limit for the payload of a synchronous call, in bytes.
const REQUEST_LIMIT: usize = 6 << 20;
/// Lambda's limit for the payload of an asynchronous call, in bytes.
const EVENT_LIMIT: usize = 1 << 20;

/// Longest payload that is shown in a key.
const SHOWN: usize = 200;

/// Returns the key for `explain`: an invoke that is a goal always runs.
fn key(invoke: &Invoke, job: &Job) -> Result<Key> {
    let mut key = Key::new();
    match &invoke.runner {
        Runner::Aws { upload } => {
            key.push("upload", Value::Digest(job.result_of(&upload.value)?));
        }
        Runner::Here { zip, layers } => {
            key.push("zip", Value::Digest(job.result_of(&zip.value)?));
            for layer in layers {
                let result = job.result_of(&layer.value)?;
                key.push(format!("layer {}", layer.value), Value::Digest(result));
            }
            let handler = invoke.local.handler.as_deref().unwrap_or_default();
            key.text("handler", handler);
        }
    }
    for (at, payload) in invoke.payloads.iter().enumerate() {
        let name = format!("payload {}", at + 1);
        match payload {
            Payload::File(path) => job.add_file(&mut key, &path.value)?,
            Payload::Inline(text) if text.len() <= SHOWN => key.text(name, text),
            Payload::Inline(text) => key.push(name, Value::Digest(Digest::of(text.as_bytes()))),
        }
    }
    Ok(key)
}

fn run(invoke: &Invoke, job: &Job) -> Result<Done> {
    let payloads = payloads(invoke, job)?;
    let calls = Calls { payloads: &payloads, repeat: invoke.repeat };
    match &invoke.runner {
        Runner::Aws { upload } => remote::run(invoke, upload, &calls, job),
        Runner::Here { zip, layers } => local::run(&invoke.local, (zip, layers), &calls, job),
    }
}

fn payloads(invoke: &Invoke, job: &Job) -> Result<Vec<Vec<u8>>> {
    let here = matches!(invoke.runner, Runner::Here { .. });
    let limit = match invoke.remote.call {
        Call::Event if !here => EVENT_LIMIT,
        _ => REQUEST_LIMIT,
    };
    invoke.payloads.iter().map(|payload| content(payload, limit, job)).collect()
}

/// The payloads of the calls.
struct Calls<'a> {
    payloads: &'a [Vec<u8>],
    repeat: usize,
}

impl Calls<'_> {
    /// Makes the calls in order, up to the first failure. Returns the number of calls and the
    /// digest of all responses.
    fn each(&self, mut call: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<(usize, FieldHasher)> {
        let all = self.payloads.len() * self.repeat;
        let payloads = std::iter::repeat_n(self.payloads, self.repeat).flatten();
        let mut answers = FieldHasher::new();
        for (at, payload) in payloads.enumerate() {
            let answer = match call(payload) {
                Err(error) if all > 1 => bail!("call {} of {all}: {error:#}", at + 1),
                answer => answer?,
            };
            answers.field(answer);
        }
        Ok((all, answers))
    }
}

/// Shows a response.
fn show(response: &[u8], job: &Job) {
    for line in String::from_utf8_lossy(response).lines() {
        job.messages.line(Stream::Stdout, Printable::json(line));
    }
}

/// Returns a payload's bytes as written. Fails if they are not JSON, or exceed the limit.
fn content(payload: &Payload, limit: usize, job: &Job) -> Result<Vec<u8>> {
    let (bytes, place) = match payload {
        Payload::File(path) => (fs::read(&job.project.place(&path.value))?, path.value.to_string()),
        Payload::Inline(text) => {
            (text.clone().into_bytes(), format!("payload of target {}", job.target.name.value))
        }
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .with_context(|| format!("`{place}` is not JSON, which a function requires"))?;
    if bytes.len() > limit {
        bail!(
            "`{place}` is too large: it has {} bytes, and Lambda's limit for such a call is \
             {limit}; put the data in S3, and send its key",
            bytes.len(),
        );
    }
    Ok(bytes)
}

/// Formats the payload of a failed call for the user: `ValueError: bad`, then the traceback.
fn failure(payload: &[u8]) -> String {
    let Ok(report) = serde_json::from_slice::<Json>(payload) else {
        return String::from_utf8_lossy(payload).into_owned();
    };
    let text = |name: &str| report.get(name).and_then(Json::as_str);
    let mut shown = match (text("errorType"), text("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message.to_owned(),
        (Some(kind), None) => kind.to_owned(),
        (None, None) => report.to_string(),
    };
    for entry in report.get("stackTrace").and_then(Json::as_array).into_iter().flatten() {
        for line in entry.as_str().unwrap_or_default().lines() {
            let _ = write!(shown, "\n{line}");
        }
    }
    shown
}

impl Invoke {
    /// Returns the payloads that are files.
    fn files(&self) -> impl Iterator<Item = &Spanned<RelPath>> {
        self.payloads.iter().filter_map(|payload| match payload {
            Payload::File(path) => Some(path),
            Payload::Inline(_) => None,
        })
    }

    /// Returns an error unless the function is one of its upload's functions, and exactly one.
    fn check_function(&self, model: &Model) -> Option<Diagnostic> {
        let Runner::Aws { upload: named } = &self.runner else { return None };
        let upload = model.target(&named.value)?.kind.get::<Upload>()?;
        let functions: Vec<&str> =
            upload.functions.iter().map(|name| name.value.as_str()).collect();
        match &self.remote.function {
            Some(name) if !functions.contains(&name.value.as_str()) => {
                let (name, span) = (&name.value, &name.span);
                Some(mistakes::no_such_function(span, name, &named.value, &functions))
            }
            None if functions.len() > 1 => {
                Some(mistakes::which_function(&named.span, &named.value, &functions))
            }
            _ => None,
        }
    }
}

impl Kind for Invoke {
    fn name(&self) -> &'static str {
        "invoke"
    }

    fn references(&self) -> Vec<Reference<'_>> {
        match &self.runner {
            Runner::Aws { upload } => vec![Reference::to("upload", upload)],
            Runner::Here { zip, layers } => {
                let names = iter::once(zip).chain(layers);
                names.map(|name| Reference::to("zip", name)).collect()
            }
        }
    }

    fn inputs(&self) -> Vec<Input<'_>> {
        let is_here = matches!(self.runner, Runner::Here { .. });
        let python = self.local.python.iter().filter(|_| is_here);
        self.files().map(Input::Path).chain(python.map(Input::Program)).collect()
    }

    fn no_stamp(&self) -> Option<&'static str> {
        Some("it always runs as a goal or a need")
    }

    fn check(&self, model: &Model) -> Vec<Diagnostic> {
        self.check_function(model).into_iter().collect()
    }

    fn is_phony(&self) -> bool {
        true
    }

    fn preflight_time(&self) -> Option<Preflight<'_>> {
        let before = match &self.runner {
            Runner::Aws { upload } => Some(upload.value.as_str()),
            Runner::Here { .. } => None,
        };
        Some(Preflight::Paths { paths: self.files().map(|path| &path.value).collect(), before })
    }

    fn preflight(&self, job: &Job) -> Result<()> {
        payloads(self, job).map(drop)
    }

    fn fingerprint(&self, job: &Job) -> Result<Fingerprint> {
        key(self, job).map(Fingerprint::from)
    }

    fn run(&self, job: &Job, _findings: Findings) -> Result<Done> {
        run(self, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_like_a_traceback() {
        let payload = r#"{"errorType": "ValueError", "errorMessage": "bad", "requestId": "1",
            "stackTrace": ["  File \"/var/task/app.py\", line 2, in handler\n    raise x\n"]}"#;
        let expected =
            "ValueError: bad\n  File \"/var/task/app.py\", line 2, in handler\n    raise x";
        assert_eq!(failure(payload.as_bytes()), expected);
    }

    #[test]
    fn a_failure_without_a_report_is_shown_as_it_is() {
        assert_eq!(failure(br#"{"errorMessage": "Task timed out"}"#), "Task timed out");
        assert_eq!(failure(b"[1]"), "[1]");
        assert_eq!(failure(b"not json"), "not json");
    }
}
