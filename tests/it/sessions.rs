//! Everything that a user sees, compared whole: each file in `tests/sessions` is a session in a shell,
//! commands after `$ ` (continued after `> `), each followed by all that it prints.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

/// If set, the sessions are written instead of compared; read the diff before committing.
const BLESS: &str = "ZIPWRIGHT_BLESS";

#[test]
fn sessions_print_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
    let mut different = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let place = entry.unwrap().path();
        let expected = fs::read_to_string(&place).unwrap();
        let found = play(&expected);
        count += 1;
        if std::env::var_os(BLESS).is_some() {
            fs::write(&place, found).unwrap();
        } else if found != expected {
            let diff = similar::TextDiff::from_lines(&expected, &found);
            let diff = diff.unified_diff().header("expected", "found").to_string();
            different.push(format!("{}:\n{diff}", place.display()));
        }
    }
    assert!(count >= 4, "no sessions");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// Runs the commands of a session, and returns it with the output that they printed.
fn play(session: &str) -> String {
    let mut sandbox = Sandbox::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_zipwright")).parent().unwrap().display();
    sandbox.set("PATH", format!("{programs}:/usr/bin:/bin"));
    sandbox.set_clock_margin();
    let mut played = String::new();
    let mut lines = session.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else {
            // Of the output before; comments at the start stay.
            if line.starts_with('#') && !played.contains('$') {
                played += &format!("{line}\n");
            }
            continue;
        };
        played += &format!("$ {first}\n");
        let mut script = first.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with('>')) {
            script += &format!("\n{}", more[1..].strip_prefix(' ').unwrap_or_default());
            played += &format!("{more}\n");
        }
        let run = sandbox.sh(&format!("{{ {script}\n}} 2>&1"));
        let project = sandbox.path("");
        let project = project.display().to_string();
        let output = run.stdout.replace(project.trim_end_matches('/'), "/project");
        played += &without_seconds(&output);
        if run.code != Some(0) {
            played += &format!("[exit status {}]\n", run.code.unwrap());
        }
    }
    played
}

/// Replaces numbers of seconds, such as `0.31 s`.
fn without_seconds(text: &str) -> String {
    let mut shown = String::new();
    for (at, part) in text.split(" s").enumerate() {
        let next = if at == 0 { "" } else { " s" };
        shown += next;
        let digits = part.rfind(|c: char| !(c.is_ascii_digit() || c == '.')).map_or(0, |at| at + 1);
        match part[digits..].contains('.') && part[digits..].parse::<f64>().is_ok() {
            true => shown += &format!("{}N", &part[..digits]),
            false => shown += part,
        }
    }
    shown
}
