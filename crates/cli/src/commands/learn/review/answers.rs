//! Answers: lines of standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;

use knobgate_kernel::BlockedSignals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::output::Output;
use crate::printable::printable;

/// Standard input, from which answers are read until a signal.
#[derive(Debug)]
pub(super) struct Answers<'s> {
    input: BufReader<File>,
    is_terminal: bool,
    signals: &'s BlockedSignals,
}

/// The longest answer. A longer line counts as an empty one.
const LINE_MAX: usize = 1024;

impl<'s> Answers<'s> {
    /// `signals` end the review. They are not read, so that they take effect when they are no longer blocked.
    ///
    /// # Errors
    /// [`Failure::Usage`] if standard input cannot be used.
    pub(super) fn of_stdin(signals: &'s BlockedSignals) -> Result<Self, Failure> {
        let stdin = io::stdin();
        // The buffer of `Stdin` does not tell whether there is something in it.
        let input = stdin.as_fd().try_clone_to_owned().map_err(cannot_read)?;
        Ok(Self { input: BufReader::new(File::from(input)), is_terminal: stdin.is_terminal(), signals })
    }

    /// Asks, and reads the answer, without white space at its ends; `None` at the end of the input.
    ///
    /// # Errors
    /// [`Failure::Output`]; [`Failure::Usage`] if the input cannot be read; [`Failure::Bad`] after a signal.
    pub(super) fn ask(&mut self, question: &str, output: &Output) -> Result<Option<String>, Failure> {
        output.prompt(question)?;
        // What comes next is on a line of its own.
        let mut line = self.line().inspect_err(|_| drop(output.line("")))?;
        if line.is_empty() {
            output.line("")?;
            return Ok(None);
        }
        if line.len() > LINE_MAX {
            line.clear();
        }
        let answer = String::from_utf8_lossy(&line).trim().to_owned();
        if !self.is_terminal {
            // So that what was answered can be read afterwards.
            output.line(printable(&answer))?;
        }
        Ok(Some(answer))
    }

    /// The next line with its end; of one that is longer than [`LINE_MAX`], one byte more than that.
    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let mut line = Vec::new();
        loop {
            self.wait()?;
            let read = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(cannot_read)?,
            };
            let end = read.iter().position(|&byte| byte == b'\n');
            let length = end.map_or(read.len(), |end| end + 1);
            line.extend(&read[..length.min(LINE_MAX + 1 - line.len())]);
            self.input.consume(length);
            if end.is_some() || length == 0 {
                return Ok(line);
            }
        }
    }

    /// Waits until there is something to read.
    fn wait(&self) -> Result<(), Failure> {
        let mut descriptors =
            [PollFd::new(self.input.get_ref(), PollFlags::IN), PollFd::new(self.signals, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if self.input.buffer().is_empty() { None } else { Some(&now) };
        // One that is interrupted was stopped, and continues.
        while let Err(error) = poll(&mut descriptors, timeout) {
            if error != Errno::INTR {
                return Err(cannot_read(error.into()));
            }
        }
        let [_, signal] = descriptors.map(|descriptor| descriptor.revents());
        if signal.is_empty() { Ok(()) } else { Err(Failure::bad("a signal ended the review")) }
    }
}

fn cannot_read(error: io::Error) -> Failure {
    Failure::usage("cannot read the answers").because(error)
}
