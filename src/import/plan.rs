//! Targets of a Buildfile for the facts of a Makefile, and the report on each line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Row;
use super::deed::{Code, Deed, Pip};
use super::facts::Facts;
use super::make::{Makefile, Rule};
use super::toml::{self, array, quote};
use super::tree::{Part, Tree};
use super::zips::Zip;

/// A target as text.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// Comments and keys.
    pub(super) lines: Vec<String>,
}

pub(super) struct Plan<'a> {
    pub(super) makefile: &'a Makefile,
    pub(super) facts: &'a Facts,
    pub(super) targets: Vec<Target>,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) rows: Vec<Row>,
    pub(super) notes: Vec<String>,
    /// Names of targets, by rule: those that stand for it.
    pub(super) of_rule: BTreeMap<usize, Vec<String>>,
    names: BTreeSet<String>,
    /// Names of the targets of zips, by output.
    pub(super) of_zip: BTreeMap<String, String>,
    pub(super) wheelhouses: Vec<(Pip, String)>,
    /// Names of the commands that make requirements files, by output.
    pub(super) of_export: BTreeMap<String, String>,
}

impl<'a> Plan<'a> {
    pub(super) fn of(makefile: &'a Makefile, facts: &'a Facts) -> Self {
        let mut plan = Self {
            makefile,
            facts,
            targets: Vec::new(),
            vars: BTreeMap::new(),
            rows: Vec::new(),
            notes: Vec::new(),
            of_rule: BTreeMap::new(),
            names: BTreeSet::new(),
            of_zip: BTreeMap::new(),
            wheelhouses: Vec::new(),
            of_export: BTreeMap::new(),
        };
        plan.name_commands();
        plan.exports();
        for output in facts.zips.keys() {
            let stem = output.rsplit('/').next().unwrap_or(output).trim_end_matches(".zip");
            let name = if facts.zips.len() == 1 { "package" } else { stem };
            let name = plan.free(name);
            plan.of_zip.insert(output.clone(), name);
        }
        let zips: Vec<(String, Zip)> =
            facts.zips.iter().map(|(output, zip)| (output.clone(), zip.clone())).collect();
        for (output, zip) in &zips {
            plan.zip(output, zip);
        }
        plan.deploy();
        plan.layers();
        plan.commands();
        plan.groups();
        plan.report();
        plan
    }

    /// The names that stand for a rule; those of its needs, if it makes nothing itself.
    pub(super) fn names_of(&self, rule: &str, depth: usize) -> Vec<String> {
        let Some(at) = self.position(rule).filter(|_| depth < 50) else { return Vec::new() };
        if let Some(names) = self.of_rule.get(&at) {
            return names.clone();
        }
        let needs = &self.makefile.rules[at].needs;
        let mut names: Vec<String> =
            needs.iter().flat_map(|need| self.names_of(need, depth + 1)).collect();
        names.dedup();
        names
    }

    fn position(&self, rule: &str) -> Option<usize> {
        self.makefile.rules.iter().position(|other| other.name == rule)
    }

    fn free(&mut self, name: &str) -> String {
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .collect();
        let plain = plain.trim_matches(['-', '.']).to_owned();
        let plain = if plain.is_empty() { "target".to_owned() } else { plain };
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let free =
            std::iter::once(plain.clone()).chain(numbered).find(|name| !self.names.contains(name));
        let free = free.unwrap_or(plain);
        self.names.insert(free.clone());
        free
    }

    /// Rules that stay commands keep their names; so do groups.
    fn name_commands(&mut self) {
        for at in self.facts.foreign.clone() {
            let rule = &self.makefile.rules[at];
            let name = rule.name.rsplit('/').next().unwrap_or(&rule.name).to_owned();
            let name = self.free(&name);
            self.of_rule.insert(at, vec![name]);
        }
        let groups: Vec<usize> =
            (0..self.makefile.rules.len()).filter(|at| self.is_group(*at)).collect();
        for at in groups {
            let name = self.makefile.rules[at].name.clone();
            if self.alias_of(at).is_none() {
                let name = self.free(&name);
                self.of_rule.insert(at, vec![name]);
            }
        }
    }

    fn is_group(&self, at: usize) -> bool {
        let rule = &self.makefile.rules[at];
        // make runs the needs of a name that is not a file.
        let is_name = || rule.is_phony || !Path::new(self.facts.root()).join(&rule.name).exists();
        !rule.needs.is_empty() && self.facts.does_nothing(at) && is_name()
    }

