//! pip's own configuration: the settings that can change a result, without credentials.
//!
//! `PIP_*` variables count, and the files that pip reads (`PIP_CONFIG_FILE`, and those of the
//! system, the user and the interpreter's prefix), for the commands used here. Settings that change
//! only how pip prints, waits or caches do not count: [`HARMLESS`]. An unknown setting counts. The
//! variables that are passed to builds from source count too: [`super::handed_on`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::handed_on;
use super::network::{Network, is_off};
use super::requirements::{Contents, contents_of, find_links_inside, index_inside};
use super::secrets::{Redactor, fingerprint};
use zipwright_store::digest::FieldHasher;
use zipwright_store::project::Project;
use zipwright_store::{Digest, RelPath};

/// Settings of pip that do not change its results.
const HARMLESS: [&str; 30] = [
    "break-system-packages",
    "cache-dir",
    "cert",
    "client-cert",
    "debug",
    "default-timeout",
    "disable-pip-version-check",
    "exists-action",
    "keyring-provider",
    "log",
    "log-file",
    "no-cache-dir",
    "no-color",
    "no-input",
    "no-python-version-warning",
    "progress-bar",
    "proxy",
    "quiet",
    "require-virtualenv",
    "resume-retries",
    "retries",
    "root-user-action",
    "timeout",
    "trusted-host",
    "use-feature-warnings",
    "user",
    "verbose",
    "no-warn-conflicts",
    "no-warn-script-location",
    "config-file",
];

/// Settings whose values are files that pip reads.
const FILES: [&str; 3] = ["build-constraint", "constraint", "requirement"];

/// Sections of a `pip.conf` that apply to the commands used here.
const SECTIONS: [&str; 4] = ["global", "install", "wheel", "download"];

/// Further variables that can change a build.
const BUILD_VARIABLES: [&str; 3] = ["PYTHONPATH", "RUSTFLAGS", "SOURCE_DATE_EPOCH"];

/// Settings of pip that builds from source do not follow.
const NOT_FOLLOWED: [&str; 6] = [
    "build-option",
    "global-option",
    "install-option",
    "no-build-isolation",
    "no-use-pep517",
    "use-pep517",
];

/// The part of pip's configuration that can change a result.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Name and value of each setting, without credentials and without the project's own path.
    pub settings: Vec<(String, String)>,
    /// Files that pip reads because of a setting: the setting, and the digest of the content.
    pub files: Vec<(String, Option<Digest>)>,
    /// Folders of find-links inside the project.
    pub find_links: BTreeSet<RelPath>,
    /// `KEY=VALUE` of `config-settings`. The variable wins over the files, and the section of a
    /// command over `global`.
    pub config_settings: Option<String>,
    /// Whether pip checks everything against hashes.
    pub hashed: bool,
    /// Whether pip reads a file of another host because of a setting.
    pub(super) is_remote: bool,
    /// Settings that builds from source do not follow.
    pub not_followed: Vec<String>,
    /// What decides how files are downloaded.
    pub(super) network: Network,
    pub secrets: Redactor,
}

impl Config {
    /// Reads the configuration that an interpreter with this prefix would use; without an interpreter,
    /// that of the system and the user.
    pub fn read(project: &Project, prefix: Option<&Path>) -> Self {
        Self::read_files(project, &config_files(project, prefix, Path::new("/")))
    }

    /// Reads configuration files; a later file wins.
    fn read_files(project: &Project, files: &[PathBuf]) -> Self {
        let mut settings = BTreeMap::new();
        for file in files {
            if let Ok(text) = std::fs::read_to_string(file) {
                for (section, name, value) in parse(&text) {
                    settings.insert(format!("{section}.{name}"), value);
                }
            }
        }
        for (variable, value) in project.vars() {
            if let Some(name) = variable.strip_prefix("PIP_").filter(|_| !value.is_empty()) {
                settings.insert(normal(name), value.clone());
            }
        }
        let mut config = Self::default();
        let named = ["config-settings", "wheel.config-settings", "install.config-settings"];
        let named = named.iter().chain(&["global.config-settings"]);
        config.config_settings = named.filter_map(|name| settings.get(*name)).next().cloned();
        for (name, value) in settings {
            config.add(project, &name, &value);
        }
        for name in BUILD_VARIABLES {
            if let Some(value) = project.var(name) {
                config.settings.push((name.into(), config.clean(project, value)));
            }
        }
        for (name, value) in handed_on::variables(project) {
            config.secrets.learn(&value);
            let value = config.clean(project, &value);
            config.settings.push((name, value));
        }
        config
    }

    /// Returns the digest of everything that counts, for cache keys.
    pub fn digest(&self) -> Digest {
        let mut hasher = FieldHasher::new();
        for (name, value) in &self.settings {
            hasher.field(name).field(value);
        }
        for (name, digest) in &self.files {
            hasher.field(name).field(digest.map_or([0; 32], |digest| *digest.as_bytes()));
        }
        hasher.finish()
    }

