//! What each line of a Makefile became, in words.

use super::Row;
use super::deed::{Deed, FOLDERS, NO_ENVIRONMENT};
use super::facts;
use super::plan::Plan;
use super::tree::Part;
use crate::base::words;

impl Plan<'_> {
    pub(super) fn report(&mut self) {
        for (at, rule) in self.makefile.rules.iter().enumerate() {
            let (file, line) = rule.place.clone().unwrap_or_default();
            let name = self.facts.path(&rule.name).unwrap_or_else(|| rule.name.clone());
            let names = self.of_rule.get(&at).cloned().unwrap_or_default();
            if rule.written.is_empty() {
                let became = if names.is_empty() { "edges".to_owned() } else { names.join(", ") };
                self.rows.push(Row { file, line, rule: name, text: String::new(), became });
                continue;
            }
            for step in &self.facts.steps[at] {
                let became = match &step.deeds {
                    _ if self.facts.foreign.contains(&at) => {
                        format!("command `{}`", names.join(", "))
                    }
                    Some(deeds) if deeds.is_empty() => "the folder of the next lines".into(),
                    Some(deeds) => self.became(at, deeds),
                    None => String::new(),
                };
                let text = self.relative(&step.text);
                self.rows.push(Row { file: file.clone(), line, rule: name.clone(), text, became });
            }
        }
        let silent = self.makefile.rules.iter().enumerate().filter(|(at, rule)| {
            !rule.written.is_empty()
                && self.facts.does_nothing(*at)
                && self.names_of(&rule.name, 0).is_empty()
        });
        let silent: Vec<&str> = silent.map(|(_, rule)| rule.name.as_str()).collect();
        if !silent.is_empty() {
            self.notes.push(format!(
                "left out, as they print and make nothing: {}",
                words::list(&silent)
            ));
        }
        let settings = ["--region", "--profile"].into_iter().filter(|option| {
            self.rows.iter().any(|row| row.text.starts_with("aws ") && row.text.contains(option))
        });
        let settings: Vec<&str> = settings.collect();
        if !settings.is_empty() {
            self.notes.push(format!(
                "not taken over from calls of the AWS CLI: {}; set AWS_REGION and AWS_PROFILE",
                words::list(&settings)
            ));
        }
        let is_environment = |folder: Option<&str>| {
            folder.is_some_and(|it| it.ends_with("/lib/python3/site-packages"))
        };
        if self.facts.zips.values().any(|zip| is_environment(zip.folder.as_deref())) {
            self.notes.push(
                "pip and setuptools of the virtual environment are not in the bundle of zipwright"
                    .into(),
            );
        }
        for zip in self.facts.zips.values() {
            let Some(folder) =
                zip.folder.as_ref().filter(|it| self.facts.source_folders.contains(*it))
            else {
                continue;
            };
            let has_wheels = |part: &Part| !matches!(part, Part::Source(_));
            if zip.tree.parts.iter().any(has_wheels) {
                self.notes.push(format!(
                    "`{folder}` has own files, and make installs packages beside them: remove those, as \
                     zipwright takes all of it for sources"
                ));
            }
        }
        self.rows.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    }

    /// Whether a path is below a folder that is zipped.
    fn is_in_tree(&self, path: &str) -> bool {
        let mut folders = self.facts.zips.values().filter_map(|zip| zip.folder.as_deref());
        folders.any(|folder| path != folder && facts::within(path, folder))
    }

    fn became(&self, at: usize, deeds: &[Deed]) -> String {
        let own = self.of_rule.get(&at).map(|names| names.join(", ")).unwrap_or_default();
        let mut words: Vec<String> = deeds
            .iter()
            .map(|deed| match deed {
                Deed::Nothing(why) => format!("not needed: {why}"),
                Deed::Environment(_) => format!("not needed: {NO_ENVIRONMENT}"),
                Deed::Export { output, .. } => {
                    format!("command `{}`", self.of_export.get(output).map_or("", String::as_str))
                }
                Deed::Folders(_) => format!("not needed: {FOLDERS}"),
                Deed::Remove { .. } if own.is_empty() => "`zipwright clean`".into(),
                Deed::Remove { globs, .. } if globs.iter().any(|path| self.is_in_tree(path)) => {
                    "`exclude` of the staging".into()
                }
                Deed::Remove { .. } => "not needed: targets replace what they made".into(),
                Deed::RemoveBelow { .. } => "`exclude` of the staging".into(),
                Deed::Touch(_) => "a stamp of zipwright's own".into(),
                Deed::Wheels { pip, .. } => {
                    match self.wheelhouses.iter().find(|(other, _)| other == pip) {
                        Some((_, name)) => {
                            format!("wheelhouse `{name}`; wheels are cached once per user")
                        }
                        None => "not needed: wheels are cached once per user".into(),
                    }
                }
                Deed::Install { pip, .. } => {
                    let name = self.wheelhouses.iter().find(|(other, _)| other == pip);
                    format!("wheelhouse `{}`", name.map_or("", |(_, name)| name))
                }
                Deed::Unzip { .. } => "`wheels` of the staging".into(),
                Deed::Copy { .. } => "`sources` of the staging".into(),
                Deed::Zip { output, .. } => {
                    format!("zip `{}`", self.of_zip.get(output).map_or("", String::as_str))
                }
                Deed::Send { .. } => "`s3` of the upload: only for a zip that is too large".into(),
                Deed::Update { .. } | Deed::Publish { .. } | Deed::Alias { .. } => {
                    format!("upload `{own}`")
                }
                Deed::PublishLayer { .. } => format!("layer `{own}`"),
                Deed::Invoke { .. } => format!("invoke `{own}`"),
            })
            .collect();
        words.dedup();
        words.join("; ")
    }
}
