//! Changes to a project between builds, applied to its files and to the model.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use filetime::FileTime;

use super::Life;
use super::model::some_text;

impl Life {
    pub(super) fn deed(&mut self) {
        match self.dice.below(18) {
            0 | 1 => self.edit(),
            2 => self.edit_at_the_same_size(),
            3 => self.edit_with_an_older_time(),
            4 => self.touch(),
            5 => self.delete_and_restore(),
            6 => self.rename_member(),
            7 => self.add_or_remove_member(),
            8 => self.chmod(),
            9 | 10 => self.ruin_output(),
            11 => self.swap_for_link(),
            12 => self.edit_pool(),
            13 => self.redefine(),
            14 => self.reformat(),
            15 => self.delete_state(),
            16 => self.ruin_bundle(),
            _ => self.ruin_tree(),
        }
    }

    fn source(&mut self) -> String {
        let sources: Vec<String> = self
            .model
            .files
            .keys()
            .filter(|path| !path.starts_with("pool/") && !self.model.links.contains_key(*path))
            .cloned()
            .collect();
        self.dice.pick(&sources).clone()
    }

    fn set(&mut self, path: &str, text: &str) {
        self.sandbox.write(path, text);
        self.model.files.insert(path.into(), text.into());
    }

    fn edit(&mut self) {
        let (path, text) = (self.source(), some_text(&mut self.dice));
        self.note(format!("edit {path}: {text:?}"));
        self.set(&path, &text);
    }

    /// Returns the text without its last line break and with one letter changed.
    fn other_text_of_this_size(&mut self, path: &str) -> String {
        let letter = *self.dice.pick(&['x', 'y', 'z']);
        format!("{letter}{}", &self.model.files[path][1..])
    }

    fn edit_at_the_same_size(&mut self) {
        let path = self.source();
        let text = self.other_text_of_this_size(&path);
        self.note(format!("edit {path} at the same size: {text:?}"));
        self.set(&path, &text);
    }

    fn edit_with_an_older_time(&mut self) {
        let path = self.source();
        let place = self.sandbox.path(&path);
        let time = FileTime::from_last_modification_time(&fs::metadata(&place).unwrap());
        let text = self.other_text_of_this_size(&path);
        let older = if self.dice.once_in(2) { 0 } else { 1000 };
        self.note(format!("edit {path}, time put back by {older}: {text:?}"));
        self.set(&path, &text);
        let time = FileTime::from_unix_time(time.unix_seconds() - older, time.nanoseconds());
        filetime::set_file_mtime(place, time).unwrap();
    }

    fn touch(&mut self) {
        let path = self.source();
        self.note(format!("touch {path}"));
        self.sandbox.touch(&path);
    }

    /// Without a source, a build may fail, and must then return the status of an error.
    fn delete_and_restore(&mut self) {
        let path = self.source();
        if path.starts_with("glob/") {
            return;
        }
        self.note(format!("delete {path}, build, and put it back"));
        self.sandbox.remove(&path);
        let run = self.sandbox.run(["-k", "-s", "--force"]);
        let needed = self.model.steps.iter().any(|step| step.inputs.contains(&path));
        if run.code != Some(if needed { 2 } else { 0 }) {
            self.wrong(&format!("without {path}:\n{run}"));
        }
        self.model.executable.remove(&path);
        let text = if self.dice.once_in(2) {
            self.model.files[&path].clone()
        } else {
            some_text(&mut self.dice)
        };
        self.set(&path, &text);
    }

    fn rename_member(&mut self) {
        let members = self.model.members();
        if members.is_empty() {
            return;
        }
        let from = self.dice.pick(&members).clone();
        let to = format!("glob/{}.txt", self.dice.below(20));
        if self.model.files.contains_key(&to) {
            return;
        }
        self.note(format!("rename {from} to {to}"));
        fs::rename(self.sandbox.path(&from), self.sandbox.path(&to)).unwrap();
        let text = self.model.files.remove(&from).unwrap();
        self.model.files.insert(to.clone(), text);
        if self.model.executable.remove(&from) {
            self.model.executable.insert(to);
        }
    }

