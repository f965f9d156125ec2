//! Policies as JSON: the same policy, for programs. It is made by the constructors that the checker of texts uses too, so
//! that no other policies can be made of JSON.

mod document;
mod read;
mod write;

use crate::{CheckOptions, Policy, PolicyFile, limits};
use document::PolicyDocument;

/// What is wrong with a policy given as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct JsonError {
    /// Where, such as `rules[3].condition.all[0]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Reads and checks a policy given as JSON, which messages call `name`. The source of the result is its canonical text.
///
/// # Errors
/// What is wrong with it: the first thing if it is no JSON of this form, else everything.
pub fn parse_json(name: &str, json: &str, options: &CheckOptions<'_>) -> Result<PolicyFile, Vec<JsonError>> {
    if json.len() > limits::FILE_MAX {
        let message = format!("the file has more than {} MiB", limits::FILE_MAX >> 20);
        return Err(vec![JsonError { path: String::new(), message, help: None }]);
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let document: PolicyDocument = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![JsonError { path, message: error.inner().to_string(), help: None }]
    })?;
    deserializer
        .end()
        .map_err(|error| vec![JsonError { path: String::new(), message: error.to_string(), help: None }])?;
    let policy = read::policy(&document)?;
    PolicyFile::of(policy, name, options)
        .map_err(|error| vec![JsonError { path: String::new(), message: error.to_string(), help: None }])
}

/// `policy` as JSON.
pub fn print_json(policy: &Policy) -> String {
    // Documents have string keys and no floats, which is all that can fail.
    let mut json = serde_json::to_string_pretty(&PolicyDocument::from(policy)).unwrap_or_default();
    json.push('\n');
    json
}

/// The JSON schema of what [`parse_json`] takes. The checker asks for more than it can say.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(PolicyDocument).into()
}
