//! The values of variables of objects, as scenarios give them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The value that a variable of an object starts with: a number, true or false, the name of a value of an enum, or a text; of an
/// array, its elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VariableValue {
    /// True or false.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A large integer.
    Unsigned(u64),
    /// A text, the name of a value of an enum, or `hex:` and two digits for each byte.
    Text(String),
    /// The elements of an array; those that are left out are zeros.
    List(Vec<VariableValue>),
}

/// As [`Object::set`](knobgate_bpf::Object::set) reads it.
impl fmt::Display for VariableValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::List(elements) => {
                let elements: Vec<_> = elements.iter().map(Self::to_string).collect();
                f.write_str(&elements.join(","))
            }
        }
    }
}
