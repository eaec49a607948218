//! A build as a Chrome trace, for Perfetto and `chrome://tracing`. Knows only the timings.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Timings, critical_path, slots};

/// Returns an array of complete events, one per line. Times are whole microseconds; `tid` is the
/// job slot, from 1.
pub fn chrome_trace(timings: &Timings) -> String {
    let slots = slots(&timings.spans);
    let critical: BTreeSet<usize> = critical_path(&timings.spans).into_iter().collect();
    let events: Vec<String> = timings
        .spans
        .iter()
        .enumerate()
        .map(|(place, span)| {
            let start = microseconds(span.start);
            // Round the end, not the length, so that adjacent spans stay adjacent and never
            // overlap.
            let end = microseconds(span.start + span.seconds());
            let mut args = json!({
                "outcome": span.outcome.word(),
                "reasons": span.reasons,
                "needs": span.needs,
                "critical": critical.contains(&place),
            });
            if let Some(error) = &span.error {
                args["error"] = json!(error);
            }
            json!({
                "name": span.target,
                "cat": span.kind,
                "ph": "X",
                "ts": start,
                "dur": end - start,
                "pid": 1,
                "tid": slots[place] + 1,
                "args": args,
            })
            .to_string()
        })
        .collect();
    if events.is_empty() { EMPTY.into() } else { format!("[\n{}\n]\n", events.join(",\n")) }
}

const EMPTY: &str = "[]\n";

/// Returns whether a text is such an array.
pub fn is_trace(text: &str) -> bool {
    let words = ["\"ph\":\"X\"", "\"critical\":"];
    text == EMPTY || (text.starts_with("[\n{") && words.iter().all(|word| text.contains(word)))
}

/// Converts to microseconds; never negative, because a viewer would show such an event before the
/// build.
fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::super::example::{bundle, random};
    use super::*;

    #[test]
    fn each_target_is_one_complete_event() {
        let trace = chrome_trace(&bundle());
        let lines: Vec<&str> = trace.lines().collect();
        assert_eq!(lines.len(), 8);
        assert_eq!(
            lines[3],
            r#"{"name":"lint","cat":"command","ph":"X","ts":1200000,"dur":1000000,"pid":1,"tid":2,"args":{"outcome":"failed","reasons":[],"needs":["models"],"critical":false,"error":"`ruff check <src>` exited with status 1"}},"#
        );
        assert_eq!(chrome_trace(&Timings::default()), "[]\n");
    }

    #[test]
    fn events_of_one_thread_never_overlap() {
        for seed in 0..100 {
            let mut timings = random(seed, 40);
            for span in &mut timings.spans {
                // Times that need more than whole microseconds.
                (span.start, span.end) = (span.start / 7e5, span.end / 7e5);
            }
            let events: Vec<Value> = serde_json::from_str(&chrome_trace(&timings)).unwrap();
            let mut threads: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
            for event in &events {
                let number = |name: &str| event[name].as_u64().unwrap();
                let (start, length) = (number("ts"), number("dur"));
                threads.entry(number("tid")).or_default().push((start, start + length));
            }
            for times in threads.values_mut() {
                times.sort_unstable();
                assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "seed {seed}");
            }
        }
    }
}
