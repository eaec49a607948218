//! Environment markers: PEP 508 with the additions of PEP 685 and PEP 751.
//!
//! Markers are evaluated for a Lambda runtime and never for the host.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::environment::Environment;
use crate::grammar::{self, Comparison, Expression, Operand};
use crate::name::normalise;
use crate::version::Specifier;

/// A condition such as `python_version < "3.11" and extra == "socks"`.
#[derive(Clone, Debug)]
pub struct Marker(Expression);

/// The names that `extra`, `extras` and `dependency_groups` are compared with, normalised.
struct Selected<'a> {
    /// `None`: `extra == "NAME"` is true if `extras` has the name.
    extra: Option<&'a str>,
    extras: &'a BTreeSet<String>,
    groups: &'a BTreeSet<String>,
}

/// Variables whose values are compared as versions if they are versions.
const VERSIONS: [&str; 4] =
    ["implementation_version", "platform_release", "python_full_version", "python_version"];

impl Marker {
    /// Parses a marker, without the `;` before it.
    pub fn parse(text: &str) -> Result<Self> {
        grammar::marker(text).map(Self)
    }

    /// Returns whether the marker is true for a package that is required with these extras. As in
    /// pip, `extra` is each of them in turn, and the empty string if there are none.
    pub fn eval(&self, environment: &Environment, extras: &[&str]) -> Result<bool> {
        self.eval_locked(environment, extras, &[])
    }