    /// The rule with an upload or a call that a phony rule without a recipe names: `upload: stamp`.
    fn alias_of(&self, at: usize) -> Option<usize> {
        let [need] = self.makefile.rules[at].needs.as_slice() else { return None };
        let need = self.position(need)?;
        let is_deployed = |deed: &Deed| {
            matches!(
                deed,
                Deed::Update { .. }
                    | Deed::Invoke { .. }
                    | Deed::Alias { .. }
                    | Deed::Publish { .. }
                    | Deed::PublishLayer { .. }
            )
        };
        (self.is_group(at) && self.facts.deeds_of(need).any(is_deployed)).then_some(need)
    }

    fn zip(&mut self, output: &str, zip: &Zip) {
        let name = self.of_zip[output].clone();
        let suffix = if self.facts.zips.len() == 1 { String::new() } else { format!("-{name}") };
        let staging = self.free(&format!("staging{suffix}"));
        let needs = self.commands_before(zip.rule);
        let output_of_tree = self.tree_output(zip, &staging);
        self.staging(&zip.tree, &staging, output_of_tree.as_deref(), &suffix, &needs);
        let mut lines = vec![
            "kind = \"zip\"".to_owned(),
            format!("staging = {}", quote(&staging)),
            format!("output = {}", quote(output)),
        ];
        lines.extend(zip.below.iter().map(|below| format!("below = {}", quote(below))));
        self.targets.push(Target { name: name.clone(), lines });
        // Rules that fill the folder stand for the staging, unless they make the zip as well.
        let filling: BTreeSet<usize> = self
            .facts
            .deeds()
            .filter(|(_, deed)| {
                matches!(deed, Deed::Unzip { folder, .. } | Deed::Install { folder, .. }
                if Some(folder) == zip.folder.as_ref())
            })
            .map(|(at, _)| at)
            .collect();
        for at in filling {
            self.of_rule.entry(at).or_insert_with(|| vec![staging.clone()]);
        }
        self.of_rule.insert(zip.rule, vec![name]);
    }

    fn staging(
        &mut self,
        tree: &Tree,
        name: &str,
        output: Option<&str>,
        suffix: &str,
        needs: &[String],
    ) {
        let (mut wheels, mut sources) = (Vec::new(), Vec::new());
        for part in &tree.parts {
            let pip = match part {
                Part::Wheels(folder) => self.facts.wheels.get(folder),
                Part::Pip(pip) => Some(pip),
                Part::Source(source) => {
                    sources.push(placed(&source.glob(), source.to.as_deref()));
                    None
                }
                Part::Tree(tree, to) => {
                    let inner = self.free(&format!("tree{suffix}"));
                    self.staging(tree, &inner, None, suffix, needs);
                    sources.push(placed(&format!("build/{inner}"), Some(to)));
                    None
                }
            };
            if let Some(pip) = pip.cloned() {
                wheels.push(self.wheelhouse(&pip, suffix));
            }
        }
        let mut lines = vec!["kind = \"staging\"".to_owned()];
        lines.extend(output.map(|output| format!("output = {}", quote(output))));
        wheels.dedup();
        if !wheels.is_empty() {
            lines.push(format!("wheels = {}", array(&wheels)));
        }
        if !needs.is_empty() {
            lines.push(format!("needs = {}", array(needs)));
        }
        sources.dedup();
        lines.extend(sources_line(&sources));
        let mut exclude = tree.exclude.clone();
        exclude.sort();
        exclude.dedup();
        if !exclude.is_empty() {
            lines.push(format!("exclude = {}", array(&exclude)));
        }
        self.targets.push(Target { name: name.to_owned(), lines });
    }

    /// The folder of a staging, if it must be another one than usual: the one that commands name, or
    /// not the one that commands fill.
    fn tree_output(&self, zip: &Zip, staging: &str) -> Option<String> {
        let folder = zip.folder.as_ref().filter(|folder| !folder.is_empty())?;
        let is_source = zip.tree.parts.iter().any(
            |part| matches!(part, Part::Source(source) if source.from == *folder && source.to.as_deref() == Some(".")),
        );
        if is_source {
            return (*folder == format!("build/{staging}")).then(|| format!("{folder}-tree"));
        }
        self.is_named_by_commands(folder).then(|| folder.clone())
    }

    fn is_named_by_commands(&self, folder: &str) -> bool {
        self.facts.foreign.iter().any(|at| self.facts.mentions(*at, folder))
    }

