//! The REPORT line with which Lambda ends the log of a call: time, billed time, memory.

use serde_json::{Number, Value as Json};

/// The name in the line, and the name of the fact.
const FIELDS: [(&str, &str); 5] = [
    ("Duration", "duration_ms"),
    ("Billed Duration", "billed_ms"),
    ("Memory Size", "memory_mb"),
    ("Max Memory Used", "max_memory_mb"),
    ("Init Duration", "init_ms"),
];

/// Returns the facts in a log's last REPORT line; empty if there is no such line, as with
/// emulators.
pub(super) fn facts(log: &str) -> Vec<(String, Json)> {
    let line = log.lines().rev().find(|line| line.starts_with("REPORT RequestId: "));
    let parts =
        line.unwrap_or_default().split('\t').filter_map(|part| part.trim().split_once(": "));
    let fact = |(name, value): (&str, &str)| {
        let (_, fact) = FIELDS.iter().find(|(known, _)| *known == name)?;
        let number: Number = value.split(' ').next()?.parse().ok()?;
        Some(((*fact).to_owned(), Json::Number(number)))
    };
    parts.filter_map(fact).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_is_read_field_by_field() {
        let log = "START RequestId: 1 Version: 7\nDuration: 9 ms\nEND RequestId: 1\n\
                   REPORT RequestId: 1\tDuration: 12.34 ms\tBilled Duration: 113 ms\t\
                   Memory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 100.10 ms\t\n\
                   XRAY TraceId: 1-2\n";
        let expected = [
            ("duration_ms", json!(12.34)),
            ("billed_ms", json!(113)),
            ("memory_mb", json!(128)),
            ("max_memory_mb", json!(36)),
            ("init_ms", json!(100.10)),
        ];
        assert_eq!(facts(log), expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(facts("no report\n"), []);
    }
}
