//! Selection from `pylock.toml` against the `packaging` library of Python: thousands of generated
//! lockfiles and environments must give the same files, or an error, in both.

use std::fmt::Write;

use serde_json::{Value, json};
use zipwright_python::lock::{Pylock, Source, Wanted};
use zipwright_python::{Arch, Runtime, Target};

use crate::dice::{Dice, number};
use crate::markers::compare_with;

/// Prints one JSON list: of each lockfile the names of the selected files, or `null` for an error.
const ORACLE: &str = r#"
import json, sys, tomllib
from packaging.errors import *
from packaging.pylock import Pylock
from packaging.tags import compatible_tags, cpython_tags

def name(package, source):
    if package.vcs: return source.commit_id
    if package.directory: return source.path
    if package.archive: return (source.url or source.path).rsplit("/", 1)[-1]
    return source.filename

def tags(question):
    python, platforms = tuple(question["python"]), question["platforms"]
    own = "cp%d%d" % python
    yield from cpython_tags(python, [own], platforms)
    yield from compatible_tags(python, own, platforms)

def value(question):
    lock = Pylock.from_dict(tomllib.loads(question["lock"]))
    selected = lock.select(environment=question["environment"], tags=list(tags(question)),
        extras=question["extras"], dependency_groups=question["groups"])
    return sorted([package.name, name(package, source)] for package, source in selected)

def guarded(question):
    try:
        return value(question)
    except Exception:
        return None

print(json.dumps([guarded(question) for question in json.load(sys.stdin)]))
"#;

const MARKERS: [&str; 12] = [
    "python_version < '3.12'",
    "python_full_version >= '3.11'",
    "platform_machine == 'aarch64'",
    "platform_machine == 'x86_64' and sys_platform == 'linux'",
    "sys_platform == 'win32'",
    "implementation_name == 'cpython'",
    "'one' in extras",
    "'two' in extras or 'dev' in dependency_groups",
    "'prod' not in dependency_groups",
    "'one' in extras and 'prod' in dependency_groups",
    "python_version in '3.10 3.13'",
    "os_name == 'posix' or python_version == '3.14'",
];

const PYTHONS: [&str; 6] = [">=3.9", ">=3.12", "<3.13", "~=3.11", "!=3.12.*", "==3.13.*"];

const TAGS: [&str; 18] = [
    "py3-none-any",
    "py2.py3-none-any",
    "py2-none-any",
    "py312-none-any",
    "cp313-none-any",
    "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "cp312-cp312-manylinux_2_28_x86_64",
    "cp312-cp312-manylinux_2_17_aarch64",
    "cp313-cp313-manylinux_2_34_x86_64",
    "cp313-cp313-manylinux_2_28_aarch64",
    "cp313-cp313-musllinux_1_2_x86_64",
    "cp313-cp313-macosx_11_0_arm64",
    "cp313-cp313-win_amd64",
    "cp38-abi3-manylinux_2_17_x86_64",
    "cp38-abi3-manylinux_2_17_aarch64",
    "cp313-abi3-manylinux_2_17_x86_64",
    "py3-none-manylinux1_x86_64",
    "cp310-cp310-manylinux_2_5_x86_64.manylinux1_x86_64",
];

const HASHES: &str =
    "hashes = {sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"}";

