//! Answers: lines of standard input.

use std::io::{self, BufRead, IsTerminal, Read, StdinLock};

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable;

/// Standard input, from which answers are read.
#[derive(Debug)]
pub(super) struct Answers {
    input: StdinLock<'static>,
    is_terminal: bool,
}

/// The longest answer. More is the next answer.
const LINE_MAX: u64 = 1024;

impl Answers {
    pub(super) fn of_stdin() -> Self {
        Self { input: io::stdin().lock(), is_terminal: io::stdin().is_terminal() }
    }

    /// Asks, and reads the answer, without white space at its ends; `None` at the end of the input.
    ///
    /// # Errors
    /// [`Failure::Output`], or [`Failure::Usage`] if the input cannot be read.
    pub(super) fn ask(&mut self, question: &str, output: &Output) -> Result<Option<String>, Failure> {
        output.prompt(question)?;
        let mut line = Vec::new();
        (&mut self.input)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::usage("cannot read the answers").because(error))?;
        if line.is_empty() {
            output.line("")?;
            return Ok(None);
        }
        let answer = String::from_utf8_lossy(&line).trim().to_owned();
        if !self.is_terminal {
            // So that what was answered can be read afterwards.
            output.line(printable(&answer))?;
        }
        Ok(Some(answer))
    }
}
