//! The `invoke` kind: calls the function that an upload brought up to date, and shows its answer:
//! the response on stdout, the end of its log on stderr. A function that fails fails the target.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

use super::{Done, Job};
use crate::aws::{Answer, Lambda};
use crate::base::{Digest, fs};
use crate::buildfile::model::{Invoke, Kind, Payload};
use crate::key::{Key, Value};
use crate::process::Stream;

/// For `explain` only: an invoke runs whenever it is asked for.
pub(super) fn key(invoke: &Invoke, job: &Job) -> Result<Key> {
    let mut key = Key::new();
    key.push("upload", Value::Digest(job.result_of(&invoke.upload.value)?));
    match &invoke.payload {
        Payload::File(path) => job.add_file(&mut key, &path.value)?,
        Payload::Inline(text) => key.text("payload", text),
    }
    Ok(key)
}

pub(super) fn run(invoke: &Invoke, job: &Job) -> Result<Done> {
    let payload = payload(invoke, job)?;
    let name = match &job.named(&invoke.upload.value)?.kind {
        Kind::Upload(upload) => &upload.function.value,
        other => {
            bail!("`{}` is a {}, and an invoke needs an upload", invoke.upload.value, other.name())
        }
    };
    job.messages.status(&format!("invoking function `{name}`"));
    let answer = Lambda::connect(job.project)?.invoke(name, payload)?;

    for line in answer.log_tail.lines() {
        job.messages.line(Stream::Stderr, line);
    }
    if let Some(how) = &answer.function_error {
        bail!("function `{name}` failed ({how}): {}", failure(&answer.payload));
    }
    for line in String::from_utf8_lossy(&answer.payload).lines() {
        job.messages.line(Stream::Stdout, line);
    }
    Ok(done(&answer))
}

fn done(answer: &Answer) -> Done {
    Done {
        result: Some(Digest::of(&answer.payload)),
        outputs: Vec::new(),
        facts: vec![
            ("executed_version".into(), Json::from(answer.executed_version.as_deref())),
            ("status".into(), Json::from(answer.status)),
        ],
    }
}

/// The payload's bytes as they were written, once they are known to be JSON.
fn payload(invoke: &Invoke, job: &Job) -> Result<Vec<u8>> {
    let (bytes, place) = match &invoke.payload {
        Payload::File(path) => (fs::read(&job.project.place(&path.value))?, path.value.to_string()),
        Payload::Inline(text) => {
            (text.clone().into_bytes(), format!("payload of target {}", job.target.name.value))
        }
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .with_context(|| format!("`{place}` is not JSON, and a function takes nothing else"))?;
    Ok(bytes)
}

/// The payload of a failed call, as a person reads it: `ValueError: bad`, then the traceback.
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
