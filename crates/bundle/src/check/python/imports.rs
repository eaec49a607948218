//! The imports of a module, in the order in which they run: unconditional ones, conditional ones,
//! and those whose failure is caught.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, CmpOp, Expr, Number, Stmt, UnaryOp};
use ruff_text_size::Ranged;

use super::text;
use crate::check::runtime::Python;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum Step {
    Import(Import),
    /// The body of a function, or a block under a condition whose value is unknown.
    Perhaps(Vec<Step>),
    /// A block whose failing imports are caught.
    Try {
        body: Vec<Step>,
        /// Runs if an import of `body` fails.
        caught: Vec<Step>,
        /// Whether the error is handled: `false` if `caught` raises in turn.
        saves: bool,
        /// Runs if no import fails.
        otherwise: Vec<Step>,
    },
}

/// `import a.b`, or `from ..a import b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Import {
    pub(in crate::check) line: usize,
    /// Dots before the module; 0 for an absolute import.
    pub(in crate::check) level: usize,
    /// Empty for `from . import b`.
    pub(in crate::check) module: String,
    /// The names after `import`; empty for `import a.b` and for `*`.
    pub(in crate::check) names: Vec<String>,
}

pub(super) fn steps(suite: &[Stmt], text: &str, python: Python) -> Vec<Step> {
    Reader { text, python }.block(suite)
}

/// Returns whether a module changes the sources of modules: `sys.path`, `sys.modules`, import
/// hooks.
pub(super) fn changes_path(suite: &[Stmt]) -> bool {
    struct Changes(bool);
    impl<'a> Visitor<'a> for Changes {
        fn visit_expr(&mut self, expression: &'a Expr) {
            if let Expr::Attribute(attribute) = expression {
                let of_sys =
                    matches!(&*attribute.value, Expr::Name(name) if name.id.as_str() == "sys");
                let name = attribute.attr.as_str();
                let names = ["path", "modules", "meta_path", "path_hooks"];
                self.0 |= of_sys && names.contains(&name) || name == "addsitedir";
                self.0 |= name == "__path__";
            }
            if let Expr::Name(name) = expression {
                self.0 |= matches!(name.id.as_str(), "__path__" | "addsitedir");
            }
            visitor::walk_expr(self, expression);
        }
        fn visit_stmt(&mut self, statement: &'a Stmt) {
            if let Stmt::ImportFrom(import) = statement {
                let from_sys = import.module.as_deref() == Some("sys");
                let is_path =
                    |alias: &ast::Alias| ["path", "modules"].contains(&alias.name.as_str());
                self.0 |= from_sys && import.names.iter().any(is_path);
            }
            visitor::walk_stmt(self, statement);
        }
    }
    let mut changes = Changes(false);
    changes.visit_body(suite);
    changes.0
}

struct Reader<'a> {
    text: &'a str,
    python: Python,
}

