//! Removes credentials from text before it is hashed, shown or stored.
//!
//! Recognises URLs with a password, and the passwords that were registered; nothing else. A secret
//! in the path of a URL cannot be distinguished from a folder's name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use zipwright_store::Digest;

/// Replaces a secret that cannot simply be removed.
const HIDDEN: &str = "****";

/// Number of digits of a digest that replaces a value.
const FINGERPRINT: usize = 16;

/// Shortest registered secret that is searched for on its own: shorter ones would hide half of a
/// message.
const SHORTEST: usize = 4;

/// Parts of the names of query parameters that hold secrets.
const SECRET_PARAMETERS: [&str; 8] =
    ["token", "key", "secret", "sig", "password", "passwd", "auth", "credential"];

/// Returns `text` without credentials in its URLs: `https://user:word@host` becomes `https://host`,
/// and the values of query parameters with the name of a secret are hidden.
pub fn redact(text: &str) -> String {
    clean_urls(text, |_| HIDDEN.into())
}

/// Returns whether [`redact`] hid a value of this URL.
pub(super) fn is_redacted(url: &str) -> bool {
    url.contains(HIDDEN)
}

/// Like [`redact`], for a fingerprint: a digest replaces each hidden value of a query, because URLs
/// that differ there are different. Credentials before the host leave nothing, because a new
/// password does not change the files.
pub(super) fn fingerprint(text: &str) -> String {
    clean_urls(text, |value| {
        let mut digest = Digest::of(value.as_bytes()).to_string();
        digest.truncate(FINGERPRINT);
        format!("{HIDDEN}{digest}")
    })
}

fn clean_urls(text: &str, hide: impl Fn(&str) -> String) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let after = host_and_rest(after).1;
        let end = after.find(ends_url).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        clean.push_str(&redact_query(url, &hide));
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

/// Hides the secrets of [`redact`], and the registered secrets everywhere.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl Redactor {
    /// Registers the credentials of all URLs in `text`: as written, percent-decoded, with every
    /// character encoded that may be, and as Python writes a text.
    pub fn learn(&mut self, text: &str) {
        for (at, _) in text.match_indices("://") {
            let Some(credentials) = host_and_rest(&text[at + 3..]).0 else { continue };
            // A user name without a password is a token.
            let secret = match credentials.split_once(':') {
                Some((user, "" | "x-oauth-basic")) => user,
                Some((_, password)) => password,
                None => credentials,
            };
            let plain = percent_decode(secret);
            let in_python = plain.replace('\\', r"\\").replace('\'', r"\'");
            for form in [secret.to_string(), percent_encode(&plain), in_python, plain] {
                if form.len() >= SHORTEST && !self.known.contains(&form) {
                    self.known.push(form);
                }
            }
        }
        self.sort();
    }

    /// Adds the secrets of another redactor.
    pub fn join(&mut self, other: &Self) {
        self.known.extend(other.known.iter().cloned());
        self.sort();
    }

    /// Sorts secrets, the longest first, because a secret may contain another.
    fn sort(&mut self) {
        self.known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    pub fn redact(&self, text: &str) -> String {
        self.hide(redact(text))
    }

    /// Like [`Redactor::redact`], for a fingerprint: see [`fingerprint`].
    pub fn fingerprint(&self, text: &str) -> String {
        self.hide(fingerprint(text))
    }

    fn hide(&self, mut clean: String) -> String {
        for secret in &self.known {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), HIDDEN);
            }
        }
        clean
    }
}

/// Every character of a URL but letters, digits and `_.-~`, as in Python's `urllib.parse.quote`.
const URL_SAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// Decodes `%41`; any other text is unchanged.
pub(super) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

/// Encodes all characters but letters, digits and `_.-~`, as Python's `urllib.parse.quote` does.
fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, URL_SAFE).to_string()
}

/// Splits the part after `scheme://` into the credentials of a URL and the rest. A password may
/// contain every character, quotes too, but not spaces or characters that end the host. The account
/// `git` alone, as in `ssh://git@host`, is part of the address and not a secret.
fn host_and_rest(text: &str) -> (Option<&str>, &str) {
    let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#');
    let authority = &text[..text.find(ends).unwrap_or(text.len())];
    match authority.rfind('@') {
        Some(at) if &authority[..at] != "git" => (Some(&text[..at]), &text[at + 1..]),
        _ => (None, text),
    }
}

fn redact_query(url: &str, hide: &dyn Fn(&str) -> String) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.into() };
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (query, None),
    };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) if is_secret(name) => format!("{name}={}", hide(value)),
            _ => parameter.to_string(),
        })
        .collect();
    let mut clean = format!("{path}?{}", parameters.join("&"));
    if let Some(fragment) = fragment {
        clean.push('#');
        clean.push_str(fragment);
    }
    clean
}

fn is_secret(parameter: &str) -> bool {
    let name = parameter.to_ascii_lowercase();
    SECRET_PARAMETERS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_urls() {
        for (text, clean) in [
            ("https://me:s3cret@host/simple", "https://host/simple"),
            ("see https://tok@host, or http://b/c", "see https://host, or http://b/c"),
            ("https://a:p@ss@host/x@y", "https://host/x@y"),
            ("git+ssh://git@github.com/a/b@v1", "git+ssh://git@github.com/a/b@v1"),
            (
                "https://h/w.whl?X-Amz-Signature=abc&v=1#sha256=00",
                "https://h/w.whl?X-Amz-Signature=****&v=1#sha256=00",
            ),
            ("no url at all: a@b", "no url at all: a@b"),
            ("https://a:p'a\"s<s>`@host/x", "https://host/x"),
            ("('https://a:!$&()*+,;=:p@host/x', 'y')", "('https://host/x', 'y')"),
            ("'https://host', 'a@b'", "'https://host', 'a@b'"),
            ("https://a:{b|c}^\\@[::1]:8080?x=1", "https://[::1]:8080?x=1"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn a_fingerprint_differs_in_hidden_values_and_shows_none() {
        let of = |value: &str| fingerprint(&format!("a @ https://u:{value}@h/w.whl?key={value}#x"));
        assert_ne!(of("first"), of("second"));
        assert!(!of("first").contains("first"));
        assert!(of("first").starts_with("a @ https://h/w.whl?key=****"), "{}", of("first"));
        assert_eq!(fingerprint("https://u:one@h/s?v=1"), fingerprint("https://u:two@h/s?v=1"));
    }

    #[test]
    fn known_secrets_are_hidden_wherever_they_stand() {
        let mut redactor = Redactor::default();
        redactor.learn("--index-url https://__token__:pypi%2DAgE1@host/simple https://onlytoken@b");
        assert_eq!(
            redactor.redact("401 for pypi-AgE1 (pypi%2DAgE1), onlytoken, __token__"),
            "401 for **** (****), ****, __token__"
        );
    }

    #[test]
    fn a_secret_is_known_in_every_form() {
        let mut redactor = Redactor::default();
        redactor.learn("https://me:p'a:s%40s%2dw@host");
        for form in ["p'a:s%40s%2dw", "p'a:s@s-w", "p%27a%3As%40s-w", r"p\'a:s@s-w"] {
            assert_eq!(redactor.redact(form), "****", "{form}");
        }
    }

    #[test]
    fn percent_codes_are_decoded_and_broken_ones_kept() {
        assert_eq!(percent_decode("a%20b%zz%"), "a b%zz%");
    }
}
