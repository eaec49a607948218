//! Places where a Python finds modules: the bundle, the folders that its `.pth` files name, and
//! layers; and the file of a folder that an import loads.

use std::collections::HashSet;
use std::io::{Read, Seek};

use anyhow::Result;

use super::archive::{self, Contents, Member};
use super::layer::{self, Layer};
use super::runtime::Python;

/// The file of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'a> {
    pub(super) member: &'a Member,
    /// Whether it is source text, unlike bytecode and extension modules.
    pub(super) is_source: bool,
    /// Whether it is a package's `__init__`.
    pub(super) is_init: bool,
}

/// A folder in the search path.
pub(super) struct Root<'a> {
    /// Whether it is in the bundle, not in a layer.
    pub(super) is_own: bool,
    /// Path with its final `/`, or empty.
    prefix: String,
    members: &'a [Member],
    folders: HashSet<&'a str>,
}

impl<'a> Root<'a> {
    fn new(members: &'a [Member], prefix: String, is_own: bool) -> Self {
        let mut folders = HashSet::new();
        for member in members.iter().filter(|member| member.name.starts_with(&prefix)) {
            let mut folder = member.folder();
            while folder.len() > prefix.len() && folders.insert(&folder[prefix.len()..]) {
                folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
            }
        }
        Self { is_own, prefix, members, folders }
    }

    /// Returns the file that an import of `a/b` loads.
    pub(super) fn file(&self, path: &str) -> Option<File<'a>> {
        find(self.members, &format!("{}{path}", self.prefix))
    }

    /// Returns whether a folder of this path exists, which is a package even without `__init__.py`.
    pub(super) fn has_folder(&self, path: &str) -> bool {
        self.folders.contains(path)
    }
}

/// Returns the search path of a function, without the folders of the runtime.
pub(super) fn search_path<'a, R: Read + Seek>(
    view: &'a [Member],
    contents: &mut Contents<R>,
    layers: &'a [Layer<R>],
    python: Python,
) -> Result<Vec<Root<'a>>> {
    let mut roots = vec![Root::new(view, String::new(), true)];
    for folder in folders_of_pth(view, contents)? {
        roots.push(Root::new(view, folder + "/", true));
    }
    for layer in layers {
        for folder in layer::search_path(Some(python)) {
            roots.push(Root::new(&layer.members, folder, false));
        }
    }
    Ok(roots)
}

/// Returns the folders that `.pth` files at the root name: Lambda's runtimes read those files.
fn folders_of_pth<R: Read + Seek>(
    view: &[Member],
    contents: &mut Contents<R>,
) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    let is_pth = |member: &&Member| {
        member.is_file() && member.folder().is_empty() && member.name.ends_with(".pth")
    };
    for member in view.iter().filter(is_pth) {
        let text = String::from_utf8_lossy(&contents.whole(member)?).into_owned();
        let lines = text.lines().map(str::trim_end);
        let is_path = |line: &&str| !line.is_empty() && !line.starts_with(['#', '/']);
        let is_code = |line: &&str| line.starts_with("import ") || line.starts_with("import\t");
        let paths = lines.filter(is_path).filter(|line| !is_code(line));
        folders
            .extend(paths.map(|path| path.trim_start_matches("./").trim_matches('/').to_owned()));
    }
    folders.retain(|folder| !folder.is_empty() && folder != ".");
    Ok(folders)
}

/// Returns the file that an import of `a/b` loads, in Python's order.
pub(super) fn find<'a>(members: &'a [Member], path: &str) -> Option<File<'a>> {
    let file = |name: String, is_source, is_init| {
        let member = archive::find(members, &name).filter(|member| member.is_file())?;
        Some(File { member, is_source, is_init })
    };
    file(format!("{path}/__init__.py"), true, true)
        .or_else(|| file(format!("{path}/__init__.pyc"), false, true))
        .or_else(|| extension(members, &format!("{path}/__init__"), true))
        .or_else(|| extension(members, path, false))
        .or_else(|| file(format!("{path}.py"), true, false))
        .or_else(|| file(format!("{path}.pyc"), false, false))
}

/// Finds an extension module: `a/b.so`, `a/b.abi3.so`, `a/b.cpython-313-x86_64-linux-gnu.so`.
fn extension<'a>(members: &'a [Member], path: &str, is_init: bool) -> Option<File<'a>> {
    let prefix = format!("{path}.");
    let from = members.partition_point(|member| member.name < prefix);
    let named = members[from..].iter().take_while(|member| member.name.starts_with(&prefix));
    let is_module = |member: &&Member| {
        let rest = &member.name[prefix.len()..];
        member.is_file() && !rest.contains('/') && (rest == "so" || rest.ends_with(".so"))
    };
    let member = named.into_iter().find(is_module)?;
    Some(File { member, is_source: false, is_init })
}
