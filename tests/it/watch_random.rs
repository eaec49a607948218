//! `watch` with random edits: files, folders, links and the Buildfile, between rounds and during them.
//! After each few edits, it has to come to the outputs that a clean build of a copy has; so a missed
//! edit fails the test.
//!
//! `ZIPWRIGHT_SOAK_WATCH=N` makes N edits, `ZIPWRIGHT_SEED=S` tries the edits of one seed; on failure the
//! edits are printed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::dice::{Dice, number, say};
use crate::sandbox::{Run, Sandbox};
use crate::watching::Watching;

/// Number of edits in every test run.
const EDITS: u64 = 40;

/// Far longer than a round takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const OUTPUTS: [&str; 4] = ["build/join", "build/upper", "build/names", "build/lambda.zip"];

/// The commands take some time, so that edits meet rounds. `pool` is read through links only.
const BUILDFILE: &str = r#"
default = ["upper", "names", "package"]

[target.join]
kind = "command"
inputs = ["src/**/*.txt", "one"]
outputs = ["build/join"]
shell = "sleep 0.03; echo WORD > build/join; for f in one $(find src -name '*.txt' | sort); do echo $f; cat $f; done >> build/join"

[target.upper]
kind = "command"
inputs = ["build/join"]
outputs = ["build/upper"]
shell = "sleep 0.02; tr a-z A-Z < build/join > build/upper"

[target.names]
kind = "command"
inputs = ["*.md", "docs/**/*.md"]
outputs = ["build/names"]
shell = "find *.md docs -name '*.md' | sort | tee build/names | xargs cat >> build/names"

[target.staging]
kind = "staging"
sources = ["app/**/*.py", "app/**/*.json"]

[target.package]
kind = "zip"
staging = "staging"
output = "build/lambda.zip"
"#;

const FOLDERS: [&str; 10] = [
    "src",
    "src/a",
    "src/a/deep",
    "src/b",
    "app",
    "app/pkg",
    "app/pkg/sub",
    "docs",
    "docs/en",
    "pool",
];

const NAMES: [&str; 9] =
    ["x.txt", "y.txt", "z.txt", "m.py", "n.py", "data.json", "r.md", "s.md", "other"];

struct Life {
    dice: Dice,
    seed: u64,
    sandbox: Sandbox,
    /// Where copies are built.
    clean: Sandbox,
    watch: Watching,
    word: usize,
    diary: Vec<String>,
}

#[test]
fn no_random_edit_is_missed() {
    let edits = number("ZIPWRIGHT_SOAK_WATCH").unwrap_or(EDITS);
    let mut life = Life::new(number("ZIPWRIGHT_SEED").unwrap_or(edits));
    let started = Instant::now();
    let (mut compared, mut failing) = (0, 0);
    life.compare();
    while (life.diary.len() as u64) < edits {
        for _ in 0..=life.dice.below(4) {
            life.edit();
            if life.dice.once_in(2) {
                let pause = life.dice.below(150);
                sleep(Duration::from_millis(pause as u64));
            }
        }
        compared += 1;
        if !life.compare() {
            failing += 1;
            life.repair();
            assert!(life.compare(), "it is built again:\n{}", life.watch.text());
        }
    }
    life.watch.end(Signal::TERM);
    // The state that it left is right as well.
    assert_eq!(life.sandbox.ran([]), [""; 0]);
    let (edits, seconds) = (life.diary.len(), started.elapsed().as_secs());
    let rounds = life.watch.text().matches("\"event\":\"round\"").count();
    say(&format!(
        "{edits} edits, {rounds} rounds, {compared} comparisons, {failing} of builds that fail; \
         {seconds} s"
    ));
}

fn content(number: usize) -> String {
    // Many have the same size.
    format!("\"text {:03}\"\n", number % 1000)
}

