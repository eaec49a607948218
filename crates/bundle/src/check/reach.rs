//! The modules that the handler's module imports, and those that the project's own modules import
//! in turn: whether each is in the bundle, a layer, the standard library, or the runtime.
//!
//! Only the project's own files are read. Rule `requires` checks the declared requirements of
//! packages instead of their imports.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::rc::Rc;

use anyhow::Result;

use super::Subject;
use super::archive::{Contents, Member};
use super::modules::{File, Root};
use super::python::{self, Defined, Import, Source, Step};
use super::runtime::Python;
use super::stdlib::{self, Availability};
use super::wheels::Wheels;

/// Whether a statement runs always, and whether its failure has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Its failure is caught.
    Guarded,
    /// It is in a function, or under a condition.
    Perhaps,
    Surely,
}

/// The project's own sources, each read once.
pub(super) struct Sources<'a, R> {
    pub(super) contents: &'a mut Contents<R>,
    pub(super) wheels: &'a Wheels,
    pub(super) python: Python,
    read: HashMap<usize, Rc<Source>>,
}

impl<'a, R: Read + Seek> Sources<'a, R> {
    pub(super) fn new(contents: &'a mut Contents<R>, wheels: &'a Wheels, python: Python) -> Self {
        Self { contents, wheels, python, read: HashMap::new() }
    }

    pub(super) fn is_own(&self, member: &Member) -> bool {
        !self.wheels.origins.contains_key(&member.name)
    }

    pub(super) fn get(&mut self, member: &Member) -> Result<Rc<Source>> {
        if let Some(source) = self.read.get(&member.index) {
            return Ok(source.clone());
        }
        let bytes = self.contents.start(member, python::LONGEST + 1)?;
        let is_init = member.file_name() == "__init__.py";
        let source = Rc::new(python::read(&bytes, self.python, is_init)?);
        self.read.insert(member.index, source.clone());
        Ok(source)
    }
}

/// A module of the project that is being imported.
#[derive(Clone, Debug)]
struct Own {
    file: Member,
    /// `a.b` as `["a", "b"]`.
    name: Vec<String>,
    is_init: bool,
}

/// The module that an import loads.
enum Target {
    Own(Own),
    /// Not of the project, or unreadable, so that its names are unknown.
    Foreign,
    /// Folders without `__init__.py`.
    Namespace,
}

/// The result of a walk through a module.
#[derive(Clone, Copy)]
struct Walked {
    level: Level,
    /// Whether importing it always fails.
    fails: bool,
}

/// A module or name that an import does not find.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) kind: Kind,
    pub(super) level: Level,
    /// The file with the import.
    pub(super) member: String,
    /// The line of the import, from 1.
    pub(super) line: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `a.b`
    Module(String),
    /// A module of the project does not define a name.
    Name { module: String, name: String },
    /// `from .a import b` where there is no package.
    Relative(String),
}

pub(super) struct Reach<'a, 's, R> {
    pub(super) sources: &'s mut Sources<'a, R>,
    roots: &'s [Root<'s>],
    subject: &'s Subject,
    walked: HashMap<usize, Walked>,
    pub(super) missing: Vec<Missing>,
    /// Whether one of the modules changes the search path.
    pub(super) changes_path: bool,
}

