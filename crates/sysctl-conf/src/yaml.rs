//! YAML documents as trees that know their lines.
//!
//! The tree is made from the parser's events, so that aliases share what they stand for: a document of a few aliases of
//! aliases would not fit into memory otherwise. For the same reason merge keys (`<<`) are followed when somebody asks for a key.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use crate::LineError;

/// How deep collections may be nested.
const NESTING_MAX: usize = 128;

/// How many mappings may be merged into one, with those that are merged into them.
const MERGES_MAX: usize = 128;

/// A value, and the line on which it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    /// How many mappings are merged into it.
    merges: usize,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A text, number or boolean.
    Scalar {
        /// As written.
        text: String,
        /// Whether it is written without quotes, so that it may be a number.
        is_plain: bool,
    },
    /// Nothing, or a plain `null` or `~`.
    Null,
    Sequence(Vec<Rc<Node>>),
    /// Keys with their values, in order.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn sequence(&self) -> Option<&[Rc<Node>]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The keys of a mapping with their values, and those of the mappings that are merged into it. Of those with the same key, the
    /// first one counts.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Rc<Self>, &Rc<Self>)> {
        self.merged().into_iter().flat_map(Self::own_entries).filter(|(key, _)| !key.is_merge_key())
    }

    /// The value of `key` in a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        self.entries().find(|(own, _)| own.scalar() == Some(key)).map(|(_, value)| value)
    }

    /// A mapping, and those that are merged into it, the one that counts most first.
    fn merged(&self) -> Vec<&Self> {
        let mut merged = Vec::new();
        let mut open = vec![self];
        while let Some(mapping) = open.pop() {
            merged.push(mapping);
            let merges: Vec<_> = mapping.merges().collect();
            open.extend(merges.into_iter().rev());
        }
        merged
    }

    /// The mappings that the merge keys of this one name.
    fn merges(&self) -> impl Iterator<Item = &Self> {
        let values = self.own_entries().filter(|(key, _)| key.is_merge_key()).map(|(_, value)| value);
        values.flat_map(|value| value.sequence().unwrap_or(std::slice::from_ref(value))).map(Rc::as_ref)
    }

    fn own_entries(&self) -> impl Iterator<Item = (&Rc<Self>, &Rc<Self>)> {
        let entries: &[_] = match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        };
        entries.iter().map(|(key, value)| (key, value))
    }

    fn is_merge_key(&self) -> bool {
        self.scalar() == Some("<<")
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
                let is_plain = style == ScalarStyle::Plain;
                let value =
                    if is_null { Value::Null } else { Value::Scalar { text: text.into_owned(), is_plain } };
                self.add(Node { line, merges: 0, value }, anchor);
            }
            Event::Alias(anchor) => {
                // The parser knows the anchor; inside of it, there is no value yet.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    if self.open.iter().any(|open| open.anchor == anchor) {
                        return Err(LineError::new(line, "this alias is part of what it stands for"));
                    }
                    let error =
                        LineError::new(line, "this alias stands for something in an earlier document");
                    return Err(error.help("each document has anchors of its own: write it again"));
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
                let mut node = Node { line, merges: 0, value };
                node.merges = node.merges().map(|merged| 1 + merged.merges).sum();
                if node.merges > MERGES_MAX {
                    let message = format!("more than {MERGES_MAX} mappings are merged into this one");
                    return Err(LineError::new(line, message));
                }
                self.add(node, anchor);
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
    fn merge_keys_are_followed_and_what_comes_first_counts() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: [*b, {x: 3, z: 3}], w: 4}\n";
        let documents = documents(text).unwrap();
        let value = |key: &str| documents[0].get("c")?.get(key)?.scalar();
        let values = ["w", "x", "y", "z", "<<"].map(value);
        assert_eq!(values, [Some("4"), Some("1"), Some("2"), Some("3"), None]);
    }

    #[test]
    fn what_is_not_yaml_is_an_error_with_its_line() {
        let mut chain = "a0: &a0 {x: 1}\n".to_owned();
        for level in 1..200 {
            chain += &format!("a{level}: &a{level} {{<<: *a{}}}\n", level - 1);
        }
        for (text, line, message) in [
            ("a: 1\nb: [\n", 3, "this is not YAML"),
            ("a: &a [*a]\n", 1, "this alias is part of what it stands for"),
            ("a: *b\n", 1, "this is not YAML"),
            ("a: &a 1\n---\nb: *a\n", 3, "this alias stands for something in an earlier document"),
            (&chain, 130, "more than 128 mappings are merged into this one"),
            (&"- ".repeat(1000), 1, "this is nested more than 128 deep"),
        ] {
            let error = documents(text).unwrap_err();
            assert!(error.message.starts_with(message), "{error}");
            assert_eq!(error.line, line, "{error}");
        }
    }
}
