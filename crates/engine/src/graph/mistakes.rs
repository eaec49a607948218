//! Everything that can be wrong with the relations of targets, each as one constructor, so that the
//! words of all messages stand side by side.

use zipwright_store::words::{count, list};

use crate::diagnostic::{Diagnostic, Span};

/// Largest number of names that a hint lists; of more, only the count is shown.
const LISTED: usize = 12;

/// `nearest` is the name that was meant, if one is near; `targets` are all of them.
pub(super) fn unknown_target<'a>(
    span: &Span,
    name: &str,
    nearest: Option<&str>,
    targets: impl ExactSizeIterator<Item = &'a str>,
) -> Diagnostic {
    Diagnostic::at(span, format!("there is no target `{name}`"))
        .hint(match (nearest, targets.len()) {
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, 0) => "there are no targets; `[target.NAME]` starts one".to_owned(),
            (None, ..=LISTED) => format!("the targets are {}", list(&targets.collect::<Vec<_>>())),
            (None, more) => format!("none of the {more} targets has a similar name"),
        })
        .absence()
}

pub(super) struct WrongKind<'a> {
    pub(super) span: &'a Span,
    pub(super) name: &'a str,
    pub(super) found: &'a str,
    pub(super) expected: &'a str,
    pub(super) declared: &'a Span,
}

pub(super) fn wrong_kind(mistake: &WrongKind, candidates: &[&str]) -> Diagnostic {
    let WrongKind { span, name, found, expected, declared } = mistake;
    let (found, expected) = (article(found), article(expected));
    Diagnostic::at(span, format!("`{name}` is {found}, expected {expected}"))
        .label(format!("expected {expected}"))
        .also(declared, format!("`{name}` is declared here"))
        .hint(match candidates {
            [] => format!("no target is {expected}"),
            [only] => format!("did you mean `{only}`?"),
            names if names.len() <= LISTED => format!("one of {}", list(names)),
            names => format!("{} are {expected}", count(names.len(), "target")),
        })
}

/// Two outputs at one path. `first` and `second` are the targets' names and the places.
pub(super) fn same_output(path: &str, first: (&str, &Span), second: (&str, &Span)) -> Diagnostic {
    let message = if first.0 == second.0 {
        format!("`{}` makes `{path}` twice", first.0)
    } else {
        format!("`{}` and `{}` both make `{path}`", first.0, second.0)
    };
    Diagnostic::at(second.1, message)
        .also(first.1, format!("also made by `{}`", first.0))
        .hint("give one of them another path")
}

pub(super) fn output_inside(inner: (&str, &str, &Span), outer: (&str, &str, &Span)) -> Diagnostic {
    let (inner_path, inner_target, inner_span) = inner;
    let (outer_path, outer_target, outer_span) = outer;
    let message = format!(
        "`{inner_path}` of `{inner_target}` is inside `{outer_path}`, an output of \
         `{outer_target}`"
    );
    Diagnostic::at(inner_span, message)
        .also(outer_span, format!("`{outer_target}` makes all of `{outer_path}`"))
        .hint("give one of them another path")
}

/// A step of a cycle: its place, and its text.
pub(super) struct Step<'a> {
    pub(super) span: &'a Span,
    pub(super) text: String,
}

/// `members` in the order of the cycle, with the step from each to the next; `others` are in
/// cycles with them.
pub(super) fn cycle(members: &[&str], steps: &[Step], others: &[&str]) -> Diagnostic {
    let (first, rest) = steps.split_first().expect("BUG: a cycle has a step");
    let message = match members {
        [only] => format!("`{only}` needs itself"),
        members => {
            let path: Vec<String> =
                members.iter().chain(&members[..1]).map(|name| format!("`{name}`")).collect();
            format!("targets wait for each other in a cycle: {}", path.join(" → "))
        }
    };
    let mut mistake = Diagnostic::at(first.span, message).label(first.text.clone());
    for step in rest.iter().take(LISTED) {
        mistake = mistake.also(step.span, step.text.clone());
    }
    if !others.is_empty() {
        let names = match others.len() {
            ..=LISTED => list(others),
            more => count(more, "more target"),
        };
        mistake = mistake.hint(format!("caught in cycles with them: {names}"));
    }
    mistake.hint("take out one of these edges")
}

/// `a zip`, `an upload`, with the word in backticks.
fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} `{kind}`")
}