impl<'a, 's, R: Read + Seek> Reach<'a, 's, R> {
    pub(super) fn new(
        sources: &'s mut Sources<'a, R>,
        roots: &'s [Root<'s>],
        subject: &'s Subject,
    ) -> Self {
        let (walked, missing) = (HashMap::new(), Vec::new());
        Self { sources, roots, subject, walked, missing, changes_path: false }
    }

    /// Follows the imports of the handler's module: `a/b` or `a.b`.
    pub(super) fn follow(&mut self, module: &str) -> Result<()> {
        let parts: Vec<String> = module.split(['/', '.']).map(str::to_owned).collect();
        self.import(&parts, Level::Surely).map(drop)
    }

    /// Imports a module and the packages that contain it. `Err` has the missing module.
    fn import(&mut self, name: &[String], level: Level) -> Result<Result<(Target, bool), Missing>> {
        let first = name[0].as_str();
        if stdlib::is_built_in(first) {
            return Ok(Ok((Target::Foreign, false)));
        }
        let mut roots: Vec<usize> = (0..self.roots.len()).collect();
        let mut fails = false;
        let mut last = Target::Foreign;
        for end in 1..=name.len() {
            let path = name[..end].join("/");
            let (file, folders) = self.look(&roots, &path);
            let Some((root, file)) = file else {
                if end == 1 && stdlib::look_up(first, self.sources.python) == Availability::There {
                    return Ok(Ok((Target::Foreign, fails)));
                }
                if folders.is_empty() {
                    let may_be_dynamic = end > 1 && !self.is_closed(&last)?;
                    if may_be_dynamic {
                        return Ok(Ok((Target::Foreign, fails)));
                    }
                    return Ok(Err(Missing::module(&name[..end], level)));
                }
                roots = folders;
                last = Target::Namespace;
                continue;
            };
            let is_own = self.roots[root].is_own && self.sources.is_own(file.member);
            last = match is_own && file.is_source {
                true => {
                    let name = name[..end].to_vec();
                    let own = Own { file: file.member.clone(), name, is_init: file.is_init };
                    fails |= self.execute(&own, level)?;
                    Target::Own(own)
                }
                false => Target::Foreign,
            };
            roots = if file.is_init { vec![root] } else { Vec::new() };
        }
        Ok(Ok((last, fails)))
    }

    /// Returns the first regular module of this path, or else the folders that form a namespace
    /// package.
    fn look(&self, roots: &[usize], path: &str) -> (Option<(usize, File<'s>)>, Vec<usize>) {
        let mut folders = Vec::new();
        for root in roots {
            if let Some(file) = self.roots[*root].file(path) {
                return (Some((*root, file)), folders);
            }
            if self.roots[*root].has_folder(path) {
                folders.push(*root);
            }
        }
        (None, folders)
    }

    /// Returns whether a package has no other modules than its files.
    fn is_closed(&mut self, target: &Target) -> Result<bool> {
        Ok(match target {
            Target::Namespace => true,
            Target::Foreign => false,
            Target::Own(own) => {
                let source = self.sources.get(&own.file)?;
                !source.changes_path && !source.unread
            }
        })
    }

    /// Follows the imports of a module of the project as if it ran, once for each level. Returns
    /// whether importing it fails.
    fn execute(&mut self, own: &Own, level: Level) -> Result<bool> {
        if let Some(walked) = self.walked.get(&own.file.index).filter(|it| it.level >= level) {
            return Ok(walked.fails);
        }
        // A circular import finds the module unfinished.
        self.walked.insert(own.file.index, Walked { level, fails: false });
        let source = self.sources.get(&own.file)?;
        self.changes_path |= source.changes_path;
        let fails = self.walk(&source.steps, own, level)?;
        self.walked.insert(own.file.index, Walked { level, fails });
        Ok(fails)
    }

    fn walk(&mut self, steps: &[Step], own: &Own, level: Level) -> Result<bool> {
        let mut fails = false;
        for step in steps {
            match step {
                Step::Import(import) => fails |= self.statement(import, own, level)?,
                Step::Perhaps(steps) => {
                    self.walk(steps, own, level.min(Level::Perhaps))?;
                }
                Step::Try { body, caught, saves, otherwise } => {
                    let inner = if *saves { Level::Guarded } else { level };
                    let failed = self.walk(body, own, inner)?;
                    fails |= failed && !saves;
                    let next = if failed { caught } else { otherwise };
                    fails |= self.walk(next, own, level)?;
                }
            }
        }
        Ok(fails)
    }

    /// Follows one `import` or `from … import …`. Returns whether it fails.
    fn statement(&mut self, import: &Import, own: &Own, level: Level) -> Result<bool> {
        let Some(module) = absolute(import, own) else {
            let missing = Missing::relative(import, level);
            return Ok(self.miss(missing, own, import.line));
        };
        let (target, mut fails) = match self.import(&module, level)? {
            Ok(found) => found,
            Err(missing) => return Ok(self.miss(missing, own, import.line)),
        };
        for name in &import.names {
            fails |= self.name(&target, &module, (name, import.line), own, level)?;
        }
        Ok(fails)
    }

    /// Resolves a name after `from … import`: an attribute of the module, or a module in the
    /// package.
    fn name(
        &mut self,
        target: &Target,
        module: &[String],
        (name, line): (&str, usize),
        own: &Own,
        level: Level,
    ) -> Result<bool> {
        let inner: Vec<String> = module.iter().cloned().chain([name.to_owned()]).collect();
        match target {
            Target::Foreign => Ok(false),
            Target::Namespace => match self.import(&inner, level)? {
                Ok((_, fails)) => Ok(fails),
                Err(missing) => Ok(self.miss(missing, own, line)),
            },
            Target::Own(package) => {
                let source = self.sources.get(&package.file)?;
                let is_known = source.unread
                    || !source.faults.is_empty()
                    || source.names.is_open
                    || source.changes_path
                    || name.starts_with("__");
                let is_module = package.is_init && self.is_module(&inner);
                if is_module {
                    return Ok(self.import(&inner, level)?.is_ok_and(|(_, fails)| fails));
                }
                if is_known || source.names.has(name) {
                    return Ok(false);
                }
                Ok(self.miss(Missing::name(module, name, level), own, line))
            }
        }
    }

    fn is_module(&self, name: &[String]) -> bool {
        let path = name.join("/");
        self.roots.iter().any(|root| root.file(&path).is_some() || root.has_folder(&path))
    }

    fn miss(&mut self, missing: Missing, own: &Own, line: usize) -> bool {
        if missing.level > Level::Guarded {
            let missing = Missing { member: own.file.name.clone(), line, ..missing };
            self.missing.push(missing);
        }
        // A layer that cannot be read may have the module.
        !self.subject.has_layers
    }

    /// Returns whether the walk included a member.
    pub(super) fn has_reached(&self, member: &Member) -> bool {
        self.walked.contains_key(&member.index)
    }
}

