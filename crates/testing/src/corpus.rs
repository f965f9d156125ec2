//! Small C programs, each with one feature, and monitors like public ones: how each of them ends on the kernel and on the model.
//!
//! The programs are in `corpus` and in `examples/monitors`, beside the objects that `corpus/build` makes of them. The comment at the head
//! of a source is its row of the table ([`Head`]): the accesses to make, what they return, and what variables and maps hold then; or the
//! words with which the program is rejected. [`PROGRAMS`] has all of them.
//!
//! To try the objects of other compilers, [`CorpusProgram::object`] takes them from the directory that `KNOBGATE_CORPUS` names.

mod head;
mod play;
mod programs;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

pub use head::{Access, Expected, Head, Line, Value};
pub use play::{Contents, Ending, play};
pub use programs::PROGRAMS;

/// A program.
#[derive(Debug, Clone, Copy)]
pub struct CorpusProgram {
    /// The name of its file, without `.bpf.c`.
    pub name: &'static str,
    /// Its source.
    pub source: &'static str,
    /// The object that is checked in.
    checked_in: &'static [u8],
}

impl CorpusProgram {
    /// What its head says.
    ///
    /// # Errors
    ///
    /// A line of it is wrong.
    pub fn head(&self) -> Result<Head, String> {
        Head::parse(self.source).map_err(|error| format!("{}.bpf.c: {error}", self.name))
    }

    /// Its object: the one that is checked in, or that in the directory `KNOBGATE_CORPUS`. `None` if that directory does not have it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn object(&self) -> Result<Option<Cow<'static, [u8]>>, String> {
        let Some(directory) = std::env::var_os("KNOBGATE_CORPUS") else {
            return Ok(Some(Cow::Borrowed(self.checked_in)));
        };
        let path = Path::new(&directory).join(format!("{}.bpf.o", self.name));
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}
