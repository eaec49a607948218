//! Functions grouped by bundle: those with the same code, runtime and architecture share one.

use std::collections::BTreeSet;

use anyhow::Result;

use super::code::{self, Found};
use super::described::{Function, is_python, join, parent};
use super::packaging::{self, Export, Holds, Package, Tool, Wheels};
use super::survey::{Survey, is_below, is_test};
use super::{Given, Taken};
use crate::targets::upload;

/// A function whose handler is in a file of the project.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The name for its targets.
    pub(super) name: String,
    /// Its name in Lambda, and whether that is a guess.
    pub(super) lambda_name: String,
    pub(super) is_guess: bool,
    pub(super) handler: String,
    pub(super) timeout: Option<u64>,
    /// A file with an event to call it with.
    pub(super) payload: Option<String>,
    file: String,
    folder: String,
    runtime: Option<String>,
    arch: Option<String>,
    taken: Vec<Taken>,
}

/// Functions that share a zip.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// What its targets are called after, if it is not the only bundle.
    pub(super) label: String,
    pub(super) functions: Vec<Resolved>,
    /// The number of Lambda's runtime, `3.13`.
    pub(super) python: Option<String>,
    pub(super) arch: Option<String>,
    pub(super) wheels: Wheels,
    /// Own modules, each at its own path.
    pub(super) modules: Vec<String>,
    /// A folder that becomes the root of the bundle.
    pub(super) folder: Option<String>,
    /// Paths and patterns in the bundle.
    pub(super) exclude: Vec<String>,
    pub(super) taken: Vec<Taken>,
}

impl Resolved {
    pub(super) fn described(function: Function, handler: String, file: String) -> Self {
        let Function { name, lambda_name, folder, runtime, arch, timeout, origin, .. } = function;
        let lambda_name = lambda_name.filter(|name| upload::is_function(name));
        let mut taken = vec![fact("handler", &handler, &origin)];
        taken.extend(lambda_name.iter().map(|name| fact("function", name, &origin)));
        taken.extend(runtime.iter().map(|runtime| fact("runtime", runtime, &origin)));
        taken.extend(arch.iter().map(|arch| fact("architecture", arch, &origin)));
        Self {
            name: plain(&name),
            is_guess: lambda_name.is_none(),
            lambda_name: lambda_name.unwrap_or_else(|| plain(&name)),
            handler,
            timeout,
            payload: None,
            file,
            folder,
            runtime,
            arch,
            taken,
        }
    }

    pub(super) fn found(survey: &Survey, found: &Found) -> Self {
        let origin = format!("`{}`, line {}", found.file, found.line);
        Self::guessed(survey, &found.handler, &found.folder, &found.file, &origin)
    }

    /// A function of which only the handler is there.
    pub(super) fn given(survey: &Survey, handler: &str, folder: &str, file: &str) -> Self {
        Self::guessed(survey, handler, folder, file, "--handler")
    }

    fn guessed(survey: &Survey, handler: &str, folder: &str, file: &str, origin: &str) -> Self {
        let project = survey.root().file_name().and_then(|name| name.to_str());
        let project = plain(project.unwrap_or("function"));
        // `orders` for `functions/orders/handler.py`
        let folder_name = folder.rsplit('/').next().filter(|name| !["", "src"].contains(name));
        Self {
            name: plain(folder_name.unwrap_or(&project)),
            lambda_name: plain(folder_name.unwrap_or(&project)),
            is_guess: true,
            handler: handler.to_owned(),
            timeout: None,
            payload: None,
            file: file.to_owned(),
            folder: folder.to_owned(),
            runtime: None,
            arch: None,
            taken: vec![fact("handler", handler, origin)],
        }
    }
}

pub(super) fn fact(what: &'static str, value: &str, from: &str) -> Taken {
    Taken { what, value: value.to_owned(), from: from.to_owned() }
}

/// A name that targets and functions may have.
fn plain(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "function".into() } else { plain.to_owned() }
}

