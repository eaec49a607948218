//! Pages of the simple API of package indexes: the files of one project, in JSON (PEP 691) or HTML
//! (PEP 503).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::lock::percent_decode;

/// A file that an index offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its file name: the last part of the URL, decoded.
    pub name: String,
    /// As the page has it, without its fragment; it may be relative to the page.
    pub url: String,
    /// In lowercase hex.
    pub sha256: Option<String>,
    pub size: Option<u64>,
    pub requires_python: Option<String>,
    pub yanked: bool,
}

/// A page of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimplePage {
    /// The URL that others on the page are relative to, if it is not the page's own.
    pub base: Option<String>,
    pub offers: Vec<Offer>,
}

impl Offer {
    fn new(url: &str) -> Self {
        let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
        let path = url.split('?').next().unwrap_or_default();
        let name = percent_decode(path.rsplit('/').next().unwrap_or_default());
        let mut parts = fragment.split('&');
        let sha256 = parts.find_map(|part| part.strip_prefix("sha256="));
        let sha256 = sha256.map(str::to_ascii_lowercase);
        Self { name, url: url.into(), sha256, ..Self::default() }
    }
}

#[derive(Deserialize)]
struct Json {
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    requires_python: Option<String>,
    yanked: Option<Yanked>,
}

/// `false`, `true`, or the reason.
#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(serde::de::IgnoredAny),
}

impl SimplePage {
    /// Reads `application/vnd.pypi.simple.v1+json`.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        let page: Json =
            serde_json::from_slice(text).context("the page of the index is not readable")?;
        let offer = |mut file: JsonFile| {
            let own = Offer::new(&file.url);
            let sha256 = file.hashes.remove("sha256").map(|hex| hex.to_ascii_lowercase());
            Offer {
                sha256: sha256.or(own.sha256.clone()),
                size: file.size,
                requires_python: file.requires_python,
                yanked: match file.yanked {
                    None => false,
                    Some(Yanked::Flag(flag)) => flag,
                    Some(Yanked::Reason(_)) => true,
                },
                ..own
            }
        };
        Ok(Self { base: None, offers: page.files.into_iter().map(offer).collect() })
    }

    /// Reads a page of HTML: its anchors, in their order.
    pub fn from_html(text: &str) -> Self {
        let mut page = Self::default();
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            if rest.starts_with("<!--") {
                rest = rest.find("-->").map_or("", |end| &rest[end..]);
                continue;
            }
            let (name, attributes, after) = tag(&rest[1..]);
            rest = after;
            let Some(href) = attributes.get("href") else { continue };
            match name.as_str() {
                "base" if page.base.is_none() => page.base = Some(href.clone()),
                "a" => page.offers.push(Offer {
                    requires_python: attributes.get("data-requires-python").cloned(),
                    yanked: attributes.contains_key("data-yanked"),
                    ..Offer::new(href.trim())
                }),
                _ => {}
            }
        }
        page
    }
}

/// Reads a tag after its `<`: name and attributes in lower case, and the text after it.
fn tag(text: &str) -> (String, BTreeMap<String, String>, &str) {
    let is_end = |c: char| c.is_ascii_whitespace() || c == '>' || c == '/';
    let end = text.find(is_end).unwrap_or(text.len());
    let name = text[..end].to_ascii_lowercase();
    let mut attributes = BTreeMap::new();
    // A closing tag has no attributes, and its `/` is the name's end.
    let mut rest = &text[end..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() || rest.starts_with('>') {
            return (name, attributes, rest);
        }
        let end = rest.find(|c: char| is_end(c) || c == '=').unwrap_or(rest.len());
        // A stray `=` is a name of its own.
        let end = end.max(1);
        let key = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            (value, rest) = match quote {
                Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
                None => {
                    let is_end = |c: char| c.is_ascii_whitespace() || c == '>';
                    after.split_at(after.find(is_end).unwrap_or(after.len()))
                }
            };
        }
        attributes.entry(key).or_insert_with(|| unescaped(value));
    }
}

/// Replaces character references: the named ones of XML, and those with a number.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end < 12);
        match end.and_then(|end| Some((reference(&rest[1..end])?, end))) {
            Some((c, end)) => {
                plain.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain + rest
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_json_are_read() {
        let page = SimplePage::from_json(
            br#"{"meta":{"api-version":"1.1"},"name":"a","files":[
              {"filename":"a-1.tar.gz","url":"../a-1.tar.gz","hashes":{"md5":"0","sha256":"AB"},
               "size":3,"requires-python":null,"yanked":false},
              {"filename":"a%2B.whl","url":"https://h/a%2B.whl#sha256=cd","hashes":{},
               "requires-python":">=3.8","yanked":"broken"}]}"#,
        );
        let [first, second] = &page.unwrap().offers[..] else { panic!("two files") };
        assert_eq!((first.name.as_str(), first.url.as_str()), ("a-1.tar.gz", "../a-1.tar.gz"));
        assert_eq!((first.sha256.as_deref(), first.size), (Some("ab"), Some(3)));
        assert!(!first.yanked && second.yanked);
        assert_eq!((second.name.as_str(), second.sha256.as_deref()), ("a+.whl", Some("cd")));
        assert_eq!(second.requires_python.as_deref(), Some(">=3.8"));
        assert!(SimplePage::from_json(b"<html>").is_err());
    }

    #[test]
    fn pages_of_html_are_read() {
        let page = SimplePage::from_html(
            "<!DOCTYPE html><html><head><base href='https://b/'></head><body><h1>Links</h1>\n\
             <!-- <a href=\"no\">no</a> -->\n<a href=\"x/a-1.whl#sha256=0F&amp;egg=a\" \
             data-requires-python=\"&gt;=3.8,&#60;4\">a-1.whl</a><br/>\n\
             <A HREF=a-2.tar.gz DATA-YANKED>a-2</A><a name=here>x</a><a href='b?c=1#md5=2' />",
        );
        assert_eq!(page.base.as_deref(), Some("https://b/"));
        let [first, second, third] = &page.offers[..] else { panic!("{page:?}") };
        assert_eq!((first.name.as_str(), first.url.as_str()), ("a-1.whl", "x/a-1.whl"));
        assert_eq!(first.sha256.as_deref(), Some("0f"));
        assert_eq!(first.requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!((second.name.as_str(), second.yanked), ("a-2.tar.gz", true));
        assert_eq!(
            (third.name.as_str(), third.sha256.as_deref(), third.yanked),
            ("b", None, false)
        );
    }

    #[test]
    fn broken_html_has_no_effect_but_on_itself() {
        for text in ["<", "<a", "<a href", "<a href=", "<a href='x", "<!-- ", "<a =x>", "&#x;&x"] {
            SimplePage::from_html(text);
        }
        assert_eq!(unescaped("a&&amp;&#x110000;&lt"), "a&&&#x110000;&lt");
    }
}
