//! Bytes in JSON.

use std::borrow::Cow;
use std::fmt::{self, Write};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// Bytes that are mostly text: a string, or `{"hex": …}` if they are not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// Bytes in hexadecimal: two digits each; white space is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hex(pub Vec<u8>);

const PATTERN: &str = r"^(\s*[0-9a-fA-F]\s*[0-9a-fA-F])*\s*$";

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Hex {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut nibbles = Vec::with_capacity(text.len());
        for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
            let digit = c.to_digit(16).ok_or("this is not hexadecimal: the digits are 0 to 9 and a to f")?;
            nibbles.push(digit as u8);
        }
        if nibbles.len() % 2 == 1 {
            return Err("a digit is missing: each byte has two digits");
        }
        Ok(Self(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len() * 2);
        // Writing to a String cannot fail.
        let _ = write!(text, "{self}");
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes in hexadecimal, two digits for each; white space means nothing.",
            "type": "string",
            "pattern": PATTERN,
        })
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("hex", &Hex(self.0.clone()))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or {\"hex\": …}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
                let mut bytes = None;
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    match (&*key, &bytes) {
                        ("hex", None) => bytes = Some(map.next_value::<Hex>()?),
                        ("hex", Some(_)) => return Err(de::Error::duplicate_field("hex")),
                        (other, _) => return Err(de::Error::unknown_field(other, &["hex"])),
                    }
                }
                bytes.map(|Hex(bytes)| Bytes(bytes)).ok_or_else(|| de::Error::missing_field("hex"))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let hex = generator.subschema_for::<Hex>();
        json_schema!({
            "description": "Bytes: a string, or what is not UTF-8 in hexadecimal.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "hex": hex },
                    "required": ["hex"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        for (bytes, json) in [
            (&b"4096\n"[..], r#""4096\n""#),
            (b"", r#""""#),
            (b"a\0b", r#""a\u0000b""#),
            (b"\xff\x01", r#"{"hex":"ff01"}"#),
        ] {
            let bytes = Bytes(bytes.to_vec());
            assert_eq!(serde_json::to_string(&bytes).unwrap(), json);
            assert_eq!(serde_json::from_str::<Bytes>(json).unwrap(), bytes);
        }
        let spaced: Bytes = serde_json::from_str(r#"{"hex": " 6 1\n62 "}"#).unwrap();
        assert_eq!(spaced, Bytes::from("ab"));
    }

    #[test]
    fn invalid_bytes_are_rejected() {
        for json in [
            "5",
            "null",
            "{}",
            r#"{"hex": "0"}"#,
            r#"{"hex": "0g"}"#,
            r#"{"hex": "00", "hex": "01"}"#,
            r#"{"text": ""}"#,
        ] {
            assert!(serde_json::from_str::<Bytes>(json).is_err(), "{json}");
        }
    }
}
