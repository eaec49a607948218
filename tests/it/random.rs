//! Random builds against a model: random graphs of real commands and a bundle, with random changes
//! to the project between builds, kills included. After each successful build, every output has the
//! bytes that the model computes, and one more run runs nothing. At the end the bundle equals that
//! of a clean build in another folder, bit for bit.
//!
//! `ZIPWRIGHT_SOAK_SEEDS=N` tries N seeds, `ZIPWRIGHT_SEED=S` replays one; on failure the changes
//! are printed.

mod deeds;
mod model;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::dice::{Dice, number};
use crate::sandbox::{Run, Sandbox};

use model::Model;

/// Number of rounds for each seed, each with changes and a build.
const ROUNDS: usize = 10;

/// Number of seeds in every test run, for each of the tests below.
const SEEDS: u64 = 4;

#[test]
fn seeds_one() {
    several(1_000);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn seeds_two() {
    several(2_000);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn seeds_three() {
    several(3_000);
}

fn several(first: u64) {
    if let Some(seed) = number("ZIPWRIGHT_SEED") {
        if first == 1_000 {
            play(seed);
        }
        return;
    }
    let seeds = number("ZIPWRIGHT_SOAK_SEEDS").map_or(SEEDS, |all| all.div_ceil(3));
    for seed in 0..seeds {
        play(first * 1_000 + seed);
    }
}

/// The history of one project.
struct Life {
    seed: u64,
    dice: Dice,
    sandbox: Sandbox,
    model: Model,
    /// The changes so far, for analysing a failure.
    diary: Vec<String>,
}

fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let model = Model::random(&mut dice);
    let mut life = Life { seed, dice, sandbox: Sandbox::new(), model, diary: Vec::new() };
    life.write_all();
    life.build();
    for _ in 0..ROUNDS {
        for _ in 0..=life.dice.below(3) {
            life.deed();
        }
        if life.dice.once_in(4) {
            life.kill();
            if life.dice.once_in(2) {
                life.deed();
            }
        }
        if life.dice.once_in(6) {
            life.fail();
        }
        life.build();
    }
    life.compare_with_a_clean_build();
}

impl Life {
    fn note(&mut self, what: impl Into<String>) {
        self.diary.push(what.into());
    }

    #[track_caller]
    fn wrong(&self, what: &str) -> ! {
        panic!(
            "{what}\nZIPWRIGHT_SEED={}, project kept in {}\n{}\n{}",
            self.seed,
            self.keep().display(),
            self.model.buildfile(),
            self.diary.join("\n")
        )
    }

    /// Returns a copy of the project that outlives the test.
    fn keep(&self) -> std::path::PathBuf {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{}", self.seed));
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([&self.sandbox.path(""), &place])
            .status();
        assert!(copied.unwrap().success());
        place
    }

    fn write_all(&self) {
        self.sandbox.write("Buildfile", self.model.buildfile());
        for (path, text) in &self.model.files {
            self.sandbox.write(path, text);
        }
    }

    /// Returns random `-j` and `--shuffle` flags.
    fn flags(&mut self) -> Vec<String> {
        // Outputs are damaged, and the state is deleted.
        let mut flags = vec!["--force".into(), format!("-j{}", 1 + self.dice.below(4))];
        if self.dice.once_in(2) {
            flags.push(format!("--shuffle={}", self.dice.below(1000)));
        }
        flags
    }

    fn build(&mut self) {
        let flags = self.flags();
        self.note(format!("build {}", flags.join(" ")));
        let run = Run::of(self.sandbox.zipwright().arg("--json").args(&flags));
        if run.code != Some(0) {
            self.wrong(&format!("the build failed:\n{run}"));
        }
        self.check();
        let ran = self.sandbox.ran(["-j2"]);
        let idle: Vec<&String> = ran.iter().filter(|name| *name != "always").collect();
        if !idle.is_empty() {
            self.wrong(&format!("one more run ran {idle:?}"));
        }
        self.check();
    }

    fn check(&self) {
        for (path, expected) in self.model.outputs() {
            let found = fs::read_to_string(self.sandbox.path(&path));
            if found.as_ref().ok() != Some(&expected) {
                self.wrong(&format!("{path}: expected {expected:?}, found {found:?}"));
            }
        }
        let found = bundle(&self.sandbox.path("build/bundle.zip"));
        if found != self.model.bundle() {
            self.wrong(&format!("bundle: expected {:?}, found {found:?}", self.model.bundle()));
        }
        for entry in walkdir::WalkDir::new(self.sandbox.path("")) {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with(".zipwright-tmp-") {
                self.wrong(&format!("left behind: {}", entry.path().display()));
            }
        }
    }

    /// Kills a build at some moment, if it takes that long.
    fn kill(&mut self) {
        let flags = self.flags();
        let delay = Duration::from_micros(self.dice.below(80_000) as u64);
        self.note(format!("build {}, killed after {delay:?}", flags.join(" ")));
        let mut command = self.sandbox.zipwright();
        command.args(&flags).stdout(Stdio::null()).stderr(Stdio::null());
        let mut build = command.spawn().unwrap();
        std::thread::sleep(delay);
        build.kill().unwrap();
        build.wait().unwrap();
    }

    /// Makes a step fail, in a build that may continue, and repairs it.
    fn fail(&mut self) {
        let at = self.dice.below(self.model.steps.len());
        self.model.steps[at].fails = true;
        self.sandbox.write("Buildfile", self.model.buildfile());
        let mut flags = self.flags();
        if self.dice.once_in(2) {
            flags.push("-k".into());
        }
        let name = format!("s{at}");
        self.note(format!("{name} fails, build {}", flags.join(" ")));
        let run = Run::of(self.sandbox.zipwright().arg("--json").args(&flags));
        if run.code != Some(2) {
            self.wrong(&format!("it did not fail:\n{run}"));
        }
        if self.sandbox.exists(&format!("out/{name}")) && run.target(&name)["outcome"] == "failed" {
            let text = self.sandbox.read(&format!("out/{name}"));
            if text.contains("half-made") {
                self.wrong("a half-made output is left");
            }
        }
        self.model.steps[at].fails = false;
        self.sandbox.write("Buildfile", self.model.buildfile());
    }

    fn compare_with_a_clean_build(&self) {
        let clean = Sandbox::with(&self.model.buildfile());
        for folder in ["src", "glob", "pool"] {
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .args([self.sandbox.path(folder), clean.path("")])
                .status();
            assert!(copied.unwrap().success());
        }
        clean.run(["-s"]).success();
        let mut paths: Vec<String> = self.model.outputs().into_keys().collect();
        paths.push("build/bundle.zip".into());
        for path in paths {
            if clean.bytes(&path) != self.sandbox.bytes(&path) {
                self.wrong(&format!("{path} is not that of a clean build"));
            }
        }
    }
}

/// Returns name, executable bit and text of every member.
fn bundle(path: &Path) -> Vec<(String, bool, String)> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut members = Vec::new();
    for at in 0..archive.len() {
        let mut member = archive.by_index(at).unwrap();
        if member.is_dir() {
            continue;
        }
        let mut text = String::new();
        member.read_to_string(&mut text).unwrap();
        let executable = member.unix_mode().unwrap() & 0o100 != 0;
        members.push((member.name().unwrap().into_owned(), executable, text));
    }
    members
}