impl Reader<'_> {
    fn block(&self, body: &[Stmt]) -> Vec<Step> {
        let mut steps = Vec::new();
        for statement in body {
            self.statement(statement, &mut steps);
        }
        steps
    }

    fn perhaps(&self, body: &[Stmt], steps: &mut Vec<Step>) {
        let inner = self.block(body);
        if !inner.is_empty() {
            steps.push(Step::Perhaps(inner));
        }
    }

    fn statement(&self, statement: &Stmt, steps: &mut Vec<Step>) {
        match statement {
            Stmt::Import(import) => {
                let line = self.line(statement);
                steps.extend(import.names.iter().map(|alias| {
                    let module = alias.name.to_string();
                    Step::Import(Import { line, level: 0, module, names: Vec::new() })
                }));
            }
            Stmt::ImportFrom(import) => {
                let names = import.names.iter().map(|alias| alias.name.to_string());
                steps.push(Step::Import(Import {
                    line: self.line(statement),
                    level: import.level as usize,
                    module: import.module.as_ref().map(ToString::to_string).unwrap_or_default(),
                    names: names.filter(|name| name != "*").collect(),
                }));
            }
            Stmt::FunctionDef(function) => self.perhaps(&function.body, steps),
            Stmt::ClassDef(class) => steps.extend(self.block(&class.body)),
            Stmt::If(it) => self.branches(it, steps),
            Stmt::Try(it) => self.guarded(it, steps),
            Stmt::With(it) if it.items.iter().any(suppresses) => {
                let body = self.block(&it.body);
                let (caught, otherwise) = (Vec::new(), Vec::new());
                steps.push(Step::Try { body, caught, saves: true, otherwise });
            }
            Stmt::With(it) => steps.extend(self.block(&it.body)),
            Stmt::For(it) => {
                self.perhaps(&it.body, steps);
                self.perhaps(&it.orelse, steps);
            }
            Stmt::While(it) => {
                if truth(&it.test, self.python) != Some(false) {
                    self.perhaps(&it.body, steps);
                }
                self.perhaps(&it.orelse, steps);
            }
            Stmt::Match(it) => it.cases.iter().for_each(|case| self.perhaps(&case.body, steps)),
            _ => {}
        }
    }

    fn line(&self, statement: &Stmt) -> usize {
        text::line_of(self.text, statement.start().to_usize())
    }

    /// Adds the branches of `if` and `elif`, without those that never run.
    fn branches(&self, it: &ast::StmtIf, steps: &mut Vec<Step>) {
        let first = (Some(&*it.test), &it.body);
        let more = it.elif_else_clauses.iter().map(|clause| (clause.test.as_ref(), &clause.body));
        let mut is_first_possible = true;
        for (test, body) in std::iter::once(first).chain(more) {
            match test.map_or(Some(true), |test| truth(test, self.python)) {
                Some(false) => {}
                Some(true) if is_first_possible => return steps.extend(self.block(body)),
                Some(true) => return self.perhaps(body, steps),
                None => {
                    is_first_possible = false;
                    self.perhaps(body, steps);
                }
            }
        }
    }

    fn guarded(&self, it: &ast::StmtTry, steps: &mut Vec<Step>) {
        let mut caught = None;
        for handler in &it.handlers {
            let ast::ExceptHandler::ExceptHandler(handler) = handler;
            let is_guard = handler.type_.as_deref().is_none_or(catches);
            match is_guard && caught.is_none() {
                true => caught = Some(&handler.body),
                false => self.perhaps(&handler.body, steps),
            }
        }
        let (body, otherwise) = (self.block(&it.body), self.block(&it.orelse));
        match caught {
            Some(handler) => steps.push(Step::Try {
                body,
                caught: self.block(handler),
                saves: !ends(handler),
                otherwise,
            }),
            None => steps.extend(body.into_iter().chain(otherwise)),
        }
        steps.extend(self.block(&it.finalbody));
    }
}

/// Returns whether an exception, or one of a tuple, is raised by a failing import.
fn catches(exception: &Expr) -> bool {
    match exception {
        Expr::Tuple(tuple) => tuple.elts.iter().any(catches),
        exception => last_name(exception).is_some_and(|name| {
            ["ImportError", "ModuleNotFoundError", "Exception", "BaseException"].contains(&name)
        }),
    }
}

/// Returns whether an item is `contextlib.suppress(ImportError)`.
fn suppresses(item: &ast::WithItem) -> bool {
    match &item.context_expr {
        Expr::Call(call) => {
            last_name(&call.func) == Some("suppress") && call.arguments.args.iter().any(catches)
        }
        _ => false,
    }
}

