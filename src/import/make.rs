//! A Makefile as make itself reads it: rules from make's database (`make -p`), recipes as a dry run
//! prints them (`make -n --trace`). So variables, functions, conditionals and includes are make's.
//!
//! Knows nothing of the meaning of recipes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::Invocation;
use crate::project::Project;

/// A goal that no Makefile has: make reads everything, prints its database and ends.
const NO_GOAL: &str = ".zipwright-no-such-goal";

/// The first line of the database.
const DATABASE: &str = "# Make data base, printed on ";

#[derive(Clone, Debug, Default)]
pub(super) struct Makefile {
    /// In the order in which make runs them, then those that it does not reach.
    pub(super) rules: Vec<Rule>,
    /// The goal of a bare `make`.
    pub(super) default: Option<String>,
    /// Its name.
    pub(super) file: String,
    /// Whether all lines of a recipe go to one shell: `.ONESHELL`.
    pub(super) has_one_shell: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) needs: Vec<String>,
    /// Order-only.
    pub(super) after: Vec<String>,
    pub(super) is_phony: bool,
    /// The file and line of the recipe.
    pub(super) place: Option<(String, usize)>,
    /// The recipe as it is written, a line each.
    pub(super) written: Vec<String>,
    /// The recipe as the shell gets it; `None` if make would run a part of it in a dry run too.
    pub(super) recipe: Option<String>,
}

