//! Reads a stream, line by line.

use std::io::{self, BufRead, BufReader, Read};

use super::read::{LineError, item};
use crate::stream::StreamItem;

/// The most bytes of a line. The longest one of this version has less than 16 KiB.
pub const LINE_MAX: usize = 1 << 20;

/// Reads a stream, line by line. It holds one line at a time.
///
/// It skips empty lines, and lines of types that only later versions know. A line that is wrong is an error, after which it can go
/// on with the next one. It ends after a line that cannot be read, or is longer than [`LINE_MAX`].
#[derive(Debug)]
pub struct StreamReader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    ended: bool,
    is_cut: bool,
    left_out: u64,
}

/// Why a stream cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The input fails.
    #[error("cannot read line {line}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// A line is not one of a stream.
    #[error("line {line}{}: {message}", column.map(|column| format!(", column {column}")).unwrap_or_default())]
    Line {
        /// The line, from 1.
        line: u64,
        /// The byte of the line, from 1, if one place is wrong.
        column: Option<usize>,
        /// What is wrong.
        message: String,
    },
}

impl<R: BufRead> StreamReader<R> {
    /// Reads from the start of a line.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, ended: false, is_cut: false, left_out: 0 }
    }

    /// Whether the last line is only the start of one. That was an error: the stream was cut there, by a full disk for example.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How many lines it has skipped because of their type, which only a later version knows.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Reads a line; `false` at the end.
    fn read_line(&mut self) -> Result<bool, StreamError> {
        self.line.clear();
        self.number += 1;
        let line = self.number;
        let mut limited = (&mut self.input).take(LINE_MAX as u64 + 1);
        let read =
            limited.read_until(b'\n', &mut self.line).map_err(|source| StreamError::Read { line, source })?;
        if read > LINE_MAX {
            let message = format!("it has more than {} MiB", LINE_MAX >> 20);
            return Err(StreamError::Line { line, column: None, message });
        }
        Ok(read > 0)
    }

    fn parse(&mut self) -> Result<Option<StreamItem>, StreamError> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let found = match str::from_utf8(line) {
            Ok(text) => item(text),
            Err(error) => Err(LineError {
                column: Some(error.valid_up_to() + 1),
                message: "it is not UTF-8".to_owned(),
                is_start: error.error_len().is_none(),
            }),
        };
        self.is_cut = !self.line.ends_with(b"\n") && matches!(found, Err(LineError { is_start: true, .. }));
        self.left_out += u64::from(matches!(found, Ok(None)));
        found.map_err(|LineError { column, message, .. }| StreamError::Line {
            line: self.number,
            column,
            message,
        })
    }
}

impl<R: Read> StreamReader<BufReader<R>> {
    /// Whether a whole line is in the buffer, so that it can be read without waiting for the input.
    pub fn has_line(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

impl<R: BufRead> Iterator for StreamReader<R> {
    type Item = Result<StreamItem, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
            if let Some(item) = self.parse().transpose() {
                return Some(item);
            }
        }
        None
    }
}