/// Returns whether a block ends by raising or by leaving the program.
fn ends(body: &[Stmt]) -> bool {
    match body.last() {
        Some(Stmt::Raise(_)) => true,
        Some(Stmt::Expr(it)) => match &*it.value {
            Expr::Call(call) => {
                last_name(&call.func).is_some_and(|name| ["exit", "quit", "_exit"].contains(&name))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Returns `c` of `a.b.c`.
fn last_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Name(name) => Some(name.id.as_str()),
        Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
        _ => None,
    }
}

/// Returns `a.b.c`, if an expression is only that.
fn dotted(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Name(name) => Some(name.id.to_string()),
        Expr::Attribute(it) => Some(format!("{}.{}", dotted(&it.value)?, it.attr)),
        _ => None,
    }
}

/// Returns the value of a condition in Lambda, if the expression is constant there.
fn truth(test: &Expr, python: Python) -> Option<bool> {
    match test {
        Expr::BooleanLiteral(it) => Some(it.value),
        Expr::NoneLiteral(_) => Some(false),
        Expr::NumberLiteral(_) => number(test).map(|number| number != 0),
        Expr::Name(_) | Expr::Attribute(_) => {
            (last_name(test) == Some("TYPE_CHECKING")).then_some(false)
        }
        Expr::UnaryOp(it) if it.op == UnaryOp::Not => truth(&it.operand, python).map(|it| !it),
        Expr::BoolOp(it) => {
            let decides = it.op == ast::BoolOp::Or;
            let values: Vec<_> = it.values.iter().map(|value| truth(value, python)).collect();
            match values.contains(&Some(decides)) {
                true => Some(decides),
                false => values.iter().all(Option::is_some).then_some(!decides),
            }
        }
        Expr::Call(call) => {
            let prefix = call.arguments.args.first().and_then(string)?;
            let is_platform = dotted(&call.func)? == "sys.platform.startswith";
            is_platform.then(|| "linux".starts_with(prefix))
        }
        Expr::Compare(it) => match (&*it.ops, &*it.comparators) {
            ([op], [right]) => compare(&it.left, *op, right, python),
            _ => None,
        },
        _ => None,
    }
}

fn compare(left: &Expr, op: CmpOp, right: &Expr, python: Python) -> Option<bool> {
    if let Some(value) = environment(left) {
        return match (op, right) {
            (CmpOp::Eq, right) => Some(value == string(right)?),
            (CmpOp::NotEq, right) => Some(value != string(right)?),
            (CmpOp::In | CmpOp::NotIn, right) => {
                let elements = elements(right)?;
                let strings: Option<Vec<&str>> = elements.iter().map(string).collect();
                Some(strings?.contains(&value) == (op == CmpOp::In))
            }
            _ => None,
        };
    }
    let (version, is_whole) = version(left, python)?;
    let wanted: Vec<i64> = match number(right) {
        Some(number) => vec![number],
        None => elements(right)?.iter().map(number).collect::<Option<_>>()?,
    };
    // The micro version is unknown.
    if is_whole && wanted.len() > version.len() && wanted[..version.len()] == version {
        return None;
    }
    let mut version = version;
    if is_whole {
        // A longer tuple is greater than its prefix.
        version.push(0);
    }
    Some(match op {
        CmpOp::Eq => version == wanted,
        CmpOp::NotEq => version != wanted,
        CmpOp::Lt => version < wanted,
        CmpOp::LtE => version <= wanted,
        CmpOp::Gt => version > wanted,
        CmpOp::GtE => version >= wanted,
        _ => return None,
    })
}

/// Returns the value of `sys.platform` and similar in Lambda.
fn environment(expression: &Expr) -> Option<&'static str> {
    let name = match expression {
        Expr::Call(call) if call.arguments.args.is_empty() => dotted(&call.func)? + "()",
        expression => dotted(expression)?,
    };
    match name.as_str() {
        // A handler's module is imported, never run as `__main__`.
        "__name__" => Some("the module's own"),
        "sys.platform" => Some("linux"),
        "os.name" => Some("posix"),
        "platform.system()" => Some("Linux"),
        "sys.implementation.name" => Some("cpython"),
        "platform.python_implementation()" => Some("CPython"),
        _ => None,
    }
}

/// Returns the part of `sys.version_info` that an expression reads, and whether further parts
/// follow it.
fn version(expression: &Expr, python: Python) -> Option<(Vec<i64>, bool)> {
    let whole = vec![3, i64::from(python.minor)];
    let is_info =
        |it: &Expr| dotted(it).is_some_and(|it| it == "sys.version_info" || it == "version_info");
    match expression {
        Expr::Subscript(it) if is_info(&it.value) => match &*it.slice {
            Expr::Slice(slice) => match (&slice.lower, slice.upper.as_deref().and_then(number)) {
                (None, Some(2)) => Some((whole, false)),
                (None, Some(1)) => Some((vec![3], false)),
                _ => None,
            },
            index => match number(index)? {
                0 => Some((vec![3], false)),
                1 => Some((vec![whole[1]], false)),
                _ => None,
            },
        },
        Expr::Attribute(it) if is_info(&it.value) => match it.attr.as_str() {
            "major" => Some((vec![3], false)),
            "minor" => Some((vec![whole[1]], false)),
            _ => None,
        },
        expression => is_info(expression).then_some((whole, true)),
    }
}

fn number(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::NumberLiteral(it) => match &it.value {
            Number::Int(number) => number.as_i64(),
            _ => None,
        },
        _ => None,
    }
}

fn string(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::StringLiteral(it) => Some(it.value.to_str()),
        _ => None,
    }
}

fn elements(expression: &Expr) -> Option<&[Expr]> {
    match expression {
        Expr::Tuple(it) => Some(&it.elts),
        Expr::List(it) => Some(&it.elts),
        Expr::Set(it) => Some(&it.elts),
        _ => None,
    }
}