fn package(dice: &mut Dice) -> String {
    let name = *dice.pick(&["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]);
    let version = *dice.pick(&["1.0", "2.0"]);
    let mut text = format!("[[packages]]\nname = \"{name}\"\nversion = \"{version}\"\n");
    if dice.once_in(2) {
        writeln!(text, "marker = \"{}\"", dice.pick(&MARKERS)).unwrap();
    }
    if dice.once_in(8) {
        writeln!(text, "requires-python = \"{}\"", dice.pick(&PYTHONS)).unwrap();
    }
    let url = format!("https://files.example/{name}-{version}");
    match dice.below(12) {
        0 => writeln!(text, "directory = {{path = \"./{name}\", editable = true}}").unwrap(),
        1 => writeln!(
            text,
            "vcs = {{type = \"git\", url = \"https://h/{name}\", commit-id = \"c0{}\"}}",
            version.replace('.', "")
        )
        .unwrap(),
        2 => writeln!(text, "archive = {{url = \"{url}.zip\", {HASHES}}}").unwrap(),
        // Sometimes both, which is not allowed; sometimes neither.
        kind => {
            if kind < 8 {
                writeln!(text, "sdist = {{url = \"{url}.tar.gz\", {HASHES}}}").unwrap();
            }
            let mut tags: Vec<&str> = (0..dice.below(5)).map(|_| *dice.pick(&TAGS)).collect();
            tags.sort_unstable();
            tags.dedup();
            let wheels: Vec<String> = tags
                .iter()
                .map(|tags| format!("{{url = \"{url}-{tags}.whl\", {HASHES}}}"))
                .collect();
            if !wheels.is_empty() {
                writeln!(text, "wheels = [{}]", wheels.join(", ")).unwrap();
            }
        }
    }
    text
}

fn lockfile(dice: &mut Dice) -> String {
    let mut text = String::from("lock-version = \"1.0\"\ncreated-by = \"dice\"\n");
    text += "extras = [\"one\", \"two\"]\ndependency-groups = [\"dev\", \"prod\"]\n";
    text += *dice.pick(&["", "default-groups = [\"prod\"]\n", "default-groups = [\"dev\"]\n"]);
    if dice.once_in(6) {
        writeln!(text, "requires-python = \"{}\"", dice.pick(&PYTHONS)).unwrap();
    }
    if dice.once_in(6) {
        // Markers of environments know neither extras nor groups.
        writeln!(text, "environments = [\"{}\", \"{}\"]", dice.pick(&MARKERS[..6]), MARKERS[4])
            .unwrap();
    }
    (0..1 + dice.below(5)).for_each(|_| text += &package(dice));
    text
}

fn names(dice: &mut Dice, from: &[&str]) -> Vec<String> {
    from.iter().filter(|_| dice.once_in(2)).map(|name| (*name).to_owned()).collect()
}

/// Returns the question for the oracle, and our own answer to it.
fn question(dice: &mut Dice) -> (Value, Value) {
    let minor = *dice.pick(&[10, 11, 12, 13, 14]);
    let runtime = Runtime { major: 3, minor, arch: *dice.pick(&Arch::ALL) };
    let lock = lockfile(dice);
    let known: &[&str] = if dice.once_in(20) { &["unknown"] } else { &["one", "two"] };
    let extras = names(dice, known);
    let groups = dice.once_in(2).then(|| names(dice, &["dev", "prod"]));
    let wanted = Wanted { package: None, extras: &extras, groups: groups.as_deref() };
    selection(&lock, runtime, &wanted)
}

/// Returns the question for the oracle about one lockfile, and our own answer to it.
fn selection(lock: &str, runtime: Runtime, wanted: &Wanted) -> (Value, Value) {
    let mut target = Target::of_runtime(runtime);
    // The oracle compares `requires-python` with the version of the markers.
    target.python = format!("3.{}.0", runtime.minor);
    let environment: serde_json::Map<String, Value> =
        target.environment.values().map(|(name, value)| (name.into(), value.into())).collect();
    let question = json!({
        "lock": lock,
        "environment": environment,
        "python": [3, runtime.minor],
        "platforms": runtime.platforms(),
        "extras": wanted.extras,
        "groups": wanted.groups,
    });
    let selected = Pylock::parse(lock).and_then(|lock| lock.select(&target, wanted));
    let own = selected.map_or(Value::Null, |set| {
        let file = |source: &Source| match source {
            Source::Wheel(file) | Source::Sdist(file) => file.name.clone(),
            Source::Folder(path) => path.clone(),
            Source::Repository { commit, .. } => commit.clone(),
        };
        set.packages.iter().map(|package| json!([package.name, file(&package.source)])).collect()
    });
    (question, own)
}

/// Compares the selection from a lockfile of another tool for every runtime, without and with `extras`
/// and `groups`. Returns how many files were selected in all.
pub(crate) fn compare_real(lock: &str, extras: &[String], groups: &[String]) -> usize {
    let mut questions = Vec::new();
    for arch in Arch::ALL {
        for minor in 9..=14 {
            let runtime = Runtime { major: 3, minor, arch };
            let all = Wanted { package: None, extras, groups: Some(groups) };
            questions.push(selection(lock, runtime, &Wanted::default()));
            questions.push(selection(lock, runtime, &all));
        }
    }
    let (questions, own): (Vec<Value>, Vec<Value>) = questions.into_iter().unzip();
    // Our error for an environment without a fitting file is an error there, too.
    compare_with(ORACLE, &questions, &own);
    own.iter().filter_map(Value::as_array).map(Vec::len).sum()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn the_same_files_are_selected_as_by_packaging() {
    let mut dice = Dice::new(number("ZIPWRIGHT_SEED").unwrap_or(751));
    let (questions, own): (Vec<Value>, Vec<Value>) =
        (0..3_000).map(|_| question(&mut dice)).unzip();
    let selected = own.iter().filter(|own| own.as_array().is_some_and(|own| !own.is_empty()));
    let failed = own.iter().filter(|own| own.is_null());
    let counts = (selected.count(), failed.count());
    assert!(counts.0 > 500 && counts.1 > 300, "{counts:?}");
    compare_with(ORACLE, &questions, &own);
}
