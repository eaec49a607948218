//! Symbolic links in a bundle, resolved as Lambda resolves them after unpacking.

use std::collections::HashMap;
use std::io::{Read, Seek};

use anyhow::Result;

use super::archive::{Archive, Contents, Fault, FaultKind, Kind, Member};

/// Longest path on Linux, in bytes.
const LONGEST: u64 = 4096;
/// Largest number of links followed on one path, as on Linux.
const MOST_LINKS: usize = 40;
/// Largest number of names that links add: a link to a folder adds a name for every member of it,
/// so a small bundle could have too many.
const MOST_NAMES: usize = 200_000;

/// Where Lambda unpacks the bundle.
const ROOT: &str = "/var/task/";
/// Folders that a function sees outside its bundle.
const ELSEWHERE: [&str; 11] = [
    "/bin/", "/dev/", "/etc/", "/lib", "/mnt/", "/opt/", "/proc/", "/sbin/", "/tmp", "/usr/",
    "/var/",
];

/// Opens a bundle, and follows its links.
pub(super) fn open<R: Read + Seek>(zip: R) -> Result<Archive<R>> {
    let mut archive = Archive::open(zip)?;
    let Archive { members, linked, contents, faults } = &mut archive;
    *linked = follow(members, contents, faults)?;
    Ok(archive)
}

/// Returns the files that links lead to, under the names of the links. In linked folders, further
/// links are followed one level deep.
fn follow<R: Read + Seek>(
    members: &[Member],
    contents: &mut Contents<R>,
    faults: &mut Vec<Fault>,
) -> Result<Vec<Member>> {
    let mut targets: HashMap<&str, String> = HashMap::new();
    for link in members.iter().filter(|member| member.kind == Kind::Link) {
        let text = String::from_utf8_lossy(&contents.start(link, LONGEST)?).into_owned();
        targets.insert(&link.name, text);
    }
    let mut linked = Vec::new();
    for link in members.iter().filter(|member| member.kind == Kind::Link) {
        let text = &targets[link.name.as_str()];
        let lost = Fault { member: link.raw.clone(), kind: FaultKind::Dangling(text.clone()) };
        match resolve(link, &targets) {
            Target::Elsewhere => {}
            Target::Lost => faults.push(lost),
            Target::Path(path) => {
                let found = below(members, &path);
                if found.is_empty() && !path.is_empty() {
                    faults.push(lost);
                }
                for target in found {
                    if linked.len() >= MOST_NAMES {
                        break;
                    }
                    let rest = &target.name[path.len()..];
                    linked.push(Member { name: format!("{}{rest}", link.name), ..target.clone() });
                }
            }
        }
    }
    linked.sort_by(|a: &Member, b: &Member| a.name.cmp(&b.name));
    Ok(linked)
}

enum Target {
    /// A path in the bundle.
    Path(String),
    /// Outside of the bundle, where a file may exist.
    Elsewhere,
    Lost,
}

fn resolve(link: &Member, targets: &HashMap<&str, String>) -> Target {
    let (mut name, mut text) = (link.name.clone(), targets[link.name.as_str()].clone());
    for _ in 0..MOST_LINKS {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match text.strip_prefix(ROOT) {
            Some(path) => join("", path),
            None if text.starts_with('/') => {
                let is_there = ELSEWHERE.iter().any(|folder| text.starts_with(folder));
                return if is_there { Target::Elsewhere } else { Target::Lost };
            }
            None => join(folder, &text),
        };
        let Some(path) = path else { return Target::Lost };
        // The first link on the path: the path itself, or one of its folders.
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let through = ends.map(|end| &path[..end]).find(|part| targets.contains_key(part));
        let Some(through) = through else { return Target::Path(path) };
        let rest = path[through.len()..].to_owned();
        text = format!("{}{rest}", targets[through]);
        name = through.to_owned();
    }
    Target::Lost
}

/// Joins a folder and a path; `None` if the result leaves the bundle.
fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the member of this path, and all members below it if it is a folder, without links.
fn below<'a>(members: &'a [Member], path: &str) -> Vec<&'a Member> {
    let is_in = |member: &&Member| {
        let rest = member.name.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let members = members.iter().filter(|member| member.kind != Kind::Link);
    if path.is_empty() { Vec::new() } else { members.filter(is_in).collect() }
}
