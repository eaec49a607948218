//! A build as JSON on standard output, one object per line. The interface is `docs/JSON.md`:
//! existing keys and events stay, and only new ones are added.
//!
//! Owns the names and the order of the keys. Warnings and errors also go to standard error, with
//! the texts of every other report.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Writers;
use super::wording::Wording;
use crate::base::Printable;
use crate::event::{Downloads, Event, Finished, Outcome, Report, Round, RoundEnd, Summary};
use crate::key::Reason;
use crate::process::Stream;

pub(super) struct Json {
    writers: Writers,
    /// The number of files that were complete in the last event of downloads, by target.
    downloaded: BTreeMap<String, usize>,
}

impl Json {
    pub(super) fn new(writers: Writers) -> Self {
        Self { writers, downloaded: BTreeMap::new() }
    }
}

impl Report for Json {
    fn event(&mut self, event: &Event) {
        // One event for each file is enough for a program.
        if let Event::Downloading { target, downloads } = event
            && self.downloaded.insert(target.clone(), downloads.done) == Some(downloads.done)
        {
            return;
        }
        if let Some(object) = object(event) {
            self.writers.write(Stream::Stdout, &Printable::json(&format!("{object}\n")));
        }
        if let Some(text) = plainly(event) {
            self.writers.write(Stream::Stderr, &text);
        }
    }
}

pub(super) fn object(event: &Event) -> Option<Value> {
    Some(match event {
        // Only for other reports: other events have the same information.
        Event::Planned { .. }
        | Event::Status { .. }
        | Event::Checking { .. }
        | Event::Note { .. }
        | Event::Found { .. } => return None,
        Event::Started { target, kind, reasons, .. } => json!({
            "event": "started",
            "target": target,
            "kind": kind,
            "reasons": texts(reasons),
        }),
        Event::Downloading { target, downloads } => {
            let Downloads { files, done, bytes, size, slowest } = downloads;
            json!({
                "event": "downloading",
                "target": target,
                "files": files,
                "done": done,
                "bytes": bytes,
                "size": size,
                "slowest": slowest,
            })
        }
        Event::Line { target, stream, text } | Event::Service { target, stream, text } => json!({
            "event": "output",
            "target": target,
            "stream": match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            },
            "text": text.as_str(),
        }),
        Event::Checked { .. } | Event::Waiting { .. } => return guard(event),
        Event::Warning { target, text } => json!({
            "event": "warning",
            "target": target,
            "text": text,
        }),
        Event::Finished(finished) => Value::Object(finish(finished)),
        Event::Round(round) => of_round(round),
        Event::Summary(summary) => totals(summary),
    })
}

fn totals(summary: &Summary) -> Value {
    let Summary { ran, up_to_date, would_run, failed, skipped, checked, seconds } = summary;
    json!({
        "event": "summary",
        "ran": ran,
        "up_to_date": up_to_date,
        "would_run": would_run,
        "failed": failed,
        "skipped": skipped,
        "checked": checked,
        "seconds": microseconds(*seconds),
    })
}

/// Returns an event about a guard or a wait.
fn guard(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Checked { target, guard, passed, seconds } => json!({
            "event": "guard",
            "target": target,
            "guard": guard,
            "passed": passed,
            "seconds": microseconds(*seconds),
        }),
        Event::Waiting { target, until } => json!({
            "event": "waiting",
            "target": target,
            "until": until,
        }),
        _ => return None,
    })
}

fn of_round(round: &Round) -> Value {
    let Round { number, changed, end, ran, seconds } = round;
    let mut object = json!({
        "event": "round",
        "round": number,
        "changed": changed,
        "outcome": end.word(),
        "ran": ran,
        "seconds": microseconds(*seconds),
    });
    if let RoundEnd::Interrupted(again) = end {
        object["interrupted_by"] = again.as_slice().into();
    }
    object
}

fn finish(finished: &Finished) -> Map<String, Value> {
    let Finished { target, kind, outcome, reasons, seconds, outputs, facts, error } = finished;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        // A fact never replaces a key that every target has.
        object.entry(name).or_insert(value);
    };
    put("event", "finished".into());
    put("target", target.as_str().into());
    put("kind", (*kind).into());
    put("outcome", outcome.word().into());
    put("reasons", texts(reasons).into());
    put("seconds", microseconds(*seconds).into());
    put("outputs", outputs.as_slice().into());
    if matches!(outcome, Outcome::Failed | Outcome::Skipped) {
        put("error", error.as_deref().into());
    }
    for (name, value) in facts {
        put(name, value.clone());
    }
    object
}

