//! Files of users: no file that zipwright did not make is removed, truncated or overwritten. Named
//! cases, and random projects with links, mistyped outputs and files of others everywhere: after
//! any sequence of builds and cleans, each of these files has its bytes and its mode.
//!
//! `ZIPWRIGHT_SOAK_OWNERSHIP=N` runs N sequences, `ZIPWRIGHT_SEED=S` replays one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::dice::{Dice, number, say};
use crate::sandbox::{Run, Sandbox};

/// Number of sequences without the variable.
const SEQUENCES: u64 = 40;

/// Number of changes and runs in one sequence.
const STEPS: usize = 8;

/// Paths of outputs and of files of others.
const PATHS: [&str; 14] = [
    "docs",
    "docs/a",
    "docs/deep/b",
    "out",
    "out/src/a.txt",
    "out/x",
    "src/a.txt",
    "src/b.txt",
    "gen/g",
    "link/home",
    "inner/a.txt",
    "build/tree/src/a.txt",
    "build/z.zip",
    "done",
];

const COMMANDS: [&str; 5] =
    ["printf made > OUT", "true", "cat src/*.txt > OUT", "printf + >> OUT", "false"];

/// A file that zipwright did not make, or a link.
#[derive(Clone, Debug, PartialEq)]
enum Thing {
    File(String, u32),
    Link(String),
}

