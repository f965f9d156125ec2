//! YAML documents as trees that know their lines.
//!
//! The tree is made from the parser's events, so that aliases share what they stand for: a document of a few aliases of
//! aliases would not fit into memory otherwise.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::LineError;

/// How deep collections may be nested.
const NESTING_MAX: usize = 128;

/// A value, and the line on which it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A text, number or boolean, as written.
    Scalar(String),
    /// Nothing, or a plain `null` or `~`.
    Null,
    Sequence(Vec<Rc<Node>>),
    /// Keys with their values, in order.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn sequence(&self) -> Option<&[Rc<Node>]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub(crate) fn mapping(&self) -> Option<&[(Rc<Node>, Rc<Node>)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key` in a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.mapping()?.iter().find(|(own, _)| own.scalar() == Some(key)).map(|(_, value)| value)
    }
}

/// The documents of `text`, without empty ones.
///
/// # Errors
/// It is not YAML, or is nested too deeply.
pub(crate) fn documents(text: &str) -> Result<Vec<Rc<Node>>, LineError> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        tree.event(event, span.start.line())?;
    }
    Ok(tree.documents)
}

fn syntax(text: &str, error: &ScanError) -> LineError {
    let wrong = LineError::new(error.marker().line(), format!("this is not YAML: {}", error.info()));
    if text.contains("{{") {
        wrong.help("a template has to be rendered first, for example with `helm template`")
    } else {
        wrong
    }
}

/// A tree that grows.
#[derive(Default)]
struct Tree {
    /// The collections that have begun and not ended.
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    documents: Vec<Rc<Node>>,
}

struct Open {
    line: usize,
    anchor: usize,
    is_mapping: bool,
    /// Of a mapping, keys and values in turn.
    children: Vec<Rc<Node>>,
}

impl Tree {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), LineError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.add(Node { line, value }, anchor);
            }
            Event::Alias(anchor) => {
                // The parser knows the anchor; inside of it, there is no value yet.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(LineError::new(line, "this alias is part of what it stands for"));
                };
                self.add_shared(node);
            }
            Event::SequenceStart(anchor, _) => self.open(line, anchor, false)?,
            Event::MappingStart(anchor, _) => self.open(line, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, is_mapping, children }) = self.open.pop() else {
                    return Ok(());
                };
                let value =
                    if is_mapping { Value::Mapping(pairs(children)) } else { Value::Sequence(children) };
                self.add(Node { line, value }, anchor);
            }
            Event::DocumentEnd => self.anchors.clear(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        Ok(())
    }

    fn open(&mut self, line: usize, anchor: usize, is_mapping: bool) -> Result<(), LineError> {
        if self.open.len() >= NESTING_MAX {
            return Err(LineError::new(line, format!("this is nested more than {NESTING_MAX} deep")));
        }
        self.open.push(Open { line, anchor, is_mapping, children: Vec::new() });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add_shared(node);
    }

    fn add_shared(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None if matches!(node.value, Value::Null) => {}
            None => self.documents.push(node),
        }
    }
}

fn pairs(children: Vec<Rc<Node>>) -> Vec<(Rc<Node>, Rc<Node>)> {
    let mut children = children.into_iter();
    std::iter::from_fn(|| Some((children.next()?, children.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines() {
        let documents =
            documents("# x\na:\n  - b\n  - {c: &d 1}\n---\n...\n---\ne: null\nf: \"null\"\n").unwrap();
        assert_eq!(documents.len(), 2);
        let items = documents[0].get("a").unwrap().sequence().unwrap();
        assert_eq!((items[0].line, items[0].scalar()), (3, Some("b")));
        assert_eq!((items[1].get("c").unwrap().line, items[1].get("c").unwrap().scalar()), (4, Some("1")));
        assert!(matches!(documents[1].get("e").unwrap().value, Value::Null));
        assert_eq!(documents[1].get("f").unwrap().scalar(), Some("null"));
    }

    #[test]
    fn aliases_of_aliases_take_no_space() {
        let mut text = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..60 {
            text += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
        }
        assert!(documents(&text).unwrap()[0].get("a59").is_some());
    }

    #[test]
    fn what_is_not_yaml_is_an_error_with_its_line() {
        for (text, line, message) in [
            ("a: 1\nb: [\n", 3, "this is not YAML"),
            ("a: &a [*a]\n", 1, "this alias is part of what it stands for"),
            ("a: *b\n", 1, "this is not YAML"),
            (&"- ".repeat(1000), 1, "this is nested more than 128 deep"),
        ] {
            let error = documents(text).unwrap_err();
            assert!(error.message.starts_with(message), "{error}");
            assert_eq!(error.line, line, "{error}");
        }
    }
}
