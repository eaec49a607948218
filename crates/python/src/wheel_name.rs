//! Names of wheel files (PEP 427).

use anyhow::{Result, bail};

use crate::name::normalise;

/// `{project}-{version}[-{build}]-{python}-{abi}-{platform}.whl`, each part as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    pub project: String,
    pub version: String,
    pub build: Option<String>,
    /// `{python}-{abi}-{platform}`
    pub tags: String,
}

impl WheelName {
    pub fn parse(file_name: &str) -> Result<Self> {
        let Some(stem) = file_name.strip_suffix(".whl") else {
            bail!("its name does not end in `.whl`");
        };
        let parts: Vec<&str> = stem.split('-').collect();
        let (build, tags) = match parts.as_slice() {
            [_, _, tags @ ..] if tags.len() == 3 => (None, tags),
            [_, _, build, tags @ ..]
                if tags.len() == 3 && build.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                (Some((*build).to_owned()), tags)
            }
            _ => bail!(
                "its name is not of the form `{{project}}-{{version}}-{{python}}-{{abi}}-{{platform}}.whl`"
            ),
        };
        if parts.iter().any(|part| part.is_empty()) {
            bail!("its name has an empty part");
        }
        Ok(Self {
            project: parts[0].to_owned(),
            version: parts[1].to_owned(),
            build,
            tags: tags.join("-"),
        })
    }

    /// Returns the project's name as indexes write it.
    pub fn normalised(&self) -> String {
        normalise(&self.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheels_name_is_taken_apart() {
        let name =
            WheelName::parse("Foo.Bar-1.0-2b-cp313-cp313-manylinux_2_17_x86_64.whl").unwrap();
        assert_eq!((name.project.as_str(), name.version.as_str()), ("Foo.Bar", "1.0"));
        assert_eq!(name.build.as_deref(), Some("2b"));
        assert_eq!(name.tags, "cp313-cp313-manylinux_2_17_x86_64");
        assert_eq!(name.normalised(), "foo-bar");
        assert_eq!(WheelName::parse("a-1-py2.py3-none-any.whl").unwrap().tags, "py2.py3-none-any");
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["a.zip", "a-1.whl", "a-1-x-py3-none-any.whl", "a--py3-none-any.whl"] {
            assert!(WheelName::parse(name).is_err(), "{name}");
        }
    }
}
