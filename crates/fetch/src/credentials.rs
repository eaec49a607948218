//! Credentials for servers: of the URLs of package indexes, and of a netrc file.

use crate::url::Url;

#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// URLs with user and password.
    indexes: Vec<Url>,
    machines: Vec<Machine>,
}

#[derive(Clone, Debug)]
struct Machine {
    /// `None`: every host.
    host: Option<String>,
    login: String,
    password: String,
}

impl Credentials {
    /// Adds the credentials in the URL of an index, for all files of the same origin.
    pub fn add_index(&mut self, url: &str) {
        let url = Url::parse(url).ok().filter(|url| url.credentials.is_some());
        self.indexes.extend(url);
    }

    /// Adds user and password for all files of the origin of a URL.
    pub fn add(&mut self, url: &str, user: &str, password: &str) {
        if let Ok(url) = Url::parse(url) {
            let credentials = Some((user.to_owned(), password.to_owned()));
            self.indexes.push(Url { credentials, ..url });
        }
    }

    /// Adds the machines of a netrc file.
    pub fn add_netrc(&mut self, text: &str) {
        let mut words = words(text).into_iter();
        let mut machine: Option<Machine> = None;
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" | "default" => {
                    self.machines.extend(machine.take());
                    let host = if word == "machine" { words.next() } else { None };
                    let host = host.map(|host| host.to_ascii_lowercase());
                    let (login, password) = (String::new(), String::new());
                    machine = Some(Machine { host, login, password });
                }
                "login" | "password" | "account" => {
                    let value = words.next().unwrap_or_default();
                    match (&mut machine, word.as_str()) {
                        (Some(machine), "login") => machine.login = value,
                        (Some(machine), "password") => machine.password = value,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        self.machines.extend(machine);
    }

    /// Returns user and password for a URL: its own, else those of an index of the same origin, else
    /// those of netrc.
    pub(crate) fn find<'a>(&'a self, url: &'a Url) -> Option<(&'a str, &'a str)> {
        let index = self.indexes.iter().find(|index| index.is_same_origin(url));
        let of_index = index.and_then(|index| index.credentials.as_ref());
        if let Some((user, password)) = url.credentials.as_ref().or(of_index) {
            return Some((user, password));
        }
        let is_meant =
            |machine: &&Machine| machine.host.as_ref().is_none_or(|host| *host == url.host);
        let machine = self.machines.iter().find(is_meant)?;
        Some((&machine.login, &machine.password))
    }
}

/// Returns the words of a netrc file. Comments and the bodies of macros are left out.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with("macdef") {
            lines.by_ref().take_while(|line| !line.trim().is_empty()).for_each(drop);
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
            rest = &rest[start..];
            if let Some(quoted) = rest.strip_prefix('"')
                && let Some(end) = quoted.find('"')
            {
                words.push(quoted[..end].to_owned());
                rest = &quoted[end + 1..];
                continue;
            }
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(credentials: &Credentials, url: &str) -> Option<(String, String)> {
        let url = Url::parse(url).unwrap();
        let found = credentials.find(&url);
        found.map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn the_nearest_credentials_are_used() {
        let mut credentials = Credentials::default();
        credentials.add_index("https://me:one@index.example/simple");
        credentials.add_index("https://index.example/other");
        credentials.add_netrc(
            "# comment\nmachine Files.example\n  login you password \"two words\"\n\
             macdef init\nmachine wrong login x\n\nmachine index.example login z password z\n",
        );
        assert_eq!(found(&credentials, "https://index.example/f.whl"), pair("me", "one"));
        assert_eq!(found(&credentials, "https://a:b@index.example/f.whl"), pair("a", "b"));
        assert_eq!(found(&credentials, "http://files.example/f"), pair("you", "two words"));
        assert_eq!(found(&credentials, "http://index.example/f"), pair("z", "z"));
        assert_eq!(found(&credentials, "https://wrong/f"), None);
        credentials.add("https://wrong/simple", "aws", "token");
        assert_eq!(found(&credentials, "https://wrong/f"), pair("aws", "token"));
        credentials.add_netrc("default login any password word");
        assert_eq!(found(&credentials, "https://other/f"), pair("any", "word"));
    }
}