    /// Returns the name of a setting that is not about indexes or hashes, so that it may change which
    /// file of a version is chosen.
    pub(super) fn other_setting(&self) -> Option<&str> {
        let sources = ["extra-index-url", "find-links", "index-url", "no-index", "require-hashes"];
        let mut names = self.settings.iter().map(|(name, _)| name.as_str());
        names.find(|name| {
            let Some(name) = name.strip_prefix("pip ") else { return false };
            let (section, option) = name.split_once('.').unwrap_or(("", name));
            !sources.contains(&option) && !["wheel", "download"].contains(&section)
        })
    }

    fn add(&mut self, project: &Project, name: &str, value: &str) {
        self.secrets.learn(value);
        let option = name.rsplit('.').next().unwrap_or(name);
        self.network.add(name, value);
        if HARMLESS.contains(&option) {
            return;
        }
        let shown = format!("pip {name}");
        self.hashed |= option == "require-hashes" && !is_off(value);
        if NOT_FOLLOWED.contains(&option) && !is_off(value) {
            self.not_followed.push(option.into());
        }
        if FILES.contains(&option) {
            value.split_whitespace().for_each(|path| self.add_file(project, &shown, path));
        }
        if ["index-url", "extra-index-url"].contains(&option) {
            let places = value.split_whitespace();
            self.find_links.extend(places.filter_map(|place| index_inside(project, place)));
        }
        if option == "find-links" {
            let places = value.split_whitespace();
            self.find_links.extend(places.filter_map(|place| find_links_inside(project, place)));
        }
        self.settings.push((shown, self.clean(project, value)));
    }

    /// Adds a file that pip reads because of the setting `shown`, and all files that it includes.
    pub(super) fn add_file(&mut self, project: &Project, shown: &str, path: &str) {
        let Contents { files, is_remote } = contents_of(project, path);
        self.is_remote |= is_remote;
        for (place, text) in files {
            let digest = text.map(|text| {
                self.secrets.learn(&text);
                Digest::of(fingerprint(&text).as_bytes())
            });
            let name = self.clean(project, &place.to_string_lossy());
            self.files.push((format!("{shown} {name}"), digest));
        }
    }

    /// Returns a value without credentials and without the path of the checkout.
    fn clean(&self, project: &Project, value: &str) -> String {
        let clean = self.secrets.fingerprint(value);
        clean
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace(&*project.root.to_string_lossy(), ".")
    }
}

/// Returns pip's configuration files; a later file wins.
fn config_files(project: &Project, prefix: Option<&Path>, system: &Path) -> Vec<PathBuf> {
    let own = project.var("PIP_CONFIG_FILE").map(|path| project.root.join(path));
    if own.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let mut files = Vec::new();
    let folders = project.var("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg");
    files.extend(folders.split(':').map(|folder| Path::new(folder).join("pip/pip.conf")));
    files.push(system.join("Library/Application Support/pip/pip.conf"));
    files.push(system.join("etc/pip.conf"));
    // If `PIP_CONFIG_FILE` names an existing file, pip does not read the user's file.
    if !own.as_ref().is_some_and(|own| own.exists())
        && let Some(home) = project.var("HOME").map(Path::new)
    {
        files.push(home.join(".pip/pip.conf"));
        files.push(home.join("Library/Application Support/pip/pip.conf"));
        let config = project.var("XDG_CONFIG_HOME").map(PathBuf::from);
        files.push(config.unwrap_or_else(|| home.join(".config")).join("pip/pip.conf"));
    }
    files.extend(prefix.map(|prefix| prefix.join("pip.conf")));
    files.extend(own);
    files
}

/// Returns `(section, name, value)` of each setting. Indented lines continue a value.
fn parse(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.into();
        } else if line.starts_with([' ', '\t']) && !found.is_empty() {
            let (_, _, value) = found.last_mut().expect("BUG: checked to be there");
            value.push(' ');
            value.push_str(trimmed);
        } else if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            found.push((section.clone(), normal(name.trim()), value.trim().into()));
        }
    }
    found.retain(|(section, _, _)| SECTIONS.contains(&section.as_str()));
    found
}

