//! The names that a module's top level binds, in `if`, `try`, `with` and loops too, and how their
//! values can be called.

use std::collections::{BTreeMap, HashSet};

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, ExprContext, Pattern, Stmt};
use ruff_text_size::{Ranged, TextSize};

use super::text;

/// The value of a name after the whole module has run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum Defined {
    Function(Function),
    /// A literal, with its description: `a number`.
    Literal(&'static str),
    /// Any other value: an import, a class, the result of a call, or one of several definitions.
    Unknown,
}

/// The parameters of a function or `lambda` without decorators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Function {
    pub(in crate::check) is_async: bool,
    pub(in crate::check) is_generator: bool,
    /// Positional parameters without a default.
    pub(in crate::check) least: usize,
    /// All positional parameters; `None` if there is a `*args`.
    pub(in crate::check) most: Option<usize>,
    /// The first parameter that must be given by keyword.
    pub(in crate::check) keyword: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::check) struct Names {
    /// The value of each name, and the line of its last definition, from 1.
    defined: BTreeMap<String, (Defined, usize)>,
    /// Whether names may come from elsewhere: a star import, `globals()`, a module's `__getattr__`.
    pub(in crate::check) is_open: bool,
}

impl Names {
    pub(in crate::check) fn has(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// Returns the value of a name, and the line of its last definition, from 1.
    pub(in crate::check) fn get(&self, name: &str) -> Option<&(Defined, usize)> {
        self.defined.get(name)
    }
}

/// Names whose use at the top level may bind other names.
const OPENING: [&str; 5] = ["exec", "globals", "locals", "setattr", "vars"];

/// Returns the names of a module. In an `__init__.py`, `from . import x` alone binds no name: the
/// import decides whether `x` exists.
pub(super) fn of(suite: &[Stmt], text: &str, is_init: bool) -> Names {
    let mut binder = Binder { is_init, is_module: true, ..Binder::default() };
    binder.visit_body(suite);
    let mut opening = Opening::default();
    opening.visit_body(suite);
    let with_line = |(name, (defined, at)): (String, (Defined, TextSize))| {
        (name, (defined, text::line_of(text, at.to_usize())))
    };
    let mut names = Names {
        defined: binder.found.into_iter().map(with_line).collect(),
        is_open: binder.has_star || opening.found,
    };
    for name in opening.globals {
        if let Some((defined, _)) = names.defined.get_mut(&name) {
            *defined = Defined::Unknown;
        } else {
            names.is_open = true;
        }
    }
    names
}

/// Returns all names that a function's body binds, without functions and classes in it.
pub(super) fn bound(body: &[Stmt]) -> HashSet<String> {
    let mut binder = Binder::default();
    binder.visit_body(body);
    binder.found.into_keys().collect()
}

#[derive(Default)]
struct Binder {
    is_init: bool,
    is_module: bool,
    found: BTreeMap<String, (Defined, TextSize)>,
    has_star: bool,
    /// Number of blocks around the current statement that may not run.
    conditions: usize,
}

impl Binder {
    fn bind(&mut self, name: &str, at: TextSize, defined: Defined) {
        let is_certain = self.conditions == 0 || !self.found.contains_key(name);
        let defined = if is_certain { defined } else { Defined::Unknown };
        self.found.insert(name.to_owned(), (defined, at));
    }

    fn assign(&mut self, targets: &[Expr], value: &Expr) {
        for target in targets {
            match target {
                Expr::Name(name) => self.bind(&name.id, name.start(), of_value(value)),
                target => self.visit_expr(target),
            }
        }
    }
}

impl<'a> Visitor<'a> for Binder {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => {
                function.decorator_list.iter().for_each(|it| self.visit_decorator(it));
                let defined = match function.decorator_list.is_empty() {
                    true => Defined::Function(of_function(function)),
                    false => Defined::Unknown,
                };
                self.bind(&function.name, function.name.start(), defined);
            }
            Stmt::ClassDef(class) => {
                self.bind(&class.name, class.name.start(), Defined::Unknown);
            }
            Stmt::Assign(assign) => {
                self.visit_expr(&assign.value);
                self.assign(&assign.targets, &assign.value);
            }
            Stmt::AnnAssign(assign) => match &assign.value {
                Some(value) => {
                    self.visit_expr(value);
                    self.assign(std::slice::from_ref(&assign.target), value);
                }
                None if self.is_module => {}
                None => self.visit_expr(&assign.target),
            },
            Stmt::Import(import) => {
                for alias in &import.names {
                    let first = alias.name.split('.').next().unwrap_or_default();
                    let name = alias.asname.as_deref().unwrap_or(first);
                    self.bind(name, alias.start(), Defined::Unknown);
                }
            }
            Stmt::ImportFrom(import) => {
                let from_itself = self.is_init && import.level == 1 && import.module.is_none();
                for alias in &import.names {
                    match alias.name.as_str() {
                        "*" => self.has_star = true,
                        _ if from_itself && alias.asname.is_none() => {}
                        name => {
                            let name = alias.asname.as_deref().unwrap_or(name);
                            self.bind(name, alias.start(), Defined::Unknown);
                        }
                    }
                }
            }
            Stmt::If(_) | Stmt::For(_) | Stmt::While(_) | Stmt::Try(_) | Stmt::Match(_) => {
                self.conditions += 1;
                visitor::walk_stmt(self, statement);
                self.conditions -= 1;
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Name(name) if name.ctx != ExprContext::Load => {
                self.bind(&name.id, name.start(), Defined::Unknown);
            }
            Expr::Lambda(_) => {}
            _ => visitor::walk_expr(self, expression),
        }
    }

