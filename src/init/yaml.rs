//! YAML (and so JSON) as a tree with lines and tags. Knows nothing of the meaning of documents.

use saphyr_parser::{Event, Parser, Span};

/// Nested collections that are followed, and nodes that are made, aliases included.
const DEEPEST: usize = 100;
const MOST: usize = 200_000;

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// From 1.
    pub(super) line: usize,
    /// `Ref` of `!Ref`; empty if the node has no tag of its own.
    tag: String,
    value: Value,
    /// This node and all below it.
    size: usize,
}

#[derive(Clone, Debug)]
enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Parses the first document of a text. Returns `None` if it is not YAML, or too deep or large.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.ok()?;
            if let Event::DocumentEnd = event {
                break;
            }
            builder.take(event, span)?;
        }
        builder.root
    }

    /// Returns the value of a key of a mapping, those that are merged with `<<` included.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.find(key, 0)
    }

    fn find(&self, key: &str, depth: usize) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        let value = |name: &str| {
            entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
        };
        value(key).or_else(|| {
            let merged = value("<<").filter(|_| depth < DEEPEST)?;
            std::iter::once(merged).chain(merged.items()).find_map(|it| it.find(key, depth + 1))
        })
    }

    /// Returns the value of the last of `keys`, each in the mapping of the one before it.
    pub(super) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Returns the entries of a mapping whose keys are plain; none if it is not a mapping.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match &self.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(|(key, value)| Some((key.text()?, value)))
    }

    /// Returns the members of a list without a tag; none if it is another node.
    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        match &self.value {
            Value::List(items) if self.tag.is_empty() => items.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// Returns the text of a scalar without a tag.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) if self.tag.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Returns the argument of a CloudFormation function on text, in either form: `!Ref x` and
    /// `{"Ref": "x"}`, `!Sub x` and `{"Fn::Sub": "x"}`.
    pub(super) fn call(&self, function: &str) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) if self.tag == function => Some(text),
            Value::Map(entries) => match entries.as_slice() {
                [(key, value)] => {
                    let name = key.text()?;
                    (name.strip_prefix("Fn::").unwrap_or(name) == function).then(|| value.text())?
                }
                _ => None,
            },
            _ => None,
        }
    }
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    /// Collections that are not complete, with their anchors and, of a mapping, a key without value.
    open: Vec<(Node, usize, Option<Node>)>,
    anchors: Vec<(usize, Node)>,
}

impl Builder {
    fn take(&mut self, event: Event, span: Span) -> Option<()> {
        let node = |value, tag: Option<String>| Node {
            line: span.start.line(),
            tag: tag.unwrap_or_default(),
            value,
            size: 1,
        };
        match event {
            Event::Scalar(text, _, anchor, tag) => {
                let tag = tag.map(|tag| own(&tag.handle, &tag.suffix));
                self.complete(node(Value::Scalar(text.into_owned()), tag), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.map(|tag| own(&tag.handle, &tag.suffix));
                self.start(node(Value::List(Vec::new()), tag), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.map(|tag| own(&tag.handle, &tag.suffix));
                self.start(node(Value::Map(Vec::new()), tag), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (node, anchor, _) = self.open.pop()?;
                self.complete(node, anchor)
            }
            Event::Alias(anchor) => {
                let (_, node) = self.anchors.iter().rev().find(|(id, _)| *id == anchor)?;
                let node = node.clone();
                self.complete(node, 0)
            }
            _ => Some(()),
        }
    }

    fn start(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.open.push((node, anchor, None));
        (self.open.len() <= DEEPEST).then_some(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        let Some((parent, _, key)) = self.open.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        parent.size += node.size;
        if parent.size > MOST {
            return None;
        }
        match (&mut parent.value, key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Map(_), None) => *key = Some(node),
            (Value::Scalar(_), _) => return None,
        }
        Some(())
    }
}

/// The name of a tag of the document's own, `!NAME`; those of YAML itself count as none.
fn own(handle: &str, suffix: &str) -> String {
    if handle == "!" { suffix.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_lines_tags_and_merged_keys() {
        let text =
            "base: &base\n  a: 1\nmore:\n  <<: *base\n  b: !Ref X\n  c: {\"Fn::Sub\": \"y\"}\n";
        let root = Node::parse(text).unwrap();
        assert_eq!(root.at(&["more", "a"]).and_then(Node::text), Some("1"));
        let b = root.at(&["more", "b"]).unwrap();
        assert_eq!((b.line, b.text(), b.call("Ref")), (5, None, Some("X")));
        assert_eq!(root.at(&["more", "c"]).and_then(|c| c.call("Sub")), Some("y"));
    }

    #[test]
    fn what_is_too_deep_or_grows_by_aliases_is_no_document() {
        assert!(Node::parse(&"[".repeat(10_000)).is_none());
        assert!(Node::parse(&format!("{}{}", "[".repeat(99), "]".repeat(99))).is_some());
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(Node::parse(&laughs).is_none());
        assert!(Node::parse("a: [1, 2").is_none());
    }
}
