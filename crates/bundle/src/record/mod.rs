//! The build record of a bundle: its members, their origins and the tools that made it; and the
//! documents derived from it. Knows nothing of how a bundle is made. Schema: docs/RECORD.md.

mod provenance;
mod sbom;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use zipwright_store::{Digest, fs};

pub use provenance::provenance;
pub use sbom::sbom;

/// Changes whenever the fields change. Part of every zip's key.
pub const FORM: &str = "zipwright record 1";

const SUFFIX: &str = ".record.json";

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Record {
    pub form: String,
    pub zipwright: String,
    pub zip: Zip,
    #[serde(flatten)]
    pub body: Body,
}

/// The part that does not depend on the zip's own bytes, so it is complete before them. Everything
/// except `informative` follows from the bundle's inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    pub content: Content,
    pub wheelhouses: Vec<Wheelhouse>,
    pub wheels: Vec<Wheel>,
    pub members: Vec<Member>,
    pub informative: Informative,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Zip {
    pub name: String,
    pub size: u64,
    /// Lowercase hex.
    pub sha256: String,
    pub code_sha256: String,
    /// The form of the zip and the compressor.
    pub form: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// [`content_digest`] of the members.
    pub digest: String,
    pub size: u64,
}

/// The settings by which wheels were chosen, as in the Buildfile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wheelhouse {
    pub target: String,
    pub python: String,
    pub platform: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wheel {
    pub file: String,
    /// Normalised, as package indexes write it.
    pub project: String,
    pub version: String,
    pub sha256: String,
    /// The licence in its METADATA.
    pub licence: Option<Licence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Licence {
    /// An SPDX expression, from `License-Expression`.
    Expression(String),
    /// Free text.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub path: String,
    /// Octal.
    pub mode: String,
    pub size: u64,
    pub blake3: String,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// File name of the wheel.
    Wheel(String),
    /// Path in the project.
    Source(String),
    /// Path of the member that it was compiled from, one of the project's own.
    Bytecode(String),
}

/// Facts about the machine and the time of the build, which differ from build to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Informative {
    pub time: String,
    pub git: Option<Git>,
    /// By target: the description of its interpreter.
    pub interpreters: Vec<(String, String)>,
    /// By target: the version of its interpreter's pip.
    #[serde(default)]
    pub pip: Vec<(String, String)>,
    /// By file name: `built`, `downloaded` or `unknown`.
    pub wheels: Vec<(String, String)>,
    /// For wheels that were built: how.
    #[serde(default)]
    pub builds: Vec<Build>,
}

/// The inputs of a wheel's build besides its source and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// File name of the wheel.
    pub wheel: String,
    /// The path at which it was built, as the build saw it.
    pub path: String,
    pub requires: Vec<Requirement>,
    /// Compilers and similar tools: name and version.
    pub tools: Vec<(String, String)>,
}

/// A wheel in the environment of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    pub file: String,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Git {
    pub commit: String,
    /// Whether no tracked file is changed, and no file of the bundle is untracked.
    pub clean: bool,
}

/// Returns a digest of names, modes and contents that does not depend on compression: BLAKE3 of one
/// line for each member, `MODE BLAKE3 PATH`, sorted by path.
pub fn content_digest(members: &[Member]) -> String {
    let lines: Vec<String> = members
        .iter()
        .map(|Member { path, mode, blake3, .. }| format!("{mode} {blake3} {path}\n"))
        .collect();
    format!("blake3:{}", Digest::of(lines.concat().as_bytes()))
}

/// Returns the path of the record of the zip at `zip`.
pub fn place_of(zip: &Path) -> PathBuf {
    let mut place = zip.as_os_str().to_owned();
    place.push(SUFFIX);
    place.into()
}

/// The text of a body, which is most of a record.
pub struct Text(String);

impl Body {
    pub fn text(&self) -> Text {
        Text(pretty(self))
    }
}

impl Text {
    /// Returns the text of the record of a zip.
    pub fn with(&self, zip: &Zip) -> String {
        #[derive(Serialize)]
        struct Head<'a> {
            form: &'a str,
            zipwright: &'a str,
            zip: &'a Zip,
        }
        let head = pretty(&Head { form: FORM, zipwright: env!("CARGO_PKG_VERSION"), zip });
        let fields = head.strip_suffix("\n}").expect("BUG: a head is an object");
        let more = self.0.strip_prefix('{').expect("BUG: a body is an object");
        [fields, ",", more, "\n"].concat()
    }
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("BUG: a record is plain data")
}

