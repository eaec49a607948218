//! Markers and version comparisons against the `packaging` library of Python: thousands of random
//! ones must have the same value in both.

use std::fmt::Write;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use zipwright_python::{Environment, Marker, Specifier};

use crate::dice::{Dice, number};

const PACKAGING: &str = "packaging==26.4";

/// Prints one JSON list of the values of all markers, `null` for an error.
const ORACLE: &str = r#"
import json, sys
from packaging.markers import Marker
from packaging.specifiers import Specifier

def value(question):
    if "version" in question:
        return Specifier(question["specifier"]).contains(question["version"], prereleases=True)
    marker, environment = Marker(question["marker"]), question["environment"]
    if question["locked"]:
        names = {"extras": set(question["extras"]), "dependency_groups": set(question["groups"])}
        return marker.evaluate({**environment, **names}, context="lock_file")
    return any(marker.evaluate({**environment, "extra": extra}) for extra in question["extras"] or [""])

def guarded(question):
    try:
        return value(question)
    except (ValueError, KeyError):
        return None

print(json.dumps([guarded(question) for question in json.load(sys.stdin)]))
"#;

fn ask(oracle: &str, questions: &[Value]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--target",
    ];
    let installed = Command::new("python3").args(pip).arg(folder.path()).arg(PACKAGING).status();
    assert!(installed.unwrap().success());
    let mut oracle = Command::new("python3")
        .args(["-c", oracle])
        .env("PYTHONPATH", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_vec(questions).unwrap();
    oracle.stdin.take().unwrap().write_all(&text).unwrap();
    let answer = oracle.wait_with_output().unwrap();
    assert!(answer.status.success());
    serde_json::from_slice(&answer.stdout).unwrap()
}

fn compare(questions: &[Value], own: &[Value]) {
    compare_with(ORACLE, questions, own);
}

/// Fails if a program that uses `packaging` gives other answers.
pub(crate) fn compare_with(oracle: &str, questions: &[Value], own: &[Value]) {
    let theirs = ask(oracle, questions);
    assert_eq!(theirs.len(), own.len());
    let mut different = String::new();
    for ((question, theirs), own) in questions.iter().zip(&theirs).zip(own) {
        if theirs != own {
            writeln!(different, "{question}: packaging {theirs}, own {own}").unwrap();
        }
    }
    assert!(different.is_empty(), "{different}");
}

fn word<'a>(dice: &mut Dice, words: &[&'a str]) -> &'a str {
    words[dice.below(words.len())]
}

fn version(dice: &mut Dice) -> String {
    let epochs = ["", "", "", "", "", "0!", "1!", "v"];
    let mut text = word(dice, &epochs).to_string();
    let numbers = ["0", "1", "2", "3", "10", "01"];
    let parts = 1 + dice.below(3);
    let release: Vec<&str> = (0..parts).map(|_| word(dice, &numbers)).collect();
    text.push_str(&release.join("."));
    let suffixes = [
        ["a1", "b2", "rc1", ".alpha.2", "-beta", "_c_3", "pre", "RC2"],
        [".post1", "-1", ".r2", "-rev3", "post", ".post0", "_POST_4", ".post10"],
        [".dev0", ".dev1", "dev", "-dev3", "_DEV.1", ".dev10", ".dev2", ".dev"],
        ["+x", "+1", "+x.2", "+x-2", "+2.x", "+ubuntu_1", "+1.2", "+X.10"],
    ];
    for group in &suffixes {
        if dice.once_in(4) {
            text.push_str(word(dice, group));
        }
    }
    text
}

fn specifier(dice: &mut Dice) -> String {
    let operator = word(dice, &["==", "!=", "<=", ">=", "<", ">", "~=", "===", "=="]);
    let space = if dice.once_in(6) { " " } else { "" };
    let star = if dice.once_in(5) { ".*" } else { "" };
    format!("{operator}{space}{}{star}", version(dice))
}

#[test]
fn versions_compare_as_in_packaging() {
    let mut dice = Dice::new(number("ZIPWRIGHT_SEED").unwrap_or(440));
    let (mut questions, mut own) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let (specifier, version) = (specifier(&mut dice), version(&mut dice));
        let allowed = Specifier::parse(&specifier).ok().map(|found| found.allows(&version));
        own.push(allowed.map_or(Value::Null, Value::Bool));
        questions.push(json!({"specifier": specifier, "version": version}));
    }
    compare(&questions, &own);
}