/// Groups functions by the code, runtime and architecture that they have in common.
pub(super) fn group(
    survey: &Survey,
    mut functions: Vec<Resolved>,
    given: &Given,
    notes: &mut Vec<String>,
) -> Result<Vec<Bundle>> {
    let is_only = functions.len() == 1;
    for function in &mut functions {
        override_facts(function, given, is_only);
    }
    tell_apart(&mut functions);
    let mut groups: Vec<Vec<Resolved>> = Vec::new();
    for mut function in functions {
        function.payload = payload(survey, &function, is_only);
        let key = |it: &Resolved| (it.folder.clone(), it.runtime.clone(), it.arch.clone());
        match groups.iter_mut().find(|group| key(&group[0]) == key(&function)) {
            Some(group) => group.push(function),
            None => groups.push(vec![function]),
        }
    }
    let is_one = groups.len() == 1;
    let mut bundles: Vec<Bundle> = Vec::new();
    for group in groups {
        let mut bundle = bundle(survey, group, is_one, notes)?;
        if bundles.iter().any(|other| other.label == bundle.label) {
            bundle.label = format!("{}-{}", bundle.label, bundles.len() + 1);
        }
        bundles.push(bundle);
    }
    Ok(bundles)
}

fn override_facts(function: &mut Resolved, given: &Given, is_only: bool) {
    let taken = &mut function.taken;
    let mut replace = |what, value: &str| {
        taken.retain(|fact| fact.what != what);
        taken.push(fact(what, value, "the command line"));
    };
    if let Some(name) = given.function.as_ref().filter(|_| is_only) {
        replace("function", name);
        function.lambda_name.clone_from(name);
        function.is_guess = false;
    }
    if let Some(runtime) = &given.runtime {
        replace("runtime", runtime);
        function.runtime = Some(runtime.clone());
    }
    if let Some(arch) = &given.arch {
        replace("architecture", arch);
        function.arch = Some(arch.clone());
    }
    // A runtime without an architecture is on Lambda's default.
    if function.runtime.is_some() && function.arch.is_none() {
        function.arch = Some("x86_64".into());
    }
    if function.is_guess {
        let from = "a guess: correct it before `zipwright upload`";
        taken.push(fact("function", &function.lambda_name, from));
    }
}

/// Adds module names to functions of the same name, and then numbers.
fn tell_apart(functions: &mut [Resolved]) {
    for rename in [true, false] {
        let names: Vec<String> = functions.iter().map(|function| function.name.clone()).collect();
        for (at, function) in functions.iter_mut().enumerate() {
            if names.iter().filter(|name| **name == function.name).count() < 2 {
                continue;
            }
            let handler = function.handler.rsplit_once('.').map_or("", |(module, _)| module);
            function.name = match rename {
                true => plain(handler.rsplit(['.', '/']).next().unwrap_or(handler)),
                false => format!("{}-{}", function.name, at + 1),
            };
            if function.is_guess {
                let old = std::mem::replace(&mut function.lambda_name, function.name.clone());
                let is_old = |fact: &&mut Taken| fact.what == "function" && fact.value == old;
                if let Some(fact) = function.taken.iter_mut().find(is_old) {
                    fact.value.clone_from(&function.name);
                }
            }
        }
    }
}

/// A file with an event: one that is called after the function, or the usual one of the project.
fn payload(survey: &Survey, function: &Resolved, is_only: bool) -> Option<String> {
    const USUAL: [&str; 5] = [
        "events/event.json",
        "event.json",
        "example-payload.json",
        "payload.json",
        "events/test.json",
    ];
    let own = format!("events/{}.json", function.name);
    let beside = join(parent(&function.file), "event.json");
    let usual = USUAL.iter().filter(|_| is_only).map(ToString::to_string);
    [own, beside].into_iter().chain(usual).find(|path| {
        survey
            .text(path)
            .is_some_and(|text| serde_json::from_str::<serde_json::Value>(&text).is_ok())
    })
}

