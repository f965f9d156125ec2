//! Moments in JSON: RFC 3339, in UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer, de};

pub(crate) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:.6}", timestamp(*time)))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<Timestamp>().and_then(SystemTime::try_from).map_err(de::Error::custom)
}

/// One that is out of range counts as the last one that is not.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

/// A moment in whole seconds.
pub(crate) fn seconds(time: SystemTime) -> String {
    format!("{:.0}", timestamp(time))
}
