//! Errors of a test.

use std::error::Error as _;
use std::fmt;

use knobgate_bpf::ObjectError;

use crate::profile::UnknownProfile;
use crate::{Errno, Fault, KnobError, MapError, ProgramFault, ProgramId, Rejection};

/// Why a test cannot go on. The errno that a process gets is not an error, but an [`Outcome`](crate::Outcome).
///
/// [`Debug`](fmt::Debug) prints the message with its causes: it is what a test prints that returns an error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object cannot be used, or has no such program.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The kernel would not load a program, or the program needs something that is not modelled.
    #[error("Linux {kernel} rejects the program \"{program}\"{}", at(.line))]
    Rejected {
        /// The name of the profile.
        kernel: &'static str,
        /// The name of the program.
        program: String,
        /// The source line, as in ``./limit.bpf.c:15, `return 1;` ``.
        line: Option<Box<str>>,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// A program cannot be attached.
    #[error("cannot attach the program \"{program}\": {errno} ({})", (*errno).description())]
    Attach {
        /// Its name.
        program: String,
        /// Why: see [`Hook::attach`](crate::Hook::attach).
        errno: Errno,
    },
    /// A program did something that the kernel's verifier would have rejected, or that would crash the kernel.
    #[error("a program was stopped{}", at(.line))]
    Stopped {
        /// Which one.
        program: ProgramId,
        /// The source line, as in ``./limit.bpf.c:15, `return 1;` ``.
        line: Option<Box<str>>,
        /// Why; a [`Fault`] if the program is bytecode.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hook has no knob of this name: more likely a mistake of the test than the `ENOENT` that it wants to see.
    #[error(
        "the hook has no knob {path}, only {}; to add it: hook.knobs.add(\"{path}\", Knob::new(handler::IntVec::new([0])))?",
        list(.known)
    )]
    NoKnob {
        /// Its path below `/proc/sys`.
        path: String,
        /// The knobs below the nearest directory.
        known: Vec<String>,
    },
    /// No program of the object uses a map of this name.
    #[error("no program of the object has a map \"{name}\"; they have {}", list(.known))]
    NoMap {
        /// The name that was asked for.
        name: String,
        /// The names of the maps.
        known: Vec<String>,
    },
    /// No program of the object uses a variable of this name.
    #[error("no program of the object has a variable \"{name}\"; they have {}", list(.known))]
    NoVariable {
        /// The name that was asked for.
        name: String,
        /// The names of the variables.
        known: Vec<String>,
    },
    /// A key or a value has another size than the Rust type, or is no value of it.
    #[error("{what} has {size} bytes, which cannot be used as the type {rust}")]
    Type {
        /// What has that size.
        what: String,
        /// In the object.
        size: usize,
        /// The name of the Rust type.
        rust: &'static str,
    },
    /// A map rejects an operation.
    #[error("cannot use the map \"{map}\"")]
    Map {
        /// Its name.
        map: String,
        /// Why.
        #[source]
        error: MapError,
    },
    /// A knob cannot be added.
    #[error(transparent)]
    Knob(#[from] KnobError),
    /// There is no such profile.
    #[error(transparent)]
    Profile(#[from] UnknownProfile),
    /// An operation on cgroups or processes failed.
    #[error("an operation on cgroups or processes failed with {errno} ({})", (*errno).description())]
    Errno {
        /// Why.
        errno: Errno,
    },
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno { errno }
    }
}

impl From<ProgramFault> for Error {
    fn from(ProgramFault { program, source }: ProgramFault) -> Self {
        let line = source.downcast_ref::<Fault>().and_then(|fault| fault.line.clone());
        Self::Stopped { program, line, source }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn at(line: &Option<Box<str>>) -> String {
    line.as_ref().map_or_else(String::new, |line| format!(" at {line}"))
}

/// The first names.
fn list(names: &[String]) -> String {
    const MOST: usize = 12;
    match names {
        [] => "none".to_owned(),
        names if names.len() > MOST => {
            format!("{} and {} more", names[..MOST].join(", "), names.len() - MOST)
        }
        names => names.join(", "),
    }
}
