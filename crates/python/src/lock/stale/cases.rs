//! The environments and extras for which markers are compared by their values: uv writes a marker in
//! another form than the project, so the texts say nothing.

use std::collections::BTreeSet;

use crate::environment::Environment;
use crate::marker::Marker;
use crate::target::Target;
use crate::version::Specifier;

/// Patch releases of each minor version that are tried.
const PATCHES: [u32; 3] = [0, 9, 99];

const MINORS: std::ops::RangeInclusive<u32> = 6..=16;

/// `sys_platform`, `os_name`, `platform_system` and the machines of a system.
const SYSTEMS: [(&str, &str, &str, [&str; 2]); 3] = [
    ("linux", "posix", "Linux", ["x86_64", "aarch64"]),
    ("darwin", "posix", "Darwin", ["x86_64", "arm64"]),
    ("win32", "nt", "Windows", ["AMD64", "ARM64"]),
];

const SYSTEM: [&str; 3] = ["sys_platform", "os_name", "platform_system"];
const PYTHON: [&str; 3] = ["python_version", "python_full_version", "implementation_version"];
const IMPLEMENTATION: [&str; 2] = ["implementation_name", "platform_python_implementation"];

/// The cases: each environment with each selection of extras.
pub(super) struct Cases {
    environments: Vec<Environment>,
    /// No extra, and each extra alone.
    selections: Vec<BTreeSet<String>>,
}

impl Cases {
    /// Returns the cases that `markers` can tell apart: those that the lockfile is for, by its
    /// `requires-python` and its environments.
    pub(super) fn new<'a>(
        target: &Target,
        markers: impl Iterator<Item = &'a Marker>,
        (pythons, supported): (&[Specifier], &'a [Marker]),
    ) -> Self {
        let mut named: BTreeSet<String> = BTreeSet::new();
        let mut versions: BTreeSet<String> = BTreeSet::new();
        let mut machines: BTreeSet<String> = BTreeSet::new();
        for marker in markers.chain(supported) {
            marker.each(&mut |variable, _, text| {
                named.insert(variable.to_owned());
                match variable {
                    "python_full_version" => versions.extend(full_version(text)),
                    "platform_machine" => machines.extend([text.to_owned()]),
                    _ => {}
                }
            });
        }
        let varies = |names: &[&str]| names.iter().any(|name| named.contains(*name));
        let mut all = vec![target.environment.clone()];
        if varies(&PYTHON) {
            let tried = MINORS.flat_map(|minor| PATCHES.map(|patch| format!("3.{minor}.{patch}")));
            all = product(&all, tried.chain(versions), |environment, full| {
                let minor = full.rsplit_once('.').map_or("", |(minor, _)| minor);
                environment.with(&[
                    ("python_full_version", full),
                    ("implementation_version", full),
                    ("python_version", minor),
                ])
            });
            all.retain(|environment| {
                let full = environment.get("python_full_version");
                pythons.iter().all(|specifier| specifier.allows(full))
            });
        }
        if varies(&SYSTEM) || varies(&["platform_machine"]) {
            let systems = SYSTEMS.iter().flat_map(|(platform, os, system, own)| {
                let machines = own.iter().copied().chain(machines.iter().map(String::as_str));
                machines.map(move |machine| [*platform, *os, *system, machine])
            });
            all = product(&all, systems, |environment, [platform, os, system, machine]| {
                let names = ["sys_platform", "os_name", "platform_system", "platform_machine"];
                let values = [*platform, *os, *system, *machine];
                let pairs: Vec<_> = names.into_iter().zip(values).collect();
                environment.with(&pairs)
            });
        }
        if varies(&IMPLEMENTATION) {
            let names = [("cpython", "CPython"), ("pypy", "PyPy")];
            all = product(&all, names.into_iter(), |environment, (name, platform)| {
                environment.with(&[
                    ("implementation_name", name),
                    ("platform_python_implementation", platform),
                ])
            });
        }
        let none = BTreeSet::new();
        all.retain(|environment| {
            let mut each = supported.iter().map(|marker| marker.eval_with_set(environment, &none));
            supported.is_empty() || each.any(|is_true| is_true.unwrap_or(true))
        });
        Self { environments: all, selections: vec![none] }
    }

    pub(super) fn with_extras(mut self, extras: &BTreeSet<String>) -> Self {
        self.selections.extend(extras.iter().map(|extra| BTreeSet::from([extra.clone()])));
        self
    }

    /// Returns in which cases all markers in `when` are true and none in `unless`: selection by selection.
    pub(super) fn truth(&self, when: &[Marker], unless: &[Marker]) -> Vec<bool> {
        let count = self.environments.len();
        let mut variables = BTreeSet::new();
        for marker in when.iter().chain(unless) {
            marker.each(&mut |variable, _, _| variables.extend([variable.to_owned()]));
        }
        // A marker that cannot be evaluated is false, as in uv.
        let holds = |environment: &Environment, selection: &BTreeSet<String>| {
            let eval =
                |marker: &Marker| marker.eval_with_set(environment, selection).unwrap_or(false);
            when.iter().all(eval) && !unless.iter().any(eval)
        };
        let has_extra = variables.remove("extra");
        let mut truth = Vec::with_capacity(count * self.selections.len());
        for (at, selection) in self.selections.iter().enumerate() {
            if at > 0 && !has_extra {
                truth.extend_from_within(..count);
            } else if variables.is_empty() {
                let first = self.environments.first();
                truth.resize(truth.len() + count, first.is_some_and(|it| holds(it, selection)));
            } else {
                truth.extend(self.environments.iter().map(|it| holds(it, selection)));
            }
        }
        truth
    }
}

/// Returns whether uv reads a marker as PEP 508 defines it. It leaves out comparisons without a
/// meaning, such as of a version with `3.10,3.11`.
pub(super) fn is_usual(marker: &Marker) -> bool {
    let is_version = |text: &str| {
        let digits = text.strip_suffix(".*").unwrap_or(text);
        !digits.is_empty() && digits.split('.').all(|part| part.parse::<u32>().is_ok())
    };
    let mut is_usual = true;
    marker.each(&mut |variable, operator, text| {
        let is_list = operator.ends_with("in");
        is_usual &= match PYTHON.contains(&variable) {
            true if is_list => text.split_whitespace().all(is_version),
            true => is_version(text),
            false => is_list || matches!(operator, "==" | "!="),
        };
    });
    is_usual
}

fn product<T>(
    all: &[Environment],
    values: impl Iterator<Item = T>,
    with: impl Fn(&Environment, &T) -> Environment,
) -> Vec<Environment> {
    let values: Vec<T> = values.collect();
    all.iter().flat_map(|one| values.iter().map(|value| with(one, value))).collect()
}

/// Returns a text of the form `3.11.4`.
fn full_version(text: &str) -> Option<String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    (text.split('.').count() == 3 && text.split('.').all(is_number)).then(|| text.to_owned())
}
