//! The places that requirements name, in one spelling: `tool.uv.sources`, URLs in requirements, and
//! the keys of a `uv.lock`.

use std::collections::BTreeSet;

use super::super::percent_decode;

/// Returns a URL, or the absolute path of `text` in the folder `base`, in a form that can be compared:
/// without credentials, codes and the slash at its end.
pub(super) fn place(text: &str, base: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return absolute(text.strip_prefix("file:").unwrap_or(text), base);
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if scheme.eq_ignore_ascii_case("file") {
        return absolute(&percent_decode(path), base);
    }
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = percent_decode(path.trim_end_matches('/'));
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

/// Returns the absolute path of `text` in the folder `base`, without `.` and `..`.
pub(super) fn absolute(text: &str, base: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let base = if text.starts_with('/') { "" } else { base };
    for part in base.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the source of a repository: URL, folder in it, and what of it is named: a tag, a branch or
/// a revision.
pub(super) fn repository(url: &str, mut query: BTreeSet<String>, base: &str) -> String {
    // Whether large files are fetched does not change which commit is meant.
    query.retain(|pair| !pair.starts_with("lfs="));
    let url = url.strip_prefix("git+").unwrap_or(url);
    let query: Vec<String> = query.iter().map(|pair| percent_decode(pair)).collect();
    format!("git {}?{}", place(url, base), query.join("&"))
}

/// Returns the source of an archive at a URL, of which a fragment only names the folder in it.
pub(super) fn archive(url: &str, subdirectory: Option<&str>, base: &str) -> String {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    let named = fragment.split('&').find_map(|pair| pair.strip_prefix("subdirectory="));
    let subdirectory = subdirectory.or(named).map(|folder| folder.trim_matches('/'));
    format!("url {}#{}", place(url, base), subdirectory.unwrap_or_default())
}

/// Returns the source of a file or folder. Whether a project is editable or virtual does not count.
pub(super) fn path(text: &str, base: &str) -> String {
    format!("path {}", place(text, base))
}

/// Returns the source of a requirement `NAME @ URL`; `None` if it cannot be compared.
pub(super) fn direct(url: &str, base: &str) -> Option<String> {
    // uv replaces variables, and this module reads none.
    if url.contains('$') {
        return None;
    }
    if let Some(rest) = url.strip_prefix("git+") {
        let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let slash = address.rfind('/').unwrap_or_default();
        let (address, revision) = match address[slash..].find('@') {
            Some(at) => (&address[..slash + at], Some(&address[slash + at + 1..])),
            None => (address, None),
        };
        let folder = fragment.split('&').filter(|pair| pair.starts_with("subdirectory="));
        let revision = revision.map(|revision| format!("rev={revision}"));
        let query = folder.map(str::to_owned).chain(revision).collect();
        return Some(repository(address, query, base));
    }
    match url.split_once(':')?.0.to_ascii_lowercase().as_str() {
        "http" | "https" => Some(archive(url, None, base)),
        "file" => Some(path(url.split('#').next().unwrap_or_default(), base)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_spelling() {
        for (one, other) in [
            ("https://me:pw@Index.example/simple/", "https://index.example/simple"),
            ("HTTPS://h/a%20b", "https://h/a b"),
            ("./libs/../dist/", "file:///srv/app/dist"),
            ("/srv/app/dist", "dist"),
        ] {
            assert_eq!(place(one, "/srv/app"), place(other, "/srv/app"), "{one}");
        }
        assert_ne!(place("https://h/a", ""), place("https://h/b", ""));
    }

    #[test]
    fn urls_of_requirements_are_those_of_lockfiles() {
        let git = |url: &str, query: &[&str]| {
            repository(url, query.iter().map(|pair| (*pair).to_owned()).collect(), "/w")
        };
        for (url, expected) in [
            ("git+https://h/r.git@v1", git("https://h/r.git", &["rev=v1"])),
            ("git+ssh://git@h/r#subdirectory=a", git("ssh://git@h/r", &["subdirectory=a"])),
            ("https://h/a.zip#subdirectory=b", archive("https://h/a.zip", Some("b"), "/w")),
            ("https://h/a.whl#sha256=00", archive("https://h/a.whl", None, "/w")),
            ("file:///w/libs/a", path("libs/a", "/w")),
        ] {
            assert_eq!(direct(url, "/w"), Some(expected), "{url}");
        }
        assert_eq!(direct("file:///${HOME}/a", "/w"), None);
        assert_eq!(direct("svn+https://h/a", "/w"), None);
    }
}
