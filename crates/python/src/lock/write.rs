//! Writes a [`LockedSet`] as `pylock.toml` (PEP 751).

use std::fmt::Write;

use anyhow::{Result, bail};

use super::{File, Location, Locked, LockedSet, Source};
use crate::target::Target;

/// The variables of an environment that decide which wheels fit.
const VARIABLES: [&str; 4] =
    ["implementation_name", "platform_machine", "python_version", "sys_platform"];

impl LockedSet {
    /// Returns the text of a lockfile for the environment of the target only.
    pub fn to_pylock(&self, target: &Target, created_by: &str) -> Result<String> {
        let values = target.environment.values().filter(|(name, _)| VARIABLES.contains(name));
        let marker: Vec<String> =
            values.map(|(name, value)| format!("{name} == '{value}'")).collect();
        let mut text = format!(
            "lock-version = \"1.0\"\nenvironments = [{}]\ncreated-by = {}\npackages = []\n",
            quote(&marker.join(" and ")),
            quote(created_by)
        );
        if !self.packages.is_empty() {
            text = text.replace("packages = []\n", "");
        }
        for package in &self.packages {
            let _ = write!(text, "\n[[packages]]\nname = {}\n", quote(&package.name));
            if let Some(version) = package.version.as_ref().filter(|version| !version.is_empty()) {
                let _ = writeln!(text, "version = {}", quote(version));
            }
            text += &package.entry()?;
        }
        Ok(text)
    }
}

impl Locked {
    /// Returns the lines of the package's files.
    fn entry(&self) -> Result<String> {
        Ok(match &self.source {
            Source::Wheel(file) => format!("wheels = [{}]\n", file.entry()?),
            // A subdirectory is possible only for an archive.
            Source::Sdist(file) if file.subdirectory.is_some() => {
                format!("archive = {}\n", file.entry()?)
            }
            Source::Sdist(file) => format!("sdist = {}\n", file.entry()?),
            Source::Folder(path) => format!("directory = {{ path = {} }}\n", quote(path)),
            Source::Repository { vcs, url, commit, subdirectory } => {
                let mut entry = format!(
                    "vcs = {{ type = {}, url = {}, commit-id = {}",
                    quote(vcs),
                    quote(url),
                    quote(commit)
                );
                if let Some(folder) = subdirectory {
                    let _ = write!(entry, ", subdirectory = {}", quote(folder));
                }
                entry + " }\n"
            }
        })
    }
}

impl File {
    fn entry(&self) -> Result<String> {
        if self.sha256.is_empty() {
            bail!("`{}` has no SHA-256", self.name);
        }
        let (key, place) = match &self.place {
            Location::Url(url) => ("url", url),
            Location::Path(path) => ("path", path),
        };
        // An archive has no name.
        let name = match &self.subdirectory {
            Some(folder) => format!("subdirectory = {}, ", quote(folder)),
            None => format!("name = {}, ", quote(&self.name)),
        };
        let size = self.size.map_or_else(String::new, |size| format!("size = {size}, "));
        let digest = quote(&self.sha256);
        let place = quote(place);
        Ok(format!("{{ {name}{key} = {place}, {size}hashes = {{ sha256 = {digest} }} }}"))
    }
}

/// Returns a text as a basic string of TOML.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::lock::{Pylock, Wanted};
    use crate::runtime::Runtime;

    #[test]
    fn a_set_that_is_written_is_read_again() {
        let file = |name: &str, place: Location| File {
            name: name.into(),
            place,
            sha256: "0a".repeat(32),
            size: Some(7),
            subdirectory: None,
        };
        let locked =
            |name: &str, source| Locked { name: name.into(), version: Some("1.0".into()), source };
        let wheel = file("a-1.0-py3-none-any.whl", Location::Url("https://h/a%2B.whl".into()));
        let sdist = file("b-1.0.tar.gz", Location::Path("s\"\\\u{7f}/b.tar.gz".into()));
        let archive = File { subdirectory: Some("x".into()), ..sdist.clone() };
        let archive = File { name: "b.tar.gz".into(), ..archive };
        let repository = Source::Repository {
            vcs: "git".into(),
            url: "https://h/r".into(),
            commit: "c0".into(),
            subdirectory: Some("s".into()),
        };
        let set = LockedSet {
            packages: vec![
                locked("a", Source::Wheel(wheel)),
                locked("b", Source::Sdist(sdist)),
                locked("c", Source::Sdist(archive)),
                Locked { version: None, ..locked("d", Source::Folder("lib".into())) },
                locked("e", repository),
            ],
        };
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 });
        for set in [set, LockedSet::default()] {
            let text = set.to_pylock(&target, "me").unwrap();
            let read = Pylock::parse(&text).unwrap();
            assert_eq!(read.select(&target, &Wanted::default()).unwrap(), set, "{text}");
            let other = Target::of_runtime(Runtime { major: 3, minor: 12, arch: Arch::Arm64 });
            assert!(read.select(&other, &Wanted::default()).is_err());
        }
    }
}
