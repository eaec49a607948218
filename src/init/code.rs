//! The Python files of a function: where its handler is, which folder becomes the root of the bundle,
//! and which of the project's own modules it imports.

use std::collections::{BTreeSet, VecDeque};

use super::described::{join, parent};
use super::survey::{Survey, is_below, is_test};
use crate::check::{Handler, Imported};

/// Files that are scripts of a project and no modules of a function.
const SCRIPTS: [&str; 5] = ["setup.py", "noxfile.py", "tasks.py", "conftest.py", "manage.py"];

/// Names that win over others in the same file.
const USUAL: [&str; 2] = ["lambda_handler", "handler"];

/// A handler that was found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) file: String,
    pub(super) line: usize,
    /// The folder that becomes the root of the bundle.
    pub(super) folder: String,
    /// `module.function`, relative to `folder`.
    pub(super) handler: String,
}

fn modules(survey: &Survey) -> impl Iterator<Item = &str> {
    survey.below("").filter(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        path.ends_with(".py") && !is_test(path) && !SCRIPTS.contains(&name)
    })
}

/// Returns a note on each file that does not parse, a few at most.
pub(super) fn unread(survey: &Survey) -> impl Iterator<Item = String> {
    let unread = modules(survey).filter(|path| survey.outline(path).is_none()).take(5);
    unread.map(|path| match survey.error(path) {
        Some(error) => format!("`{path}` was not read: {error}"),
        None => format!(
            "`{path}` was not read: `python3 -m py_compile {path}` prints its syntax error, if any"
        ),
    })
}

/// Returns the handlers of all files that are not tests.
pub(super) fn handlers(survey: &Survey) -> Vec<Found> {
    let mut found = Vec::new();
    for file in modules(survey) {
        let Some(outline) = survey.outline(file) else { continue };
        let Some(folder) = root(survey, file, &outline.imports) else { continue };
        for handler in preferred(&outline.handlers) {
            let module = module(file, &folder);
            found.push(Found {
                file: file.to_owned(),
                line: handler.line,
                handler: format!("{module}.{}", handler.name),
                folder: folder.clone(),
            });
        }
    }
    found
}

/// The handlers of a file that count: the one of a usual name if there is one, functions before
/// results of calls.
fn preferred(handlers: &[Handler]) -> Vec<&Handler> {
    let usual = |name: &str| handlers.iter().find(|handler| handler.name == name);
    match USUAL.iter().find_map(|name| usual(name)) {
        Some(handler) => vec![handler],
        None => handlers.iter().filter(|handler| handler.is_function).collect(),
    }
}

/// `pkg.mod` for `src/pkg/mod.py` in the folder `src`.
fn module(file: &str, folder: &str) -> String {
    let below = if folder.is_empty() { file } else { &file[folder.len() + 1..] };
    let module = below.strip_suffix(".py").unwrap_or(below);
    module.strip_suffix("/__init__").unwrap_or(module).replace('/', ".")
}

/// Returns the file of a handler's module in the bundle made of `folder`.
pub(super) fn file_of(survey: &Survey, folder: &str, handler: &str) -> Option<String> {
    let (module, _) = handler.rsplit_once('.')?;
    let path = join(folder, &module.replace('.', "/"));
    [format!("{path}.py"), format!("{path}/__init__.py")].into_iter().find(|path| survey.has(path))
}

/// Returns the folder from which the imports of a file work: the one that holds its outermost package,
/// or one further up if more of its imports are there. `None` for a relative import that leads out
/// of the project.
fn root(survey: &Survey, file: &str, imports: &[Imported]) -> Option<String> {
    let mut folder = parent(file);
    while !folder.is_empty() && survey.has(&format!("{folder}/__init__.py")) {
        folder = parent(folder);
    }
    // A folder without an `__init__.py` is a package too, if a file in it has relative imports.
    let levels = imports.iter().map(|import| import.level).max().unwrap_or(0);
    let mut package = parent(file);
    for _ in 0..levels {
        if package.is_empty() {
            return None;
        }
        if is_below(folder, package) || folder == package {
            folder = parent(package);
        }
        package = parent(package);
    }
    let mut best = (resolved(survey, folder, imports), folder);
    let mut above = folder;
    while !above.is_empty() {
        above = parent(above);
        let count = resolved(survey, above, imports);
        if count > best.0 {
            best = (count, above);
        }
    }
    Some(best.1.to_owned())
}

/// The number of absolute imports that are modules in `folder`.
fn resolved(survey: &Survey, folder: &str, imports: &[Imported]) -> usize {
    let firsts =
        imports.iter().filter(|import| import.level == 0).filter_map(|it| it.module.first());
    firsts.filter(|name| top(survey, folder, name).is_some()).count()
}

/// The file or folder of a module in `folder`, relative to the project.
fn top(survey: &Survey, folder: &str, name: &str) -> Option<String> {
    let path = join(folder, name);
    let file = format!("{path}.py");
    if survey.has(&file) {
        return Some(file);
    }
    let has_modules = survey.below(&path).any(|file| file.ends_with(".py"));
    has_modules.then_some(path)
}

/// Returns the modules and packages directly in `folder` that these files are in or import, directly
/// or by way of others.
pub(super) fn closure(survey: &Survey, folder: &str, files: &[&str]) -> BTreeSet<String> {
    let mut tops = BTreeSet::new();
    let mut queue: VecDeque<String> = VecDeque::new();
    for file in files {
        let below = if folder.is_empty() { *file } else { &file[folder.len() + 1..] };
        let first = below.split('/').next().unwrap_or(below);
        queue.push_back(join(folder, first));
    }
    while let Some(next) = queue.pop_front() {
        if !tops.insert(next.clone()) {
            continue;
        }
        let within: Vec<&str> = match survey.has(&next) {
            true => vec![&next],
            false => survey.below(&next).filter(|path| path.ends_with(".py")).collect(),
        };
        for file in within.into_iter().filter(|path| !is_test(path)) {
            let imports = survey.outline(file).unwrap_or_default().imports;
            let absolute = imports.iter().filter(|import| import.level == 0);
            let firsts = absolute.filter_map(|import| import.module.first());
            queue.extend(firsts.filter_map(|name| top(survey, folder, name)));
        }
    }
    tops
}
