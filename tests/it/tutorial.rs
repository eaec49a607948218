//! `docs/TUTORIAL.md`, line by line: writes its files, runs its commands, and compares their output.

use crate::sandbox::Sandbox;

const PAGE: &str = include_str!("../../docs/TUTORIAL.md");

/// A fenced block: the line before it, its language, and its lines.
struct Block<'a> {
    before: &'a str,
    language: &'a str,
    lines: Vec<&'a str>,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut before = "";
    let mut is_open = false;
    for line in PAGE.lines() {
        match (line.strip_prefix("```"), is_open) {
            (Some(_), true) => is_open = false,
            (Some(language), false) => {
                is_open = true;
                blocks.push(Block { before, language, lines: Vec::new() });
            }
            (None, true) => blocks.last_mut().unwrap().lines.push(line),
            (None, false) if !line.is_empty() => before = line,
            (None, false) => {}
        }
    }
    blocks
}

/// Returns whether `text` is `expected`, in which `…` stands for any text.
fn matches(expected: &str, text: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let found = if at + 1 == parts.len() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(found) = found else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn every_line_of_the_tutorial_gives_its_output() {
    let sandbox = Sandbox::new();
    sandbox.sh("mkdir hello").success();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_zipwright")).parent().unwrap();
    let mut commands = 0;
    for Block { before, language, lines } in blocks() {
        let file = before.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
        if let Some(file) = file {
            sandbox.write(&format!("hello/{file}"), lines.join("\n") + "\n");
            continue;
        }
        if language != "console" {
            continue;
        }
        let starts: Vec<usize> =
            (0..lines.len()).filter(|at| lines[*at].starts_with("$ ")).collect();
        for (number, start) in starts.iter().enumerate() {
            let end = starts.get(number + 1).copied().unwrap_or(lines.len());
            let command = &lines[*start][2..];
            let script =
                format!("cd hello; PATH='{}':$PATH; exec 2>&1; {command}", binary.display());
            let run = sandbox.sh(&script);
            let expected = lines[start + 1..end].join("\n");
            assert!(
                matches(&expected, run.stdout.trim_end()),
                "{command}\n{run}\n--- not ---\n{expected}"
            );
            commands += 1;
        }
    }
    assert!(commands >= 14, "only {commands} commands");
    assert!(sandbox.exists("hello/lambda_handler.py") && !sandbox.exists("hello/build/lambda.zip"));
}
