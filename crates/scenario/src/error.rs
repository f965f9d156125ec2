//! What is wrong with a scenario, and where.

use std::fmt;

use crate::locate;

/// One thing that is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ScenarioError {
    /// Where, such as `steps[3].attach.anchor`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Line and column, counted from 1, where the document is a text.
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

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub(crate) Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    pub(crate) fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut longer = self.clone();
        longer.0.push(segment);
        longer
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if depth == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What was found to be wrong, up to now.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(Path, String)>);

impl Findings {
    pub(crate) fn add(&mut self, path: &Path, message: impl Into<String>) {
        self.0.push((path.clone(), message.into()));
    }

    /// `None` where it is an error, which is added.
    pub(crate) fn ok<T, E: Into<String>>(&mut self, path: &Path, result: Result<T, E>) -> Option<T> {
        result.map_err(|message| self.add(path, message)).ok()
    }

    /// Nothing, or everything that is wrong, with its places in `text` if there is one.
    pub(crate) fn finish(self, text: Option<&str>) -> Result<(), Vec<ScenarioError>> {
        if self.0.is_empty() {
            return Ok(());
        }
        let located = self.0.into_iter().map(|(path, message)| ScenarioError {
            place: text.and_then(|text| locate::line_column(text, &path)),
            path: path.to_string(),
            message,
        });
        Err(located.collect())
    }
}