    /// Commands that the rule of a zip needs.
    fn commands_before(&self, rule: usize) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut queue = vec![rule];
        let mut seen = BTreeSet::new();
        while let Some(at) = queue.pop() {
            if !seen.insert(at) {
                continue;
            }
            if self.facts.foreign.contains(&at) {
                names.extend(self.of_rule.get(&at).into_iter().flatten().cloned());
                continue;
            }
            let rule = &self.makefile.rules[at];
            queue.extend(
                rule.needs.iter().chain(&rule.after).filter_map(|name| self.position(name)),
            );
        }
        names.sort();
        names
    }

    /// Commands that make requirements files of locks.
    fn exports(&mut self) {
        let deeds: Vec<Deed> = self.facts.deeds().map(|(_, deed)| deed.clone()).collect();
        let mut made = BTreeSet::new();
        for deed in deeds {
            let Deed::Export { script, lock, output } = deed else { continue };
            if !made.insert(output.clone()) {
                continue;
            }
            let name = self.free("requirements");
            let lines = vec![
                "kind = \"command\"".to_owned(),
                format!("inputs = {}", array(&[&lock])),
                format!("outputs = {}", array(&[&output])),
                format!("shell = {}", toml::script(&script)),
            ];
            self.targets.push(Target { name: name.clone(), lines });
            self.of_export.insert(output, name);
        }
    }

    fn wheelhouse(&mut self, pip: &Pip, suffix: &str) -> String {
        if let Some((_, name)) = self.wheelhouses.iter().find(|(other, _)| other == pip) {
            return name.clone();
        }
        let name = self.free(&format!("wheels{suffix}"));
        let mut lines = vec!["kind = \"wheelhouse\"".to_owned()];
        let project = |path: &String| if path.is_empty() { ".".to_owned() } else { path.clone() };
        let projects: Vec<String> = pip.projects.iter().map(project).collect();
        for (key, values) in [
            ("requirements", &pip.requirements),
            ("constraints", &pip.constraints),
            ("projects", &projects),
            ("pip-args", &pip.arguments),
        ] {
            if !values.is_empty() {
                lines.push(format!("{key} = {}", array(values)));
            }
        }
        match (&pip.python, pip.arch) {
            (Some(python), Some(arch)) => lines.push(format!(
                "platform = {{ python = {}, arch = {} }}",
                quote(python),
                quote(arch)
            )),
            _ => lines.push(
                "# For wheels that fit Lambda and not this machine, say which runtime it is:\n\
                 # platform = { python = \"3.13\", arch = \"arm64\" }"
                    .into(),
            ),
        }
        let folder = self
            .facts
            .wheels
            .iter()
            .find(|(folder, other)| *other == pip && self.is_named_by_commands(folder));
        lines.extend(folder.map(|(folder, _)| format!("output = {}", quote(folder))));
        self.targets.push(Target { name: name.clone(), lines });
        self.wheelhouses.push((pip.clone(), name.clone()));
        let made = self
            .facts
            .deeds()
            .filter(|(_, deed)| matches!(deed, Deed::Wheels { pip: other, .. } if other == pip));
        for at in made.map(|(at, _)| at).collect::<Vec<_>>() {
            self.of_rule.entry(at).or_insert_with(|| vec![name.clone()]);
        }
        name
    }

    /// Uploads and calls.
    fn deploy(&mut self) {
        let mut uploads: Vec<(String, String)> = Vec::new();
        for at in 0..self.makefile.rules.len() {
            let deeds: Vec<Deed> = self.facts.deeds_of(at).cloned().collect();
            let update = deeds.iter().find_map(|deed| match deed {
                Deed::Update { function, code, publish } => Some((function, code, *publish)),
                _ => None,
            });
            let alias = deeds.iter().find_map(|deed| match deed {
                Deed::Alias { function, name } => Some((function, name)),
                _ => None,
            });
            let published = deeds.iter().find_map(|deed| match deed {
                Deed::Publish { function } => Some(function),
                _ => None,
            });
            let function = update.map(|it| it.0).or(alias.map(|it| it.0)).or(published);
            if let Some(function) = function {
                let code = update.map(|it| it.1);
                let publish = published.is_some() || update.is_some_and(|it| it.2);
                let name = self.upload(at, function, code, publish, alias.map(|it| it.1.as_str()));
                uploads.push((function.clone(), name));
            }
        }
        for at in 0..self.makefile.rules.len() {
            let deeds: Vec<Deed> = self.facts.deeds_of(at).cloned().collect();
            for deed in &deeds {
                let Deed::Invoke { function, payload, is_event } = deed else { continue };
                let Some((_, upload)) = uploads.iter().find(|(other, _)| other == function) else {
                    continue;
                };
                let name = self.deployed_name(at, "invoke");
                let mut lines =
                    vec!["kind = \"invoke\"".to_owned(), format!("upload = {}", quote(upload))];
                lines.extend(payload.iter().map(|path| format!("payload = {}", quote(path))));
                if *is_event {
                    lines.push("type = \"event\"".into());
                }
                lines.push(
                    "# For `--local`, which runs the handler on this machine:\n\
                     # handler = \"lambda_handler.handler\""
                        .into(),
                );
                self.targets.push(Target { name: name.clone(), lines });
                self.of_rule.entry(at).or_default().push(name);
            }
        }
    }

    fn layers(&mut self) {
        for at in 0..self.makefile.rules.len() {
            let deeds: Vec<Deed> = self.facts.deeds_of(at).cloned().collect();
            for deed in &deeds {
                let Deed::PublishLayer { name, file, runtimes, archs } = deed else { continue };
                let zip = self.of_zip.get(file).cloned().unwrap_or_default();
                let target = self.deployed_name(at, "publish");
                let mut lines = vec!["kind = \"layer\"".to_owned()];
                lines.push(format!("zip = {}", quote(&zip)));
                lines.push(format!("name = {}", quote(name)));
                for (key, values) in [("runtimes", runtimes), ("archs", archs)] {
                    if !values.is_empty() {
                        lines.push(format!("{key} = {}", array(values)));
                    }
                }
                self.targets.push(Target { name: target.clone(), lines });
                self.of_rule.entry(at).or_default().push(target);
            }
        }
    }

    fn upload(
        &mut self,
        at: usize,
        function: &str,
        code: Option<&Code>,
        publish: bool,
        alias: Option<&str>,
    ) -> String {
        let name = self.deployed_name(at, "upload");
        let mut lines = vec!["kind = \"upload\"".to_owned()];
        let mut bucket = None;
        let output = match code {
            Some(Code::Bucket { bucket: name, key }) => {
                bucket =
                    Some((name.clone(), key.rsplit_once('/').map(|(prefix, _)| prefix.to_owned())));
                self.facts.sent.get(&(name.clone(), key.clone())).cloned()
            }
            Some(Code::Zip(path)) => Some(path.clone()),
            None => None,
        };
        let zip = output.and_then(|output| self.of_zip.get(&output).cloned()).or_else(|| {
            let only = self.of_zip.iter().next();
            if let (Some((output, _)), Some(Code::Zip(path))) = (only, code) {
                self.notes
                    .push(format!("`{path}` is not made by the Makefile; `{output}` is uploaded"));
            }
            only.map(|(_, name)| name.clone())
        });
        lines.push(format!("zip = {}", quote(&zip.unwrap_or_default())));
        lines.push(format!("function = {}", self.function(at, function)));
        if let Some((bucket, prefix)) = bucket {
            let prefix =
                prefix.map_or(String::new(), |prefix| format!(", prefix = {}", quote(&prefix)));
            lines.push(format!(
                "# Used for a zip that is too large for a request to Lambda.\ns3 = {{ bucket = {}{prefix} }}",
                quote(&bucket)
            ));
        }
        match alias {
            Some(alias) => lines.push(format!("alias = {}", quote(alias))),
            None if publish => lines.push("publish = true".into()),
            None => {}
        }
        self.targets.push(Target { name: name.clone(), lines });
        self.of_rule.insert(at, vec![name.clone()]);
        name
    }

    /// The name for the upload or call of a rule: its own if it is phony, that of a phony rule that
    /// stands for it, else the usual one.
    fn deployed_name(&mut self, at: usize, usual: &str) -> String {
        let rule = &self.makefile.rules[at];
        let alias = (0..self.makefile.rules.len()).find(|other| self.alias_of(*other) == Some(at));
        let name = match alias {
            Some(alias) => self.makefile.rules[alias].name.clone(),
            None if rule.is_phony || !rule.name.contains(['/', '.']) => rule.name.clone(),
            None => usual.to_owned(),
        };
        let name = self.free(&name);
        if let Some(alias) = alias {
            self.of_rule.insert(alias, vec![name.clone()]);
        }
        name
    }

    /// The name of a function: a variable if the Makefile has one for it.
    fn function(&mut self, at: usize, function: &str) -> String {
        let written = self.makefile.rules[at].written.join(" ");
        let after = written.split("--function-name").nth(1).unwrap_or_default();
        let after = after.trim_start_matches([' ', '=', '"', '\'', '\\']);
        let name = after.strip_prefix("$(").or_else(|| after.strip_prefix("${"));
        let name = name.and_then(|name| name.split([')', '}']).next()).unwrap_or_default();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !is_name {
            return quote(function);
        }
        self.vars.insert(name.to_owned(), function.to_owned());
        format!("\"{{{name}}}\"")
    }

    fn commands(&mut self) {
        for at in self.facts.foreign.clone() {
            let rule = self.makefile.rules[at].clone();
            let name = self.of_rule.get(&at).and_then(|names| names.first()).cloned();
            let lines = self.command(&rule, at);
            self.targets.push(Target { name: name.unwrap_or_default(), lines });
        }
    }

    fn command(&self, rule: &Rule, at: usize) -> Vec<String> {
        let place = rule
            .place
            .as_ref()
            .map_or(String::new(), |(file, line)| format!("{file}, line {line}"));
        let mut lines = vec![format!("# As it is in {place}."), "kind = \"command\"".to_owned()];
        let (mut inputs, mut needs, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for need in &rule.needs {
            match self.position(need) {
                Some(_) => needs.extend(self.names_of(need, 0)),
                None => inputs.extend(self.facts.path(need)),
            }
        }
        after.extend(rule.after.iter().flat_map(|need| self.names_of(need, 0)));
        let output = self.facts.path(&rule.name).filter(|path| self.facts.writes(rule, at, path));
        for (key, values) in [("needs", &mut needs), ("after", &mut after), ("inputs", &mut inputs)]
        {
            values.dedup();
            if !values.is_empty() {
                lines.push(format!("{key} = {}", array(values)));
            }
        }
        match &output {
            Some(output) => lines.push(format!("outputs = {}", array(&[output]))),
            None if rule.is_phony => lines.push("phony = true".into()),
            None => {
                lines.push("# The recipe writes no file of this name, so it always runs.".into());
                lines.push("phony = true".into());
            }
        }
        if rule.recipe.is_none() {
            lines.push(
                "# make would run a part of it in a dry run too, so make runs it here.".into(),
            );
            let file = &self.makefile.file;
            let words = match super::NAMES.contains(&file.as_str()) {
                true => vec!["make", &rule.name],
                false => vec!["make", "-f", file, &rule.name],
            };
            lines.push(format!("run = {}", array(&words)));
            return lines;
        }
        let texts = self.facts.steps[at].iter().map(|step| step.text.as_str());
        let texts: Vec<&str> = texts.filter(|text| !text.trim_start().starts_with('#')).collect();
        let script = match texts.as_slice() {
            [only] => self.relative(only),
            texts if self.makefile.has_one_shell => self.relative(&texts.join("\n")),
            // Each line has a shell of its own, as in make.
            texts => {
                let lines: Vec<String> =
                    texts.iter().map(|text| format!("({})", self.relative(text))).collect();
                format!("set -e\n{}", lines.join("\n"))
            }
        };
        lines.push(format!("shell = {}", toml::script(&script)));
        lines
    }

    /// A line of a recipe without the path of the project.
    pub(super) fn relative(&self, text: &str) -> String {
        let root = self.facts.root();
        text.replace(&format!("{root}/"), "").replace(root, ".")
    }

    fn groups(&mut self) {
        for at in 0..self.makefile.rules.len() {
            if !self.is_group(at) || self.alias_of(at).is_some() {
                continue;
            }
            let rule = self.makefile.rules[at].clone();
            let mut members: Vec<String> =
                rule.needs.iter().flat_map(|need| self.names_of(need, 0)).collect();
            members.dedup();
            let name = self.of_rule.get(&at).and_then(|names| names.first()).cloned();
            let Some(name) = name.filter(|_| !members.is_empty()) else {
                self.of_rule.remove(&at);
                continue;
            };
            let lines =
                vec!["kind = \"group\"".to_owned(), format!("targets = {}", array(&members))];
            self.targets.push(Target { name, lines });
        }
    }
}

/// A source of a staging.
fn placed(from: &str, to: Option<&str>) -> String {
    match to {
        None => quote(from),
        Some(to) => format!("{{ from = {}, to = {} }}", quote(from), quote(to)),
    }
}

fn sources_line(sources: &[String]) -> Option<String> {
    match sources {
        [] => None,
        [only] => Some(format!("sources = [{only}]")),
        sources => {
            let all: String = sources.iter().map(|source| format!("  {source},\n")).collect();
            Some(format!("sources = [\n{all}]"))
        }
    }
}