impl Life {
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::with(&BUILDFILE.replace("WORD", "word0"));
        sandbox.write("one", "1\n").write("readme.md", "r\n").write("docs/en/a.md", "a\n");
        sandbox.write("src/a/x.txt", "x\n").write("app/m.py", "m\n").write("pool/x.txt", "p\n");
        let watch = Watching::start(sandbox.zipwright().args(["watch", "--json", "--settle=20ms"]));
        let (dice, clean) = (Dice::new(seed), Sandbox::new());
        Self { dice, seed, sandbox, clean, watch, word: 0, diary: Vec::new() }
    }

    fn note(&mut self, text: String) {
        self.diary.push(text);
    }

    /// Returns the files of the project but the Buildfile, or its folders below the first level.
    fn existing(&self, folders: bool) -> Vec<String> {
        let root = self.sandbox.path("");
        let mut found = Vec::new();
        for top in ["src", "app", "docs", "pool", "one", "readme.md"] {
            for entry in walkdir::WalkDir::new(root.join(top)).sort_by_file_name() {
                let Ok(entry) = entry else { continue };
                let is_wanted = match folders {
                    true => entry.file_type().is_dir() && entry.depth() > 0,
                    false => !entry.file_type().is_dir(),
                };
                if is_wanted {
                    let path = entry.path().strip_prefix(&root).unwrap();
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found
    }

    fn some(&mut self, folders: bool) -> Option<PathBuf> {
        let existing = self.existing(folders);
        if existing.is_empty() {
            return None;
        }
        let path: &String = self.dice.pick(&existing);
        Some(self.sandbox.path(path))
    }

    /// Returns the place of a file that may exist.
    fn any(&mut self) -> PathBuf {
        let folder = *self.dice.pick(&FOLDERS);
        self.sandbox.path(folder).join(self.dice.pick(&NAMES))
    }

    fn text(&mut self) -> String {
        content(self.dice.below(1000))
    }

    fn edit(&mut self) {
        let kind = self.dice.below(17);
        let (text, any) = (self.text(), self.any());
        let Some(file) = self.some(false) else { return };
        let note = match kind {
            0..=2 => self.write(&any, &text),
            3 | 4 => self.write(&file, &text),
            5 => self.truncate(&file, &text),
            6 => self.rename(&file, &any),
            7 | 8 => self.rename_folder(),
            9 => self.delete(&file),
            10 => self.new_folder(&text),
            11 => self.touch(&file),
            12 => self.edit_buildfile(),
            13 if !any.starts_with(self.sandbox.path("pool")) => self.link(&any),
            14 => {
                let place = self.sandbox.path("pool/x.txt");
                self.write(&place, &text)
            }
            15 => self.chmod(&file),
            _ => self.save_as_editors_do(&file, &text),
        };
        let note = note.unwrap_or_else(|error| format!("in vain: {error}"));
        self.note(note);
    }

    fn name(&self, place: &Path) -> String {
        place.strip_prefix(self.sandbox.path("")).unwrap().display().to_string()
    }

    fn write(&mut self, place: &Path, text: &str) -> std::io::Result<String> {
        fs::create_dir_all(place.parent().unwrap())?;
        fs::write(place, text)?;
        Ok(format!("write {} {text:?}", self.name(place)))
    }

    /// Writes in pieces, so that a round may see a part.
    fn truncate(&mut self, place: &Path, text: &str) -> std::io::Result<String> {
        fs::write(place, "")?;
        if self.dice.once_in(3) {
            return Ok(format!("truncate {}", self.name(place)));
        }
        sleep(Duration::from_millis(self.dice.below(60) as u64));
        fs::write(place, text)?;
        Ok(format!("truncate and write {} {text:?}", self.name(place)))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> std::io::Result<String> {
        fs::rename(from, to)?;
        Ok(format!("rename {} to {}", self.name(from), self.name(to)))
    }

    fn rename_folder(&mut self) -> std::io::Result<String> {
        let Some(from) = self.some(true) else { return Ok("no folder to rename".into()) };
        let top = *self.dice.pick(&["src", "app", "docs"]);
        let to = self.sandbox.path(top).join(self.dice.pick(&["a", "b", "c", "pkg", "en"]));
        self.rename(&from, &to)
    }

    fn delete(&mut self, file: &Path) -> std::io::Result<String> {
        if self.dice.once_in(3)
            && let Some(folder) = self.some(true)
        {
            fs::remove_dir_all(&folder)?;
            return Ok(format!("delete the folder {}", self.name(&folder)));
        }
        fs::remove_file(file)?;
        Ok(format!("delete {}", self.name(file)))
    }

    /// Makes a folder with files, at its place or beside it.
    fn new_folder(&mut self, text: &str) -> std::io::Result<String> {
        let top = *self.dice.pick(&["src", "app", "docs"]);
        let name = format!("{top}/new{}", self.dice.below(5));
        let place = self.sandbox.path(&name);
        let is_moved = self.dice.once_in(2);
        let first = if is_moved { self.sandbox.beside("new") } else { place.clone() };
        fs::create_dir_all(first.join("inner/most"))?;
        for name in ["x.txt", "m.py", "r.md"] {
            fs::write(first.join("inner/most").join(name), text)?;
        }
        if is_moved && let Err(error) = fs::rename(&first, &place) {
            fs::remove_dir_all(&first)?;
            return Err(error);
        }
        Ok(format!("new folder {name} {text:?}, moved: {is_moved}"))
    }

    fn touch(&mut self, place: &Path) -> std::io::Result<String> {
        let text = fs::read(place)?;
        fs::write(place, text)?;
        Ok(format!("touch {}", self.name(place)))
    }

    fn edit_buildfile(&mut self) -> std::io::Result<String> {
        let place = self.sandbox.path("Buildfile");
        let roll = self.dice.below(6);
        if roll > 1 {
            self.word += 1;
        }
        let mut text = BUILDFILE.replace("WORD", &format!("word{}", self.word));
        match roll {
            0 => text.push_str("# a comment\n"),
            1 => text.push_str("x = 1\n"),
            _ => {}
        }
        if self.dice.once_in(2) {
            fs::write(&place, "")?;
        }
        fs::write(&place, text)?;
        Ok(format!("Buildfile: word{}, {roll}", self.word))
    }

    /// Puts a link in the place of a file. Its target may be missing.
    fn link(&mut self, place: &Path) -> std::io::Result<String> {
        let target = if self.dice.once_in(6) { "pool/missing" } else { "pool/x.txt" };
        let depth = place.strip_prefix(self.sandbox.path("")).unwrap().components().count();
        let target = format!("{}{target}", "../".repeat(depth - 1));
        let _ = fs::remove_file(place);
        symlink(&target, place)?;
        Ok(format!("link {} to {target}", self.name(place)))
    }

    fn chmod(&mut self, place: &Path) -> std::io::Result<String> {
        let mode = fs::metadata(place)?.permissions().mode() ^ 0o111;
        fs::set_permissions(place, fs::Permissions::from_mode(mode))?;
        Ok(format!("chmod {mode:o} {}", self.name(place)))
    }

    fn save_as_editors_do(&mut self, place: &Path, text: &str) -> std::io::Result<String> {
        let beside = place.with_extension("swp");
        fs::write(&beside, text)?;
        fs::rename(&beside, place)?;
        Ok(format!("replace {} {text:?}", self.name(place)))
    }

    /// Makes a project that can be built again.
    fn repair(&mut self) {
        self.note("repair".into());
        self.word += 1;
        let word = format!("word{}", self.word);
        self.sandbox.write("Buildfile", BUILDFILE.replace("WORD", &word));
        for path in self.existing(false) {
            if fs::metadata(self.sandbox.path(&path)).is_err() {
                self.sandbox.remove(&path);
            }
        }
        for path in ["one", "readme.md", "docs/en/a.md", "src/a/x.txt", "app/m.py", "pool/x.txt"] {
            if !self.sandbox.exists(path) {
                self.sandbox.write(path, "repaired\n");
            }
        }
    }

    /// Waits until the watch has the outputs of a clean build, or fails as it does. Returns whether the
    /// build succeeds.
    fn compare(&mut self) -> bool {
        let run = self.build_copy();
        let expected = outputs(&self.clean);
        let started = Instant::now();
        loop {
            let outcome = self.watch.last_round().map(|round| round["outcome"].clone());
            let is_right = match run.code {
                Some(0) => {
                    outcome.as_ref().is_some_and(|outcome| outcome == "built")
                        && outputs(&self.sandbox) == expected
                }
                _ => outcome.as_ref().is_some_and(|outcome| outcome == "failed"),
            };
            if is_right {
                return run.code == Some(0);
            }
            if started.elapsed() > PATIENCE {
                panic!(
                    "the watch is wrong, with ZIPWRIGHT_SEED={} after\n{}\nthe clean build:\n{run}\n\
                     the watch:\n{}\nexpected {expected:?}\nfound {:?}",
                    self.seed,
                    self.diary.join("\n"),
                    self.watch.text(),
                    outputs(&self.sandbox),
                );
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Builds a copy of the sources.
    fn build_copy(&self) -> Run {
        let (from, to) = (self.sandbox.path(""), self.clean.path(""));
        fs::remove_dir_all(&to).unwrap();
        let mut copy = std::process::Command::new("cp");
        copy.arg("-a").args([&from, &to]);
        // Files that a round is making may vanish meanwhile.
        let _ = copy.output().unwrap();
        for folder in ["build", ".zipwright"] {
            let _ = fs::remove_dir_all(to.join(folder));
        }
        self.clean.run(["-k"])
    }
}

fn outputs(sandbox: &Sandbox) -> BTreeMap<&'static str, Option<Vec<u8>>> {
    OUTPUTS.iter().map(|path| (*path, fs::read(sandbox.path(path)).ok())).collect()
}
