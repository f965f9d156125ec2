//! Errors in a scenario.

use std::fmt;

use crate::locate;
use crate::path::Path;

/// One error in a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct ScenarioError {
    /// Where, such as `steps[3].attach.relative_to`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Line and column, counted from 1, if the document is a text.
    pub place: Option<(usize, usize)>,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// The errors that were found until now.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(Path, String)>);

impl Findings {
    pub(crate) fn add(&mut self, path: &Path, message: impl Into<String>) {
        self.0.push((path.clone(), message.into()));
    }

    /// The value; `None` for an error, which is added.
    pub(crate) fn ok<T, E: Into<String>>(&mut self, path: &Path, result: Result<T, E>) -> Option<T> {
        result.map_err(|message| self.add(path, message)).ok()
    }

    /// All errors, with their positions in `text`, if there is one.
    pub(crate) fn finish(self, text: Option<&str>) -> Result<(), Vec<ScenarioError>> {
        if self.0.is_empty() {
            return Ok(());
        }
        let places = match text {
            Some(text) => {
                let paths: Vec<&Path> = self.0.iter().map(|(path, _)| path).collect();
                locate::line_columns(text, &paths)
            }
            None => vec![None; self.0.len()],
        };
        let located = self.0.into_iter().zip(places).map(|((path, message), place)| ScenarioError {
            place,
            path: path.to_string(),
            message,
        });
        Err(located.collect())
    }
}
