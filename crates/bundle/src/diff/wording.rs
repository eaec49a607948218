//! A comparison in words, for a person.

use super::{Change, Comparison, Side, Verdict, What};
use zipwright_store::words;

/// Differences of the container are summed up beyond this many of one sort.
const CONTAINER_MAX: usize = 5;

/// The lines that `zipwright diff` prints, the verdict first. `a` and `b` are the names of both.
pub fn lines(comparison: &Comparison, a: &str, b: &str) -> Vec<String> {
    let mut lines = vec![match comparison.verdict {
        Verdict::Identical => format!("identical: `{a}` and `{b}`"),
        Verdict::SameFiles => format!("same files in another container: `{a}` and `{b}`"),
        Verdict::Differs => format!("differs: `{a}` and `{b}`"),
    }];
    lines.extend(changes(&comparison.changes, a, b).into_iter().map(|line| format!("  {line}")));
    if comparison.verdict == Verdict::Differs {
        lines.push(format!("for the rest: diffoscope '{a}' '{b}'"));
    }
    lines
}

fn changes(changes: &[Change], a: &str, b: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (container, files): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| change.is_of_container());
    for change in files {
        lines.extend(describe(change, a, b));
    }
    let mut rest = container.as_slice();
    let sort = |change: &Change| std::mem::discriminant(&change.what);
    let mut sorted = rest.to_vec();
    sorted.sort_by_key(|change| change.what.word());
    rest = &sorted;
    for group in rest.chunk_by(|one, other| sort(one) == sort(other)) {
        for change in group.iter().take(CONTAINER_MAX) {
            lines.extend(describe(change, a, b));
        }
        if group.len() > CONTAINER_MAX {
            let more = words::count(group.len() - CONTAINER_MAX, "more difference");
            lines.push(format!("{more} of this sort: {}", group[0].what.word()));
        }
    }
    lines
}

fn describe(change: &Change, a: &str, b: &str) -> Vec<String> {
    let path = match change.path.as_str() {
        "" => "the whole".to_owned(),
        path => format!("`{path}`"),
    };
    match &change.what {
        What::OnlyIn(Side::A) => vec![format!("{path}: only in `{a}`")],
        What::OnlyIn(Side::B) => vec![format!("{path}: only in `{b}`")],
        What::Kind(a, b) => vec![format!("{path}: {a} / {b}")],
        What::Mode(a, b) => vec![format!("{path}: mode {a:o} / {b:o}")],
        What::Time(a, b) => vec![format!("{path}: time {a} / {b}")],
        What::Order(a, b) => vec![format!("order: where one has `{a}`, the other has `{b}`")],
        What::Compression(a, b) => vec![format!("{path}: {a} / {b}")],
        What::Metadata { field, a, b } => vec![format!("{path}: {field} {a} / {b}")],
        What::Content(content) => {
            let (size_a, size_b) = content.sizes;
            let form = content.form.word();
            let mut lines = vec![format!("{path}: content ({form}, {size_a} / {size_b} bytes)")];
            if content.reordered {
                lines.push("    the same lines in another order".into());
            }
            lines.extend(content.details.iter().map(|line| format!("    {line}")));
            if let Some(nested) = &content.nested {
                let inner = changes(&nested.changes, "a", "b");
                lines.extend(inner.into_iter().map(|line| format!("    {line}")));
            }
            lines
        }
    }
}
