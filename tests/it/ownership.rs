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

const COMMANDS: [&str; 7] = [
    "printf made > OUT",
    "true",
    "cat src/*.txt > OUT",
    "printf + >> OUT",
    "false",
    "kill -9 $PPID",
    "printf half > OUT; kill -9 $PPID",
];

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
            let found = self.found_anywhere(path, thing);
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
        let there = |(path, thing): &(&String, &Thing)| {
            self.found_anywhere(path, thing).as_ref() == Some(*thing)
        };
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

    /// Returns what is at `path`, unless `thing` is where a killed run left it.
    fn found_anywhere(&self, path: &str, thing: &Thing) -> Option<Thing> {
        let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
        let aside = format!("{folder}/.zipwright-tmp-aside-{name}");
        let killed = fs::read_dir(self.sandbox.path(".zipwright/killed")).into_iter().flatten();
        let killed = killed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let kept = killed.map(|name| format!(".zipwright/killed/{name}"));
        let mut places = kept.chain([aside]);
        places.find_map(|place| self.found(&place).filter(|it| it == thing)).or(self.found(path))
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
        let is_there = self.sandbox.exists("src/b.txt");
        if is_there && !path.starts_with("src/") && self.free(path) {
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
            // With it the user removed what a killed run had left there.
            let things = std::mem::take(&mut self.things);
            let left = |(path, thing): &(String, Thing)| self.found_anywhere(path, thing).is_some();
            self.things = things.into_iter().filter(left).collect();
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

/// A project with one command, which begins with a file of the user in the place of its output.
fn killed(shell: &str) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        "[target.g]\nkind = \"command\"\ninputs = [\"in.txt\"]\noutputs = [\"a.txt\"]\n\
         shell = \"\"\"\nif [ ! -e killed ]; then touch killed; {shell}; kill -9 $PPID; exit; fi\n\
         echo generated > a.txt\"\"\"\n[target.other]\nkind = \"command\"\noutputs = [\"b.txt\"]\n\
         shell = \"echo b > b.txt\"\n"
    ));
    sandbox.write("in.txt", "1");
    sandbox
}

const IN_THE_WAY: &str = "`a.txt` is in the way: zipwright did not make it";

#[test]
fn a_file_that_a_killed_run_had_set_aside_is_still_a_users() {
    for shell in ["true", "echo half > a.txt"] {
        for between in [None, Some("other"), Some("list"), Some("clean")] {
            let sandbox = killed(shell);
            sandbox.write("a.txt", "mine");
            let _ = sandbox.run(["g"]);
            if let Some(word) = between {
                let _ = sandbox.run([word]);
            }
            let run = sandbox.run(["g"]).failure();
            if shell.starts_with("echo") {
                let _ = run.stderr_has("`a.txt` before a build was killed: remove one of them");
                assert_eq!(sandbox.read(".zipwright-tmp-aside-a.txt"), "mine");
                sandbox.remove("a.txt");
                let _ = sandbox.run(["g"]).failure().stderr_has(IN_THE_WAY);
            } else {
                let _ = run.stderr_has(IN_THE_WAY);
            }
            assert_eq!(sandbox.read("a.txt"), "mine", "{shell} {between:?}");
        }
    }
}

#[test]
fn an_edited_output_is_a_users_after_a_killed_run() {
    let sandbox = killed("true");
    sandbox.write("killed", "");
    sandbox.run(["g"]).success();
    sandbox.write("a.txt", "edited");
    sandbox.write("in.txt", "2");
    sandbox.remove("killed");
    let _ = sandbox.run(["g"]);
    let _ = sandbox.run(["g"]).failure().stderr_has(IN_THE_WAY);
    assert_eq!(sandbox.read("a.txt"), "edited");
}

#[test]
fn only_outputs_that_a_killed_run_could_write_count_as_half_written() {
    let sandbox = killed("echo half > a.txt");
    let _ = sandbox.run(["g"]);
    assert_eq!(sandbox.read("a.txt"), "half\n");
    // Another output, which that run could not write.
    sandbox.write("thesis.txt", "mine");
    let text = sandbox.read("Buildfile");
    sandbox.write("Buildfile", text.replace("a.txt", "thesis.txt"));
    let run = sandbox.run(["g"]).failure();
    let _ = run.stderr_has("`thesis.txt` is in the way: zipwright did not make it");
    assert_eq!(sandbox.read("thesis.txt"), "mine");
}

