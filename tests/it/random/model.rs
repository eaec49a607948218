//! The model: the files, the results of each step, and the Buildfile with these steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;

pub(super) struct Model {
    /// Text of every file that is not an output.
    pub(super) files: BTreeMap<String, String>,
    /// Sources that are links, and their files in the pool.
    pub(super) links: BTreeMap<String, String>,
    pub(super) executable: BTreeSet<String>,
    pub(super) steps: Vec<Step>,
    /// Number of changes of the Buildfile's form that keep its meaning.
    pub(super) spelling: usize,
}

pub(super) struct Step {
    /// Plain paths: sources, and outputs of earlier steps.
    pub(super) inputs: Vec<String>,
    pub(super) globs: bool,
    pub(super) filter: Filter,
    /// A word in the command, to change its meaning.
    pub(super) word: usize,
    /// Whether it makes a second output, in capitals.
    pub(super) second: bool,
    /// Another step that it comes after, without reading its output; so does the phony step.
    pub(super) after: Option<usize>,
    pub(super) fails: bool,
    /// Whether it is slow, so that a kill finds it running.
    pub(super) slow: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Filter {
    Cat,
    Sort,
    Head,
}

const FILTERS: [Filter; 3] = [Filter::Cat, Filter::Sort, Filter::Head];

/// Returns a few short lines, so that the same text occurs repeatedly.
pub(super) fn some_text(dice: &mut Dice) -> String {
    const WORDS: [&str; 6] = ["ape", "bee", "cat", "doe", "elk", "fox"];
    (0..=dice.below(3)).map(|_| format!("{}\n", dice.pick(&WORDS))).collect()
}

impl Model {
    pub(super) fn random(dice: &mut Dice) -> Self {
        let mut files = BTreeMap::new();
        for (folder, count) in [("src", 5), ("glob", 3), ("pool", 3)] {
            for at in 0..count {
                files.insert(format!("{folder}/{at}.txt"), some_text(dice));
            }
        }
        let mut steps: Vec<Step> = Vec::new();
        for at in 0..3 + dice.below(6) {
            let mut inputs: Vec<String> =
                (0..=dice.below(2)).map(|_| format!("src/{}.txt", dice.below(5))).collect();
            if at > 0 {
                inputs.extend((0..dice.below(3)).map(|_| {
                    let other = dice.below(at);
                    let second = steps[other].second && dice.once_in(2);
                    format!("out/s{other}{}", if second { ".caps" } else { "" })
                }));
            }
            inputs.sort();
            inputs.dedup();
            steps.push(Step {
                inputs,
                globs: dice.once_in(3),
                filter: *dice.pick(&FILTERS),
                word: dice.below(10),
                second: dice.once_in(3),
                after: (at > 0 && dice.once_in(3)).then(|| dice.below(at)),
                fails: false,
                slow: dice.once_in(3),
            });
        }
        Self { files, links: BTreeMap::new(), executable: BTreeSet::new(), steps, spelling: 0 }
    }

    pub(super) fn members(&self) -> Vec<String> {
        self.files.keys().filter(|path| path.starts_with("glob/")).cloned().collect()
    }

    /// Returns the text at a source's path, with a link followed.
    fn text(&self, path: &str) -> &str {
        &self.files[self.links.get(path).map_or(path, String::as_str)]
    }

    /// Returns all outputs of the steps with their text.
    pub(super) fn outputs(&self) -> BTreeMap<String, String> {
        let mut made: BTreeMap<String, String> = BTreeMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let mut text = String::new();
            for input in &step.inputs {
                text += made.get(input).map_or_else(|| self.text(input), String::as_str);
            }
            if step.globs {
                self.members().iter().for_each(|member| text += &self.files[member]);
            }
            let mut lines: Vec<&str> = text.lines().collect();
            match step.filter {
                Filter::Cat => {}
                Filter::Sort => lines.sort_unstable(),
                Filter::Head => lines.truncate(2),
            }
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let text = format!("word {}\n{text}", step.word);
            if step.second {
                made.insert(format!("out/s{at}.caps"), text.to_uppercase());
            }
            made.insert(format!("out/s{at}"), text);
        }
        made
    }

