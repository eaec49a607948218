//! Errors that Python's compiler reports and the grammar does not: `return` outside a function, a
//! duplicate parameter, `nonlocal` without a binding. Ruff's checker finds them; this module gives
//! it the scope of each statement.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{self as ast, Expr, PythonVersion, Stmt};
use ruff_python_parser::semantic_errors::{
    LazyImportContext, SemanticSyntaxChecker, SemanticSyntaxContext, SemanticSyntaxError,
};
use ruff_text_size::TextRange;

use super::names::bound;

pub(super) fn errors(
    suite: &[Stmt],
    text: &str,
    version: PythonVersion,
) -> Vec<SemanticSyntaxError> {
    let has_future = suite.iter().any(|statement| match statement {
        Stmt::ImportFrom(import) => {
            import.module.as_deref() == Some("__future__")
                && import.names.iter().any(|alias| alias.name.as_str() == "annotations")
        }
        _ => false,
    });
    let mut walker = Walker {
        checker: SemanticSyntaxChecker::new(),
        found: RefCell::default(),
        version,
        text,
        has_future,
        scopes: vec![Scope::new(Kind::Module)],
        loops: 0,
        tries: 0,
    };
    walker.visit_body(suite);
    walker.found.into_inner()
}

struct Walker<'a> {
    checker: SemanticSyntaxChecker,
    found: RefCell<Vec<SemanticSyntaxError>>,
    version: PythonVersion,
    text: &'a str,
    has_future: bool,
    scopes: Vec<Scope>,
    /// Number of loops around the current statement, in its scope.
    loops: usize,
    tries: usize,
}

struct Scope {
    kind: Kind,
    globals: HashMap<String, TextRange>,
    parameters: HashSet<String>,
    /// All names that a function binds, anywhere in its body.
    bound: HashSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Module,
    Class,
    Function { is_async: bool },
    Lambda,
    Comprehension { is_async: bool },
    Generator,
}

impl Scope {
    fn new(kind: Kind) -> Self {
        Self { kind, globals: HashMap::new(), parameters: HashSet::new(), bound: HashSet::new() }
    }

    fn function(kind: Kind, parameters: &ast::Parameters, body: &[Stmt]) -> Self {
        let names: HashSet<String> =
            parameters.iter().map(|parameter| parameter.name().to_string()).collect();
        let mut bound = bound(body);
        bound.extend(names.iter().cloned());
        Self { kind, globals: globals(body), parameters: names, bound }
    }
}

/// Returns the declarations of global names in a body, without functions and classes in it.
fn globals(body: &[Stmt]) -> HashMap<String, TextRange> {
    #[derive(Default)]
    struct Globals(HashMap<String, TextRange>);
    impl<'a> Visitor<'a> for Globals {
        fn visit_stmt(&mut self, statement: &'a Stmt) {
            match statement {
                Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {}
                Stmt::Global(global) => {
                    for name in &global.names {
                        self.0.entry(name.to_string()).or_insert(global.range);
                    }
                }
                _ => visitor::walk_stmt(self, statement),
            }
        }
        fn visit_expr(&mut self, _: &'a Expr) {}
    }
    let mut globals = Globals::default();
    globals.visit_body(body);
    globals.0
}

impl Walker<'_> {
    fn current(&self) -> Kind {
        self.scopes.last().map_or(Kind::Module, |scope| scope.kind)
    }

    /// Returns the kinds of the scopes from the current one outwards.
    fn outwards(&self) -> impl Iterator<Item = Kind> {
        self.scopes.iter().rev().map(|scope| scope.kind)
    }

    fn within(&mut self, scope: Scope, visit: impl FnOnce(&mut Self)) {
        self.scopes.push(scope);
        let outer = (std::mem::take(&mut self.loops), std::mem::take(&mut self.tries));
        visit(self);
        (self.loops, self.tries) = outer;
        self.scopes.pop();
    }

    fn judge(&mut self, judge: impl FnOnce(&mut SemanticSyntaxChecker, &Self)) {
        let mut checker = std::mem::take(&mut self.checker);
        judge(&mut checker, self);
        self.checker = checker;
    }

    /// Visits defaults and annotations, which are evaluated outside of the function.
    fn visit_signature(&mut self, parameters: &ast::Parameters, returns: Option<&Expr>) {
        self.visit_parameters(parameters);
        if let Some(returns) = returns {
            self.visit_annotation(returns);
        }
    }

    fn visit_comprehensions(
        &mut self,
        kind: Kind,
        generators: &[ast::Comprehension],
        elements: &[&Expr],
    ) {
        // The first iterable is evaluated outside.
        if let Some(first) = generators.first() {
            self.visit_expr(&first.iter);
        }
        let has_loops = self.loops;
        self.scopes.push(Scope::new(kind));
        for (at, generator) in generators.iter().enumerate() {
            self.visit_expr(&generator.target);
            if at > 0 {
                self.visit_expr(&generator.iter);
            }
            generator.ifs.iter().for_each(|condition| self.visit_expr(condition));
        }
        elements.iter().for_each(|element| self.visit_expr(element));
        self.scopes.pop();
        self.loops = has_loops;
    }
}

