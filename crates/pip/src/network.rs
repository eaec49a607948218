//! How files are downloaded: the settings of pip and of the environment that are about the network.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use zipwright_fetch::{Credentials, Proxies, Settings};

use zipwright_store::project::Project;

/// Settings of pip that decide where it downloads from, and how.
const NAMES: [&str; 8] = [
    "cert",
    "client-cert",
    "extra-index-url",
    "find-links",
    "index-url",
    "no-index",
    "proxy",
    "trusted-host",
];

/// Variables with URLs of package indexes, of uv.
const UV_INDEXES: [&str; 4] =
    ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"];

/// Variables that name a file of certificates, the first that is set.
const CERTIFICATES: [&str; 3] = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"];

/// Values of pip's settings in [`NAMES`], with their credentials.
#[derive(Clone, Default)]
pub(super) struct Network {
    values: BTreeMap<String, (Rank, String)>,
    /// URLs of further indexes, with their credentials.
    indexes: Vec<String>,
}

/// Where a setting is from. A later one wins in `pip install`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    OtherCommand,
    Global,
    Install,
    Variable,
}

/// Shows no value: they may be secrets.
impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

impl Network {
    /// Adds a setting by its full name: `global.proxy` of a file, `proxy` of a variable.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let option = name.rsplit('.').next().unwrap_or(name);
        if !NAMES.contains(&option) {
            return;
        }
        let rank = match name.split_once('.').map(|(section, _)| section) {
            None => Rank::Variable,
            Some("install") => Rank::Install,
            Some("global") => Rank::Global,
            Some(_) => Rank::OtherCommand,
        };
        if self.values.get(option).is_none_or(|(other, _)| *other <= rank) {
            self.values.insert(option.into(), (rank, value.into()));
        }
    }

    /// Adds the URL of an index that pip's arguments or a requirements file name.
    pub(super) fn add_index(&mut self, url: &str) {
        self.indexes.push(url.into());
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns whether a setting without a value of its own is switched on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !is_off(value))
    }

    /// Returns the reason if only pip can download with these settings.
    pub(super) fn only_pip(&self, url: &str) -> Option<&'static str> {
        let host = url.split("://").nth(1)?.split(['/', '?', '#']).next()?;
        let host = host.rsplit('@').next()?;
        let name = host.split(':').next()?;
        let trusted = self.get("trusted-host").unwrap_or_default();
        if url.starts_with("https:")
            && trusted.split_whitespace().any(|entry| entry == host || entry == name)
        {
            return Some("pip trusts its host without a certificate");
        }
        self.get("client-cert").map(|_| "pip has a client certificate")
    }

    /// Returns the settings of the downloads. `indexes` are names and URLs of uv's indexes.
    pub(super) fn settings(&self, project: &Project, indexes: &[(String, String)]) -> Settings {
        let var = |name: &str| project.var(name).filter(|value| !value.is_empty());
        let mut proxies = Proxies::from_vars(&|name| var(name).map(String::from));
        if let Some(proxy) = self.get("proxy") {
            proxies = Proxies {
                http: Some(proxy.into()),
                https: Some(proxy.into()),
                no_proxy: proxies.no_proxy,
            };
        }
        let mut credentials = Credentials::default();
        let of_pip = ["index-url", "extra-index-url"].iter().filter_map(|name| self.get(name));
        let of_uv = UV_INDEXES.iter().filter_map(|name| var(name));
        let named = self.indexes.iter().map(String::as_str);
        for url in of_pip.chain(of_uv).chain(named).flat_map(str::split_whitespace) {
            // uv writes `NAME=URL`.
            let named = url.split_once('=').filter(|(name, _)| !name.contains(':'));
            credentials.add_index(named.map_or(url, |(_, url)| url));
        }
        for (name, url) in indexes {
            let name: String = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
                .collect();
            let user = var(&format!("UV_INDEX_{name}_USERNAME"));
            let password = var(&format!("UV_INDEX_{name}_PASSWORD"));
            if user.is_some() || password.is_some() {
                credentials.add(url, user.unwrap_or_default(), password.unwrap_or_default());
            }
        }
        if let Some(text) = netrc(project) {
            credentials.add_netrc(&text);
        }
        let certificates = self.get("cert").or_else(|| CERTIFICATES.iter().find_map(|it| var(it)));
        let certificates = certificates.map(|path| project.root.join(path));
        Settings { proxies, credentials, certificates, ..Settings::default() }
    }
}

/// Returns whether a value switches a setting off.
pub(super) fn is_off(value: &str) -> bool {
    ["0", "false", "no", "off", "n", "f", ""].contains(&value.to_ascii_lowercase().as_str())
}

fn netrc(project: &Project) -> Option<String> {
    let home = project.var("HOME").map(PathBuf::from);
    let places = match project.var("NETRC") {
        Some(path) => vec![project.root.join(path)],
        None => home.iter().flat_map(|home| [".netrc", "_netrc"].map(|it| home.join(it))).collect(),
    };
    places.into_iter().find_map(|place| std::fs::read_to_string(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_wins_over_a_file_and_no_value_is_shown() {
        let mut network = Network::default();
        for (name, value) in [
            ("cert", "/env"),
            ("global.cert", "/file"),
            ("global.index-url", "https://me:secret@h/simple"),
            ("global.timeout", "9"),
        ] {
            network.add(name, value);
        }
        assert_eq!(network.get("cert"), Some("/env"));
        assert_eq!(format!("{network:?}"), r#"["cert", "index-url"]"#);
    }

    #[test]
    fn some_settings_are_for_pip_alone() {
        let mut network = Network::default();
        network.add("trusted-host", "one two:8443");
        assert!(network.only_pip("https://one/a").is_some());
        assert!(network.only_pip("https://me:pw@two:8443/a").is_some());
        assert!(network.only_pip("https://two/a").is_none());
        assert!(network.only_pip("http://one/a").is_none());
        network.add("client-cert", "/c.pem");
        assert!(network.only_pip("https://two/a").is_some());
    }
}