    /// Returns the members of the bundle: the sources, the glob's files, and the outputs of the
    /// first step.
    pub(super) fn bundle(&self) -> Vec<(String, bool, String)> {
        let mut members: Vec<(String, bool, String)> = self
            .files
            .keys()
            .filter(|path| path.starts_with("src/") || path.starts_with("glob/"))
            .map(|path| {
                let read = self.links.get(path).unwrap_or(path);
                (path.clone(), self.executable.contains(read), self.text(path).to_owned())
            })
            .collect();
        members.push(("made/s0".into(), false, self.outputs()["out/s0"].clone()));
        members.sort();
        members
    }

    pub(super) fn buildfile(&self) -> String {
        let is = if self.spelling.is_multiple_of(2) { " = " } else { "=" };
        let remark = "# A remark.\n".repeat(self.spelling / 2);
        let list =
            |words: &[String]| format!("[{}]", words.join(if is == "=" { "," } else { ", " }));
        let quoted = |word: String| format!("{word:?}");
        let mut text = format!("{remark}default{is}[\"all\", \"tree\"]\n");
        for (at, step) in self.steps.iter().enumerate() {
            let mut inputs: Vec<String> = step.inputs.iter().cloned().map(quoted).collect();
            let mut outputs = vec![quoted(format!("out/s{at}"))];
            if step.globs {
                inputs.push(quoted("glob/*.txt".into()));
            }
            if step.second {
                outputs.push(quoted(format!("out/s{at}.caps")));
            }
            let mut after = vec![quoted("always".into())];
            after.extend(step.after.map(|other| quoted(format!("s{other}"))));
            text += &format!(
                "{remark}[target.s{at}]\nkind{is}\"command\"\ninputs{is}{}\noutputs{is}{}\n\
                 after{is}{}\nshell{is}'''{}'''\n",
                list(&inputs),
                list(&outputs),
                list(&after),
                step.script(at)
            );
        }
        let names = (0..self.steps.len()).map(|at| quoted(format!("s{at}")));
        let mut names: Vec<String> = names.collect();
        names.push(quoted("bundle".into()));
        text += &format!("[target.all]\nkind{is}\"group\"\ntargets{is}{}\n", list(&names));
        text += "[target.always]\nkind = \"command\"\nphony = true\nshell = 'true'\n";
        for (name, more) in
            [("staging", ""), ("tree", "write = true\nclamp = \"1980-02-01T00:00:00Z\"\n")]
        {
            text += &format!(
                "[target.{name}]\nkind = \"staging\"\n{more}sources = [\"src\", \"glob/*.txt\", \
                 {{ from = \"out/s0\", to = \"made/s0\" }}]\n"
            );
        }
        text + "[target.bundle]\nkind = \"zip\"\nstaging = \"staging\"\n"
    }
}

impl Step {
    fn script(&self, at: usize) -> String {
        let globs = if self.globs { " $(ls glob/*.txt 2>&-)" } else { "" };
        let filter = match self.filter {
            Filter::Cat => "",
            Filter::Sort => " | LC_ALL=C sort",
            Filter::Head => " | head -n 2",
        };
        let fails = if self.fails { "echo half-made > out/sN; exit 3; " } else { "" };
        let slow = if self.slow { "sleep 0.02; " } else { "" };
        let caps = if self.second { "; tr a-z A-Z < out/sN > out/sN.caps" } else { "" };
        let inputs = self.inputs.join(" ");
        let word = self.word;
        let script = format!(
            "{fails}{{ echo word {word}; {slow}cat {inputs}{globs}{filter}; }} > out/sN{caps}"
        );
        script.replace("sN", &format!("s{at}"))
    }
}
