//! URLs of `http` and `https`, without the credentials that may be in them.

use std::fmt;

use anyhow::{Result, bail};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub is_https: bool,
    /// Without the brackets of an IPv6 address, in lower case.
    pub host: String,
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: String,
    /// User and password of the URL, decoded.
    pub credentials: Option<(String, String)>,
}

impl Url {
    /// Reads an absolute URL; its fragment is left out.
    pub fn parse(text: &str) -> Result<Self> {
        let shown = without_credentials(text);
        let Some((scheme, rest)) = text.split_once("://") else {
            bail!("`{shown}` is not a URL");
        };
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => bail!("`{shown}` is neither of `http` nor `https`"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let credentials = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (percent_decode(name), percent_decode(password))
        });
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match address.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let default = if is_https { 443 } else { 80 };
        let port = port.filter(|port| !port.is_empty()).map_or(Ok(default), str::parse);
        let (Ok(port), false) = (port, host.is_empty()) else {
            bail!("`{shown}` has no valid host");
        };
        let path = encoded(path);
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Ok(Self { is_https, host: host.to_ascii_lowercase(), port, path, credentials })
    }

    /// Returns the URL that a `Location` header of this one's response means.
    pub fn join(&self, location: &str) -> Result<Self> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.is_https { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let location = encoded(location.split('#').next().unwrap_or_default());
        let own = self.path.split('?').next().unwrap_or_default();
        if location.is_empty() {
            return Ok(self.clone());
        }
        let path = match location.chars().next() {
            Some('/') => location,
            Some('?') => format!("{own}{location}"),
            _ => without_dots(&format!("{}{location}", &own[..=own.rfind('/').unwrap_or(0)])),
        };
        Ok(Self { path, ..self.clone() })
    }

    /// Returns the URL with its query, without credentials.
    pub fn whole(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host_header(), self.path)
    }

    /// Returns host and port as a `Host` header has them.
    pub fn host_header(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.is_https { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }

    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.is_https == other.is_https && self.host == other.host && self.port == other.port
    }
}

/// Resolves `.` and `..` in an absolute path; the query stays as it is.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    let mut all = path.split('/').skip(1).peekable();
    while let Some(part) = all.next() {
        let is_last = all.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                // A folder ends in a slash.
                parts.extend(is_last.then_some(""));
            }
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

/// Without credentials and without the values of the query, which may be secrets.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mark = if query.is_empty() { "" } else { "?…" };
        write!(f, "{scheme}://{}{path}{mark}", self.host_header())
    }
}

/// Returns the text of a URL without user and password.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.into(),
    }
}

/// Encodes the bytes that a request line cannot have.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' => encoded.push(char::from(byte)),
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

pub(crate) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::parse("https://me:p%40s@Files.Example:8443/a b?x=1#sha256=0").unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("files.example", 8443, "/a%20b?x=1")
        );
        assert_eq!(url.credentials, Some(("me".into(), "p@s".into())));
        assert_eq!(url.to_string(), "https://files.example:8443/a%20b?…");
        let url = Url::parse("http://[::1]?x").unwrap();
        assert_eq!((url.host_header().as_str(), url.path.as_str()), ("[::1]", "/?x"));
        for wrong in ["/a", "ftp://h/a", "http:///a", "http://h:x/"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
        let error = Url::parse("ftp://me:secret@h/a").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn locations_are_joined() {
        let url = Url::parse("https://h:1/a/b?c").unwrap();
        for (location, expected) in [
            ("https://g/x", "https://g/x"),
            ("//g/x", "https://g/x"),
            ("/x", "https://h:1/x"),
            ("x", "https://h:1/a/x"),
            ("?y", "https://h:1/a/b?…"),
            ("../../x/./y/", "https://h:1/x/y/"),
            ("..", "https://h:1/"),
        ] {
            assert_eq!(url.join(location).unwrap().to_string(), expected, "{location}");
        }
    }
}
