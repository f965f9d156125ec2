//! The values of variables of objects, as scenarios give them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The value that a variable of an object starts with: a number, true or false, the name of a value of an enum, or a text; of an
/// array, its elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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

impl<'de> Deserialize<'de> for VariableValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = VariableValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer, true or false, a string, or an array of these")
            }

            fn visit_bool<E>(self, value: bool) -> Result<VariableValue, E> {
                Ok(VariableValue::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<VariableValue, E> {
                Ok(VariableValue::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<VariableValue, E> {
                Ok(i64::try_from(value).map_or(VariableValue::Unsigned(value), VariableValue::Integer))
            }

            fn visit_str<E>(self, value: &str) -> Result<VariableValue, E> {
                Ok(VariableValue::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<VariableValue, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    match &element {
                        VariableValue::List(_) => {
                            return Err(A::Error::custom("an element of an array cannot be an array"));
                        }
                        VariableValue::Text(text) if text.contains(',') => {
                            return Err(A::Error::custom(format!(
                                "`{text}` is not one element of an array: there is a comma in it"
                            )));
                        }
                        _ => elements.push(element),
                    }
                }
                Ok(VariableValue::List(elements))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}