#[test]
fn what_a_killed_run_left_is_kept_beside_the_state() {
    let sandbox = killed("echo half > a.txt");
    let _ = sandbox.run(["g"]);
    // A failure before the command begins changes nothing about it.
    sandbox.remove("in.txt");
    let _ = sandbox.run(["g"]).failure();
    sandbox.write("in.txt", "1");
    sandbox.write("a.txt", "written since");
    let kept = ".zipwright/killed/a.txt";
    let _ = sandbox.run(["g"]).success().stderr_has(&format!(
        "`a.txt` may be half-written, as its run was killed: it is kept as `{kept}`"
    ));
    assert_eq!(
        (sandbox.read("a.txt"), sandbox.read(kept)),
        ("generated\n".into(), "written since".into())
    );
    sandbox.remove("killed");
    sandbox.write("in.txt", "2");
    let _ = sandbox.run(["g"]);
    let _ = sandbox.run(["g"]).success();
    assert_eq!(sandbox.read(kept), "written since", "another one does not replace it");
    assert_eq!(sandbox.read(".zipwright/killed/a.txt.1"), "half\n");
}

#[test]
fn a_folder_in_the_place_of_an_output_stays() {
    let sandbox = Sandbox::with(
        "[target.g]\nkind = \"command\"\noutputs = [\"vendor\"]\n\
         shell = \"mv third_party vendor && false\"\n\
         [target.d]\nkind = \"command\"\noutputs = [\"dist\"]\nshell = \"mkdir -p dist; echo x > dist/a\"\n",
    );
    sandbox.write("third_party/own.c", "mine");
    let _ = sandbox.run(["g"]).failure();
    assert_eq!(sandbox.read("vendor/own.c"), "mine");
    let _ = sandbox
        .run(["d"])
        .failure()
        .stderr_has("the command made a folder of output `dist`; declare the files in it");
    let _ = sandbox.run(["d"]).failure().stderr_has("output `dist` is a folder; declare the files");
    for word in ["d", "--force"] {
        let _ = sandbox
            .run(["clean", "d", word])
            .failure()
            .stderr_has("`dist` stays: it is a folder, and not the output; remove it yourself");
    }
    assert!(sandbox.exists("dist/a"));
}

#[test]
fn an_output_with_a_variable_goes_back_and_forth() {
    let sandbox = Sandbox::with(
        "[vars]\nstage = \"dev\"\n\
         [target.tree]\nkind = \"staging\"\nsources = [\"a.py\"]\noutput = \"build/{stage}\"\nwrite = true\n\
         [target.z]\nkind = \"zip\"\nstaging = \"tree\"\noutput = \"build/{stage}.zip\"\n\
         [target.g]\nkind = \"command\"\ninputs = [\"a.py\"]\noutputs = [\"build/{stage}.txt\"]\n\
         shell = \"cat a.py > build/{stage}.txt\"\n\
         [target.all]\nkind = \"group\"\ntargets = [\"tree\", \"z\", \"g\"]\n",
    );
    for round in 0..3 {
        sandbox.write("a.py", format!("x = {round}\n"));
        for stage in ["dev", "prod", "test"] {
            sandbox.run(["all", &format!("stage={stage}")]).success();
            let text = format!("x = {round}\n");
            assert_eq!(sandbox.read(&format!("build/{stage}/a.py")), text);
            assert_eq!(sandbox.read(&format!("build/{stage}.txt")), text);
        }
    }
    // An edit is a user's there too.
    sandbox.write("build/dev.txt", "mine");
    sandbox.write("build/dev/a.py", "mine");
    let run = sandbox.run(["-k", "all"]).failure();
    let _ = run
        .stderr_has("`build/dev.txt` is in the way")
        .stderr_has("`build/dev/a.py` is in the way");
    sandbox.run(["clean", "stage=prod"]).success();
    assert!(!sandbox.exists("build/prod.zip") && !sandbox.exists("build/prod/a.py"));
}
