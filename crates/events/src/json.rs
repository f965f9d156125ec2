//! Streams of events as JSON: one object a line.
//!
//! [`to_json`] writes a line, and [`StreamReader`] reads lines. A line has members for what is known, and none for what is not.
//! Later versions add members, and may add types of lines. The reader ignores both.
//!
//! ```
//! use knobgate_events::StreamContent;
//! use knobgate_events::json::{StreamReader, to_json};
//!
//! let line = r#"{"schema":"knobgate.events","version":1,"type":"lost","sequence":7,"boot_time":81200345678,"count":12}"#;
//! let item = StreamReader::new(line.as_bytes()).next().unwrap()?;
//! assert!(matches!(item.content, StreamContent::Lost(lost) if lost.count == 12));
//! assert_eq!(to_json(&item), line);
//! # Ok::<(), knobgate_events::json::StreamError>(())
//! ```

mod document;
mod parts;
mod read;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod write;

pub(crate) use parts::is_false;

pub use reader::{LINE_MAX, StreamError, StreamReader};
pub use write::to_json;

/// What a line says of itself as `schema`.
pub const SCHEMA: &str = "knobgate.events";

/// What a line says of itself as `version`. A later version of the same schema has all that this one has.
pub const VERSION: u32 = 1;

/// The JSON schema of a line.
pub fn json_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<document::LineDocument<'_>>().into()
}
