//! `--config-settings`, and which of them apply to which build.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Map, Value};
use zipwright_python::normalise;

use zipwright_store::RelPath;

/// Key and value of each setting, in order; a key may occur more than once.
pub(super) type Pairs = Vec<(String, String)>;

/// The settings of builds from source.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Settings of every build: from `pip-args` and from pip's configuration.
    all: Pairs,
    /// Settings of single requirements, by the normalised name of the project.
    names: BTreeMap<String, Pairs>,
    /// Settings of local folders and archives.
    paths: BTreeMap<RelPath, Pairs>,
}

impl Settings {
    /// Adds `KEY=VALUE` to all builds.
    pub(super) fn add_all(&mut self, text: &str) -> Result<()> {
        let Some((key, value)) = text.split_once('=') else {
            bail!("`--config-settings` has `{text}`, which is not of the form `KEY=VALUE`");
        };
        self.all.push((key.trim().into(), value.into()));
        Ok(())
    }

    pub(super) fn add_name(&mut self, name: &str, pairs: &Pairs) -> Result<()> {
        add(&mut self.names, normalise(name), pairs, name)
    }

    pub(super) fn add_path(&mut self, path: &RelPath, pairs: &Pairs) -> Result<()> {
        add(&mut self.paths, path.clone(), pairs, path.as_str())
    }

    /// Returns the settings of one build. A requirement's own value of a key replaces the general
    /// one.
    pub(super) fn of(&self, name: Option<&str>, path: Option<&RelPath>) -> Pairs {
        let of_name = name.and_then(|name| self.names.get(&normalise(name)));
        let of_path = path.and_then(|path| self.paths.get(path));
        let own: Pairs = of_name.into_iter().chain(of_path).flatten().cloned().collect();
        let is_own = |key: &str| own.iter().any(|(own, _)| own == key);
        let all = self.all.iter().filter(|(key, _)| !is_own(key)).cloned();
        all.chain(own.iter().cloned()).collect()
    }
}

fn add<K: Ord>(map: &mut BTreeMap<K, Pairs>, key: K, pairs: &Pairs, shown: &str) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    match map.insert(key, pairs.clone()) {
        Some(before) if before != *pairs => {
            bail!("`{shown}` is required twice, with different `--config-settings`")
        }
        _ => Ok(()),
    }
}

/// Returns the settings as a back end expects them: a key that occurs more than once has a list as
/// its value.
pub(super) fn to_json(pairs: &Pairs) -> Value {
    let mut map = Map::new();
    for (key, value) in pairs {
        let value = Value::from(value.as_str());
        match map.get_mut(key) {
            None => {
                map.insert(key.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Pairs {
        all.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn a_requirements_own_settings_replace_those_for_all() {
        let mut settings = Settings::default();
        settings.add_all("a=1").unwrap();
        settings.add_all("b=x=y").unwrap();
        settings.add_name("My.Lib", &pairs(&[("a", "2"), ("a", "3")])).unwrap();
        let of = |name| settings.of(Some(name), None);
        assert_eq!(of("other"), pairs(&[("a", "1"), ("b", "x=y")]));
        let own = of("my_lib");
        assert_eq!(own, pairs(&[("b", "x=y"), ("a", "2"), ("a", "3")]));
        assert_eq!(to_json(&own).to_string(), r#"{"b":"x=y","a":["2","3"]}"#);
        assert!(settings.add_all("a").is_err());
        assert!(settings.add_name("my-lib", &pairs(&[("a", "2")])).is_err());
        assert!(settings.add_name("my-lib", &Pairs::new()).is_ok());
    }
}