/// Variables that are compared as versions.
const VERSIONS: [&str; 4] =
    ["python_version", "python_full_version", "implementation_version", "platform_release"];

/// Variables that are compared as texts, with old names and one invalid name.
const TEXTS: [&str; 12] = [
    "os_name",
    "sys_platform",
    "platform_machine",
    "platform_system",
    "implementation_name",
    "platform_python_implementation",
    "python_implementation",
    "os.name",
    "sys.platform",
    "platform.machine",
    "platform_version",
    "nonsense",
];

/// Returns a comparison that may be true or false, and rarely an invalid one.
fn comparison(dice: &mut Dice, locked: bool) -> String {
    let quote = word(dice, &["'", "\""]);
    let quoted = |text: &str| format!("{quote}{text}{quote}");
    let space = word(dice, &["", " ", "  ", "\t"]);
    if dice.once_in(5) {
        let name = quoted(word(dice, &["socks", "Dev_Tools", "dev-tools", "x.y", ""]));
        if locked {
            let operator = word(dice, &["in", "not in"]);
            return format!("{name} {operator} {}", word(dice, &["extras", "dependency_groups"]));
        }
        return format!("extra {} {name}", word(dice, &["==", "!=", "<", "in"]));
    }
    let operator = word(dice, &["==", "!=", "<=", ">=", "<", ">", "~=", "in", "not in", "==="]);
    let (variable, value) = if dice.once_in(2) {
        let random = version(dice);
        let values = [
            "3.9",
            "3.10",
            "3.11",
            "3.12.0",
            "3.13",
            "3",
            "3.*",
            "3.1.*",
            "3.10.*",
            "3.11.0a6",
            "3.8 3.9 3.10",
            "3.10, 3.11",
            "",
            "4.0",
            "3.13.0.post1",
            "x",
            random.as_str(),
        ];
        (word(dice, &VERSIONS), quoted(word(dice, &values)))
    } else {
        let values = [
            "posix",
            "nt",
            "linux",
            "linux2",
            "win32",
            "x86_64",
            "aarch64",
            "x86_64 aarch64",
            "Linux",
            "cpython",
            "CPython",
            "PyPy",
            "0",
            "1",
            "",
        ];
        (word(dice, &TEXTS), quoted(word(dice, &values)))
    };
    if dice.once_in(4) {
        return format!("{value} {operator} {variable}");
    }
    let is_word = operator.ends_with('n');
    let space = if is_word && space.is_empty() { " " } else { space };
    format!("{variable}{space}{operator}{space}{value}")
}

fn marker(dice: &mut Dice, locked: bool, depth: usize) -> String {
    if depth == 0 || dice.once_in(3) {
        return comparison(dice, locked);
    }
    let mut text = marker(dice, locked, depth - 1);
    for _ in 0..dice.below(3) {
        let word = word(dice, &["and", "or"]);
        write!(text, " {word} {}", marker(dice, locked, depth - 1)).unwrap();
    }
    if dice.once_in(3) { format!("({text})") } else { text }
}

fn names(dice: &mut Dice) -> Vec<&'static str> {
    let all = ["socks", "dev.tools", "X-Y", "other"];
    (0..dice.below(3)).map(|_| word(dice, &all)).collect()
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn markers_have_the_value_that_packaging_gives_them() {
    let mut dice = Dice::new(number("ZIPWRIGHT_SEED").unwrap_or(508));
    let (mut questions, mut own) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let minor = u8::try_from(8 + dice.below(8)).unwrap();
        let environment =
            Environment::of_runtime((3, minor), word(&mut dice, &["x86_64", "aarch64"]));
        let locked = dice.once_in(3);
        let text = marker(&mut dice, locked, 3);
        let (extras, groups) = (names(&mut dice), names(&mut dice));
        let value = Marker::parse(&text).and_then(|marker| {
            let groups = if locked { groups.as_slice() } else { &[] };
            marker.eval_locked(&environment, &extras, groups)
        });
        own.push(value.map_or(Value::Null, Value::Bool));
        let values: std::collections::BTreeMap<_, _> = environment.values().collect();
        questions.push(json!({
            "marker": text, "environment": values, "locked": locked, "extras": extras, "groups": groups,
        }));
    }
    let errors = own.iter().filter(|value| value.is_null()).count();
    assert!(errors < own.len() / 2, "{errors} markers are not readable");
    compare(&questions, &own);
}
