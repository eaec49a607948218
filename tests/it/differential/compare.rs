//! Runs a scenario with both tools, each in a project of its own, and compares exit status,
//! commands and files after every invocation.
//!
//! Before each step everything in make's project becomes a little older, in the same order, so that
//! the result of the next step is certainly newer. Zipwright gets no such help.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use filetime::FileTime;
use rustix::process::{Pid, Signal, kill_process_group};
use walkdir::WalkDir;

use super::rules::Rules;
use super::scenario::{Expected, Invocation, Scenario, Seen, Step};
use crate::sandbox::Sandbox;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Make,
    Zipwright,
}

/// The result of an invocation.
struct Outcome {
    end: i32,
    /// In order if one target ran at a time.
    ran: Vec<String>,
    files: BTreeMap<String, String>,
    text: String,
}

/// Runs all scenarios; fails with every deviation.
#[track_caller]
pub(super) fn check(scenarios: &[Scenario]) {
    let wrong: Vec<String> =
        scenarios.iter().filter_map(|scenario| play_fairly(scenario).err()).collect();
    let count = scenarios.len();
    assert!(wrong.is_empty(), "{} of {count} scenarios:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// Repeats a scenario if a signal reaches make and its child at the same moment: make can then lose
/// count of its children, and end with an error of its own.
fn play_fairly(scenario: &Scenario) -> Result<(), String> {
    const MAKE_LOST_COUNT: &str = "make: *** wait: No child processes.";
    for _ in 0..10 {
        match play(scenario) {
            Err(wrong) if wrong.contains(MAKE_LOST_COUNT) => {}
            played => return played,
        }
    }
    play(scenario)
}

fn play(scenario: &Scenario) -> Result<(), String> {
    let projects = [Tool::Make, Tool::Zipwright].map(|tool| (tool, Sandbox::new()));
    for (tool, sandbox) in &projects {
        for (folder, rules) in &scenario.folders {
            write_rules(sandbox, folder, rules);
        }
        if *tool == Tool::Make {
            grow_older(sandbox);
        }
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        grow_older(&projects[0].1);
        if let Step::Run(invocation) = step {
            let [make, zipwright] =
                projects.each_ref().map(|(tool, sandbox)| tool.invoke(sandbox, invocation));
            let place = format!("`{}`, step {}", scenario.name, index + 1);
            judge(&place, invocation, &make, &zipwright)?;
        } else {
            for (tool, sandbox) in &projects {
                tool.change(sandbox, step);
            }
        }
    }
    Ok(())
}

fn judge(
    place: &str,
    invocation: &Invocation,
    make: &Outcome,
    zipwright: &Outcome,
) -> Result<(), String> {
    let difference = make.difference(zipwright);
    let mut wrong = Vec::new();
    match &invocation.expected {
        Expected::Same => wrong.extend(difference),
        Expected::Both(seen) => {
            wrong.extend(difference);
            wrong.extend(make.is_not(seen).map(|text| format!("make {text}")));
            wrong.extend(zipwright.is_not(seen).map(|text| format!("zipwright {text}")));
        }
        Expected::Differs { because, make: by_make, zipwright: by_zipwright } => {
            assert!(because.len() > 20, "{place}: say why");
            if difference.is_none() {
                wrong.push("the two no longer differ".into());
            }
            wrong.extend(make.is_not(by_make).map(|text| format!("make {text}")));
            wrong.extend(zipwright.is_not(by_zipwright).map(|text| format!("zipwright {text}")));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{place} ({}):\n  {}\n  make said:\n{}\n  zipwright said:\n{}",
        invocation.words.join(" "),
        wrong.join("\n").replace('\n', "\n  "),
        indented(&make.text),
        indented(&zipwright.text),
    ))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

impl Outcome {
    fn difference(&self, zipwright: &Self) -> Option<String> {
        let mut text = String::new();
        if self.end != zipwright.end {
            writeln!(text, "make ended {}, zipwright {}", self.end, zipwright.end).unwrap();
        }
        if self.ran != zipwright.ran {
            writeln!(text, "make ran {:?}, zipwright {:?}", self.ran, zipwright.ran).unwrap();
        }
        for (path, content) in &self.files {
            match zipwright.files.get(path) {
                None => writeln!(text, "`{path}` is left by make alone").unwrap(),
                Some(other) if other != content => {
                    writeln!(text, "`{path}`: make {content:?}, zipwright {other:?}").unwrap();
                }
                Some(_) => {}
            }
        }
        for path in zipwright.files.keys().filter(|path| !self.files.contains_key(*path)) {
            writeln!(text, "`{path}` is left by zipwright alone").unwrap();
        }
        (!text.is_empty()).then(|| text.trim_end().to_owned())
    }

    fn is_not(&self, seen: &Seen) -> Option<String> {
        let mut text = String::new();
        if self.end != seen.end {
            writeln!(text, "ended {}, not {}", self.end, seen.end).unwrap();
        }
        if let Some(expected) = &seen.ran {
            let sorted = |names: &[String]| {
                let mut names = names.to_vec();
                names.sort();
                names
            };
            if sorted(&self.ran) != sorted(expected) {
                writeln!(text, "ran {:?}, not {expected:?}", self.ran).unwrap();
            }
        }
        for (path, expected) in &seen.files {
            let found = self.files.get(path);
            if found != expected.as_ref() {
                writeln!(text, "left `{path}` as {found:?}, not {expected:?}").unwrap();
            }
        }
        if let Some(expected) = seen.says.as_ref().filter(|expected| **expected != self.text) {
            writeln!(text, "said {:?}, not {expected:?}", self.text).unwrap();
        }
        (!text.is_empty()).then(|| text.trim_end().to_owned())
    }
}

impl Tool {
    fn file(self) -> &'static str {
        match self {
            Self::Make => "Makefile",
            Self::Zipwright => "Buildfile",
        }
    }

    fn invoke(self, sandbox: &Sandbox, invocation: &Invocation) -> Outcome {
        let words = invocation.words.iter().map(|word| word.replace("%file%", self.file()));
        let words: Vec<String> = words.collect();
        let dry = words.iter().any(|word| word == "-n");
        let mut command = match self {
            Self::Make => sandbox.program("/usr/bin/make"),
            Self::Zipwright => sandbox.zipwright(),
        };
        if dry && self == Self::Zipwright {
            command.arg("--json");
        }
        command.args(&words).envs(invocation.env.clone());
        command.env("LOG", sandbox.beside("log"));
        command.env("ZIPWRIGHT", env!("CARGO_BIN_EXE_zipwright"));
        let (end, stdout, stderr) = finish(command, sandbox, invocation.signal);
        let log = fs::read_to_string(sandbox.beside("log")).unwrap_or_default();
        let _ = fs::remove_file(sandbox.beside("log"));
        let mut ran: Vec<String> = log.lines().map(String::from).collect();
        if dry {
            assert!(ran.is_empty(), "{words:?}: a dry run ran {ran:?}");
            ran = self.would_run(&stdout);
        }
        if dry || !words.iter().any(|word| word == "-j1") {
            ran.sort();
        }
        Outcome { end, ran, files: files(sandbox), text: stdout + &stderr }
    }

    /// Returns the targets whose commands a dry run shows.
    fn would_run(self, stdout: &str) -> Vec<String> {
        let name = |line: &str| match self {
            Self::Make => Some(line.strip_prefix("set -e; echo ")?.split_once(' ')?.0.to_owned()),
            Self::Zipwright => {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                let runs = event["outcome"] == "would-run" && event["kind"] == "command";
                runs.then(|| event["target"].as_str().unwrap().to_owned())
            }
        };
        stdout.lines().filter_map(name).collect()
    }

    fn change(self, sandbox: &Sandbox, step: &Step) {
        let named = |path: &str| path.replace("%file%", self.file());
        match step {
            Step::Run(_) => unreachable!("BUG: an invocation changes nothing by itself"),
            Step::Write { path, text } => {
                sandbox.write(&named(path), format!("{text}\n"));
            }
            Step::Remove(path) => {
                sandbox.remove(&named(path));
            }
            Step::Touch(path) => {
                sandbox.touch(path);
            }
            Step::Backdate { path, text } => {
                sandbox.write(path, format!("{text}\n")).age(path, 1_000_000);
            }
            Step::Chmod { path, mode } => {
                sandbox.chmod(path, *mode);
            }
            Step::Rename { from, to } => {
                fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
            }
            Step::Rewrite(rules) => write_rules(sandbox, "", rules),
        }
    }
}

/// Writes both files into both projects: recipes may call the other tool.
fn write_rules(sandbox: &Sandbox, folder: &str, rules: &Rules) {
    sandbox.write(&format!("{folder}Makefile"), rules.makefile());
    sandbox.write(&format!("{folder}Buildfile"), rules.buildfile());
}

fn finish(mut command: Command, sandbox: &Sandbox, signal: Option<i32>) -> (i32, String, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    if let Some(signal) = signal {
        sandbox.wait_for("started");
        let group = Pid::from_raw(child.id().cast_signed()).unwrap();
        kill_process_group(group, Signal::from_named_raw(signal).unwrap()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let end = output.status.code().or(output.status.signal().map(|signal| -signal)).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (end, text(output.stdout), text(output.stderr))
}

fn entries(sandbox: &Sandbox) -> impl Iterator<Item = walkdir::DirEntry> {
    let records = |entry: &walkdir::DirEntry| entry.file_name() == ".zipwright";
    let all = WalkDir::new(sandbox.path("")).into_iter().filter_entry(move |e| !records(e));
    all.map(Result::unwrap).filter(|entry| !entry.file_type().is_dir())
}

/// Returns the content of every file that is not the tools' own; `x ` before that of an executable
/// one.
fn files(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let root = sandbox.path("");
    let own = |name: &str| name.ends_with("Makefile") || name.ends_with("Buildfile");
    entries(sandbox)
        .filter(|entry| !own(entry.file_name().to_str().unwrap()))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            let content = fs::read_to_string(entry.path()).unwrap();
            (path, if executable { format!("x {content}") } else { content })
        })
        .collect()
}

fn grow_older(sandbox: &Sandbox) {
    for entry in entries(sandbox) {
        let modified = FileTime::from_last_modification_time(&entry.metadata().unwrap());
        let older = FileTime::from_unix_time(modified.unix_seconds() - 100, modified.nanoseconds());
        filetime::set_symlink_file_times(entry.path(), older, older).unwrap();
    }
}