/// Normalises the name of a setting: `INDEX_URL` and `index_url` are `index-url`.
fn normal(name: &str) -> String {
    name.trim_start_matches("--").to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: &[(&str, &str)], env: &[(&str, &str)]) -> Config {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for (path, text) in files {
            let place = root.join(path);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        }
        let place = |value: &str| value.replace("ROOT", &root.to_string_lossy());
        let mut all: BTreeMap<String, String> =
            env.iter().map(|(name, value)| ((*name).into(), place(value))).collect();
        all.insert("XDG_CONFIG_DIRS".into(), place("ROOT/none"));
        all.entry("HOME".into()).or_insert_with(|| place("ROOT/home"));
        let project = Project::new(root.clone(), all);
        let files = config_files(&project, Some(&root.join("prefix")), &root.join("system"));
        Config::read_files(&project, &files)
    }

    #[test]
    fn a_rotated_token_changes_nothing_and_is_known_as_a_secret() {
        let with =
            |token: &str| config(&[], &[("PIP_INDEX_URL", &format!("https://u:{token}@h/simple"))]);
        assert_eq!(with("first-token").digest(), with("second-token").digest());
        let first = with("first-token");
        assert!(!format!("{:?}{:?}", first.settings, first.files).contains("first-token"));
        assert_eq!(first.secrets.redact("bad first-token"), "bad ****");
    }

    #[test]
    fn settings_that_change_no_result_do_not_count() {
        let none = config(&[], &[]).digest();
        let harmless = [
            ("PIP_TIMEOUT", "9"),
            ("PIP_NO_COLOR", "1"),
            ("PIP_CACHE_DIR", "/c"),
            ("PIP_RETRIES", "2"),
        ];
        assert_eq!(config(&[], &harmless).digest(), none);
        assert_ne!(config(&[], &[("PIP_PRE", "1")]).digest(), none);
        assert_ne!(config(&[], &[("CFLAGS", "-O1")]).digest(), none);
    }

    #[test]
    fn files_are_read_in_pips_order() {
        let conf = "[global]\nindex-url = https://me:pw@one/s\nextra-index-url =\n  https://two\n  https://three\n\n[list]\nformat = json\n[install]\nno_binary = x\n";
        let found = config(
            &[
                ("home/.config/pip/pip.conf", conf),
                ("prefix/pip.conf", "[global]\nindex-url: https://site/s"),
            ],
            &[],
        );
        assert_eq!(
            found.settings,
            [
                ("pip global.extra-index-url", "https://two https://three"),
                ("pip global.index-url", "https://site/s"),
                ("pip install.no-binary", "x"),
            ]
            .map(|(name, value)| (name.to_string(), value.to_string()))
        );
    }

    #[test]
    fn a_named_file_stands_in_place_of_the_users() {
        let files = [
            ("home/.config/pip/pip.conf", "[global]\npre = 1"),
            ("own.conf", "[global]\nno-index = 1"),
        ];
        let found = config(&files, &[("PIP_CONFIG_FILE", "ROOT/own.conf")]);
        assert_eq!(found.settings, [("pip global.no-index".to_string(), "1".to_string())]);
    }

    #[test]
    fn files_that_a_setting_names_count_by_content() {
        let with = |text: &str| config(&[("c.txt", text)], &[("PIP_CONSTRAINT", "ROOT/c.txt")]);
        assert_ne!(with("idna<3").digest(), with("idna<4").digest());
        assert_eq!(with("idna<3").digest(), with("idna<3").digest(), "wherever the checkout is");
    }

    #[test]
    fn what_such_files_include_counts_as_well() {
        let with = |text: &str| {
            let files = [("c.txt", "\u{feff}-c sub/d.txt\n"), ("sub/d.txt", text)];
            config(&files, &[("PIP_CONSTRAINT", "ROOT/c.txt")])
        };
        assert_ne!(with("idna<3").digest(), with("idna<4").digest());
        assert_eq!(with("idna<3").files.len(), 2);
    }

    #[test]
    fn a_file_url_is_a_file_and_a_file_of_another_host_is_noted() {
        let with = |text: &str| {
            let env = [("PIP_CONSTRAINT", "file://ROOT/c.txt")];
            config(&[("c.txt", text), ("d.txt", "-c https://h/e.txt\n")], &env)
        };
        assert_ne!(with("idna<3").digest(), with("idna<4").digest());
        assert!(!with("idna<3").is_remote);
        assert!(with("-c d.txt").is_remote);
        assert!(config(&[], &[("PIP_REQUIREMENT", "https://h/r.txt")]).is_remote);
    }

    #[test]
    fn config_settings_come_from_the_variable_or_a_file() {
        let files = [("home/.config/pip/pip.conf", "[global]\nconfig-settings = a=1\n")];
        assert_eq!(config(&files, &[]).config_settings.as_deref(), Some("a=1"));
        let found = config(&files, &[("PIP_CONFIG_SETTINGS", "b=2")]);
        assert_eq!(found.config_settings.as_deref(), Some("b=2"));
        let found = config(&[], &[("PIP_NO_BUILD_ISOLATION", "1"), ("PIP_USE_PEP517", "off")]);
        assert_eq!(found.not_followed, ["no-build-isolation"]);
    }

    #[test]
    fn find_links_inside_the_project_are_found() {
        let found = config(&[], &[("PIP_FIND_LINKS", "ROOT/wheels /opt/other https://h/l rel")]);
        let expected = ["rel", "wheels"].map(|path| RelPath::parse(path).unwrap());
        assert_eq!(found.find_links, expected.into());
    }
}
