//! From the name of a knob to its entry.

use std::collections::HashMap;

/// A tree of the components of patterns.
#[derive(Debug, Default)]
pub(crate) struct Index {
    literals: HashMap<&'static [u8], Index>,
    placeholder: Option<Box<Index>>,
    entry: Option<usize>,
}

impl Index {
    /// Adds the entry with this pattern.
    pub(crate) fn insert(&mut self, pattern: &'static str, entry: usize) {
        let mut node = self;
        for component in pattern.split('/') {
            node = if component.starts_with('<') {
                node.placeholder.get_or_insert_default()
            } else {
                node.literals.entry(component.as_bytes()).or_default()
            };
        }
        node.entry = Some(entry);
    }

    /// The entry whose pattern matches; if there are several, the one with the earlier literal component.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let (component, rest) = match name.iter().position(|&byte| byte == b'/') {
            Some(at) => (&name[..at], Some(&name[at + 1..])),
            None => (name, None),
        };
        let below = |node: &Self| match rest {
            Some(rest) => node.find(rest),
            None => node.entry,
        };
        let literal = self.literals.get(component).and_then(below);
        literal.or_else(|| self.placeholder.as_deref().filter(|_| !component.is_empty()).and_then(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_literal_wins() {
        let patterns = ["a/<x>/c", "a/b/<y>", "a/b/c", "a/<x>/d", "a"];
        let mut index = Index::default();
        patterns.iter().enumerate().for_each(|(at, pattern)| index.insert(pattern, at));
        let cases = [
            ("a/b/c", Some("a/b/c")),
            ("a/b/d", Some("a/b/<y>")),
            ("a/z/d", Some("a/<x>/d")),
            ("a/z/c", Some("a/<x>/c")),
            ("a", Some("a")),
            ("a/z", None),
            ("a/b", None),
            ("a/b/c/d", None),
            ("a//c", None),
            ("a/b/", None),
            ("", None),
            ("/a", None),
        ];
        for (name, found) in cases {
            assert_eq!(index.find(name.as_bytes()).map(|at| patterns[at]), found, "{name:?}");
        }
    }
}
