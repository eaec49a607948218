//! Files that look like secrets, among the project's own: the content of wheels is public already.
//! A finding never shows the secret.

use std::io::{Read, Seek};

use anyhow::Result;

use super::archive::{Contents, Member};
use super::findings::{Finding, Findings, Severity};

/// Largest size of a file that is searched, in bytes: secrets are in small files.
const LONGEST: u64 = 256 << 10;

/// Characters behind the first line of a key in which its body begins.
const HEAD_OF_KEY: usize = 400;

pub(super) fn check<R: Read + Seek>(
    member: &Member,
    contents: &mut Contents<R>,
    findings: &mut Findings,
) -> Result<()> {
    if let Some(what) = by_name(&member.name) {
        let hint = "leave it out with `exclude`; a bundle is readable for all who may read the \
                    function, and versions keep it";
        let finding = Finding::new("secret-file", Severity::Warning, what, hint);
        findings.add(finding.of(&member.name, None));
    }
    if member.size > LONGEST {
        return Ok(());
    }
    let bytes = contents.whole(member)?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(()) };
    if let Some(line) = private_key(text) {
        let hint = "leave it out with `exclude`, and let the function fetch it, e.g. from Secrets \
                    Manager";
        let what = "a private key";
        let finding = Finding::new("private-key", Severity::Error, what, hint);
        findings.add(finding.at(&member.name, line));
    }
    if let Some(line) = access_key(text) {
        let what = "the id of an AWS access key";
        let hint = "remove it: the function has its role's credentials";
        let finding = Finding::new("access-key", Severity::Warning, what, hint);
        findings.add(finding.at(&member.name, line));
    }
    Ok(())
}

/// Returns the kind of secret that files of this name have.
fn by_name(path: &str) -> Option<&'static str> {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folders.split('/').any(|folder| folder == ".git") {
        return Some("part of a git repository, with all that was ever committed");
    }
    let in_folder = |folder: &str| folders == folder || folders.ends_with(&format!("/{folder}"));
    match name {
        "credentials" if in_folder(".aws") => Some("AWS credentials, by its name"),
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => Some("a private SSH key, by its name"),
        ".netrc" | ".pgpass" | ".pypirc" => Some("passwords, by its name"),
        name if name.ends_with(".p12") || name.ends_with(".pfx") || name.ends_with(".jks") => {
            Some("a key store, by its name")
        }
        name if name == ".env" || name.starts_with(".env.") => {
            let kind = name.rsplit('.').next().unwrap_or_default();
            let is_sample = matches!(kind, "example" | "sample" | "template" | "dist");
            (!is_sample).then_some("settings of an environment, by its name")
        }
        _ => None,
    }
}

/// Returns the line, from 1, at which a private key in PEM begins, if the text has one with a body. In
/// JSON and strings of programs, `\n` stands for a line break.
fn private_key(text: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(begin) = text[from..].find("-----BEGIN ").map(|at| from + at) {
        from = begin + 1;
        let line = text[begin..].lines().next().unwrap_or_default();
        let Some(end) = line.find("PRIVATE KEY-----") else { continue };
        let behind = &text[begin + end + "PRIVATE KEY-----".len()..];
        let behind: String = behind.chars().take(HEAD_OF_KEY).collect();
        let behind = behind.replace("\\r", "").replace("\\n", "\n");
        // What surrounds a line in a string of a program.
        let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '+');
        // An encrypted key has headers with the method, then an empty line.
        let is_body = |line: &&str| !line.contains(": ") && !line.is_empty();
        if behind.lines().map(|line| line.trim_matches(around)).find(is_body).is_some_and(is_base64)
        {
            return Some(text[..begin].matches('\n').count() + 1);
        }
    }
    None
}

fn is_base64(line: &str) -> bool {
    let in_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    line.len() >= 40 && line.chars().all(in_base64)
}

/// Returns the first line, from 1, with the id of an access key that is not an example of AWS.
fn access_key(text: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    let is_key = |word: &str| {
        word.len() == 20
            && (word.starts_with("AKIA") || word.starts_with("ASIA"))
            && word.chars().all(is_part)
            && !word.ends_with("EXAMPLE")
    };
    let mut lines = text.lines();
    let has_key =
        |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_key);
    lines.position(has_key).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for path in [".env", "conf/.env.prod", ".git/config", "a/.aws/credentials", "k/id_rsa"] {
            assert!(by_name(path).is_some(), "{path}");
        }
        for path in ["env.py", ".env.example", ".gitignore", "credentials", "id_rsa.pub", "a.pem"] {
            assert!(by_name(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_key_is_more_than_its_first_line() {
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
        let pem = |kind: &str| format!("x\n-----BEGIN {kind}-----\n{body}\n-----END {kind}-----");
        for kind in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY"] {
            assert_eq!(private_key(&pem(kind)), Some(2), "{kind}");
        }
        assert!(private_key(&pem("CERTIFICATE")).is_none());
        assert!(private_key("-----BEGIN PRIVATE KEY-----\n").is_none());
        assert!(private_key("marker = '-----BEGIN PRIVATE KEY-----'").is_none());
        let encrypted = format!(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,0\n\n{body}\n"
        );
        assert!(private_key(&encrypted).is_some());
        let key = pem("PRIVATE KEY");
        let escaped = key.replace('\n', "\\n");
        for (text, line) in [
            (format!("{{\n \"private_key\": \"{escaped}\"}}"), 2),
            (format!("KEY='{}'", escaped.replace("\\n", "\\r\\n")), 1),
            (format!("K = \"\"\"{}\"\"\"\n", &key[2..]), 1),
            (format!("K = (\"-----BEGIN PRIVATE KEY-----\\n\"\n  \"{body}\\n\")"), 1),
        ] {
            assert_eq!(private_key(&text), Some(line), "{text}");
        }
        for text in [
            "starts = text.startswith(\"-----BEGIN PRIVATE KEY-----\")\nreturn starts\n",
            "K = \"-----BEGIN PRIVATE KEY-----\\n...\\n-----END PRIVATE KEY-----\"",
        ] {
            assert!(private_key(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_access_key_is_a_word_of_its_own() {
        assert_eq!(access_key("a\nkey = 'AKIA2E0A8F3B244C9986'"), Some(2));
        for text in
            ["AKIAIOSFODNN7EXAMPLE", "AKIA", "xAKIA2E0A8F3B244C9986", "AKIA2e0A8F3B244C9986"]
        {
            assert!(access_key(text).is_none(), "{text}");
        }
    }
}
