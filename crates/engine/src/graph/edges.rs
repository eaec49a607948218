//! Edges that come from files: if one target reads the output of another, it needs that target.

use std::collections::HashMap;

use super::outputs::{Made, Outputs};
use super::{Edge, TargetId, Via};
use crate::diagnostic::Span;
use crate::glob::Glob;
use crate::target::{Input, Model};
use zipwright_store::RelPath;

pub(super) fn add_file_edges<'m>(model: &'m Model, outputs: &Outputs, edges: &mut Vec<Edge<'m>>) {
    let mut finder = Finder { outputs, seen: HashMap::new() };
    for (index, target) in model.targets.iter().enumerate() {
        let from = TargetId::new(index);
        for input in target.kind.inputs() {
            let (text, span) = written(&input);
            finder.makers(from, &input, |to| {
                edges.push(Edge { from, to, via: Via::File(text), span });
            });
        }
    }
}

/// Returns the text and the span of an input.
fn written<'m>(input: &Input<'m>) -> (&'m str, &'m Span) {
    match input {
        Input::Path(path) | Input::Folder(path) => (path.value.as_str(), &path.span),
        Input::Program(program) => (&program.value, &program.span),
        Input::Glob(glob) => (glob.value.pattern(), &glob.span),
    }
}

struct Finder<'m, 'o> {
    outputs: &'o Outputs,
    /// Targets found for a pattern (`true`) or folder; many targets often name the same one.
    seen: HashMap<(&'m str, bool), Vec<TargetId>>,
}

impl<'m> Finder<'m, '_> {
    /// Calls `found` for every target that makes a file of `input`.
    fn makers(&mut self, from: TargetId, input: &Input<'m>, mut found: impl FnMut(TargetId)) {
        match input {
            Input::Path(path) => self.maker(&path.value).into_iter().for_each(found),
            Input::Program(program) if program.value.contains('/') => {
                let path = RelPath::parse(&program.value).ok();
                path.and_then(|path| self.maker(&path)).into_iter().for_each(found);
            }
            Input::Program(_) => {}
            Input::Folder(path) => {
                let folder = Glob::from(path.value.clone());
                self.maker(&path.value).into_iter().for_each(&mut found);
                if !self.outputs.has_below(&path.value) {
                    return;
                }
                let all = self.seen.entry((path.value.as_str(), false));
                let all = all.or_insert_with(|| matching(self.outputs, &folder));
                all.iter().filter(|to| **to != from).copied().for_each(found);
            }
            Input::Glob(glob) => {
                let (glob, is_wild) = (&glob.value, glob.value.has_wildcard());
                // A plain path that is the target's own output is an error and shows as a cycle. A pattern does
                // not mean this file in particular, so it skips it.
                let own = |to: &TargetId| is_wild && *to == from;
                self.maker(&glob.base).filter(|to| !own(to)).into_iter().for_each(&mut found);
                if !self.outputs.has_below(&glob.base) {
                    return;
                }
                let all = self.seen.entry((glob.pattern(), is_wild));
                let all = all.or_insert_with(|| matching(self.outputs, glob));
                all.iter().filter(|to| **to != from).copied().for_each(found);
            }
        }
    }

    fn maker(&self, path: &RelPath) -> Option<TargetId> {
        self.outputs.of(path).map(|made| made.owner)
    }
}

/// Returns the targets that make a file below the base of `glob` that it matches.
fn matching(outputs: &Outputs, glob: &Glob) -> Vec<TargetId> {
    let mut visible = outputs.below(&glob.base).filter(|(_, made)| made.visible).peekable();
    // Compiling is the slow part, and usually there is nothing to match.
    let matcher = match glob.has_wildcard() && visible.peek().is_some() {
        true => glob.matcher().ok(),
        false => None,
    };
    let matches = |path: &RelPath| match &matcher {
        Some(matcher) => matcher.is_match(path.as_str()),
        None => !glob.has_wildcard(),
    };
    let owner = |(_, made): (&RelPath, &Made)| made.owner;
    let mut makers: Vec<TargetId> = visible.filter(|(path, _)| matches(path)).map(owner).collect();
    makers.sort_unstable();
    makers.dedup();
    makers
}
