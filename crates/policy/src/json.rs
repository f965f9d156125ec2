//! Policies as JSON, for programs. They are built by the same constructors as policies from text, so they are just as valid.

mod document;
mod read;
mod selector;
mod write;

use std::fmt;

use crate::parse_error::write_help_and_more;
use crate::{CheckOptions, Policy, PolicyFile, limits};
use document::PolicyDocument;

/// One error in a policy given as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonDiagnostic {
    /// Where, such as `rules[3].condition.all[0]`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for JsonDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", self.path, self.message)
    }
}

/// Everything that is wrong with a policy given as JSON: at least one error.
///
/// ```
/// use knobgate_policy::{CheckOptions, parse_json};
///
/// let json = r#"{"name": "x", "rules": [{"action": "allow", "kinds": [], "knobs": ["vm.*"]}]}"#;
/// let error = parse_json("x.json", json, &CheckOptions::default()).unwrap_err();
/// assert_eq!(error.diagnostics().len(), 1);
/// assert_eq!(error.to_string(), "x.json: rules[0].kinds: expected \"read\", \"write\" or both");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonParseError {
    name: String,
    diagnostics: Vec<JsonDiagnostic>,
}

impl JsonParseError {
    /// The errors, in the order of the document.
    pub fn diagnostics(&self) -> &[JsonDiagnostic] {
        &self.diagnostics
    }
}

/// The first error, and how many more there are.
impl fmt::Display for JsonParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.diagnostics.first() else { return Ok(()) };
        write!(f, "{}: {first}", self.name)?;
        write_help_and_more(f, first.help.as_deref(), self.diagnostics.len() - 1)
    }
}

impl std::error::Error for JsonParseError {}

/// The errors, in the order of the document.
impl IntoIterator for JsonParseError {
    type Item = JsonDiagnostic;
    type IntoIter = std::vec::IntoIter<JsonDiagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.diagnostics.into_iter()
    }
}

/// Parses and checks a policy given as JSON, called `name` in messages. The source of the result is its canonical text.
///
/// # Errors
/// Everything that is wrong with it; only the first error if it does not match the schema.
pub fn parse_json(name: &str, json: &str, options: &CheckOptions<'_>) -> Result<PolicyFile, JsonParseError> {
    policy(json)
        .and_then(|policy| PolicyFile::of(policy, name, options).map_err(|error| whole(error.to_string())))
        .map_err(|diagnostics| JsonParseError { name: name.to_owned(), diagnostics })
}

fn policy(json: &str) -> Result<Policy, Vec<JsonDiagnostic>> {
    if json.len() > limits::FILE_MAX {
        return Err(whole(format!("the file has more than {} MiB", limits::FILE_MAX >> 20)));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let document: PolicyDocument = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![JsonDiagnostic { path, message: error.inner().to_string(), help: None }]
    })?;
    deserializer.end().map_err(|error| whole(error.to_string()))?;
    read::policy(&document)
}

/// An error in the document as a whole.
fn whole(message: String) -> Vec<JsonDiagnostic> {
    vec![JsonDiagnostic { path: String::new(), message, help: None }]
}

/// `policy` as JSON.
pub fn print_json(policy: &Policy) -> String {
    // Documents have string keys and no floats, so this cannot fail.
    let mut json = serde_json::to_string_pretty(&PolicyDocument::from(policy)).unwrap_or_default();
    json.push('\n');
    json
}

/// The JSON schema of what [`parse_json`] accepts. The constructors check more than a schema can say.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(PolicyDocument).into()
}
