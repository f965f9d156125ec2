//! Bytes in JSON: texts, of which programs may have recorded only the start, and names.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::event::EventText;

/// Bytes: `text` if they are UTF-8, and otherwise `base64`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(expecting = "an object with \"text\" or \"base64\"")]
pub(super) struct TextDocument<'a> {
    /// UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    /// Any bytes, in Base64 (RFC 4648, section 4, with padding).
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("contentEncoding" = "base64"))]
    base64: Option<Cow<'a, str>>,
    /// How many bytes the whole has, if only its start is here. For a value, 4096 means 4096 or more. For the name of a knob,
    /// it is the least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
}

impl<'a> TextDocument<'a> {
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self { text: Some(text.into()), base64: None, length: None },
            Err(_) => Self { text: None, base64: Some(BASE64_STANDARD.encode(bytes).into()), length: None },
        }
    }

    pub(super) fn bytes(self) -> Result<Vec<u8>, String> {
        match (self.text, self.base64) {
            (Some(text), None) => Ok(text.into_owned().into_bytes()),
            (None, Some(base64)) => {
                BASE64_STANDARD.decode(&*base64).map_err(|error| format!("\"base64\" is not Base64: {error}"))
            }
            _ => Err("bytes are an object with either \"text\" or \"base64\"".to_owned()),
        }
    }
}

impl<'a> From<&'a EventText> for TextDocument<'a> {
    fn from(text: &'a EventText) -> Self {
        Self { length: text.cut_from, ..Self::of_bytes(&text.bytes) }
    }
}

impl TryFrom<TextDocument<'_>> for EventText {
    type Error = String;

    fn try_from(text: TextDocument<'_>) -> Result<Self, String> {
        Ok(Self { cut_from: text.length, bytes: text.bytes()? })
    }
}

/// A name: a string, unless it has to be an object.
#[derive(Debug)]
pub(super) enum NameDocument<'a> {
    Plain(Cow<'a, str>),
    Bytes(TextDocument<'a>),
}

impl<'a> From<&'a [u8]> for NameDocument<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.into()),
            Err(_) => Self::Bytes(TextDocument::of_bytes(bytes)),
        }
    }
}

impl NameDocument<'_> {
    pub(super) fn bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Plain(name) => Ok(name.into_owned().into_bytes()),
            Self::Bytes(text) => text.bytes(),
        }
    }
}

impl Serialize for NameDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(name) => serializer.serialize_str(name),
            Self::Bytes(text) => text.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for NameDocument<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<'a>(PhantomData<&'a str>);

        impl<'de: 'a, 'a> Visitor<'de> for Either<'a> {
            type Value = NameDocument<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object with \"text\" or \"base64\"")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(NameDocument::Plain(text.into()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(NameDocument::Plain(text.to_owned().into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                TextDocument::deserialize(MapAccessDeserializer::new(map)).map(NameDocument::Bytes)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl JsonSchema for NameDocument<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = generator.subschema_for::<TextDocument<'_>>();
        json_schema!({
            "description": "A name: a string, or what a string cannot say.",
            "anyOf": [{ "type": "string" }, bytes],
        })
    }
}
