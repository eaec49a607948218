//! The parts of a Python file that matter for a bundle: functions that Lambda could call, and the
//! modules that are imported anywhere in the file.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, Parameters, PythonVersion, Stmt};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};
use ruff_text_size::Ranged;

use super::{DEEPEST, STACK, STACK_PER_BYTE, depth, text};
use crate::check::runtime::Python;

/// Longer files are generated, and no place for a handler.
const LONGEST: usize = 1 << 20;

/// Names of the first and the second parameter by which a handler is recognized.
const EVENTS: [&str; 5] = ["event", "_event", "evt", "events", "raw_event"];
const CONTEXTS: [&str; 6] = ["context", "_context", "ctx", "_ctx", "lambda_context", "_"];

/// Names that an object other than a function has if it is a handler, as in `handler = Mangum(app)`.
const USUAL: [&str; 2] = ["handler", "lambda_handler"];

/// The result of reading a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    pub handlers: Vec<Handler>,
    pub imports: Vec<Imported>,
}

/// A name at the top level of a file that Lambda could call with an event and a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    pub name: String,
    /// From 1.
    pub line: usize,
    /// Whether it is a function with parameters for both, and not the result of a call.
    pub is_function: bool,
}

/// `from ..a import b` has level 2, the module `a` and the name `b`; `import a.b` has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub level: u32,
    pub module: Vec<String>,
    pub name: Option<String>,
}

/// Reads the outline of a Python file. Returns `None` if the file does not parse, is too long, or is
/// too deeply nested.
///
/// Runs on a thread of its own, whose stack fits the deepest tree that the file can hold.
pub fn outline(bytes: &[u8]) -> Option<Outline> {
    if bytes.len() > LONGEST {
        return None;
    }
    let text = text::decode(bytes, Python::newest()).ok()??;
    let stack = STACK + STACK_PER_BYTE * bytes.len();
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(stack);
        reader.spawn_scoped(scope, || parse(&text)).ok()?.join().ok()?
    })
}

fn parse(text: &str) -> Option<Outline> {
    let version = PythonVersion { major: 3, minor: Python::newest().minor };
    let options = ParseOptions::from(Mode::Module)
        .with_target_version(version)
        .with_max_recursion_depth(DEEPEST);
    let parsed = parse_unchecked(text, options).try_into_module()?;
    if depth::of(parsed.suite()) > usize::from(DEEPEST) * 8 {
        // Dropping it would recurse as deeply.
        std::mem::forget(parsed);
        return None;
    }
    if !parsed.errors().is_empty() {
        return None;
    }
    let mut imports = Imports::default();
    imports.visit_body(parsed.suite());
    let handlers = parsed.suite().iter().filter_map(|statement| handler(statement, text)).collect();
    Some(Outline { handlers, imports: imports.found })
}

fn handler(statement: &Stmt, text: &str) -> Option<Handler> {
    let found = |name: &str, at: usize, is_function| Handler {
        name: name.to_owned(),
        line: text::line_of(text, at),
        is_function,
    };
    match statement {
        Stmt::FunctionDef(function) if !function.is_async => is_called(&function.parameters)
            .then(|| found(&function.name, function.name.start().to_usize(), true)),
        Stmt::Assign(assign) => {
            let [Expr::Name(name)] = assign.targets.as_slice() else { return None };
            let is_function = match &*assign.value {
                Expr::Lambda(lambda) => lambda.parameters.as_deref().is_some_and(is_called),
                _ => false,
            };
            let is_usual = USUAL.contains(&name.id.as_str());
            (is_function || is_usual && matches!(*assign.value, Expr::Call(_)))
                .then(|| found(&name.id, name.start().to_usize(), is_function))
        }
        _ => None,
    }
}

/// Returns whether the parameters are those of a handler: an event and a context, by their names.
fn is_called(parameters: &Parameters) -> bool {
    let mut positional = parameters.posonlyargs.iter().chain(&parameters.args);
    let (Some(event), Some(context)) = (positional.next(), positional.next()) else {
        return false;
    };
    EVENTS.contains(&event.name().as_str())
        && CONTEXTS.contains(&context.name().as_str())
        && positional.all(|more| more.default.is_some())
        && parameters.kwonlyargs.iter().all(|more| more.default.is_some())
}

#[derive(Default)]
struct Imports {
    found: Vec<Imported>,
}

impl<'a> Visitor<'a> for Imports {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Import(import) => {
                let modules = import.names.iter().map(|alias| parts(&alias.name));
                let imports = modules.map(|module| Imported { level: 0, module, name: None });
                self.found.extend(imports);
            }
            Stmt::ImportFrom(ast::StmtImportFrom { module, names, level, .. }) => {
                let module = module.as_ref().map(|module| parts(module)).unwrap_or_default();
                self.found.extend(names.iter().map(|alias| Imported {
                    level: *level,
                    module: module.clone(),
                    name: Some(alias.name.to_string()),
                }));
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    // No expression has an import in it.
    fn visit_expr(&mut self, _: &'a Expr) {}
}

fn parts(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let outline = outline(text.as_bytes()).unwrap();
        outline.handlers.into_iter().map(|handler| handler.name).collect()
    }

    #[test]
    fn handlers_are_functions_of_an_event_and_a_context() {
        let found = names(
            "from mangum import Mangum\n\
             def lambda_handler(event, context): ...\n\
             @tracer.capture\ndef decorated(event: dict, context, retries=3): ...\n\
             def helper(event, other): ...\n\
             def three(event, context, more): ...\n\
             async def later(event, context): ...\n\
             class A:\n    def method(event, context): ...\n\
             short = lambda event, context: event\n\
             double = lambda number: 2 * number\n\
             handler = Mangum(app)\n",
        );
        assert_eq!(found, ["lambda_handler", "decorated", "short", "handler"]);
    }

    #[test]
    fn imports_are_found_wherever_they_are() {
        let text = "import a.b, c\ndef f():\n    from .d import e\nif x:\n    from . import g\n";
        let import = |level, module: &[&str], name: Option<&str>| Imported {
            level,
            module: module.iter().map(ToString::to_string).collect(),
            name: name.map(str::to_owned),
        };
        let expected = [
            import(0, &["a", "b"], None),
            import(0, &["c"], None),
            import(1, &["d"], Some("e")),
            import(1, &[], Some("g")),
        ];
        assert_eq!(outline(text.as_bytes()).unwrap().imports, expected);
    }

    #[test]
    fn a_file_that_does_not_parse_has_no_outline() {
        assert_eq!(outline(b"def f(:\n"), None);
        assert_eq!(outline("(".repeat(100_000).as_bytes()), None);
    }
}