struct Life {
    seed: u64,
    dice: Dice,
    sandbox: Sandbox,
    things: BTreeMap<String, Thing>,
    /// Outputs of commands: a link in the place of one is removed.
    outputs: Vec<String>,
    next: usize,
    diary: Vec<String>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut life = Self {
            seed,
            dice: Dice::new(seed),
            sandbox: Sandbox::new(),
            things: BTreeMap::new(),
            outputs: Vec::new(),
            next: 0,
            diary: Vec::new(),
        };
        fs::create_dir(life.sandbox.beside("outside")).unwrap();
        for path in ["../outside/home", "../outside/docs/a", "src/a.txt", "src/b.txt"] {
            life.put(path);
        }
        life.link("link", "../outside");
        life.link("inner", "src");
        life.describe();
        life
    }

    fn play(&mut self) {
        for _ in 0..STEPS {
            for _ in 0..=self.dice.below(2) {
                self.deed();
            }
            self.run();
        }
    }

    fn deed(&mut self) {
        let path = (*self.dice.pick(&PATHS)).to_owned();
        match self.dice.below(12) {
            0..4 => self.put(&path),
            4 => self.link(&path, "../outside/home"),
            5 => self.link(&path, "src/a.txt"),
            6 => self.second_name(&path),
            7 => self.chmod(&path),
            8 => self.forget(),
            9 => self.put("src/a.txt"),
            _ => self.describe(),
        }
    }

    fn run(&mut self) {
        const WORDS: [&[&str]; 7] =
            [&[], &[], &["-k"], &["-kB"], &["-kt"], &["clean"], &["clean", "-f", "Buildfile"]];
        let words = *self.dice.pick(&WORDS);
        let run = Run::of(self.sandbox.zipwright().arg("-j1").args(words));
        let run = match words.first() {
            Some(&"clean") => Run::of(self.sandbox.zipwright().args(words)),
            _ => run,
        };
        self.diary.push(format!("{words:?}: {:?} {}", run.code, run.stderr.trim()));
        assert!(!run.stderr.contains("BUG"), "{}", self.diary.join("\n"));
        for (path, thing) in &self.things {
            let found = self.found(path);
            let is_taken = matches!(thing, Thing::Link(_)) && self.outputs.contains(path);
            if found.as_ref() != Some(thing) && !is_taken {
                let diary = self.diary.join("\n");
                let text = self.sandbox.read("Buildfile");
                panic!(
                    "ZIPWRIGHT_SEED={}: {path} was {thing:?}, and is {found:?}\n{text}\n{diary}",
                    self.seed
                );
            }
        }
        // Removed links are not expected any more.
        let there = |(path, thing): &(&String, &Thing)| self.found(path).as_ref() == Some(*thing);
        let there = self.things.iter().filter(there);
        self.things = there.map(|(path, thing)| (path.clone(), thing.clone())).collect();
    }

    fn found(&self, path: &str) -> Option<Thing> {
        let place = self.sandbox.path(path);
        let meta = fs::symlink_metadata(&place).ok()?;
        if meta.is_symlink() {
            return Some(Thing::Link(fs::read_link(place).ok()?.to_str()?.to_owned()));
        }
        let bytes = fs::read(&place).ok()?;
        Some(Thing::File(String::from_utf8_lossy(&bytes).into_owned(), meta.mode() & 0o7777))
    }

    /// Returns whether all parents of `path` are folders, not links or files.
    fn is_reached(&self, path: &str) -> bool {
        let above = Path::new(path).parent().unwrap().ancestors();
        let mut above = above.map(|folder| self.sandbox.path(folder.to_str().unwrap()));
        above.all(|folder| fs::symlink_metadata(folder).map_or(true, |meta| meta.is_dir()))
    }

    /// Frees a path for a file of the user; returns `false` if there is a folder, or a parent leads
    /// elsewhere.
    fn free(&mut self, path: &str) -> bool {
        let place = self.sandbox.path(path);
        let is_folder = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir());
        if is_folder || !self.is_reached(path) {
            return false;
        }
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let _ = fs::remove_file(place);
        self.things.remove(path);
        true
    }

    fn keep(&mut self, path: &str, what: &str) {
        self.diary.push(format!("{what} {path}"));
        self.things.insert(path.to_owned(), self.found(path).unwrap());
    }

    fn put(&mut self, path: &str) {
        if self.free(path) {
            self.next += 1;
            fs::write(self.sandbox.path(path), format!("precious {}\n", self.next)).unwrap();
            self.keep(path, "put");
        }
    }

    fn link(&mut self, path: &str, to: &str) {
        if self.free(path) {
            symlink(to, self.sandbox.path(path)).unwrap();
            self.keep(path, &format!("link to {to}"));
        }
    }

    fn second_name(&mut self, path: &str) {
        // A command may make one of two sources with the same bytes from the other: a file with the
        // same content becomes the target's.
        if !path.starts_with("src/") && self.free(path) {
            fs::hard_link(self.sandbox.path("src/b.txt"), self.sandbox.path(path)).unwrap();
            self.keep(path, "second name of src/b.txt");
        }
    }

    /// Changes the mode of a path that may be an output.
    fn chmod(&mut self, path: &str) {
        let place = self.sandbox.path(path);
        let is_file =
            fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1);
        if is_file && self.is_reached(path) {
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
            self.diary.push(format!("chmod {path}"));
            if self.things.contains_key(path) {
                self.keep(path, "its mode is kept:");
            }
        }
    }

    fn forget(&mut self) {
        if self.sandbox.exists(".zipwright") {
            self.sandbox.remove(".zipwright");
            self.diary.push("rm -rf .zipwright".into());
        }
    }

    /// Writes another Buildfile, or one with a mistyped output.
    fn describe(&mut self) {
        let mut text = String::from("default = [\"all\"]\n");
        let mut names = Vec::new();
        self.outputs.clear();
        for at in 0..=self.dice.below(2) {
            let (out, script) = ((*self.dice.pick(&PATHS)).to_owned(), *self.dice.pick(&COMMANDS));
            let inputs = if self.dice.once_in(2) { "src/*.txt" } else { "src/a.txt" };
            text += &format!(
                "[target.c{at}]\nkind = \"command\"\ninputs = [\"{inputs}\"]\noutputs = [\"{out}\"]\n\
                 shell = \"{}\"\n{}",
                script.replace("OUT", &out),
                self.stamp()
            );
            names.push(format!("\"c{at}\""));
            self.outputs.push(out);
        }
        let output = *self.dice.pick(&[
            "build/tree",
            "out",
            "docs",
            "docs/deep",
            "link",
            "link/docs",
            "inner",
        ]);
        let write = if self.dice.once_in(2) { "write = true\n" } else { "" };
        text += &format!(
            "[target.tree]\nkind = \"staging\"\nsources = [\"src/*.txt\"]\noutput = \"{output}\"\n{write}{}",
            self.stamp()
        );
        names.push("\"tree\"".into());
        if self.dice.once_in(2) {
            let output =
                *self.dice.pick(&["build/z.zip", "gen/g", "docs/a", "src/b.txt", "link/home"]);
            text +=
                &format!("[target.z]\nkind = \"zip\"\nstaging = \"tree\"\noutput = \"{output}\"\n");
            names.push("\"z\"".into());
        }
        text += &format!("[target.all]\nkind = \"group\"\ntargets = [{}]\n", names.join(", "));
        self.diary.push(format!("describe:\n{text}"));
        self.sandbox.write("Buildfile", text);
        self.things.remove("Buildfile");
    }

    fn stamp(&mut self) -> String {
        match self.dice.below(4) {
            0 => format!("stamp = \"{}\"\n", self.dice.pick(&PATHS)),
            _ => String::new(),
        }
    }
}

fn campaign(first: u64, share: u64) {
    if let Some(seed) = number("ZIPWRIGHT_SEED") {
        if first == 0 {
            Life::new(seed).play();
        }
        return;
    }
    let sequences = number("ZIPWRIGHT_SOAK_OWNERSHIP").unwrap_or(SEQUENCES).div_ceil(share);
    for seed in 0..sequences {
        Life::new(first + seed).play();
    }
    say(&format!("{sequences} sequences, nothing was lost"));
}

#[test]
fn nothing_of_a_user_is_lost() {
    campaign(0, 2);
}

#[test]
fn nothing_of_a_user_is_lost_by_others() {
    campaign(1_000_000, 2);
}
