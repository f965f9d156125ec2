//! Moments in JSON.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A moment, as RFC 3339 with nanoseconds, in UTC. Any offset can be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeDocument(Timestamp);

impl TimeDocument {
    /// `None` outside of the years that RFC 3339 knows.
    pub(super) fn new(time: SystemTime) -> Option<Self> {
        Timestamp::try_from(time).ok().and_then(Self::checked)
    }

    fn checked(time: Timestamp) -> Option<Self> {
        const YEAR_0: i64 = -62_167_219_200;
        const YEAR_10000: i64 = 253_402_300_800;
        (YEAR_0..YEAR_10000).contains(&time.as_second()).then_some(Self(time))
    }

    pub(super) fn time(self) -> SystemTime {
        let since_epoch = self.0.duration_since(Timestamp::UNIX_EPOCH);
        match since_epoch.is_negative() {
            true => SystemTime::UNIX_EPOCH - since_epoch.unsigned_abs(),
            false => SystemTime::UNIX_EPOCH + since_epoch.unsigned_abs(),
        }
    }
}

impl Serialize for TimeDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.9}", self.0))
    }
}

impl<'de> Deserialize<'de> for TimeDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rfc3339;

        impl Visitor<'_> for Rfc3339 {
            type Value = TimeDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time as in RFC 3339, such as \"2026-11-29T12:04:31.482Z\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeDocument, E> {
                let time = text.parse().ok().and_then(TimeDocument::checked);
                time.ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Rfc3339)
    }
}

impl JsonSchema for TimeDocument {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A moment, as RFC 3339 in UTC, with nanoseconds.",
            "type": "string",
            "format": "date-time",
        })
    }
}
