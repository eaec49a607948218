//! kill -9 during real bundle builds: wheels by pip, staging, zip, a written tree, commands. At any
//! moment, the next build gives the result of a clean build, without a wrong message and without
//! half-written files.
//!
//! The moments: random ones over the duration of a build, and as soon as a certain file appears or
//! disappears. `ZIPWRIGHT_SOAK_KILLS=N` makes N kills, `ZIPWRIGHT_SEED=S` starts with another seed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::dice::{Dice, number, say};
use crate::sandbox::{Run, Sandbox};

/// Number of kills without the variable.
const KILLS: u64 = 40;

const BUILDFILE: &str = r#"
default = ["package", "tree", "report"]
[target.wheels]
kind = "wheelhouse"
requirements = ["requirements.txt"]
pip-args = ["--no-index"]
[target.generate]
kind = "command"
inputs = ["schema.txt"]
outputs = ["gen/model.py", "gen/model.txt"]
shell = "sed s/^/m_/ schema.txt > gen/model.py; sleep 0.01; cat gen/model.py schema.txt > gen/model.txt"
[target.staging]
kind = "staging"
wheels = ["wheels"]
sources = ["app/**/*", { from = "gen/model.py", to = "model.py" }]
[target.tree]
kind = "staging"
wheels = ["wheels"]
sources = ["app/**/*", { from = "gen/model.txt", to = "model.txt" }]
[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
[target.report]
kind = "command"
inputs = ["build/lambda.zip", "build/tree"]
outputs = ["build/report"]
shell = "cksum < build/lambda.zip > build/report; find build/tree -type f | LC_ALL=C sort | xargs cat | cksum >> build/report"
"#;

/// Outputs that are compared with a clean build: files, and the content of folders.
const OUTPUTS: [&str; 6] = [
    "build/lambda.zip",
    "build/tree",
    "build/wheels",
    "build/report",
    "gen",
    "build/staging.stamp",
];

/// Writes a wheel with modules of some size, so that reading and writing take time.
pub(crate) fn wheel(folder: &Path, name: &str, modules: usize) {
    let file = fs::File::create(folder.join(format!("{name}-1.0-py3-none-any.whl"))).unwrap();
    let mut archive = ZipWriter::new(file);
    let mut record = String::new();
    let mut add = |path: String, text: &str| {
        archive.start_file(&path, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()));
        record += &format!("{path},sha256={hash},{}\n", text.len());
    };
    for at in 0..modules {
        let text: String =
            (0..60).map(|line| format!("{name}_{at}_{line} = {}\n", line * at)).collect();
        add(format!("{name}/module_{at}.py"), &text);
    }
    let info = format!("{name}-1.0.dist-info");
    add(
        format!("{info}/METADATA"),
        &format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
    );
    add(format!("{info}/WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
    record += &format!("{info}/RECORD,,\n");
    archive.start_file(format!("{info}/RECORD"), SimpleFileOptions::default()).unwrap();
    archive.write_all(record.as_bytes()).unwrap();
    archive.finish().unwrap();
}

const WHEELS: [&str; 3] = ["alpha", "beta", "gamma"];

/// The inputs of a build, which alone decide its outputs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Inputs {
    /// Which wheels the requirements name.
    wheels: usize,
    /// Numbers in the sources.
    app: usize,
    schema: usize,
    members: usize,
}

impl Inputs {
    /// Returns other inputs. The wheels change rarely, because a run of pip is the slowest part.
    fn next(&self, dice: &mut Dice) -> Self {
        Self {
            wheels: if dice.once_in(8) { dice.below(3) } else { self.wheels },
            app: dice.below(2),
            schema: dice.below(2),
            members: 1 + dice.below(2),
        }
    }

    fn write(&self, sandbox: &Sandbox) {
        let wheels = &WHEELS[..=self.wheels];
        let lines = wheels.iter().map(|name| format!("./dist/{name}-1.0-py3-none-any.whl\n"));
        sandbox.write("requirements.txt", lines.collect::<String>());
        sandbox.write("schema.txt", format!("schema {}\n", self.schema).repeat(200));
        if sandbox.exists("app") {
            sandbox.remove("app");
        }
        for at in 0..self.members * 8 {
            let text = format!("app {} {at}\n", self.app).repeat(at * 40);
            sandbox.write(&format!("app/part{}/file_{at}.py", at % 3), text);
        }
    }
}

fn project() -> Sandbox {
    let sandbox = Sandbox::with(BUILDFILE);
    fs::create_dir(sandbox.path("dist")).unwrap();
    for (at, name) in WHEELS.iter().enumerate() {
        wheel(&sandbox.path("dist"), name, 20 + 20 * at);
    }
    sandbox
}

type Outputs = BTreeMap<PathBuf, Vec<u8>>;

fn outputs(sandbox: &Sandbox) -> Outputs {
    let mut found = Outputs::new();
    for output in OUTPUTS {
        for entry in walkdir::WalkDir::new(sandbox.path(output)) {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(sandbox.path("")).unwrap();
                found.insert(path.to_path_buf(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// The results of clean builds, each made once.
struct Clean {
    sandbox: Sandbox,
    known: BTreeMap<Inputs, Outputs>,
}

impl Clean {
    fn of(&mut self, inputs: &Inputs) -> &Outputs {
        if !self.known.contains_key(inputs) {
            inputs.write(&self.sandbox);
            for made in ["build", "gen", ".zipwright"] {
                if self.sandbox.exists(made) {
                    self.sandbox.remove(made);
                }
            }
            self.sandbox.run(["-s"]).success();
            self.known.insert(inputs.clone(), outputs(&self.sandbox));
        }
        &self.known[inputs]
    }
}

/// The moment of a kill.
#[derive(Debug)]
enum Moment {
    After(Duration),
    /// As soon as this file exists and is newer than the build.
    Appears(&'static str),
    /// As soon as a half-written file is in this folder.
    HalfMade(&'static str),
}

fn moment(dice: &mut Dice) -> Moment {
    const FILES: [&str; 9] = [
        "gen/model.py",
        "gen/model.txt",
        "build/lambda.zip",
        "build/report",
        "build/staging.stamp",
        "build/tree/model.txt",
        "build/wheels.stamp",
        ".zipwright/manifests/staging",
        ".zipwright/state",
    ];
    const FOLDERS: [&str; 5] =
        ["build", "build/tree", "build/tree/app/part1", ".zipwright", ".zipwright/manifests"];
    match dice.below(4) {
        0 | 1 => {
            let end = *dice.pick(&[20_000, 60_000, 200_000, 1_000_000]);
            Moment::After(Duration::from_micros(dice.below(end) as u64))
        }
        2 => Moment::Appears(FILES[dice.below(FILES.len())]),
        _ => Moment::HalfMade(FOLDERS[dice.below(FOLDERS.len())]),
    }
}

impl Moment {
    fn has_come(
        &self,
        sandbox: &Sandbox,
        started: Instant,
        stood: &BTreeMap<&str, std::time::SystemTime>,
    ) -> bool {
        match self {
            Self::After(delay) => started.elapsed() >= *delay,
            Self::Appears(path) => {
                let now = fs::symlink_metadata(sandbox.path(path)).and_then(|meta| meta.modified());
                now.is_ok_and(|now| stood.get(path) != Some(&now))
            }
            Self::HalfMade(folder) => {
                fs::read_dir(sandbox.path(folder)).is_ok_and(|mut entries| {
                    entries.any(|entry| {
                        entry.is_ok_and(|entry| {
                            entry.file_name().to_string_lossy().starts_with(".zipwright-tmp-")
                        })
                    })
                })
            }
        }
    }
}

/// Starts a build and kills it at the moment. Returns whether the moment came before the end.
fn kill_at(sandbox: &Sandbox, moment: &Moment) -> bool {
    let mut stood = BTreeMap::new();
    if let Moment::Appears(path) = moment
        && let Ok(meta) = fs::symlink_metadata(sandbox.path(path))
    {
        stood.insert(*path, meta.modified().unwrap());
    }
    let mut build =
        sandbox.zipwright().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    loop {
        if build.try_wait().unwrap().is_some() {
            return false;
        }
        if moment.has_come(sandbox, started, &stood) {
            let _ = build.kill();
            build.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn check(sandbox: &Sandbox, expected: &Outputs, what: &str) {
    let run = Run::of(sandbox.zipwright().arg("--json"));
    assert_eq!(run.code, Some(0), "{what}\n{run}");
    assert!(!run.stderr.contains("BUG"), "{what}\n{run}");
    let found = outputs(sandbox);
    let wrong: Vec<&PathBuf> = expected
        .keys()
        .chain(found.keys())
        .filter(|path| expected.get(*path) != found.get(*path))
        .collect();
    assert!(wrong.is_empty(), "{what}: not as after a clean build: {wrong:?}\n{run}");
    for entry in walkdir::WalkDir::new(sandbox.path("")) {
        let entry = entry.unwrap();
        let half_made = entry.file_name().to_string_lossy().starts_with(".zipwright-tmp-");
        assert!(!half_made, "{what}: left behind {}", entry.path().display());
    }
}

/// Makes so many kills; builds that ended before their moment do not count.
fn campaign(kills: u64, seed: u64) {
    let mut dice = Dice::new(seed);
    let sandbox = project();
    let mut clean = Clean { sandbox: project(), known: BTreeMap::new() };
    let (mut done, mut late) = (0, 0);
    let mut inputs = Inputs { wheels: 1, app: 0, schema: 0, members: 1 };
    while done < kills {
        inputs = inputs.next(&mut dice);
        inputs.write(&sandbox);
        // Sometimes without any files, sometimes with only the outputs.
        if dice.once_in(15) {
            for made in ["build", "gen", ".zipwright"] {
                if sandbox.exists(made) {
                    sandbox.remove(made);
                }
            }
        }
        // Killed once, or several times before a build may end.
        let mut moments = Vec::new();
        for _ in 0..=dice.below(2) {
            let moment = moment(&mut dice);
            if kill_at(&sandbox, &moment) {
                done += 1;
            } else {
                late += 1;
            }
            moments.push(moment);
        }
        let what = format!("ZIPWRIGHT_SEED={seed}, after {done} kills, the last at {moments:?}");
        check(&sandbox, clean.of(&inputs), &what);
        if dice.once_in(8) {
            assert_eq!(sandbox.ran([]), [""; 0], "{what}");
        }
    }
    say(&format!("{done} kills, {late} builds were over before their moment"));
}

#[test]
fn kills_at_any_moment_give_no_wrong_result() {
    let kills = number("ZIPWRIGHT_SOAK_KILLS").unwrap_or(KILLS);
    campaign(kills.div_ceil(2), number("ZIPWRIGHT_SEED").unwrap_or(1));
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn kills_at_any_other_moment_give_none_either() {
    let kills = number("ZIPWRIGHT_SOAK_KILLS").unwrap_or(KILLS);
    campaign(kills / 2, number("ZIPWRIGHT_SEED").unwrap_or(1) + 1_000_000);
}