    fn visit_comprehension(&mut self, comprehension: &'a ast::Comprehension) {
        self.visit_expr(&comprehension.iter);
        comprehension.ifs.iter().for_each(|condition| self.visit_expr(condition));
    }

    fn visit_except_handler(&mut self, handler: &'a ast::ExceptHandler) {
        let ast::ExceptHandler::ExceptHandler(it) = handler;
        if let Some(name) = it.name.as_ref().filter(|_| !self.is_module) {
            self.bind(name, name.start(), Defined::Unknown);
        }
        visitor::walk_except_handler(self, handler);
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let name = match pattern {
            Pattern::MatchAs(it) => it.name.as_ref(),
            Pattern::MatchStar(it) => it.name.as_ref(),
            Pattern::MatchMapping(it) => it.rest.as_ref(),
            _ => None,
        };
        if let Some(name) = name {
            self.bind(name, name.start(), Defined::Unknown);
        }
        visitor::walk_pattern(self, pattern);
    }
}

fn of_value(value: &Expr) -> Defined {
    match value {
        Expr::Lambda(lambda) => {
            let none = ast::Parameters::default();
            let parameters = lambda.parameters.as_deref().unwrap_or(&none);
            Defined::Function(Function::of(parameters, false, false))
        }
        Expr::NumberLiteral(_) => Defined::Literal("a number"),
        Expr::BooleanLiteral(_) => Defined::Literal("a truth value"),
        Expr::StringLiteral(_) | Expr::FString(_) => Defined::Literal("a string"),
        Expr::BytesLiteral(_) => Defined::Literal("bytes"),
        Expr::NoneLiteral(_) => Defined::Literal("`None`"),
        Expr::List(_) | Expr::ListComp(_) => Defined::Literal("a list"),
        Expr::Dict(_) | Expr::DictComp(_) => Defined::Literal("a dictionary"),
        Expr::Tuple(_) => Defined::Literal("a tuple"),
        _ => Defined::Unknown,
    }
}

fn of_function(function: &ast::StmtFunctionDef) -> Function {
    let mut yields = Yields(false);
    yields.visit_body(&function.body);
    Function::of(&function.parameters, function.is_async, yields.0)
}

impl Function {
    fn of(parameters: &ast::Parameters, is_async: bool, is_generator: bool) -> Self {
        let positional = || parameters.posonlyargs.iter().chain(&parameters.args);
        let keyword = parameters.kwonlyargs.iter().find(|it| it.default.is_none());
        Self {
            is_async,
            is_generator,
            least: positional().filter(|it| it.default.is_none()).count(),
            most: parameters.vararg.is_none().then(|| positional().count()),
            keyword: keyword.map(|it| it.parameter.name.to_string()),
        }
    }
}

/// Whether a body yields, which makes its function a generator.
struct Yields(bool);

impl<'a> Visitor<'a> for Yields {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Yield(_) | Expr::YieldFrom(_) => self.0 = true,
            Expr::Lambda(_) => {}
            _ => visitor::walk_expr(self, expression),
        }
    }
}

/// Finds ways to bind a name of the module that do not show in the text.
#[derive(Default)]
struct Opening {
    found: bool,
    /// Number of functions and classes around the current node.
    depth: usize,
    /// Names that functions declare `global`.
    globals: Vec<String>,
}

impl<'a> Visitor<'a> for Opening {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(function) => {
                self.found |= self.depth == 0 && function.name.as_str() == "__getattr__";
            }
            Stmt::Global(global) => {
                self.globals.extend(global.names.iter().map(ToString::to_string));
            }
            _ => {}
        }
        let is_scope = matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_));
        self.depth += usize::from(is_scope);
        visitor::walk_stmt(self, statement);
        self.depth -= usize::from(is_scope);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Name(name) => {
                let id = name.id.as_str();
                self.found |= id == "globals" || self.depth == 0 && OPENING.contains(&id);
            }
            Expr::Attribute(attribute) => {
                self.found |= self.depth == 0 && attribute.attr.as_str() == "modules";
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}
