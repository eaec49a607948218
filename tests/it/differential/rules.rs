//! Targets, described once, and written both as a Makefile and as a Buildfile.
//!
//! Differences of form between the two languages are resolved here: the name of a target whose file
//! has another name is a phony alias in the Makefile, and a stamp, which zipwright keeps by itself,
//! is a file that the recipe touches.

use std::fmt::Write;

/// The content of one Makefile or Buildfile.
#[derive(Clone, Default)]
pub(super) struct Rules {
    default: Vec<String>,
    vars: Vec<(String, String)>,
    targets: Vec<Rule>,
}

/// One target. Texts with several names have blanks between them.
#[derive(Clone)]
pub(super) struct Rule {
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    needs: Vec<String>,
    after: Vec<String>,
    phony: bool,
    action: Action,
}

#[derive(Clone)]
enum Action {
    /// Writes each output: its name, then the content of all inputs.
    Copy,
    /// A shell script. `%tool%` is the tool that reads it, `%name%` a variable.
    Script(String),
    Group(Vec<String>),
}

pub(super) fn rules(targets: impl IntoIterator<Item = Rule>) -> Rules {
    Rules { targets: targets.into_iter().collect(), ..Rules::default() }
}

/// Returns a command that writes its outputs from its inputs.
pub(super) fn command(name: &str) -> Rule {
    Rule {
        name: name.into(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        needs: Vec::new(),
        after: Vec::new(),
        phony: false,
        action: Action::Copy,
    }
}

/// Returns the target `name`, a file made from `inputs`.
pub(super) fn file(name: &str, inputs: &str) -> Rule {
    command(name).inputs(inputs).outputs(name)
}

pub(super) fn phony(name: &str) -> Rule {
    Rule { phony: true, ..command(name) }
}

pub(super) fn group(name: &str, members: &str) -> Rule {
    Rule { action: Action::Group(words(members)), ..command(name) }
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

impl Rules {
    pub(super) fn default_goals(mut self, names: &str) -> Self {
        self.default = words(names);
        self
    }

    pub(super) fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.push((name.into(), value.into()));
        self
    }

    /// Returns the rules with the target of that name replaced.
    pub(super) fn with(mut self, rule: Rule) -> Self {
        let old = self.targets.iter_mut().find(|old| old.name == rule.name);
        *old.expect("a target of that name, to be replaced") = rule;
        self
    }

    /// Returns everything that the targets make, stamps included.
    pub(super) fn made(&self) -> Vec<String> {
        self.targets.iter().flat_map(Rule::files).collect()
    }

    pub(super) fn makefile(&self) -> String {
        let mut text = String::from(".DELETE_ON_ERROR:\n");
        for (name, value) in &self.vars {
            writeln!(text, "{name} = {value}").unwrap();
        }
        match &self.default[..] {
            [] => {}
            [one] => writeln!(text, ".DEFAULT_GOAL := {one}").unwrap(),
            several => {
                let goals = several.join(" ");
                writeln!(text, ".PHONY: default-goals\ndefault-goals: {goals}").unwrap();
            }
        }
        for target in &self.targets {
            target.write_make(self, &mut text);
        }
        text
    }

    pub(super) fn buildfile(&self) -> String {
        let mut text = String::new();
        if !self.default.is_empty() {
            writeln!(text, "default = {}", array(&self.default)).unwrap();
        }
        if !self.vars.is_empty() {
            text.push_str("[vars]\n");
        }
        for (name, value) in &self.vars {
            writeln!(text, "{name} = {}", quoted(value)).unwrap();
        }
        for target in &self.targets {
            target.write_toml(self, &mut text);
        }
        text
    }

    /// Returns the prerequisites in a Makefile for named targets: their files, or their own names.
    fn prerequisites(&self, names: &[String]) -> Vec<String> {
        let of = |name: &String| match self.targets.iter().find(|target| target.name == *name) {
            Some(target) if !target.files().is_empty() && !target.phony => target.files(),
            _ => vec![name.clone()],
        };
        names.iter().flat_map(of).collect()
    }

    /// Returns `script` with its `%words%` replaced.
    fn expand(&self, script: &str, tool: &str, reference: impl Fn(&str) -> String) -> String {
        let mut text = script.replace("%tool%", tool);
        for (name, _) in &self.vars {
            text = text.replace(&format!("%{name}%"), &reference(name));
        }
        text
    }
}

impl Rule {
    pub(super) fn inputs(mut self, inputs: &str) -> Self {
        self.inputs = words(inputs);
        self
    }

    pub(super) fn outputs(mut self, outputs: &str) -> Self {
        self.outputs = words(outputs);
        self
    }

    pub(super) fn needs(mut self, needs: &str) -> Self {
        self.needs = words(needs);
        self
    }

    pub(super) fn after(mut self, after: &str) -> Self {
        self.after = words(after);
        self
    }

    pub(super) fn script(mut self, script: &str) -> Self {
        self.action = Action::Script(script.into());
        self
    }

    /// Returns the stamp that zipwright keeps for it.
    fn stamp(&self) -> Option<String> {
        let stamped = self.is_command() && !self.phony && self.outputs.len() != 1;
        stamped.then(|| format!("build/{}.stamp", self.name))
    }

    fn files(&self) -> Vec<String> {
        self.outputs.iter().cloned().chain(self.stamp()).collect()
    }

    fn is_command(&self) -> bool {
        !matches!(self.action, Action::Group(_))
    }

    /// Returns the command, which logs its name first. A file named `NAME.broken` makes a copying
    /// command fail half-way.
    fn work(&self) -> String {
        let mut text = format!("set -e; echo {} >> \"$LOG\"; ", self.name);
        for output in self.outputs.iter().filter(|output| output.contains('/')) {
            write!(text, "mkdir -p \"$(dirname {output})\"; ").unwrap();
        }
        match &self.action {
            Action::Script(script) => text.push_str(script),
            Action::Copy | Action::Group(_) => {
                for output in &self.outputs {
                    write!(text, "echo half > {output}; ").unwrap();
                }
                write!(text, "test ! -e {}.broken || exit 3", self.name).unwrap();
                let inputs = self.inputs.join(" ");
                for output in &self.outputs {
                    write!(text, "; {{ echo {output}; cat {inputs} /dev/null; }} > {output}")
                        .unwrap();
                }
            }
        }
        text
    }

    fn write_make(&self, rules: &Rules, text: &mut String) {
        let glob = |input: &String| match input.contains('*') {
            true => format!("$(wildcard {input})"),
            false => input.clone(),
        };
        let mut before: Vec<String> = self.inputs.iter().map(glob).collect();
        before.extend(rules.prerequisites(&self.needs));
        if let Action::Group(members) = &self.action {
            before.extend(rules.prerequisites(members));
        }
        if !self.after.is_empty() {
            before.push("|".into());
            before.extend(rules.prerequisites(&self.after));
        }
        let before = before.join(" ");
        let files = self.files();
        if self.phony || !self.is_command() {
            writeln!(text, ".PHONY: {}\n{}: {before}", self.name, self.name).unwrap();
        } else {
            if files != [self.name.as_str()] {
                writeln!(text, ".PHONY: {}\n{}: {}", self.name, self.name, files.join(" "))
                    .unwrap();
            }
            let grouped = if files.len() > 1 { "&" } else { "" };
            writeln!(text, "{} {grouped}: {before}", files.join(" ")).unwrap();
        }
        if self.is_command() {
            let mut work = self.work().replace('$', "$$");
            if let Some(stamp) = self.stamp() {
                write!(work, "; mkdir -p build; touch {stamp}").unwrap();
            }
            let work = rules.expand(&work, "$(MAKE)", |name| format!("$({name})"));
            writeln!(text, "\t{work}").unwrap();
        }
    }

    fn write_toml(&self, rules: &Rules, text: &mut String) {
        writeln!(text, "[target.{}]", quoted(&self.name)).unwrap();
        if let Action::Group(members) = &self.action {
            writeln!(text, "kind = \"group\"\ntargets = {}", array(members)).unwrap();
        } else {
            let work = rules.expand(&self.work(), "\"$ZIPWRIGHT\"", |name| format!("{{{name}}}"));
            writeln!(text, "kind = \"command\"\nshell = {}", quoted(&work)).unwrap();
            writeln!(text, "inputs = {}", array(&self.inputs)).unwrap();
            writeln!(text, "outputs = {}", array(&self.outputs)).unwrap();
            writeln!(text, "phony = {}", self.phony).unwrap();
        }
        writeln!(text, "needs = {}\nafter = {}", array(&self.needs), array(&self.after)).unwrap();
    }
}

/// Quotes a text as JSON, which is also valid TOML.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn array(words: &[String]) -> String {
    serde_json::to_string(words).unwrap()
}