fn bundle(
    survey: &Survey,
    functions: Vec<Resolved>,
    is_one: bool,
    notes: &mut Vec<String>,
) -> Result<Bundle> {
    let first = &functions[0];
    let (wheels, package) = packaging::wheels(survey, &first.folder)?;
    if let Some((lock, tool)) = &wheels.unread_lock {
        notes.push(format!(
            "the versions in `{lock}` were not read: `{} > requirements.txt` makes a requirements file \
             of them, for `requirements`",
            tool.exports
        ));
    }
    if let Some(Export::Tool { tool, is_locked: false, .. }) = &wheels.export {
        let Tool { manifest, locks, .. } = tool;
        notes.push(format!(
            "`{manifest}` is not locked: `{locks}` is needed before the first build"
        ));
    }
    let label = match functions.as_slice() {
        _ if is_one => String::new(),
        [only] => only.name.clone(),
        _ => plain(first.folder.rsplit('/').next().unwrap_or_default()),
    };
    let mut taken: Vec<Taken> = Vec::new();
    for fact in functions.iter().flat_map(|function| &function.taken) {
        if !taken.contains(fact) {
            taken.push(fact.clone());
        }
    }
    let mut bundle = Bundle {
        label,
        python: first.runtime.as_deref().filter(|it| is_python(it)).map(|it| it[6..].to_owned()),
        arch: first.arch.clone(),
        wheels,
        modules: Vec::new(),
        folder: None,
        exclude: Vec::new(),
        taken,
        functions,
    };
    own_code(survey, package.as_ref(), &mut bundle);
    Ok(bundle)
}

/// Adds the project's own code, as far as it is not in the wheel of its package.
fn own_code(survey: &Survey, package: Option<&Package>, bundle: &mut Bundle) {
    let holds = |path: &str| package.map_or(Holds::No, |package| package.holds(path));
    let files: Vec<&str> = bundle.functions.iter().map(|function| function.file.as_str()).collect();
    let folder = bundle.functions[0].folder.clone();
    if files.iter().all(|file| holds(file) == Holds::Surely) {
        return;
    }
    if !folder.is_empty() {
        bundle.exclude = leftovers(survey, &folder, &folder);
        let own = ["requirements.txt", "constraints.txt"].map(|name| join(&folder, name));
        bundle
            .exclude
            .extend(own.iter().filter(|path| survey.has(path)).map(|path| below(path, &folder)));
        bundle.folder = Some(folder);
        return;
    }
    for top in code::closure(survey, &folder, &files) {
        let sample = match survey.has(&top) {
            true => top.clone(),
            false => format!("{top}/__init__.py"),
        };
        if holds(&sample) == Holds::Surely {
            continue;
        }
        if !survey.has(&top) {
            bundle.exclude.extend(leftovers(survey, &top, &folder));
        }
        bundle.modules.push(top);
    }
}

/// Excludes for tests, virtual environments and folders of tools below `top`, relative to `root`.
fn leftovers(survey: &Survey, top: &str, root: &str) -> Vec<String> {
    let mut patterns = BTreeSet::new();
    for path in survey.below(top).filter(|path| is_test(path)) {
        let folders = parent(path).match_indices('/').map(|(at, _)| &path[..at]);
        let folders = folders.chain([parent(path)]).filter(|folder| is_below(folder, top));
        // `is_test` of a file in a folder is true if the folder is one of tests.
        match folders.clone().find(|folder| is_test(&format!("{folder}/x"))) {
            Some(folder) => patterns.insert(below(folder, root)),
            None => {
                let folder = below(parent(path), root);
                let name = path.rsplit('/').next().unwrap_or_default();
                let pattern = if name.starts_with("test_") { "test_*.py" } else { name };
                patterns.insert(join(&folder, pattern))
            }
        };
    }
    patterns.extend(survey.left_out(top).map(|folder| below(folder, root)));
    patterns.into_iter().collect()
}

fn below(path: &str, folder: &str) -> String {
    match path.strip_prefix(folder).filter(|_| !folder.is_empty()) {
        Some(rest) => rest.trim_start_matches('/').to_owned(),
        None => path.to_owned(),
    }
}
