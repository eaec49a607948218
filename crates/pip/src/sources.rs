//! The package indexes and folders that pip searches, in its order: from its configuration, its
//! arguments and the options in requirements files. Contains credentials, so it is never shown.

use super::network::Network;
use super::options::{self, Name, Opt};

/// pip's index if no setting names another.
const DEFAULT_INDEX: &str = "https://pypi.org/simple";

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// URLs, or paths of folders.
    pub indexes: Vec<String>,
    /// URLs, or paths.
    pub find_links: Vec<String>,
    no_index: bool,
}

impl Sources {
    /// Returns the sources. `arguments` are further arguments for pip, `lines` the options in
    /// requirements files. Returns `None` if there is an option that is not about sources.
    pub(super) fn read(network: &Network, arguments: &[String], lines: &[String]) -> Option<Self> {
        let words = |name: &str| -> Vec<String> {
            network.get(name).unwrap_or_default().split_whitespace().map(String::from).collect()
        };
        let mut index = network.get("index-url").unwrap_or(DEFAULT_INDEX).to_owned();
        let (mut extra, mut find_links) = (words("extra-index-url"), words("find-links"));
        let mut no_index = network.is_on("no-index");
        for Opt { name, value } in of_arguments(arguments)? {
            match name {
                Name::Other("--index-url") => index = value,
                Name::Other("--extra-index-url") => extra.push(value),
                Name::Other("--no-index") => no_index = true,
                Name::FindLinks => find_links.push(value),
                Name::RequireHashes => {}
                _ => return None,
            }
        }
        let indexes = [index].into_iter().chain(extra).filter(|_| !no_index).collect();
        let mut sources = Self { indexes, find_links, no_index };
        for line in lines {
            for option in options::read(options::split(line)?).ok()? {
                sources.add_line(option)?;
            }
        }
        Some(sources)
    }

    /// Adds an option of a requirements file; `None` if it is not about sources.
    pub(super) fn add_line(&mut self, Opt { name, value }: Opt) -> Option<()> {
        match name {
            Name::Other("--no-index") => {
                self.no_index = true;
                self.indexes.clear();
            }
            Name::Other("--index-url" | "--extra-index-url") if self.no_index => {}
            Name::Other("--index-url") => self.indexes = vec![value],
            Name::Other("--extra-index-url") => self.indexes.push(value),
            Name::FindLinks => self.find_links.push(value),
            Name::RequireHashes => {}
            _ => return None,
        }
        Some(())
    }
}

/// Reads further arguments for pip. Returns `None` if one is not an option of requirements files.
fn of_arguments(words: &[String]) -> Option<Vec<Opt>> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if !word.starts_with('-') || word == "--" {
            return None;
        }
        found.extend(match options::read(vec![word.clone()]) {
            Ok(read) => read,
            Err(_) => options::read(vec![word.clone(), words.next()?.clone()]).ok()?,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)], arguments: &[&str], lines: &[&str]) -> Option<Sources> {
        let mut network = Network::default();
        for (name, value) in settings {
            network.add(name, value);
        }
        let strings = |texts: &[&str]| texts.iter().copied().map(String::from).collect::<Vec<_>>();
        Sources::read(&network, &strings(arguments), &strings(lines))
    }

    fn indexes(settings: &[(&str, &str)], arguments: &[&str], lines: &[&str]) -> String {
        read(settings, arguments, lines).unwrap().indexes.join(" ")
    }

    #[test]
    fn indexes_have_the_order_of_pip() {
        assert_eq!(indexes(&[], &[], &[]), DEFAULT_INDEX);
        let config = [("global.index-url", "a"), ("extra-index-url", "b c")];
        assert_eq!(indexes(&config, &[], &[]), "a b c");
        assert_eq!(indexes(&config, &["-i", "d", "--extra-index-url=e"], &[]), "d b c e");
        assert_eq!(indexes(&config, &[], &["--extra-index-url 'e'", "--index-url f"]), "f");
        assert_eq!(indexes(&config, &["--no-index"], &["--index-url f"]), "");
        assert_eq!(indexes(&[("no-index", "off")], &[], &["--no-index"]), "");
        let sources = read(&[("find-links", "a")], &["-fb"], &["--find-links 'c d'"]).unwrap();
        assert_eq!(sources.find_links, ["a", "b", "c d"]);
    }

    #[test]
    fn other_options_are_left_to_pip() {
        for word in ["--no-deps", "--pre", "--prefer-binary", "idna", "--", "-i"] {
            assert!(read(&[], &[word], &[]).is_none(), "{word}");
        }
        assert!(read(&[], &[], &["--no-binary 'a'"]).is_none());
        assert!(read(&[], &["--require-hashes"], &[]).is_some());
    }
}