/// Reads a Makefile. Runs make, which runs the `$(shell …)` of the Makefile, but no recipe.
pub(super) fn read(project: &Project, file: &Path) -> Result<Makefile> {
    let make = Make::find(project, file)?;
    let database = make.run(&["-p"], &[NO_GOAL.into()])?;
    let mut makefile = parse(&database);
    makefile.file = file.display().to_string();
    if makefile.rules.is_empty() {
        bail!(
            "`{}` has no rule\n`zipwright init` writes a Buildfile from the files of a project",
            file.display()
        );
    }
    let mut arguments = vec!["-B".to_owned(), "-k".into(), "--trace".into(), "-p".into()];
    for rule in &makefile.rules {
        if rule.is_run_always() {
            arguments.extend(["-o".into(), rule.name.clone()]);
        }
        for need in rule.needs.iter().chain(&rule.after) {
            let is_made = makefile.rules.iter().any(|rule| rule.name == *need);
            if !is_made && !project.root.join(need).exists() {
                arguments.extend(["-W".into(), need.clone()]);
            }
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut goals: Vec<String> = makefile.default.iter().cloned().collect();
    goals.extend(makefile.rules.iter().map(|rule| rule.name.clone()));
    let output = make.run(&arguments, &goals)?;
    let (trace, database) = output.split_once(DATABASE).unwrap_or((&output, ""));
    // The name and the licence of make come before its database.
    let trace = trace.rfind("# GNU Make ").map_or(trace, |end| &trace[..end]);
    // Rules for patterns have become rules for files.
    for rule in parse(database).rules {
        if !makefile.rules.iter().any(|known| known.name == rule.name) {
            makefile.rules.push(rule);
        }
    }
    add_recipes(&mut makefile, trace);
    Ok(makefile)
}

impl Rule {
    /// Whether make would run a line of the recipe in a dry run too: `+`, and those of another make.
    fn is_run_always(&self) -> bool {
        self.written.iter().any(|line| {
            line.trim_start_matches([' ', '\t', '@', '-']).starts_with('+')
                || line.contains("$(MAKE)")
                || line.contains("${MAKE}")
        })
    }
}

struct Make<'a> {
    program: PathBuf,
    project: &'a Project,
    file: &'a Path,
}

impl<'a> Make<'a> {
    fn find(project: &'a Project, file: &'a Path) -> Result<Self> {
        let program = project.find_program("make");
        let program =
            program.context("there is no `make` on PATH; import has it read the Makefile")?;
        Ok(Self { program, project, file })
    }

    /// Runs make without recipes and returns its output. Fails if make cannot read the Makefile.
    fn run(&self, options: &[&str], goals: &[String]) -> Result<String> {
        let file = self.file.to_string_lossy().into_owned();
        let mut words = vec!["-n", "-r", "-R", "--no-print-directory", "-f", &file];
        words.extend(options);
        words.push("--");
        words.extend(goals.iter().map(String::as_str));
        let captured = Invocation::new(self.program.clone(), &self.project.root)
            .args(words)
            .env("LC_ALL", "C")
            .env("MAKEFLAGS", "")
            .capture()
            .context("could not run make")?;
        let unread =
            captured.stderr.lines().find(|line| line.contains(": *** ") && line.contains("Stop."));
        match unread {
            Some(line) if !line.contains(NO_GOAL) => bail!("make could not read it: {line}"),
            _ => Ok(captured.stdout),
        }
    }
}

/// The rules of a database.
fn parse(database: &str) -> Makefile {
    let mut makefile = Makefile::default();
    let mut phony: Vec<String> = Vec::new();
    let mut current: Option<Rule> = None;
    let (mut is_target, mut in_files, mut in_define) = (true, false, false);
    for line in database.lines() {
        if line == "# Files" {
            in_files = true;
        }
        if let Some(text) = line.strip_prefix('\t') {
            if let Some(rule) = &mut current {
                rule.written.push(text.to_owned());
            }
            continue;
        }
        if let Some(place) = line.strip_prefix("#  recipe to execute (from '") {
            if let Some(rule) = &mut current {
                rule.place = place_of(place);
            }
            continue;
        }
        if in_define {
            in_define = line != "endef";
            continue;
        }
        if line.starts_with('#') {
            is_target &= line != "# Not a target:";
            continue;
        }
        if line.is_empty() {
            makefile.rules.extend(current.take());
            is_target = true;
            continue;
        }
        if !in_files {
            in_define = line.starts_with("define ");
            let goal = line.strip_prefix(".DEFAULT_GOAL := ").filter(|goal| !goal.is_empty());
            makefile.default = goal.map(str::to_owned).or(makefile.default);
        } else if let Some((name, needs)) = line.split_once(':').filter(|_| is_target) {
            makefile.rules.extend(current.take());
            let needs = needs.trim_start_matches(':');
            let (needs, after) = needs.split_once('|').unwrap_or((needs, ""));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            makefile.has_one_shell |= name == ".ONESHELL";
            if name == ".PHONY" {
                phony = words(needs);
            } else if !name.starts_with('.') || name.contains('/') {
                let (needs, after) = (words(needs), words(after));
                current = Some(Rule { name: name.to_owned(), needs, after, ..Rule::default() });
            }
        }
    }
    makefile.rules.extend(current);
    for rule in &mut makefile.rules {
        rule.is_phony = phony.contains(&rule.name);
    }
    makefile
}

/// `Makefile', line 12):`
fn place_of(text: &str) -> Option<(String, usize)> {
    let (file, rest) = text.split_once("', line ")?;
    Some((file.to_owned(), rest.strip_suffix("):")?.parse().ok()?))
}

/// Takes recipes from a trace, and puts the rules in the order of it.
fn add_recipes(makefile: &mut Makefile, trace: &str) {
    let mut order: Vec<usize> = Vec::new();
    let mut current: Option<usize> = None;
    for line in trace.lines() {
        if let Some(at) = traced(makefile, line) {
            current = Some(at);
            if !order.contains(&at) {
                order.push(at);
                makefile.rules[at].recipe = Some(String::new());
            }
        } else if let Some(at) = current
            && !line.starts_with("make: ")
            && let Some(recipe) = &mut makefile.rules[at].recipe
        {
            recipe.push_str(line);
            recipe.push('\n');
        }
    }
    for rule in &mut makefile.rules {
        if rule.written.is_empty() {
            rule.recipe = Some(String::new());
        }
    }
    order.extend((0..makefile.rules.len()).filter(|at| !order.contains(at)).collect::<Vec<_>>());
    makefile.rules = order.iter().map(|at| makefile.rules[*at].clone()).collect();
}

/// The rule whose recipe begins behind this line of a trace, as in
/// `Makefile:12: update target 'a' due to: b`.
fn traced(makefile: &Makefile, line: &str) -> Option<usize> {
    let (before, rest) = line.split_once("target '")?;
    let before = before.strip_suffix("update ").unwrap_or(before).strip_suffix(": ")?;
    let (file, number) = before.rsplit_once(':')?;
    let place = Some((file.to_owned(), number.parse().ok()?));
    let (name, _) = rest.split_once('\'')?;
    makefile.rules.iter().position(|rule| rule.name == name && rule.place == place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "\
# makefile (from 'Makefile', line 2)
BUILD = $(shell pwd)/build
# environment
HOME = /root
# makefile (from 'Makefile', line 9)
define multi
a = b
endef
# makefile
.DEFAULT_GOAL := all
# Files

clean:
#  Phony target (prerequisite of .PHONY).
#  recipe to execute (from 'Makefile', line 10):
\t-rm -f $(OUT)

# Not a target:
missing.py:

/p/s: /p/r.txt | dir
#  recipe to execute (from 'Makefile', line 12):
\tpip wheel \\
\t   -r r.txt

.PHONY: all clean

all: /p/s
";

    #[test]
    fn rules_are_those_of_the_database() {
        let makefile = parse(DATABASE);
        assert_eq!(makefile.default.as_deref(), Some("all"));
        let [clean, stamp, all] = makefile.rules.as_slice() else { panic!("{:?}", makefile.rules) };
        assert!(clean.is_phony && all.is_phony && !stamp.is_phony);
        assert_eq!(stamp.needs, ["/p/r.txt"]);
        assert_eq!(stamp.after, ["dir"]);
        assert_eq!(stamp.place, Some(("Makefile".into(), 12)));
        assert_eq!(stamp.written, ["pip wheel \\", "   -r r.txt"]);
        let trace = "Makefile:12: update target '/p/s' due to: /p/r.txt\npip wheel \\\n   -r r.txt\n\
                     make: *** No rule to make target 'x'\nMakefile:10: target 'clean' does not exist\nrm\n";
        let mut makefile = parse(DATABASE);
        add_recipes(&mut makefile, trace);
        let recipes: Vec<_> = makefile.rules.iter().map(|rule| rule.recipe.as_deref()).collect();
        assert_eq!(recipes, [Some("pip wheel \\\n   -r r.txt\n"), Some("rm\n"), Some("")]);
    }
}
