//! Standard output and standard error: colours on a terminal, plain text everywhere else.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::Style;

use crate::failure::Failure;
use crate::printable::printable;
use crate::style;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless the environment says otherwise
    Auto,
    /// Also in pipes and files
    Always,
    /// Nowhere
    Never,
}

/// Where a command prints. Text may be styled with [`style`]; styles are dropped where there are no colours. Untrusted
/// text has to go through [`printable()`] first, except in messages with a prefix, such as [`warning`](Self::warning),
/// which are escaped as a whole.
#[derive(Debug)]
pub(crate) struct Output;

impl Output {
    pub(crate) fn new(color: ColorChoice) -> Self {
        match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self
    }

    /// Prints `text` and a newline to standard output.
    ///
    /// # Errors
    /// Standard output cannot be written; a closed pipe ends the command silently.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        writeln!(anstream::stdout().lock(), "{text}").map_err(Failure::Output)
    }

    /// Prints `text` to standard output, for an answer on the same line.
    ///
    /// # Errors
    /// As for [`line`](Self::line).
    pub(crate) fn prompt(&self, text: impl Display) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        write!(stdout, "{text} ").and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Standard output for many lines, which are written when there are enough of them, or by [`Lines::flush`].
    pub(crate) fn lines(&self) -> Lines {
        let output = io::stdout().lock();
        let choice = AutoStream::choice(&output);
        Lines { output, choice, waiting: AutoStream::new(Vec::new(), choice) }
    }

    /// Prints to standard output what was done. If that fails, prints it to standard error: it is done all the same,
    /// and so the command succeeds.
    pub(crate) fn done(&self, text: impl Display) {
        if let Err(Failure::Output(error)) = self.line(&text) {
            self.warning(format_args!("cannot write the output ({error}), but this was done: {text}"));
        }
    }

    /// Prints `bytes` to standard output as they are.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::Output)
    }

    /// Prints `text` and a newline to standard error: reports, progress, anything that is not the result.
    pub(crate) fn report(&self, text: impl Display) {
        // There is nowhere to report that standard error cannot be written.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }

    /// Prints `warning: text` to standard error.
    pub(crate) fn warning(&self, text: impl Display) {
        self.prefixed(style::WARNING, "warning", text);
    }

    /// Prints `note: text` to standard error.
    pub(crate) fn note(&self, text: impl Display) {
        self.prefixed(style::NOTE, "note", text);
    }

    /// Prints `error: …` with the chain of sources to standard error, unless it has already been reported.
    pub(crate) fn failure(&self, failure: &Failure) {
        if !failure.is_silent() {
            self.error(failure);
        }
    }

    /// Prints `error: …: …` with the chain of sources to standard error.
    pub(crate) fn error(&self, error: &dyn Error) {
        self.prefixed(style::ERROR, "error", chain(error));
    }

    fn prefixed(&self, style: Style, prefix: &str, text: impl Display) {
        self.report(format_args!("{style}{prefix}{style:#}: {}", printable(&text.to_string())));
    }
}

/// Standard output for many lines. Styles are dropped where there are no colours.
#[derive(Debug)]
pub(crate) struct Lines {
    output: StdoutLock<'static>,
    choice: anstream::ColorChoice,
    /// What is not written yet. Standard output itself would write each line, and each part of it between two styles.
    waiting: AutoStream<Vec<u8>>,
}

/// How many bytes wait until they are written.
const WAITING_MAX: usize = 1 << 16;

impl Lines {
    /// Prints `text` and a newline.
    ///
    /// # Errors
    /// Standard output cannot be written; a closed pipe ends the command silently.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.waiting, "{text}").map_err(Failure::Output)?;
        if self.waiting.as_inner().len() >= WAITING_MAX { self.flush() } else { Ok(()) }
    }

    /// Writes all lines.
    ///
    /// # Errors
    /// As for [`line`](Self::line).
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let empty = AutoStream::new(Vec::new(), self.choice);
        let waiting = std::mem::replace(&mut self.waiting, empty).into_inner();
        self.output.write_all(&waiting).and_then(|()| self.output.flush()).map_err(Failure::Output)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Whoever wants to know whether that fails has written them before.
        let _ = self.flush();
    }
}

/// An error with the chain of its sources: `…: …`.
pub(crate) fn chain(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