impl Record {
    /// Reads the record of the zip at `zip`. Fails if the record belongs to another zip.
    pub fn of(zip: &Path) -> Result<Self> {
        let place = place_of(zip);
        let (shown, zip_shown) = (place.display(), zip.display());
        ensure!(
            place.is_file(),
            "there is no record `{shown}`: zipwright leaves one beside each zip that it builds"
        );
        let record: Self = serde_json::from_slice(&fs::read(&place)?)
            .with_context(|| format!("`{shown}` cannot be read as a record"))?;
        ensure!(
            record.form == FORM,
            "`{shown}` is of another form (`{}`): build the zip again",
            record.form
        );
        let code_sha256 = crate::code_sha256_of(zip)?;
        ensure!(
            record.zip.code_sha256 == code_sha256,
            "`{shown}` is the record of another zip than `{zip_shown}`: build it again"
        );
        Ok(record)
    }

    /// Returns the commit that the zip was built from; `None` if files were changed, or without git.
    pub fn commit(&self) -> Option<&str> {
        self.body.informative.git.as_ref().filter(|git| git.clean).map(|git| git.commit.as_str())
    }
}

impl Wheel {
    /// Returns its package URL.
    fn purl(&self) -> String {
        let mut version = String::new();
        for byte in self.version.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                    version.push(char::from(byte));
                }
                byte => version.push_str(&format!("%{byte:02X}")),
            }
        }
        format!("pkg:pypi/{}@{version}", self.project)
    }
}

/// Returns the licence that a wheel's METADATA names.
pub fn licence_of(metadata: &str) -> Option<Licence> {
    let fields: Vec<(&str, &str)> = metadata
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let find = |wanted: &str| {
        let mut values = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        values.next().map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    if let Some(expression) = find("License-Expression") {
        return Some(Licence::Expression(expression.to_owned()));
    }
    // Some packages put the whole licence text here; its first line is not a name.
    let mut lines = metadata.lines().take_while(|line| !line.is_empty());
    let is_text = lines.find(|line| line.to_ascii_lowercase().starts_with("license:")).is_some()
        && lines.next().is_some_and(|line| line.starts_with([' ', '\t']));
    let is_name = |name: &&str| {
        let begins = |word: &str| name.to_ascii_lowercase().starts_with(word);
        name.len() <= 64 && *name != "UNKNOWN" && !begins("copyright") && !begins("(c)")
    };
    let name = find("License").filter(|name| !is_text && is_name(name));
    let classified = || {
        let names = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Classifier"));
        names.filter_map(|(_, value)| value.strip_prefix("License ::")?.rsplit("::").next()).next()
    };
    Some(Licence::Name(name.or_else(classified)?.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_from_the_best_field() {
        let expression = |text: &str| Some(Licence::Expression(text.into()));
        let name = |text: &str| Some(Licence::Name(text.into()));
        for (metadata, expected) in [
            (
                "License: x\nLicense-Expression: MIT OR Apache-2.0\n",
                expression("MIT OR Apache-2.0"),
            ),
            ("License: BSD-3-Clause\n\nLicense-Expression: MIT", name("BSD-3-Clause")),
            ("Classifier: License :: OSI Approved :: MIT License\n", name("MIT License")),
            ("License: UNKNOWN\n", None),
            (
                "License: MIT\n        Permission is granted\nClassifier: License :: OSI Approved :: BSD License\n",
                name("BSD License"),
            ),
            ("License: Copyright (c) 2021, Somebody\n", None),
            ("Name: x\n", None),
        ] {
            assert_eq!(licence_of(metadata), expected, "{metadata}");
        }
    }

    #[test]
    fn a_record_is_one_object_in_one_form() {
        let zip = Zip {
            name: "a.zip".into(),
            size: 1,
            sha256: "00".into(),
            code_sha256: "AA==".into(),
            form: "some".into(),
        };
        let body = Body {
            content: Content { digest: "blake3:".into(), size: 2 },
            wheelhouses: Vec::new(),
            wheels: Vec::new(),
            members: Vec::new(),
            informative: Informative {
                time: "now".into(),
                git: None,
                interpreters: Vec::new(),
                pip: Vec::new(),
                wheels: Vec::new(),
                builds: Vec::new(),
            },
        };
        let text = body.text().with(&zip);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!((record.form.as_str(), record.zip, record.body), (FORM, zip, body));
    }

    #[test]
    fn the_content_digest_is_that_of_its_lines() {
        let member = |path: &str| Member {
            path: path.into(),
            mode: "644".into(),
            size: 1,
            blake3: Digest::of(b"x").to_string(),
            origin: Origin::Source(path.into()),
        };
        let line = format!("644 {} a\n", Digest::of(b"x"));
        assert_eq!(
            content_digest(&[member("a")]),
            format!("blake3:{}", Digest::of(line.as_bytes()))
        );
        assert_ne!(content_digest(&[member("a")]), content_digest(&[member("b")]));
    }
}
