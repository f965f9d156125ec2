//! Settings, whatever kind of file has them, and the errors of lines.

use crate::{Key, KeyError};

/// A line that gives knobs a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The line, counted from 1.
    pub line: usize,
    /// The knobs.
    pub key: Key,
    /// The value, without the newline with which it is written.
    pub value: String,
}

/// What a file sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// In the order of the file.
    pub settings: Vec<Setting>,
    /// The keys that globs of this file leave alone.
    pub exclusions: Vec<Key>,
    /// The lines that cannot be read, at most [`ERRORS_MAX`](LineError::ERRORS_MAX).
    pub errors: Vec<LineError>,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl LineError {
    /// How many errors of one file are kept.
    pub const ERRORS_MAX: usize = 1000;

    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), help: None }
    }

    #[must_use]
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The first line begins with a byte order mark, which is part of it for those who read the file.
    pub(crate) fn byte_order_mark() -> Self {
        let error = Self::new(1, "the file begins with a byte order mark");
        error.help("save it as UTF-8 without one: it would be part of the first line")
    }

    /// The key `text` on this line is wrong.
    pub(crate) fn key(line: usize, text: &str, error: &KeyError) -> Self {
        let wrong = Self::new(line, format!("`{text}` names no knob: {error}"));
        match error.help() {
            Some(help) => wrong.help(help),
            None => wrong,
        }
    }
}

impl Settings {
    /// Adds `NAME = VALUE` of a file whose names are no globs.
    pub(crate) fn set(&mut self, line: usize, name: &str, value: impl Into<String>) {
        let value = value.into();
        let key = match Key::knob(name) {
            Ok(key) => key,
            Err(error) => return self.error(LineError::key(line, name, &error)),
        };
        if value.contains(['\0', '\n']) {
            let error = LineError::new(line, format!("the value of `{name}` has more than one line"));
            return self.error(error.help("write it on one line, without a newline at its end"));
        }
        self.settings.push(Setting { line, key, value });
    }

    /// Adds `NAME=VALUE`.
    pub(crate) fn assign(&mut self, line: usize, assignment: &str) {
        match assignment.split_once('=') {
            Some((name, value)) => self.set(line, name.trim(), value.trim()),
            None => {
                let error = LineError::new(line, format!("`{assignment}` has no `=`"));
                self.error(error.help("write `name=value`"));
            }
        }
    }

    pub(crate) fn error(&mut self, error: LineError) {
        if self.errors.len() < LineError::ERRORS_MAX {
            self.errors.push(error);
        }
    }
}