impl<'a> Visitor<'a> for Walker<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        self.judge(|checker, context| checker.visit_stmt(statement, context));
        match statement {
            Stmt::FunctionDef(function) => {
                function.decorator_list.iter().for_each(|it| self.visit_decorator(it));
                if let Some(parameters) = &function.type_params {
                    self.visit_type_params(parameters);
                }
                self.visit_signature(&function.parameters, function.returns.as_deref());
                let kind = Kind::Function { is_async: function.is_async };
                let scope = Scope::function(kind, &function.parameters, &function.body);
                self.within(scope, |walker| walker.visit_body(&function.body));
            }
            Stmt::ClassDef(class) => {
                class.decorator_list.iter().for_each(|it| self.visit_decorator(it));
                if let Some(parameters) = &class.type_params {
                    self.visit_type_params(parameters);
                }
                if let Some(arguments) = &class.arguments {
                    self.visit_arguments(arguments);
                }
                let scope = Scope { globals: globals(&class.body), ..Scope::new(Kind::Class) };
                self.within(scope, |walker| walker.visit_body(&class.body));
            }
            Stmt::For(ast::StmtFor { target, iter, body, orelse, .. }) => {
                self.visit_expr(iter);
                self.visit_expr(target);
                self.loops += 1;
                self.visit_body(body);
                self.loops -= 1;
                self.visit_body(orelse);
            }
            Stmt::While(ast::StmtWhile { test, body, orelse, .. }) => {
                self.visit_expr(test);
                self.loops += 1;
                self.visit_body(body);
                self.loops -= 1;
                self.visit_body(orelse);
            }
            Stmt::Try(_) => {
                self.tries += 1;
                visitor::walk_stmt(self, statement);
                self.tries -= 1;
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        self.judge(|checker, context| checker.visit_expr(expression, context));
        match expression {
            Expr::Lambda(lambda) => {
                let none = ast::Parameters::default();
                let parameters = lambda.parameters.as_deref();
                if let Some(parameters) = parameters {
                    self.visit_parameters(parameters);
                }
                let scope = Scope::function(Kind::Lambda, parameters.unwrap_or(&none), &[]);
                self.within(scope, |walker| walker.visit_expr(&lambda.body));
            }
            Expr::ListComp(ast::ExprListComp { elt, generators, .. })
            | Expr::SetComp(ast::ExprSetComp { elt, generators, .. }) => {
                self.visit_comprehensions(kind_of(generators), generators, &[elt]);
            }
            Expr::DictComp(ast::ExprDictComp { key, value, generators, .. }) => {
                let elements: Vec<&Expr> = key.as_deref().into_iter().chain([&**value]).collect();
                self.visit_comprehensions(kind_of(generators), generators, &elements);
            }
            Expr::Generator(ast::ExprGenerator { elt, generators, .. }) => {
                self.visit_comprehensions(Kind::Generator, generators, &[elt]);
            }
            _ => visitor::walk_expr(self, expression),
        }
    }
}

