//! Requirements (PEP 508).

use anyhow::{Result, bail};

use crate::environment::Environment;
use crate::grammar::Rest;
use crate::marker::Marker;
use crate::version::Specifier;

/// A requirement: `NAME[EXTRAS] >=1,<2; MARKER` or `NAME[EXTRAS] @ URL ; MARKER`.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// The name as written.
    pub name: String,
    pub extras: Vec<String>,
    pub specifiers: Vec<Specifier>,
    pub url: Option<String>,
    pub marker: Option<Marker>,
}

impl Requirement {
    pub fn parse(text: &str) -> Result<Self> {
        let mut rest = Rest { text, at: 0 };
        rest.space();
        let name = rest.identifier()?;
        let extras = if rest.take("[") { rest.extras()? } else { Vec::new() };
        let mut found = Self { name, extras, specifiers: Vec::new(), url: None, marker: None };
        rest.space();
        let (specifiers, marker) = if rest.take("@") {
            rest.space();
            let (url, rest) = rest
                .left()
                .split_at(rest.left().find(char::is_whitespace).unwrap_or(rest.left().len()));
            found.url = Some(url.to_string());
            let marker = rest.trim_start();
            match marker.strip_prefix(';') {
                _ if url.is_empty() => bail!("`{text}` has no URL after `@`"),
                None if !marker.is_empty() => bail!("`{text}` has more than a URL after `@`"),
                marker => ("", marker),
            }
        } else {
            let left = rest.left();
            match left.split_once(';') {
                Some((specifiers, marker)) => (specifiers, Some(marker)),
                None => (left, None),
            }
        };
        found.marker = marker.map(Marker::parse).transpose()?;
        let specifiers = specifiers.trim();
        let inner = specifiers.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
        let specifiers = inner.unwrap_or(specifiers).split(',').map(str::trim);
        let specifiers = specifiers.filter(|specifier| !specifier.is_empty());
        found.specifiers = specifiers.map(Specifier::parse).collect::<Result<_>>()?;
        Ok(found)
    }

    /// Returns whether a version is allowed, pre-releases included.
    pub fn allows(&self, version: &str) -> bool {
        self.specifiers.iter().all(|specifier| specifier.allows(version))
    }

    /// Returns whether the requirement applies in an environment, for a package that is required
    /// with `extras`.
    pub fn applies(&self, environment: &Environment, extras: &[&str]) -> Result<bool> {
        self.marker.as_ref().map_or(Ok(true), |marker| marker.eval(environment, extras))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read() {
        let found =
            Requirement::parse("Foo.Bar[a, b-c] (>=1.0, !=1.5.*) ; python_version < '3'").unwrap();
        assert_eq!((found.name.as_str(), found.extras.join("+")), ("Foo.Bar", "a+b-c".into()));
        assert!(found.allows("1.4") && !found.allows("1.5.2"));
        assert!(!found.applies(&Environment::of_runtime((3, 13), "x86_64"), &[]).unwrap());
        let found = Requirement::parse("a@https://h/a;b.whl ; os_name == 'posix'").unwrap();
        assert_eq!(found.url.as_deref(), Some("https://h/a;b.whl"));
        assert!(found.marker.is_some());
        assert!(Requirement::parse("a>=1,").unwrap().allows("2"));
        assert!(Requirement::parse("a[]").unwrap().extras.is_empty());
        for wrong in ["", "-a", "a[", "a[b c]", "a b", "a @ ", "a @ u v", "a >=x", "a; x"] {
            assert!(Requirement::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn markers_that_are_not_readable_are_errors() {
        let deep = format!("{}os_name == 'a'{}", "(".repeat(201), ")".repeat(201));
        let wrong = [
            "",
            "os_name",
            "os_name ==",
            "os_name = 'a'",
            "os_name == 'a",
            "os_name == 'a' and",
            "(os_name == 'a'",
            "os_names == 'a'",
            "'a' == 'b'",
            "os_name notin 'a'",
            "os_name == 'a' os_name == 'b'",
            &deep,
        ];
        for text in wrong {
            assert!(Marker::parse(text).is_err(), "{text}");
        }
        assert!(Marker::parse("os_name in'a'or(os_name=='b')").is_ok());
    }
}