impl Missing {
    pub(super) fn module(name: &[String], level: Level) -> Self {
        Self { kind: Kind::Module(name.join(".")), level, member: String::new(), line: 0 }
    }

    pub(super) fn name(module: &[String], name: &str, level: Level) -> Self {
        let kind = Kind::Name { module: module.join("."), name: name.to_owned() };
        Self { kind, level, member: String::new(), line: 0 }
    }

    pub(super) fn relative(import: &Import, level: Level) -> Self {
        let kind = Kind::Relative(format!("{}{}", ".".repeat(import.level), import.module));
        Self { kind, level, member: String::new(), line: 0 }
    }
}

/// Returns the absolute name of the module that a statement imports from; `None` if its dots leave
/// the top package.
fn absolute(import: &Import, own: &Own) -> Option<Vec<String>> {
    let parts = import.module.split('.').filter(|part| !part.is_empty()).map(str::to_owned);
    if import.level == 0 {
        return Some(parts.collect());
    }
    // `.` is the package itself in an `__init__.py`, and the containing package in a module.
    let up = import.level - usize::from(own.is_init);
    let length = own.name.len().checked_sub(up).filter(|length| *length > 0)?;
    Some(own.name[..length].iter().cloned().chain(parts).collect())
}

/// Returns how Lambda's call of a handler fails; `None` if it does not.
pub(super) fn misfit(defined: &Defined) -> Option<String> {
    let function = match defined {
        Defined::Unknown => return None,
        Defined::Literal(what) => return Some(format!("is {what}, which cannot be called")),
        Defined::Function(function) => function,
    };
    let parameters = |number| zipwright_store::words::count(number, "parameter");
    if function.is_async {
        Some(
            "is `async`: Lambda does not wait for it, and fails on the coroutine it returns".into(),
        )
    } else if function.is_generator {
        Some("is a generator: its body does not run, and Lambda cannot convert its result".into())
    } else if let Some(name) = &function.keyword {
        Some(format!("must be given `{name}` by keyword, and Lambda passes an event and a context"))
    } else if function.least > 2 {
        let needs = parameters(function.least);
        Some(format!("needs {needs}, and Lambda passes two: an event and a context"))
    } else {
        let most = function.most.filter(|most| *most < 2)?;
        Some(format!("takes {}, and Lambda passes two: an event and a context", parameters(most)))
    }
}