    fn add_or_remove_member(&mut self) {
        let path = format!("glob/{}.txt", self.dice.below(8));
        if self.model.files.remove(&path).is_some() {
            self.note(format!("remove {path}"));
            self.model.executable.remove(&path);
            self.sandbox.remove(&path);
        } else {
            let text = some_text(&mut self.dice);
            self.note(format!("add {path}: {text:?}"));
            self.set(&path, &text);
        }
    }

    fn chmod(&mut self) {
        let path = self.source();
        self.note(format!("chmod {path}"));
        if self.model.executable.remove(&path) {
            self.sandbox.chmod(&path, 0o644);
        } else {
            self.sandbox.chmod(&path, 0o755);
            self.model.executable.insert(path);
        }
    }

    fn ruin_output(&mut self) {
        let outputs: Vec<String> = self.model.outputs().into_keys().collect();
        let path = self.dice.pick(&outputs).clone();
        self.ruin(&path);
    }

    fn ruin_bundle(&mut self) {
        self.ruin("build/bundle.zip");
    }

    /// Damages the tree of the staging target that always writes it.
    fn ruin_tree(&mut self) {
        let member = self.source();
        self.ruin(&format!("build/tree/{member}"));
        if self.dice.once_in(2) {
            self.note("put a stranger into the tree");
            self.sandbox.write("build/tree/src/stranger", "who?");
        }
    }

    fn ruin(&mut self, path: &str) {
        if !self.sandbox.exists(path) {
            return;
        }
        let place = self.sandbox.path(path);
        match self.dice.below(4) {
            0 => {
                self.note(format!("delete {path}"));
                self.sandbox.remove(path);
            }
            1 => {
                self.note(format!("truncate {path}"));
                fs::File::options().write(true).open(place).unwrap().set_len(1).unwrap();
            }
            2 => {
                self.note(format!("write into {path}"));
                self.sandbox.write(path, "ruined\n");
            }
            _ => {
                self.note(format!("change one byte of {path}"));
                let time = FileTime::from_last_modification_time(&fs::metadata(&place).unwrap());
                let mut bytes = fs::read(&place).unwrap();
                if let Some(byte) = bytes.first_mut() {
                    *byte ^= 1;
                }
                fs::write(&place, bytes).unwrap();
                filetime::set_file_mtime(place, time).unwrap();
            }
        }
    }

    fn swap_for_link(&mut self) {
        let path = format!("src/{}.txt", self.dice.below(5));
        self.sandbox.remove(&path);
        if self.model.links.remove(&path).is_some() {
            self.note(format!("make {path} a file again"));
            let text = some_text(&mut self.dice);
            self.set(&path, &text);
            return;
        }
        let to = format!("pool/{}.txt", self.dice.below(3));
        self.note(format!("make {path} a link to {to}"));
        symlink(format!("../{to}"), self.sandbox.path(&path)).unwrap();
        self.model.executable.remove(&path);
        self.model.links.insert(path, to);
    }

    fn edit_pool(&mut self) {
        let path = format!("pool/{}.txt", self.dice.below(3));
        let text = self.other_text_of_this_size(&path);
        self.note(format!("edit {path}: {text:?}"));
        self.set(&path, &text);
        let mode = fs::metadata(self.sandbox.path(&path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o100, 0);
    }

    fn redefine(&mut self) {
        let at = self.dice.below(self.model.steps.len());
        let word = self.dice.below(10);
        self.note(format!("the word of s{at} is {word}"));
        self.model.steps[at].word = word;
        self.sandbox.write("Buildfile", self.model.buildfile());
    }

    /// Changes only the form of the Buildfile; runs nothing, if the project was up to date.
    fn reformat(&mut self) {
        self.note("reformat the Buildfile");
        self.model.spelling += 1;
        self.sandbox.write("Buildfile", self.model.buildfile());
    }

    fn delete_state(&mut self) {
        self.note("delete .zipwright");
        // Without the state, programs of a killed build are not found.
        std::thread::sleep(std::time::Duration::from_millis(100));
        if self.sandbox.exists(".zipwright") {
            self.sandbox.remove(".zipwright");
        }
    }
}
