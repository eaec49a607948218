//! Files of a crate import each other without cycles, so that each can be read after those that it
//! imports. A folder and the files in it count as one: a module re-exports its parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module as its path: `["files", "walk"]`.
type Module = Vec<String>;

/// Cycles that are left, each with its reason.
const ALLOWED: [(&str, &str); 1] =
    [("targets", "the keys of a kind name targets of other kinds, in both directions")];

#[test]
fn files_do_not_import_each_other_in_a_cycle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let mut folders: Vec<_> = crates.map(|entry| entry.unwrap().path().join("src")).collect();
    folders.push(root.join("src"));
    let mut found = Vec::new();
    for folder in folders {
        let imports = imports(&folder);
        for module in imports.keys() {
            if let Some(cycle) = cycle(module, &imports)
                && !ALLOWED.iter().any(|(allowed, _)| module[0] == *allowed)
            {
                let names: Vec<String> = cycle.iter().map(|module| module.join("::")).collect();
                found.push(format!("{}: {}", folder.display(), names.join(" → ")));
            }
        }
    }
    assert!(found.is_empty(), "files import each other:\n{}", found.join("\n"));
}

/// Returns the shortest way from `start` back to it, if there is one.
fn cycle(start: &Module, imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &imports[way.last().unwrap()] {
                let way: Vec<Module> = way.iter().cloned().chain([next.clone()]).collect();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// Returns for each file of a crate the files that it imports, tests excepted.
fn imports(folder: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut texts = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(folder).unwrap().with_extension("");
        let is_source = entry.path().extension().is_some_and(|extension| extension == "rs");
        if !is_source || path.ends_with("tests") || path.ends_with("testing") {
            continue;
        }
        let mut module: Module = path.iter().map(|part| part.to_str().unwrap().into()).collect();
        if ["mod", "lib", "main"].contains(&module.last().unwrap().as_str()) {
            module.pop();
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
        texts.insert(module, text);
    }
    let imported = |module: &Module| {
        let paths = paths(&texts[module], module);
        let files = paths.iter().filter_map(|path| {
            let file = (1..=path.len()).rev().map(|end| &path[..end]);
            file.map(<[String]>::to_vec).find(|file| texts.contains_key(file))
        });
        files.filter(|file| !file.starts_with(module) && !module.starts_with(file)).collect()
    };
    texts.keys().map(|module| (module.clone(), imported(module))).collect()
}

/// Returns all paths below the crate that a text names, `module` being its own.
fn paths(text: &str, module: &Module) -> Vec<Module> {
    let code: Vec<&str> =
        text.lines().map(|line| line.split("//").next().unwrap().trim()).collect();
    let code = code.join(" ");
    let mut paths = Vec::new();
    for (root, base) in [("crate::", &[][..]), ("super::", &module[..module.len().max(1) - 1])] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &code[at + root.len()..];
            let mut base = base.to_vec();
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            expand(&base, rest, &mut paths);
        }
    }
    paths
}

/// Adds the paths of a `use` tree, or of a path in code, that `text` begins with. Returns the rest.
fn expand<'a>(base: &[String], text: &'a str, paths: &mut Vec<Module>) -> &'a str {
    let mut path = base.to_vec();
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if end > 0 && &rest[..end] != "self" {
            path.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        let Some(after) = rest.strip_prefix("::") else { break };
        rest = after;
        if let Some(mut list) = rest.strip_prefix('{') {
            loop {
                list = expand(&path, list.trim_start(), paths);
                let Some(next) = list.find([',', '}']) else { return list };
                let ends = list[next..].starts_with('}');
                list = &list[next + 1..];
                if ends || list.trim_start().starts_with('}') {
                    return list;
                }
            }
        }
    }
    paths.push(path);
    rest
}