fn kind_of(generators: &[ast::Comprehension]) -> Kind {
    Kind::Comprehension { is_async: generators.iter().any(|generator| generator.is_async) }
}

impl SemanticSyntaxContext for Walker<'_> {
    fn future_annotations_or_stub(&self) -> bool {
        self.has_future
    }

    fn lazy_import_context(&self) -> Option<LazyImportContext> {
        match self.current() {
            Kind::Function { .. } => Some(LazyImportContext::Function),
            Kind::Class => Some(LazyImportContext::Class),
            _ => (self.tries > 0).then_some(LazyImportContext::TryExceptBlocks),
        }
    }

    fn python_version(&self) -> PythonVersion {
        self.version
    }

    fn source(&self) -> &str {
        self.text
    }

    fn global(&self, name: &str) -> Option<TextRange> {
        self.scopes.last().and_then(|scope| scope.globals.get(name)).copied()
    }

    fn has_nonlocal_binding(&self, name: &str) -> bool {
        let outer = &self.scopes[..self.scopes.len() - 1];
        // Functions in a class can use its `__class__`.
        let has_class = || outer.iter().any(|scope| scope.kind == Kind::Class);
        outer.iter().any(|scope| scope.bound.contains(name)) || name == "__class__" && has_class()
    }

    fn in_async_context(&self) -> bool {
        let decides = |kind| match kind {
            Kind::Function { is_async } => Some(is_async),
            Kind::Class | Kind::Lambda | Kind::Module => Some(false),
            Kind::Comprehension { .. } | Kind::Generator => None,
        };
        self.outwards().find_map(decides).unwrap_or(false)
    }

    fn in_await_allowed_context(&self) -> bool {
        let decides = |kind| match kind {
            Kind::Function { .. } | Kind::Lambda => Some(true),
            Kind::Class => Some(false),
            _ => None,
        };
        self.outwards().find_map(decides).unwrap_or(false)
    }

    fn in_yield_allowed_context(&self) -> bool {
        matches!(self.current(), Kind::Function { .. } | Kind::Lambda)
    }

    fn in_sync_comprehension(&self) -> bool {
        self.outwards()
            .take_while(|kind| matches!(kind, Kind::Comprehension { .. } | Kind::Generator))
            .any(|kind| kind == Kind::Comprehension { is_async: false })
    }

    fn in_class_body_comprehension(&self) -> bool {
        let is_in_one = matches!(self.current(), Kind::Comprehension { .. } | Kind::Generator);
        let around = self
            .outwards()
            .find(|kind| !matches!(kind, Kind::Comprehension { .. } | Kind::Generator));
        is_in_one && around == Some(Kind::Class)
    }

    fn in_module_scope(&self) -> bool {
        self.scopes.len() == 1
    }

    fn in_function_scope(&self) -> bool {
        matches!(self.current(), Kind::Function { .. } | Kind::Lambda)
    }

    fn in_generator_context(&self) -> bool {
        self.outwards()
            .take_while(|kind| matches!(kind, Kind::Comprehension { .. } | Kind::Generator))
            .any(|kind| kind == Kind::Generator)
    }

    fn in_notebook(&self) -> bool {
        false
    }

    fn report_semantic_error(&self, error: SemanticSyntaxError) {
        self.found.borrow_mut().push(error);
    }

    fn in_loop_context(&self) -> bool {
        self.loops > 0
    }

    fn is_bound_parameter(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|scope| scope.parameters.contains(name))
    }
}