fn plainly(event: &Event) -> Option<Printable> {
    let wording = Wording::plain();
    match event {
        Event::Warning { target, text } => Some(wording.warning(target.as_deref(), text)),
        Event::Finished(Finished { outcome: Outcome::Failed, target, error, .. }) => {
            Some(wording.failed(target, error.as_deref()))
        }
        _ => None,
    }
}

fn texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

/// Rounds to microseconds: further digits are noise of the clock.
fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::testing::{
        Transcript, ended, error_line, finished, line, reasons, started, stopped, summary, zip,
    };

    fn shown(events: &[Event]) -> Transcript {
        let transcript = Transcript::default();
        let mut report = crate::ui::json(transcript.writers());
        events.iter().for_each(|event| report.event(event));
        transcript
    }

    #[test]
    fn keys_have_their_order_and_a_zip_its_facts() {
        let package = Finished { reasons: reasons("package", 1), ..zip(Outcome::Ran) };
        let transcript = shown(&[
            Event::Planned { targets: 2 },
            started("package", 1),
            Event::Status { target: "package".into(), text: "deflating".into() },
            line("package", "\"x\"\n"),
            error_line("package", "y"),
            Event::Finished(package),
            ended("models", Outcome::UpToDate),
            summary(&[Outcome::Ran, Outcome::UpToDate]),
        ]);
        let expected = [
            r#"{"event":"started","target":"package","kind":"command","reasons":["file package-1: aaaa -> bbbb"]}"#,
            r#"{"event":"output","target":"package","stream":"stdout","text":"\"x\"\n"}"#,
            r#"{"event":"output","target":"package","stream":"stderr","text":"y"}"#,
            r#"{"event":"finished","target":"package","kind":"zip","outcome":"ran","reasons":["file package-1: aaaa -> bbbb"],"seconds":0.25,"outputs":["build/lambda.zip"],"code_sha256":"q83v=","size":1234567,"unzipped_size":3400000}"#,
            r#"{"event":"finished","target":"models","kind":"command","outcome":"up-to-date","reasons":[],"seconds":0.25,"outputs":[]}"#,
            r#"{"event":"summary","ran":1,"up_to_date":1,"would_run":0,"failed":0,"skipped":0,"checked":0,"seconds":0.42}"#,
        ];
        assert_eq!(transcript.stdout().lines().collect::<Vec<_>>(), expected);
        assert_eq!(transcript.text().matches("err ").count(), 0);
        for line in transcript.stdout().lines() {
            let parsed: Value = serde_json::from_str(line).unwrap();
            assert!(parsed["event"].is_string());
        }
    }

    #[test]
    fn errors_and_warnings_are_on_standard_error_too() {
        let transcript = shown(&[
            Event::Warning { target: None, text: "old state".into() },
            stopped("wheels", Outcome::Failed, "pip failed\nno network"),
            stopped("staging", Outcome::Skipped, "wheels"),
        ]);
        assert_eq!(
            transcript.text(),
            r#"out {"event":"warning","target":null,"text":"old state"}
err warning: old state
out {"event":"finished","target":"wheels","kind":"command","outcome":"failed","reasons":[],"seconds":0.25,"outputs":[],"error":"pip failed\nno network"}
err error: wheels: pip failed
err   no network
out {"event":"finished","target":"staging","kind":"command","outcome":"skipped","reasons":[],"seconds":0.25,"outputs":[],"error":"wheels"}
"#,
        );
    }

    #[test]
    fn downloads_have_an_event_for_each_file() {
        let state = |done, bytes| Event::Downloading {
            target: "wheels".into(),
            downloads: Downloads { files: 2, done, bytes, size: Some(9), slowest: None },
        };
        let transcript = shown(&[state(0, 0), state(0, 3), state(1, 4), state(2, 9), state(2, 9)]);
        let expected = [(0, 0), (1, 4), (2, 9)].map(|(done, bytes)| {
            format!(
                r#"{{"event":"downloading","target":"wheels","files":2,"done":{done},"bytes":{bytes},"size":9,"slowest":null}}"#
            )
        });
        assert_eq!(transcript.stdout().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_fact_takes_no_other_keys_place() {
        let facts = vec![("outputs".into(), 1.into()), ("version".into(), 2.into())];
        let odd = Finished { facts, seconds: 0.1234567, ..finished("a", Outcome::Ran) };
        assert_eq!(
            shown(&[Event::Finished(odd)]).stdout(),
            r#"{"event":"finished","target":"a","kind":"command","outcome":"ran","reasons":[],"seconds":0.123457,"outputs":[],"version":2}
"#,
        );
    }
}