    /// Like [`Marker::eval`], for markers of lock files (PEP 751), which may compare with
    /// `dependency_groups`.
    pub fn eval_locked(
        &self,
        environment: &Environment,
        extras: &[&str],
        groups: &[&str],
    ) -> Result<bool> {
        let normalised = |names: &[&str]| names.iter().map(|name| normalise(name)).collect();
        let (extras, groups): (BTreeSet<String>, BTreeSet<String>) =
            (normalised(extras), normalised(groups));
        let none = [String::new()];
        let each: Vec<&String> =
            if extras.is_empty() { none.iter().collect() } else { extras.iter().collect() };
        for extra in each {
            let selected = Selected { extra: Some(extra), extras: &extras, groups: &groups };
            if evaluate(&self.0, environment, &selected)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Like [`Marker::eval`], for markers of `uv.lock`: `extra == "NAME"` is true if `extras` has the
    /// name, and `extra != "NAME"` if it does not.
    pub fn eval_with_set(
        &self,
        environment: &Environment,
        extras: &BTreeSet<String>,
    ) -> Result<bool> {
        let selected = Selected { extra: None, extras, groups: &BTreeSet::new() };
        evaluate(&self.0, environment, &selected)
    }

    /// Visits each comparison: the variable, the operator, and the text that it is compared with.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&str, &str, &str)) {
        each(&self.0, visit);
    }
}

fn each(expression: &Expression, visit: &mut dyn FnMut(&str, &str, &str)) {
    match expression {
        Expression::Any(parts) | Expression::All(parts) => {
            parts.iter().for_each(|part| each(part, visit));
        }
        Expression::One(Comparison { left, operator, right }) => match (left, right) {
            (Operand::Variable(name), Operand::Text(text))
            | (Operand::Text(text), Operand::Variable(name)) => visit(name, operator, text),
            (Operand::Variable(one), Operand::Variable(other)) => {
                visit(one, operator, "");
                visit(other, operator, "");
            }
            (Operand::Text(_), Operand::Text(_)) => {}
        },
    }
}

fn evaluate(
    expression: &Expression,
    environment: &Environment,
    selected: &Selected,
) -> Result<bool> {
    let eval = |part| evaluate(part, environment, selected);
    // Evaluate every part: a part that cannot be evaluated is an error in any position.
    Ok(match expression {
        Expression::Any(parts) => {
            parts.iter().map(eval).collect::<Result<Vec<_>>>()?.contains(&true)
        }
        Expression::All(parts) => {
            !parts.iter().map(eval).collect::<Result<Vec<_>>>()?.contains(&false)
        }
        Expression::One(comparison) => compare(comparison, environment, selected)?,
    })
}

fn compare(
    comparison: &Comparison,
    environment: &Environment,
    selected: &Selected,
) -> Result<bool> {
    let Comparison { left, operator, right } = comparison;
    let variable = match (left, right) {
        (Operand::Variable(name), _) | (_, Operand::Variable(name)) => name.as_str(),
        _ => bail!("a marker compares two texts"),
    };
    if let "extras" | "dependency_groups" = variable {
        let names = if variable == "extras" { selected.extras } else { selected.groups };
        return match (left, operator.as_str()) {
            (Operand::Text(name), "in") => Ok(names.contains(&normalise(name))),
            (Operand::Text(name), "not in") => Ok(!names.contains(&normalise(name))),
            _ => bail!("`{variable}` can only be used as in `\"NAME\" in {variable}`"),
        };
    }
    if variable == "extra"
        && selected.extra.is_none()
        && let (Operand::Text(name), _) | (_, Operand::Text(name)) = (left, right)
    {
        return match operator.as_str() {
            "==" => Ok(selected.extras.contains(&normalise(name))),
            "!=" => Ok(!selected.extras.contains(&normalise(name))),
            operator => bail!("`extra` cannot be compared by `{operator}`"),
        };
    }
    let value = |operand: &Operand| match operand {
        Operand::Text(text) if variable == "extra" => normalise(text),
        Operand::Text(text) => text.clone(),
        Operand::Variable(name) if name == "extra" => selected.extra.unwrap_or_default().into(),
        Operand::Variable(name) => environment.get(name).into(),
    };
    let (left, right) = (value(left), value(right));
    if VERSIONS.contains(&variable)
        && let Ok(specifier) = Specifier::parse(&format!("{operator}{right}"))
    {
        return Ok(specifier.allows(&left));
    }
    Ok(match operator.as_str() {
        "in" => right.contains(&left),
        "not in" => !right.contains(&left),
        "==" | "<=" | ">=" => left == right,
        "!=" => left != right,
        // Texts that are not versions have no order.
        "<" | ">" => false,
        operator => bail!("`{left}` and `{right}` cannot be compared by `{operator}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str, extras: &[&str]) -> bool {
        let environment = Environment::of_runtime((3, 10), "aarch64");
        Marker::parse(text).unwrap().eval(&environment, extras).unwrap()
    }

    #[test]
    fn markers_are_evaluated_for_the_runtime() {
        for text in [
            "python_version < '3.11'",
            "python_full_version >= \"3.10.0\"",
            "'3.9' < python_version",
            "python_version in '3.9 3.10'",
            "python_version not in '3.8,3.9'",
            "python_version ~= '3.8'",
            "python_version == '3.*'",
            "platform_machine == 'aarch64' and sys.platform == 'linux'",
            "os_name == 'nt' or (platform_system == 'Linux' and implementation_name == 'cpython')",
            "python_implementation == 'CPython'",
            "'linux' in sys_platform",
            "platform_release >= '4'",
            "extra == ''",
        ] {
            assert!(eval(text, &[]), "{text}");
        }
        for text in [
            "python_version >= '3.11'",
            "platform_machine != 'aarch64'",
            "os_name == 'posix' and sys_platform == 'win32' or os_name == 'nt'",
            "os_name > 'a'",
            "extra == 'x'",
        ] {
            assert!(!eval(text, &[]), "{text}");
        }
    }

    #[test]
    fn extras_are_compared_by_their_normalised_names() {
        assert!(eval("extra == 'Foo_Bar'", &["other", "foo-bar"]));
        assert!(eval("'foo.bar' in extras", &["foo-bar"]));
        assert!(!eval("extra == 'foo'", &["bar"]));
        let environment = Environment::of_runtime((3, 13), "x86_64");
        let marker = Marker::parse("'dev' in dependency_groups or 'all' in extras").unwrap();
        assert!(marker.eval_locked(&environment, &[], &["Dev"]).unwrap());
        assert!(!marker.eval_locked(&environment, &["dev"], &[]).unwrap());
    }

    #[test]
    fn all_extras_of_a_set_are_compared_at_once() {
        let environment = Environment::of_runtime((3, 13), "x86_64");
        let both = ["a".to_string(), "b".to_string()].into();
        let eval = |text: &str| Marker::parse(text).unwrap().eval_with_set(&environment, &both);
        assert!(eval("extra == 'a' and extra == 'b'").unwrap());
        assert!(!eval("extra != 'a'").unwrap());
        assert!(eval("extra != 'c'").unwrap());
        assert!(eval("extra > 'c'").is_err());
    }

    #[test]
    fn comparisons_without_a_meaning_are_errors() {
        let environment = Environment::of_runtime((3, 13), "x86_64");
        for text in ["os_name ~= 'posix'", "extras == 'x'", "dependency_groups in 'x'"] {
            let marker = Marker::parse(text).unwrap();
            assert!(marker.eval(&environment, &[]).is_err(), "{text}");
        }
    }
}
