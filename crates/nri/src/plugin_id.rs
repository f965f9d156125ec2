//! Who a plugin is.

/// The name of a plugin, and where it stands among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginId {
    name: String,
    index: String,
}

impl PluginId {
    /// The plugin `name`. The runtime calls plugins in the order of their indices, which are two digits.
    ///
    /// # Errors
    ///
    /// The name is empty or has a character other than ASCII letters, digits, `-`, `_` and `.`, or the index is not two digits.
    pub fn new(name: &str, index: &str) -> Result<Self, InvalidPluginId> {
        let is_part = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if name.is_empty() || !name.chars().all(is_part) {
            return Err(InvalidPluginId::Name(name.to_owned()));
        }
        if index.len() != 2 || !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPluginId::Index(index.to_owned()));
        }
        Ok(Self { name: name.to_owned(), index: index.to_owned() })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index: two digits.
    pub fn index(&self) -> &str {
        &self.index
    }
}

/// Why something is no [`PluginId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPluginId {
    /// The name.
    #[error("`{0}` is no name for a plugin: it has letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// The index.
    #[error("`{0}` is no index for a plugin: it is two digits, like 10")]
    Index(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_a_name_and_two_digits() {
        for (name, index) in [("knobgate", "00"), ("a-b_c.d", "99")] {
            let id = PluginId::new(name, index).unwrap();
            assert_eq!((id.name(), id.index()), (name, index));
        }
        for name in ["", "a b", "a/b", "ü", "a\n"] {
            assert_eq!(PluginId::new(name, "10"), Err(InvalidPluginId::Name(name.to_owned())));
        }
        for index in ["", "1", "100", "1a", "-1", "٣"] {
            assert_eq!(PluginId::new("a", index), Err(InvalidPluginId::Index(index.to_owned())));
        }
    }
}
