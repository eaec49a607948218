//! Indentation that mixes tabs and spaces so that it depends on the width of a tab. Python refuses
//! it; the parser, which counts a tab as two columns, does not.

use ruff_python_ast::ModModule;
use ruff_python_ast::token::TokenKind;
use ruff_python_parser::Parsed;
use ruff_text_size::{Ranged, TextSize};

/// Columns with tabs of width 8, and of width 1. Both must give the same order.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Indent {
    wide: usize,
    narrow: usize,
}

/// Returns the start of the first inconsistent line.
pub(super) fn fault(parsed: &Parsed<ModModule>, text: &str) -> Option<TextSize> {
    let mut levels = vec![Indent { wide: 0, narrow: 0 }];
    let mut is_at_start = true;
    for token in parsed.tokens() {
        match token.kind() {
            TokenKind::Newline => is_at_start = true,
            TokenKind::Indent | TokenKind::Dedent => {}
            TokenKind::NonLogicalNewline | TokenKind::Comment | TokenKind::EndOfFile => {}
            _ if is_at_start => {
                is_at_start = false;
                let Some(indent) = before(text, token.start().to_usize()) else { continue };
                if !fits(&mut levels, indent) {
                    return Some(token.start());
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns the indentation of the line whose first token is at `at`; `None` after a backslash.
fn before(text: &str, at: usize) -> Option<Indent> {
    let start = text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let mut indent = Indent { wide: 0, narrow: 0 };
    for c in text[start..at].chars() {
        match c {
            ' ' => indent = Indent { wide: indent.wide + 1, narrow: indent.narrow + 1 },
            '\t' => indent = Indent { wide: (indent.wide / 8 + 1) * 8, narrow: indent.narrow + 1 },
            '\x0c' => indent = Indent { wide: 0, narrow: 0 },
            '\u{feff}' => {}
            _ => return None,
        }
    }
    Some(indent)
}

fn fits(levels: &mut Vec<Indent>, indent: Indent) -> bool {
    let current = *levels.last().unwrap_or(&Indent { wide: 0, narrow: 0 });
    if indent.wide == current.wide {
        return indent.narrow == current.narrow;
    }
    if indent.wide > current.wide {
        levels.push(indent);
        return indent.narrow > current.narrow;
    }
    while levels.len() > 1 && levels.last().is_some_and(|level| level.wide > indent.wide) {
        levels.pop();
    }
    levels.last().is_some_and(|level| level.narrow == indent.narrow)
}
