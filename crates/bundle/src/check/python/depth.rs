//! Depth of a syntax tree, computed without recursion: a chain of a million `a.b.c` is a tree of
//! that depth, too deep for any stack.

use ruff_python_ast::visitor::source_order::{SourceOrderVisitor, TraversalSignal};
use ruff_python_ast::{AnyNodeRef, Stmt};

/// Collects the children of one node.
#[derive(Default)]
struct Children<'a>(Vec<AnyNodeRef<'a>>);

impl<'a> SourceOrderVisitor<'a> for Children<'a> {
    fn enter_node(&mut self, node: AnyNodeRef<'a>) -> TraversalSignal {
        self.0.push(node);
        TraversalSignal::Skip
    }
}

/// Returns the number of nodes on the longest path from the root.
pub(super) fn of(suite: &[Stmt]) -> usize {
    let mut deepest = 0;
    let mut left: Vec<(AnyNodeRef, usize)> =
        suite.iter().map(|statement| (AnyNodeRef::from(statement), 1)).collect();
    while let Some((node, depth)) = left.pop() {
        deepest = deepest.max(depth);
        let mut children = Children::default();
        node.visit_source_order(&mut children);
        left.extend(children.0.into_iter().map(|child| (child, depth + 1)));
    }
    deepest
}
